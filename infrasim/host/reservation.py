"""Ports that belong to a node although nobody may be bound to them at the moment.

QEMU binds the ports of a host a while after it was started, and lets go of them when it ends. In between, a
node of another home would find them free. So whoever runs a node has a socket in Linux's abstract namespace
per port, whose name says which; it goes with its process, whatever happens to that, and is of the same
network namespace as the ports. Source: unix(7).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from infrasim.host.facts import Socket

_NAME = "infrasim/port"


def reserve(protocol: str, place: Socket) -> socket.socket | None:
    """Have a port of one's own until the socket is closed; None if another node has it."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0{reservation_name(protocol, place)}")
    except OSError:
        mark.close()
        return None
    return mark


def reserved(protocol: str) -> Iterable[Socket]:
    """The ports that nodes of this machine have. Source: proc(5), /proc/net/unix, where ``@`` is abstract."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return
    begin = f"@{_NAME}/{protocol}/"
    for line in lines:
        _, found, place = line.partition(begin)
        address, _, port = place.rpartition("/")
        # Anybody can give a socket any name.
        if found and address and port.isdecimal():
            yield Socket(address, int(port))


def reservation_name(protocol: str, place: Socket) -> str:
    """The name of the socket that means a port, such as ``infrasim/port/tcp/127.0.0.1/5901``."""
    return f"{_NAME}/{protocol}/{place.address}/{place.port}"
