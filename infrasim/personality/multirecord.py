"""FRU multi-records by field name, for the kinds every power supply has; others stay bytes.

Source: Platform Management FRU Information Storage Definition 1.0, section 18.
"""

from __future__ import annotations

from typing import Any, ClassVar

from infrasim.personality.layout import (
    SIGNED,
    SWITCH,
    DataError,
    Fielded,
    Flags,
    decode_fields,
    encode_fields,
    slot,
)


class Content(Fielded):
    """What every kind of multi-record content has: its record type and size."""

    TYPE: ClassVar[int]
    KIND: ClassVar[str]
    SIZE: ClassVar[int]

    def encode(self) -> bytes:
        """The record's data, without its header.

        Raises:
            DataError: naming the field that does not fit.
        """
        data = bytearray(self.SIZE)
        encode_fields(self, data, what=f"{self.KIND} multi-record")
        return bytes(data)


class PowerSupplyInfo(Content):
    """Power supply information. Power in W or VA, currents in A, voltages in 10 mV, times in ms or s."""

    TYPE: ClassVar[int] = 0x00
    KIND: ClassVar[str] = "power_supply"
    SIZE: ClassVar[int] = 24

    capacity: int = slot(0, width=2)
    peak_va: int = slot(2, width=2)
    inrush_current: int = slot(4)
    inrush_interval: int = slot(5)
    low_voltage_1: int = slot(6, SIGNED, width=2)
    high_voltage_1: int = slot(8, SIGNED, width=2)
    low_voltage_2: int = slot(10, SIGNED, width=2)
    high_voltage_2: int = slot(12, SIGNED, width=2)
    low_frequency: int = slot(14)
    high_frequency: int = slot(15)
    dropout_tolerance: int = slot(16)
    flags: tuple[str | int, ...] = slot(
        17,
        Flags(
            "predictive_fail", "power_factor_correction", "autoswitch", "hot_swap", "tachometer_two_pulses"
        ),
    )
    peak_capacity: int = slot(18, width=2, bits=12)
    hold_up_time: int = slot(19, shift=4)
    combined_voltage_2: int = slot(20, bits=4)
    combined_voltage_1: int = slot(20, shift=4)
    combined_capacity: int = slot(21, width=2)
    tachometer_low: int = slot(23)


class DcOutput(Content):
    """DC output. Voltages in 10 mV, ripple in mV, currents in mA."""

    TYPE: ClassVar[int] = 0x01
    KIND: ClassVar[str] = "dc_output"
    SIZE: ClassVar[int] = 13

    is_standby: bool = slot(0, SWITCH, shift=7)
    reserved: int = slot(0, shift=4, bits=3)
    output: int = slot(0, bits=4)
    nominal_voltage: int = slot(1, SIGNED, width=2)
    low_voltage: int = slot(3, SIGNED, width=2)
    high_voltage: int = slot(5, SIGNED, width=2)
    ripple: int = slot(7, width=2)
    low_current: int = slot(9, width=2)
    high_current: int = slot(11, width=2)


class DcLoad(Content):
    """DC load. Units as in :class:`DcOutput`."""

    TYPE: ClassVar[int] = 0x02
    KIND: ClassVar[str] = "dc_load"
    SIZE: ClassVar[int] = 13

    reserved: int = slot(0, shift=4)
    output: int = slot(0, bits=4)
    nominal_voltage: int = slot(1, SIGNED, width=2)
    low_voltage: int = slot(3, SIGNED, width=2)
    high_voltage: int = slot(5, SIGNED, width=2)
    ripple: int = slot(7, width=2)
    low_current: int = slot(9, width=2)
    high_current: int = slot(11, width=2)


CONTENTS: tuple[type[Content], ...] = (PowerSupplyInfo, DcOutput, DcLoad)
KINDS: dict[str, type[Content]] = {content.KIND: content for content in CONTENTS}
SIZES = {content.TYPE: content.SIZE for content in CONTENTS}
_BY_TYPE = {content.TYPE: content for content in CONTENTS}


def decode_content(record_type: int, data: bytes) -> Content | None:
    """The content of a multi-record by field; None for a type or size that is not known here."""
    kind = _BY_TYPE.get(record_type)
    if kind is None or len(data) != kind.SIZE:
        return None
    try:
        values: dict[str, Any] = decode_fields(kind, data, what=f"{kind.KIND} multi-record")
    except DataError:
        return None
    content = kind(**values)
    return content if content.encode() == data else None
