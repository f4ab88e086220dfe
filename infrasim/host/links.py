"""Network devices of this machine: see, make and remove them, with iproute2 and Open vSwitch.

Each function acts in the network namespace that this process is in. Decides nothing: what a node needs
is for ``runtime.links``.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

from infrasim.errors import HostError, ProgramError
from infrasim.frozen import Frozen
from infrasim.host.process import find_program, run

_IP = "ip"
_OVS = "ovs-vsctl"
_PACKAGES = {_IP: "iproute2", _OVS: "openvswitch-switch"}
# What Debian's QEMU asks to make a tap for a user without rights, and what says which bridges it may use.
_HELPER = Path("/usr/lib/qemu/qemu-bridge-helper")
_ACL = Path("/etc/qemu/bridge.conf")
_TIMEOUT_S = 20.0
_OVS_WAIT_S = 10

# Source: Linux include/uapi/linux/if_tun.h.
_TUNGETIFF = 0x800454D2
_IFREQ_BYTES = 40
_NAME_BYTES = 16


class Link(Frozen):
    """A network device; ``kind`` is the kernel's name for virtual ones, such as ``bridge``, else empty."""

    name: str
    kind: str
    alias: str
    mtu: int


def links() -> dict[str, Link]:
    """Every network device by name.

    Raises:
        HostError: iproute2 is not installed.
    """
    said = json.loads(_run(_IP, "-json", "-details", "link", "show"))
    return {link.name: link for link in map(_link, said)}


def _link(said: dict[str, Any]) -> Link:
    kind = said.get("linkinfo", {}).get("info_kind", "")
    return Link(said["ifname"], kind, said.get("ifalias", ""), said["mtu"])


def make_tap(name: str, *, alias: str, bridge: str = "", mtu: int | None = None) -> None:
    """Make a tap device, in a bridge if one is named, that says in ``alias`` whose it is.

    Raises:
        ProgramError: the kernel refuses.
    """
    _run(_IP, "tuntap", "add", "dev", name, "mode", "tap")
    # The smallest of its devices becomes the bridge's; this one is not to make it smaller.
    size = ("mtu", str(mtu)) if mtu else ()
    _run(_IP, "link", "set", "dev", name, "alias", alias, *size)
    if bridge:
        _run(_IP, "link", "set", "dev", name, "master", bridge)
    _run(_IP, "link", "set", "dev", name, "up")


def make_macvtap(name: str, *, alias: str, beneath: str, mac: str, mode: str, index: int) -> None:
    """Make a macvtap on an interface. ``index`` becomes part of the name of its device file.

    Raises:
        ProgramError: the kernel refuses.
    """
    place = ("link", beneath, "name", name, "index", str(index), "address", mac)
    _run(_IP, "link", "add", *place, "type", "macvtap", "mode", mode)
    _run(_IP, "link", "set", "dev", name, "alias", alias)
    _run(_IP, "link", "set", "dev", name, "up")


def open_macvtap(name: str, descriptor: int) -> None:
    """Open a macvtap of this namespace at exactly that descriptor, closed by exec.

    Raises:
        HostError: it is gone, or has no device file, or the descriptor is in use.
    """
    try:
        place = Path(f"/dev/tap{socket.if_nametoindex(name)}")
        first = os.open(place, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        where = f" {exc.filename}" if exc.filename else ""
        raise HostError(f"cannot open the macvtap {name}{where}: {exc.strerror or exc}") from exc
    try:
        # Every namespace counts its devices, but all of them share one folder of device files.
        found = fcntl.ioctl(first, _TUNGETIFF, bytes(_IFREQ_BYTES))[:_NAME_BYTES].rstrip(b"\0").decode()
        if found != name:
            raise HostError(f"{place} is the macvtap {found}, not {name}")
        moved = fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, descriptor)
    except OSError as exc:
        raise HostError(f"cannot use the macvtap {name}: {exc.strerror}") from exc
    finally:
        os.close(first)
    if moved != descriptor:
        os.close(moved)
        raise HostError(f"descriptor {descriptor} is in use, so QEMU cannot be given the macvtap {name}")


def helper_fault(bridge: str) -> tuple[str, str] | None:
    """Why QEMU's helper would not put a tap into a bridge for this user, and a hint; None if it may.

    Source: QEMU qemu-bridge-helper.c: lines ``allow NAME``, ``deny NAME`` and ``include FILE``; NAME may be
    ``all``. A list that this user may not read is left to the helper.
    """
    try:
        lines = _ACL.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError:
        return None
    words = [line.split("#")[0].split() for line in lines]
    allowed = any(word[:1] in (["include"], ["allow"]) and _names(word, bridge) for word in words if word)
    if not allowed:
        return f"{_ACL} does not allow the bridge {bridge!r}", f"add the line 'allow {bridge}' to it, as root"
    try:
        may = bool(_HELPER.stat().st_mode & stat.S_ISUID) or "security.capability" in os.listxattr(_HELPER)
    except OSError:
        # A QEMU that is built otherwise has it elsewhere.
        return None
    return None if may else (f"{_HELPER} has no rights of its own", f"as root: chmod u+s {_HELPER}")


def _names(words: list[str], bridge: str) -> bool:
    return words[0] == "include" or words[1:] in ([bridge], ["all"])


def remove(name: str) -> None:
    """Remove a device.

    Raises:
        ProgramError: the kernel refuses.
    """
    _run(_IP, "link", "delete", "dev", name)


def ovs_bridges() -> tuple[str, ...]:
    """The bridges of Open vSwitch.

    Raises:
        HostError: it is not installed.
        ProgramError: it does not run.
    """
    return tuple(_ovs("list-br").split())


def add_ovs_port(bridge: str, name: str, *, owner: str, vlan: int | None) -> None:
    """Put a device into a bridge of Open vSwitch; ``owner`` is noted there.

    Raises:
        ProgramError: Open vSwitch refuses, or cannot use the device.
    """
    tag = (f"tag={vlan}",) if vlan else ()
    note = f"external_ids:infrasim={json.dumps(owner)}"
    _ovs("--may-exist", "add-port", bridge, name, *tag, "--", "set", "Interface", name, note)
    fault = _ovs("get", "Interface", name, "error").strip()
    # An empty set is how it says that there is none.
    if fault != "[]":
        raise ProgramError(f"Open vSwitch cannot use {name}: {fault}")


def remove_ovs_port(name: str) -> None:
    """Take a device out of Open vSwitch, if it is there.

    Raises:
        ProgramError: Open vSwitch refuses.
    """
    _ovs("--if-exists", "del-port", name)


def _ovs(*words: str) -> str:
    return _run(_OVS, f"--timeout={_OVS_WAIT_S}", *words)


def _run(program: str, *words: str) -> str:
    path = find_program(program)
    if path is None:
        package = _PACKAGES[program]
        raise HostError(f"{program} is not installed", hint=f"run: apt-get install {package}")
    return run([path, *words], timeout_s=_TIMEOUT_S).stdout
