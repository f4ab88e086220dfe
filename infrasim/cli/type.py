"""``infrasim type``: list, look at, check, import, capture, render and compare server types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infrasim.cli.table import table
from infrasim.errors import UsageError
from infrasim.paths import Home, check_node_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infrasim.personality.model import Personality

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_emu = click.option(
    "--emu",
    "emu_file",
    required=True,
    type=click.Path(path_type=Path),
    help="ipmi_sim commands of a capture.",
)
_smbios = click.option(
    "--smbios", "smbios_file", type=click.Path(path_type=Path), help="SMBIOS table, as dmidecode --dump-bin."
)


# Longer values are cut off in the list of differences; --json has them whole.
_VALUE_WIDTH = 60


@click.group("type")
@click.option(
    "--types",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of server types to look in first; may be given more than once.",
)
@click.pass_context
def type_group(ctx: click.Context, folders: tuple[Path, ...]) -> None:
    """List, check and import server types."""
    ctx.obj = {"folders": (*folders, *Home.from_environment().type_folders)}


def _folders(ctx: click.Context) -> Sequence[Path]:
    folders: Sequence[Path] = ctx.obj["folders"]
    return folders


def _load(ctx: click.Context, name: str) -> Personality:
    """The type called ``name``, or the one in the folder ``name``."""
    from infrasim.personality.folder import read_folder
    from infrasim.personality.registry import find_type, load_type

    if "/" in name or (Path(name) / "type.yml").is_file():
        return read_folder(Path(name).resolve(), find=lambda base: find_type(base, _folders(ctx)))
    return load_type(name, _folders(ctx))


def _capture(name: str, emu_file: Path, smbios_file: Path | None) -> Personality:
    from infrasim.personality.importer import import_capture

    emu = _read(emu_file).decode("utf-8", errors="replace")
    dump = _read(smbios_file) if smbios_file else b""
    return import_capture(name, emu=emu, emu_source=str(emu_file), smbios_dump=dump)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc


# ---------------------------------------------------------------- looking


@type_group.command("list")
@_json
@click.pass_context
def list_types(ctx: click.Context, as_json: bool) -> None:
    """List the server types there are."""
    from infrasim.personality.registry import type_summaries

    found = type_summaries(_folders(ctx))
    if as_json:
        rows = [{**vars(summary), "folder": str(summary.folder)} for summary in found]
        click.echo(json.dumps(rows, indent=2))
        return
    listed = [(item.name, f"{item.manufacturer} {item.product_name}".strip(), item.summary) for item in found]
    for line in table(("TYPE", "SERVER", "WHAT IT IS"), listed):
        click.echo(line)


@type_group.command()
@click.argument("name", metavar="TYPE")
@_json
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show what a server type is, at a glance."""
    facts = _facts(_load(ctx, name))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines or ["none"]):
            click.echo(f"{key.replace('_', ' ') if number == 0 else '':{width}}  {line}")


def _facts(personality: Personality) -> dict[str, Any]:
    """What ``show`` prints, in its order."""
    from collections import Counter

    from infrasim.personality.sdr import FruLocator, McLocator
    from infrasim.personality.smbios import MemoryDevice

    records = [entry.record for entry in personality.sdrs]
    kinds = Counter(record.KIND for record in records)
    named = {item.address: item.name for item in records if isinstance(item, McLocator)}
    located = {item.fru_id: item.name for item in reversed(records) if isinstance(item, FruLocator)}
    slots = personality.structures(MemoryDevice)
    modules = [slot.size_mib for slot in slots if slot.size_mib]
    sensors = personality.sensors
    tables = Counter(structure.KIND for structure in personality.smbios)
    return {
        "type": personality.name,
        "server": f"{personality.manufacturer} {personality.product_name}".strip(),
        "summary": personality.summary,
        "processors": f"{personality.cpu_sockets} sockets, {personality.cpu_cores} cores each",
        "memory": f"{len(slots)} slots, as captured {len(modules)} modules, {sum(modules) // 1024} GiB",
        "storage": [f"{item.model}, {len(item.drives)} drives" for item in personality.storage],
        "networks": [f"{item.count} {item.model}" for item in personality.nics],
        "controllers": [
            f"{item.address:#04x} {named.get(item.address, '')}".strip()
            + f", firmware {item.firmware_major}.{item.firmware_minor:02x}"
            for item in personality.controllers
        ],
        "sensors": f"{len(sensors)}, {sum(sensor.value is not None for sensor in sensors)} with a value",
        "sdr_records": [f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.items()],
        "fru_devices": [f"{fru.fru_id} {located.get(fru.fru_id, '')}".strip() for fru in personality.frus],
        "smbios": [f"{count} {kind.replace('_', ' ')}" for kind, count in tables.items()],
    }


