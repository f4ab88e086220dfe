"""Framing: what is built can be taken apart, and nothing makes it fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lan_client import checksum, message, plus

from infrasim.bmc_core.lan import packet

WORD = st.integers(0, 0xFFFFFFFF)
BYTE = st.integers(0, 0xFF)
PING = bytes.fromhex("0600ff06000011be80420000")


def test_a_ping_gets_its_pong() -> None:
    tag = packet.parse_presence_ping(PING)
    assert tag == 0x42
    assert packet.presence_pong(0x42) == bytes.fromhex(
        "0600ff06 000011be 40420010 000011be 00000000 81 00 000000000000"
    )


@pytest.mark.parametrize("datagram", [PING[:-1], PING[:4] + bytes(8), PING[:8] + b"\x40" + PING[9:]])
def test_another_asf_message_is_no_ping(datagram: bytes) -> None:
    assert packet.parse_presence_ping(datagram) is None


@given(st.sampled_from([0x00, 0x01, 0x10, 0xC0]), WORD, WORD, st.binary(max_size=100), st.binary(max_size=20))
def test_rmcp_plus_there_and_back(
    kind: int, session: int, sequence: int, payload: bytes, rest: bytes
) -> None:
    datagram = packet.plus_packet(kind, session, sequence, payload)
    assert datagram == plus(kind, session, sequence, payload)
    assert packet.parse_plus(datagram + rest) == (kind, session, sequence, payload, len(datagram))


@given(st.sampled_from([0, 2, 4]), WORD, WORD, st.binary(min_size=1, max_size=255))
def test_ipmi_1_5_there_and_back(kind: int, session: int, sequence: int, payload: bytes) -> None:
    code = bytes(range(16)) if kind else b""
    datagram = packet.old_packet(kind, session, sequence, code, payload)
    assert packet.parse_old(datagram) == (kind, sequence, session, code, payload)
    # Some network chips need a padding byte.
    assert packet.parse_old(datagram + b"\0") == (kind, sequence, session, code, payload)


@given(st.integers(0, 31), BYTE, st.binary(max_size=60), st.integers(0, 63), st.binary(max_size=60))
def test_a_message_there_and_back(half: int, command: int, data: bytes, sequence: int, answer: bytes) -> None:
    request = packet.parse_message(message(half * 2, command, data, sequence=sequence))
    assert request is not None
    assert (request.netfn, request.lun, request.command, request.data) == (half * 2, 0, command, data)
    wire = packet.response(request, answer)
    head = bytes([0x81, (half * 2 + 1) << 2])
    body = bytes([0x20, sequence << 2, command]) + answer
    assert wire == head + checksum(head) + body + checksum(body)


def test_luns_change_sides() -> None:
    head, body = bytes([0x20, 0x06 << 2 | 2]), bytes([0x81, 5 << 2 | 1, 0x01])
    request = packet.parse_message(head + checksum(head) + body + checksum(body))
    assert request is not None
    assert request.lun == 2
    assert packet.response(request, b"\0")[:5:3] == bytes([0x81, 0x20])
    assert packet.response(request, b"\0")[1] == 0x07 << 2 | 1
    assert packet.response(request, b"\0")[4] == 5 << 2 | 2


@pytest.mark.parametrize("place", range(7))
def test_a_wrong_byte_makes_no_message(place: int) -> None:
    good = message(6, 1)
    bad = bytearray(good)
    bad[place] ^= 0x10
    assert packet.parse_message(good) is not None
    assert packet.parse_message(bytes(bad)) is None


def test_a_response_is_no_request() -> None:
    assert packet.parse_message(message(7, 1)) is None


@given(st.binary(max_size=80))
def test_nothing_makes_a_parser_raise(datagram: bytes) -> None:
    packet.parse_presence_ping(datagram)
    packet.parse_plus(datagram)
    packet.parse_old(datagram)
    packet.parse_message(datagram)
