"""Where every drive of a node file goes: controllers, ports, images."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, filterfalse
from pathlib import Path

from infrasim.paths import NodePaths
from infrasim.plan import addresses
from infrasim.plan.identity import problem
from infrasim.plan.model import DiskSpec, FileSpec, InputSpec
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import storage
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device, Value
from infrasim.spec.node import Compute
from infrasim.spec.storage import Controller, Drive, Image, NumberedDisk
from infrasim.spec.storage_checks import block_sizes, drives_on_each
from infrasim.spec.storage_kinds import ALONE, KINDS

_SATA = "sata"
_CDROM_KEY = "compute.cdrom"
_SEED_KEY = "compute.cloud_init"
_IDE_CHANNELS = 2
# Words of -drive that -blockdev does not have.
_DISCARD = {"on": "unmap", "off": "ignore"}


@dataclass
class _Storage:
    """The storage of one node as it is put together.

    ``base`` is what the first disk begins as. ``numbers`` are the next controllers by family,
    ``free_namespaces`` the numbers that nobody asks for, by subsystem or by entry of the node file.
    """

    paths: NodePaths
    node_uuid: uuid.UUID
    base: Path | None = None
    controllers: list[Device | Words] = field(default_factory=list)
    drives: list[Device | Words] = field(default_factory=list)
    disks: list[DiskSpec] = field(default_factory=list)
    inputs: list[InputSpec] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    subsystems: dict[str, str] = field(default_factory=dict)
    free_namespaces: dict[str | int, Iterator[int]] = field(default_factory=dict)

    def next_id(self, family: str) -> str:
        """The name of the next controller of a family."""
        number = self.numbers.get(family, 0)
        self.numbers[family] = number + 1
        return f"{family}{number}"


def storage_part(
    compute: Compute, paths: NodePaths, node_uuid: uuid.UUID, *, seed: FileSpec | None = None
) -> HostPart:
    """The CD-ROM on the first port of SATA, disks behind it, further controllers as they fill up.

    ``seed`` is an image that is on a CD-ROM behind the first one.
    """
    made = _Storage(paths, node_uuid, base=Path(compute.image) if compute.image else None)
    has_ahci = any(KINDS[entry.type].family == _SATA for entry in compute.storage_backend)
    cdroms = [*((Path(compute.cdrom.file),) if compute.cdrom else ()), *((seed.path,) if seed else ())]
    if cdroms and not has_ahci:
        made.controllers.append(Device("ich9-ahci", made.next_id(_SATA), _CDROM_KEY))
    if compute.cdrom:
        made.inputs.append(InputSpec(Path(compute.cdrom.file), _CDROM_KEY))
    for number, image in enumerate(cdroms):
        is_seed = seed is not None and image == seed.path
        _add_cdrom(made, image, number, _SEED_KEY if is_seed else _CDROM_KEY)
    made.free_namespaces.update(_free_namespaces(compute.storage_backend))
    for number, entry in enumerate(compute.storage_backend):
        key = f"compute.storage_backend[{number}]"
        if entry.type in ALONE:
            _add_disks_on_their_own(made, entry, number, key)
        else:
            # CD-ROMs are on the first of SATA's controllers.
            is_first = KINDS[entry.type].family == _SATA and not made.numbers.get(_SATA)
            _add_controllers(made, entry, number, key, taken=len(cdroms) if is_first else 0)
    items = (*made.controllers, *made.drives)
    files = (seed,) if seed else ()
    return HostPart(items, disks=tuple(made.disks), inputs=tuple(made.inputs), files=files)


def _add_cdrom(made: _Storage, image: Path, number: int, key: str) -> None:
    node = f"cdrom{number}-image"
    # Nothing boots from a seed.
    boot_class = BootClass.CDROM if key == _CDROM_KEY else None
    made.drives.append(storage.disk_image(node, image, "raw", read_only=True))
    properties = {"bus": f"sata0.{number}", "drive": node}
    made.drives.append(Device("ide-cd", f"cdrom{number}", key, properties, boot_class))


# --- controllers with disks


def _add_controllers(made: _Storage, entry: Controller, number: int, key: str, *, taken: int) -> None:
    """The controllers of an entry, as many as its disks need, and the disks.

    ``taken`` ports of the first one are not free.
    """
    on_each = drives_on_each(entry)
    first = max(0, on_each - taken)
    groups = [entry.drives[:first]]
    groups += [entry.drives[start : start + on_each] for start in range(first, len(entry.drives), on_each)]
    if entry.addr is not None and len(groups) > 1:
        message = f"is one place, and these drives need {len(groups)} controllers"
        hint = "write each controller as an entry of its own, or leave it out"
        raise problem(f"{key}.addr", message, hint)
    slot = 0
    for before, group in enumerate(groups):
        kind = KINDS[entry.type]
        controller = made.next_id(kind.family)
        properties = _options(made, entry, controller, before)
        made.controllers.append(Device(kind.driver, controller, key, properties))
        places = _places(entry, controller, group, taken if before == 0 else 0)
        for drive, (device_id, place) in zip(group, places, strict=True):
            name = f"disk-{kind.family}-{number}-{slot}"
            _add_disk(made, entry.type, drive, name, device_id, f"{key}.drives[{slot}]", place)
            slot += 1


def _options(made: _Storage, entry: Controller, controller: str, before: int) -> dict[str, Value]:
    """What a controller is given; ``before`` others of its entry come before it."""
    thread = None
    if entry.iothread:
        thread = f"iothread-{controller}"
        made.controllers.append(storage.io_thread(thread))
    return {
        "bus": entry.bus,
        "addr": entry.addr,
        "use_jbod": entry.use_jbod,
        "sas_address": None if entry.sas_address is None else f"{entry.sas_address + before:#x}",
        "msi": entry.msi,
        "msix": entry.msix,
        "max_cmds": entry.max_cmds,
        "max_sge": entry.max_sge,
        "iothread": thread,
        "cmb_size_mb": entry.cmb_size,
    }


def _places(
    entry: Controller, controller: str, group: Sequence[Drive], taken: int
) -> Iterator[tuple[str, dict[str, Value]]]:
    """The id of each drive's device and the properties that say where it is."""
    family = KINDS[entry.type].family
    if family == "ide":
        for port in range(len(group)):
            channel, unit = divmod(port, _IDE_CHANNELS)
            yield f"{controller}-{port}", {"bus": f"{controller}.{channel}", "unit": unit}
        return
    if family == _SATA:
        for port in range(taken, taken + len(group)):
            yield f"{controller}-{port}", {"bus": f"{controller}.{port}"}
        return
    for target, lun, drive in _targets(entry.type, group):
        place: dict[str, Value] = {
            "bus": f"{controller}.0",
            "channel": drive.channel or 0,
            "scsi-id": target,
            "lun": lun,
        }
        yield f"{controller}-{drive.channel or 0}-{target}-{lun}", place


