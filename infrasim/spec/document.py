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

import re
from collections.abc import Callable, Iterable, Sequence
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

from infrasim.errors import SET, InfrasimError, InvalidNodeFile, Problem

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Path: TypeAlias = tuple["str | int", ...]

MAX_DEPTH = 64
MAX_ALIASED_VALUES = 10_000
MAX_NUMBER_DIGITS = 64
MAX_INCLUDES = 64
MAX_INCLUDE_DEPTH = 8
INCLUDE = "!include"

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


class Setting(NamedTuple):
    """A value from the command line that goes before the document's."""

    path: Path
    value: Value
    text: str


class _Place(NamedTuple):
    """Where one entry of a mapping or list stands."""

    key: Mark  # of a list entry: the value itself
    value: Mark
    start: int  # a scalar's span in the value's text, in characters
    end: int


_SET_MARK = Mark(0, 0, SET)


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
        self._builder: _Builder | None = None

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
        return _in_order(problems, self.file)

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

    def _nearest(self, path: Path) -> _Place | None:
        for length in range(len(path), 0, -1):
            if place := self._find(path[:length]):
                return place
        return None

    @property
    def _marked(self) -> _Builder:
        if self._builder is None:
            self._builder = _Builder(
                _parser(self.text), file=self.file, shared=_Shared(self._include), marks=True
            )
            self._builder.run()
        return self._builder

    def _text_of(self, mark: Mark) -> str:
        return self._marked.shared.texts[mark.file] if mark.file else self.text

    def _find(self, path: Path) -> _Place | None:
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
    text = _printable(decode(text, file=file), file)
    builder = _Builder(_parser(text), file=file, shared=_Shared(include), marks=False)
    try:
        builder.run()
        root = _mapping(builder)
    except (YAMLError, _Stop):
        root = None
    if root is None or builder.problems:
        raise InvalidNodeFile(_diagnose(text, file, include))
    return Document(root, text=text, file=file, include=include)


def load_value(text: str, *, file: str) -> Value:
    """Read one value of any kind in YAML; an empty text is None.

    Raises:
        InvalidNodeFile: it is not YAML; lines and columns count in ``text``.
    """
    builder = _Builder(_parser(_printable(text, file)), file=file, shared=_Shared(None), marks=True)
    try:
        builder.run()
    except _Stop:
        pass
    except YAMLError as exc:
        raise InvalidNodeFile(_syntax_problems(exc, text, builder)) from None
    if builder.problems:
        raise InvalidNodeFile(builder.problems)
    return builder.root


def _printable(text: str, file: str) -> str:
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


def _in_order(problems: Iterable[Problem], file: str) -> list[Problem]:
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


class _Shared:
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


