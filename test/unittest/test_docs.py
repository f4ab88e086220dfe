"""README.md and docs/ against the code: files, events, links, examples, commands, exit codes, status."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from infrasim.cli.main import infrasim
from infrasim.errors import ExitCode
from infrasim.paths import Home, NodePaths, data_dir
from infrasim.personality.registry import type_names
from infrasim.runtime.machine import PowerOrder
from infrasim.runtime.status import Condition, NodeStatus
from infrasim.spec.load import load_node

CLONE = Path(__file__).parents[2]
README = CLONE / "README.md"
WORKSPACE = CLONE / "docs" / "workspace.md"
PAGES = (README, CLONE / "CONTRIBUTING.md", CLONE / "CHANGELOG.md", *sorted((CLONE / "docs").glob("*.md")))
# Its examples are server types; its own test reads them.
PAGES_WITH_NODE_FILES = tuple(page for page in PAGES if page.name != "personality.md")

# Methods that name no file of their own.
NO_FILES = {"sockets", "traces", "check_socket_lengths", "from_environment", "registered", "node"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: what language it says it is in, its text, and its line."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, found[1], found[2], text.count("\n", 0, found.start()) + 1)


def rows(page: Path) -> Iterator[list[str]]:
    """The rows of every table, cell by cell."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


# --- docs/workspace.md


def path_names(owner: type) -> Iterator[str]:
    """The properties and methods of ``owner`` that name a file, as the page spells them."""
    for name, member in vars(owner).items():
        if name.startswith("_") or name in NO_FILES:
            continue
        if isinstance(member, property):
            yield name
        elif callable(member):
            yield f"{name}()"


@pytest.mark.parametrize("owner", [Home, NodePaths])
def test_every_file_is_listed(owner: type) -> None:
    listed = {word for row in rows(WORKSPACE) if len(row) > 1 for word in re.findall(r"`([^`]+)`", row[1])}
    wanted = set(path_names(owner))
    assert wanted, owner
    assert not wanted - listed, f"docs/workspace.md does not list {sorted(wanted - listed)}"


def test_files_are_listed_under_their_names() -> None:
    text = WORKSPACE.read_text(encoding="utf-8")
    home = Home(Path("/h"), Path("/l"))
    node = home.node("node")
    for path in (*node.sockets(), node.state, node.pty, node.vbmc_conf, node.bmc_settings, node.core_state):
        assert f"`{path.relative_to(node.workspace)}`" in text
    for path in (node.serial_log, node.events, node.log("openipmi")):
        assert f"`{path.name}`" in text


def event_names() -> set[str]:
    """The first argument of every ``Report(...)``, ``record(...)`` and ``_record(...)`` in runtime."""
    found = set()
    for source in sorted((CLONE / "infrasim" / "runtime").rglob("*.py")):
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if called in ("Report", "record", "_record"):
                found |= set(_texts(call.args[0]))
    return found


def _texts(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), ast.FormattedValue()]):
            assert prefix == "power-", prefix
            yield from (f"{prefix}{order.value}" for order in PowerOrder)
        case ast.Name(id="event"):
            pass  # the supervisor passes on what the machine reports
        case _:
            raise AssertionError(f"line {argument.lineno}: an event whose name this test cannot tell")


def test_every_event_is_listed() -> None:
    table = WORKSPACE.read_text(encoding="utf-8").partition("## events.jsonl")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
    assert listed == event_names()


# --- links and examples


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), f"{page.name}: {target}"
        assert place.is_relative_to(CLONE), f"{page.name}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page.name}: {target}"


NODE_FILES = [block for page in PAGES_WITH_NODE_FILES for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize("block", NODE_FILES, ids=str)
def test_node_files_in_the_docs_are_of_types_there_are(block: Block) -> None:
    """That they are valid at all is the test of docs/node-file.md."""
    known = type_names([data_dir() / "personalities"])
    load_node(Path(str(block)), block.text, known_types=known)


def test_there_are_node_files_in_the_docs() -> None:
    assert len(NODE_FILES) >= 5


@pytest.mark.parametrize("page", PAGES_WITH_NODE_FILES, ids=lambda page: page.name)
def test_json_in_the_docs_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)


# --- README.md against the command


def commands(group: click.Command = infrasim, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command below ``group``, as words."""
    if not isinstance(group, click.Group):
        yield words
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command, (*words, name))


def command_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Every call of infrasim in the blocks of shell, with its line."""
    for block in blocks(page):
        if block.language not in ("sh", "console"):
            continue
        text = block.text.replace("\\\n", "  ")
        for number, line in enumerate(text.splitlines(), start=block.line + 1):
            found = re.match(r"(?:\$ )?(?:sudo (?:\w+=\S+ )*)?(?:\./bin/)?infrasim (.*)$", line)
            if found:
                yield number, shlex.split(found[1], comments=True)


def check_command_line(words: list[str]) -> None:
    """Refuse words that name no command, or options that the command does not have."""
    command: click.Command = infrasim
    context = click.Context(command)
    for word in words:
        if word.startswith("-"):
            options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            assert word in {*options, "--help"}, f"{command.name} has no option {word}"
        elif isinstance(command, click.Group):
            below = command.get_command(context, word)
            assert below is not None, f"{command.name} has no command {word!r}"
            command = below
    assert not isinstance(command, click.Group), f"{command.name} is no whole command"


@pytest.mark.parametrize(("line", "words"), list(command_lines(README)))
def test_command_lines_of_the_readme_exist(line: int, words: list[str]) -> None:
    check_command_line(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["node", "begin"], "node has no command 'begin'"),
        (["node", "start", "--quick"], "start has no option --quick"),
        (["config"], "config is no whole command"),
    ],
)
def test_a_wrong_command_line_is_found(words: list[str], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_command_line(words)


def test_readme_has_command_lines() -> None:
    assert len(list(command_lines(README))) >= 10


def test_the_table_of_commands_is_whole() -> None:
    listed = {
        tuple(word for word in shlex.split(row[0].strip("`"))[1:] if word.islower())
        for row in rows(README)
        if row[0].startswith("`infrasim ")
    }
    assert listed == set(commands())


def test_exit_codes_are_listed() -> None:
    text = README.read_text(encoding="utf-8").partition("### Exit codes")[2].partition("\n##")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    # 130 is the shell's convention for an interrupted command.
    assert listed == {int(code) for code in ExitCode} | {130}


def shape(value: Any) -> Any:
    """The keys of nested mappings."""
    return {key: shape(below) for key, below in value.items()} if isinstance(value, dict) else None


def test_the_example_of_a_status_has_the_keys_of_one() -> None:
    (example,) = (json.loads(block.text) for block in blocks(README) if block.language == "json")
    paths = Home(Path("/h"), Path("/l")).node("default")
    status = NodeStatus("default", Condition.ABSENT, paths, None, None, (), ())
    assert shape(example) == shape(status.as_json())
