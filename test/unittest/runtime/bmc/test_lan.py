"""The BMC's UDP sockets: bound by themselves, or by an opening before them."""

from __future__ import annotations

import asyncio
import socket

import pytest

from infrasim.errors import HostError
from infrasim.runtime.bmc.lan import LanSockets, Peer


@pytest.mark.allow("socket")
@pytest.mark.parametrize("is_bound", [False, True])
def test_datagrams_come_in_and_answers_leave_by_the_same_socket(is_bound: bool) -> None:
    async def scene() -> None:
        came: asyncio.Queue[tuple[bytes, Peer]] = asyncio.Queue()
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        if not is_bound:
            bound.close()
        sockets = LanSockets(["127.0.0.1"], port, lambda data, peer: came.put_nowait((data, peer)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            if is_bound:
                # Before anybody reads.
                client.sendto(b"asked", ("127.0.0.1", port))
            sockets.open([bound] if is_bound else ())
            if not is_bound:
                client.sendto(b"asked", ("127.0.0.1", port))
            data, peer = await asyncio.wait_for(came.get(), 5)
            assert data == b"asked"
            sockets.send(b"answered", peer)
            client.settimeout(5)
            assert client.recvfrom(64) == (b"answered", ("127.0.0.1", port))
        sockets.close()

    asyncio.run(scene())


@pytest.mark.allow("socket")
def test_a_taken_address_is_named() -> None:
    async def scene() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            sockets = LanSockets(["127.0.0.1"], port, lambda data, peer: None)
            with pytest.raises(HostError, match=f"BMC address 127.0.0.1 port {port}/udp"):
                sockets.open()
            sockets.close()

    asyncio.run(scene())
