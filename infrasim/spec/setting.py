"""``--set KEY=VALUE``: values from the command line that go before those of the node file.

KEY is a dotted path, with ``[n]`` for the entries of a list (``compute.networks[0].mac``), VALUE is YAML.
What is on the way to KEY and missing is made; the entry behind the last one of a list may be set, which
adds it. A list that the file does not have begins as its default. VALUE is checked as if it
stood in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from infrasim.errors import SET, InvalidNodeFile, Problem, UsageError
from infrasim.spec.document import Document, Path, Setting, Value, dotted, load_value, undotted

_KEY = re.compile(r"[^.\[\]=\s]+(?:\[[0-9]{1,4}\])*(?:\.[^.\[\]=\s]+(?:\[[0-9]{1,4}\])*)*\Z")


class _WrongStep(Exception):
    """A path does not lead anywhere in the values that there are."""


def parse_settings(given: Sequence[str]) -> tuple[Setting, ...]:
    """What ``--set`` was given, one text for each.

    Raises:
        UsageError: a text is not KEY=VALUE.
        InvalidNodeFile: with every VALUE that is not YAML, or comes twice.
    """
    found: dict[Path, Setting] = {}
    problems: list[Problem] = []
    for words in given:
        key, equals, text = words.partition("=")
        key = key.strip()
        if not equals or not _KEY.match(key):
            raise UsageError(
                f"{SET} {words!r} is not KEY=VALUE", hint=f"such as: {SET} compute.memory.size=4096"
            )
        path = undotted(key)
        if path in found:
            problems.append(Problem(SET, 0, 0, key, "is set twice", "keep one of them"))
        try:
            found[path] = Setting(path, load_value(text, file=SET), text)
        except InvalidNodeFile as exc:
            problems += (replace(each, line=0, column=0, path=key) for each in exc.problems)
    if problems:
        raise InvalidNodeFile(problems)
    return tuple(found.values())


def with_settings(document: Document, settings: Sequence[Setting]) -> Document:
    """The document with ``settings`` in place of what it says itself.

    Raises:
        InvalidNodeFile: with every setting that leads nowhere.
    """
    if not settings:
        return document
    values: Value = document.values
    problems = []
    for setting in settings:
        try:
            values = _with(values, setting.path, setting.value, ())
        except _WrongStep as exc:
            problems.append(Problem(SET, 0, 0, dotted(setting.path), str(exc)))
    if problems:
        raise InvalidNodeFile(problems)
    return document.with_settings(cast("dict[str, Value]", values), settings)


def _with(value: Value, rest: Path, new: Value, done: Path) -> Value:
    """``value`` with ``new`` at ``rest``; nothing of it is changed itself, for aliases share their target."""
    if not rest:
        return new
    step, below = rest[0], rest[1:]
    if isinstance(step, int):
        entries = _default_list(done) if value is None else value
        if not isinstance(entries, list):
            raise _WrongStep(f"{dotted(done)} is not a list")
        if step > len(entries):
            count = f"{len(entries)} entr{'y' if len(entries) == 1 else 'ies'}"
            raise _WrongStep(f"{dotted(done)} has {count}: the next one is [{len(entries)}]")
        before = entries[step] if step < len(entries) else None
        return [*entries[:step], _with(before, below, new, (*done, step)), *entries[step + 1 :]]
    mapping = {} if value is None else value
    if not isinstance(mapping, dict):
        raise _WrongStep(
            f"{dotted(done)} has no keys: it is a {'list' if isinstance(value, list) else 'value'}"
        )
    return {**mapping, step: _with(mapping.get(step), below, new, (*done, step))}


def _default_list(path: Path) -> list[Value]:
    """What a list of the node file is when it is left out, as a file would say it."""
    from infrasim.spec import legacy
    from infrasim.spec.keys import node_keys  # late: only such a setting pays for it

    key = node_keys().get(legacy.pattern(path))
    if key is None or not key.is_list:
        return []
    default = key.field.get_default(call_default_factory=True) or ()
    return [
        entry.model_dump(by_alias=True, exclude_unset=True) if key.model else cast(Value, entry)
        for entry in default
    ]
