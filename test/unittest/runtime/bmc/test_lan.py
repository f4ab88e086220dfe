"""The BMC's UDP sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from vm_peer import until

from infrasim.errors import HostError
from infrasim.runtime.bmc import lan
from infrasim.runtime.bmc.lan import LanSockets, Peer

pytestmark = pytest.mark.allow("socket")


class Client:
    """Somebody with a UDP socket."""

    def __init__(self, family: int = socket.AF_INET, address: str = "127.0.0.1") -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(0.2)

    def read(self) -> bytes:
        return self.socket.recv(4096)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.socket.close()


def free_port(*addresses: str) -> int:
    """A UDP port that is free at all of these addresses."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        try:
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


Scene = Callable[[LanSockets, list[tuple[bytes, Peer]]], Awaitable[None]]


def play(scene: Scene, port: int, *addresses: str) -> None:
    """A scene with a BMC that listens, and what it received."""

    async def whole() -> None:
        received: list[tuple[bytes, Peer]] = []
        sockets = LanSockets(addresses, port, lambda data, peer: received.append((data, peer)))
        try:
            sockets.open()
            async with asyncio.timeout(60):
                await scene(sockets, received)
        finally:
            sockets.close()

    asyncio.run(whole())


def test_an_answer_leaves_by_the_address_the_question_came_to(client: Client) -> None:
    """A client behind NAT or a firewall takes no answer from another address."""
    places = ("127.0.0.1", "127.0.0.77")
    port = free_port(*places)

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        for place in places:
            client.socket.sendto(place.encode(), (place, port))
            await until(lambda: received)
            datagram, peer = received.pop()
            assert datagram == place.encode()
            assert peer[:2] == client.socket.getsockname()
            sockets.send(b"answer", peer)
            assert client.socket.recvfrom(100) == (b"answer", (place, port))

    play(scene, port, *places)


def test_many_datagrams_come_in_order_although_others_have_their_turn(client: Client) -> None:
    port = free_port("127.0.0.1")
    count = 3 * lan._BATCH + 1

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        turns = 0
        for number in range(count):
            client.socket.sendto(bytes([number]), ("127.0.0.1", port))
        while len(received) < count:
            turns += 1
            await asyncio.sleep(0)
        assert [data[0] for data, _ in received] == list(range(count))
        assert turns > 2

    play(scene, port, "127.0.0.1")


def test_a_deaf_bmc_hears_and_says_nothing_and_forgets_what_was_said_meanwhile(client: Client) -> None:
    port = free_port("127.0.0.1")

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        client.socket.sendto(b"before", ("127.0.0.1", port))
        await until(lambda: received)
        _, peer = received.pop()
        sockets.is_deaf = True
        client.socket.sendto(b"lost", ("127.0.0.1", port))
        sockets.send(b"unsaid", peer)
        await asyncio.sleep(0.02)
        sockets.is_deaf = False
        client.socket.sendto(b"after", ("127.0.0.1", port))
        await until(lambda: received)
        assert [data for data, _ in received] == [b"after"]
        with pytest.raises(TimeoutError):
            client.read()

    play(scene, port, "127.0.0.1")


def test_a_client_that_has_gone_disturbs_nobody(client: Client) -> None:
    port = free_port("127.0.0.1")

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        gone = Client()
        gone.socket.sendto(b"x", ("127.0.0.1", port))
        await until(lambda: received)
        _, peer = received.pop()
        gone.socket.close()
        for _ in range(3):
            # The kernel tells of the closed port at a later call.
            sockets.send(b"answer", peer)
        client.socket.sendto(b"y", ("127.0.0.1", port))
        await until(lambda: received)
        sockets.send(b"answer", received[0][1])
        assert client.read() == b"answer"

    play(scene, port, "127.0.0.1")


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_trap_leaves_from_the_bmcs_own_port(address: str, family: int) -> None:
    port = free_port("127.0.0.1", "::1")
    console = Client(family, address)

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        sockets.send_trap(address, console.socket.getsockname()[1], b"trap")
        data, source = console.socket.recvfrom(100)
        assert (data, source[:2]) == (b"trap", (address, port))

    play(scene, port, "127.0.0.1", "::1")
    console.socket.close()


def test_a_trap_that_cannot_be_sent_is_lost() -> None:
    port = free_port("127.0.0.1")

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        sockets.send_trap("::1", 162, b"no IPv6 here")
        sockets.send_trap("255.255.255.255", 162, b"not allowed")

    play(scene, port, "127.0.0.1")


def test_listening_everywhere_takes_both_families() -> None:
    port = free_port("::")

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            one = Client(family, address)
            one.socket.sendto(b"x", (address, port))
            await until(lambda: received)
            sockets.send(b"answer", received.pop()[1])
            assert one.read() == b"answer"
            one.socket.close()

    play(scene, port, "::")


def test_an_address_somebody_else_has_is_an_error_and_nothing_stays_bound() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
            raise AssertionError

        with pytest.raises(HostError) as caught:
            play(scene, port, "127.0.0.77", "127.0.0.1")
        assert caught.value.message == f"BMC address 127.0.0.1 port {port}/udp: Address already in use"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.77", port))


def test_after_its_end_nothing_is_sent(client: Client) -> None:
    port = free_port("127.0.0.1")

    async def scene(sockets: LanSockets, received: list[tuple[bytes, Peer]]) -> None:
        client.socket.sendto(b"x", ("127.0.0.1", port))
        await until(lambda: received)
        sockets.close()
        sockets.close()
        sockets.send(b"late", received[0][1])
        sockets.send_trap("127.0.0.1", client.socket.getsockname()[1], b"late")
        with pytest.raises(TimeoutError):
            client.read()

    play(scene, port, "127.0.0.1")


def test_what_came_before_the_core_to_a_bound_socket_is_answered_through_it() -> None:
    async def scene() -> None:
        came: asyncio.Queue[tuple[bytes, Peer]] = asyncio.Queue()
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        bound.bind(("127.0.0.1", 0))
        place = bound.getsockname()
        sockets = LanSockets(["127.0.0.1"], place[1], lambda data, peer: came.put_nowait((data, peer)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(60)
            client.sendto(b"asked", place)
            sockets.open([bound])
            data, peer = await asyncio.wait_for(came.get(), 60)
            assert data == b"asked"
            sockets.send(b"answered", peer)
            assert client.recvfrom(64) == (b"answered", place)
        sockets.close()
        assert bound.fileno() == -1

    asyncio.run(scene())
