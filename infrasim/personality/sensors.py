"""SDR records and their sensors in YAML: readable names, engineering units, only what is not the usual.

One record is one mapping. Its first key is the record's kind and gives its name; the others are the fields of
``sdr`` by name, apart from masks (lists of thresholds, events or states), analogue bytes (engineering units)
and what the sensor reads when the BMC starts (``value``, ``state``, ``live``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from infrasim.errors import Problem
from infrasim.frozen import replaced
from infrasim.personality import names
from infrasim.personality.extending import AFTER
from infrasim.personality.fields import (
    bytes_value,
    field_value,
    named_kind,
    read_bytes,
    read_field,
    read_kind,
    slot_table,
    unknown_key,
)
from infrasim.personality.idstring import Encoding, IdString
from infrasim.personality.layout import DataError
from infrasim.personality.model import (
    Entry,
    Events,
    SensorState,
    Thresholds,
    comparison_bits,
    default_state,
)
from infrasim.personality.sdr import KINDS, FullSensor, Record, Sensor
from infrasim.personality.yamlform import Hex, Part, raw_value

ANALOG = (
    "nominal",
    "normal_max",
    "normal_min",
    "sensor_max",
    "sensor_min",
    *reversed(names.THRESHOLDS),
)
_MASKS = ("assertion_mask", "deassertion_mask", "reading_mask")
MASK_KEYS = ("asserts", "deasserts", "compares", "readable", "settable", "reads")
STATE_KEYS = ("value", "state", "live", "simulated")
_LIVE_KEYS = ("events", "scanning", "control", "asserts", "deasserts", "asserts_enabled", "deasserts_enabled")
_LIVE_LEVELS = ("access", "limits", "hysteresis")
_LIVE_TYPES = ("sensor_type", "event_type")
_ALL_LIVE = (*_LIVE_KEYS, *_LIVE_LEVELS, *_LIVE_TYPES, "event_only")
# Keys whose usual value depends on the sensor; they are not shared between records.
UNSHARED = (*ANALOG, "value", "number", "trailing", "sensor_type", "fru_id", "address")
# Keys that mean "not given" when they are null.
NULLABLE = (*ANALOG, "state", "live", "trailing")

_EVENT_NAMES = dict(enumerate(names.THRESHOLD_EVENTS))
_LEVEL_NAMES = dict(enumerate(names.THRESHOLDS))


_SPECIAL = frozenset(_MASKS)
_SPECIAL_FULL = _SPECIAL | frozenset(ANALOG)


def special_slots(record: type[Record]) -> frozenset[str]:
    """Fields of a record that are not written under their own name or not as they are stored."""
    return _SPECIAL_FULL if issubclass(record, FullSensor) else _SPECIAL


@cache
def builtin_values(kind: str) -> dict[str, Any]:
    """What each key of a record kind means when nothing says otherwise, as it would be written."""
    record = KINDS[kind]()
    special = special_slots(type(record))
    values = {
        name: field_value(place, getattr(record, name))
        for name, place in slot_table(type(record)).items()
        if name not in special
    }
    if isinstance(record, Sensor):
        values |= {key: [] for key in MASK_KEYS} | {"state": None, "live": None}
    return values


# ---------------------------------------------------------------- names and masks


def string_value(string: IdString) -> Any:
    """A string as it is written: text, or a mapping with encoding and size when these are not the usual."""
    if string.size:
        return {"text": string.text, "size": string.size}
    return string.text if string.encoding == Encoding.TEXT else {str(string.encoding): string.text}


def read_string(part: Part, key: str, value: Any, problems: list[Problem]) -> IdString:
    """The opposite of :func:`string_value`."""
    string = IdString(str(value)) if isinstance(value, (str, int, float)) else None
    encodings = set(value) & set(Encoding) if isinstance(value, dict) else set()
    if len(encodings) == 1 and set(value) <= {*encodings, "size"} and type(value.get("size", 0)) is int:
        encoding = encodings.pop()
        string = IdString(str(value[encoding]), Encoding(encoding), value.get("size", 0))
    if string is None:
        problems.append(part.problem(key, f"got {value!r}, wanted text or one of: {', '.join(Encoding)}"))
        return IdString("")
    try:
        string.encode()
    except DataError as exc:
        problems.append(part.problem(key, exc.message))
        return IdString("")
    return string


def bits_value(mask: int, table: Mapping[int, str]) -> list[str | int]:
    """The bits of ``mask``, by name where they have one."""
    return [table.get(bit, bit) for bit in range(mask.bit_length()) if mask >> bit & 1]


def read_bits(part: Part, key: str, value: Any, table: Mapping[int, str], problems: list[Problem]) -> int:
    """The opposite of :func:`bits_value`, for up to 16 bits."""
    numbers = {name: bit for bit, name in table.items()}
    mask = 0
    for item in value if isinstance(value, list) else [value]:
        bit = numbers.get(item) if isinstance(item, str) else item
        if type(bit) is not int or not 0 <= bit <= 15:
            wanted = f"names of: {', '.join(numbers)}" if numbers else "states 0 to 14"
            problems.append(part.problem(key, f"got {item!r}, wanted a list with {wanted}"))
        else:
            mask |= 1 << bit
    return mask


def _mask_values(record: Sensor) -> dict[str, Any]:
    if not record.is_threshold:
        return {
            "asserts": bits_value(record.assertion_mask, {}),
            "deasserts": bits_value(record.deassertion_mask, {}),
            "reads": bits_value(record.reading_mask, {}),
        }
    compared = record.assertion_mask >> 12 & 7 | (record.deassertion_mask >> 12 & 7) << 3
    return {
        "asserts": bits_value(record.assertion_mask & 0x8FFF, _EVENT_NAMES),
        "deasserts": bits_value(record.deassertion_mask & 0x8FFF, _EVENT_NAMES),
        "compares": bits_value(compared, _LEVEL_NAMES),
        "readable": bits_value(record.reading_mask & 0xFF, _LEVEL_NAMES),
        "settable": bits_value(record.reading_mask >> 8, _LEVEL_NAMES),
    }


def _read_masks(
    part: Part, values: Mapping[str, Any], *, levels: bool, problems: list[Problem]
) -> dict[str, int]:
    """The three mask fields. Source: IPMI 2.0 table 43-1, bytes 15-20."""

    def bits(key: str, table: Mapping[int, str]) -> int:
        return read_bits(part, key, values.get(key, []), table, problems)

    events = _EVENT_NAMES if levels else {}
    asserts, deasserts = bits("asserts", events), bits("deasserts", events)
    if not levels:
        return {"assertion_mask": asserts, "deassertion_mask": deasserts, "reading_mask": bits("reads", {})}
    compared = bits("compares", _LEVEL_NAMES)
    reading = bits("readable", _LEVEL_NAMES) | bits("settable", _LEVEL_NAMES) << 8
    return {
        "assertion_mask": asserts | (compared & 7) << 12,
        "deassertion_mask": deasserts | (compared >> 3 & 7) << 12,
        "reading_mask": reading,
    }


# ---------------------------------------------------------------- writing


def entry_value(entry: Entry) -> dict[str, Any]:
    """One record and its sensor as they are written, before what is common to many is taken out."""
    record = entry.record
    builtin = builtin_values(record.KIND)
    table: dict[str, Any] = {record.KIND: string_value(record.id_string) if record.NAME_AT else None}
    special = special_slots(type(record))
    for name, place in slot_table(type(record)).items():
        if name not in special:
            value = field_value(place, getattr(record, name))
            if value != builtin[name]:
                table[name] = value
    if isinstance(record, Sensor):
        table |= {key: value for key, value in _mask_values(record).items() if value}
    if isinstance(record, FullSensor):
        units = record.conversion.to_units
        table |= {name: units(getattr(record, name)) for name in ANALOG if getattr(record, name)}
    if record.trailing:
        table["trailing"] = bytes_value(record.trailing)
    return table | _state_values(record, entry.state)


def _state_values(record: Record, state: SensorState | None) -> dict[str, Any]:
    usual = default_state(record)
    if usual is None or state is None:
        return {"simulated": False} if usual else {}
    table: dict[str, Any] = {}
    if not isinstance(record, Sensor):
        return table
    if state.value != usual.value:
        table["value"] = state.value if state.value is None else _reading(record, state.value)
    if state.bits != comparison_bits(state):
        table["state"] = bits_value(
            sum(1 << bit for bit in state.bits), _LEVEL_NAMES if record.is_threshold else {}
        )
    live = _live_values(record, state, usual)
    return table | ({"live": live} if live else {})


def _reading(record: Sensor, raw: int) -> Any:
    return record.conversion.to_units(raw) if record.is_threshold else raw


def _live_values(record: Sensor, state: SensorState, usual: SensorState) -> dict[str, Any]:
    """How the sensor differs from what its record says."""
    live: dict[str, Any] = {
        key: Hex(getattr(state, key)) for key in _LIVE_TYPES if getattr(state, key) != getattr(usual, key)
    }
    if state.is_event_only:
        live["event_only"] = True
    if state.events != usual.events and state.events and usual.events:
        table = _EVENT_NAMES if record.is_threshold else {}
        for key, field in zip(_LIVE_KEYS, dataclasses.fields(Events), strict=True):
            value = getattr(state.events, field.name)
            if value != getattr(usual.events, field.name):
                live[key] = (
                    bits_value(value, table) if type(value) is int and key not in ("control",) else value
                )
    if state.thresholds != usual.thresholds and state.thresholds:
        units = record.conversion.to_units
        mask = state.thresholds.mask
        if usual.thresholds is None or state.thresholds.access != usual.thresholds.access:
            live["access"] = state.thresholds.access
        if usual.thresholds is None or (mask, state.thresholds.values) != (
            usual.thresholds.mask,
            usual.thresholds.values,
        ):
            live["limits"] = {
                name: units(state.thresholds.values[bit])
                for bit, name in _LEVEL_NAMES.items()
                if mask >> bit & 1
            }
    if state.hysteresis != usual.hysteresis and state.hysteresis:
        live["hysteresis"] = list(state.hysteresis)
    return live


# ---------------------------------------------------------------- reading


def kind_of(values: Mapping[str, Any]) -> str:
    """The record kind a mapping names, empty if it names none."""
    return named_kind(values, KINDS)


def groups(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Where ``defaults`` may hold what is usual for a record: under its kind, and its sensor type."""
    kind = kind_of(values)
    return (kind, f"{kind}.{values['sensor_type']}") if "sensor_type" in values else (kind,)


