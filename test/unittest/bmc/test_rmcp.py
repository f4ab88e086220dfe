"""What the BMC front does with a datagram, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc.rmcp import PRESENCE_PING, Answer, Forward, judge

RMCP = "06 00 ff 07"

# Get Channel Cipher Suites before a session. Source: IPMI 2.0 section 22.15.
QUESTION = "20 18 c8 81 00 54 0e 00 80 9d"
IN_RMCP_PLUS = bytes.fromhex(f"{RMCP} 06 00 00000000 00000000 0a00 {QUESTION}")
IN_IPMI_1_5 = bytes.fromhex(f"{RMCP} 00 00000000 00000000 0a {QUESTION}")


def plus(payload_type: int, payload: bytes, *, session: int = 0, sequence: int = 0) -> bytes:
    """An RMCP+ datagram."""
    header = bytes([6, payload_type]) + session.to_bytes(4, "little") + sequence.to_bytes(4, "little")
    return bytes.fromhex(RMCP) + header + len(payload).to_bytes(2, "little") + payload


def open_session(authentication: str, *, tag: int = 0x5A, console: str = "a4a3a2a0") -> bytes:
    """An open session request with that authentication proposal, eight bytes in hex."""
    integrity, confidentiality = "01 0000 08 01 000000", "02 0000 08 01 000000"
    rest = bytes.fromhex(f"{console} {authentication} {integrity} {confidentiality}")
    return plus(0x10, bytes([tag, 0, 0, 0]) + rest)


def test_cipher_suites_question_becomes_ipmi_1_5() -> None:
    assert judge(IN_RMCP_PLUS) == Forward(IN_IPMI_1_5)
    assert judge(IN_IPMI_1_5) == Forward(IN_IPMI_1_5)


def test_rewritten_message_keeps_rmcp_sequence_and_drops_what_is_behind_the_payload() -> None:
    question = bytearray(plus(0x00, b"payload") + b"padding")
    question[2] = 0x21
    assert judge(bytes(question)) == Forward(
        bytes.fromhex("06 00 21 07 00 00000000 00000000 07") + b"payload"
    )


REFUSAL = "06 00 ff 07  06 11 00000000 00000000 0800  5a 11 00 00 a4a3a2a0"


@pytest.mark.parametrize(
    "proposal",
    ["00 0000 08 00 000000", "00 0000 00 00 000000", "00 0000 00 01 000000", "00 0000 08 40 000000"],
    ids=["none", "no-preference", "no-preference-with-algorithm", "none-with-reserved-bits"],
)
def test_session_without_password_is_refused(proposal: str) -> None:
    assert judge(open_session(proposal)) == Answer(bytes.fromhex(REFUSAL))


def test_refusal_carries_tag_and_console_id_of_the_request() -> None:
    answer = judge(open_session("00 0000 08 00 000000", tag=0x01, console="11223344"))
    assert answer == Answer(bytes.fromhex("06 00 ff 07  06 11 00000000 00000000 0800  01 11 00 00 11223344"))


PASSES = {
    "presence ping": PRESENCE_PING,
    "empty": b"",
    "too short": bytes.fromhex(RMCP) + b"\x06\x00",
    "IPMI 1.5, get authentication capabilities": bytes.fromhex(
        f"{RMCP} 00 00000000 00000000 09 20 18 c8 81 00 38 8e 04 b5"
    ),
    "session with RAKP-HMAC-SHA1": open_session("00 0000 08 01 000000"),
    "session with RAKP-HMAC-SHA256": open_session("00 0000 08 03 000000"),
    "open session cut before its proposal": plus(0x10, bytes.fromhex("5a000000 a4a3a2a0 00 0000")),
    "RAKP 1": plus(0x12, bytes(28)),
    "RAKP 3": plus(0x14, bytes(8)),
    "serial over LAN": plus(0x01, b"\x01\x00\x00\x00hello", session=0x02001234, sequence=7),
    "IPMI in a session": plus(0x00, b"\x20\x18\xc8\x81\x00\x01\x7e", session=0x02001234, sequence=3),
    "IPMI with a sequence number": plus(0x00, b"\x20\x18\xc8\x81\x00\x01\x7e", sequence=3),
    "encrypted": plus(0x80, b"\x20\x18\xc8\x81\x00\x01\x7e"),
    "authenticated": plus(0x40, b"\x20\x18\xc8\x81\x00\x01\x7e"),
    "open session that claims to be secured": bytes([*open_session("00 0000 08 00 000000")[:5], 0xD0])
    + open_session("00 0000 08 00 000000")[6:],
    "length beyond the datagram": plus(0x00, b"abc")[:-1],
    "ASF class": bytes.fromhex("0600ff06") + plus(0x00, b"abc")[4:],
    "too long for the older format": plus(0x00, bytes(256)),
}


@pytest.mark.parametrize("datagram", PASSES.values(), ids=PASSES.keys())
def test_everything_else_passes_as_it_is(datagram: bytes) -> None:
    assert judge(datagram) == Forward(datagram)


def is_touched(datagram: bytes) -> bool:
    """What judge documents to touch, said in another way."""
    if len(datagram) < 16 or datagram[3] != 7 or datagram[4] != 6 or datagram[6:14] != bytes(8):
        return False
    length = datagram[14] + 256 * datagram[15]
    if length > len(datagram) - 16:
        return False
    if datagram[5] == 0x00:
        return length < 256
    return datagram[5] == 0x10 and length >= 13 and (datagram[27] == 0 or datagram[28] & 0x3F == 0)


@given(st.binary(max_size=80))
def test_any_bytes_pass_unless_they_match(datagram: bytes) -> None:
    assert (judge(datagram) == Forward(datagram)) == (not is_touched(datagram))


@given(
    st.sampled_from([0x00, 0x10, 0x11, 0x40, 0x80, 0x90]),
    st.binary(max_size=60),
    st.sampled_from([0, 1, 0x80000000]),
    st.sampled_from([0, 1]),
    st.binary(max_size=4),
)
def test_any_rmcp_plus_message_passes_unless_it_matches(
    kind: int, payload: bytes, session: int, sequence: int, tail: bytes
) -> None:
    datagram = plus(kind, payload, session=session, sequence=sequence) + tail
    verdict = judge(datagram)
    assert (verdict == Forward(datagram)) == (not is_touched(datagram))
    if session or sequence or kind & 0xC0:
        assert verdict == Forward(datagram)
