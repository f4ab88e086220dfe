"""The machine itself: identity, screen, monitor."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from infrasim.qemu.chardev import socket_server
from infrasim.qemu.element import option


def identity(node: str, uuid: str, smbios: Iterable[Path]) -> tuple[str, ...]:
    """The name and the SMBIOS table, one structure per file, in table order."""
    files = (word for path in smbios for word in option("-smbios", file=path))
    return (*option("-name", f"{node}-node"), "-uuid", uuid, *files)


def screen(address: str, display: int) -> tuple[str, ...]:
    """A VGA card shown by VNC at ``address``, port 5900 + ``display``."""
    place = f"[{address}]" if ":" in address else address
    return ("-vnc", f"{place}:{display}", *option("-device", "VGA", id="vga0"))


def monitor(name: str, socket: Path) -> tuple[str, ...]:
    """The machine protocol on a unix socket, for one client at a time."""
    return (*socket_server(name, socket), *option("-mon", chardev=name, mode="control"))


def direct_kernel(kernel: str, initrd: str, cmdline: str) -> tuple[str, ...]:
    """A Linux kernel started by the firmware in place of a boot device."""
    words = [*(("-kernel", kernel) if kernel else ()), *(("-initrd", initrd) if initrd else ())]
    return (*words, *(("-append", cmdline) if cmdline else ()))
