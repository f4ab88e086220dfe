"""Hundreds of node files that are wrong in one place: each is refused on its line, and nothing else happens.

They are made from the file that has every key. Unit tests may start no process (``conftest.Guard``); that
nothing is written is looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infrasim.errors import InvalidNodeFile, UsageError
from infrasim.paths import Home, shipped_types, template_dir
from infrasim.personality.registry import type_names
from infrasim.runtime import node_map
from infrasim.spec import legacy, storage_checks
from infrasim.spec.document import Document, dotted, load_document
from infrasim.spec.document import Path as KeyPath
from infrasim.spec.full import full_node_text
from infrasim.spec.keys import Key, node_keys
from infrasim.spec.load import load_node
from infrasim.spec.modelling import BeforeValidator
from infrasim.spec.part import notes
from infrasim.spec.reference import yaml_of
from infrasim.spec.schema import node_file_schema

# What no text of a node file may carry on: to a shell, a line of a configuration, an argument of QEMU.
INJECTIONS = {
    "line break": '"x\\ny: 1"',
    "carriage return": '"x\\ry"',
    "zero byte": '"x\\0y"',
    "escape": '"x\\e[2J"',
    "delete": '"x\\x7f"',
}
# Documents of any number of lines, or mappings.
TEXTS_OF_CLOUD_INIT = {"user_data", "meta_data", "network_config"}
# Arguments of QEMU itself are passed on as they are, each as one.
PASSED_ON = {"extra_option", "extra_device", *TEXTS_OF_CLOUD_INIT}
# Texts that are harmless where they are taken: they come out as what they are.
SHARP = ("a,b=c", "a'b", 'a"b', "$(touch x)", "`x`", "../../x", "a b", "-x", "%s{0}", "é")


@dataclass(frozen=True)
class Broken:
    """One wrong file: what was done to it, and the line where that was."""

    what: str
    text: str
    line: int

    def __str__(self) -> str:
        return self.what


@functools.cache
def full() -> Document:
    """The file with every key."""
    return load_document(full_node_text(), file="full.yml")


def scalars() -> Iterator[tuple[KeyPath, Key]]:
    """Every key with one plain value behind it."""
    document = full()

    def walk(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, Key]]:
        if isinstance(value, dict):
            for step, below in value.items():
                yield from walk(below, (*path, step))
        elif isinstance(value, list):
            for number, below in enumerate(value):
                yield from walk(below, (*path, number))
        elif isinstance(path[-1], str):
            yield path, node_keys()[legacy.pattern(path)]

    yield from walk(document.values, ())


def replaced(path: KeyPath, value: str, what: str) -> Broken:
    document = full()
    span = document.span(path)
    assert span is not None
    text = f"{document.text[: span[0]]}{value}{document.text[span[1] :]}"
    return Broken(f"{dotted(path)}: {what}", text, document.value_mark(path).line)


def wrong_types() -> Iterator[Broken]:
    for path, key in scalars():
        another = "[zz]" if key.name in TEXTS_OF_CLOUD_INIT else "{zz: 1}" if key.model is None else "7"
        yield replaced(path, another, "another type")
        # Sizes may be texts such as 64K.
        is_size = any(note.func is storage_checks.byte_size for note in notes(key.field, BeforeValidator))
        if key.scalar in (int, float) and not is_size:
            yield replaced(path, '"7"', "a number in quotes")
        elif key.scalar is bool:
            yield replaced(path, "y", "a letter for true")


def out_of_range() -> Iterator[Broken]:
    for path, key in scalars():
        low, high = key.bounds
        if isinstance(low, int | float):
            yield replaced(path, str(low - 1), f"less than {low}")
        if isinstance(high, int | float):
            yield replaced(path, str(high + 1), f"more than {high}")
        if key.choices:
            yield replaced(path, f"{key.choices[0]}x", "no choice")


def lines_more() -> Iterator[Broken]:
    """A line that should not be there, below the first of each mapping."""
    document = full()
    seen: set[str] = set()
    for path, _ in scalars():
        mark = document.key_mark(path)
        section = legacy.pattern(path[:-1])
        lines = document.text.split("\n")
        line = lines[mark.line - 1]
        indent = " " * (mark.column - 1)
        if line.lstrip() != line[mark.column - 1 :]:
            line = indent + line[mark.column - 1 :]  # behind the dash of an entry
        doubled = [*lines[: mark.line], line, *lines[mark.line :]]
        yield Broken(f"{dotted(path)}: twice", "\n".join(doubled), mark.line + 1)
        if section not in seen:
            seen.add(section)
            for typo in ("zz_unknown: 1", f"{path[-1]}s: 1", "'': 1"):
                more = [*lines[: mark.line], indent + typo, *lines[mark.line :]]
                yield Broken(f"{section}: {typo}", "\n".join(more), mark.line + 1)


def injections() -> Iterator[Broken]:
    texts = [path for path, key in scalars() if key.scalar is str and key.name not in PASSED_ON]
    for number, path in enumerate(texts):
        # Two for each key, in turn, and all of them for some key of each kind.
        for shift in (0, 2):
            what = list(INJECTIONS)[(number + shift) % len(INJECTIONS)]
            yield replaced(path, INJECTIONS[what], what)


def all_broken() -> list[Broken]:
    return [*wrong_types(), *out_of_range(), *lines_more(), *injections()]


BROKEN = all_broken()


def test_there_are_enough() -> None:
    assert len(BROKEN) > 200
    assert len({broken.text for broken in BROKEN}) == len(BROKEN)


def test_the_full_file_has_every_key_and_is_right() -> None:
    text = full_node_text()
    loaded = load_node(Path("full.yml"), text)
    assert loaded.warnings == ()
    for key in node_keys().values():
        name = "fru0" if key.name == "fruN" else key.name
        assert f"{name}:" in text, key.path
    given = {legacy.pattern(path) for path, _ in scalars()}
    lists = {key.path for key in node_keys().values() if key.is_list}
    missing = {key.path for key in node_keys().values() if key.model is None} - given - lists
    assert missing == {path for path in missing if _in_a_comment(path, text)}


def _in_a_comment(path: str, text: str) -> bool:
    """Whether a key, or the mapping that it stands in, is a comment with a value."""
    above, _, name = path.rpartition(".")
    whole = above.removesuffix("[]").rpartition(".")[2]
    lines = [line.strip() for line in text.splitlines()]
    return any(
        line.startswith(f"# {name}: ") or (line.startswith(f"# {whole}: ") and f"{name}: " in line)
        for line in lines
    )


def test_the_full_file_in_the_templates_is_current() -> None:
    assert (template_dir() / "node.full.yml").read_text(encoding="utf-8") == full_node_text(), (
        "the models changed: python -m infrasim.spec.reference > docs/node-file.md"
    )


@pytest.fixture(scope="session")
def known_types() -> tuple[str, ...]:
    return tuple(type_names([shipped_types()]))


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_file_is_refused_on_its_line(broken: Broken, known_types: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        load_node(Path("full.yml"), broken.text, known_types=known_types)
    problems = caught.value.problems
    assert broken.line in {problem.line for problem in problems}, str(caught.value)
    for problem in problems:
        assert problem.message
        assert problem.column >= 1
        assert problem.file == "full.yml"
        assert "\n" not in str(problem), "one problem, one line"
        assert not set(map(chr, range(32))) & set(str(problem)), "nothing that a terminal obeys"


def test_a_password_is_in_no_message_about_it() -> None:
    for broken in BROKEN:
        if broken.what.startswith("bmc.password"):
            with pytest.raises(InvalidNodeFile) as caught:
                load_node(Path("full.yml"), broken.text)
            assert "calvin" not in str(caught.value)


def test_nothing_broken_reaches_the_disk(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "logs")
    source = tmp_path / "n.yml"
    # A wrong name does not stay: whoever registers a file gives it another.
    for broken in [broken for broken in BROKEN if not broken.what.startswith("name:")][::7]:
        source.write_text(broken.text)
        for change in (node_map.add, node_map.update):
            with pytest.raises(UsageError):
                change(home, "n", source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.yml"]


@pytest.mark.parametrize("sharp", SHARP)
def test_what_is_taken_stays_what_it_is(sharp: str) -> None:
    """Each text key with a sharp value is refused on its line, or has exactly that value afterwards."""
    for path, key in scalars():
        if key.scalar is not str or key.name in PASSED_ON:
            continue
        broken = replaced(path, yaml_of(sharp), sharp)
        try:
            loaded = load_node(Path("full.yml"), broken.text)
        except InvalidNodeFile as exc:
            assert broken.line in {problem.line for problem in exc.problems}, str(exc)
            continue
        value: object = loaded.spec.model_dump()
        for step in path:
            value = value[step]  # type: ignore[index]
        assert value == sharp, dotted(path)


def test_the_schema_takes_the_full_file() -> None:
    import jsonschema

    jsonschema.validate(full().values, node_file_schema(), cls=jsonschema.Draft202012Validator)
