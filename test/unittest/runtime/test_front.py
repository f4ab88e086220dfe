"""The BMC front on real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from infrasim.errors import HostError
from infrasim.runtime import front
from infrasim.runtime.front import Front

pytestmark = pytest.mark.allow("socket")

PUBLIC, PRIVATE = "127.0.0.1", "127.7.7.7"
OPEN_SESSION_WITHOUT_PASSWORD = bytes.fromhex(
    "0600ff07 0610 00000000 00000000 2000 5a000000 a4a3a2a00000000800000000 0100000801000000 0200000801000000"
)


def bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.bind((address, port))
    return made


def free_port(*addresses: str) -> int:
    """A UDP port that is free at all of them."""
    while True:
        with contextlib.ExitStack() as opened:
            port = int(opened.enter_context(bound(PRIVATE, 0)).getsockname()[1])
            try:
                for address in addresses:
                    opened.enter_context(bound(address, port))
            except OSError:
                continue
        return port


def port_free_everywhere() -> int:
    """A UDP port that nobody has at any address; another node's sockets may be at one of them only."""
    with bound("0.0.0.0", 0) as probe:
        return int(probe.getsockname()[1])


class World:
    """A front, the BMC behind it, and clients before it."""

    def __init__(self, *addresses: str) -> None:
        self.port = free_port(*addresses)
        self.bmc = bound(PRIVATE, self.port)
        self.front = Front(addresses, self.port, PRIVATE)
        self._clients: list[socket.socket] = []

    def client(self, address: str = PUBLIC) -> socket.socket:
        made = bound("::1" if ":" in address else "127.0.0.1", 0)
        made.connect((address, self.port))
        self._clients.append(made)
        return made

    def close(self) -> None:
        self.front.close()
        for each in (*self._clients, self.bmc):
            each.close()


@contextlib.asynccontextmanager
async def opened(*addresses: str) -> AsyncIterator[World]:
    world = World(*addresses)
    world.front.open()
    try:
        yield world
    finally:
        world.close()


def play(scene: Callable[[World], Awaitable[None]], *addresses: str) -> None:
    async def whole() -> None:
        async with opened(*(addresses or (PUBLIC,))) as world:
            await asyncio.wait_for(scene(world), 5)

    asyncio.run(whole())


