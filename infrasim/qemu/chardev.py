"""The serial port and the system interface to the BMC."""

from __future__ import annotations

from pathlib import Path

from infrasim.qemu.element import option

# The character device behind the first serial port.
SERIAL_CHARDEV = "serial0"

# How often QEMU tries again when the other end is gone. Seconds.
RECONNECT_S = 1


def serial_port(socket: Path | None, log: Path) -> tuple[str, ...]:
    """The first serial port, joined to ``socket``; without one its bytes are appended to ``log``.

    So the log can be emptied while QEMU writes it.
    """
    backend = (
        socket_client(SERIAL_CHARDEV, socket)
        if socket
        else option("-chardev", "null", id=SERIAL_CHARDEV, logfile=log, logappend=True)
    )
    return (*backend, *option("-device", "isa-serial", chardev=SERIAL_CHARDEV, index=0))


def further_serial_port(index: int, name: str, log: Path) -> tuple[str, ...]:
    """One of the serial ports behind the first, from 1; its bytes go to ``log``, begun anew."""
    return (
        *option("-chardev", "file", id=name, path=log),
        *option("-device", "isa-serial", chardev=name, index=index),
    )


def socket_server(name: str, socket: Path) -> tuple[str, ...]:
    """A character device that leads to whoever connects to ``socket``."""
    return option("-chardev", "socket", id=name, path=socket, server=True, wait=False)


def socket_client(name: str, socket: Path) -> tuple[str, ...]:
    """A character device that leads to whoever listens at ``socket``, again and again."""
    return option("-chardev", "socket", id=name, path=socket, reconnect=RECONNECT_S)


def guest_agent(socket: Path) -> tuple[str, ...]:
    """The fourth serial port, which leads to whoever connects to ``socket``."""
    return (
        *socket_server("guest-agent", socket),
        *option("-device", "isa-serial", chardev="guest-agent", index=3),
    )


def system_interface(socket: Path, kind: str, io_port: int, irq: int) -> tuple[str, ...]:
    """An interface of that kind, ``kcs`` or ``bt``, at ``io_port`` whose BMC listens at ``socket``.

    ``irq`` 0 is no interrupt; Linux then polls, which takes a fifth longer (measured).
    """
    return (
        *socket_client("ipmi0", socket),
        *option("-device", "ipmi-bmc-extern", id="bmc0", chardev="ipmi0"),
        *option("-device", f"isa-ipmi-{kind}", bmc="bmc0", ioport=io_port, irq=irq),
    )
