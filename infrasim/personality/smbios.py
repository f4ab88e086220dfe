"""SMBIOS structures by field name, to bytes and back, and the tables that hold them.

Source: DSP0134 (SMBIOS 3.x) section 7, one class per structure type; offsets are the specification's. A
structure may end before its last field: ``length`` is the length of its formatted part.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from infrasim.personality import smbios_names as names
from infrasim.personality.layout import HEX, SWITCH, Choice, DataError, Fielded, Flags, Kind, slot, slots

END_OF_TABLE = 127
_DUMP_TABLE_OFFSET = 32


class Text(Kind):
    """The number of a string in the structure's string set; handled by :class:`Structure`."""

    def decode(self, raw: int, bits: int) -> str | int:
        """The number itself: only the structure knows its strings."""
        return raw or ""

    def encode(self, value: Any, bits: int) -> int:
        """See :meth:`Kind.encode`."""
        if value == "":
            return 0
        if type(value) is not int or not 0 < value < 1 << bits:
            raise ValueError("wanted a string or the number of one")
        return value


class UuidKind(Kind):
    """A UUID with its first three fields little-endian. Source: DSP0134 section 7.2.1."""

    def decode(self, raw: int, bits: int) -> str:
        """See :meth:`Kind.decode`."""
        return str(uuid.UUID(bytes_le=raw.to_bytes(16, "little")))

    def encode(self, value: Any, bits: int) -> int:
        """See :meth:`Kind.encode`."""
        try:
            return int.from_bytes(uuid.UUID(value).bytes_le, "little")
        except (ValueError, AttributeError, TypeError) as exc:
            raise ValueError("wanted a UUID of 32 hexadecimal digits") from exc


S = TypeVar("S", bound="Structure")

TEXT = Text()
UUID = UuidKind()


class Structure(Fielded):
    """What every structure has.

    ``length`` 0 means the type's usual length, or more if a field set beyond it needs it. ``strings``
    is given only when the string set is not simply the fields' texts in their order; a text field may then
    hold the number of a string instead of its text. ``extra`` is what follows the last known field.
    """

    TYPE: ClassVar[int]
    KIND: ClassVar[str]
    LENGTH: ClassVar[int]
    INSERTED_AT: ClassVar[int] = 0

    handle: int = 0
    length: int = 0
    strings: tuple[str, ...] = ()
    extra: bytes = b""

    @property
    def type_number(self) -> int:
        """The structure type."""
        return self.TYPE

    @property
    def inserted(self) -> bytes:
        """Bytes of no fixed number in the midst of the fields; ``INSERTED_AT`` says where."""
        return b""

    def formatted_length(self) -> int:
        """Length of the formatted part less ``inserted``: what ``length`` says, or what the fields need."""
        if self.length:
            return self.length
        used = [place.end for name, place in slots(type(self)) if getattr(self, name) != place.zero]
        return max(self.LENGTH, *used, 0) + len(self.extra)

    def end_of(self, field: str) -> int:
        """The offset after ``field``."""
        return next(place.end for name, place in slots(type(self)) if name == field)

    def uses_of(self, number: int) -> int:
        """How many fields refer to the string with ``number``, counted from 1, in ``strings``."""
        values = [getattr(self, name) for name, place in slots(type(self)) if place.kind is TEXT]
        text = self.strings[number - 1] if number <= len(self.strings) else None
        return sum(
            value == number or (value == text and self.strings.index(value) + 1 == number) for value in values
        )

    def encode(self) -> bytes:
        """The formatted part and the string set, which ends with two zero bytes.

        Raises:
            DataError: naming the field that does not fit.
        """
        what = f"SMBIOS {self.KIND} structure {self.handle:#06x}"
        strings = list(self.strings)
        length = self.formatted_length()
        body = bytearray(max(256, length))
        for name, place in slots(type(self)):
            value = getattr(self, name)
            if place.kind is TEXT and isinstance(value, str) and value:
                value = self._number(strings, value)
            try:
                place.write(body, value)
            except ValueError as exc:
                raise DataError(
                    f"{what}: field {name} at offset {place.offset:#x}: got {value!r}, {exc}"
                ) from exc
        body[length - len(self.extra) : length] = self.extra
        body[self.INSERTED_AT : self.INSERTED_AT] = self.inserted
        length += len(self.inserted)
        if not 4 <= length <= 255:
            raise DataError(f"{what}: length {length}; wanted 4 to 255")
        if not 0 <= self.handle <= 0xFFFF:
            raise DataError(f"{what}: wanted a handle from 0 to 0xffff")
        body[0], body[1] = self.type_number, length
        body[2:4] = self.handle.to_bytes(2, "little")
        return bytes(body[:length]) + _string_set(strings, what)

    def _number(self, strings: list[str], text: str) -> int:
        """The number of ``text`` in ``strings``, put at the end of it if need be."""
        if not self.strings or text not in self.strings:
            strings.append(text)
            return len(strings)
        return self.strings.index(text) + 1


