"""Parser events -> plain values, and the place of every one of them: what ``spec.document`` is made with.

Owns which scalars are numbers, anchors, merging, ``!include``, and what is refused before anybody looks at
keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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

from infrasim.errors import InfrasimError, InvalidNodeFile, Problem
from infrasim.spec.words import SWITCHES

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Path: TypeAlias = tuple["str | int", ...]

MAX_DEPTH = 64
MAX_ALIASED_VALUES = 10_000
MAX_NUMBER_DIGITS = 64
MAX_INCLUDES = 64
MAX_INCLUDE_DEPTH = 8
INCLUDE = "!include"

# Where a document for somebody else stands that reads YAML 1.1: cloud-init reads by PyYAML.
_OLD_YAML: Path = ("compute", "cloud_init")

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
    """A place in a text; both count from 1.

    ``file`` names the included file that it is in, and is empty for the document's own text. What
    was set on the command line is on line 0 of the "file" ``--set``.
    """

    line: int
    column: int
    file: str = ""


class Included(NamedTuple):
    """What an includer found: the name to put into messages, the text, and what tells files apart."""

    file: str
    text: str
    identity: str


class Includer(Protocol):
    """Finds the files that ``!include`` names; gives the same answer each time it is asked."""

    def __call__(self, wanted: str, *, by: str) -> Included:
        """The file that is called ``wanted`` in the file ``by``.

        Raises:
            InfrasimError: there is none, or it cannot be read.
        """


class Inclusion(NamedTuple):
    """One ``!include``: the file it stands in, the span it has there, and the file it leads to."""

    by: str
    start: int
    end: int
    file: str


class Place(NamedTuple):
    """Where one entry of a mapping or list stands."""

    key: Mark  # of a list entry: the value itself
    value: Mark
    start: int  # a scalar's span in the value's text, in characters
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


class Stop(Exception):
    """A problem after which reading on makes no sense; it is already noted."""


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


def printable(text: str, file: str) -> str:
    """``text`` without its byte order mark.

    Raises:
        InvalidNodeFile: for a character that YAML does not have.
    """
    text = text.removeprefix("\ufeff")
    if bad := _UNPRINTABLE.search(text):
        problem = _at(
            file, text, bad.start(), f"character U+{ord(bad.group()):04X} cannot stand in a YAML file"
        )
        raise InvalidNodeFile([problem])
    return text


def in_order(problems: Iterable[Problem], file: str) -> list[Problem]:
    """Problems by their place: those of ``file`` first."""
    return sorted(problems, key=lambda each: (each.file != file, each.file, each.line, each.column))


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


class Shared:
    """What the builders of a document and of the files it includes have in common."""

    def __init__(self, include: Includer | None) -> None:
        self.include = include
        self.inclusions: list[Inclusion] = []
        self.texts: dict[str, str] = {}
        self.roots: list[Value] = []  # so that places, which go by id, keep to their values


class _Outer(NamedTuple):
    """Where an included file stands: the path of its value, how deep, and the files that lead to it."""

    path: Path = ()
    depth: int = 0
    chain: tuple[str, ...] = ()


class Builder:
    """Turns parser events into values; with ``marks`` also into places and worded problems."""

    def __init__(
        self,
        source: _EventSource,
        *,
        file: str,
        shared: Shared,
        marks: bool,
        outer: _Outer = _Outer(),  # noqa: B008 - immutable
    ) -> None:
        self._next: Callable[[], Event] = source.get_event
        self.file = file
        self.shared = shared
        self.outer = outer
        self._marks = marks
        self._mark_file = file if outer.chain else ""
        self.problems: list[Problem] = []
        self.root: Value = None
        self.root_place = Place(Mark(1, 1), Mark(1, 1), 0, 0)
        self.places: dict[int, dict[str | int, Place]] = {}
        self._container: dict[str, Value] | list[Value] | None = None
        self._key: str | None = None
        self._key_mark = Mark(1, 1)
        # one entry per open container: its parent, the parent's key, its anchor, values before it
        self._stack: list[tuple[dict[str, Value] | list[Value] | None, str | None, str | None, int]] = []
        self._merging: set[int] = set()
        self._anchors: dict[str, tuple[Value, int | None]] = {}
        self.count = 0
        self._aliased = 0
        self.documents = 0
        self._scalars: dict[str, Value] = {}

    def run(self) -> None:
        """Read everything.

        Raises:
            YAMLError: the text is not YAML.
            Stop: the reason is the last of ``problems``.
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
                self.documents += 1
                if self.documents > 1:
                    self._problem(
                        event, "a second document begins here", "one file, one document: remove '---'"
                    )
                    raise Stop
            elif kind is StreamEndEvent:
                return

    def _on_scalar(self, event: ScalarEvent) -> None:
        text = event.value
        if event.tag is not None:
            if event.tag == INCLUDE and self.shared.include is not None:
                self._on_include(event)
                return
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
            if text in SWITCHES and self._path()[: len(_OLD_YAML)] == _OLD_YAML:
                value = SWITCHES[text]
        self.count += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, event)

    def _on_include(self, event: ScalarEvent) -> None:
        if self._key is None and type(self._container) is dict:
            self._problem(event, f"'{INCLUDE}' cannot be a key", "it stands for a value")
            raise Stop
        inner = self._included(event)
        value = None if inner is None else inner.root
        weight = 1 if inner is None else inner.count
        self.count += weight
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, weight)
        self._add(value, event, place=inner.root_place if inner else None)

    def _included(self, event: ScalarEvent) -> Builder | None:
        """The builder that has read the file which ``event`` names; None if it cannot be read."""
        include, shared = self.shared.include, self.shared
        assert include is not None
        try:
            found = include(event.value, by=self.file)
            text = printable(found.text, found.file)
        except InvalidNodeFile as exc:
            self.problems += exc.problems
            return None
        except InfrasimError as exc:
            self._problem(event, exc.message, exc.hint)
            return None
        if found.identity in self.outer.chain:
            self._problem(event, f"{found.file} is being read already: it includes itself")
            return None
        if len(self.outer.chain) >= MAX_INCLUDE_DEPTH:
            self._problem(event, f"more than {MAX_INCLUDE_DEPTH} files include each other")
            return None
        if len(shared.inclusions) >= MAX_INCLUDES:
            self._problem(event, f"more than {MAX_INCLUDES} files are included")
            raise Stop
        start, end = cast(YamlMark, event.start_mark).index, cast(YamlMark, event.end_mark).index
        shared.inclusions.append(Inclusion(self.file, start, end, found.file))
        shared.texts[found.file] = text
        path = self._path()
        outer = _Outer(path, self.outer.depth + len(self._stack), (*self.outer.chain, found.identity))
        inner = Builder(parser(text), file=found.file, shared=shared, marks=self._marks, outer=outer)
        try:
            inner.run()
        except Stop:
            pass
        except YAMLError as exc:
            if not self._marks:
                raise
            inner.problems = syntax_problems(exc, text, inner)
        if not inner.problems and not inner.documents:
            self._problem(event, f"{found.file} is empty", "write what it stands for, or 'null'")
        self.problems += inner.problems
        if self._marks:
            shared.roots.append(inner.root)
            self.places.update(inner.places)
        return inner

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
            self._key_mark = self._mark(event)

    def _on_alias(self, event: AliasEvent) -> None:
        if self._key is None and type(self._container) is dict:
            self._problem(event, "an alias cannot be a key")
            raise Stop
        if event.anchor not in self._anchors:
            self._problem(event, f"no anchor '&{event.anchor}' stands before this alias")
            raise Stop
        value, weight = self._anchors[event.anchor]
        if weight is None:
            self._problem(event, f"'*{event.anchor}' stands inside its own anchor")
            raise Stop
        self.count += weight
        self._aliased += weight
        if self._aliased > MAX_ALIASED_VALUES:
            self._problem(event, f"aliases repeat more than {MAX_ALIASED_VALUES} values")
            raise Stop
        self._add(value, event)

    def _open(
        self, container: dict[str, Value] | list[Value], event: MappingStartEvent | SequenceStartEvent
    ) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        if self._key is None and type(self._container) is dict:
            self._problem(event, "a key must be text, not a list or mapping", "put '{{ … }}' in quotes")
            raise Stop
        if len(self._stack) + self.outer.depth >= MAX_DEPTH:
            self._problem_at(self._mark(event), self._path()[:1], f"more than {MAX_DEPTH} levels deep", "")
            raise Stop
        self.count += 1
        parent, key = self._container, self._key
        self._add(container, event)
        self._stack.append((parent, key, event.anchor, self.count - 1))
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
            self._anchors[anchor] = (container, self.count - before)

    def _add(self, value: Value, event: Event, *, place: Place | None = None) -> None:
        """Put a value where it is due; ``place`` is where it stands if that is not here."""
        container = self._container
        if type(container) is list:
            container.append(value)
            if self._marks:
                self._note(container, len(container) - 1, self._mark(event), event, place)
        elif container is None:
            self.root = value
            if self._marks:
                self.root_place = place or self._place(self._mark(event), event)
        else:
            mapping, key = cast(dict[str, Value], container), cast(str, self._key)
            if key in mapping:
                self._duplicate(mapping, key)
            else:
                mapping[key] = value
                if self._marks:
                    self._note(mapping, key, self._key_mark, event, place)
            self._key = None

    def _note(
        self, container: object, step: str | int, key: Mark, event: Event, elsewhere: Place | None
    ) -> None:
        place = elsewhere._replace(key=key) if elsewhere else self._place(key, event)
        self.places.setdefault(id(container), {})[step] = place

    def _place(self, key: Mark, event: Event) -> Place:
        start, end = cast(YamlMark, event.start_mark), cast(YamlMark, event.end_mark)
        is_block = getattr(event, "flow_style", True) is False
        return Place(key, self._mark(event), start.index, start.index if is_block else end.index)

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
        self._problem_at(self._mark(event), self._path(), message, hint)

    def _problem_at(self, mark: Mark, path: Path, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, mark.line, mark.column, dotted(path), message, hint))

    def _mark(self, event: Event) -> Mark:
        mark = cast(YamlMark, event.start_mark)
        return Mark(mark.line + 1, mark.column + 1, self._mark_file)

    def _path(self) -> Path:
        """The open container's path, and the key whose value is due."""
        steps: list[str | int] = [*self.outer.path]
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


