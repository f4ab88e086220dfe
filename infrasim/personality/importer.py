"""Captures of real machines to server types: ``.emu`` commands and an SMBIOS dump to a personality.

:func:`assembled` is where every capture becomes one, whether read from a file or from a BMC.

What the simulated controller cannot show is dropped on the way: record ids (ipmi_sim numbers records itself),
thresholds of sensors that have none, and values of thresholds that are not enabled.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from infrasim.personality import fru, names, sdr, smbios
from infrasim.personality.emu import Emulation, parse_emu
from infrasim.personality.model import Entry, Personality, SensorState, Thresholds, default_state
from infrasim.personality.sensors import hidden_record
from infrasim.personality.smbios import Structure


def import_capture(name: str, *, emu: str, emu_source: str, smbios_dump: bytes = b"") -> Personality:
    """The server type a capture shows.

    Raises:
        DataError: with line or offset, for a capture that cannot be read.
    """
    return assembled(name, parse_emu(emu, source=emu_source), smbios_dump=smbios_dump)


def assembled(name: str, emulation: Emulation, *, smbios_dump: bytes = b"") -> Personality:
    """The server type that ``emulation`` and an SMBIOS table show.

    Raises:
        DataError: with the offset, for a table that cannot be read.
    """
    structures = smbios.decode_table(smbios_dump)
    manufacturer, product = _names(structures, emulation.frus)
    return Personality(
        name=name,
        manufacturer=manufacturer,
        product_name=product,
        summary="",
        controllers=emulation.controllers,
        event_log=emulation.event_log,
        sdrs=tuple(_entry(entry) for entry in emulation.entries),
        hidden_sensors=tuple(_hidden(state) for state in emulation.hidden_sensors),
        frus=emulation.frus,
        smbios=structures,
    )


def _entry(entry: Entry) -> Entry:
    record = dataclasses.replace(entry.record, record_id=0)
    state = entry.state
    usual = default_state(record)
    if state is None or usual is None:
        return Entry(record, state)
    return Entry(record, _state(record, state, usual))


def _hidden(state: SensorState) -> SensorState:
    record = hidden_record(state)
    usual = default_state(record)
    return state if usual is None or state.is_event_only else _state(record, state, usual)


def _state(record: sdr.Record, state: SensorState, usual: SensorState) -> SensorState:
    if usual.is_event_only:
        return usual
    if state.is_event_only:
        return dataclasses.replace(
            usual,
            sensor_type=state.sensor_type,
            event_type=state.event_type,
            is_event_only=True,
            value=None,
        )
    changes: dict[str, Any] = {"thresholds": _thresholds(state, usual)}
    if state.hysteresis is None:
        changes["hysteresis"] = usual.hysteresis
    if state.events is None:
        changes["events"] = usual.events
    return dataclasses.replace(state, **changes)


def _thresholds(state: SensorState, usual: SensorState) -> Thresholds | None:
    """Those that can be seen: none of a sensor without any, no values of those that are not enabled."""
    limits = state.thresholds
    if limits is None or state.event_type != names.number(names.EVENT_TYPES, "threshold"):
        return Thresholds("none", 0, (0,) * 6) if usual.thresholds else None
    values = tuple(value if limits.mask >> bit & 1 else 0 for bit, value in enumerate(limits.values))
    return dataclasses.replace(limits, values=values)


def _names(structures: tuple[Structure, ...], frus: tuple[fru.Fru, ...]) -> tuple[str, str]:
    """Manufacturer and product: SMBIOS type 1 says it, else the first FRU with a product or board area."""
    for structure in structures:
        if isinstance(structure, smbios.System) and structure.product_name:
            return str(structure.manufacturer).strip(), str(structure.product_name).strip()
    for device in frus:
        for kind in (fru.ProductArea, fru.BoardArea):
            area = device.area(kind)
            if isinstance(area, (fru.ProductArea, fru.BoardArea)) and area.product_name.text:
                return area.manufacturer.text.strip(), area.product_name.text.strip()
    return "", ""
