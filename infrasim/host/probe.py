"""Asks this machine what a plan must know: programs, versions, KVM, bound ports, interfaces.

Answers that cost a process are kept in the home's cache: QEMU's version until the program changes,
the KVM verdict until the next boot.
"""

from __future__ import annotations

import fcntl
import functools
import math
import os
import re
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infrasim.errors import DeadlineError, HostError, InfrasimError
from infrasim.host.cache import read_cache, write_cache
from infrasim.host.cores import usable_cores
from infrasim.host.facts import (
    RACADM_MODULE,
    AskQemu,
    HostFacts,
    KvmVerdict,
    NetworkFacts,
    PciDevice,
    QemuAbilities,
    Socket,
    TryQemu,
)
from infrasim.host.namespace import inside
from infrasim.host.process import boot_id, describe_exit, find_program, run
from infrasim.host.reservation import reservation_name, reserved

QEMU_PROGRAM = "qemu-system-x86_64"
QEMU_IMG_PROGRAM = "qemu-img"
IPMI_SIM_PROGRAM = "ipmi_sim"
SOCAT_PROGRAM = "socat"
SWTPM_PROGRAM = "swtpm"

# The module whose name stands in a supervisor's command line, before the node and its workspace.
SUPERVISOR_MODULE = "infrasim.runtime.daemon"

# Source: Linux include/uapi/linux/sockios.h and if.h.
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
# Source: Linux include/uapi/linux/capability.h.
_CAP_NET_ADMIN = 12

_KVM_DEVICE = Path("/dev/kvm")
_KVM_TIMEOUT_S = 2.0
# Source: linux/kvm.h.
_KVM_CHECK_EXTENSION = 0xAE03
_KVM_CAP_X86_SMM = 117

# data/kvm_probe.asm, assembled. Source: that file; a functional test assembles it again and compares.
KVM_PROBE_CODE = bytes.fromhex(
    "fa8cc88ed8660f0116c80031c08ec0bf0010b90020f3ab2666c7060010032000002666c706002003"
    "3000002666c7060030830000000f20e06683c8200f22e066b8001000000f22d866b9800000c00f32"
    "660d000100000f300f20c0660d010000800f22c066ea6c000f000800b8100000008ed88ed0bc0080"
    "0000b8a6000f00bf60400000668907c747020800008ec1e810668947060f011c25ce000f000f0bb0"
    "10e6f4f4ebfd488304240248cf9090900000000000000000ffff0000009aaf00ffff00000092cf00"
    "1700b0000f00ff0f0040000000000000"
)
# isa-debug-exit ends QEMU with (value << 1) | 1; the probe writes 0x10. Source: QEMU hw/misc/debugexit.
_KVM_PROBE_SUCCESS = 0x21
_FIRMWARE_SIZE = 65536
# A far jump to F000:0000, where a PC's processor starts.
_RESET_VECTOR = (0xFFF0, bytes.fromhex("ea000000f0"))


def gather_facts(cache: Path, *, with_kvm: bool = True) -> HostFacts:
    """The facts of this machine now. ``with_kvm`` is False when the node will not use KVM anyway.

    Raises:
        HostError: a program is missing.
    """
    qemu = require_program(QEMU_PROGRAM)
    kvm = kvm_verdict(qemu, cache) if with_kvm else KvmVerdict(False, "not asked for")
    free_mib, most_mib = memory_mib()
    return HostFacts(
        qemu_program=qemu,
        qemu_version=qemu_version(qemu, cache),
        ipmi_sim_program=require_program(IPMI_SIM_PROGRAM),
        socat_program=require_program(SOCAT_PROGRAM),
        swtpm_program=find_program(SWTPM_PROGRAM) or "",
        python_program=sys.executable,
        kvm=kvm,
        **network_facts(),
        machine_id=machine_id(),
        may_make_links=may_make_links(),
        memory_free_mib=free_mib,
        memory_most_mib=most_mib,
        ask_qemu=_asker(qemu, cache),
        try_qemu=_trier(qemu, cache),
        ask_cores=usable_cores,
        ask_pci=_pci_device,
    )


def network_facts(namespace: str | None = None) -> NetworkFacts:
    """What differs from one network namespace to the other, in the one that this process is in.

    That has the name ``namespace``; None: it is the usual one.
    """
    return NetworkFacts(
        udp_in_use=bound_sockets("udp"),
        tcp_in_use=bound_sockets("tcp"),
        ask_interfaces=functools.partial(_addresses_inside, namespace),
        ipv6_loopback="::1" in _ipv6_addresses(),
    )


def with_qemu(facts: HostFacts, cache: Path, program: str) -> HostFacts:
    """The same machine with another QEMU, a path or a name; KVM is tried with it where it works at all.

    Raises:
        HostError: there is no such program.
    """
    qemu = require_program(program)
    answers = cache_of(cache, program)
    return replace(
        facts,
        qemu_program=qemu,
        qemu_version=qemu_version(qemu, answers),
        kvm=kvm_verdict(qemu, answers) if facts.kvm.works else facts.kvm,
        ask_qemu=_asker(qemu, cache),
        try_qemu=_trier(qemu, cache),
    )


