"""ipmi_sim's VM channel: the stream QEMU's BMC device speaks, used to set the BMC's clock.

ipmi_sim's clock begins at zero each time it starts, and the channel takes one client at a time, so
this is done before QEMU connects.
"""

from __future__ import annotations

import asyncio
import struct

# Source: OpenIPMI lanserv/README.vm: message end, command end, escape; an escaped byte has bit 4 set.
_MESSAGE_END = 0xA0
_COMMAND_END = 0xA1
_ESCAPE = 0xAA
_ESCAPED_BIT = 0x10

# Set SEL Time. Source: IPMI 2.0 section 31.11.
_NETFN_STORAGE = 0x0A
_SET_SEL_TIME = 0x49


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


async def set_clock(address: str, port: int, unix_time_s: int) -> bool:
    """Set the BMC's clock; False when another client has the channel or the BMC refuses."""
    sequence = 1
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    try:
        writer.write(frame(sequence, _NETFN_STORAGE, _SET_SEL_TIME, struct.pack("<I", unix_time_s)))
        wire = b""
        while (code := completion_code(wire, sequence)) is None:
            chunk = await reader.read(256)
            if not chunk:
                return False
            wire += chunk
        return code == 0
    except OSError:
        return False
    finally:
        writer.close()
