"""The BMC's UDP sockets: datagrams go to the LAN door of the core, and its answers go back."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from infrasim.errors import HostError

_DATAGRAM_MOST = 4096
# So many datagrams are taken in one go before others have their turn.
_BATCH = 32

# Behind the address stands the socket a datagram came through, because the answer leaves by the same one.
Peer = tuple[Any, ...]


class LanSockets:
    """Listens at ``addresses``, all at one port; ``receive`` takes a datagram and its peer."""

    def __init__(self, addresses: Sequence[str], port: int, receive: Callable[[bytes, Peer], None]) -> None:
        self._addresses = tuple(addresses)
        self._port = port
        self._receive = receive
        self._listeners: dict[int, socket.socket] = {}
        self.is_deaf = False

    def open(self, bound: Sequence[socket.socket] = ()) -> None:
        """Begin to listen at every address, through the sockets that are ``bound`` to them already, if any.

        Raises:
            HostError: an address or port cannot be had.
        """
        loop = asyncio.get_running_loop()
        for listener in bound or (_bind(address, self._port) for address in self._addresses):
            self._listeners[listener.fileno()] = listener
            loop.add_reader(listener, self._readable, listener.fileno())

    def close(self) -> None:
        """Stop listening."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners.values():
            loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def send(self, datagram: bytes, peer: Peer) -> None:
        """Send ``datagram`` to where ``peer`` wrote from; what cannot be sent is lost, as on any network."""
        *address, number = peer
        listener = self._listeners.get(number)
        if listener and not self.is_deaf:
            with contextlib.suppress(OSError):
                listener.sendto(datagram, tuple(address))

    def send_trap(self, address: str, port: int, datagram: bytes) -> None:
        """Send something of the BMC's own, from the port it listens at; it may be lost."""
        version = ipaddress.ip_address(address).version
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        for listener in self._listeners.values():
            if listener.family == family:
                with contextlib.suppress(OSError):
                    listener.sendto(datagram, (address, port))
                return

    def _readable(self, number: int) -> None:
        listener = self._listeners[number]
        for _ in range(_BATCH):
            try:
                datagram, address = listener.recvfrom(_DATAGRAM_MOST)
            except OSError:
                return
            if not self.is_deaf:
                self._receive(datagram, (*address, number))


def _bind(address: str, port: int) -> socket.socket:
    version = ipaddress.ip_address(address).version
    listener = socket.socket(
        socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        if version == 6:
            # "::" is every address of both families.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        listener.bind((address, port))
    except OSError as exc:
        listener.close()
        hint = "run with sudo, or set bmc.ipmi_over_lan_port above 1023" if exc.errno == 13 else ""
        raise HostError(f"BMC address {address} port {port}/udp: {exc.strerror}", hint=hint) from exc
    return listener