@type_group.command()
@click.argument("name", metavar="TYPE")
@click.pass_context
def path(ctx: click.Context, name: str) -> None:
    """Print the folder of a server type."""
    from infrasim.personality.registry import find_type

    click.echo(str(find_type(name, _folders(ctx))))


@type_group.command()
@click.argument("name", metavar="TYPE|DIR")
@_json
@click.pass_context
def check(ctx: click.Context, name: str, as_json: bool) -> None:
    """Check a server type: everything that is wrong, and what its author should know.

    Exit code 2 if something is wrong.
    """
    from infrasim.personality.check import Severity
    from infrasim.personality.check import check as check_type

    found = check_type(_load(ctx, name))
    errors = sum(finding.severity == Severity.ERROR for finding in found)
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(str(finding))
        click.echo(f"{name}: {errors} errors, {len(found) - errors} notes")
    if errors:
        raise UsageError(f"server type {name} has {errors} errors")


# ---------------------------------------------------------------- making


_extends = click.option(
    "--extends", "base_name", metavar="TYPE", help="Say only how the type differs from this one."
)
_repair = click.option("--repair", is_flag=True, help="Mend FRU devices that tools complain about.")
_to = click.option(
    "--to", "parent", type=click.Path(path_type=Path), help="Folder to make the type's folder in."
)
_force = click.option("--force", is_flag=True, help="Replace a type of that name.")


@type_group.command("import")
@click.argument("name")
@_emu
@_smbios
@_extends
@click.option(
    "--keep-serials", is_flag=True, help="Keep the serial numbers and UUID of the captured machine."
)
@_repair
@_to
@_force
@click.pass_context
def import_type(
    ctx: click.Context,
    name: str,
    emu_file: Path,
    smbios_file: Path | None,
    base_name: str | None,
    keep_serials: bool,
    repair: bool,
    parent: Path | None,
    force: bool,
) -> None:
    """Make a server type from the capture of a real machine."""
    from infrasim.personality.repair import repaired
    from infrasim.personality.scrub import scrubbed

    folder = _new_folder(name, parent, force=force)
    personality = _capture(name, emu_file, smbios_file)
    personality = personality if keep_serials else scrubbed(personality)
    personality = repaired(personality) if repair else personality
    _save(personality, folder, base=_load(ctx, base_name) if base_name else None)


@type_group.command()
@click.argument("name")
@click.option("-H", "--host", required=True, help="Address or name of the BMC.")
@click.option("-U", "--user", required=True, help="User of the BMC.")
@click.option(
    "-P",
    "--password",
    envvar="IPMI_PASSWORD",
    prompt=True,
    hide_input=True,
    help="Its password; IPMI_PASSWORD of the environment, or asked for, when left out.",
)
@click.option("-p", "--port", default=623, type=click.IntRange(1, 65535), help="UDP port of the BMC.")
@click.option("-C", "--cipher-suite", default="", help="Cipher suite, if not the one ipmitool chooses.")
@click.option(
    "-L",
    "--privilege",
    default="",
    type=click.Choice(["", "USER", "OPERATOR", "ADMINISTRATOR"], case_sensitive=False),
    metavar="LEVEL",
    help="Privilege level of the session, such as USER.",
)
@_smbios
@_extends
@click.option("--scrub", is_flag=True, help="Replace serial numbers and UUID by made-up ones.")
@_repair
@_to
@_force
@click.pass_context
def capture(
    ctx: click.Context,
    name: str,
    host: str,
    user: str,
    password: str,
    port: int,
    cipher_suite: str,
    privilege: str,
    smbios_file: Path | None,
    base_name: str | None,
    scrub: bool,
    repair: bool,
    parent: Path | None,
    force: bool,
) -> None:
    """Make a server type from a running server, over its BMC. Reads only; changes nothing there."""
    from infrasim.cli.progress import counts_shown
    from infrasim.clients.ipmitool import Ipmitool, Login
    from infrasim.personality.importer import assembled
    from infrasim.personality.repair import repaired
    from infrasim.personality.scrub import scrubbed
    from infrasim.runtime.capture import capture as capture_server

    folder = _new_folder(name, parent, force=force)
    base = _load(ctx, base_name) if base_name else None
    dump = _read(smbios_file) if smbios_file else b""
    login = Login(host, user, password, port, cipher_suite, privilege)
    with Ipmitool(login) as bmc, counts_shown() as progress:
        captured = capture_server(bmc, progress=progress)
    for warning in captured.warnings:
        click.echo(f"not captured: {warning}", err=True)
    personality = assembled(name, captured.emulation, smbios_dump=dump)
    personality = scrubbed(personality) if scrub else personality
    personality = repaired(personality) if repair else personality
    _save(personality, folder, base=base)


