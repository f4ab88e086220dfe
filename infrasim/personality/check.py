"""What is doubtful or wrong about a server type, beyond what reading its files already refuses.

An error is something that a tool or the simulator stumbles over; a note is something that a real machine may
well have and that the author of a type should know.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from infrasim.frozen import Frozen
from infrasim.personality import names
from infrasim.personality.fru import BytesArea, Fru, InfoArea, InternalArea
from infrasim.personality.layout import DataError, slots
from infrasim.personality.model import BMC_ADDRESS, Entry, Personality, SensorState, default_state
from infrasim.personality.sdr import FruLocator, FullSensor, Sensor
from infrasim.personality.smbios import (
    TEXT,
    ArrayMap,
    Baseboard,
    Bios,
    Chassis,
    DeviceMap,
    MemoryArray,
    MemoryDevice,
    Processor,
    Structure,
    System,
)

# ipmi_sim refuses sensor number 255. Source: measured, OpenIPMI 2.0.33.
_LAST_SENSOR = 254
# Source: IPMI 2.0 table 43-1, byte 48: an ID string has at most 16 bytes.
_NAME_BYTES = 16
# Handles that stand for none. Source: DSP0134 sections 7.5, 7.18.
_NO_HANDLES = frozenset({0xFFFE, 0xFFFF, 0})


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    NOTE = "note"


class Finding(Frozen):
    """One thing about a server type: where, and what."""

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message}"


def check(personality: Personality) -> tuple[Finding, ...]:
    """Everything there is to say about ``personality``, errors first."""
    found = [
        *_check_controllers(personality),
        *_check_sensors(personality),
        *(finding for entry in personality.sdrs for finding in _check_entry(entry)),
        *_check_frus(personality),
        *_check_smbios(personality),
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity != Severity.ERROR))


def _error(where: str, message: str) -> Finding:
    return Finding(Severity.ERROR, where, message)


def _note(where: str, message: str) -> Finding:
    return Finding(Severity.NOTE, where, message)


def _check_controllers(personality: Personality) -> Iterator[Finding]:
    addresses = Counter(controller.address for controller in personality.controllers)
    if BMC_ADDRESS not in addresses:
        yield _error("controllers", f"none has the address {BMC_ADDRESS:#04x} of the main controller")
    for address, count in addresses.items():
        if count > 1:
            yield _error("controllers", f"address {address:#04x} is given {count} times")
    for owner in sorted({sensor.owner for sensor in personality.sensors} - set(addresses)):
        yield _error("controllers", f"sensors are owned by {owner:#04x}, which is no controller's address")


# ---------------------------------------------------------------- sensors


def _check_sensors(personality: Personality) -> Iterator[Finding]:
    if not personality.sdrs:
        yield _error("sensors", "there is no SDR: ipmitool then says that the repository was erased")
    for key, count in Counter(sensor.key for sensor in personality.sensors).items():
        if count > 1:
            yield _error("sensors", f"{_place(key)} is described {count} times")
    for sensor in personality.sensors:
        if sensor.number > _LAST_SENSOR:
            yield _error("sensors", f"{_place(sensor.key)}: the simulator knows numbers up to {_LAST_SENSOR}")
    for sensor in personality.hidden_sensors:
        yield _note("sensors", f"{_place(sensor.key)} has no SDR: no listing shows it")


def _place(key: tuple[int, int, int]) -> str:
    owner, lun, number = key
    return f"sensor {number:#04x} of {owner:#04x}" + (f", LUN {lun}" if lun else "")


def _check_entry(entry: Entry) -> Iterator[Finding]:
    record = entry.record
    where = f"{record.KIND} {record.name!r}"
    if record.NAME_AT and not record.name.isprintable():
        yield _note(where, "its name has characters that cannot be shown")
    if record.NAME_AT and len(record.id_string.encode()) - 1 > _NAME_BYTES:
        yield _note(where, f"its name takes more than {_NAME_BYTES} bytes")
    if entry.state is None:
        if default_state(record) is not None:
            yield _note(where, "it is not simulated: reading it is an error")
        return
    if isinstance(record, FullSensor) and record.is_threshold:
        yield from _check_thresholds(where, record, entry.state)
    if isinstance(record, Sensor) and record.is_threshold and entry.state.value is None:
        yield _note(where, "it has no value: it reads as not available")


def _check_thresholds(where: str, record: FullSensor, state: SensorState) -> Iterator[Finding]:
    """From lower to upper the thresholds that exist must rise. Source: IPMI 2.0 section 35.9."""
    limits = state.thresholds
    if limits is None:
        return
    order = ("lnr", "lc", "lnc", "unc", "uc", "unr")
    bits = [names.THRESHOLDS.index(name) for name in order]
    present = [(names.THRESHOLDS[bit], limits.values[bit]) for bit in bits if limits.mask >> bit & 1]
    units = record.conversion.to_units
    for (low, below), (high, above) in itertools.pairwise(present):
        reads_low, reads_high = units(below), units(above)
        if (reads_low > reads_high) is (record.m > 0 or record.conversion.is_plain) and below != above:
            yield _note(where, f"threshold {low} is {reads_low}, above {high} with {reads_high}")
    if state.bits & {0, 1, 2, 3, 4, 5}:
        crossed = ", ".join(names.THRESHOLDS[bit] for bit in sorted(state.bits) if bit < 6)
        yield _note(where, f"it starts beyond its thresholds: {crossed}")


# ---------------------------------------------------------------- FRU


def _check_frus(personality: Personality) -> Iterator[Finding]:
    devices = Counter((fru.controller, fru.fru_id) for fru in personality.frus)
    for (controller, fru_id), count in devices.items():
        if count > 1:
            yield _error(f"FRU {fru_id}", f"it is given {count} times for controller {controller:#04x}")
    records = [entry.record for entry in personality.sdrs]
    located = {item.fru_id for item in records if isinstance(item, FruLocator) and item.is_logical}
    for fru in personality.frus:
        yield from _check_fru(fru)
        if fru.fru_id and fru.fru_id not in located:
            yield _note(f"FRU {fru.fru_id}", "no FRU locator names it: no listing shows it")


def _check_fru(fru: Fru) -> Iterator[Finding]:
    where = f"FRU {fru.fru_id}"
    try:
        fru.encode()
    except DataError as exc:
        yield _error(where, exc.message)
    if fru.raw:
        yield _note(where, "it has no valid header: tools read nothing from it")
    for area in fru.areas:
        if isinstance(area, BytesArea) and not isinstance(area, InternalArea):
            yield _note(where, "an area does not follow its format")
        if isinstance(area, InfoArea):
            if area.checksum is not None:
                yield _note(where, f"the checksum of its {area.KIND} area is wrong: some tools refuse it")
            for string in area.strings():
                if string.encoding == "text" and not string.text.isprintable():
                    yield _note(where, f"{area.KIND} area: {string.text!r} cannot be shown")


# ---------------------------------------------------------------- SMBIOS

# Source: DSP0134 section 6.2, required structures, as far as a simulated machine can have them.
_REQUIRED: tuple[type[Structure], ...] = (
    Bios,
    System,
    Chassis,
    Processor,
    MemoryArray,
    MemoryDevice,
    ArrayMap,
)
_ONLY_ONE: tuple[type[Structure], ...] = (Bios, System)
_REFERENCES: dict[type[Structure], tuple[str, ...]] = {
    Baseboard: ("chassis_handle",),
    Processor: ("l1_cache", "l2_cache", "l3_cache"),
    MemoryDevice: ("array",),
    ArrayMap: ("array",),
    DeviceMap: ("device", "array_map_handle"),
}


def _check_smbios(personality: Personality) -> Iterator[Finding]:
    structures = personality.smbios
    handles = Counter(structure.handle for structure in structures)
    for handle, count in handles.items():
        if count > 1:
            yield _error("SMBIOS", f"handle {handle:#06x} is given {count} times")
    kinds = Counter(type(structure) for structure in structures)
    for kind in _REQUIRED:
        if structures and not kinds[kind]:
            yield _note("SMBIOS", f"there is no {kind.KIND} structure (type {kind.TYPE})")
    for kind in _ONLY_ONE:
        if kinds[kind] > 1:
            yield _error("SMBIOS", f"there are {kinds[kind]} {kind.KIND} structures; wanted one")
    for structure in structures:
        yield from _check_structure(structure, handles)


def _check_structure(structure: Structure, handles: Counter[int]) -> Iterator[Finding]:
    where = f"SMBIOS {structure.KIND} {structure.handle:#06x}"
    for name in _REFERENCES.get(type(structure), ()):
        handle = getattr(structure, name)
        if handle not in handles and handle not in _NO_HANDLES:
            yield _note(where, f"{name} names the handle {handle:#06x}, which no structure has")
    texts = [getattr(structure, name) for name, place in slots(type(structure)) if place.kind is TEXT]
    for text in (*texts, *structure.strings):
        if isinstance(text, str) and not text.isprintable():
            yield _note(where, f"string {text!r} cannot be shown")
        if isinstance(text, int) and text > len(structure.strings):
            yield _note(where, f"it refers to string {text}, of {len(structure.strings)}")
