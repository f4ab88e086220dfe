"""``infrasim node``: start, stop and look at nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infrasim.cli.setting import set_option, settings_of
from infrasim.cli.table import table
from infrasim.paths import DEFAULT_NODE, Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from infrasim.errors import Problem
    from infrasim.plan.model import NodePlan
    from infrasim.runtime.node import Started
    from infrasim.runtime.status import NodeStatus

_name = click.argument("name", metavar="[NODE]", default=DEFAULT_NODE)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_install = click.option(
    "--no-install", is_flag=True, help="Do not install missing programs; say what is missing."
)


@click.group()
def node() -> None:
    """Start, stop and look at nodes. NODE is "default" when left out."""


def _show(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2))


def _warn(warnings: tuple[Problem, ...]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


# --- verbs


@node.command()
@_name
@_install
@set_option
@_json
def start(name: str, no_install: bool, given: tuple[str, ...], as_json: bool) -> None:
    """Start a node; on a fresh machine also install what it needs."""
    from infrasim.host.process import uninterrupted
    from infrasim.runtime.node import start as start_node

    home = Home.from_environment()
    settings = settings_of(given)
    _prepare(home, name, install=not no_install)
    started = _with_extras(home, lambda: start_node(home, name, settings=settings), install=not no_install)
    with uninterrupted():
        _tell_of_start(home, name, started, as_json=as_json)


def _tell_of_start(home: Home, name: str, started: Started, *, as_json: bool) -> None:
    _warn(started.warnings)
    if as_json:
        _show_status(name)
        return
    verb = "runs already" if started.already_running else "started"
    said = "\n".join([f"Node {name} {verb}.", *_doors(started.plan)])
    click.echo(said)
    if started.planned is not None:
        from infrasim.runtime.book import remember

        remember(home, started.planned, f"{said}\n")


@node.command()
@_name
@_json
def stop(name: str, as_json: bool) -> None:
    """Take a node off AC power: its host and its BMC end at once."""
    from infrasim.runtime.node import stop_node

    stopped = stop_node(Home.from_environment(), name)
    if as_json:
        _show({"name": name, "stopped": stopped})
        return
    click.echo(f"Node {name} {'stopped' if stopped else 'was not running'}.")


@node.command()
@_name
@_install
@set_option
@_json
def restart(name: str, no_install: bool, given: tuple[str, ...], as_json: bool) -> None:
    """Stop a node and start it from its node file as it is now, and what --set says now."""
    from infrasim.runtime.node import restart as restart_node

    home = Home.from_environment()
    settings = settings_of(given)
    _prepare(home, name, install=not no_install)
    started = _with_extras(home, lambda: restart_node(home, name, settings=settings), install=not no_install)
    _warn(started.warnings)
    if as_json:
        _show_status(name)
        return
    click.echo(f"Node {name} restarted.")
    _print_doors(started.plan)


@node.command()
@_name
@_json
def destroy(name: str, as_json: bool) -> None:
    """Stop a node and remove its workspace, disks and logs; its registered node file stays."""
    from infrasim.runtime.node import destroy as destroy_node

    destroyed = destroy_node(Home.from_environment(), name)
    if as_json:
        _show({"name": name, "destroyed": destroyed})
        return
    click.echo(f"Node {name} {'destroyed' if destroyed else 'had no workspace'}.")


@node.command("run")
@_name
@_install
@set_option
def run_node(name: str, no_install: bool, given: tuple[str, ...]) -> None:
    """Run a node in the foreground; SIGTERM or Ctrl-C stops it. Prints "ready" when it is."""
    from infrasim.runtime.node import start as start_node

    home = Home.from_environment()
    settings = settings_of(given)
    _prepare(home, name, install=not no_install)
    started = _with_extras(
        home,
        lambda: start_node(home, name, foreground=True, settings=settings),
        install=not no_install,
    )
    click.echo(f"Node {started.plan.name} runs already.")


def _prepare(home: Home, name: str, *, install: bool) -> None:
    """On a fresh machine: install what is missing and write the default node file."""
    from infrasim.packages.catalogue import missing_programs

    if missing_programs():
        from infrasim.cli.init import install_missing

        install_missing(home, install=install)
    if name == DEFAULT_NODE and not home.map_file(name).exists() and not home.registered():
        from infrasim.runtime.node_map import write_default_node_file

        write_default_node_file(home)


def _with_extras(home: Home, verb: Callable[[], Started], *, install: bool) -> Started:
    """Do it; if the node needs what not every node needs, install that first."""
    from infrasim.errors import MissingProgramsError

    try:
        return verb()
    except MissingProgramsError as exc:
        if not install:
            raise
        from infrasim.cli.init import install_missing

        install_missing(home, install=True, extras=exc.programs)
        return verb()


# --- looking


@node.command()
@_name
@_json
@click.pass_context
def status(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show how a node is. Exit code 0 running, 1 degraded, 3 stopped or absent."""
    from infrasim.runtime.status import node_status

    found = node_status(Home.from_environment(), name)
    if as_json:
        _show(found.as_json())
    else:
        _print_status(found)
    ctx.exit(found.condition.exit_code)


@node.command("list")
@_json
def list_nodes(as_json: bool) -> None:
    """List every node of this home."""
    from infrasim.runtime.status import node_names, node_status

    home = Home.from_environment()
    found = [node_status(home, name) for name in node_names(home)]
    if as_json:
        _show([status.as_json() for status in found])
        return
    if not found:
        click.echo("There is no node yet. Run: infrasim init")
        return
    for line in table(("NODE", "TYPE", "STATE", "POWER", "BMC", "VNC"), [_row(status) for status in found]):
        click.echo(line)