def _string_set(strings: list[str], what: str) -> bytes:
    if len(strings) > 255:
        raise DataError(f"{what}: {len(strings)} strings; at most 255 have a number")
    return b"".join(_string(text, what) for text in strings) + b"\0" if strings else b"\0\0"


def _string(text: str, what: str) -> bytes:
    data = text.encode("latin-1", "replace")
    # What latin-1 does not have has become another text.
    if not text or "\0" in text or data.decode("latin-1") != text:
        raise DataError(
            f"{what}: string {text!r}: wanted at least one character, none of them zero or above U+00FF"
        )
    return data + b"\0"


class Bios(Structure):
    """Type 0. ``rom_size`` counts 64 KiB blocks, less one."""

    TYPE: ClassVar[int] = 0
    KIND: ClassVar[str] = "bios"
    LENGTH: ClassVar[int] = 0x18

    vendor: str | int = slot(0x04, TEXT)
    version: str | int = slot(0x05, TEXT)
    segment: int = slot(0x06, HEX, width=2)
    release_date: str | int = slot(0x08, TEXT)
    rom_size: int = slot(0x09)
    characteristics: int = slot(0x0A, HEX, width=8)
    characteristics_1: int = slot(0x12, HEX)
    characteristics_2: int = slot(0x13, HEX)
    bios_major: int = slot(0x14)
    bios_minor: int = slot(0x15)
    firmware_major: int = slot(0x16)
    firmware_minor: int = slot(0x17)
    extended_rom_size: int = slot(0x18, HEX, width=2)


class System(Structure):
    """Type 1."""

    TYPE: ClassVar[int] = 1
    KIND: ClassVar[str] = "system"
    LENGTH: ClassVar[int] = 0x1B

    manufacturer: str | int = slot(0x04, TEXT)
    product_name: str | int = slot(0x05, TEXT)
    version: str | int = slot(0x06, TEXT)
    serial_number: str | int = slot(0x07, TEXT)
    uuid: str = slot(0x08, UUID, width=16)
    wake_up: str | int = slot(
        0x18,
        Choice(
            dict(
                enumerate(
                    [
                        "reserved",
                        "other",
                        "unknown",
                        "apm_timer",
                        "modem_ring",
                        "lan_remote",
                        "power_switch",
                        "pci_pme",
                        "ac_restored",
                    ]
                )
            )
        ),
    )
    sku_number: str | int = slot(0x19, TEXT)
    family: str | int = slot(0x1A, TEXT)


class Baseboard(Structure):
    """Type 2; handles of contained objects are ``extra``."""

    TYPE: ClassVar[int] = 2
    KIND: ClassVar[str] = "baseboard"
    LENGTH: ClassVar[int] = 0x0F

    manufacturer: str | int = slot(0x04, TEXT)
    product_name: str | int = slot(0x05, TEXT)
    version: str | int = slot(0x06, TEXT)
    serial_number: str | int = slot(0x07, TEXT)
    asset_tag: str | int = slot(0x08, TEXT)
    features: tuple[str | int, ...] = slot(
        0x09, Flags("hosting", "needs_daughter_board", "removable", "replaceable", "hot_swappable")
    )
    location: str | int = slot(0x0A, TEXT)
    chassis_handle: int = slot(0x0B, HEX, width=2)
    board_type: str | int = slot(0x0D, Choice(names.BOARD_TYPES))
    contained: int = slot(0x0E)


