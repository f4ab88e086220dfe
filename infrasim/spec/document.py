"""YAML text -> plain values, and the place of every one of them in the text.

Owns how the text is read: which scalars are numbers, which documents are refused before anybody
looks at their keys, and where a value stands. What the keys mean is left to ``spec.node`` and to
the personality models.

Plain scalars become true/false, decimal integers (``12``, ``-3``), hexadecimal ones (``0x20``),
decimal numbers with a point (``1.5``, ``2.5e-3``) and null; everything else, and everything in
quotes, stays text. So a MAC address of digits, ``0351``, ``on`` and ``2024-01-01`` are text.
Keys are always text. ``<<`` merges a mapping, as in YAML 1.1. Tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias, cast

from yaml import YAMLError
from yaml.error import Mark as YamlMark
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.parser import Parser, ParserError
from yaml.reader import Reader
from yaml.scanner import Scanner

from infrasim.errors import InvalidNodeFile, Problem

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Path: TypeAlias = tuple["str | int", ...]

MAX_DEPTH = 64
MAX_ALIASED_VALUES = 10_000
MAX_NUMBER_DIGITS = 64

_WORDS: dict[str, Value] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NUMBER = re.compile(
    r"(?P<decimal>[-+]?(?:0|[1-9][0-9]*))(?P<fraction>\.[0-9]+(?:[eE][-+]?[0-9]+)?)?\Z|0x(?P<hex>[0-9a-fA-F]+)\Z"
)
# Source: YAML 1.1 section 5.1, the printable characters.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_MERGE = "<<"
_SYNTAX_HINTS = {
    "'\\t'": "indent with spaces, not tabs",
    "mapping values are not allowed": "check the indentation; quote a value that contains ': '",
    "could not find expected ':'": "check the indentation and the ':' of the line before",
    "expected <block end>": "check the indentation and the quotes",
    "found unexpected end of stream": "a quote is not closed",
    "cannot start any token": "put the value in quotes",
}


class Mark(NamedTuple):
    """A place in a text; both count from 1."""

    line: int
    column: int


class _Place(NamedTuple):
    """Where one entry of a mapping or list stands."""

    key: Mark  # of a list entry: the value itself
    value: Mark
    start: int  # a scalar's span in the text, in characters
    end: int


class _EventSource(Protocol):
    def get_event(self) -> Event: ...


class _PureParser(Reader, Scanner, Parser):
    """PyYAML's parser in Python, taking tabs between values as libyaml and the YAML standard do.

    What is left of their difference: it refuses a tab inside unquoted text.
    """

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def get_event(self) -> Event:
        event = cast(Event, super().get_event())  # type: ignore[no-untyped-call]
        if isinstance(event, ScalarEvent) and _SURROGATE.search(event.value):
            mark = cast(YamlMark, event.start_mark)
            raise ParserError(None, None, "found invalid Unicode character escape code", mark)
        return event

    def scan_to_next_token(self) -> None:
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()


class _Stop(Exception):
    """A problem after which reading on makes no sense; it is already noted."""


class Document:
    """The values of one YAML text. Places are looked for only when somebody asks.

    ``values`` is to be read only: aliases share their target.
    """

    def __init__(self, values: dict[str, Value], *, text: str, file: str) -> None:
        self.values = values
        self.text = text
        self.file = file
        self._marked: _Builder | None = None

    def key_mark(self, path: Path) -> Mark:
        """Where the key (or list entry) ``path`` begins, or its nearest known parent."""
        place = self._nearest(path)
        return place.key if place else Mark(1, 1)

    def value_mark(self, path: Path) -> Mark:
        """Where the value of ``path`` begins, or that of its nearest known parent."""
        place = self._nearest(path)
        return place.value if place else Mark(1, 1)

    def source(self, path: Path) -> str:
        """The scalar at ``path`` as it is written, quotes included; of a list in brackets the bracket."""
        start, end = self.span(path) or (0, 0)
        return self.text[start:end]

    def span(self, path: Path) -> tuple[int, int] | None:
        """First character of what ``source`` returns and the one behind it; None for an unknown path."""
        place = self._find(path)
        return (place.start, place.end) if place else None

    def _nearest(self, path: Path) -> _Place | None:
        for length in range(len(path), 0, -1):
            if place := self._find(path[:length]):
                return place
        return None

    def _find(self, path: Path) -> _Place | None:
        if self._marked is None:
            self._marked = _Builder(_parser(self.text), file=self.file, marks=True)
            self._marked.run()
        value: object = self._marked.root
        place = None
        for step in path:
            place = self._marked.places.get(id(value), {}).get(step)
            if place is None:
                return None
            value = cast(list[Value], value)[cast(int, step)]
        return place


def load_document(text: str | bytes, *, file: str) -> Document:
    """Read one YAML mapping. ``file`` is only the name to put into messages.

    The fast path reads values only; the places are found by a second pass, if they are asked for
    or if something is wrong.

    Raises:
        InvalidNodeFile: for anything that is not one mapping of the types above.
    """
    text = decode(text, file=file).removeprefix("\ufeff")
    if bad := _UNPRINTABLE.search(text):
        problem = _at(
            file, text, bad.start(), f"character U+{ord(bad.group()):04X} cannot stand in a YAML file"
        )
        raise InvalidNodeFile([problem])
    builder = _Builder(_parser(text), file=file, marks=False)
    try:
        builder.run()
        root = _mapping(builder)
    except (YAMLError, _Stop):
        root = None
    if root is None or builder.problems:
        raise InvalidNodeFile(_diagnose(text, file))
    return Document(root, text=text, file=file)


def decode(text: str | bytes, *, file: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        InvalidNodeFile: at the first byte that is not UTF-8.
    """
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = text[: exc.start].decode("utf-8")
        problem = _at(file, before, len(before), f"byte 0x{text[exc.start]:02x} is not UTF-8")
        raise InvalidNodeFile([problem]) from None


