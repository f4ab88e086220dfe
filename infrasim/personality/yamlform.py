"""The YAML of a server type: parts of documents with their place, and values written in a compact form.

Reading YAML itself is left to ``spec.document``; this module knows where a problem in a merged type came
from, and writes values so that they are read back the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any

from infrasim.errors import InvalidNodeFile, Problem
from infrasim.frozen import Frozen
from infrasim.personality.conversion import Raw
from infrasim.spec import document
from infrasim.spec.document import Document, Path, dotted

_RAW = re.compile(r"raw (0x[0-9A-Fa-f]{1,2})\Z")
_LINE_LENGTH = 110


class InvalidType(InvalidNodeFile):
    """A server type's files have problems; all of them are in ``problems``."""


class Hex(int):
    """A number that is written in hexadecimal."""


class Part(Frozen):
    """One mapping of a document.

    ``usual`` are the defaults of its file; ``base`` is the part of the extended type it was laid over, which
    then counts instead of ``usual``.
    """

    values: dict[str, Any]
    document: Document
    path: Path
    usual: Mapping[str, Any] = field(default_factory=dict)
    base: Part | None = None

    def problem(self, key: str, message: str, hint: str = "") -> Problem:
        """A problem with ``key``, or with the whole mapping if ``key`` is empty."""
        if self.base is not None and key and key not in self.values:
            return self.base.problem(key, message, hint)
        path = (*self.path, key) if key else self.path
        mark = self.document.key_mark(path)
        return Problem(self.document.file, mark.line, mark.column, dotted(path), message, hint)

    def merged(self) -> dict[str, Any]:
        """The values, over those of the base or the usual ones; not to be changed."""
        return self._merged

    @cached_property
    def _merged(self) -> dict[str, Any]:
        return {**(self.base.merged() if self.base else self.usual), **self.values}


def raw_value(value: Any) -> Any:
    """``value``, with the text ``raw 0x1f`` as a :class:`Raw`."""
    match = _RAW.match(value) if isinstance(value, str) else None
    return Raw(int(match[1], 16)) if match else value


def flow(value: Any) -> str:
    """``value`` in flow form on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """``value`` so that ``spec.document`` gives it back, quoted if need be."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, Raw):
        return f"raw {int(value):#04x}"
    if isinstance(value, Hex):
        return f"{int(value):#x}"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else _fraction(repr(value))
    if isinstance(value, int):
        return str(int(value))
    return _text(str(value))


_PLAIN = re.compile(r"[A-Za-z0-9_(+./][-A-Za-z0-9_ ()+./*%@=;<>^~|]*\Z")


def _text(text: str) -> str:
    plain = _PLAIN.match(text) and not text.endswith(" ") and type(document.scalar(text)) is str
    if plain:
        return text
    if text.isprintable() and not set(text) & {"\\", '"'}:
        return f'"{text}"'
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _fraction(text: str) -> str:
    """``text`` with a point: without one, ``5e-05`` is read as text."""
    mantissa, exponent, power = text.partition("e")
    return mantissa + ("" if "." in mantissa or not exponent else ".0") + exponent + power


def _escaped(char: str) -> str:
    if char in '\\"':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _pairs(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Opening, labelled items and closing of a mapping or list."""
    if isinstance(value, Mapping):
        return "{", [(f"{key}: ", item) for key, item in value.items()], "}"
    return "[", [("", item) for item in value], "]"


def _pieces(value: Any) -> Iterator[str]:
    """``flow(value)`` in pieces; a line may be broken before each but the first.

    There is one piece for each item, or more for an item that is longer than a line.
    """
    if not isinstance(value, (Mapping, list, tuple)) or not value:
        yield flow(value)
        return
    opening, pairs, closing = _pairs(value)
    for number, (label, item) in enumerate(pairs):
        end = closing if number == len(pairs) - 1 else ","
        whole = flow(item)
        inner = [whole] if len(label) + len(whole) < _LINE_LENGTH // 2 else list(_pieces(item))
        inner[0] = opening + label + inner[0] if number == 0 else label + inner[0]
        inner[-1] += end
        yield from inner


def wrapped(prefix: str, value: Any, indent: int) -> Iterator[str]:
    """Lines of ``prefix`` and ``value`` in flow form, continued ``indent`` spaces in."""
    first, *rest = _pieces(value)
    line = prefix + first
    for piece in rest:
        if len(line) + 1 + len(piece) > _LINE_LENGTH:
            yield line
            line = " " * indent + piece
        else:
            line += f" {piece}"
    yield line


def block(table: Mapping[str, Any], indent: int = 0, *, nested: int = 1) -> Iterator[str]:
    """Lines of a mapping in block form, ``nested`` levels deep; deeper ones in flow form."""
    pad = " " * indent
    for key, value in table.items():
        if isinstance(value, Mapping) and value and nested > 1:
            yield f"{pad}{key}:"
            yield from block(value, indent + 2, nested=nested - 1)
        elif isinstance(value, list) and value and nested > 1 and isinstance(value[0], Mapping):
            yield f"{pad}{key}:"
            for item in value:
                yield from wrapped(f"{pad}- ", item, indent + 4)
        else:
            yield from wrapped(f"{pad}{key}: ", value, indent + 4)


def items(
    key: str,
    tables: Iterable[Mapping[str, Any]],
    *,
    heading: Callable[[Mapping[str, Any]], str] | None = None,
) -> Iterator[str]:
    """Lines of a list of mappings, one item after the other in flow form.

    A comment stands before a run of three or more items that ``heading`` says the same of.
    """
    yield f"{key}:"
    rows = list(tables)
    headings = [heading(row) if heading else "" for row in rows]
    for number, row in enumerate(rows):
        title = headings[number]
        starts = number == 0 or headings[number - 1] != title
        if title and starts and headings[number : number + 3] == [title] * 3:
            yield f"# {title}"
        yield from wrapped("- ", row, 4)