def _new_folder(name: str, parent: Path | None, *, force: bool) -> Path:
    """Where the type ``name`` is to go; found out before any work is done for it."""
    check_node_name(name)
    folder = (parent or Home.from_environment().types) / name
    if folder.exists() and not force:
        raise UsageError(f"{folder} exists already", hint="use --force to replace it")
    return folder


def _save(personality: Personality, folder: Path, *, base: Personality | None) -> None:
    """Write the folder of a new type and say what is in it."""
    from infrasim.personality.check import check as check_type
    from infrasim.personality.folder import folder_files

    _write_folder(folder, folder_files(personality, base=base))
    for finding in check_type(personality):
        click.echo(str(finding), err=True)
    click.echo(
        f"{folder}: {len(personality.sdrs)} SDRs, {len(personality.sensors)} sensors, "
        f"{len(personality.frus)} FRUs, {len(personality.smbios)} SMBIOS structures"
    )


def _write_folder(folder: Path, files: dict[str, str]) -> None:
    from infrasim.host.files import make_dir, write_atomic

    make_dir(folder, mode=0o755)
    for old in folder.glob("*.yml"):
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        write_atomic(folder / name, text, mode=0o644)


@type_group.command()
@click.argument("name", metavar="TYPE")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--uuid", "uuid_text", default="00000000-0000-4000-8000-000000000001", help="UUID of the node.")
@click.option("--serial", default="SERIAL0001", help="Serial number of the node.")
@click.option("--asset-tag", default="", help="Asset tag of the node.")
@click.option("--memory", "memory_mib", default=4096, help="Memory of the node in MiB.")
@click.pass_context
def render(
    ctx: click.Context, name: str, target: Path, uuid_text: str, serial: str, asset_tag: str, memory_mib: int
) -> None:
    """Write what ipmi_sim and QEMU get of a server type: TYPE.emu, smbios/NNN.bin, smbios.bin."""
    from uuid import UUID

    from infrasim.host.files import make_dir, write_atomic
    from infrasim.personality.compiler import compile_personality
    from infrasim.personality.identity import NodeIdentity
    from infrasim.personality.smbios import dump_bytes

    try:
        uuid = UUID(uuid_text)
    except ValueError as exc:
        raise UsageError(f"--uuid {uuid_text!r}: wanted 32 hexadecimal digits") from exc
    personality = _load(ctx, name)
    compiled = compile_personality(personality, NodeIdentity(uuid, serial, asset_tag, memory_mib))
    make_dir(target, mode=0o755)
    make_dir(target / "smbios", mode=0o755)
    write_atomic(target / f"{personality.name}.emu", compiled.emu, mode=0o644)
    write_atomic(target / "smbios.bin", dump_bytes(compiled.smbios), mode=0o644)
    for number, structure in enumerate(compiled.smbios):
        write_atomic(target / "smbios" / f"{number:03}.bin", structure, mode=0o644)
    click.echo(f"{target}: {personality.name}.emu, {len(compiled.smbios)} SMBIOS structures")
    found = compiled.interface
    interface = f"isa-ipmi-{found.kind} ioport={found.io_port:#x},irq={found.irq}"
    click.echo(f"QEMU needs: -smp sockets={compiled.sockets}, {interface}")


@type_group.command()
@click.argument("name", metavar="TYPE")
@_emu
@_smbios
@click.option("--no-identity", is_flag=True, help="Leave out serial numbers, UUIDs and asset tags.")
@_json
@click.pass_context
def compare(
    ctx: click.Context, name: str, emu_file: Path, smbios_file: Path | None, no_identity: bool, as_json: bool
) -> None:
    """Show what a capture and a server type would show differently, field by field: TYPE | capture."""
    import dataclasses

    from infrasim.personality.compare import compare as compare_types

    ours = _load(ctx, name)
    ours = ours if smbios_file else dataclasses.replace(ours, smbios=())
    found = compare_types(ours, _capture(name, emu_file, smbios_file), with_identity=not no_identity)
    if as_json:
        click.echo(json.dumps([vars(item) for item in found], indent=2))
        return
    for item in found:
        ours_text, theirs_text = (_shortened(text) or "-" for text in (item.ours, item.theirs))
        click.echo(f"{item.where}: {item.field}: {ours_text} | {theirs_text}")
    click.echo(f"{len(found)} differences")


def _shortened(text: str) -> str:
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 1] + "…"
