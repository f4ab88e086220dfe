"""Types that extend another: laying their parts over it, and finding the parts that say a difference.

A part is matched with the inherited one that has the same kind and the same identifying keys.
``after`` puts a part behind another one; ``remove`` drops parts. Values of a matched part go over
those of the inherited one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from difflib import SequenceMatcher
from typing import Any

from infrasim.errors import Problem
from infrasim.frozen import Frozen, replaced
from infrasim.personality.yamlform import Part

AFTER = "after"
ALL = "all"
Row = Mapping[str, Any]


class Matching(Frozen):
    """How parts of one list are told apart: the key that names the kind, and further identifying keys.

    ``usual`` are values of such keys that need not be said. ``groups`` names the defaults of a file that
    count for a part; None when the list has none. ``is_ordered`` when the order of a part's keys matters.
    """

    kind: Callable[[Row], str]
    keys: tuple[str, ...]
    groups: Callable[[Row], tuple[str, ...]] | None = None
    usual: Row = field(default_factory=dict)
    is_ordered: bool = False

    def label(self, values: Row) -> Any:
        """What ``after`` and ``remove`` call a part: its name, handle or id."""
        name = self.kind(values) or next(iter(self.keys), "")
        return values.get(name)

    def key(self, values: Row) -> str:
        """What tells a part from all others of its list."""
        identity = (values.get(key, self.usual.get(key)) for key in self.keys)
        return repr([self.kind(values), self.label(values), *identity])


def overlay(
    base: Sequence[Part], added: Sequence[Part], matching: Matching, problems: list[Problem]
) -> list[Part]:
    """``base`` with ``added`` laid over it; what is new comes at the end or behind its ``after``."""
    places = {matching.key(part.merged()): part for part in base}
    result = list(base)
    for part in added:
        inherited = places.get(matching.key(part.values))
        merged = part if inherited is None else replaced(part, base=inherited)
        if inherited is None:
            result.append(merged)
        else:
            result[_index(result, inherited)] = merged
        if AFTER in part.values:
            _move(result, merged, matching, problems)
    return result


def _index(parts: Sequence[Part], wanted: Part) -> int:
    return next(number for number, part in enumerate(parts) if part is wanted)


def _move(parts: list[Part], part: Part, matching: Matching, problems: list[Problem]) -> None:
    del parts[_index(parts, part)]
    after = part.values[AFTER]
    if after is None:
        parts.insert(0, part)
        return
    for number, other in enumerate(parts):
        if _is_called(other.merged(), after, matching):
            parts.insert(number + 1, part)
            return
    problems.append(part.problem(AFTER, f"there is no {after!r} to come after"))
    parts.append(part)


def _is_called(values: Row, call: Any, matching: Matching) -> bool:
    """Whether ``call``, a label or a mapping of identifying keys, means the part with ``values``."""
    if isinstance(call, dict):
        return all(values.get(key, matching.usual.get(key)) == value for key, value in call.items())
    return bool(matching.label(values) == call)


def without(parts: Sequence[Part], part: Part, matching: Matching, problems: list[Problem]) -> list[Part]:
    """``parts`` less those that ``remove`` in ``part`` calls, which may be ``all``."""
    removed = part.values.get("remove", [])
    if removed == ALL:
        return []
    if not isinstance(removed, list):
        problems.append(part.problem("remove", f"got {removed!r}, wanted a list or {ALL!r}"))
        return list(parts)
    for call in removed:
        if not any(_is_called(item.merged(), call, matching) for item in parts):
            problems.append(part.problem("remove", f"there is no {call!r} to remove"))
    return [item for item in parts if not any(_is_called(item.merged(), call, matching) for call in removed)]


# ---------------------------------------------------------------- differences


class Said(Frozen):
    """One row of a difference; ``is_new`` when the base has none to lay it over."""

    values: dict[str, Any]
    is_new: bool


class Difference(Frozen):
    """What a type says of one list: ``rows`` over the base's, and the calls of those it drops."""

    rows: list[Said]
    remove: list[Any]


def difference(
    base: Sequence[Row], wanted: Sequence[Row], matching: Matching, builtin: Callable[[str], Row]
) -> Difference:
    """The rows that turn ``base`` into ``wanted``, order included; both with nothing common taken out."""
    known = {matching.key(row): row for row in base}
    if matching.is_ordered:
        fits = {matching.key(row) for row in wanted if _keeps_order(known.get(matching.key(row), {}), row)}
        known = {key: row for key, row in known.items() if key in fits}
    keys = [matching.key(row) for row in wanted]
    removed = [
        _short_call(row, base, matching)
        for row in base
        if matching.key(row) not in known or matching.key(row) not in set(keys)
    ]
    kept = [key for key in known if key in set(keys)]
    steady: set[str] = set()
    for match in SequenceMatcher(None, kept, keys, autojunk=False).get_matching_blocks():
        steady |= set(kept[match.a : match.a + match.size])
    rows = []
    for number, (key, row) in enumerate(zip(keys, wanted, strict=True)):
        place = (
            {}
            if key in steady
            else {AFTER: _short_call(wanted[number - 1], wanted, matching) if number else None}
        )
        old = known.get(key)
        changes = dict(row) if old is None else _changes(old, row, builtin(matching.kind(row)))
        if changes or place:
            identity = {} if old is None else _call(row, matching)
            rows.append(Said({**identity, **changes, **place}, old is None))
    return Difference(rows, removed)


def _keeps_order(old: Row, new: Row) -> bool:
    """Whether ``new`` laid over ``old`` has its keys in their order."""
    return [key for key in {**old, **new} if key in new] == list(new)


def _call(row: Row, matching: Matching) -> dict[str, Any]:
    kind = matching.kind(row)
    keys = [kind] if kind else []
    return {key: row[key] for key in (*keys, *matching.keys) if key in row}


def _short_call(row: Row, rows: Sequence[Row], matching: Matching) -> Any:
    """What calls ``row`` among ``rows``: its label if it is the only one, else all its identifying keys."""
    label = matching.label(row)
    alone = sum(matching.label(other) == label for other in rows) == 1
    return label if alone and isinstance(label, (str, int)) else _call(row, matching)


def _changes(old: Row, new: Row, builtin: Row) -> dict[str, Any]:
    changed = {key: value for key, value in new.items() if key not in old or repr(old[key]) != repr(value)}
    return changed | {key: builtin.get(key) for key in old if key not in new}
