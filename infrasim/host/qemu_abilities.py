"""Asks a QEMU what it can do: devices with their properties, machines, CPU models, objects, networks.

The program itself is asked, over QMP, without a machine. Its answers are kept in the home's cache by the
SHA-256 of the program, so a QEMU that was rebuilt or exchanged is asked anew. Modules can add devices to the
same program: whoever misses one asks ``again`` before saying so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infrasim.errors import HostError, ProgramEndedError, ProgramError
from infrasim.host.cache import read_cache, write_cache
from infrasim.host.facts import QemuAbilities, QemuDevice
from infrasim.host.files import sha256_file
from infrasim.host.process import command_line, run
from infrasim.host.qmp_stdio import command, qmp_talk

# Raised when what is kept means something else.
_FORMAT = 2

# QEMU's heading for CPUs: models, which have features and not the properties of a device.
_CPU_CATEGORY = "CPU"
_TIMEOUT_S = 30.0

# One line of ``-device help``. Source: QEMU softmmu/qdev-monitor.c, qdev_print_devinfo.
_DEVICE_LINE = re.compile(r'name "(?P<name>[^"]+)"(?:, bus (?P<bus>[^,\s]+))?(?:, alias "(?P<alias>[^"]+)")?')
_CATEGORY_LINE = re.compile(r"(?P<category>\S+) devices:")

_Answer = Mapping[str, Any]


def qemu_abilities(program: str, cache: Path, *, again: bool = False) -> QemuAbilities:
    """What ``program`` can do, as it said once; with ``again`` as it says now.

    Raises:
        HostError: it cannot be run or read.
        ProgramError: it does not answer, or not as a QEMU does.
        DeadlineError: it does not answer in time.
    """
    place = cache / "qemu" / f"{program_digest(program, cache)}.json"
    kept = read_cache(place)
    if kept.get("format") == _FORMAT and not again:
        return _from_cache(program, kept)
    found = ask(program)
    write_cache(place, {"format": _FORMAT, **_for_cache(found)})
    return found


def ask(program: str) -> QemuAbilities:
    """What ``program`` says that it can do.

    Raises:
        HostError, ProgramError, DeadlineError: as ``qemu_abilities``.
    """
    version, listed, machine_list, cpu_list, object_list, option_list = (
        answer.get("return") if answer else None for answer in _answers(program, _OVERVIEW)
    )
    if not isinstance(version, dict) or not isinstance(listed, str):
        raise ProgramError(f"{program} does not say what it can do", hint="is it a QEMU?")
    devices, aliases = parse_devices(listed)
    machines = {str(entry["name"]): entry.get("alias") for entry in machine_list or ()}
    cpus = {str(entry["name"]): str(entry.get("typename", "")) for entry in cpu_list or ()}
    with_properties = [name for name, device in devices.items() if device.category != _CPU_CATEGORY]
    answers = _answers(
        program,
        [
            *(command("device-list-properties", typename=name) for name in with_properties),
            *(command("qom-list-properties", typename=f"{name}-machine") for name in machines),
            command("device-list-properties", typename=cpus.get("max", "")),
        ],
    )
    *properties, features = (_names(answer) for answer in answers)
    of_device = dict(zip(with_properties, properties, strict=False))
    of_machine = dict(zip(machines, properties[len(with_properties) :], strict=True))
    return QemuAbilities(
        program=program,
        version=".".join(str(version["qemu"][part]) for part in ("major", "minor", "micro")),
        devices={
            name: QemuDevice(name, device.bus, device.category, of_device.get(name))
            for name, device in devices.items()
        },
        aliases=aliases,
        machines={
            name: of_machine[real] for real, alias in machines.items() for name in (real, alias) if name
        },
        cpus=frozenset(cpus),
        cpu_features=features or frozenset(),
        objects=frozenset(str(entry["name"]) for entry in object_list or ()),
        options=frozenset(str(entry["option"]) for entry in option_list or ()),
        netdevs=_netdevs(program),
    )


def parse_devices(text: str) -> tuple[dict[str, QemuDevice], dict[str, str]]:
    """The devices of ``-device help`` without their properties, and the devices that aliases mean.

    What nobody can give a machine (``no-user``) is left out.
    """
    devices: dict[str, QemuDevice] = {}
    aliases: dict[str, str] = {}
    category = ""
    for line in text.splitlines():
        if heading := _CATEGORY_LINE.match(line.strip()):
            category = heading["category"]
        found = _DEVICE_LINE.match(line)
        if found is None or line.rstrip().endswith(", no-user"):
            continue
        # A device of two categories is listed twice.
        devices.setdefault(found["name"], QemuDevice(found["name"], found["bus"] or "", category))
        if found["alias"]:
            aliases[found["alias"]] = found["name"]
    return devices, aliases


_OVERVIEW = (
    command("query-version"),
    # As ``-device help``, in the same process.
    command("human-monitor-command", **{"command-line": "info qdm"}),
    command("query-machines"),
    command("query-cpu-definitions"),
    command("qom-list-types", implements="user-creatable", abstract=False),
    command("query-command-line-options"),
)


def _answers(program: str, commands: Sequence[str]) -> list[_Answer | None]:
    """The answers of ``program``, one for each command; None where it ended in place of one.

    QEMU does that for a device whose module is not installed. Source: measured, QEMU 7.2, virtio-gpu-gl-pci.
    It may take with it what it had answered and not yet written, so the first command without an answer is
    asked alone before it is the one to blame.
    """
    answers: list[_Answer | None] = []
    while len(answers) < len(commands):
        answers += _session(program, commands[len(answers) :])
        if len(answers) < len(commands):
            answers += _session(program, [commands[len(answers)]]) or [None]
    return answers


def _session(program: str, commands: Sequence[str]) -> list[_Answer]:
    """The answers of one process, as many as it gives.

    Raises:
        ProgramError: it speaks no QMP.
    """
    argv = (program, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S")
    lines: list[str] | None = None
    try:
        with qmp_talk(argv) as talk:
            lines = talk.lines
            talk.ask(commands)
            answers = list(_parsed(lines))
    except ProgramEndedError as exc:
        if lines is None:
            raise ProgramError(f"{command_line(argv)}: {exc.message}") from exc
        answers = list(_parsed(lines))
    return answers


def _parsed(lines: Iterable[str]) -> Iterator[_Answer]:
    """The answers among what QEMU says; events and words on its standard error are none."""
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and ("return" in said or "error" in said):
            yield said


def _names(answer: _Answer | None) -> frozenset[str] | None:
    """The names of properties in an answer; None if it is an error or there is none."""
    listed = answer.get("return") if answer else None
    return None if listed is None else frozenset(str(entry["name"]) for entry in listed)


def _netdevs(program: str) -> frozenset[str]:
    """The kinds of ``-netdev``, which QMP does not list: one to a line behind a heading."""
    said = run([program, "-netdev", "help"], timeout_s=_TIMEOUT_S, check=False).stdout
    return frozenset(line.strip() for line in said.splitlines() if line.strip() and " " not in line.strip())


def program_digest(program: str, cache: Path) -> str:
    """SHA-256 of the program, read again only when its size, time or place has changed."""
    place = cache / "qemu" / "digests.json"
    try:
        status = Path(program).stat()
        key = [status.st_size, status.st_mtime_ns, status.st_ino]
        kept = read_cache(place)
        known = kept.get(program)
        if isinstance(known, dict) and known.get("key") == key:
            return str(known["sha256"])
        digest = sha256_file(Path(program))
    except OSError as exc:
        raise HostError(f"cannot read {program}: {exc.strerror}") from exc
    write_cache(place, {**kept, program: {"key": key, "sha256": digest}})
    return digest


def _for_cache(found: QemuAbilities) -> dict[str, object]:
    """As JSON can hold it; the program's own place is not part of it."""
    return {
        "version": found.version,
        "devices": {
            device.name: [device.bus, device.category, _listed(device.properties)]
            for device in found.devices.values()
        },
        "aliases": dict(found.aliases),
        "machines": {name: _listed(properties) for name, properties in found.machines.items()},
        **{name: _listed(getattr(found, name)) for name in _SETS},
    }


_SETS = ("cpus", "cpu_features", "objects", "options", "netdevs")


def _from_cache(program: str, kept: Mapping[str, Any]) -> QemuAbilities:
    return QemuAbilities(
        program=program,
        version=kept["version"],
        devices={
            name: QemuDevice(name, bus, category, _set(properties))
            for name, (bus, category, properties) in kept["devices"].items()
        },
        aliases=kept["aliases"],
        machines={name: _set(properties) for name, properties in kept["machines"].items()},
        **{name: frozenset(kept[name]) for name in _SETS},
    )


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
