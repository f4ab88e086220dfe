"""What the models found wrong -> problems on the user's own lines, in the user's own terms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from infrasim.errors import InvalidNodeFile, Problem
from infrasim.spec import legacy
from infrasim.spec.checks import FRU_ID_MAX, Conflicts, is_fru_key
from infrasim.spec.document import Document, Mark, Path, undotted
from infrasim.spec.keys import node_keys, section_keys
from infrasim.spec.modelling import Fault, FaultKind, ValidationError
from infrasim.units import WrongValue

_SHOWN_CHARACTERS = 60
# Their keys, such as 'name' and 'cores', are rarely what is meant elsewhere.
_INVENTORY = ("bmc.fruN", "compute.smbios")
_SECRET_KEYS = frozenset({"password"})
_WANTED: Mapping[FaultKind, str] = {
    "not_whole": "a whole number",
    "not_number": "a number",
    "not_bool": "true or false",
    "not_text": "text",
    "not_list": "a list",
    "not_mapping": "'key: value' lines",
}
_TRUE_WORDS = frozenset({"true", "yes", "on", "y", "1"})
_FALSE_WORDS = frozenset({"false", "no", "off", "n", "0"})


def node_file_problems(
    error: ValidationError, document: Document, moved: Mapping[Path, Path] | None = None
) -> list[Problem]:
    """One problem for each fault, in the order of the models.

    ``moved`` leads from where a value stood for the models to where it stands in the file.
    """
    return [problem for fault in error.faults for problem in _problems(fault, document, moved or {})]


def relocate(error: InvalidNodeFile, document: Document) -> InvalidNodeFile:
    """The same problems on the lines of ``document`` that their dotted paths point to.

    Those of another document, such as a server type's, stay where they are.
    """
    found = []
    for problem in error.problems:
        if problem.file or not problem.path:
            found.append(replace(problem, file=problem.file or document.file))
            continue
        path = _as_spelled(undotted(problem.path), document)
        at = document.problem(_value_place(document, path), path, problem.message, problem.hint)
        found.append(at)
    return InvalidNodeFile(found, hint=error.hint)


def _as_spelled(path: Path, document: Document) -> Path:
    """``path`` as the file has it: under an old key, if it has that one."""
    return next((each for each in legacy.spellings(path) if document.stands_in(each)), path)


def _problems(fault: Fault, document: Document, moved: Mapping[Path, Path]) -> Iterator[Problem]:
    path = _in_file(fault.path)
    path = moved.get(path, path)
    match fault.kind:
        case "unknown_key" | "wrong_key":
            message, hint = _unknown_key(path)
            yield document.problem(document.key_mark(path), path, message, hint)
        case "given_twice":
            message, hint = _given_twice(path, document)
            yield document.problem(document.key_mark(path), path, message, hint)
        case "missing":
            hint = _example(path)
            yield document.problem(document.key_mark(path[:-1]), path, "is missing", hint)
        case "wrong_value" if isinstance(fault.error, Conflicts):
            for conflict in fault.error.found:
                place = (*path, *conflict.path)
                mark = _value_place(document, place)
                yield document.problem(mark, place, conflict.message, conflict.hint)
        case _:
            path = _written(path, document)
            message, hint = _wrong_value(fault, path, document)
            yield document.problem(_value_place(document, path), path, message, hint)


def _in_file(path: Path) -> Path:
    """Where a place of the models is in the file: they gather ``bmc.fru0``, ``bmc.fru7`` … in one mapping."""
    return ("bmc", *path[2:]) if path[:2] == ("bmc", "fruN") else path


def _value_place(document: Document, path: Path) -> Mark:
    """A scalar's own place; the key's where the value is empty or spans lines."""
    return document.value_mark(path) if document.source(path) else document.key_mark(path)


def _written(path: Path, document: Document) -> Path:
    """``path`` up to what stands in the file: a shorthand has no keys below it."""
    value: Any = document.values
    step: Any
    for length, step in enumerate(path):
        if not isinstance(value, dict | list):
            return path[:length]
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return path
    return path


def _unknown_key(path: Path) -> tuple[str, str]:
    if why := legacy.refusal(path):
        return why, ""
    key = str(path[-1])
    section = legacy.pattern(path[:-1])
    known = section_keys(section)
    message = f"unknown key {key!r}"
    if section == "bmc" and key.startswith("fru"):
        return message, _fru_hint(key)
    name = "fruN" if is_fru_key(key) else key
    elsewhere = [
        found.section
        for found in node_keys().values()
        if found.name == name and found.section != section and not found.section.startswith(_INVENTORY)
    ]
    # A part of a name is meant more often than a key of another place, or one that only looks alike.
    if longer := [each for each in known if key in re.split("[_-]", each)]:
        return message, f"did you mean {' or '.join(map(repr, longer))}?"
    if len(elsewhere) == 1:
        return message, f"it belongs under {elsewhere[0]!r}" if elsewhere[
            0
        ] else "it belongs at the top level"
    if close := get_close_matches(key, known, n=1):
        return message, f"did you mean {close[0]!r}?"
    return message, f"known here: {', '.join(known)}"


def _given_twice(path: Path, document: Document) -> tuple[str, str]:
    """A key in a second spelling, where the first stands in the file too."""
    name = str(path[-1])
    key = node_keys().get(legacy.pattern(path)) or node_keys()[_renamed(path)]
    spellings = key.field.spellings or (key.name,)
    given = (each for each in spellings if each != name and document.stands_in((*path[:-1], each)))
    first = next(given, spellings[0])
    return f"is given twice, as {first!r} and as {name!r}", f"keep {spellings[0]!r}"


def _fru_hint(key: str) -> str:
    digits = "".join(letter for letter in key if letter in "0123456789")
    meant = f"fru{int(digits)}" if digits else ""
    return f"did you mean {meant!r}?" if is_fru_key(meant) else f"fru0 to fru{FRU_ID_MAX}, by the FRU's id"


def _example(path: Path) -> str:
    key = node_keys().get(legacy.pattern(path))
    examples = key.field.examples if key else None
    return f"such as '{path[-1]}: {examples[0]}'" if examples else ""


def _wrong_value(fault: Fault, path: Path, document: Document) -> tuple[str, str]:
    kind, given = fault.kind, fault.given
    got = _got(given, secret=bool(path) and path[-1] in _SECRET_KEYS)
    if why := legacy.i2c_refusal(path, given):
        return why, ""
    if isinstance(fault.error, WrongValue):
        return str(fault.error), fault.error.hint
    if kind == "wrong_choice":
        return _wrong_choice(given, got, path)
    if kind == "wrong_range":
        return f"wanted {_range(path)}, got {given}", ""
    if kind in _WANTED:
        return f"wanted {_WANTED[kind]}, got {got}", _type_hint(kind, given, path, document)
    return f"{fault.error}, got {got}", ""


def _wrong_choice(given: object, got: str, path: Path) -> tuple[str, str]:
    key = node_keys().get(legacy.pattern(path)) or node_keys().get(_renamed(path))
    choices = key.choices if key else ()
    if why := legacy.value_refusal(path, given):
        return f"{given!r} {why}", f"use {' or '.join(choices)}"
    close = get_close_matches(given, choices, n=1) if isinstance(given, str) else ()
    hint = f"did you mean {close[0]!r}?" if close else ""
    return f"wanted {' or '.join(choices)}, got {got}", hint


def _renamed(path: Path) -> str:
    text = legacy.pattern(path)
    return f"{text.rpartition('.')[0]}.{legacy.RENAMED.get(text, '')}"


def _range(path: Path) -> str:
    key = node_keys().get(legacy.pattern(path)) or node_keys().get(_renamed(path))
    low, high = key.bounds if key else (None, None)
    return f"{low} to {high}"


def _got(value: object, *, secret: bool) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number" if secret else f"the number {value}"
        case str():
            shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
            return "text" if secret else f"the text {shown!r}"
        case list():
            return "a list"
        case _:
            return "'key: value' lines"


def _type_hint(kind: FaultKind, given: object, path: Path, document: Document) -> str:
    if kind == "not_bool" and str(given).lower() in _TRUE_WORDS:
        return "write true, without quotes"
    if kind == "not_bool" and str(given).lower() in _FALSE_WORDS:
        return "write false, without quotes"
    if kind == "not_text" and isinstance(given, bool | int | float):
        source = document.source(path)
        return "write it in quotes" if path[-1] in _SECRET_KEYS else f'write it in quotes: "{source}"'
    if kind in ("not_whole", "not_number") and isinstance(given, str) and given.strip().isdigit():
        return f"write {int(given)}, without quotes and leading zeros"
    if kind == "not_list":
        return "begin each entry with '- '"
    return ""
