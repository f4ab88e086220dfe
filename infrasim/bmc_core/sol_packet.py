"""The packet of serial over LAN: its four-byte header, and what the bits of its last byte mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

# An accepted count has one byte, so no packet has more characters. Source: IPMI 2.0 table 15-2.
MOST_CHARACTERS = 255
_HEADER_BYTES = 4
_SEQUENCES = 15


class Operation(IntFlag):
    """What a console asks for in byte 4 of its packets. Source: IPMI 2.0 table 15-2."""

    NACK = 0x40
    RING = 0x20
    BREAK = 0x10
    HOLD_OUTPUT = 0x08  # CTS is taken away from the host's serial port
    DROP_CARRIER = 0x04  # DCD and DSR are
    FLUSH_INBOUND = 0x02  # what was typed and the host has not taken
    FLUSH_OUTBOUND = 0x01  # what was printed and the console has not got


class Status(IntFlag):
    """What the BMC tells in byte 4 of its packets. Source: IPMI 2.0 table 15-2."""

    NACK = 0x40
    UNAVAILABLE = 0x20  # the host has no power: it takes no characters
    DEACTIVATED = 0x10
    OVERRUN = 0x08
    BREAK = 0x04


@dataclass(frozen=True, slots=True)
class SolPacket:
    """One packet. Sequence 0 means that it has no characters, ``acked`` 0 that it acknowledges nothing."""

    sequence: int
    acked: int
    accepted: int
    flags: int
    characters: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> SolPacket | None:
        """The packet in ``data``; None if it is too short for one. Source: IPMI 2.0 table 15-2."""
        if len(data) < _HEADER_BYTES:
            return None
        return cls(data[0] & 0x0F, data[1] & 0x0F, data[2], data[3], bytes(data[_HEADER_BYTES:]))

    def as_bytes(self) -> bytes:
        """The packet as it travels in a SOL payload."""
        return bytes([self.sequence, self.acked, self.accepted, self.flags]) + self.characters


def following(sequence: int) -> int:
    """The sequence number after ``sequence``: 1 to 15, never 0. Source: IPMI 2.0 table 15-2."""
    return sequence % _SEQUENCES + 1


def is_older(sequence: int, than: int) -> bool:
    """Whether ``sequence`` was given before ``than``, by the shorter way around the circle of numbers."""
    return 0 < (than - sequence) % _SEQUENCES <= _SEQUENCES // 2