@node.command("plan")
@_name
@set_option
@_json
def plan_command(name: str, given: tuple[str, ...], as_json: bool) -> None:
    """Show what a start would do: files, disks, processes with their argv, ports. Touches nothing."""
    from infrasim.host.process import command_line
    from infrasim.runtime.planning import plan as plan_node

    planned = plan_node(Home.from_environment(), name, settings_of(given))
    _warn(planned.warnings)
    if as_json:
        _show(planned.plan.as_json())
        return
    decided = planned.plan
    click.echo(f"Node {decided.name}: {decided.product} ({decided.server_type})")
    click.echo(f"  serial number {decided.serial_number}, UUID {decided.uuid}")
    click.echo(f"  accelerator {decided.host.accelerator.value}: {decided.host.accelerator_note}")
    click.echo("\nFiles")
    for file in decided.files:
        click.echo(f"  {file.mode:04o} {len(file.content):>7}  {file.path}")
    click.echo("\nDisks")
    for disk in decided.disks:
        size = f"{disk.size_gib} GiB" if disk.size_gib is not None else f"as {disk.backing}"
        click.echo(f"  {disk.format:5} {size}  {disk.path}{'' if disk.create else '  (yours)'}")
    if decided.passthrough:
        click.echo("\nDevices of this machine, with what shares their IOMMU groups")
    for device in decided.passthrough:
        click.echo(f"  {device.address}")
    click.echo("\nPorts")
    for port in decided.ports:
        click.echo(f"  {port.protocol} {port.address} {port.port}  {port.purpose}")
    click.echo("\nProcesses")
    for process in decided.processes:
        click.echo(f"  {process.name} -> {process.log}\n    {command_line(process.argv)}")


@node.command()
@_name
@_json
def info(name: str, as_json: bool) -> None:
    """Show what a node is made of, as the front page of its management controller would."""
    from infrasim.cli.front_page import front_page
    from infrasim.runtime.inventory import inventory
    from infrasim.runtime.status import Condition, node_status, unknown_node

    home = Home.from_environment()
    found = node_status(home, name)
    if found.condition is Condition.ABSENT:
        raise unknown_node(home, name)
    listed = inventory(home, found)
    if as_json:
        _show({**found.as_json(), **listed.as_json()})
        return
    for line in front_page(found, listed):
        click.echo(line)


@node.command()
@_name
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
@click.option("-n", "--lines", default=20, show_default=True, help="Lines of each log to begin with.")
@click.argument("logs", nargs=-1)
def logs(name: str, follow: bool, lines: int, logs: tuple[str, ...]) -> None:
    """Show a node's logs: all of them, or those named: supervisor openipmi qemu socat serial events.

    Some nodes have more: swtpm racadm seabios guest.
    """
    from infrasim.runtime.logs import show_logs

    for line in show_logs(Home.from_environment(), name, logs, lines=lines, follow=follow):
        click.echo(line)


@node.command()
@_name
def console(name: str) -> None:
    """Attach this terminal to the host's serial console. Ctrl-] detaches; the host goes on."""
    from infrasim.runtime.console import attach

    attach(Home.from_environment(), name)


# --- printing


def _show_status(name: str) -> None:
    from infrasim.runtime.status import node_status

    _show(node_status(Home.from_environment(), name).as_json())


def _print_doors(decided: NodePlan) -> None:
    for line in _doors(decided):
        click.echo(line)


def _doors(decided: NodePlan) -> list[str]:
    from infrasim.cli.front_page import ipmitool_words, racadm_words

    shell = racadm_words(decided)
    return [
        f"  server     {decided.product}, serial number {decided.serial_number}",
        f"  BMC        {ipmitool_words(decided)}",
        *([f"  racadm     {shell}"] if shell else []),
        f"  screen     VNC {decided.vnc_address}:{decided.vnc_display} (port {decided.vnc_port})",
        f"  console    infrasim node console {decided.name}",
        f"  runs on    {decided.host.accelerator.value.upper()} ({decided.host.accelerator_note})",
        f"  workspace  {decided.workspace}",
        f"  logs       {decided.log_dir}",
    ]


def _row(found: NodeStatus) -> tuple[str, ...]:
    data = found.as_json()
    bmc, vnc = data["bmc"], data["vnc"]
    return (
        found.name,
        data["type"] or "-",
        data["state"],
        data["host"]["power"],
        f"{bmc['address']}:{bmc['port']}" if bmc["address"] else "-",
        f"{vnc['address']}:{vnc['port']}" if vnc["address"] else "-",
    )


def _print_status(found: NodeStatus) -> None:
    data = found.as_json()
    host, bmc, vnc = data["host"], data["bmc"], data["vnc"]
    click.echo(f"Node {found.name} is {found.condition.value}.")
    if found.plan is None:
        return
    lamp = ", identify lamp on" if host["identify"] else ""
    override = f", next boot from {host['boot_override']}" if host["boot_override"] else ""
    click.echo(f"  chassis    {host['power']}{override}{lamp}")
    click.echo(f"  runs on    {host['accelerator'].upper()} ({host['accelerator_note']})")
    click.echo(f"  BMC        {bmc['address']} port {bmc['port']}")
    if shell := data["racadm"]:
        click.echo(f"  racadm     {shell['address']} port {shell['port']}, SSH")
    click.echo(f"  screen     VNC {vnc['address']} port {vnc['port']}")
    for process in data["processes"]:
        pid = f"pid {process['pid']}" if process["pid"] else "-"
        restarts = f", {process['restarts']} restarts" if process["restarts"] else ""
        click.echo(f"  {process['name']:10} {process['state']:9} {pid}{restarts}")
    click.echo(f"  workspace  {data['workspace']}")
    click.echo(f"  logs       {data['log_dir']}")
    for error in found.errors:
        click.echo(f"  problem    {error}")
