"""Fields of binary records in YAML: the generic half of reading and writing them.

A record class described by ``layout.slot`` needs no code of its own here. Keys that are
not fields, and fields that are written in another way, are left to ``sensors``, ``inventory`` and ``tables``.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from infrasim.errors import Problem
from infrasim.personality.layout import Number, Slot, slots
from infrasim.personality.yamlform import Hex, Part

_SLOT_TABLES: dict[type, dict[str, Slot]] = {}


def slot_table(record: type) -> dict[str, Slot]:
    """The places of a record's fields by name."""
    table = _SLOT_TABLES.get(record)
    if table is None:
        table = _SLOT_TABLES[record] = dict(slots(record))
    return table


def named_kind(values: Mapping[str, Any], kinds: Collection[str]) -> str:
    """Which of these kinds a mapping names, empty if it names none."""
    return next((key for key in values if key in kinds), "")


def read_kind(
    part: Part, values: Mapping[str, Any], kinds: Collection[str], what: str, problems: list[Problem]
) -> str:
    """As ``named_kind``; a mapping that names none is a problem of ``part``."""
    kind = named_kind(values, kinds)
    if not kind:
        problems.append(part.problem("", f"no kind of {what}; wanted one of: {', '.join(kinds)}"))
    return kind


def unknown_key(part: Part, key: str, known: Iterable[str]) -> Problem:
    """The problem of a key that nothing reads, with the known one it may be meant to be."""
    close = difflib.get_close_matches(key, list(known), n=1)
    return part.problem(key, "unknown key", f"did you mean {close[0]!r}?" if close else "")


def read_field(part: Part, key: str, value: Any, place: Slot, problems: list[Problem]) -> Any:
    """``value`` as the record holds it; a problem is noted when it does not fit."""
    bits = place.bits + (place.above[2] if place.above else 0)
    try:
        place.kind.encode(value, bits)
    except ValueError as exc:
        problems.append(part.problem(key, f"got {value!r}, {exc}"))
    return tuple(value) if isinstance(value, list) else value


def field_value(place: Slot, value: Any) -> Any:
    """``value`` of a record as it is written."""
    if isinstance(place.kind, Number) and place.kind.hexadecimal:
        return Hex(value)
    return list(value) if isinstance(value, tuple) else value


def read_bytes(part: Part, key: str, value: Any, problems: list[Problem]) -> bytes:
    """Hexadecimal digits, or a list of them, as bytes."""
    text = (
        "".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value
    )
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        problems.append(part.problem(key, f"got {value!r}, wanted pairs of hexadecimal digits in quotes"))
        return b""


def bytes_value(data: bytes) -> str | list[str]:
    """``data`` as it is written: hexadecimal digits, in rows of 32 bytes when there are more."""
    rows = [data[start : start + 32].hex() for start in range(0, len(data), 32)]
    return rows if len(rows) > 1 else data.hex()


def common_values(
    tables: Sequence[Mapping[str, Any]],
    base: Mapping[str, Any],
    builtin: Mapping[str, Any],
    unshared: Collection[str],
) -> dict[str, Any]:
    """What more than half of the tables agree on, where it is neither in ``base`` nor built in."""
    shared: dict[str, Any] = {}
    if len(tables) < 3:
        return shared
    rows = [{**{key: builtin[key] for key in base}, **table} for table in tables]
    for key in dict.fromkeys(key for row in rows for key in row):
        if key in unshared or key not in builtin:
            continue
        values = [row.get(key, builtin[key]) for row in rows]
        words, count = Counter(map(repr, values)).most_common(1)[0]
        if count * 2 > len(rows) and words != repr(base.get(key, builtin[key])):
            shared[key] = next(value for value in values if repr(value) == words)
    return shared


def without_common(
    table: Mapping[str, Any], common: Mapping[str, Any], builtin: Mapping[str, Any]
) -> dict[str, Any]:
    """``table`` less what ``common`` says already; what it leaves out and ``common`` has is written out."""
    rest = {
        key: value for key, value in table.items() if key not in common or repr(common[key]) != repr(value)
    }
    rest |= {
        key: builtin[key] for key in common if key not in table and repr(common[key]) != repr(builtin[key])
    }
    return rest