def _targets(kind: str, group: Sequence[Drive]) -> Iterator[tuple[int, int, Drive]]:
    """Target and unit of each drive: its own, or else the next target that nobody asks for.

    Where there are more drives than targets, further ones are further units.
    """
    taken = {(drive.scsi_id, drive.lun or 0) for drive in group if drive.scsi_id is not None}
    asked = {target for target, _ in taken}
    luns, targets = range(KINDS[kind].luns), range(KINDS[kind].targets)
    free = ((target, lun) for lun in luns for target in targets if lun or target not in asked)
    for drive in group:
        if drive.scsi_id is not None:
            yield drive.scsi_id, drive.lun or 0, drive
            continue
        target, lun = next(place for place in free if place not in taken)
        yield target, lun if drive.lun is None else drive.lun, drive


# --- disks that are their own controllers


def _add_disks_on_their_own(made: _Storage, entry: Controller, number: int, key: str) -> None:
    family = KINDS[entry.type].family
    if entry.addr is not None and len(entry.drives) > 1:
        message = f"is one place, and these are {len(entry.drives)} controllers"
        raise problem(f"{key}.addr", message, "write each as an entry of its own, or leave it out")
    listed: list[tuple[str, NumberedDisk]] = [
        (f"{key}.drives[{slot}]", drive) for slot, drive in enumerate(entry.drives)
    ]
    for slot, (place, disk) in enumerate(listed or [(key, entry)]):
        controller = made.next_id(family)
        name = f"disk-{family}-{number}-{slot}"
        options = _options(made, entry, controller, slot)
        if entry.subsystem is not None or "namespaces" in entry.model_fields_set:
            free = made.free_namespaces[entry.subsystem or number]
            _add_namespaces(made, entry, disk, name, controller, place, options, free)
        else:
            _add_disk(made, entry.type, disk, name, controller, place, options)