class Chassis(Structure):
    """Type 3. ``elements`` are the records of contained elements, ``element_length`` bytes each."""

    TYPE: ClassVar[int] = 3
    KIND: ClassVar[str] = "chassis"
    LENGTH: ClassVar[int] = 0x16
    INSERTED_AT: ClassVar[int] = 0x15

    manufacturer: str | int = slot(0x04, TEXT)
    has_lock: bool = slot(0x05, SWITCH, shift=7)
    chassis_type: str | int = slot(0x05, Choice(names.CHASSIS_TYPES), bits=7)
    version: str | int = slot(0x06, TEXT)
    serial_number: str | int = slot(0x07, TEXT)
    asset_tag: str | int = slot(0x08, TEXT)
    boot_up_state: str | int = slot(0x09, Choice(names.CHASSIS_STATES))
    power_supply_state: str | int = slot(0x0A, Choice(names.CHASSIS_STATES))
    thermal_state: str | int = slot(0x0B, Choice(names.CHASSIS_STATES))
    security_status: str | int = slot(0x0C, Choice(names.SECURITY_STATES))
    oem: int = slot(0x0D, HEX, width=4)
    height: int = slot(0x11)
    power_cords: int = slot(0x12)
    element_count: int = slot(0x13)
    element_length: int = slot(0x14)
    sku_number: str | int = slot(0x15, TEXT)
    elements: bytes = b""

    @property
    def inserted(self) -> bytes:
        """The records of contained elements lie before the SKU number. Source: DSP0134 section 7.4."""
        return self.elements


class Processor(Structure):
    """Type 4."""

    TYPE: ClassVar[int] = 4
    KIND: ClassVar[str] = "processor"
    LENGTH: ClassVar[int] = 0x2A

    socket: str | int = slot(0x04, TEXT)
    processor_type: str | int = slot(0x05, Choice(names.PROCESSOR_TYPES))
    family: int = slot(0x06, HEX)
    manufacturer: str | int = slot(0x07, TEXT)
    processor_id: int = slot(0x08, HEX, width=8)
    version: str | int = slot(0x10, TEXT)
    voltage: int = slot(0x11, HEX)
    external_clock: int = slot(0x12, width=2)
    max_speed: int = slot(0x14, width=2)
    current_speed: int = slot(0x16, width=2)
    status: int = slot(0x18, HEX)
    upgrade: int = slot(0x19, HEX)
    l1_cache: int = slot(0x1A, HEX, width=2)
    l2_cache: int = slot(0x1C, HEX, width=2)
    l3_cache: int = slot(0x1E, HEX, width=2)
    serial_number: str | int = slot(0x20, TEXT)
    asset_tag: str | int = slot(0x21, TEXT)
    part_number: str | int = slot(0x22, TEXT)
    core_count: int = slot(0x23)
    core_enabled: int = slot(0x24)
    thread_count: int = slot(0x25)
    characteristics: int = slot(0x26, HEX, width=2)
    family_2: int = slot(0x28, HEX, width=2)
    core_count_2: int = slot(0x2A, width=2)
    core_enabled_2: int = slot(0x2C, width=2)
    thread_count_2: int = slot(0x2E, width=2)

    @property
    def is_populated(self) -> bool:
        """Whether a processor is in the socket."""
        return bool(int(self.status) & 0x40)