def dotted(path: Path) -> str:
    """A path as messages show it: ``compute.networks[0].mac``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def undotted(text: str) -> Path:
    """The path that ``dotted`` shows as ``text``, for keys without ``.`` and ``[``."""
    steps = re.findall(r"\[(\d+)\]|([^.\[\]]+)", text)
    return tuple(int(number) if number else key for number, key in steps)


def scalar(text: str) -> Value:
    """What a plain scalar means.

    Raises:
        ValueError: for a number that is too long.
    """
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.match(text)
    if match is None:
        return text
    if len(text) > MAX_NUMBER_DIGITS:
        raise ValueError(f"a number may have at most {MAX_NUMBER_DIGITS} digits")
    if match["hex"]:
        return int(text, 16)
    if match["fraction"]:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("the number is too large")
        return value
    return int(text)


class _Builder:
    """Turns parser events into values; with ``marks`` also into places and worded problems."""

    def __init__(self, source: _EventSource, *, file: str, marks: bool) -> None:
        self._next: Callable[[], Event] = source.get_event
        self._file = file
        self._marks = marks
        self.problems: list[Problem] = []
        self.root: Value = None
        self.root_mark = Mark(1, 1)
        self.places: dict[int, dict[str | int, _Place]] = {}
        self._container: dict[str, Value] | list[Value] | None = None
        self._key: str | None = None
        self._key_mark = Mark(1, 1)
        # one entry per open container: its parent, the parent's key, its anchor, values before it
        self._stack: list[tuple[dict[str, Value] | list[Value] | None, str | None, str | None, int]] = []
        self._merging: set[int] = set()
        self._anchors: dict[str, tuple[Value, int | None]] = {}
        self._count = 0
        self._aliased = 0
        self._documents = 0
        self._scalars: dict[str, Value] = {}

    def run(self) -> None:
        """Read everything.

        Raises:
            YAMLError: the text is not YAML.
            _Stop: the reason is the last of ``problems``.
        """
        while True:
            event = self._next()
            kind = type(event)
            if kind is ScalarEvent:
                self._on_scalar(cast(ScalarEvent, event))
            elif kind is MappingStartEvent:
                self._open({}, cast(MappingStartEvent, event))
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._close(event)
            elif kind is SequenceStartEvent:
                self._open([], cast(SequenceStartEvent, event))
            elif kind is AliasEvent:
                self._on_alias(cast(AliasEvent, event))
            elif kind is DocumentStartEvent:
                self._documents += 1
                if self._documents > 1:
                    self._problem(
                        event, "a second document begins here", "one file, one document: remove '---'"
                    )
                    raise _Stop
            elif kind is StreamEndEvent:
                return

    def _on_scalar(self, event: ScalarEvent) -> None:
        text = event.value
        if event.tag is not None:
            self._refuse_tag(event)
        plain = event.implicit[0]
        if self._key is None and type(self._container) is dict:
            self._on_key(text, event, plain=plain)
            return
        value: Value = text
        if plain:
            try:
                value = self._scalars[text]
            except KeyError:
                value = self._plain(text, event)
        self._count += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, event)

    def _plain(self, text: str, event: Event) -> Value:
        try:
            value = self._scalars[text] = scalar(text)
        except ValueError as exc:
            self._problem(event, str(exc), "put it in quotes if it is text")
            return text
        return value

    def _on_key(self, text: str, event: Event, *, plain: bool) -> None:
        if plain:
            if text == _MERGE:
                self._merging.add(id(self._container))
            elif text == "":
                self._problem(event, "a key is missing before ':'")
        self._key = text
        if self._marks:
            self._key_mark = _mark(event)

    def _on_alias(self, event: AliasEvent) -> None:
        if self._key is None and type(self._container) is dict:
            self._problem(event, "an alias cannot be a key")
            raise _Stop
        if event.anchor not in self._anchors:
            self._problem(event, f"no anchor '&{event.anchor}' stands before this alias")
            raise _Stop
        value, weight = self._anchors[event.anchor]
        if weight is None:
            self._problem(event, f"'*{event.anchor}' stands inside its own anchor")
            raise _Stop
        self._count += weight
        self._aliased += weight
        if self._aliased > MAX_ALIASED_VALUES:
            self._problem(event, f"aliases repeat more than {MAX_ALIASED_VALUES} values")
            raise _Stop
        self._add(value, event)

    def _open(
        self, container: dict[str, Value] | list[Value], event: MappingStartEvent | SequenceStartEvent
    ) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        if self._key is None and type(self._container) is dict:
            self._problem(event, "a key must be text, not a list or mapping", "put '{{ … }}' in quotes")
            raise _Stop
        if len(self._stack) >= MAX_DEPTH:
            self._problem_at(_mark(event), self._path()[:1], f"more than {MAX_DEPTH} levels deep", "")
            raise _Stop
        self._count += 1
        parent, key = self._container, self._key
        self._add(container, event)
        self._stack.append((parent, key, event.anchor, self._count - 1))
        if event.anchor is not None:
            self._anchors[event.anchor] = (container, None)
        self._container = container
        self._key = None

    def _close(self, event: Event) -> None:
        container = self._container
        if self._merging and isinstance(container, dict) and id(container) in self._merging:
            self._merging.discard(id(container))
            self._merge(container)
        self._container, _, anchor, before = self._stack.pop()
        self._key = None
        if anchor is not None:
            self._anchors[anchor] = (container, self._count - before)

    def _add(self, value: Value, event: Event) -> None:
        container = self._container
        if type(container) is list:
            container.append(value)
            if self._marks:
                self._note(container, len(container) - 1, _mark(event), event)
        elif container is None:
            self.root = value
            if self._marks:
                self.root_mark = _mark(event)
        else:
            mapping, key = cast(dict[str, Value], container), cast(str, self._key)
            if key in mapping:
                self._duplicate(mapping, key)
            else:
                mapping[key] = value
                if self._marks:
                    self._note(mapping, key, self._key_mark, event)
            self._key = None

    def _note(self, container: object, step: str | int, key: Mark, event: Event) -> None:
        start, end = cast(YamlMark, event.start_mark), cast(YamlMark, event.end_mark)
        is_block = getattr(event, "flow_style", True) is False
        place = _Place(key, _mark(event), start.index, start.index if is_block else end.index)
        self.places.setdefault(id(container), {})[step] = place

    def _duplicate(self, mapping: dict[str, Value], key: str) -> None:
        first = self.places[id(mapping)][key].key.line if self._marks else 0
        message = f"the key {key!r} is given twice; first on line {first}"
        self._problem_at(self._key_mark, self._path(), message, "keep one of them")

    def _merge(self, container: dict[str, Value]) -> None:
        given = container.pop(_MERGE)
        place = self.places[id(container)].pop(_MERGE) if self._marks else None
        for source in given if isinstance(given, list) else [given]:
            if not isinstance(source, dict):
                mark = place.key if place else Mark(1, 1)
                self._problem_at(mark, self._path(), "'<<' merges a mapping or a list of mappings only", "")
                return
            for key, value in source.items():
                if key not in container:
                    container[key] = value
                    if self._marks:
                        self.places.setdefault(id(container), {})[key] = self.places[id(source)][key]

    def _refuse_tag(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        self._problem(event, f"the tag {tag!r} is not supported", "remove it, or put the value in quotes")

    def _problem(self, event: Event, message: str, hint: str = "") -> None:
        self._problem_at(_mark(event), self._path(), message, hint)

    def _problem_at(self, mark: Mark, path: Path, message: str, hint: str) -> None:
        self.problems.append(Problem(self._file, mark.line, mark.column, dotted(path), message, hint))

    def _path(self) -> Path:
        """The open container's path, and the key whose value is due."""
        steps: list[str | int] = []
        for parent, key, _anchor, _before in self._stack:
            if key is not None:
                steps.append(key)
            elif isinstance(parent, list):
                steps.append(len(parent) - 1)
        if self._key is not None:
            steps.append(self._key)
        elif isinstance(self._container, list):
            steps.append(len(self._container))
        return tuple(steps)


def _parser(text: str) -> _EventSource:
    """libyaml's parser, or PyYAML's own where PyYAML was built without libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:
        return _PureParser(text)
    return cast(_EventSource, CParser(text))


def _mapping(builder: _Builder) -> dict[str, Value] | None:
    return builder.root if isinstance(builder.root, dict) else None


def _mark(event: Event) -> Mark:
    mark = cast(YamlMark, event.start_mark)
    return Mark(mark.line + 1, mark.column + 1)


def _at(file: str, text: str, index: int, message: str, hint: str = "") -> Problem:
    lines = _LINE_BREAK.split(text[:index])
    return Problem(file, len(lines), len(lines[-1]) + 1, "", message, hint)


def _diagnose(text: str, file: str) -> list[Problem]:
    """Why ``text`` is refused: read again, now with places.

    A syntax error is worded by PyYAML's own parser, so that messages do not depend on libyaml.
    """
    builder = _Builder(_parser(text), file=file, marks=True)
    try:
        builder.run()
    except _Stop:
        return builder.problems
    except YAMLError as exc:
        return _syntax_problems(exc, text, file)
    if not isinstance(builder.root, dict):
        builder.problems.append(_not_a_mapping(builder, file))
    return sorted(builder.problems, key=lambda problem: (problem.line, problem.column))


def _syntax_problems(error: YAMLError, text: str, file: str) -> list[Problem]:
    builder = _Builder(_PureParser(text), file=file, marks=True)
    try:
        builder.run()
    except _Stop:
        return builder.problems
    except YAMLError as exc:
        error = exc
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "context", None) or "cannot be read"
    context = getattr(error, "context", None)
    message = f"not YAML: {said}" + (f" {context}" if context and context != said else "")
    place = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
    hint = next((hint for words, hint in _SYNTAX_HINTS.items() if words in message), "")
    return [*builder.problems, Problem(file, *place, "", message, hint)]


def _not_a_mapping(builder: _Builder, file: str) -> Problem:
    if builder.root is None:
        return Problem(file, 1, 1, "", "the file is empty", "'infrasim init' writes an example")
    kind = "a list" if isinstance(builder.root, list) else "a single value"
    return Problem(file, *builder.root_mark, "", f"the file is {kind}, not 'key: value' lines")