def cache_of(cache: Path, qemu_program: str) -> Path:
    """Where the answers of a QEMU are kept: those of the usual one beside those of the machine."""
    if qemu_program == QEMU_PROGRAM:
        return cache
    import hashlib

    return cache / "qemu" / hashlib.sha256(qemu_program.encode()).hexdigest()[:16]


def _asker(qemu: str, cache: Path) -> AskQemu:
    def ask(again: bool) -> QemuAbilities:
        from infrasim.host.qemu_abilities import qemu_abilities  # late: a plain node needs none

        return qemu_abilities(qemu, cache, again=again)

    return ask


def _pci_device(address: str) -> PciDevice | None:
    from infrasim.host.pci import Pci  # late: a plain node needs none

    return Pci().device(address)


def _trier(qemu: str, cache: Path) -> TryQemu:
    def attempt(words: Sequence[str]) -> str:
        from infrasim.host.qemu_trial import qemu_refusal  # late: as above

        return qemu_refusal(qemu, cache, words)

    return attempt


def loopback_is_up() -> bool:
    """Whether the loopback interface can be used. Source: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        answer = fcntl.ioctl(asker, _SIOCGIFFLAGS, struct.pack("16s24x", b"lo"))
    return bool(struct.unpack_from("=H", answer, 16)[0] & _IFF_UP)


def may_make_links(status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may make network devices. Source: proc(5), capabilities(7)."""
    try:
        lines = status.read_text().splitlines()
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
        return bool(int(effective, 16) & 1 << _CAP_NET_ADMIN)
    except (OSError, ValueError, IndexError, StopIteration):
        return False


def memory_mib(proc: Path = Path("/proc")) -> tuple[int | None, int | None]:
    """Memory that is free, and the most that one process can ask for; None if not known or unlimited.

    Source: proc(5), meminfo and sys/vm/overcommit_memory: with 1 everything is granted, otherwise not more
    at once than memory and swap space together.
    """
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        parts = (line.split() for line in lines)
        kib = {words[0].rstrip(":"): int(words[1]) for words in parts if len(words) > 1}
        grants_all = (proc / "sys/vm/overcommit_memory").read_text().strip() == "1"
        most = None if grants_all else (kib["MemTotal"] + kib["SwapTotal"]) // 1024
        return kib["MemAvailable"] // 1024, most
    except (OSError, ValueError, KeyError):
        return None, None


def require_program(name: str) -> str:
    """The path of a program infrasim drives.

    Raises:
        HostError: it is not installed.
    """
    path = find_program(name)
    if path is None:
        raise HostError(f"{name} is not installed", hint="run: infrasim init")
    return path


def qemu_version(program: str, cache: Path) -> tuple[int, ...]:
    """QEMU's version, such as (7, 2, 22).

    Raises:
        ProgramError: it does not run.
    """
    status = Path(program).stat()
    key = [program, status.st_size, status.st_mtime_ns]
    kept = read_cache(cache / "qemu.json")
    if kept.get("key") == key:
        return tuple(kept["version"])
    said = run([program, "--version"], timeout_s=20).stdout
    found = re.search(r"QEMU emulator version (\d+(?:\.\d+)*)", said)
    if found is None:
        first = next(iter(said.strip().splitlines()), "")
        raise HostError(f"{program} --version said {first!r}, not a version of QEMU")
    version = [int(part) for part in found.group(1).split(".")]
    write_cache(cache / "qemu.json", {"key": key, "version": version})
    return tuple(version)


def kvm_verdict(qemu: str, cache: Path, *, again: bool = False) -> KvmVerdict:
    """Whether KVM runs 64-bit guest code that takes an exception; asked once per boot unless ``again``.

    /dev/kvm may exist and open, and yet no operating system may boot with it. Source: measured.
    """
    kept = read_cache(cache / "kvm.json")
    # Another user may have other rights to the device.
    key = [boot_id(), qemu, os.geteuid()]
    if kept.get("key") == key and not again:
        return KvmVerdict(bool(kept["works"]), str(kept["reason"]), bool(kept.get("has_smm")))
    verdict = _ask_kvm(qemu)
    said = {"works": verdict.works, "reason": verdict.reason, "has_smm": verdict.has_smm}
    write_cache(cache / "kvm.json", {"key": key, **said})
    return verdict


