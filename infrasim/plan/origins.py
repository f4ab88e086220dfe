"""The value that every key of a node file comes to, and where it is from. Pure.

A value is from the file (or one that it includes), from ``--set``, from the server type, from what was
decided for the node on this machine, or is the built-in default.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from infrasim.errors import SET
from infrasim.frozen import Frozen
from infrasim.paths import NodePaths
from infrasim.personality.fru import INFO_AREAS
from infrasim.personality.idstring import Encoding, IdString
from infrasim.personality.model import BMC_ADDRESS, Personality
from infrasim.personality.smbios import Processor, Structure, decode_structure
from infrasim.plan.identity import FRU_FIELDS, SMBIOS_FIELDS
from infrasim.plan.model import QEMU, NodePlan
from infrasim.spec import legacy
from infrasim.spec.document import Document, Path, dotted, undotted
from infrasim.spec.load import LoadedNode
from infrasim.spec.node import Bmc, NodeSpec

# QEMU's names of interfaces to the BMC begin so.
_INTERFACE = "isa-ipmi-"
# What follows a value that has a row of its own.
_FOLLOWERS = frozenset({"sn"})


class Source(StrEnum):
    """Where a value is from."""

    FILE = "file"
    SET = "set"
    TYPE = "server type"
    MADE = "made at start"
    BUILT_IN = "built-in"


class Origin(Frozen):
    """One key with its value, as JSON has it; ``place`` is the line or the type it is from."""

    path: Path
    value: Any
    source: Source
    place: str = ""

    @property
    def key(self) -> str:
        """The key in dotted form."""
        return dotted(self.path)

    def as_json(self) -> dict[str, object]:
        """The row as ``--json`` prints it."""
        return {"key": self.key, "value": self.value, "source": self.source.value, "place": self.place}

    def __str__(self) -> str:
        match self.source:
            case Source.FILE:
                return self.place
            case Source.SET:
                return SET
            case Source.TYPE:
                return f"server type {self.place}"
            case _:
                return self.source.value


def origins(
    loaded: LoadedNode, plan: NodePlan | None, paths: NodePaths, server: Personality | None = None
) -> tuple[Origin, ...]:
    """A row for every key, in the order of the models; without a ``plan`` what it decides is left open.

    The texts of FRU devices that only ``server`` has come last.
    """
    made = dict(_made(plan, paths, loaded.spec)) if plan else {}
    from_type = dict(_of_type(plan, paths)) if plan else {}
    inventory = dict(_fru_texts(loaded.spec.bmc, server)) if server else {}
    from_type |= inventory
    server_type = loaded.spec.type
    rows = []
    for path, value in _leaves(loaded.spec.model_dump(by_alias=True), ()):
        row = _given(loaded.document, path, value)
        if row is None and path == ("name",):
            # The name it is registered under, or the file's own.
            row = Origin(path, value, Source.FILE, loaded.document.file)
        if row is None and value is None and path in made:
            row = Origin(path, made[path], Source.MADE)
        elif row is None and value is None and path in from_type:
            row = Origin(path, from_type[path], Source.TYPE, server_type)
        rows.append(row or Origin(path, value, Source.BUILT_IN))
        rows += [
            Origin(below, from_type[below], Source.TYPE, server_type)
            for below in from_type
            if value is None and below[: len(path)] == path and below != path
        ]
    told = {row.path for row in rows}
    rows += [
        Origin(path, text, Source.TYPE, server_type) for path, text in inventory.items() if path not in told
    ]
    return tuple(rows)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every value that has no keys below it; a list of plain values is one."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for number, entry in enumerate(value):
            yield from _leaves(entry, (*path, number))
    else:
        yield path, value


def _given(document: Document, path: Path, value: Any) -> Origin | None:
    """The row of a value that the file or the command line gives; None for any other."""
    for spelling in _places(path):
        mark = document.stands_in(spelling)
        given = None if mark is None else _value_at(document, spelling)
        # A text in place of a mapping is the value of one of its keys; the others are left out.
        if mark is None or given is None or (spelling == path[:-1] and given != value):
            continue
        if mark.file == SET:
            return Origin(path, value, Source.SET)
        return Origin(path, value, Source.FILE, f"{mark.file or document.file}:{mark.line}")
    return None


def _places(path: Path) -> Iterator[Path]:
    """Where a value may stand: under its key or an old one, in place of its mapping, or once for several."""
    yield from legacy.spellings(path)
    if len(path) > 1:
        yield path[:-1]
    if path[-3:-2] == ("namespaces",):
        # Of a number of namespaces each is what the drive says of itself.
        yield (*path[:-3], path[-1])


def _value_at(document: Document, path: Path) -> Any:
    """What the file has there; None also for a mapping or list, whose entries speak for themselves."""
    value: Any = document.values
    step: Any
    for step in path:
        # A setting also stands where nothing is: below an empty mapping that it gives.
        if not isinstance(value, dict | list):
            return None
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        return None
    return value


def _made(plan: NodePlan, paths: NodePaths, spec: NodeSpec) -> Iterator[tuple[Path, Any]]:
    """What was decided for the node, by the keys that could have said it."""
    compute: Path = ("compute",)
    yield ("serial_number",), plan.serial_number
    yield (*compute, "uuid"), plan.uuid
    yield (*compute, "kvm_enabled"), plan.host.accelerator.value == "kvm"
    yield from _made_of_argv(plan.process(QEMU).argv, spec)
    yield (*compute, "vnc_display"), plan.vnc_display
    yield ("bmc", "address"), plan.bmc.address
    if plan.racadm is not None:
        yield ("racadm", "address"), plan.racadm.address
        yield ("racadm", "port"), plan.racadm.port
    hardware = _hardware(plan, paths)
    drives = [drive for each in hardware.get("controllers", ()) for drive in each["drives"]]
    said = {drive["image"]: drive for drive in drives}
    for disk in plan.disks:
        key = undotted(disk.key)
        yield key, str(disk.path)
        drive = said.get(str(disk.path), {})
        yield (*key[:-1], "serial"), drive.get("serial_number") or None
        yield (*key[:-1], "wwn"), int(wwn, 16) if (wwn := drive.get("wwn")) else None
    for number, card in enumerate(hardware.get("cards", ())):
        place = (*compute, "networks", number)
        yield (*place, "mac"), card["mac"]
        yield (*place, "device"), card["device"]


def _made_of_argv(argv: Sequence[str], spec: NodeSpec) -> Iterator[tuple[Path, Any]]:
    """What QEMU was given of what the file leaves out."""
    compute: Path = ("compute",)
    yield (*compute, "qemu_bin"), argv[0]
    options = [(flag, *_properties(text)) for flag, text in itertools.pairwise(argv)]
    for flag, first, properties in options:
        match flag:
            case "-cpu":
                yield (*compute, "cpu", "type"), first
            case "-smp":
                yield (*compute, "cpu", "quantities"), int(first)
                for name in ("sockets", "cores", "threads"):
                    yield (*compute, "cpu", name), int(properties[name])
            case "-boot":
                yield (*compute, "boot", "splash-time"), int(properties["splash-time"])
    topology = spec.compute.pcie_topology
    ports: list[tuple[Path, str]] = []
    if topology is not None:
        place: Path = (*compute, "pcie_topology")
        ports += (((*place, "root_port", number), each.id) for number, each in enumerate(topology.root_port))
        ports += (
            ((*place, "switch", number, "downstream", below), each.id)
            for number, switch in enumerate(topology.switch)
            for below, each in enumerate(switch.downstream)
        )
    devices = {properties.get("id"): properties for flag, _, properties in options if flag == "-device"}
    for path, name in ports:
        for key in ("chassis", "slot"):
            yield (*path, key), int(devices[name][key], 0)


def _properties(text: str) -> tuple[str, dict[str, str]]:
    """The first word of an option, and its properties, none of which is asked for that has a comma."""
    first, *words = text.split(",")
    return first, {name: value for name, _, value in (word.partition("=") for word in (first, *words))}


def _of_type(plan: NodePlan, paths: NodePaths) -> Iterator[tuple[Path, Any]]:
    """What SMBIOS says by the server type; what follows the machine's serial number has no row."""
    structures = [
        decode_structure(file.content) for file in plan.files if file.path.parent == paths.smbios_dir
    ]
    for section, (kind, fields) in SMBIOS_FIELDS.items():
        found = next((each for each in structures if kind == each.KIND and _is_there(each)), None)
        for key, field in fields.items():
            value = getattr(found, field, None)
            if value not in (None, "") and key not in _FOLLOWERS:
                yield ("compute", "smbios", section, key), value
    for flag, text in itertools.pairwise(plan.process(QEMU).argv):
        first, properties = _properties(text)
        if flag == "-device" and first.startswith(_INTERFACE):
            yield ("compute", "ipmi", "interface"), first.removeprefix(_INTERFACE)
            for key in ("ioport", "irq"):
                yield ("compute", "ipmi", key), int(properties[key], 0)
    for number, module in enumerate(_hardware(plan, paths).get("modules", ())):
        place: Path = ("compute", "smbios", "type17", number)
        yield (*place, "locator"), module["locator"]
        yield (*place, "size"), module["size_mib"]
        yield (*place, "manufacturer"), module["manufacturer"]