def read_entry(part: Part, problems: list[Problem]) -> Entry | None:
    """The record and sensor of one mapping, None if there is something wrong with it.

    What is wrong is added to ``problems``.
    """
    before = len(problems)
    values = part.merged()
    kind = read_kind(part, values, KINDS, "record", problems)
    if not kind:
        return None
    values = {key: value for key, value in values.items() if value is not None or key not in NULLABLE}
    record_class = KINDS[kind]
    places = slot_table(record_class)
    special = special_slots(record_class)
    fields: dict[str, Any] = {}
    for key, value in values.items():
        place = places.get(key)
        if place is not None and key not in special:
            fields[key] = read_field(part, key, value, place, problems)
        elif key not in _known_keys(kind) and key != AFTER:
            problems.append(unknown_key(part, key, _known_keys(kind)))
    if record_class.NAME_AT:
        fields["id_string"] = read_string(part, kind, values[kind], problems)
    if "trailing" in values:
        fields["trailing"] = read_bytes(part, "trailing", values["trailing"], problems)
    if issubclass(record_class, Sensor):
        levels = fields.get("event_type") in ("threshold", 1)
        fields |= _read_masks(part, values, levels=levels, problems=problems)
    if len(problems) > before:
        return None
    record = record_class(**fields)
    if isinstance(record, FullSensor):
        record = _with_analog(part, record, values, problems)
    return Entry(record, _read_state(part, record, values, problems))


