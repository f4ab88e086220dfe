"""The machine itself: board, accelerator, CPU, memory, identity, firmware menu, screen, monitor."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from infrasim.host.facts import Accelerator
from infrasim.qemu.element import option

# How long SeaBIOS offers its boot menu. It must be long enough for a key to arrive, because that is
# how a boot override enters the menu, and is short beside a boot. Milliseconds. Source: measured.
MENU_WAIT_MS = 300


def machine(accelerator: Accelerator) -> tuple[str, ...]:
    """A Q35 board without QEMU's default devices, paused until its monitor says go.

    ``graphics=off`` makes the firmware repeat its screen on the serial port.
    """
    return (
        *("-S", "-no-user-config", "-nodefaults"),
        *option("-machine", "q35", graphics=False, sata=False, vmport=False),
        *option("-accel", accelerator.value),
        *option("-rtc", base="utc"),
        *option("-boot", menu=True, splash_time=MENU_WAIT_MS),
    )


def cpu(model: str, features: str, accelerator: Accelerator) -> tuple[str, ...]:
    """The CPU model, by default all that the accelerator can do, with ``+feature`` words after it."""
    default = "host" if accelerator is Accelerator.KVM else "max"
    return ("-cpu", ",".join([model or default, *features.split(",")] if features else [model or default]))


def processors(total: int, sockets: int) -> tuple[str, ...]:
    """``total`` processors spread evenly over ``sockets``, which must divide it."""
    return option("-smp", str(total), sockets=sockets, cores=total // sockets, threads=1)


def memory(size_mib: int) -> tuple[str, ...]:
    """The size of the memory."""
    return ("-m", str(size_mib))


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