def _ask_kvm(qemu: str) -> KvmVerdict:
    if not _KVM_DEVICE.exists():
        return KvmVerdict(False, f"{_KVM_DEVICE} does not exist")
    try:
        with _KVM_DEVICE.open("r+b", buffering=0) as device:
            has_smm = _kvm_has_smm(device.fileno())
    except OSError as exc:
        return KvmVerdict(False, f"{_KVM_DEVICE} cannot be opened: {exc.strerror}")
    try:
        code, said = run_probe_guest(qemu, "kvm", timeout_s=_KVM_TIMEOUT_S)
    except DeadlineError:
        return KvmVerdict(False, f"{_KVM_DEVICE} exists, but a 64-bit guest hangs at its first exception")
    except InfrasimError as exc:
        return KvmVerdict(False, exc.message)
    if code == _KVM_PROBE_SUCCESS:
        return KvmVerdict(True, "a 64-bit guest ran and took an exception", has_smm)
    detail = said or ("the guest was reset" if code == 0 else describe_exit(code))
    return KvmVerdict(False, f"{_KVM_DEVICE} exists, but a 64-bit guest does not run: {detail}")


def _kvm_has_smm(device: int) -> bool:
    import fcntl

    try:
        return fcntl.ioctl(device, _KVM_CHECK_EXTENSION, _KVM_CAP_X86_SMM) > 0
    except OSError:
        return False


def run_probe_guest(qemu: str, accelerator: str, *, timeout_s: float) -> tuple[int, str]:
    """Run the probe as a guest's firmware; its exit code (0x21 is success) and QEMU's last words."""
    image = bytearray(_FIRMWARE_SIZE)
    image[: len(KVM_PROBE_CODE)] = KVM_PROBE_CODE
    offset, jump = _RESET_VECTOR
    image[offset : offset + len(jump)] = jump
    # In memory: whoever kills this process finds no file left behind.
    with os.fdopen(os.memfd_create("infrasim-kvm-probe"), "wb") as firmware:
        firmware.write(image)
        firmware.flush()
        machine = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-m", "16"]
        exit_port = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        # A guest that hangs spins. Should this process be killed meanwhile, the kernel ends what it left.
        bounded = ["prlimit", f"--cpu={math.ceil(timeout_s) + 1}", "--", qemu]
        done = run(
            [
                *bounded,
                "-accel",
                accelerator,
                *machine,
                "-no-reboot",
                "-bios",
                f"/proc/{os.getpid()}/fd/{firmware.fileno()}",
                *exit_port,
            ],
            timeout_s=timeout_s,
            check=False,
        )
    return done.exit_code, done.stderr.strip()


def bound_sockets(protocol: str) -> frozenset[Socket]:
    """Local addresses bound for ``udp`` or listening for ``tcp``, and those that nodes of any home have.

    Source: proc(5), /proc/net.
    """
    found = set(reserved(protocol))
    for family in ("", "6"):
        try:
            lines = Path(f"/proc/net/{protocol}{family}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if protocol == "udp" or fields[3] == "0A":
                found.add(_parse_socket(fields[1]))
    return frozenset(found)


def holder_of(protocol: str, address: str, port: int) -> str:
    """Who has a port, such as ``ipmi_sim (pid 4711)``; ``another process`` when it cannot be seen."""
    import psutil

    try:
        connections = psutil.net_connections(kind=protocol)
    except (psutil.Error, OSError):
        return "another process"
    for connection in connections:
        local = connection.laddr
        if not local or local.port != port or (protocol == "tcp" and connection.status != "LISTEN"):
            continue
        if local.ip in (address, "0.0.0.0", "::") or address in ("0.0.0.0", "::"):
            return process_title(connection.pid)
    return _who_reserved(reservation_name(protocol, Socket(address, port)))


def _who_reserved(mark: str) -> str:
    """The node whose host is to be bound to a port, but is not now."""
    import psutil

    for connection in psutil.net_connections(kind="unix"):
        if str(connection.laddr) == f"@{mark}":
            return process_title(connection.pid)
    return "another process"


def _addresses_inside(namespace: str | None) -> dict[str, tuple[str, ...]]:
    with inside(namespace):
        return interface_addresses()


def interface_addresses() -> dict[str, tuple[str, ...]]:
    """Every interface with its addresses, IPv4 first, link-local IPv6 left out."""
    import psutil

    found: dict[str, tuple[str, ...]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        ipv4 = [entry.address for entry in addresses if entry.family == socket.AF_INET]
        ipv6 = [entry.address for entry in addresses if entry.family == socket.AF_INET6]
        found[name] = (*ipv4, *(address for address in ipv6 if "%" not in address))
    return found


def machine_id() -> str:
    """An id of this installation, empty where there is none. Source: machine-id(5)."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def process_title(pid: int | None) -> str:
    """A process as people know it; a supervisor by the node it runs. None for one that cannot be seen."""
    import psutil

    if pid is None:
        return "another process"
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        for module in (SUPERVISOR_MODULE, RACADM_MODULE):
            if module in words[:-2]:
                name, workspace = words[words.index(module) + 1 :][:2]
                return f"infrasim node {name} of {Path(workspace).parent} (pid {pid})"
        return f"{process.name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def _parse_socket(text: str) -> Socket:
    """``0100007F:026F`` and its IPv6 form: words of four bytes in the machine's own order."""
    words, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return Socket(socket.inet_ntop(family, packed), int(port, 16))


def _ipv6_addresses() -> frozenset[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])) for line in lines)
