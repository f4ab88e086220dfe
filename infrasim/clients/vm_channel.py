"""The stream that QEMU's BMC device and ipmi_sim speak, as far as setting the BMC's clock needs it.

One of the modules that a start cannot wait for: it imports nothing.
"""

from __future__ import annotations

# Source: OpenIPMI lanserv/README.vm: message end, command end, escape; an escaped byte has bit 4 set.
_MESSAGE_END = 0xA0
_COMMAND_END = 0xA1
_ESCAPE = 0xAA
_ESCAPED_BIT = 0x10

# Set SEL Time. Source: IPMI 2.0 section 31.11.
_NETFN_STORAGE = 0x0A
_SET_SEL_TIME = 0x49
_SEQUENCE = 1


def frame(sequence: int, netfn: int, command: int, data: bytes = b"") -> bytes:
    """One request as it goes over the wire."""
    message = bytes([sequence, netfn << 2, command]) + data
    message += bytes([-sum(message) & 0xFF])
    wire = bytearray()
    for value in message:
        if value in (_MESSAGE_END, _COMMAND_END, _ESCAPE):
            wire += bytes([_ESCAPE, value | _ESCAPED_BIT])
        else:
            wire.append(value)
    return bytes(wire) + bytes([_MESSAGE_END])


def completion_code(wire: bytes, sequence: int) -> int | None:
    """The completion code of the answer to ``sequence`` in what was read; None if it is not there."""
    for part in wire.split(bytes([_MESSAGE_END]))[:-1]:
        message = _unescape(part.rpartition(bytes([_COMMAND_END]))[2])
        if len(message) >= 5 and message[0] == sequence and sum(message) & 0xFF == 0:
            return message[3]
    return None


def _unescape(part: bytes) -> bytes:
    plain = bytearray()
    escaped = False
    for value in part:
        if value == _ESCAPE and not escaped:
            escaped = True
            continue
        plain.append(value & ~_ESCAPED_BIT if escaped else value)
        escaped = False
    return bytes(plain)


def clock_request(unix_time_s: int) -> bytes:
    """Set SEL Time as it goes over the wire."""
    return frame(_SEQUENCE, _NETFN_STORAGE, _SET_SEL_TIME, unix_time_s.to_bytes(4, "little"))


def clock_was_set(wire: bytes) -> bool | None:
    """Whether the BMC took the time, by what was read; None while its answer is not complete."""
    code = completion_code(wire, _SEQUENCE)
    return None if code is None else code == 0