class Cache(Structure):
    """Type 7."""

    TYPE: ClassVar[int] = 7
    KIND: ClassVar[str] = "cache"
    LENGTH: ClassVar[int] = 0x13

    designation: str | int = slot(0x04, TEXT)
    configuration: int = slot(0x05, HEX, width=2)
    maximum_size: int = slot(0x07, HEX, width=2)
    installed_size: int = slot(0x09, HEX, width=2)
    supported_sram: int = slot(0x0B, HEX, width=2)
    current_sram: int = slot(0x0D, HEX, width=2)
    speed: int = slot(0x0F)
    error_correction: str | int = slot(0x10, Choice(names.CACHE_ECC))
    cache_type: str | int = slot(0x11, Choice(names.CACHE_TYPES))
    associativity: str | int = slot(0x12, Choice(names.ASSOCIATIVITY))
    maximum_size_2: int = slot(0x13, HEX, width=4)
    installed_size_2: int = slot(0x17, HEX, width=4)


class Port(Structure):
    """Type 8."""

    TYPE: ClassVar[int] = 8
    KIND: ClassVar[str] = "port"
    LENGTH: ClassVar[int] = 9

    internal: str | int = slot(0x04, TEXT)
    internal_type: str | int = slot(0x05, Choice(names.CONNECTORS))
    external: str | int = slot(0x06, TEXT)
    external_type: str | int = slot(0x07, Choice(names.CONNECTORS))
    port_type: str | int = slot(0x08, Choice(names.PORTS))


class ExpansionSlot(Structure):
    """Type 9."""

    TYPE: ClassVar[int] = 9
    KIND: ClassVar[str] = "slot"
    LENGTH: ClassVar[int] = 0x11

    designation: str | int = slot(0x04, TEXT)
    slot_type: str | int = slot(0x05, Choice(names.SLOT_TYPES))
    bus_width: str | int = slot(0x06, Choice(names.BUS_WIDTHS))
    usage: str | int = slot(0x07, Choice(names.SLOT_USAGES))
    slot_length: str | int = slot(0x08, Choice(names.SLOT_LENGTHS))
    slot_id: int = slot(0x09, width=2)
    characteristics_1: int = slot(0x0B, HEX)
    characteristics_2: int = slot(0x0C, HEX)
    segment: int = slot(0x0D, HEX, width=2)
    bus: int = slot(0x0F, HEX)
    device_function: int = slot(0x10, HEX)


class OnboardDevices(Structure):
    """Type 10, obsolete: the first device; further ones are ``extra``."""

    TYPE: ClassVar[int] = 10
    KIND: ClassVar[str] = "onboard_devices"
    LENGTH: ClassVar[int] = 6

    is_enabled: bool = slot(0x04, SWITCH, shift=7)
    device_type: str | int = slot(0x04, Choice(names.DEVICE_TYPES), bits=7)
    description: str | int = slot(0x05, TEXT)


class OemStrings(Structure):
    """Type 11; the strings are ``strings``."""

    TYPE: ClassVar[int] = 11
    KIND: ClassVar[str] = "oem_strings"
    LENGTH: ClassVar[int] = 5

    count: int = slot(0x04)


class ConfigurationOptions(OemStrings):
    """Type 12; the options are ``strings``."""

    TYPE: ClassVar[int] = 12
    KIND: ClassVar[str] = "configuration_options"


class BiosLanguage(Structure):
    """Type 13; the languages are ``strings``."""

    TYPE: ClassVar[int] = 13
    KIND: ClassVar[str] = "bios_language"
    LENGTH: ClassVar[int] = 0x16

    installable: int = slot(0x04)
    flags: int = slot(0x05, HEX)
    current: str | int = slot(0x15, TEXT)


class MemoryArray(Structure):
    """Type 16. ``maximum_capacity`` in KiB, 0x80000000 when ``extended_capacity`` (bytes) says it."""

    TYPE: ClassVar[int] = 16
    KIND: ClassVar[str] = "memory_array"
    LENGTH: ClassVar[int] = 0x17

    location: str | int = slot(0x04, Choice(names.ARRAY_LOCATIONS))
    use: str | int = slot(0x05, Choice(names.ARRAY_USES))
    error_correction: str | int = slot(0x06, Choice(names.ARRAY_ECC))
    maximum_capacity: int = slot(0x07, HEX, width=4)
    error_handle: int = slot(0x0B, HEX, width=2)
    devices: int = slot(0x0D, width=2)
    extended_capacity: int = slot(0x0F, HEX, width=8)


