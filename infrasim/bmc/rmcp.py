"""What the BMC front does with one RMCP datagram: pass it on, pass it on changed, or answer it.

Only what stock ipmi_sim cannot do itself is touched; everything else passes as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

# RMCP header: version 6, reserved, sequence 0xff (no RMCP ACK), class. Source: IPMI 2.0 section 13.1.3.
CLASS_IPMI = 0x07
HEADER_LENGTH = 4

# An ASF presence ping; any answer means the BMC is up. Source: IPMI 2.0 section 13.2.3.
PRESENCE_PING = bytes.fromhex("0600ff06000011be80000000")

# RMCP+ session header, behind the RMCP header. Source: IPMI 2.0 section 13.6, table 13-8.
AUTH_FORMAT_RMCP_PLUS = 0x06
_PLUS_HEADER_LENGTH = 12
# The older header has one byte for the length.
_LONGEST_1_5_PAYLOAD = 0xFF
_PAYLOAD_MASK = 0x3F
_PAYLOAD_SECURED = 0xC0
PAYLOAD_IPMI = 0x00
PAYLOAD_OPEN_SESSION_REQUEST = 0x10
PAYLOAD_OPEN_SESSION_RESPONSE = 0x11

# Open session request: tag, privilege, two reserved, console session id (4), then three proposals of
# eight bytes: type, two reserved, length, algorithm, three reserved. Source: IPMI 2.0 section 13.17.
_AUTHENTICATION_PROPOSAL = 8
_AUTHENTICATION_NONE = 0
# "No Cipher Suite match with proposed security algorithms". Source: IPMI 2.0 table 13-15.
STATUS_NO_CIPHER_SUITE = 0x11


@dataclass(frozen=True)
class Forward:
    """Send ``datagram`` on to ipmi_sim."""

    datagram: bytes


@dataclass(frozen=True)
class Answer:
    """Send ``datagram`` back to the client; ipmi_sim never sees the request."""

    datagram: bytes


def judge(datagram: bytes) -> Forward | Answer:
    """Decide about one datagram from a client."""
    body = _session_zero_payload(datagram)
    if body is None:
        return Forward(datagram)
    kind, payload = body
    if kind == PAYLOAD_IPMI and len(payload) <= _LONGEST_1_5_PAYLOAD:
        return Forward(_in_ipmi_1_5_format(datagram, payload))
    if kind == PAYLOAD_OPEN_SESSION_REQUEST and _proposes_no_authentication(payload):
        return Answer(_refuse_session(datagram, payload))
    return Forward(datagram)


def _session_zero_payload(datagram: bytes) -> tuple[int, bytes] | None:
    """Type and content of an unsecured RMCP+ payload outside a session; None for everything else."""
    start = HEADER_LENGTH + _PLUS_HEADER_LENGTH
    if len(datagram) < start or datagram[3] != CLASS_IPMI or datagram[4] != AUTH_FORMAT_RMCP_PLUS:
        return None
    if datagram[5] & _PAYLOAD_SECURED or any(datagram[6:14]):
        return None
    length = int.from_bytes(datagram[14:16], "little")
    if len(datagram) < start + length:
        return None
    return datagram[5] & _PAYLOAD_MASK, datagram[start : start + length]


def _in_ipmi_1_5_format(datagram: bytes, payload: bytes) -> bytes:
    """The same request in the older format, the only one ipmi_sim takes before a session.

    ipmitool 1.8.19 asks for the cipher suites in RMCP+ format and takes the answer in either one;
    left alone it waits 10 s. Source: measured; format: IPMI 2.0 table 13-8, auth type none.
    """
    return datagram[:HEADER_LENGTH] + bytes(9) + bytes([len(payload)]) + payload


def _proposes_no_authentication(payload: bytes) -> bool:
    """Whether a session is to be opened without a password: cipher suite 0, or "any suite will do"."""
    proposal = payload[_AUTHENTICATION_PROPOSAL : _AUTHENTICATION_PROPOSAL + 8]
    if len(proposal) < 5:
        return False
    no_preference = proposal[3] == 0
    return no_preference or proposal[4] & _PAYLOAD_MASK == _AUTHENTICATION_NONE


def _refuse_session(datagram: bytes, payload: bytes) -> bytes:
    answer = bytes([payload[0], STATUS_NO_CIPHER_SUITE, 0, 0]) + payload[4:8]
    header = bytes([AUTH_FORMAT_RMCP_PLUS, PAYLOAD_OPEN_SESSION_RESPONSE]) + bytes(8)
    return datagram[:HEADER_LENGTH] + header + len(answer).to_bytes(2, "little") + answer
