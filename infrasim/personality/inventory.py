"""FRU devices in YAML: areas as mappings of their fields, in the order they lie in the device."""

from __future__ import annotations

import dataclasses
from typing import Any

from infrasim.errors import Problem
from infrasim.personality.extending import AFTER
from infrasim.personality.fields import (
    bytes_value,
    field_value,
    read_bytes,
    read_field,
    slot_table,
    unknown_key,
)
from infrasim.personality.fru import (
    ABSENT,
    AREAS,
    Area,
    Fru,
    InfoArea,
    MultiRecord,
    OpaqueArea,
    date_minutes,
    date_text,
)
from infrasim.personality.layout import DataError, Slot
from infrasim.personality.multirecord import KINDS, Content, decode_content
from infrasim.personality.sensors import read_string, string_value
from infrasim.personality.yamlform import Hex, Part

_OPAQUE = "opaque_"
_HEADER_NAMES = {kind.HEADER_AT: name for name, kind in AREAS.items() if kind is not OpaqueArea}
_NUMBERS = {"id": "fru_id", "size": "size", "controller": "controller", "fill": "fill"}
_USUAL = {"controller": 0x20, "fill": 0}
_AREA_KEYS = (*_HEADER_NAMES.values(), *(_OPAQUE + name for name in _HEADER_NAMES.values()))
# What each key means when nothing says otherwise; null for what is then not there at all.
BUILTIN: dict[str, Any] = {key: _USUAL.get(key) for key in (*_USUAL, *_AREA_KEYS, "patches", "data")}
KEYS = (*_NUMBERS, *_AREA_KEYS, "patches", "data")


def fru_value(fru: Fru) -> dict[str, Any]:
    """A FRU device as it is written."""
    table: dict[str, Any] = {"id": fru.fru_id, "size": fru.size}
    table |= {key: Hex(getattr(fru, key)) for key, usual in _USUAL.items() if getattr(fru, key) != usual}
    for area in fru.areas:
        name = _OPAQUE + _HEADER_NAMES[area.header_at] if isinstance(area, OpaqueArea) else area.KIND
        table[name] = _area_value(area)
    if fru.patches:
        table["patches"] = [
            {"offset": Hex(offset), "data": bytes_value(data)} for offset, data in fru.patches
        ]
    if fru.raw:
        table["data"] = bytes_value(fru.raw)
    return table


def _area_value(area: Area) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in dataclasses.fields(area):
        value = getattr(area, field.name)
        if field.name == "minutes":
            if value:
                table["date"] = date_text(value)
        elif field.name == "header_at" or value == field.default:
            continue
        elif field.name == "records":
            table["records"] = [_multi_value(record) for record in value]
        elif field.name == "custom":
            table["custom"] = [string_value(string) for string in value]
        elif isinstance(area, InfoArea) and field.name in area.FIELDS:
            table[field.name] = string_value(value)
        elif isinstance(value, bytes):
            table[field.name] = bytes_value(value)
        else:
            table[field.name] = Hex(value) if field.name in _HEX else value
    return table


_HEX = ("offset", "fill", "checksum", "chassis_type", "language")


def _multi_value(record: MultiRecord) -> dict[str, Any]:
    content = decode_content(record.record_type, record.data)
    table: dict[str, Any] = {"type": Hex(record.record_type), "data": bytes_value(record.data)}
    if content is not None:
        usual = type(content)()
        names = [name for name in slot_table(type(content)) if getattr(content, name) != getattr(usual, name)]
        table = {
            content.KIND: {name: field_value(_place(content, name), getattr(content, name)) for name in names}
        }
    return table | ({"version": record.version} if record.version != 2 else {})


def _place(content: Content, name: str) -> Slot:
    return slot_table(type(content))[name]


def read_fru(part: Part, problems: list[Problem]) -> Fru | None:
    """The FRU device of one mapping; what is wrong is added to ``problems``."""
    values = part.merged()
    fields: dict[str, Any] = {}
    areas = []
    for key, value in values.items():
        if key == AFTER or (value is None and key in BUILTIN):
            continue
        if key in _NUMBERS:
            high = {"id": 0xFF, "size": 0x10000}.get(key, 0xFF)
            fields[_NUMBERS[key]] = _number(part, key, value, high, problems)
        elif key in _AREA_KEYS:
            areas.append(_read_area(part, key, value, problems))
        elif key == "data":
            fields["raw"] = read_bytes(part, key, value, problems)
        elif key == "patches":
            fields["patches"] = tuple(_read_patch(part, item, problems) for item in value)
        else:
            problems.append(unknown_key(part, key, KEYS))
    for key in ("id", "size"):
        if key not in values:
            problems.append(part.problem("", f"{key} is missing"))
            return None
    fru = Fru(**fields, areas=tuple(area for area in areas if area))
    try:
        fru.encode()
    except DataError as exc:
        problems.append(part.problem("", exc.message, exc.hint))
    return fru