@cache
def _known_keys(kind: str) -> frozenset[str]:
    record = KINDS[kind]
    keys = {kind, "trailing", *(set(slot_table(record)) - set(_MASKS))}
    if issubclass(record, Sensor):
        keys |= {*MASK_KEYS, *STATE_KEYS}
    if default_state(record()):
        keys.add("simulated")
    return frozenset(keys)


def _with_analog(
    part: Part, record: FullSensor, values: Mapping[str, Any], problems: list[Problem]
) -> FullSensor:
    conversion = record.conversion
    raw: dict[str, Any] = {}
    for name in ANALOG:
        if name in values:
            raw[name] = _to_raw(part, name, values[name], conversion.to_raw, problems)
    return replaced(record, **raw)


def _to_raw(part: Part, key: str, value: Any, to_raw: Any, problems: list[Problem]) -> int:
    number = raw_value(value)
    if type(number) is bool or not isinstance(number, (int, float)):
        problems.append(part.problem(key, f"got {value!r}, wanted a number"))
        return 0
    try:
        return int(to_raw(number))
    except ValueError as exc:
        problems.append(part.problem(key, f"got {value!r}, {exc}"))
        return 0


def _read_state(
    part: Part, record: Record, values: Mapping[str, Any], problems: list[Problem]
) -> SensorState | None:
    state = default_state(record)
    if state is None or values.get("simulated") is False:
        return None
    if not isinstance(record, Sensor):
        return state
    if "live" in values:
        state = _read_live(part, record, state, values["live"], problems)
    if "value" in values:
        value = values["value"]
        to_raw = record.conversion.to_raw if record.is_threshold else _whole_byte
        raw = None if value is None else _to_raw(part, "value", value, to_raw, problems)
        state = replaced(state, value=raw)
    bits = comparison_bits(state)
    if "state" in values:
        mask = read_bits(
            part, "state", values["state"], _LEVEL_NAMES if record.is_threshold else {}, problems
        )
        bits = frozenset(bit for bit in range(16) if mask >> bit & 1)
    return replaced(state, bits=bits) if bits else state


