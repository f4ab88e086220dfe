"""Sensor data records: one frozen dataclass per record type, decoded and encoded byte by byte.

Values are as stored: analogue bytes are raw (see ``conversion`` for units) and event masks are numbers.
What a record means to a reader of YAML is left to ``document``.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, TypeVar

from infrasim.personality import names
from infrasim.personality.conversion import Conversion
from infrasim.personality.idstring import Encoding, IdString, decode_idstring
from infrasim.personality.layout import (
    HEX,
    NUMBER,
    SIGNED,
    SWITCH,
    Choice,
    DataError,
    Fielded,
    Flags,
    decode_fields,
    encode_fields,
    slot,
)

HEADER_BYTES = 5
VERSION = 0x51

_ENTITY = Choice(names.ENTITIES)
_SENSOR_TYPE = Choice(names.SENSOR_TYPES)
_EVENT_TYPE = Choice(names.EVENT_TYPES)
_UNIT = Choice(names.UNITS)
_NO_NAME = IdString("")


class Record(Fielded):
    """What every record has. ``record_id`` 0 means: the next number.

    Source: IPMI 2.0 section 43, table "SDR header".
    """

    TYPE: ClassVar[int]
    KIND: ClassVar[str]
    # offset of the ID string; 0 for a record without one
    NAME_AT: ClassVar[int] = 0
    # size of a record without ID string
    SIZE: ClassVar[int] = HEADER_BYTES

    record_id: int = 0
    version: int = slot(2, HEX, default=VERSION)
    id_string: IdString = _NO_NAME
    trailing: bytes = b""

    @property
    def name(self) -> str:
        """The ID string's text; empty for a record without one."""
        return self.id_string.text if self.id_string.encoding != Encoding.BINARY else ""

    def encode(self, record_id: int | None = None) -> bytes:
        """The whole record, header included, with ``record_id`` in place of its own if given.

        Raises:
            DataError: naming the field that does not fit.
        """
        what = f"{self.KIND} record {self.name!r}"
        size = self.NAME_AT or self.SIZE
        data = bytearray(size)
        encode_fields(self, data, what=what)
        tail = (self.id_string.encode() if self.NAME_AT else b"") + self.trailing
        length = size + len(tail) - HEADER_BYTES
        if length > 255:
            raise DataError(f"{what}: {length} bytes after the header; an SDR holds at most 255")
        data[0:2] = (self.record_id if record_id is None else record_id).to_bytes(2, "little")
        data[3], data[4] = self.TYPE, length
        return bytes(data) + tail


class Owned(Record):
    """Fields of every sensor record. Source: IPMI 2.0 tables 43-1 to 43-3, bytes 6-10."""

    owner: int = slot(5, HEX, default=0x20)
    channel: int = slot(6, shift=4, bits=4)
    owner_reserved: int = slot(6, shift=2, bits=2)
    lun: int = slot(6, bits=2)
    number: int = slot(7, HEX)
    entity: str | int = slot(8, _ENTITY)
    instance: int = slot(9, HEX)


class Sensor(Owned):
    """Fields that full and compact records share. Source: IPMI 2.0 tables 43-1 and 43-2, bytes 11-23."""

    initialization: tuple[str | int, ...] = slot(
        10,
        Flags(
            "scanning_on",
            "events_on",
            "init_type",
            "init_hysteresis",
            "init_thresholds",
            "init_events",
            "init_scanning",
            "settable",
        ),
    )
    ignore_with_entity: bool = slot(11, SWITCH, shift=7)
    auto_rearm: bool = slot(11, SWITCH, shift=6, bits=1)
    hysteresis_access: str | int = slot(11, Choice(names.HYSTERESIS_ACCESS), shift=4, bits=2)
    threshold_access: str | int = slot(11, Choice(names.THRESHOLD_ACCESS), shift=2, bits=2)
    event_control: str | int = slot(11, Choice(names.EVENT_CONTROL), bits=2)
    sensor_type: str | int = slot(12, _SENSOR_TYPE)
    event_type: str | int = slot(13, _EVENT_TYPE)
    assertion_mask: int = slot(14, HEX, width=2)
    deassertion_mask: int = slot(16, HEX, width=2)
    reading_mask: int = slot(18, HEX, width=2)
    analog_format: str | int = slot(20, Choice(names.ANALOG_FORMATS), shift=6)
    rate: str | int = slot(20, Choice(names.RATES), shift=3, bits=3)
    modifier: str | int = slot(20, Choice(names.MODIFIERS), shift=1, bits=2)
    percentage: bool = slot(20, SWITCH, bits=1)
    unit: str | int = slot(21, _UNIT)
    modifier_unit: str | int = slot(22, _UNIT)

    @property
    def is_threshold(self) -> bool:
        """Whether the sensor is compared with thresholds rather than having states."""
        return self.event_type == "threshold"

    @property
    def conversion(self) -> Conversion:
        """How raw bytes of this sensor read; a compact record defines none."""
        return Conversion(analog_format="none")


