"""What two server types would show differently, record by record and field by field.

Both are compared as they would be written in YAML, so a difference reads as in the files: names, engineering
units, and nothing that is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from infrasim.frozen import Frozen
from infrasim.personality import inventory, sensors, tables
from infrasim.personality.model import Personality
from infrasim.personality.yamlform import flow

Row = Mapping[str, Any]
# Fields that belong to one machine rather than to its type.
IDENTITY_FIELDS = frozenset({"serial_number", "uuid", "asset_tag"})


class Difference(Frozen):
    """One field: ``ours`` and ``theirs`` as they are written, empty when it is not there at all."""

    where: str
    field: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: {self.ours or '-'} | {self.theirs or '-'}"


def compare(ours: Personality, theirs: Personality, *, with_identity: bool = True) -> tuple[Difference, ...]:
    """Every difference in controllers, sensors and SDRs, FRU devices and SMBIOS.

    Without ``with_identity`` serial numbers, UUIDs and asset tags are not compared.
    """
    found = [
        *_rows("controller", _controllers(ours), _controllers(theirs), lambda row: hex(row["address"])),
        *_rows("SDR", _records(ours), _records(theirs), _record_label),
        *_order(_records(ours), _records(theirs)),
        *_rows("FRU", _frus(ours), _frus(theirs), lambda row: str(row["id"])),
        *_rows("SMBIOS", _structures(ours), _structures(theirs), _structure_label),
    ]
    return tuple(item for item in found if with_identity or not IDENTITY_FIELDS & set(item.field.split(".")))


def _controllers(personality: Personality) -> list[Row]:
    return [asdict(controller) for controller in personality.controllers]


def _records(personality: Personality) -> list[Row]:
    return [sensors.entry_value(entry) for entry in personality.sdrs]


def _frus(personality: Personality) -> list[Row]:
    return [inventory.fru_value(fru) for fru in personality.frus]


def _structures(personality: Personality) -> list[Row]:
    return [tables.structure_value(structure) for structure in personality.smbios]


def _record_label(row: Row) -> str:
    kind = sensors.kind_of(row)
    number = f" {row['number']:#04x}" if "number" in row else ""
    owner = f" of {row['owner']:#04x}" if "owner" in row else ""
    return f"{kind} {flow(row[kind])}{number}{owner}"


def _structure_label(row: Row) -> str:
    kind = tables.kind_of(row)
    return f"{kind} {row[kind]:#06x}"


def _numbered(rows: Sequence[Row], label: Callable[[Row], str]) -> dict[str, Row]:
    """The rows by label; of several with the same one, the second is called ``label (2)`` and so on."""
    named: dict[str, Row] = {}
    for row in rows:
        name, count = label(row), 1
        while name in named:
            count += 1
            name = f"{label(row)} ({count})"
        named[name] = row
    return named


def _rows(
    what: str, ours: Sequence[Row], theirs: Sequence[Row], label: Callable[[Row], str]
) -> Iterator[Difference]:
    left, right = _numbered(ours, label), _numbered(theirs, label)
    for name in [*left, *(name for name in right if name not in left)]:
        where = f"{what} {name}"
        if name not in right:
            yield Difference(where, "whole", "there", "")
        elif name not in left:
            yield Difference(where, "whole", "", "there")
        else:
            yield from _fields(where, "", left[name], right[name])


def _fields(where: str, prefix: str, left: Row, right: Row) -> Iterator[Difference]:
    for key in [*left, *(key for key in right if key not in left)]:
        mine, other = left.get(key), right.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            yield from _fields(where, f"{prefix}{key}.", mine, other)
        elif repr(mine) != repr(other):
            yield Difference(where, prefix + key, _written(left, key), _written(right, key))


def _written(row: Row, key: str) -> str:
    return flow(row[key]) if key in row else ""


def _order(ours: Sequence[Row], theirs: Sequence[Row]) -> Iterator[Difference]:
    """The first place where the same records stand in another order."""
    left, right = list(_numbered(ours, _record_label)), list(_numbered(theirs, _record_label))
    both = set(left) & set(right)
    pairs = zip(
        (name for name in left if name in both), (name for name in right if name in both), strict=True
    )
    for number, (mine, other) in enumerate(pairs):
        if mine != other:
            yield Difference(f"SDR number {number + 1} of those both have", "order", mine, other)
            return
