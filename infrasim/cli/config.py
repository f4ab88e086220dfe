"""``infrasim config``: register, check and edit node files."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infrasim.cli.setting import set_option, settings_of
from infrasim.cli.table import table
from infrasim.errors import ExitCode, HostError, InvalidNodeFile, UsageError
from infrasim.paths import DEFAULT_NODE, Home

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infrasim.errors import Problem
    from infrasim.runtime.checking import Verdict
    from infrasim.spec.document import Setting
    from infrasim.spec.load import LoadedNode

# Tried in this order when neither VISUAL nor EDITOR is set. Source: Debian policy 11.4.
EDITORS = ("sensible-editor", "editor", "nano", "vi")

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """Register, check and edit node files."""


@config.command("list")
@_json
def list_files(as_json: bool) -> None:
    """List the registered node files."""
    from infrasim.runtime.node_map import list_registered

    found = list_registered(Home.from_environment())
    if as_json:
        _print_json([entry.as_json() for entry in found])
    elif not found:
        click.echo("No node file is registered yet. Run: infrasim init")
    else:
        for line in table(
            ("NODE", "TYPE", "FILE"), [(e.name, e.server_type or "?", str(e.path)) for e in found]
        ):
            click.echo(line)
    if not as_json:
        for entry in found:
            if entry.error:
                click.echo(entry.error, err=True)


@config.command()
@click.argument("name", metavar="[NODE]", default=DEFAULT_NODE)
@click.option("--origin", is_flag=True, help="Show the value that every key comes to, and where it is from.")
@set_option
@_json
def show(name: str, origin: bool, given: tuple[str, ...], as_json: bool) -> None:
    """Show the file of node NODE ("default" when left out); with --json every value it comes to.

    With --origin NODE may be a file that is not registered.
    """
    from infrasim.runtime.node_map import load_registered, read_registered

    home = Home.from_environment()
    settings = settings_of(given)
    if origin:
        _show_origins(home, name, settings, as_json=as_json)
        return
    path, text = read_registered(home, name)
    if not as_json:
        if settings:
            raise UsageError("the file itself has no settings", hint="add --origin or --json")
        click.echo(text, nl=not text.endswith("\n"))
        return
    loaded = load_registered(home, name, settings)
    _print_json(
        {
            "name": name,
            "file": str(path),
            "node": loaded.spec.model_dump(by_alias=True),
            **_said(loaded),
        }
    )


def _show_origins(home: Home, name: str, settings: tuple[Setting, ...], *, as_json: bool) -> None:
    from infrasim.cli.table import table
    from infrasim.runtime.checking import explain
    from infrasim.spec.reference import yaml_of

    loaded, rows, unseen = explain(home, name, settings)
    if as_json:
        described = {"name": loaded.spec.name, "file": loaded.document.file, "unchecked": unseen}
        _print_json({**described, "keys": [row.as_json() for row in rows], **_said(loaded)})
        return
    _warn(loaded.warnings)
    if unseen:
        click.echo(f"not compared with this machine: {unseen}", err=True)
    shown = [row for row in rows if row.value is not None]
    for line in table(("KEY", "VALUE", "FROM"), [(row.key, yaml_of(row.value), str(row)) for row in shown]):
        click.echo(line)
    if len(shown) < len(rows):
        count = len(rows) - len(shown)
        click.echo(f"{count} more key{'s have' if count > 1 else ' has'} no value; --json lists all.")


@config.command()
def schema() -> None:
    """Print the JSON Schema of node files, for editors (see the README)."""
    from infrasim.spec.schema import node_file_schema

    _print_json(node_file_schema())


@config.command()
@click.argument("targets", metavar="[FILE or NAME]...", nargs=-1)
@set_option
@click.option(
    "-W", "--strict", is_flag=True, help="Take warnings, and what cannot be compared, for problems."
)
@click.option(
    "--file-only", is_flag=True, help="Do not compare with this machine, such as its files and KVM."
)
@_json
@click.pass_context
def check(
    ctx: click.Context,
    targets: tuple[str, ...],
    given: tuple[str, ...],
    strict: bool,
    file_only: bool,
    as_json: bool,
) -> None:
    """Check node files, registered or not; without arguments every registered one.

    Every problem is shown with its line. Exit code 2 if there is one; warnings alone are 0.
    """
    from infrasim.runtime.checking import check as check_files

    home = Home.from_environment()
    names = targets or home.registered()
    if not names:
        raise UsageError("there is nothing to check", hint="name a file, or run: infrasim init")
    verdicts = check_files(home, names, settings_of(given), here=not file_only)
    if as_json:
        _print_json([verdict.as_json() for verdict in verdicts])
    else:
        _print_verdicts(verdicts)
    if any(each.problems or (strict and (each.warnings or each.unseen)) for each in verdicts):
        ctx.exit(int(ExitCode.USAGE))


@config.command()
@click.argument("name")
@_file
@_json
def add(name: str, file: Path, as_json: bool) -> None:
    """Register a copy of FILE as node NAME."""
    from infrasim.runtime import node_map

    stored = node_map.add(Home.from_environment(), name, file)
    _report(name, "registered", stored.path, stored.warnings, as_json=as_json)


@config.command()
@click.argument("name")
@_file
@_json
def update(name: str, file: Path, as_json: bool) -> None:
    """Replace the file of node NAME by a copy of FILE."""
    from infrasim.runtime import node_map

    home = Home.from_environment()
    stored = node_map.update(home, name, file)
    verb = "updated" if stored.changed else "unchanged"
    _report(name, verb, stored.path, stored.warnings, as_json=as_json)
    if stored.changed and not as_json:
        _say_when_it_acts(home, name)


@config.command()
@click.argument("name", default=DEFAULT_NODE)
@_json
def edit(name: str, as_json: bool) -> None:
    """Edit the file of node NAME ("default" when left out) with $VISUAL or $EDITOR.

    It is checked before it is kept; a text that has problems is not lost.
    """
    from infrasim.runtime import node_map

    home = Home.from_environment()
    shown: list[InvalidNodeFile] = []
    try:
        stored = node_map.edit(home, name, editor=_editor(), try_again=lambda error: _try_again(error, shown))
    except InvalidNodeFile as exc:
        if exc not in shown:
            raise
        raise UsageError("the text has problems, so the node file stays as it was", hint=exc.hint) from exc
    verb = "updated" if stored.changed else "unchanged"
    _report(name, verb, stored.path, stored.warnings, as_json=as_json)
    if stored.changed and not as_json:
        _say_when_it_acts(home, name)


@config.command()
@click.argument("name")
@_json
def delete(name: str, as_json: bool) -> None:
    """Remove the file of node NAME; a workspace stays until 'infrasim node destroy'."""
    from infrasim.runtime import node_map

    home = Home.from_environment()
    path = node_map.delete(home, name)
    _report(name, "removed", path, (), as_json=as_json)
    workspace = home.node(name).workspace
    if workspace.is_dir() and not as_json:
        click.echo(f"Its workspace {workspace} stays; remove it with: infrasim node destroy {name}")


def _said(loaded: LoadedNode) -> dict[str, object]:
    return {"warnings": [warning.as_json() for warning in loaded.warnings]}


def _print_verdicts(verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        for problem in verdict.problems:
            click.echo(str(problem), err=True)
        _warn(verdict.warnings)
        if verdict.unseen:
            click.echo(f"{verdict.target}: not compared with this machine: {verdict.unseen}", err=True)
        counts = ", ".join(
            f"{len(found)} {word}{'s' if len(found) > 1 else ''}"
            for found, word in ((verdict.problems, "problem"), (verdict.warnings, "warning"))
            if found
        )
        spec = verdict.loaded.spec if verdict.loaded else None
        if verdict.problems or spec is None:
            click.echo(f"{verdict.target}: {counts}")
        else:
            click.echo(
                f"{verdict.target}: ok (node {spec.name}, type {spec.type}){f', {counts}' if counts else ''}"
            )
    if len(verdicts) > 1:
        wrong = sum(bool(verdict.problems) for verdict in verdicts)
        doubtful = sum(bool(verdict.warnings) and not verdict.problems for verdict in verdicts)
        fine = len(verdicts) - wrong - doubtful
        click.echo(f"{len(verdicts)} checked: {fine} fine, {doubtful} with warnings, {wrong} with problems")


def _editor() -> tuple[str, ...]:
    """The user's editor as argv.

    Raises:
        UsageError: VISUAL or EDITOR cannot be split into words.
        HostError: there is none.
    """
    from infrasim.host.process import find_program

    for variable in ("VISUAL", "EDITOR"):
        if text := os.environ.get(variable, "").strip():
            try:
                return tuple(shlex.split(text))
            except ValueError as exc:
                raise UsageError(f"{variable}={text!r} is no command: {str(exc).lower()}") from None
    for name in EDITORS:
        if program := find_program(name):
            return (program,)
    raise HostError("no editor was found", hint="set EDITOR, for instance: EDITOR=nano infrasim config edit")


def _try_again(error: InvalidNodeFile, shown: list[InvalidNodeFile]) -> bool:
    """On a terminal: show the problems, note that, and ask whether to go on editing."""
    if not sys.stdin.isatty():
        return False
    shown.append(error)
    click.echo(error.message, err=True)
    return click.confirm("Edit again?", default=True, err=True)


def _report(name: str, verb: str, path: Path, warnings: Iterable[Problem], *, as_json: bool) -> None:
    if as_json:
        said = [warning.as_json() for warning in warnings]
        _print_json({"name": name, "result": verb, "file": str(path), "warnings": said})
        return
    _warn(warnings)
    click.echo(f"Node {name} {verb}: {path}")


def _say_when_it_acts(home: Home, name: str) -> None:
    if home.node(name).workspace.is_dir():
        click.echo(f"It takes effect at the next start: infrasim node restart {name}")


def _warn(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2))