def _add_namespaces(
    made: _Storage,
    entry: Controller,
    disk: NumberedDisk,
    name: str,
    controller: str,
    key: str,
    options: dict[str, Value],
    free: Iterator[int],
) -> None:
    """An NVMe controller and each of its namespaces as a device of its own.

    QEMU takes no disk for the controller itself where there is a subsystem. Source: measured.
    """
    serial = disk.serial or addresses.drive_serial(made.node_uuid, name)
    options = {**options, "serial": serial}
    if entry.subsystem is not None:
        if entry.subsystem not in made.subsystems:
            made.subsystems[entry.subsystem] = f"subsys{len(made.subsystems)}"
            made.controllers.append(storage.nvm_subsystem(made.subsystems[entry.subsystem], entry.subsystem))
        options["subsys"] = made.subsystems[entry.subsystem]
    made.controllers.append(Device("nvme", controller, key, options))
    spaces: list[tuple[str, str, Image]] = [
        (f"{key}.namespaces[{number}]", f"{name}-{number}", space)
        for number, space in enumerate(entry.namespaces)
    ]
    if "namespaces" not in entry.model_fields_set:
        spaces = [(key, name, disk)]
    for place, image, space in spaces:
        nsid = getattr(space, "nsid", None) or next(free)
        node = _add_image(made, space, image, place)
        eui64, shared = getattr(space, "eui64", None), getattr(space, "shared", None)
        properties: dict[str, Value] = {
            "bus": controller,
            "nsid": nsid,
            "drive": node,
            "uuid": getattr(space, "uuid", None) or str(uuid.uuid5(made.node_uuid, image)),
            "eui64": None if eui64 is None else f"{eui64:#x}",
            "shared": shared,
            **_block_properties(space),
        }
        device_id = f"{controller}-ns{nsid}"
        made.drives.append(Device("nvme-ns", device_id, place, properties, BootClass.DISK, space.bootindex))


def _free_namespaces(entries: Sequence[Controller]) -> Iterator[tuple[str | int, Iterator[int]]]:
    """The numbers that no namespace asks for, of each subsystem and each drive without one."""
    asked: dict[str | int, set[int]] = {}
    for number, entry in enumerate(entries):
        numbers = {space.nsid for space in entry.namespaces if space.nsid is not None}
        asked.setdefault(entry.subsystem or number, set()).update(numbers)
    for whose, taken in asked.items():
        yield whose, filterfalse(taken.__contains__, count(1))


# --- one disk


def _add_disk(
    made: _Storage,
    kind: str,
    disk: NumberedDisk,
    name: str,
    device_id: str,
    key: str,
    place: dict[str, Value],
) -> None:
    node = _add_image(made, disk, name, key)
    serial = disk.serial or addresses.drive_serial(made.node_uuid, name)
    properties = {**place, "drive": node, "serial": serial, **_named(disk), **_block_properties(disk)}
    if KINDS[kind].needs_wwn and properties["wwn"] is None:
        properties["wwn"] = f"{addresses.drive_wwn(made.node_uuid, name):#x}"
    driver = {"ahci": "ide-hd", "ide": "ide-hd", **{each: KINDS[each].driver for each in ALONE}}
    device = Device(driver.get(kind, "scsi-hd"), device_id, key, properties, BootClass.DISK, disk.bootindex)
    made.drives.append(device)


def _named(disk: NumberedDisk) -> dict[str, Value]:
    """What a disk says of itself beside its serial number."""
    if not isinstance(disk, Drive):
        return {}
    return {
        "model": disk.model,
        "vendor": disk.vendor,
        "product": disk.product,
        "wwn": None if disk.wwn is None else f"{disk.wwn:#x}",
        "ver": disk.version,
        "rotation_rate": disk.rotation_rate,
        "port_index": disk.port_index,
        "port_wwn": None if disk.port_wwn is None else f"{disk.port_wwn:#x}",
    }


def _block_properties(image: Image) -> dict[str, Value]:
    logical, physical = block_sizes(image)
    return {
        "logical_block_size": logical,
        "physical_block_size": physical,
        "share-rw": True if image.share_rw else None,
        "write-cache": "off" if image.cache in storage.WRITE_THROUGH else None,
    }


def _add_image(made: _Storage, image: Image, name: str, key: str) -> str:
    """The image of a disk; its name among QEMU's block nodes.

    An image that infrasim makes is called by its place in the node file: a CD-ROM that comes or goes, or
    other controllers, move ports and never images.
    """
    path = Path(image.file) if image.file else made.paths.disks / f"{name}.{image.format}"
    backing = Path(image.backing_file) if image.backing_file else made.base
    backing_key = f"{key}.backing_file" if image.backing_file else "compute.image"
    # Every disk but the first begins empty.
    made.base = None
    is_sized = "size" in image.model_fields_set
    options = {"cluster_size": image.cluster_size, "preallocation": image.preallocation}
    made.disks.append(
        DiskSpec(
            path,
            image.format,
            None if backing and not is_sized else image.size,
            create=image.file is None,
            key=f"{key}.file",
            is_sized=is_sized,
            is_shared=image.share_rw,
            backing=backing,
            backing_format=(image.backing_format or "qcow2") if backing else "",
            options=tuple(f"{option}={value}" for option, value in options.items() if value is not None),
        )
    )
    if backing is not None:
        made.inputs.append(InputSpec(backing, backing_key))
    node = f"{name}-image"
    made.drives.append(
        storage.disk_image(
            node,
            path,
            image.format,
            cache=image.cache,
            aio=image.aio,
            discard=_DISCARD.get(image.discard or "", image.discard),
            l2_cache_bytes=image.l2_cache_size,
            refcount_cache_bytes=image.refcount_cache_size,
        )
    )
    return node