class _Builder:
    """Turns parser events into values; with ``marks`` also into places and worded problems."""

    def __init__(
        self,
        source: _EventSource,
        *,
        file: str,
        shared: _Shared,
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
        self.root_place = _Place(Mark(1, 1), Mark(1, 1), 0, 0)
        self.places: dict[int, dict[str | int, _Place]] = {}
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
                self.documents += 1
                if self.documents > 1:
                    self._problem(
                        event, "a second document begins here", "one file, one document: remove '---'"
                    )
                    raise _Stop
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
        self.count += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, event)

    def _on_include(self, event: ScalarEvent) -> None:
        if self._key is None and type(self._container) is dict:
            self._problem(event, f"'{INCLUDE}' cannot be a key", "it stands for a value")
            raise _Stop
        inner = self._included(event)
        value = None if inner is None else inner.root
        weight = 1 if inner is None else inner.count
        self.count += weight
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, weight)
        self._add(value, event, place=inner.root_place if inner else None)

    def _included(self, event: ScalarEvent) -> _Builder | None:
        """The builder that has read the file which ``event`` names; None if it cannot be read."""
        include, shared = self.shared.include, self.shared
        assert include is not None
        try:
            found = include(event.value, by=self.file)
            text = _printable(found.text, found.file)
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
            raise _Stop
        start, end = cast(YamlMark, event.start_mark).index, cast(YamlMark, event.end_mark).index
        shared.inclusions.append(Inclusion(self.file, start, end, found.file))
        shared.texts[found.file] = text
        path = self._path()
        outer = _Outer(path, self.outer.depth + len(self._stack), (*self.outer.chain, found.identity))
        inner = _Builder(_parser(text), file=found.file, shared=shared, marks=self._marks, outer=outer)
        try:
            inner.run()
        except _Stop:
            pass
        except YAMLError as exc:
            if not self._marks:
                raise
            inner.problems = _syntax_problems(exc, text, inner)
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
            raise _Stop
        if event.anchor not in self._anchors:
            self._problem(event, f"no anchor '&{event.anchor}' stands before this alias")
            raise _Stop
        value, weight = self._anchors[event.anchor]
        if weight is None:
            self._problem(event, f"'*{event.anchor}' stands inside its own anchor")
            raise _Stop
        self.count += weight
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
        if len(self._stack) + self.outer.depth >= MAX_DEPTH:
            self._problem_at(self._mark(event), self._path()[:1], f"more than {MAX_DEPTH} levels deep", "")
            raise _Stop
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

    def _add(self, value: Value, event: Event, *, place: _Place | None = None) -> None:
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
        self, container: object, step: str | int, key: Mark, event: Event, elsewhere: _Place | None
    ) -> None:
        place = elsewhere._replace(key=key) if elsewhere else self._place(key, event)
        self.places.setdefault(id(container), {})[step] = place

    def _place(self, key: Mark, event: Event) -> _Place:
        start, end = cast(YamlMark, event.start_mark), cast(YamlMark, event.end_mark)
        is_block = getattr(event, "flow_style", True) is False
        return _Place(key, self._mark(event), start.index, start.index if is_block else end.index)

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


def _parser(text: str) -> _EventSource:
    """libyaml's parser, or PyYAML's own where PyYAML was built without libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:
        return _PureParser(text)
    return cast(_EventSource, CParser(text))


def _mapping(builder: _Builder) -> dict[str, Value] | None:
    return builder.root if isinstance(builder.root, dict) else None


def _at(file: str, text: str, index: int, message: str, hint: str = "") -> Problem:
    lines = _LINE_BREAK.split(text[:index])
    return Problem(file, len(lines), len(lines[-1]) + 1, "", message, hint)


def _diagnose(text: str, file: str, include: Includer | None) -> list[Problem]:
    """Why ``text`` is refused: read again, now with places.

    A syntax error is worded by PyYAML's own parser, so that messages do not depend on libyaml.
    """
    builder = _Builder(_parser(text), file=file, shared=_Shared(include), marks=True)
    try:
        builder.run()
    except _Stop:
        return _in_order(builder.problems, file)
    except YAMLError as exc:
        return _syntax_problems(exc, text, builder)
    if not isinstance(builder.root, dict) and not builder.problems:
        builder.problems.append(_not_a_mapping(builder))
    return _in_order(builder.problems, file)


def _syntax_problems(error: YAMLError, text: str, failed: _Builder) -> list[Problem]:
    file = failed.file
    builder = _Builder(
        _PureParser(text), file=file, shared=_Shared(failed.shared.include), marks=True, outer=failed.outer
    )
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
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    hint = next((hint for words, hint in _SYNTAX_HINTS.items() if words in message), "")
    return [*builder.problems, Problem(file, line, column, "", message, hint)]


def _not_a_mapping(builder: _Builder) -> Problem:
    file = builder.file
    if builder.root is None:
        return Problem(file, 1, 1, "", "the file is empty", "'infrasim init' writes an example")
    kind = "a list" if isinstance(builder.root, list) else "a single value"
    mark = builder.root_place.value
    return Problem(
        mark.file or file, mark.line, mark.column, "", f"the file is {kind}, not 'key: value' lines"
    )