def _fru_texts(bmc: Bmc, server: Personality) -> Iterator[tuple[Path, str]]:
    """What the type's FRU devices say; what follows the machine's or the chassis' numbers has no row."""
    for fru in server.frus if bmc.emu_file is None else ():
        for kind in INFO_AREAS if fru.controller == BMC_ADDRESS else ():
            area = fru.area(kind)
            for key, field in FRU_FIELDS.get(kind.KIND, {}).items() if area else ():
                string: IdString = getattr(area, field)
                follows = (fru.fru_id == 0 and key == "sn") or (
                    kind.KIND == "chassis" and getattr(bmc, f"chassis_{key}")
                )
                # Some are filled up with spaces.
                text = string.text.strip() if string.encoding is not Encoding.BINARY else ""
                if text and not follows:
                    yield ("bmc", f"fru{fru.fru_id}", kind.KIND, key), text


def _is_there(structure: Structure) -> bool:
    """Whether it is not an empty socket. Source: DSP0134 section 7.5, bit 6 of the status."""
    return not isinstance(structure, Processor) or bool(structure.status & 0x40)


def _hardware(plan: NodePlan, paths: NodePaths) -> Mapping[str, Any]:
    text = next((file.content for file in plan.files if file.path == paths.hardware), b"{}")
    found: Mapping[str, Any] = json.loads(text)
    return found
