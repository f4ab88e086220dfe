"""SMBIOS structures in YAML: one mapping each, whose first key is the kind and gives the handle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from infrasim.errors import Problem
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
from infrasim.personality.layout import DataError
from infrasim.personality.smbios import KINDS, TEXT, Chassis, OtherStructure, Structure
from infrasim.personality.yamlform import Hex, Part

UNSHARED = ("strings", "extra", "elements", "number")
# Keys that mean "not given" when they are null.
NULLABLE = ("strings", "extra", "elements")


@cache
def builtin_values(kind: str) -> dict[str, Any]:
    """What each key of a structure kind means when nothing says otherwise, as it would be written."""
    structure = KINDS[kind]()
    places = slot_table(type(structure))
    values = {name: field_value(place, getattr(structure, name)) for name, place in places.items()}
    return values | {"length": 0}


def structure_value(structure: Structure) -> dict[str, Any]:
    """A structure as it is written, before what is common to many is taken out."""
    builtin = builtin_values(structure.KIND)
    table: dict[str, Any] = {structure.KIND: Hex(structure.handle)}
    if isinstance(structure, OtherStructure):
        table["number"] = structure.number
    for name, place in slot_table(type(structure)).items():
        value = field_value(place, getattr(structure, name))
        if value != builtin[name]:
            table[name] = value
    if structure.length:
        table["length"] = structure.length
    if structure.extra:
        table["extra"] = bytes_value(structure.extra)
    if isinstance(structure, Chassis) and structure.elements:
        table["elements"] = bytes_value(structure.elements)
    if structure.strings:
        table["strings"] = list(structure.strings)
    return table


def kind_of(values: Mapping[str, Any]) -> str:
    """The structure kind a mapping names, empty if it names none."""
    return named_kind(values, KINDS)


def groups(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The names under which ``defaults`` may hold what is usual for a structure: its kind."""
    return (kind_of(values),)


def read_structure(part: Part, problems: list[Problem]) -> Structure | None:
    """The structure of one mapping, None if there is something wrong with it.

    What is wrong is added to ``problems``.
    """
    before = len(problems)
    values = part.merged()
    kind = read_kind(part, values, KINDS, "structure", problems)
    if not kind:
        return None
    places = slot_table(KINDS[kind])
    fields: dict[str, Any] = {}
    for key, value in values.items():
        place = places.get(key)
        if key == AFTER or (value is None and key in NULLABLE):
            continue
        if place is not None and place.kind is TEXT and isinstance(value, str):
            fields[key] = value
        elif place is not None:
            fields[key] = read_field(part, key, value, place, problems)
        elif key == kind or key == "length" or (key == "number" and kind == OtherStructure.KIND):
            fields["handle" if key == kind else key] = _number(part, key, value, problems)
        elif key == "extra" or (key == "elements" and kind == Chassis.KIND):
            fields[key] = read_bytes(part, key, value, problems)
        elif key == "strings":
            fields[key] = tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)
        else:
            problems.append(unknown_key(part, key, [*places, "length", "extra", "strings"]))
    if len(problems) > before:
        return None
    structure = KINDS[kind](**fields)
    try:
        structure.encode()
    except DataError as exc:
        problems.append(part.problem(kind, exc.message, exc.hint))
    return structure


def _number(part: Part, key: str, value: Any, problems: list[Problem]) -> int:
    if type(value) is int and 0 <= value <= 0xFFFF:
        return value
    problems.append(part.problem(key, f"got {value!r}, wanted a whole number from 0 to 0xffff"))
    return 0
