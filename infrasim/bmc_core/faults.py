"""What events say is wrong with the chassis: the fault bits of Get Chassis Status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Bits of Get Chassis Status: "current power state" and "misc. chassis state". Source: IPMI 2.0 table 28-3.
MAIN_POWER_FAULT = 0x08
_POWER_BITS_SHIFT = 8
COOLING_FAULT = 0x08
DRIVE_FAULT = 0x04
INTRUSION = 0x01

_THRESHOLD = 0x01
_SENSOR_SPECIFIC = 0x6F
_DEASSERTION = 0x80
# Critical and non-recoverable, going past the limit. Source: IPMI 2.0 table 42-2.
_CRITICAL = (0x2, 0x4, 0x9, 0xB)
# (sensor type, event type, offsets): what they mean; power faults in the high byte.
# Source: IPMI 2.0 table 42-3: fan 04h, physical security 05h, power supply 08h, drive slot 0Dh.
_MEANINGS = (
    (0x04, _THRESHOLD, _CRITICAL, COOLING_FAULT),
    (0x05, _SENSOR_SPECIFIC, (0x0,), INTRUSION),
    (0x08, _SENSOR_SPECIFIC, (0x1, 0x3), MAIN_POWER_FAULT << _POWER_BITS_SHIFT),
    (0x0D, _SENSOR_SPECIFIC, (0x1,), DRIVE_FAULT),
)


@dataclass
class FaultState:
    """The faults that were asserted and not taken back: bits by generator, sensor and offset."""

    active: dict[str, int] = field(default_factory=dict)

    @property
    def power(self) -> int:
        """Bits for the power state."""
        return self._bits >> _POWER_BITS_SHIFT

    @property
    def chassis(self) -> int:
        """Bits for the chassis state."""
        return self._bits & 0xFF

    @property
    def _bits(self) -> int:
        bits = 0
        for each in self.active.values():
            bits |= each
        return bits


def note_event(bmc: Bmc, record: bytes) -> None:
    """Take note of an event, 16 bytes as in the log. Source: IPMI 2.0 table 32-1."""
    generator, sensor_type, sensor = record[7:9].hex(), record[10], record[11]
    event_type, offset = record[12] & 0x7F, record[13] & 0x0F
    bits = next(
        (
            bits
            for kind, how, offsets, bits in _MEANINGS
            if (kind, how) == (sensor_type, event_type) and offset in offsets
        ),
        0,
    )
    if not bits:
        return
    key = f"{generator}-{sensor:02x}-{offset:x}"
    active = bmc.state.faults.active
    if record[12] & _DEASSERTION:
        active.pop(key, None)
    else:
        active[key] = bits
    bmc.changed()
