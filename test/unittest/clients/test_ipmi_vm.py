"""ipmi_sim's VM channel against a stand-in that answers badly."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.clients.ipmi_vm import set_clock
from infrasim.clients.vm_channel import completion_code, frame

SPECIAL = (0xA0, 0xA1, 0xAA)


def unframe(wire: bytes) -> bytes:
    """A message as OpenIPMI reads it, said in another way than the code under test."""
    assert wire[-1] == 0xA0
    assert wire.count(0xA0) == 1
    assert 0xA1 not in wire
    plain = wire[:-1]
    for value in SPECIAL:
        plain = plain.replace(bytes([0xAA, value | 0x10]), bytes([value]))
    return plain


def response(sequence: int, code: int, data: bytes = b"", *, checksum_off_by: int = 0) -> bytes:
    """The BMC's answer to Set SEL Time as it goes over the wire."""
    message = bytes([sequence, 0x2C, 0x49, code]) + data
    message += bytes([(-sum(message) + checksum_off_by) & 0xFF])
    escaped = b"".join(
        bytes([0xAA, value | 0x10]) if value in SPECIAL else bytes([value]) for value in message
    )
    return escaped + b"\xa0"


def test_set_sel_time_byte_for_byte() -> None:
    assert frame(1, 0x0A, 0x49, struct.pack("<I", 0x5F5E1000)) == bytes.fromhex("01 28 49 00 10 5e 5f c1 a0")


def test_special_bytes_are_escaped() -> None:
    assert frame(0, 0, 0, bytes(SPECIAL)) == bytes.fromhex("00 00 00 aab0 aab1 aaba 15 a0")


@given(st.integers(0, 255), st.integers(0, 63), st.integers(0, 255), st.binary(max_size=40))
def test_any_request_reads_back(sequence: int, netfn: int, command: int, data: bytes) -> None:
    message = unframe(frame(sequence, netfn, command, data))
    assert message[:3] == bytes([sequence, netfn << 2, command])
    assert message[3:-1] == data
    assert sum(message) % 256 == 0


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20))
def test_any_answer_is_understood_and_half_of_it_is_none(sequence: int, code: int, data: bytes) -> None:
    wire = response(sequence, code, data)
    assert completion_code(wire, sequence) == code
    assert completion_code(wire, (sequence + 1) % 256) is None
    for cut in range(len(wire)):
        assert completion_code(wire[:cut], sequence) is None


@given(st.binary(max_size=60), st.integers(0, 255))
def test_noise_never_raises(wire: bytes, sequence: int) -> None:
    found = completion_code(wire, sequence)
    assert found is None or 0 <= found <= 255


def test_answer_is_found_behind_commands_and_other_answers() -> None:
    control = bytes.fromhex("09 0f a1")
    assert completion_code(control + response(7, 0xC1) + control + response(1, 0x00), 1) == 0


def test_answer_with_a_wrong_checksum_is_none() -> None:
    assert completion_code(response(1, 0, checksum_off_by=1), 1) is None


# --- the conversation

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


async def clock_set_against(serve: Serve) -> tuple[bool, bytes]:
    """What set_clock says about a server, and what it sent."""
    seen = bytearray()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"\xa0"))
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        done = await asyncio.wait_for(set_clock("127.0.0.1", port, 0x12345678), 5)
    return done, bytes(seen)


def replies(*chunks: bytes) -> Serve:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)

    return serve


ANSWER = response(1, 0)


@pytest.mark.allow("socket")
@pytest.mark.parametrize(
    ("chunks", "done"),
    [
        ((ANSWER,), True),
        (tuple(bytes([value]) for value in ANSWER), True),
        ((b"\x09\xa1" + ANSWER[:3], ANSWER[3:]), True),
        ((response(1, 0xC0),), False),
        ((), False),
        ((ANSWER[:-1],), False),
        ((response(2, 0),), False),
    ],
    ids=["whole", "byte by byte", "after a command", "refused", "closed", "half", "to another"],
)
def test_set_clock(chunks: tuple[bytes, ...], done: bool) -> None:
    said, sent = asyncio.run(clock_set_against(replies(*chunks)))
    assert said is done
    assert unframe(sent)[3:7] == struct.pack("<I", 0x12345678)


@pytest.mark.allow("socket")
def test_set_clock_when_nobody_listens() -> None:
    async def nobody() -> bool:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await set_clock("127.0.0.1", port, 1)

    assert asyncio.run(nobody()) is False


@pytest.mark.allow("socket")
def test_set_clock_against_silence_is_bounded_by_its_caller() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def bounded() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(clock_set_against(silent), 0.05)

    asyncio.run(bounded())