class MemoryDevice(Structure):
    """Type 17. ``size`` in MiB, with bit 15 in KiB, 0x7fff when ``extended_size`` (MiB) says it."""

    TYPE: ClassVar[int] = 17
    KIND: ClassVar[str] = "memory_device"
    LENGTH: ClassVar[int] = 0x28

    array: int = slot(0x04, HEX, width=2)
    error_handle: int = slot(0x06, HEX, width=2)
    total_width: int = slot(0x08, width=2)
    data_width: int = slot(0x0A, width=2)
    size: int = slot(0x0C, width=2)
    form_factor: str | int = slot(0x0E, Choice(names.FORM_FACTORS))
    device_set: int = slot(0x0F)
    locator: str | int = slot(0x10, TEXT)
    bank_locator: str | int = slot(0x11, TEXT)
    memory_type: str | int = slot(0x12, Choice(names.MEMORY_TYPES))
    type_detail: int = slot(0x13, HEX, width=2)
    speed: int = slot(0x15, width=2)
    manufacturer: str | int = slot(0x17, TEXT)
    serial_number: str | int = slot(0x18, TEXT)
    asset_tag: str | int = slot(0x19, TEXT)
    part_number: str | int = slot(0x1A, TEXT)
    rank: int = slot(0x1B)
    extended_size: int = slot(0x1C, width=4)
    configured_speed: int = slot(0x20, width=2)
    minimum_voltage: int = slot(0x22, width=2)
    maximum_voltage: int = slot(0x24, width=2)
    configured_voltage: int = slot(0x26, width=2)
    technology: str | int = slot(0x28, Choice(names.MEMORY_TECHNOLOGIES))
    operating_mode: int = slot(0x29, HEX, width=2)
    firmware_version: str | int = slot(0x2B, TEXT)
    module_manufacturer: int = slot(0x2C, HEX, width=2)
    module_product: int = slot(0x2E, HEX, width=2)
    controller_manufacturer: int = slot(0x30, HEX, width=2)
    controller_product: int = slot(0x32, HEX, width=2)
    non_volatile_size: int = slot(0x34, width=8)
    volatile_size: int = slot(0x3C, width=8)
    cache_size: int = slot(0x44, width=8)
    logical_size: int = slot(0x4C, width=8)
    extended_speed: int = slot(0x54, width=4)
    extended_configured_speed: int = slot(0x58, width=4)

    @property
    def size_mib(self) -> int:
        """The module's size in MiB; 0 for an empty socket or an unknown size."""
        if self.size == 0x7FFF:
            return self.extended_size & 0x7FFFFFFF
        if self.size == 0xFFFF:
            return 0
        return (self.size & 0x7FFF) // 1024 if self.size & 0x8000 else self.size


class ArrayMap(Structure):
    """Type 19. Addresses in KiB, 0xffffffff when the extended ones (bytes) say it."""

    TYPE: ClassVar[int] = 19
    KIND: ClassVar[str] = "array_map"
    LENGTH: ClassVar[int] = 0x1F

    start: int = slot(0x04, HEX, width=4)
    end: int = slot(0x08, HEX, width=4)
    array: int = slot(0x0C, HEX, width=2)
    partition_width: int = slot(0x0E)
    extended_start: int = slot(0x0F, HEX, width=8)
    extended_end: int = slot(0x17, HEX, width=8)


