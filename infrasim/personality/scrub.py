"""Takes serial numbers and UUIDs of the captured machine out of a server type.

Every serial number gives way to a made-up one of the same length, everywhere it occurs: in its own field, in
strings that contain it, and as text inside areas that are only bytes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from infrasim.personality.fru import Area, Fru, InfoArea, MultiArea
from infrasim.personality.idstring import Encoding, IdString
from infrasim.personality.model import Personality
from infrasim.personality.smbios import Structure, System

NO_UUID = "00000000-0000-0000-0000-000000000000"
_NUMBERS = re.compile(r"[A-Za-z0-9-]{5,}")
# A serial number among custom fields, as against a part number such as 100-564-554-002.
_CUSTOM_SERIAL = re.compile(r"[A-Z]{2,}[0-9A-Z]*[0-9]{6,}\Z")
_WORDS = re.compile(r"serial|dimm|none|unknown|default|fill|field|asset|XXX", re.IGNORECASE)

T = TypeVar("T")


def scrubbed(personality: Personality) -> Personality:
    """``personality`` without what identifies the machine it was captured from."""
    replacements = _replacements(personality)
    return dataclasses.replace(
        personality,
        frus=tuple(_fru(fru, replacements) for fru in personality.frus),
        smbios=tuple(_structure(structure, replacements) for structure in personality.smbios),
    )


def _replacements(personality: Personality) -> dict[str, str]:
    """Made-up serial numbers by the real ones, longest first."""
    found: dict[str, str] = {}
    for text in _serials(personality):
        for number in _NUMBERS.findall(text):
            if sum(char.isdigit() for char in number) >= 2 and not _WORDS.search(text) and number.strip("0-"):
                found.setdefault(number, f"{len(found) + 1:0{len(number)}d}")
    return {number: found[number] for number in sorted(found, key=len, reverse=True)}


def _serials(personality: Personality) -> Iterator[str]:
    for structure in personality.smbios:
        serial = getattr(structure, "serial_number", "")
        if isinstance(serial, str):
            yield serial
        else:
            yield from structure.strings[serial - 1 : serial]
    for fru in personality.frus:
        for area in fru.areas:
            if isinstance(area, InfoArea):
                yield from (string.text for string in area.custom if _CUSTOM_SERIAL.match(string.text))
            serial_number = getattr(area, "serial_number", None)
            if isinstance(serial_number, IdString) and serial_number.encoding == Encoding.TEXT:
                yield serial_number.text


def _text(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _bytes(data: bytes, replacements: dict[str, str]) -> bytes:
    for old, new in replacements.items():
        data = data.replace(old.encode("latin-1"), new.encode("latin-1"))
    return data


def _value(value: Any, replacements: dict[str, str]) -> Any:
    if isinstance(value, IdString):
        same = value.encoding != Encoding.TEXT
        return value if same else dataclasses.replace(value, text=_text(value.text, replacements))
    if isinstance(value, str):
        return _text(value, replacements)
    if isinstance(value, bytes):
        return _bytes(value, replacements)
    if isinstance(value, tuple):
        return tuple(_value(item, replacements) for item in value)
    return value


def _replaced(item: T, replacements: dict[str, str], names: tuple[str, ...]) -> T:
    values = {name: _value(getattr(item, name), replacements) for name in names}
    changed = {name: value for name, value in values.items() if value != getattr(item, name)}
    return dataclasses.replace(item, **changed) if changed else item  # type: ignore[type-var]


def _fields(item: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(item))


def _fru(fru: Fru, replacements: dict[str, str]) -> Fru:
    areas = tuple(_area(area, replacements) for area in fru.areas)
    return dataclasses.replace(_replaced(fru, replacements, ("raw", "patches")), areas=areas)


def _area(area: Area, replacements: dict[str, str]) -> Area:
    if isinstance(area, MultiArea):
        records = tuple(_replaced(record, replacements, ("data",)) for record in area.records)
        return dataclasses.replace(area, records=records)
    changed = _replaced(area, replacements, _fields(area))
    if isinstance(changed, InfoArea) and changed != area and changed.checksum is not None:
        return dataclasses.replace(changed, checksum=None)
    return changed


def _structure(structure: Structure, replacements: dict[str, str]) -> Structure:
    changed = _replaced(structure, replacements, _fields(structure))
    return dataclasses.replace(changed, uuid=NO_UUID) if isinstance(changed, System) else changed
