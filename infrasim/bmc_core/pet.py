"""The bytes of a Platform Event Trap: an SNMPv1 trap with one variable.

Source: IPMI Platform Event Trap Format 1.0; RFC 1157 section 4.1.6; X.690 for the encoding.
"""

from __future__ import annotations

import ipaddress

from infrasim.frozen import Frozen

# 1.3.6.1.4.1.3183.1.1: the enterprise of platform event traps, and its one variable below it.
_ENTERPRISE = (1, 3, 6, 1, 4, 1, 3183, 1, 1)
_VARIABLE = (*_ENTERPRISE, 1)

_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_IP_ADDRESS, _TIME_TICKS, _TRAP = 0x40, 0x43, 0xA4
_VERSION_1, _ENTERPRISE_SPECIFIC = 0, 6

# Times of traps count from 1998-01-01 00:00.
_EPOCH_S = 883_612_800
_UNSPECIFIED_OFFSET = -1
_IPMI_SOURCE = 0x20
_ENGLISH = 0x19
_NO_MORE_FIELDS = 0xC1
_ASCII_FIELD = 0xC0
_LONGEST_FIELD = 0x3F


class PlatformEvent(Frozen):
    """What happened, as an event record says it; ``data`` are its three event data bytes.

    ``event`` is event direction and type. ``severity`` and ``entity`` are 0 if unspecified.
    """

    generator: int
    sensor_type: int
    sensor: int
    event: int
    data: bytes
    severity: int = 0
    entity: int = 0
    entity_instance: int = 0


class Sender(Frozen):
    """The BMC that sends. ``guid`` is in the order of bytes that the trap has."""

    guid: bytes
    address: str
    manufacturer: int
    product: int
    community: bytes


def event_of_record(record: bytes, *, severity: int = 0) -> PlatformEvent:
    """What a system event record says. Source: IPMI 2.0 table 32-1."""
    return PlatformEvent(
        generator=record[7],
        sensor_type=record[10],
        sensor=record[11],
        event=record[12],
        data=record[13:16],
        severity=severity,
    )


def trap(
    event: PlatformEvent,
    sender: Sender,
    *,
    sequence: int,
    unix_s: float,
    utc_offset_min: int | None,
    up_s: float,
    text: bytes = b"",
) -> bytes:
    """The datagram of one trap. ``sequence`` is its cookie, ``text`` an alert string to go with it."""
    variable = _sequence(
        _oid(_VARIABLE), _tlv(_OCTETS, variable_value(event, sender, sequence, unix_s, utc_offset_min, text))
    )
    pdu = _tlv(
        _TRAP,
        _oid(_ENTERPRISE)
        + _tlv(_IP_ADDRESS, ipaddress.IPv4Address(sender.address).packed)
        + _integer(_ENTERPRISE_SPECIFIC)
        + _integer(specific_trap(event))
        + _tlv(_TIME_TICKS, _signed(int(up_s * 100) & 0xFFFFFFFF))
        + _sequence(variable),
    )
    return _sequence(_integer(_VERSION_1), _tlv(_OCTETS, sender.community), pdu)


def specific_trap(event: PlatformEvent) -> int:
    """Sensor type, event type and offset; bit 7 of the offset says that the event went away."""
    direction = event.event & 0x80
    return event.sensor_type << 16 | (event.event & 0x7F) << 8 | direction | (event.data[0] & 0x0F)


def variable_value(
    event: PlatformEvent,
    sender: Sender,
    sequence: int,
    unix_s: float,
    utc_offset_min: int | None,
    text: bytes,
) -> bytes:
    """The 46 bytes that every trap has, and the fields after them."""
    offset = _UNSPECIFIED_OFFSET if utc_offset_min is None else utc_offset_min
    local_s = unix_s - _EPOCH_S + (utc_offset_min or 0) * 60
    return b"".join(
        (
            sender.guid,
            sequence.to_bytes(2, "big"),
            max(0, int(local_s)).to_bytes(4, "big"),
            offset.to_bytes(2, "big", signed=True),
            bytes([_IPMI_SOURCE, _IPMI_SOURCE, event.severity, event.generator, event.sensor]),
            bytes([event.entity, event.entity_instance]),
            event.data.ljust(8, b"\0"),
            bytes([_ENGLISH]),
            sender.manufacturer.to_bytes(4, "big"),
            sender.product.to_bytes(2, "big"),
            _fields(text),
            bytes([_NO_MORE_FIELDS]),
        )
    )


def _fields(text: bytes) -> bytes:
    # Two or more bytes, because a type and length of one ASCII character is the end mark.
    pieces = (text[at : at + _LONGEST_FIELD] for at in range(0, len(text), _LONGEST_FIELD))
    return b"".join(bytes([_ASCII_FIELD | max(2, len(piece))]) + piece.ljust(2, b" ") for piece in pieces)


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, _signed(value))


def _oid(parts: tuple[int, ...]) -> bytes:
    content = bytes([parts[0] * 40 + parts[1]])
    for part in parts[2:]:
        septets = [part & 0x7F]
        while part := part >> 7:
            septets.append(0x80 | part & 0x7F)
        content += bytes(reversed(septets))
    return _tlv(_OID, content)