def _number(part: Part, key: str, value: Any, high: int, problems: list[Problem]) -> int:
    if type(value) is int and 0 <= value <= high:
        return value
    problems.append(part.problem(key, f"got {value!r}, wanted a whole number from 0 to {high}"))
    return 0


def _read_patch(part: Part, item: Any, problems: list[Problem]) -> tuple[int, bytes]:
    if not isinstance(item, dict) or set(item) != {"offset", "data"}:
        problems.append(part.problem("patches", f"got {item!r}, wanted mappings with offset and data"))
        return 0, b""
    offset = _number(part, "patches", item["offset"], 0xFFFF, problems)
    return offset, read_bytes(part, "patches", item["data"], problems)


def _read_area(part: Part, name: str, value: Any, problems: list[Problem]) -> Area | None:
    inner = Part(value if isinstance(value, dict) else {}, part.document, (*part.path, name))
    if not isinstance(value, dict):
        problems.append(part.problem(name, f"got {value!r}, wanted a mapping"))
        return None
    kind = OpaqueArea if name.startswith(_OPAQUE) else AREAS[name]
    known = {field.name for field in dataclasses.fields(kind)}
    fields: dict[str, Any] = {}
    for key, item in value.items():
        field = "minutes" if key == "date" and "minutes" in known else key
        if field not in known or key in ("minutes", "header_at"):
            problems.append(unknown_key(inner, key, known))
        else:
            fields[field] = _read_area_field(inner, kind, field, key, item, problems)
    if kind is OpaqueArea:
        fields["header_at"] = AREAS[name.removeprefix(_OPAQUE)].HEADER_AT
    return kind(**fields)


def _read_area_field(
    part: Part, kind: type[Area], field: str, key: str, value: Any, problems: list[Problem]
) -> Any:
    if field == "minutes":
        try:
            return date_minutes(str(value))
        except ValueError as exc:
            problems.append(part.problem(key, f"got {value!r}, wanted a date like 2015-07-13 14:29: {exc}"))
            return 0
    if issubclass(kind, InfoArea) and field in kind.FIELDS:
        return ABSENT if value is None else read_string(part, key, value, problems)
    if field == "custom":
        return tuple(read_string(part, key, item, problems) for item in value)
    if field == "records":
        return tuple(_read_multi(part, item, problems) for item in value)
    if field in ("data", "padding"):
        return read_bytes(part, key, value, problems)
    return _number(part, key, value, 0xFFFF if field in ("offset", "length") else 0xFF, problems)


def _read_multi(part: Part, item: Any, problems: list[Problem]) -> MultiRecord:
    kind = next((key for key in item if key in KINDS), "") if isinstance(item, dict) else ""
    if kind and set(item) <= {kind, "version"} and isinstance(item[kind], dict):
        places = slot_table(KINDS[kind])
        fields: dict[str, Any] = {}
        for key, value in item[kind].items():
            if key in places:
                fields[key] = read_field(part, "records", value, places[key], problems)
            else:
                problems.append(part.problem("records", f"unknown key {key!r} in {kind}", ", ".join(places)))
        version = _number(part, "records", item.get("version", 2), 0x7F, problems)
        data = b"" if problems else KINDS[kind](**fields).encode()
        return MultiRecord(KINDS[kind].TYPE, data, version)
    if not isinstance(item, dict) or not {"type", "data"} <= set(item) <= {"type", "data", "version"}:
        problems.append(
            part.problem("records", f"got {item!r}, wanted type and data, or one of: {', '.join(KINDS)}")
        )
        return MultiRecord(0, b"")
    return MultiRecord(
        _number(part, "records", item["type"], 0xFF, problems),
        read_bytes(part, "records", item["data"], problems),
        _number(part, "records", item.get("version", 2), 0x7F, problems),
    )