class DeviceMap(Structure):
    """Type 20. Addresses as in :class:`ArrayMap`."""

    TYPE: ClassVar[int] = 20
    KIND: ClassVar[str] = "device_map"
    LENGTH: ClassVar[int] = 0x23

    start: int = slot(0x04, HEX, width=4)
    end: int = slot(0x08, HEX, width=4)
    device: int = slot(0x0C, HEX, width=2)
    array_map_handle: int = slot(0x0E, HEX, width=2)
    row: int = slot(0x10)
    interleave_position: int = slot(0x11)
    interleave_depth: int = slot(0x12)
    extended_start: int = slot(0x13, HEX, width=8)
    extended_end: int = slot(0x1B, HEX, width=8)


class BootInformation(Structure):
    """Type 32; further status bytes are ``extra``."""

    TYPE: ClassVar[int] = 32
    KIND: ClassVar[str] = "boot_information"
    LENGTH: ClassVar[int] = 0x0B

    status: int = slot(0x0A)


class IpmiDevice(Structure):
    """Type 38. ``base_address`` is an I/O port when its bit 0 is set; the port's own bit 0 is ``low_bit``."""

    TYPE: ClassVar[int] = 38
    KIND: ClassVar[str] = "ipmi_device"
    LENGTH: ClassVar[int] = 0x12

    interface: str | int = slot(0x04, Choice({0: "unknown", 1: "kcs", 2: "smic", 3: "bt", 4: "ssif"}))
    revision: int = slot(0x05, HEX)
    i2c_address: int = slot(0x06, HEX)
    nv_storage: int = slot(0x07, HEX)
    base_address: int = slot(0x08, HEX, width=8)
    spacing: str | int = slot(0x10, Choice({0: "byte", 1: "word32", 2: "word16"}), shift=6)
    modifier_reserved: int = slot(0x10, shift=5, bits=1)
    low_bit: int = slot(0x10, shift=4, bits=1)
    has_interrupt: bool = slot(0x10, SWITCH, shift=3, bits=1)
    modifier_reserved_2: int = slot(0x10, shift=2, bits=1)
    active_high: bool = slot(0x10, SWITCH, shift=1, bits=1)
    level_triggered: bool = slot(0x10, SWITCH, bits=1)
    interrupt: int = slot(0x11)

    @property
    def io_port(self) -> int | None:
        """The I/O port of the interface; None when it is memory mapped or on the SMBus."""
        if not self.base_address & 1 or self.interface == "ssif":
            return None
        return self.base_address & ~1 | self.low_bit


class PowerSupply(Structure):
    """Type 39. ``max_power`` in watts."""

    TYPE: ClassVar[int] = 39
    KIND: ClassVar[str] = "power_supply"
    LENGTH: ClassVar[int] = 0x16

    group: int = slot(0x04)
    location: str | int = slot(0x05, TEXT)
    device_name: str | int = slot(0x06, TEXT)
    manufacturer: str | int = slot(0x07, TEXT)
    serial_number: str | int = slot(0x08, TEXT)
    asset_tag: str | int = slot(0x09, TEXT)
    part_number: str | int = slot(0x0A, TEXT)
    revision: str | int = slot(0x0B, TEXT)
    max_power: int = slot(0x0C, width=2)
    characteristics: int = slot(0x0E, HEX, width=2)
    voltage_probe: int = slot(0x10, HEX, width=2)
    cooling_device: int = slot(0x12, HEX, width=2)
    current_probe: int = slot(0x14, HEX, width=2)


class OnboardDevice(Structure):
    """Type 41."""

    TYPE: ClassVar[int] = 41
    KIND: ClassVar[str] = "onboard_device"
    LENGTH: ClassVar[int] = 0x0B

    designation: str | int = slot(0x04, TEXT)
    is_enabled: bool = slot(0x05, SWITCH, shift=7)
    device_type: str | int = slot(0x05, Choice(names.DEVICE_TYPES), bits=7)
    instance: int = slot(0x06)
    segment: int = slot(0x07, HEX, width=2)
    bus: int = slot(0x09, HEX)
    device_function: int = slot(0x0A, HEX)


class OtherStructure(Structure):
    """A structure that is not taken apart: its formatted part after the header is ``extra``."""

    TYPE: ClassVar[int] = 126
    KIND: ClassVar[str] = "other"
    LENGTH: ClassVar[int] = 4

    number: int = 0

    @property
    def type_number(self) -> int:
        """The structure type."""
        return self.number


