"""The machine itself: board, accelerator, identity, firmware menu, screen, monitor."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from infrasim.host.facts import Accelerator
from infrasim.qemu.element import option

# How long SeaBIOS offers its boot menu. It must be long enough for a key to arrive, because that is
# how a boot override enters the menu, and is short beside a boot. Milliseconds. Source: measured.
MENU_WAIT_MS = 300


def machine(accelerator: Accelerator, memory_backend: str | None = None) -> tuple[str, ...]:
    """A Q35 board without QEMU's default devices, paused until its monitor says go.

    ``graphics=off`` makes the firmware repeat its screen on the serial port. ``memory_backend`` is the
    object that is its memory, if there is one.
    """
    return (
        *("-S", "-no-user-config", "-nodefaults"),
        *option("-machine", "q35", graphics=False, sata=False, vmport=False, memory_backend=memory_backend),
        *option("-accel", accelerator.value),
        *option("-rtc", base="utc"),
        *option("-boot", menu=True, splash_time=MENU_WAIT_MS),
    )


def identity(node: str, uuid: str, smbios: Iterable[Path]) -> tuple[str, ...]:
    """The name and the SMBIOS table, one structure per file, in table order."""
    files = (word for path in smbios for word in option("-smbios", file=path))
    return (*option("-name", f"{node}-node"), "-uuid", uuid, *files)


def screen(address: str, display: int) -> tuple[str, ...]:
    """A VGA card shown by VNC at ``address``, port 5900 + ``display``."""
    place = f"[{address}]" if ":" in address else address
    return ("-vnc", f"{place}:{display}", *option("-device", "VGA", id="vga0"))


def monitor(socket: Path) -> tuple[str, ...]:
    """The machine protocol on a unix socket."""
    return (
        *option("-chardev", "socket", id="qmp", path=socket, server=True, wait=False),
        *option("-mon", chardev="qmp", mode="control"),
    )


def direct_kernel(kernel: str, initrd: str, cmdline: str) -> tuple[str, ...]:
    """A Linux kernel started by the firmware in place of a boot device."""
    words = [*(("-kernel", kernel) if kernel else ()), *(("-initrd", initrd) if initrd else ())]
    return (*words, *(("-append", cmdline) if cmdline else ()))