def parser(text: str) -> _EventSource:
    """libyaml's parser, or PyYAML's own where PyYAML was built without libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:
        return _PureParser(text)
    return cast(_EventSource, CParser(text))


def _at(file: str, text: str, index: int, message: str, hint: str = "") -> Problem:
    lines = _LINE_BREAK.split(text[:index])
    return Problem(file, len(lines), len(lines[-1]) + 1, "", message, hint)


def diagnose(text: str, file: str, include: Includer | None) -> list[Problem]:
    """Why ``text`` is refused: read again, now with places.

    A syntax error is worded by PyYAML's own parser, so that messages do not depend on libyaml.
    """
    builder = Builder(parser(text), file=file, shared=Shared(include), marks=True)
    try:
        builder.run()
    except Stop:
        return in_order(builder.problems, file)
    except YAMLError as exc:
        return syntax_problems(exc, text, builder)
    if not isinstance(builder.root, dict) and not builder.problems:
        builder.problems.append(_not_a_mapping(builder))
    return in_order(builder.problems, file)


def syntax_problems(error: YAMLError, text: str, failed: Builder) -> list[Problem]:
    """What is no YAML in ``text``, which ``failed`` could not read, and what is wrong before that."""
    file = failed.file
    builder = Builder(
        _PureParser(text), file=file, shared=Shared(failed.shared.include), marks=True, outer=failed.outer
    )
    try:
        builder.run()
    except Stop:
        return builder.problems
    except YAMLError as exc:
        error = exc
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "context", None) or "cannot be read"
    context = getattr(error, "context", None)
    message = f"not YAML: {said}" + (f" {context}" if context and context != said else "")
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    hint = next((hint for words, hint in _SYNTAX_HINTS.items() if words in message), "")
    return [*builder.problems, Problem(file, line, column, "", message, hint)]


def _not_a_mapping(builder: Builder) -> Problem:
    file = builder.file
    if builder.root is None:
        return Problem(file, 1, 1, "", "the file is empty", "'infrasim init' writes an example")
    kind = "a list" if isinstance(builder.root, list) else "a single value"
    mark = builder.root_place.value
    return Problem(
        mark.file or file, mark.line, mark.column, "", f"the file is {kind}, not 'key: value' lines"
    )