async def receive(where: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(where, 4096)


async def receive_from(where: socket.socket) -> tuple[bytes, tuple[str, int]]:
    loop = asyncio.get_running_loop()
    data, address = await loop.sock_recvfrom(where, 4096)
    return data, address


async def silent(where: socket.socket) -> bool:
    """Whether nothing comes, after everything that was under way has arrived."""
    for _ in range(10):
        await asyncio.sleep(0)
    try:
        where.recv(4096)
    except BlockingIOError:
        return True
    return False


def test_datagrams_go_there_and_back() -> None:
    async def scene(world: World) -> None:
        client = world.client()
        client.send(b"question")
        data, address = await receive_from(world.bmc)
        assert data == b"question"
        world.bmc.sendto(b"answer", address)
        assert await receive(client) == b"answer"

    play(scene)


def test_two_clients_are_told_apart() -> None:
    async def scene(world: World) -> None:
        clients = [world.client(), world.client()]
        seen = {}
        for number, client in enumerate(clients):
            client.send(b"from %d" % number)
            seen[number] = await receive_from(world.bmc)
        assert [seen[number][0] for number in seen] == [b"from 0", b"from 1"]
        assert seen[0][1] != seen[1][1]
        for number in (1, 0):
            world.bmc.sendto(b"to %d" % number, seen[number][1])
        assert [await receive(client) for client in clients] == [b"to 0", b"to 1"]

    play(scene)


def test_one_client_keeps_its_place_and_the_bmc_may_speak_first() -> None:
    async def scene(world: World) -> None:
        client = world.client()
        client.send(b"one")
        client.send(b"two")
        first, second = await receive_from(world.bmc), await receive_from(world.bmc)
        assert first[1] == second[1]
        for word in (b"serial", b"over", b"LAN"):
            world.bmc.sendto(word, first[1])
        assert [await receive(client) for _ in range(3)] == [b"serial", b"over", b"LAN"]

    play(scene)


def test_answer_of_the_front_never_reaches_the_bmc() -> None:
    async def scene(world: World) -> None:
        client = world.client()
        client.send(OPEN_SESSION_WITHOUT_PASSWORD)
        answer = await receive(client)
        assert answer[:6] == bytes.fromhex("0600ff070611")
        assert answer[17] == 0x11
        assert await silent(world.bmc)

    play(scene)


def test_ipv6() -> None:
    try:
        bound("::1", 0).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    async def scene(world: World) -> None:
        for address in (PUBLIC, "::1"):
            client = world.client(address)
            client.send(address.encode())
            data, place = await receive_from(world.bmc)
            world.bmc.sendto(data + b"!", place)
            assert await receive(client) == address.encode() + b"!"

    play(scene, PUBLIC, "::1")


def test_bmc_that_is_being_restarted_loses_datagrams_and_nothing_else() -> None:
    async def scene(world: World) -> None:
        client = world.client()
        client.send(b"before")
        await receive(world.bmc)
        world.bmc.close()
        client.send(b"lost")
        await asyncio.sleep(0.02)
        world.bmc = bound(PRIVATE, world.port)
        client.send(b"after")
        assert await receive(world.bmc) == b"after"

    play(scene)


def test_silent_clients_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "CLIENT_IDLE_S", 0.04)

    async def scene(world: World) -> None:
        client = world.client()
        client.send(b"one")
        _, first = await receive_from(world.bmc)
        while world.front._clients:
            await asyncio.sleep(0.005)
        client.send(b"two")
        data, second = await receive_from(world.bmc)
        assert data == b"two"
        assert first != second
        world.bmc.sendto(b"answer", second)
        assert await receive(client) == b"answer"

    play(scene)


def test_flood_of_clients_takes_the_place_of_the_longest_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "CLIENTS_MOST", 3)

    async def scene(world: World) -> None:
        first = world.client()
        first.send(b"first")
        places = [(await receive_from(world.bmc))[1]]
        for number in range(3):
            world.client().send(b"%d" % number)
            places.append((await receive_from(world.bmc))[1])
        assert len(world.front._clients) == 3
        assert len(set(places)) == 4
        world.bmc.sendto(b"too late", places[0])
        assert await silent(first)

    play(scene)


def test_address_in_use_is_named_and_nothing_stays_open() -> None:
    async def whole() -> None:
        port = free_port(PUBLIC, "127.0.0.2")
        with bound("127.0.0.2", port):
            made = Front((PUBLIC, "127.0.0.2"), port, PRIVATE)
            with pytest.raises(HostError) as caught:
                made.open()
            assert caught.value.message == f"BMC address 127.0.0.2 port {port}/udp: Address already in use"
            assert caught.value.hint == ""
            made.close()
            bound(PUBLIC, port).close()

    asyncio.run(whole())


def test_low_port_without_permission_has_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    async def whole() -> None:
        monkeypatch.setattr(socket, "socket", Refusing)
        with pytest.raises(HostError) as caught:
            Front((PUBLIC,), 623, PRIVATE).open()
        assert caught.value.message == "BMC address 127.0.0.1 port 623/udp: Permission denied"
        assert caught.value.hint == "run with sudo, or set bmc.ipmi_over_lan_port above 1023"
        monkeypatch.undo()

    asyncio.run(whole())


def test_everywhere_and_the_bmc_itself_share_a_port() -> None:
    async def whole() -> None:
        port = port_free_everywhere()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bmc:
            bmc.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made = Front(("0.0.0.0",), port, PRIVATE)
            made.open()
            bmc.bind((PRIVATE, port))
            with bound("127.0.0.1", 0) as client:
                client.connect(("127.0.0.1", port))
                client.send(b"question")
                assert await asyncio.wait_for(receive(bmc), 5) == b"question"
            made.close()

    asyncio.run(whole())