STRUCTURES: tuple[type[Structure], ...] = (
    Bios,
    System,
    Baseboard,
    Chassis,
    Processor,
    Cache,
    Port,
    ExpansionSlot,
    OnboardDevices,
    OemStrings,
    ConfigurationOptions,
    BiosLanguage,
    MemoryArray,
    MemoryDevice,
    ArrayMap,
    DeviceMap,
    BootInformation,
    IpmiDevice,
    PowerSupply,
    OnboardDevice,
    OtherStructure,
)
KINDS: dict[str, type[Structure]] = {kind.KIND: kind for kind in STRUCTURES}
_BY_TYPE = {kind.TYPE: kind for kind in STRUCTURES if kind is not OtherStructure}


def decode_structure(data: bytes) -> Structure:
    """The structure in ``data``: its formatted part and its string set, both zero bytes included.

    ``encode()`` gives the same bytes back.

    Raises:
        DataError: if ``data`` is not one whole structure.
    """
    size = structure_size(data, 0)
    if size != len(data):
        raise DataError(f"SMBIOS structure: {len(data)} bytes, but it ends at {size:#x}")
    kind = _BY_TYPE.get(data[0], OtherStructure)
    structure = _decode_as(kind, data)
    if structure.encode() == data:
        return structure
    return _decode_as(OtherStructure, data)


def _decode_as(kind: type[Structure], data: bytes) -> Structure:
    length = data[1]
    values: dict[str, Any] = {"handle": int.from_bytes(data[2:4], "little")}
    whole = data
    if kind is Chassis and length >= Chassis.INSERTED_AT:
        end = Chassis.INSERTED_AT + data[0x13] * data[0x14]
        if end <= length:
            values["elements"] = data[Chassis.INSERTED_AT : end]
            data = data[: Chassis.INSERTED_AT] + data[end:]
            length -= len(values["elements"])
    texts = (
        tuple(text.decode("latin-1") for text in data[length:-2].split(b"\0"))
        if len(data) > length + 2
        else ()
    )
    end = 4
    for name, place in slots(kind):
        if place.end > length:
            break
        end = max(end, place.end)
        value = place.read(data)
        if place.kind is TEXT and isinstance(value, int) and value <= len(texts):
            value = texts[value - 1]
        values[name] = value
    values["extra"] = data[end:length]
    if kind is OtherStructure:
        values["number"] = data[0]
    plain = kind(**values)
    exact = dataclasses.replace(plain, length=length)
    named = _with_strings(plain, texts, data)
    for structure in (plain, exact, named):
        if structure.encode() == whole:
            return structure
    return dataclasses.replace(named, length=length)


def _with_strings(structure: Structure, texts: tuple[str, ...], data: bytes) -> Structure:
    """``structure`` with its string set as it is; a text that occurs twice is referred to by number."""
    numbers: dict[str, Any] = {}
    for name, place in slots(type(structure)):
        value = getattr(structure, name)
        if (
            place.kind is TEXT
            and isinstance(value, str)
            and value
            and texts.index(value) + 1 != data[place.offset]
        ):
            numbers[name] = data[place.offset]
    return dataclasses.replace(structure, strings=texts, **numbers)


def with_texts(structure: S, **texts: str) -> S:
    """``structure`` with some of its texts replaced; an empty text leaves the old one.

    A field beyond the structure's length stays absent. In a structure that lists its strings, the old string
    gives way to the new one unless another field uses it too.
    """
    for name, text in texts.items():
        old = getattr(structure, name)
        if not text or old == text:
            continue
        if structure.length and structure.length < structure.end_of(name):
            continue
        strings = structure.strings
        if strings:
            number = old if isinstance(old, int) else strings.index(old) + 1 if old else 0
            if number and structure.uses_of(number) == 1:
                strings = (*strings[: number - 1], text, *strings[number:])
            elif text not in strings:
                strings = (*strings, text)
        changes: dict[str, Any] = {"strings": strings, name: text}
        structure = dataclasses.replace(structure, **changes)
    return structure


