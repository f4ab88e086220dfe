"""What lies in a UDP datagram at the BMC's port: RMCP, ASF presence, both session headers, IPMI messages.

Pure framing: nothing here knows a session or a key. What is malformed is None, never an exception.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from infrasim.bmc_core.codes import BMC_ADDRESS

# RMCP: version 6, reserved, sequence (0xff: no acknowledge wanted), class. Source: IPMI 2.0 section 13.1.3.
RMCP_VERSION = 0x06
RMCP_HEADER_LENGTH = 4
NO_ACKNOWLEDGE = 0xFF
CLASS_ASF = 0x06
CLASS_IPMI = 0x07
IPMI_HEADER = bytes([RMCP_VERSION, 0, NO_ACKNOWLEDGE, CLASS_IPMI])
_ACKNOWLEDGE_BIT = 0x80

# Source: IPMI 2.0 section 13.2.3 and 13.2.4, DSP0136 section 3.2.4.
_ASF_ENTERPRISE = (4542).to_bytes(4, "big")
_ASF_PING, _ASF_PONG = 0x80, 0x40
_PONG_SUPPORTS_IPMI = 0x81

# RMCP+: format, payload type, session, sequence, length. Source: IPMI 2.0 table 13-8.
FORMAT_RMCP_PLUS = 0x06
PAYLOAD_ENCRYPTED, PAYLOAD_AUTHENTICATED, PAYLOAD_TYPE_MASK = 0x80, 0x40, 0x3F
PLUS_START = 16
_PLUS = struct.Struct("<BBIIH")
_OEM_PAYLOAD = 0x02

# IPMI 1.5: authentication type, sequence, session, then a code unless the type is none, then the length.
# Source: IPMI 2.0 table 13-8.
_OLD = struct.Struct("<BII")
_OLD_CODE_LENGTH = 16
_OLD_LONGEST = 0xFF

# Addresses, network functions, sequence, command and two checksums. Source: IPMI 2.0 figure 13-4.
_SHORTEST_MESSAGE = 7


class PlusPacket(NamedTuple):
    """An RMCP+ packet. ``end`` is where its payload ends; an integrity trailer may follow there."""

    kind: int
    session_id: int
    sequence: int
    payload: bytes
    end: int


class OldPacket(NamedTuple):
    """An IPMI 1.5 packet; ``code`` is empty where the authentication type is none."""

    authentication: int
    sequence: int
    session_id: int
    code: bytes
    payload: bytes


class Message(NamedTuple):
    """An IPMI request. ``head`` is what its answer begins with, checksum included."""

    netfn: int
    lun: int
    command: int
    data: bytes
    head: bytes
    tail: bytes


def parse_presence_ping(datagram: bytes) -> int | None:
    """The tag of an ASF presence ping; None if it is not one."""
    if len(datagram) < 12 or datagram[4:8] != _ASF_ENTERPRISE or datagram[8] != _ASF_PING:
        return None
    return datagram[9]


def presence_pong(tag: int) -> bytes:
    """Source: IPMI 2.0 table 13-7: ASF's enterprise number twice, no OEM value, IPMI and ASF supported."""
    header = bytes([RMCP_VERSION, 0, NO_ACKNOWLEDGE, CLASS_ASF])
    body = _ASF_ENTERPRISE + bytes(4) + bytes([_PONG_SUPPORTS_IPMI, 0]) + bytes(6)
    return header + _ASF_ENTERPRISE + bytes([_ASF_PONG, tag, 0, len(body)]) + body


def acknowledge(datagram: bytes) -> bytes:
    """The RMCP acknowledge of ``datagram``. Source: IPMI 2.0 section 13.1.3."""
    return bytes([RMCP_VERSION, 0, datagram[2], datagram[3] | _ACKNOWLEDGE_BIT])


def parse_plus(datagram: bytes) -> PlusPacket | None:
    """Source: IPMI 2.0 table 13-8, format RMCP+; OEM payloads (type 2) are not taken."""
    if len(datagram) < PLUS_START:
        return None
    _, kind, session_id, sequence, length = _PLUS.unpack_from(datagram, RMCP_HEADER_LENGTH)
    end = PLUS_START + length
    if end > len(datagram) or kind & PAYLOAD_TYPE_MASK == _OEM_PAYLOAD:
        return None
    return PlusPacket(kind, session_id, sequence, datagram[PLUS_START:end], end)


def plus_packet(kind: int, session_id: int, sequence: int, payload: bytes) -> bytes:
    """RMCP and RMCP+ headers with ``payload``; the integrity trailer is not part of it."""
    return IPMI_HEADER + _PLUS.pack(FORMAT_RMCP_PLUS, kind, session_id, sequence, len(payload)) + payload


def parse_old(datagram: bytes) -> OldPacket | None:
    """Source: IPMI 2.0 table 13-8, IPMI v1.5 format. Bytes behind the payload are padding."""
    start = RMCP_HEADER_LENGTH + _OLD.size
    if len(datagram) <= start:
        return None
    authentication, sequence, session_id = _OLD.unpack_from(datagram, RMCP_HEADER_LENGTH)
    code = b""
    if authentication:
        code = datagram[start : start + _OLD_CODE_LENGTH]
        start += _OLD_CODE_LENGTH
        if len(datagram) <= start:
            return None
    end = start + 1 + datagram[start]
    if end > len(datagram):
        return None
    return OldPacket(authentication, sequence, session_id, code, datagram[start + 1 : end])


def old_packet(authentication: int, session_id: int, sequence: int, code: bytes, payload: bytes) -> bytes:
    """RMCP and IPMI 1.5 headers with ``payload``, which may be 255 bytes long."""
    head = IPMI_HEADER + _OLD.pack(authentication, sequence, session_id) + code
    return head + bytes([min(len(payload), _OLD_LONGEST)]) + payload[:_OLD_LONGEST]


def parse_message(payload: bytes) -> Message | None:
    """A request to this BMC with right checksums; None for anything else, responses too."""
    if len(payload) < _SHORTEST_MESSAGE or payload[0] != BMC_ADDRESS:
        return None
    netfn_lun, requester, sequence_lun = payload[1], payload[3], payload[4]
    if netfn_lun & 0x04 or (BMC_ADDRESS + netfn_lun + payload[2]) & 0xFF or sum(payload[3:]) & 0xFF:
        return None
    # The answer goes back to the requester's LUN, with the LUN asked in the sequence byte.
    back = (netfn_lun & 0xFC) + 0x04 | sequence_lun & 0x03
    head = bytes((requester, back, -(requester + back) & 0xFF))
    tail = bytes((BMC_ADDRESS, sequence_lun & 0xFC | netfn_lun & 0x03, payload[5]))
    return Message(netfn_lun >> 2, netfn_lun & 0x03, payload[5], payload[6:-1], head, tail)


def response(message: Message, answer: bytes) -> bytes:
    """The IPMI message that answers ``message`` with completion code and data ``answer``."""
    body = message.tail + answer
    return message.head + body + bytes((-sum(body) & 0xFF,))
