"""Keeps the ports of a host that is off, so that its next power-on finds them free.

QEMU listens for the screen and the forwarded ports only while it runs. Without this, a node of
another home could be given them meanwhile, and the host could never be switched on again. They are
reserved all the time, for QEMU binds them some time after they were let go of for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable

from infrasim.host.facts import Socket
from infrasim.host.reservation import reserve
from infrasim.plan.model import IPMI_CONSOLE, RACADM, NodePlan, PortSpec

_BATCH = 32


def host_ports(plan: NodePlan) -> tuple[PortSpec, ...]:
    """The ports of a node that QEMU itself listens at."""
    bmc = plan.bmc
    return tuple(
        spec
        for spec in plan.ports
        if spec.address != bmc.private_address
        and spec.purpose not in (IPMI_CONSOLE, RACADM)
        and (spec.protocol != "udp" or spec.port != bmc.port or spec.address not in bmc.listen)
    )


class HeldPorts:
    """Has these ports, or some of them; whoever connects is told at once that there is nobody."""

    def __init__(self, ports: Iterable[PortSpec]) -> None:
        self._ports = tuple(ports)
        self._sockets: dict[PortSpec, socket.socket] = {}
        self._marks: list[socket.socket] = []

    def reserve(self) -> None:
        """Let no other node be given them, whether or not they are held."""
        marks = (reserve(spec.protocol, Socket(spec.address, spec.port)) for spec in self._ports)
        self._marks += [mark for mark in marks if mark]

    def give_up(self) -> None:
        """Neither hold nor reserve them any longer."""
        self.release()
        for mark in self._marks:
            mark.close()
        self._marks.clear()

    def hold(self) -> tuple[str, ...]:
        """Take those that are not held yet; what is wrong with those that cannot be had."""
        faults = []
        for spec in self._ports:
            if spec in self._sockets:
                continue
            try:
                self._sockets[spec] = _listen(spec)
            except OSError as exc:
                place = f"{spec.address} port {spec.port}/{spec.protocol}"
                faults.append(f"{spec.purpose}: {place}: {exc.strerror or exc}")
        return tuple(faults)

    def release(self) -> None:
        """Give them all back."""
        for spec, held in self._sockets.items():
            if spec.protocol == "tcp":
                asyncio.get_running_loop().remove_reader(held)
            held.close()
        self._sockets.clear()


def _listen(spec: PortSpec) -> socket.socket:
    kind = socket.SOCK_STREAM if spec.protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in spec.address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if spec.protocol == "tcp":
            # The host's last connections may still be fading away.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((spec.address, spec.port))
        if spec.protocol == "tcp":
            made.listen()
            asyncio.get_running_loop().add_reader(made, _turn_away, made)
    except OSError:
        made.close()
        raise
    return made


def _turn_away(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for _ in range(_BATCH):
            client, _ = listener.accept()
            client.close()