def structure_size(data: bytes, offset: int) -> int:
    """Bytes of the structure at ``offset``, string set and its two zero bytes included.

    Raises:
        DataError: with the offset, if it is cut off or its length byte cannot be.
    """
    if offset + 4 > len(data):
        raise DataError(
            f"SMBIOS table: at offset {offset:#x} {len(data) - offset} bytes are left; a header takes 4"
        )
    length = data[offset + 1]
    if length < 4 or offset + length > len(data):
        raise DataError(
            f"SMBIOS table: the structure at offset {offset:#x} (type {data[offset]}) says {length} bytes; "
            f"wanted 4 to {min(255, len(data) - offset)}"
        )
    end = data.find(b"\0\0", offset + length)
    if end < 0:
        raise DataError(
            f"SMBIOS table: the strings of the structure at offset {offset:#x} do not end with two zeros"
        )
    return end + 2 - offset


def decode_table(data: bytes) -> tuple[Structure, ...]:
    """All structures of a table, with or without a 2.x or 3.x entry point in front.

    The structure that ends a table (type 127) is not part of the result.

    Raises:
        DataError: with the offset in ``data`` of what is wrong.
    """
    return tuple(decode_structure(piece) for piece in split_table(data))


def split_table(data: bytes) -> Iterator[bytes]:
    """The bytes of each structure before the end of the table. Raises as :func:`decode_table`."""
    offset, end = table_span(data)
    data = data[:end]
    while offset < len(data):
        size = structure_size(data, offset)
        if data[offset] == END_OF_TABLE:
            return
        yield data[offset : offset + size]
        offset += size


def table_span(data: bytes) -> tuple[int, int]:
    """Where the table begins and ends in a capture.

    An entry point may name the place (``dmidecode --dump-bin`` does) or be followed by the table right away.
    Source: DSP0134 sections 5.2.1 and 5.2.2.

    Raises:
        DataError: for an entry point whose checksum is wrong or that is cut off.
    """
    if data.startswith(b"_SM3_"):
        size, address_at, width, length_at, length_width = 0x18, 0x10, 8, 0x0C, 4
    elif data.startswith(b"_SM_"):
        size, address_at, width, length_at, length_width = 0x1F, 0x18, 4, 0x16, 2
    else:
        return 0, len(data)
    if len(data) < size:
        raise DataError(f"SMBIOS entry point: {len(data)} bytes; wanted {size}")
    length = data[5 if size == 0x1F else 6]
    if sum(data[:length]) & 0xFF:
        total = sum(data[:length]) & 0xFF
        raise DataError(f"SMBIOS entry point: its {length} bytes add up to {total:#x}, wanted 0 (mod 256)")
    address = int.from_bytes(data[address_at : address_at + width], "little")
    start = address if length <= address < len(data) else length
    return start, min(len(data), start + int.from_bytes(data[length_at : length_at + length_width], "little"))


def dump_bytes(structures: Sequence[bytes]) -> bytes:
    """A file that ``dmidecode --from-dump`` reads: a 3.0 entry point, the structures, the end of the table.

    Source: DSP0134 section 5.2.2; the table follows at offset 32, as ``dmidecode --dump-bin`` writes it.
    """
    end = bytes([END_OF_TABLE, 4, 0xFE, 0xFF, 0, 0])
    table = b"".join(structures) + end
    entry = bytearray(_DUMP_TABLE_OFFSET)
    entry[0:6] = b"_SM3_\0"
    entry[6:11] = bytes([0x18, 3, 0, 0, 1])
    entry[0x0C:0x10] = len(table).to_bytes(4, "little")
    entry[0x10:0x18] = _DUMP_TABLE_OFFSET.to_bytes(8, "little")
    entry[5] = -sum(entry) & 0xFF
    return bytes(entry) + table
