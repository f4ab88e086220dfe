"""YAML text -> plain values, and the place of every one of them in the text.

Owns how the text is read: which scalars are numbers, which documents are refused before anybody
looks at their keys, and where a value stands. What the keys mean is left to ``spec.node`` and to
the personality models.

Plain scalars become true/false, decimal integers (``12``, ``-3``), hexadecimal ones (``0x20``),
decimal numbers with a point (``1.5``, ``2.5e-3``) and null; everything else, and everything in
quotes, stays text. So a MAC address of digits, ``0351``, ``on`` and ``2024-01-01`` are text.
Keys are always text. ``<<`` merges a mapping, as in YAML 1.1. ``!include FILE`` stands for what that
file holds, if the caller has an ``Includer`` that finds files; all other tags are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from yaml import YAMLError

from infrasim.errors import SET, InvalidNodeFile, Problem
from infrasim.spec.tree import (
    INCLUDE,
    MAX_ALIASED_VALUES,
    MAX_DEPTH,
    MAX_INCLUDE_DEPTH,
    MAX_NUMBER_DIGITS,
    Builder,
    Included,
    Includer,
    Inclusion,
    Mark,
    Path,
    Place,
    Shared,
    Stop,
    Value,
    decode,
    diagnose,
    dotted,
    in_order,
    parser,
    printable,
    scalar,
    syntax_problems,
    undotted,
)

__all__ = [
    "INCLUDE",
    "MAX_ALIASED_VALUES",
    "MAX_DEPTH",
    "MAX_INCLUDE_DEPTH",
    "MAX_NUMBER_DIGITS",
    "Document",
    "Included",
    "Includer",
    "Inclusion",
    "Mark",
    "Path",
    "Setting",
    "Value",
    "decode",
    "dotted",
    "load_document",
    "load_value",
    "scalar",
    "undotted",
]

_SET_MARK = Mark(0, 0, SET)


class Setting(NamedTuple):
    """A value from the command line that goes before the document's."""

    path: Path
    value: Value
    text: str


class Document:
    """The values of one YAML text. Places are looked for only when somebody asks.

    ``values`` is to be read only: aliases share their target. ``settings`` are in them already.
    """

    def __init__(
        self,
        values: dict[str, Value],
        *,
        text: str,
        file: str,
        include: Includer | None = None,
        settings: Sequence[Setting] = (),
    ) -> None:
        self.values = values
        self.text = text
        self.file = file
        self._include = include
        self._settings = tuple(settings)
        self._builder: Builder | None = None

    def with_settings(self, values: dict[str, Value], settings: Sequence[Setting]) -> Document:
        """The same document with ``values`` that hold ``settings``; their places are the command line."""
        return Document(values, text=self.text, file=self.file, include=self._include, settings=settings)

    def key_mark(self, path: Path) -> Mark:
        """Where the key (or list entry) ``path`` begins, or its nearest known parent."""
        if self._is_set(path):
            return _SET_MARK
        place = self._nearest(path)
        return place.key if place else Mark(1, 1)

    def value_mark(self, path: Path) -> Mark:
        """Where the value of ``path`` begins, or that of its nearest known parent."""
        if self._is_set(path):
            return _SET_MARK
        place = self._nearest(path)
        return place.value if place else Mark(1, 1)

    def source(self, path: Path) -> str:
        """The scalar at ``path`` as it is written, quotes included; of a list in brackets the bracket."""
        for setting in self._settings:
            if setting.path == path:
                return setting.text
        place = None if self._is_set(path) else self._find(path)
        return self._text_of(place.value)[place.start : place.end] if place else ""

    def span(self, path: Path) -> tuple[int, int] | None:
        """First character of what ``source`` returns and the one behind it.

        None for an unknown path, and for one that is not in the document's own text.
        """
        place = None if self._is_set(path) else self._find(path)
        return (place.start, place.end) if place and not place.value.file else None

    def stands_in(self, path: Path) -> Mark | None:
        """Where exactly ``path`` is given; None if it is not."""
        if self._is_set(path):
            return _SET_MARK
        place = self._find(path)
        return place.key if place else None

    def problem(self, mark: Mark, path: Path, message: str, hint: str = "") -> Problem:
        """A problem with ``path`` at a place of this document."""
        return Problem(mark.file or self.file, mark.line, mark.column, dotted(path), message, hint)

    def in_order(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems by their place: those of the document's own text, then file by file."""
        return in_order(problems, self.file)

    @property
    def inclusions(self) -> tuple[Inclusion, ...]:
        """Every ``!include``, those of included files too."""
        return tuple(self._marked.shared.inclusions)

    @property
    def included_texts(self) -> dict[str, str]:
        """The texts of all included files, by the names that ``inclusions`` has for them."""
        return dict(self._marked.shared.texts)

    def _is_set(self, path: Path) -> bool:
        """Whether ``path`` is from the command line, or exists only because of that."""
        for setting in self._settings:
            if path[: len(setting.path)] == setting.path:
                return True
            if path and setting.path[: len(path)] == path and self._find(path) is None:
                return True
        return False

    def _nearest(self, path: Path) -> Place | None:
        for length in range(len(path), 0, -1):
            if place := self._find(path[:length]):
                return place
        return None

    @property
    def _marked(self) -> Builder:
        if self._builder is None:
            self._builder = Builder(
                parser(self.text), file=self.file, shared=Shared(self._include), marks=True
            )
            self._builder.run()
        return self._builder

    def _text_of(self, mark: Mark) -> str:
        return self._marked.shared.texts[mark.file] if mark.file else self.text

    def _find(self, path: Path) -> Place | None:
        value: object = self._marked.root
        place = None
        for step in path:
            place = self._marked.places.get(id(value), {}).get(step)
            if place is None:
                return None
            value = cast(list[Value], value)[cast(int, step)]
        return place


def load_document(text: str | bytes, *, file: str, include: Includer | None = None) -> Document:
    """Read one YAML mapping. ``file`` is only the name to put into messages.

    The fast path reads values only; the places are found by a second pass, if they are asked for
    or if something is wrong.

    Raises:
        InvalidNodeFile: for anything that is not one mapping of the types above.
    """
    text = printable(decode(text, file=file), file)
    builder = Builder(parser(text), file=file, shared=Shared(include), marks=False)
    try:
        builder.run()
        root = builder.root if isinstance(builder.root, dict) else None
    except (YAMLError, Stop):
        root = None
    if root is None or builder.problems:
        raise InvalidNodeFile(diagnose(text, file, include))
    return Document(root, text=text, file=file, include=include)


def load_value(text: str, *, file: str) -> Value:
    """Read one value of any kind in YAML; an empty text is None.

    Raises:
        InvalidNodeFile: it is not YAML; lines and columns count in ``text``.
    """
    builder = Builder(parser(printable(text, file)), file=file, shared=Shared(None), marks=True)
    try:
        builder.run()
    except Stop:
        pass
    except YAMLError as exc:
        raise InvalidNodeFile(syntax_problems(exc, text, builder)) from None
    if builder.problems:
        raise InvalidNodeFile(builder.problems)
    return builder.root