def _whole_byte(value: float | int) -> int:
    if type(value) is float or not 0 <= value <= 255:
        raise ValueError("wanted a whole number from 0 to 255")
    return int(value)


def _read_live(
    part: Part, record: Sensor, state: SensorState, live: Any, problems: list[Problem]
) -> SensorState:
    if not isinstance(live, dict):
        problems.append(part.problem("live", f"got {live!r}, wanted a mapping"))
        return state
    for key in set(live) - set(_ALL_LIVE):
        problems.append(part.problem("live", f"unknown key {key!r}", f"known: {', '.join(_ALL_LIVE)}"))
    table = _EVENT_NAMES if record.is_threshold else {}
    changes: dict[str, Any] = {}
    for key, field in zip(_LIVE_KEYS, dataclasses.fields(Events), strict=True):
        if key in live:
            value = live[key]
            changes[field.name] = (
                read_bits(part, "live", value, table, problems) if isinstance(value, list) else value
            )
    if state.events and changes:
        state = replaced(state, events=replaced(state.events, **changes))
    if "access" in live or "limits" in live:
        state = replaced(state, thresholds=_read_limits(part, record, state, live, problems))
    types = {key: live[key] for key in _LIVE_TYPES if key in live}
    for key, value in types.items():
        if type(value) is not int or not 0 <= value <= 0xFF:
            problems.append(
                part.problem("live", f"{key}: got {value!r}, wanted a whole number from 0 to 255")
            )
    state = replaced(state, **types, is_event_only=live.get("event_only") is True)
    if "hysteresis" in live:
        access, positive, negative = live["hysteresis"]
        state = replaced(state, hysteresis=(access, positive, negative))
    return state


def _read_limits(
    part: Part, record: Sensor, state: SensorState, live: Mapping[str, Any], problems: list[Problem]
) -> Thresholds:
    usual = state.thresholds or Thresholds(record.threshold_access, 0, (0,) * 6)
    access = live.get("access", usual.access)
    if "limits" not in live:
        return replaced(usual, access=access)
    limits = live["limits"]
    values, mask = [0] * 6, 0
    for name, value in limits.items():
        if name not in names.THRESHOLDS:
            problems.append(
                part.problem("live", f"unknown threshold {name!r}, wanted: {', '.join(names.THRESHOLDS)}")
            )
            continue
        bit = names.THRESHOLDS.index(name)
        mask |= 1 << bit
        values[bit] = _to_raw(part, "live", value, record.conversion.to_raw, problems)
    return Thresholds(access, mask, tuple(values))


# ---------------------------------------------------------------- sensors without a record

_HIDDEN_KEYS = ("owner", "lun", "number", "sensor_type", "event_type")


def hidden_record(state: SensorState) -> FullSensor:
    """A record for a sensor that has none, so that it is written like all others; its units are raw."""
    return FullSensor(
        owner=state.owner,
        lun=state.lun,
        number=state.number,
        sensor_type=names.SENSOR_TYPES.get(state.sensor_type, state.sensor_type),
        event_type=names.EVENT_TYPES.get(state.event_type, state.event_type),
    )


def hidden_value(state: SensorState) -> dict[str, Any]:
    """A sensor without a record as it is written."""
    table: dict[str, Any] = {key: Hex(getattr(state, key)) for key in _HIDDEN_KEYS}
    if state.is_event_only:
        return table | {"is_event_only": True}
    return table | _state_values(hidden_record(state), state)


def read_hidden(part: Part, problems: list[Problem]) -> SensorState | None:
    """The opposite of :func:`hidden_value`; None if there is something wrong with it."""
    values = part.merged()
    known = (*_HIDDEN_KEYS, "is_event_only", "value", "state", "live")
    before = len(problems)
    problems += [unknown_key(part, key, known) for key in values if key not in known]
    for key in _HIDDEN_KEYS:
        value = values.get(key)
        if type(value) is not int or not 0 <= value <= 0xFF:
            got = "nothing" if value is None else repr(value)
            problems.append(part.problem(key, f"got {got}, wanted a whole number from 0 to 255"))
    if len(problems) > before:
        return None
    plain = SensorState(**{key: values[key] for key in _HIDDEN_KEYS})
    if values.get("is_event_only") is True:
        return replaced(plain, is_event_only=True)
    return _read_state(part, hidden_record(plain), values, problems)
