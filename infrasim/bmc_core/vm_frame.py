"""The VM protocol's bytes: marks, escapes and check sums. Source: OpenIPMI lanserv/README.vm.

One of the modules that a start by an opening needs, which cannot wait for imports: it has none.
"""

from __future__ import annotations

MESSAGE_END = 0xA0
COMMAND_END = 0xA1
_ESCAPE = 0xAA
# An escaped byte has this bit set.
_ESCAPED_BIT = 0x10
_SPECIAL = frozenset((MESSAGE_END, COMMAND_END, _ESCAPE))


def escape(plain: bytes) -> bytes:
    """``plain`` without a byte that means something to the stream."""
    if _SPECIAL.isdisjoint(plain):
        return plain
    wire = bytearray()
    for value in plain:
        if value in _SPECIAL:
            wire += bytes((_ESCAPE, value | _ESCAPED_BIT))
        else:
            wire.append(value)
    return bytes(wire)


def unescape(part: bytes) -> bytes:
    """What ``escape`` was given."""
    if _ESCAPE not in part:
        return part
    plain = bytearray()
    escaped = False
    for value in part:
        if value == _ESCAPE and not escaped:
            escaped = True
            continue
        plain.append(value & ~_ESCAPED_BIT if escaped else value)
        escaped = False
    return bytes(plain)


def message(content: bytes) -> bytes:
    """The stream's bytes of one message: sequence, network function with LUN, command and data."""
    return escape(content + bytes([-sum(content) & 0xFF])) + bytes([MESSAGE_END])


def completion_code(wire: bytes, sequence: int) -> int | None:
    """The completion code of the answer to ``sequence`` in what was read; None if it is not there."""
    for part in wire.split(bytes([MESSAGE_END]))[:-1]:
        content = unescape(part.rpartition(bytes([COMMAND_END]))[2])
        if len(content) >= 5 and content[0] == sequence and sum(content) & 0xFF == 0:
            return content[3]
    return None
