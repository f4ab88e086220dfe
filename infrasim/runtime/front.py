"""The BMC front: what listens on a node's LAN addresses and relays RMCP datagrams to ipmi_sim.

Each client gets a socket of its own towards ipmi_sim, so that ipmi_sim can tell clients apart and
may speak first, as serial-over-LAN does. What is done with a datagram is decided by ``bmc.rmcp``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from infrasim.bmc.rmcp import Answer, Forward, judge
from infrasim.errors import HostError
from infrasim.host.facts import WILDCARDS

LOG = logging.getLogger(__name__)

# A client that is silent this long has no session left: ipmi_sim ends its own after 60 s.
# Source: IPMI 2.0 section 6.12.15 (session inactivity timeout).
CLIENT_IDLE_S = 180.0
# A flood of new clients may not take all descriptors; the longest silent ones give way.
CLIENTS_MOST = 512

_DATAGRAM_MOST = 4096
_BATCH = 32

Address = tuple[str, int] | tuple[str, int, int, int]


@dataclass
class _Client:
    public: socket.socket
    address: Address
    upstream: socket.socket
    last_heard_s: float


class Front:
    """Listens at ``addresses`` and relays to ``upstream``; all at the same port."""

    def __init__(self, addresses: Sequence[str], port: int, upstream: str) -> None:
        self._addresses = tuple(addresses)
        self._port = port
        self._upstream = (upstream, port)
        self._listeners: list[socket.socket] = []
        self._clients: dict[tuple[int, Address], _Client] = {}
        self._sweep: asyncio.Task[None] | None = None

    def open(self, bound: Sequence[socket.socket] = ()) -> None:
        """Bind every address, unless ``bound`` are the sockets already, and begin to relay.

        Raises:
            HostError: an address or port cannot be had.
        """
        loop = asyncio.get_running_loop()
        for listener in bound or (_bind(address, self._port) for address in self._addresses):
            self._listeners.append(listener)
            loop.add_reader(listener, self._from_client, listener)
        self._sweep = loop.create_task(self._forget_silent_clients())

    def close(self) -> None:
        """Stop listening and forget every client."""
        loop = asyncio.get_running_loop()
        if self._sweep:
            self._sweep.cancel()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        for key in list(self._clients):
            self._forget(key)
        self._listeners.clear()

    def _from_client(self, listener: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                datagram, address = listener.recvfrom(_DATAGRAM_MOST)
            except OSError:
                return
            verdict = judge(datagram)
            match verdict:
                case Answer(answer):
                    with contextlib.suppress(OSError):
                        listener.sendto(answer, address)
                case Forward(forwarded):
                    with contextlib.suppress(OSError):
                        self._client(listener, address).upstream.send(forwarded)

    def _from_bmc(self, client: _Client) -> None:
        for _ in range(_BATCH):
            try:
                datagram = client.upstream.recv(_DATAGRAM_MOST)
            except OSError:
                return
            with contextlib.suppress(OSError):
                client.public.sendto(datagram, client.address)

    def _client(self, listener: socket.socket, address: Address) -> _Client:
        key = (listener.fileno(), address)
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= CLIENTS_MOST:
                self._forget(min(self._clients, key=lambda each: self._clients[each].last_heard_s))
            client = _Client(listener, address, self._connect_upstream(), 0.0)
            self._clients[key] = client
            asyncio.get_running_loop().add_reader(client.upstream, self._from_bmc, client)
        client.last_heard_s = time.monotonic()
        return client

    def _connect_upstream(self) -> socket.socket:
        upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        upstream.connect(self._upstream)
        return upstream

    def _forget(self, key: tuple[int, Address]) -> None:
        client = self._clients.pop(key)
        asyncio.get_running_loop().remove_reader(client.upstream)
        client.upstream.close()

    async def _forget_silent_clients(self) -> None:
        while True:
            await asyncio.sleep(CLIENT_IDLE_S / 4)
            oldest_s = time.monotonic() - CLIENT_IDLE_S
            for key in [key for key, client in self._clients.items() if client.last_heard_s < oldest_s]:
                self._forget(key)


def _bind(address: str, port: int) -> socket.socket:
    version = ipaddress.ip_address(address).version
    listener = socket.socket(
        socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        if version == 6:
            # "::" is every address of both families.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        if address in WILDCARDS:
            # ipmi_sim binds its own loopback address at the same port, with this option too.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
    except OSError as exc:
        listener.close()
        hint = "run with sudo, or set bmc.ipmi_over_lan_port above 1023" if exc.errno == 13 else ""
        raise HostError(f"BMC address {address} port {port}/udp: {exc.strerror}", hint=hint) from exc
    return listener