class FullSensor(Sensor):
    """Full sensor record, type 01h. Source: IPMI 2.0 table 43-1."""

    TYPE: ClassVar[int] = 0x01
    KIND: ClassVar[str] = "full"
    NAME_AT: ClassVar[int] = 47

    linearization: str | int = slot(23, Choice(names.LINEARIZATIONS), bits=7)
    linearization_reserved: int = slot(23, shift=7)
    m: int = slot(24, SIGNED, above=(25, 6, 2), default=1)
    tolerance: int = slot(25, bits=6)
    b: int = slot(26, SIGNED, above=(27, 6, 2))
    accuracy: int = slot(27, bits=6, above=(28, 4, 4))
    accuracy_exp: int = slot(28, shift=2, bits=2)
    direction: str | int = slot(28, Choice(names.DIRECTIONS), bits=2)
    r_exp: int = slot(29, SIGNED, shift=4)
    b_exp: int = slot(29, SIGNED, bits=4)
    specified: tuple[str | int, ...] = slot(30, Flags("nominal", "normal_max", "normal_min"))
    nominal: int = slot(31)
    normal_max: int = slot(32)
    normal_min: int = slot(33)
    sensor_max: int = slot(34)
    sensor_min: int = slot(35)
    unr: int = slot(36)
    uc: int = slot(37)
    unc: int = slot(38)
    lnr: int = slot(39)
    lc: int = slot(40)
    lnc: int = slot(41)
    hysteresis_positive: int = slot(42)
    hysteresis_negative: int = slot(43)
    reserved: int = slot(44, HEX, width=2)
    oem: int = slot(46, HEX)

    @property
    def conversion(self) -> Conversion:
        """How raw bytes of this sensor read."""
        return Conversion(self.m, self.b, self.b_exp, self.r_exp, self.analog_format, self.linearization)

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Raw thresholds in the order of ``names.THRESHOLDS``."""
        return (self.lnc, self.lc, self.lnr, self.unc, self.uc, self.unr)


class CompactSensor(Sensor):
    """Compact sensor record, type 02h. Source: IPMI 2.0 table 43-2."""

    TYPE: ClassVar[int] = 0x02
    KIND: ClassVar[str] = "compact"
    NAME_AT: ClassVar[int] = 31

    direction: str | int = slot(23, Choice(names.DIRECTIONS), shift=6)
    share_modifier: int = slot(23, shift=4, bits=2)
    share_count: int = slot(23, bits=4)
    share_instance: bool = slot(24, SWITCH, shift=7)
    share_offset: int = slot(24, bits=7)
    hysteresis_positive: int = slot(25)
    hysteresis_negative: int = slot(26)
    reserved: int = slot(27, HEX, width=3)
    oem: int = slot(30, HEX)


class EventOnly(Owned):
    """Event-only record, type 03h. Source: IPMI 2.0 table 43-3."""

    TYPE: ClassVar[int] = 0x03
    KIND: ClassVar[str] = "event_only"
    NAME_AT: ClassVar[int] = 16

    sensor_type: str | int = slot(10, _SENSOR_TYPE)
    event_type: str | int = slot(11, _EVENT_TYPE)
    direction: str | int = slot(12, Choice(names.DIRECTIONS), shift=6)
    share_modifier: int = slot(12, shift=4, bits=2)
    share_count: int = slot(12, bits=4)
    share_instance: bool = slot(13, SWITCH, shift=7)
    share_offset: int = slot(13, bits=7)
    reserved: int = slot(14, HEX)
    oem: int = slot(15, HEX)


class EntityAssociation(Record):
    """Entity association record, type 08h. Source: IPMI 2.0 table 43-4."""

    TYPE: ClassVar[int] = 0x08
    KIND: ClassVar[str] = "entity_association"
    SIZE: ClassVar[int] = 16

    container: str | int = slot(5, _ENTITY)
    container_instance: int = slot(6, HEX)
    flags: int = slot(7, HEX)
    entity_1: str | int = slot(8, _ENTITY)
    instance_1: int = slot(9, HEX)
    entity_2: str | int = slot(10, _ENTITY)
    instance_2: int = slot(11, HEX)
    entity_3: str | int = slot(12, _ENTITY)
    instance_3: int = slot(13, HEX)
    entity_4: str | int = slot(14, _ENTITY)
    instance_4: int = slot(15, HEX)


class Locator(Record):
    """Fields at the end of every device locator. Source: IPMI 2.0 tables 43-7 to 43-9, bytes 13-16."""

    NAME_AT: ClassVar[int] = 15

    entity: str | int = slot(12, _ENTITY)
    instance: int = slot(13, HEX)
    oem: int = slot(14, HEX)


class DeviceLocator(Locator):
    """Generic device locator, type 10h. Source: IPMI 2.0 table 43-7."""

    TYPE: ClassVar[int] = 0x10
    KIND: ClassVar[str] = "device_locator"

    access_address: int = slot(5, HEX)
    device_address: int = slot(6, HEX, shift=1)
    channel: int = slot(7, shift=5, above=(6, 0, 1))
    lun: int = slot(7, shift=3, bits=2)
    bus: int = slot(7, bits=3)
    address_span: int = slot(8, HEX)
    reserved: int = slot(9, HEX)
    device_type: int = slot(10, HEX)
    device_modifier: int = slot(11, HEX)


class FruLocator(Locator):
    """FRU device locator, type 11h. Source: IPMI 2.0 table 43-8."""

    TYPE: ClassVar[int] = 0x11
    KIND: ClassVar[str] = "fru_locator"

    access_address: int = slot(5, HEX, default=0x20)
    fru_id: int = slot(6)
    is_logical: bool = slot(7, SWITCH, shift=7, default=True)
    access_reserved: int = slot(7, shift=5, bits=2)
    lun: int = slot(7, shift=3, bits=2)
    bus: int = slot(7, bits=3)
    channel: int = slot(8, shift=4)
    channel_reserved: int = slot(8, bits=4)
    reserved: int = slot(9, HEX)
    device_type: int = slot(10, HEX, default=0x10)
    device_modifier: int = slot(11, HEX)


class McLocator(Locator):
    """Management controller device locator, type 12h. Source: IPMI 2.0 table 43-9."""

    TYPE: ClassVar[int] = 0x12
    KIND: ClassVar[str] = "mc_locator"

    address: int = slot(5, HEX)
    channel: int = slot(6)
    power_and_init: tuple[str | int, ...] = slot(
        7,
        Flags(
            "init_mode_0",
            "init_mode_1",
            "log_init_errors",
            "logs_init_errors",
            None,
            "static",
            "acpi_device_power",
            "acpi_system_power",
        ),
    )
    capabilities: tuple[str | int, ...] = slot(
        8, Flags("sensor", "sdr", "sel", "fru", "event_receiver", "event_generator", "bridge", "chassis")
    )
    reserved: int = slot(9, HEX, width=3)


class OemRecord(Record):
    """OEM record, type C0h; its content is ``trailing``. Source: IPMI 2.0 table 43-12."""

    TYPE: ClassVar[int] = 0xC0
    KIND: ClassVar[str] = "oem_record"
    SIZE: ClassVar[int] = 8

    manufacturer: int = slot(5, NUMBER, width=3)


class OtherRecord(Record):
    """A record of a type that is not taken apart, or whose content does not follow its type."""

    TYPE: ClassVar[int] = 0xFF
    KIND: ClassVar[str] = "other_record"

    record_type: int = slot(3, HEX)

    def encode(self, record_id: int | None = None) -> bytes:
        """See :meth:`Record.encode`."""
        data = bytearray(super().encode(record_id))
        data[3] = self.record_type
        return bytes(data)


RECORDS: tuple[type[Record], ...] = (
    FullSensor,
    CompactSensor,
    EventOnly,
    EntityAssociation,
    DeviceLocator,
    FruLocator,
    McLocator,
    OemRecord,
    OtherRecord,
)
KINDS: dict[str, type[Record]] = {record.KIND: record for record in RECORDS}
_BY_TYPE = {record.TYPE: record for record in RECORDS if record is not OtherRecord}

R = TypeVar("R", bound=Record)


def decode_record(data: bytes) -> Record:
    """The record in ``data``, header included; ``encode()`` gives the same bytes back.

    A record that is shorter than its type demands, or says the wrong thing about its strings, becomes
    an :class:`OtherRecord`.

    Raises:
        DataError: if there is no whole header, or the length byte disagrees with ``data``.
    """
    if len(data) < HEADER_BYTES:
        raise DataError(f"SDR: {len(data)} bytes; the header alone takes {HEADER_BYTES}")
    if data[4] != len(data) - HEADER_BYTES:
        raise DataError(
            f"SDR {int.from_bytes(data[:2], 'little'):#06x}: the length byte at offset 0x4 says "
            f"{data[4]} bytes, {len(data) - HEADER_BYTES} follow"
        )
    kind = _BY_TYPE.get(data[3], OtherRecord)
    try:
        record = _decode_as(kind, data)
    except DataError:
        record = _decode_as(OtherRecord, data)
    return record if record.encode() == data else _decode_as(OtherRecord, data)


def _decode_as(kind: type[R], data: bytes) -> R:
    what = f"{kind.KIND} record"
    values = decode_fields(kind, data, what=what)
    start = kind.NAME_AT or kind.SIZE
    if kind.NAME_AT:
        values["id_string"] = decode_idstring(data, kind.NAME_AT, what=what)
        start += len(values["id_string"].encode())
    elif len(data) < start:
        raise DataError(f"{what}: {len(data)} bytes, wanted at least {start}")
    values["trailing"] = data[start:]
    return kind(record_id=int.from_bytes(data[:2], "little"), **values)


def with_identity(record: Record, record_id: int) -> Record:
    """``record`` with another record id."""
    return dataclasses.replace(record, record_id=record_id)
