"""The link to ipmi_sim against one that answers, refuses, falls silent and dies."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest
from vm_peer import GET_DEVICE_ID, EnginePeer, until

from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.vm import HardwareCommand, VmRequest, VmStream, answer_wire, command_wire
from infrasim.runtime.bmc import engine
from infrasim.runtime.bmc.engine import EngineLink

pytestmark = pytest.mark.allow("socket")

STORAGE, ADD_SEL = 0x0A, 0x44
FLAGS, READ_EVENT = (0x06, 0x31), (0x06, 0x35)


def play(scene: Callable[[EnginePeer, EngineLink, list[bytes]], Awaitable[None]]) -> None:
    """A scene with an ipmi_sim, a link to it that is connected, and the events it told."""

    async def whole() -> None:
        peer = EnginePeer()
        await peer.open()
        events: list[bytes] = []
        link = EngineLink("127.0.0.1", peer.port, events.append)
        try:
            async with asyncio.timeout(60):
                await link.connect()
                await scene(peer, link, events)
        finally:
            link.close()
            await peer.close()

    asyncio.run(whole())


def test_it_is_ready_when_ipmi_sim_has_answered() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        assert link.is_ready()
        assert peer.asked == [(*GET_DEVICE_ID, b"")]
        assert peer.connections == 1

    play(scene)


def test_a_request_is_passed_on_with_its_lun_and_its_answer_comes_back() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.answers[(STORAGE, ADD_SEL)] = b"\0\x07\0"
        assert await link.ask(STORAGE, ADD_SEL, b"\xa0\xa1\xaa", lun=2) == b"\x07\0"
        assert (peer.requests[-1].lun, peer.requests[-1].data) == (2, b"\xa0\xa1\xaa")
        peer.answers[(STORAGE, ADD_SEL)] = b"\xc4more"
        with pytest.raises(Refused) as caught:
            await link.ask(STORAGE, ADD_SEL)
        assert (caught.value.code, caught.value.data) == (0xC4, b""), "that was its memory"

    play(scene)


def test_requests_wait_side_by_side_and_answers_find_them_in_any_order() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.answers[(STORAGE, ADD_SEL)] = None
        peer.requests.clear()
        # More than there are sequence numbers, for numbers that are taken must be passed over.
        for round_ in range(3):
            asked = [asyncio.ensure_future(link.ask(STORAGE, ADD_SEL, bytes([n]))) for n in range(200)]
            await until(lambda: len(peer.requests) == 200)
            for request in reversed(peer.requests):
                peer.send(answer_wire(request, b"\0" + request.data))
            assert await asyncio.gather(*asked) == [bytes([n]) for n in range(200)], round_
            peer.requests.clear()

    play(scene)


def test_what_takes_longer_than_a_moment_is_waited_for_and_no_other_request_takes_its_answer() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        """The peer shares the event loop, so it cannot answer on the spot."""
        peer.answers[(STORAGE, ADD_SEL)] = b"\0\x07\0"
        peer.answers[GET_DEVICE_ID] = b"\0id"
        first = link.ask_at_once(STORAGE, ADD_SEL, b"")
        second = link.ask_at_once(*GET_DEVICE_ID, b"")
        assert not isinstance(first, bytes)
        assert not isinstance(second, bytes)
        await until(lambda: not link._waiting)
        assert await second == b"id"
        assert await first == b"\x07\0"

    play(scene)


@pytest.mark.parametrize("answer", [b"\0id", b"\xc1"])
def test_an_answer_that_comes_at_once_is_there_on_the_spot(answer: bytes) -> None:
    """An ipmi_sim in a thread of its own."""

    def serve(end: socket.socket) -> None:
        stream = VmStream()
        while chunk := end.recv(4096):
            for item in stream.feed(chunk):
                assert isinstance(item, VmRequest)
                end.sendall(answer_wire(item, answer))

    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        thread = threading.Thread(target=serve, args=(far,))
        thread.start()
        link.close()
        link._socket = near
        link._readable.register(near, select.POLLIN)
        asyncio.get_running_loop().add_reader(near, link._read)
        try:
            for _ in range(300):
                if answer[0]:
                    with pytest.raises(Refused):
                        await taken(link.ask_at_once(*GET_DEVICE_ID, b""))
                else:
                    assert await taken(link.ask_at_once(*GET_DEVICE_ID, b"")) == b"id"
            assert not link._waiting
            assert not link._at_once
        finally:
            link.close()
            thread.join(5)
            far.close()

    play(scene)


async def taken(answer: bytes | Awaitable[bytes]) -> bytes:
    """The answer; a busy machine may need longer than a moment."""
    return answer if isinstance(answer, bytes) else await answer


def test_one_that_does_not_read_is_busy_and_keeps_its_connection() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.writers[-1].transport.pause_reading()  # type: ignore[attr-defined]
        code = 0
        for _ in range(250):
            try:
                link._send(STORAGE, ADD_SEL, bytes(1 << 16), 0)
            except Refused as refusal:
                code = refusal.code
                break
        assert code == 0xC0
        assert link.is_ready()

    play(scene)


def test_who_stops_waiting_leaves_no_number_taken() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.answers[(STORAGE, ADD_SEL)] = None
        asked = asyncio.ensure_future(link.ask(STORAGE, ADD_SEL))
        await until(lambda: link._waiting)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert not link._waiting

    play(scene)


def test_more_requests_than_sequence_numbers_are_refused() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.answers[(STORAGE, ADD_SEL)] = None
        asked = [asyncio.ensure_future(link.ask(STORAGE, ADD_SEL)) for _ in range(255)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await link.ask(STORAGE, ADD_SEL)
        assert caught.value.code == 0xC0
        link.close()
        await asyncio.gather(*asked, return_exceptions=True)

    play(scene)


def test_one_that_is_silent_is_a_timeout_and_its_late_answer_is_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_ANSWER_S", 0.05)

    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.answers[(STORAGE, ADD_SEL)] = None
        with pytest.raises(Refused) as caught:
            await link.ask(STORAGE, ADD_SEL)
        assert caught.value.code == 0xC3
        monkeypatch.setattr(engine, "_ANSWER_S", 60.0)
        peer.send(answer_wire(peer.requests[-1], b"\0late"))
        peer.answers[GET_DEVICE_ID] = b"\0id"
        assert await link.ask(*GET_DEVICE_ID) == b"id"

    play(scene)


def test_events_are_fetched_when_attention_is_shown() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        record = bytes(range(16))
        waiting = [record, record[::-1]]

        def show() -> None:
            peer.answers[FLAGS] = b"\0\x02" if waiting else b"\0\0"
            peer.answers[READ_EVENT] = b"\0" + (waiting[0] if waiting else b"")

        class Log(list[bytes]):
            def append(self, event: bytes) -> None:
                waiting.pop(0)
                show()
                super().append(event)

        log = Log()
        link._on_event = log.append
        show()
        peer.send(command_wire(HardwareCommand.ATTENTION))
        await until(lambda: len(log) == 2)
        assert log == [record, record[::-1]]
        fetching = link._fetching
        assert fetching
        # It looks once more, and finds nothing.
        await until(fetching.done)
        waiting.append(record)
        show()
        peer.send(command_wire(HardwareCommand.NO_ATTENTION))
        await asyncio.sleep(0.02)
        assert len(log) == 2
        peer.send(command_wire(HardwareCommand.ATTENTION_WITH_INTERRUPT))
        await until(lambda: len(log) == 3)

    play(scene)


def test_attention_that_comes_with_the_word_that_there_is_nothing_is_not_lost() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        record = bytes(range(16))

        def fetched(event: bytes) -> None:
            peer.answers[FLAGS] = b"\0\0"
            events.append(event)

        link._on_event = fetched
        peer.answers[FLAGS] = None
        peer.send(command_wire(HardwareCommand.ATTENTION))
        await until(lambda: (*FLAGS, b"") in peer.asked)
        peer.answers |= {FLAGS: b"\0\x02", READ_EVENT: b"\0" + record}
        peer.send(answer_wire(peer.requests[-1], b"\0\0") + command_wire(HardwareCommand.ATTENTION))
        await until(lambda: events)
        assert events == [record]

    play(scene)


def test_who_waits_when_it_dies_is_told_that_it_is_busy_and_a_new_one_is_found() -> None:
    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        peer.answers[(STORAGE, ADD_SEL)] = None
        asked = asyncio.ensure_future(link.ask(STORAGE, ADD_SEL))
        await until(lambda: (STORAGE, ADD_SEL, b"") in peer.asked)
        await peer.close()
        with pytest.raises(Refused) as caught:
            await asked
        assert caught.value.code == 0xC0
        assert not link.is_ready()
        with pytest.raises(Refused):
            await link.ask(*GET_DEVICE_ID)
        again = asyncio.ensure_future(link.connect())
        await asyncio.sleep(0.02)
        assert not again.done(), "it waits until there is one"
        await peer.open()
        await again
        assert link.is_ready()

    play(scene)


def test_one_that_takes_the_connection_and_does_not_answer_is_tried_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_ANSWER_S", 0.02)

    async def scene(peer: EnginePeer, link: EngineLink, events: list[bytes]) -> None:
        link.close()
        assert not link.is_ready()
        peer.answers[GET_DEVICE_ID] = None
        connecting = asyncio.ensure_future(link.connect())
        await until(lambda: peer.connections >= 3)
        peer.answers[GET_DEVICE_ID] = b"\0id"
        await connecting
        monkeypatch.setattr(engine, "_ANSWER_S", 60.0)
        await until(lambda: all(old.transport.is_closing() for old in peer.writers[:-1]))
        assert await link.ask(*GET_DEVICE_ID) == b"id"

    play(scene)
