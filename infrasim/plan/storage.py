"""Where every drive of a node file goes: controllers, ports, images."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, filterfalse
from pathlib import Path
from typing import TYPE_CHECKING

from infrasim.frozen import Frozen
from infrasim.paths import NodePaths
from infrasim.plan import addresses
from infrasim.plan.fault import Faults, fault, problem
from infrasim.plan.model import DiskSpec, FileSpec, InputSpec
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import storage
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device, Value
from infrasim.spec.document import dotted
from infrasim.spec.node import Compute
from infrasim.spec.storage import Controller, Drive, Image, NumberedDisk
from infrasim.spec.storage_checks import block_sizes
from infrasim.spec.storage_kinds import ALONE, KINDS, Kind, kind_of
from infrasim.spec.unusual import NVME_PROPERTIES

if TYPE_CHECKING:
    from infrasim.spec.special import Ses

_SATA = "sata"
_ATA_FAMILIES = (_SATA, "ide")
SEED_KEY = "compute.cloud_init"
_IDE_CHANNELS = 2
_OTHER_PORT = "give it another port, or leave it out"
# Which keys of the node file properties come from, where a QEMU may lack them.
_CONTROLLER_KEYS = {
    "": "type",
    **{name: name for name in ("use_jbod", "sas_address", "msi", "msix", "use_msix", "max_cmds", "max_sge")},
    "cmb_size_mb": "cmb_size",
    **{name: key.replace("pci_config", "pci-config") for key, name in NVME_PROPERTIES.items()},
}
_DISK_KEYS = {
    **{name: name for name in ("vendor", "product", "model", "wwn", "rotation_rate")},
    **{name: name for name in ("port_index", "port_wwn", "slot_number", "atta_wwn", "atta_phy_id")},
    "ver": "version",
    "page_file": "page-file",
}
# Numbers that people write in hexadecimal.
_WIDE = ("wwn", "pp_atta_sas_addr", "ep_atta_sas_addr")
# Words of -drive that -blockdev does not have.
_DISCARD = {"on": "unmap", "off": "ignore"}


@dataclass
class _Storage:
    """The storage of one node as it is put together.

    ``base`` is what the first disk begins as. ``kinds`` are those of controllers that only QEMU knows.
    ``numbers`` are the next controllers by family, ``free_namespaces`` the numbers that nobody asks for, by
    subsystem or by entry of the node file.
    """

    paths: NodePaths
    node_uuid: uuid.UUID
    base: Path | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    controllers: list[Device | Words] = field(default_factory=list)
    drives: list[Device | Words] = field(default_factory=list)
    disks: list[DiskSpec] = field(default_factory=list)
    inputs: list[InputSpec] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    subsystems: dict[str, str] = field(default_factory=dict)
    free_namespaces: dict[str | int, Iterator[int]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)

    def wrong(self, path: str, message: str, hint: str) -> None:
        """Note a fault; what is at fault is put somewhere, so that all else can be looked at."""
        self.faults.add([fault(path, message, hint)])

    def kind(self, entry: Controller) -> Kind:
        """The kind of controller an entry is."""
        return self.kinds.get(entry.type) or kind_of(entry.type)

    def next_id(self, family: str) -> str:
        """The name of the next controller of a family."""
        number = self.numbers.get(family, 0)
        self.numbers[family] = number + 1
        return f"{family}{number}"


def storage_part(
    compute: Compute,
    paths: NodePaths,
    node_uuid: uuid.UUID,
    *,
    seed: FileSpec | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> HostPart:
    """CD-ROMs, on the first ports of SATA unless they say more, then disks, controllers as they fill up.

    ``seed`` is an image that is on a CD-ROM behind the others. ``kinds`` are those of controllers that only
    QEMU knows, by its name. Its faults are drives that want one port, or for which there is no room.
    """
    made = _Storage(paths, node_uuid, base=Path(compute.image) if compute.image else None, kinds=kinds or {})
    taken = _add_cdroms(made, compute, _cdroms(compute, seed))
    made.free_namespaces.update(_free_namespaces(compute.storage_backend))
    for number, entry in enumerate(compute.storage_backend):
        key = f"compute.storage_backend[{number}]"
        if entry.type in ALONE:
            _add_disks_on_their_own(made, entry, number, key)
        else:
            # CD-ROMs are on the first controller of their kind.
            _add_controllers(made, entry, number, key, taken.pop(made.kind(entry).family, {}))
    items = (*made.controllers, *made.drives)
    files = (seed,) if seed else ()
    return HostPart(
        items,
        disks=tuple(made.disks),
        inputs=tuple(made.inputs),
        files=files,
        faults=tuple(made.faults.found),
    )


# --- CD-ROMs


class _InDrive(Frozen):
    """What is in a CD-ROM drive. Nothing boots from a seed, which is no file of the user's either."""

    image: Path
    key: str
    is_seed: bool = False
    controller: str = "ahci"
    port: int | None = None
    boot_index: int | None = None


def _cdroms(compute: Compute, seed: FileSpec | None) -> list[_InDrive]:
    found = [
        _InDrive(
            Path(drive.file),
            dotted(("compute", *place)),
            controller=drive.controller,
            port=drive.slot,
            boot_index=drive.bootindex,
        )
        for place, drive in compute.cdrom_drives
    ]
    return [*found, *([_InDrive(seed.path, SEED_KEY, is_seed=True)] if seed else ())]


def _add_cdroms(made: _Storage, compute: Compute, cdroms: Sequence[_InDrive]) -> dict[str, dict[int, str]]:
    """Every CD-ROM drive, and a controller for them where the node file has none.

    Returns the ports they have of the first controller of each family, with the keys of the drives.
    """
    taken: dict[str, dict[int, str]] = {}
    places: dict[str, dict[str, Value]] = {}
    for kind in ("ahci", "ide"):
        family, drives = kind_of(kind).family, [drive for drive in cdroms if drive.controller == kind]
        entry = next((each for each in compute.storage_backend if made.kind(each).family == family), None)
        if drives and entry is None:
            made.controllers.append(Device(kind_of(kind).driver, made.next_id(family), drives[0].key))
        ports = _cdrom_ports(made, drives, entry, kind_of(kind))
        taken[family] = {port: drive.key for drive, port in zip(drives, ports, strict=True)}
        places.update(
            {drive.key: _port(family, f"{family}0", port) for drive, port in zip(drives, ports, strict=True)}
        )
    for number, drive in enumerate(cdroms):
        node = f"cdrom{number}-image"
        if not drive.is_seed:
            made.inputs.append(InputSpec(drive.image, drive.key))
        made.drives.append(storage.disk_image(node, drive.image, "raw", read_only=True))
        driver = "ide-cd" if drive.key in places else "scsi-cd"
        place = places.get(drive.key) or _scsi_place(made, drive, number)
        boot_class = None if drive.is_seed else BootClass.CDROM
        device = Device(
            driver, f"cdrom{number}", drive.key, {**place, "drive": node}, boot_class, drive.boot_index
        )
        made.drives.append(device)
    return taken


def _cdrom_ports(
    made: _Storage, cdroms: Sequence[_InDrive], entry: Controller | None, usual: Kind
) -> list[int]:
    """The port of each CD-ROM drive: its own, or the next one that nobody asks for.

    ``entry`` is the first one of that family, if there is any; its first disks are on the same controller.
    """
    kind = made.kind(entry) if entry else usual
    beside = entry.drives[: max(0, _on_each(made, entry) - len(cdroms))] if entry else ()
    asked = {drive.slot for drive in beside} | {drive.port for drive in cdroms}
    free = (port for port in range(kind.targets) if port not in asked)
    ports = [drive.port if drive.port is not None else next(free, None) for drive in cdroms]
    for drive, port in zip(cdroms, ports, strict=True):
        if port is None or port >= kind.targets:
            message = f"no port of the first {kind.driver} is left for it, which has {kind.targets}"
            made.wrong(drive.key, message, "give disks and CD-ROM drives fewer ports of it")
    return [port or 0 for port in ports]


def _scsi_place(made: _Storage, drive: _InDrive, number: int) -> dict[str, Value]:
    """Where a CD-ROM drive is that speaks SCSI, over USB or not; its controller is made for the first one."""
    controller = f"cdrom-{'usb' if drive.controller == 'usb' else 'scsi'}0"
    driver = "qemu-xhci" if drive.controller == "usb" else "virtio-scsi-pci"
    if controller not in made.numbers:
        made.numbers[controller] = 1
        made.controllers.append(Device(driver, controller, drive.key))
    if drive.controller != "usb":
        return {"bus": f"{controller}.0", "scsi-id": number}
    made.drives.append(Device("usb-bot", f"cdrom{number}-usb", drive.key, {"bus": f"{controller}.0"}))
    return {"bus": f"cdrom{number}-usb.0"}


# --- controllers with disks


def _on_each(made: _Storage, entry: Controller) -> int:
    """How many disks one controller of an entry takes before the next one is begun."""
    kind = made.kind(entry)
    return min(entry.max_drive_per_controller, kind.targets * kind.luns)


def _add_controllers(
    made: _Storage, entry: Controller, number: int, key: str, taken: Mapping[int, str]
) -> None:
    """The controllers of an entry, as many as its disks need, and the disks.

    ``taken`` are ports of the first one that are not free, with the keys of who has them.
    """
    on_each = _on_each(made, entry)
    first = max(0, on_each - len(taken))
    groups = [entry.drives[:first]]
    groups += [entry.drives[start : start + on_each] for start in range(first, len(entry.drives), on_each)]
    if entry.addr is not None and len(groups) > 1:
        message = f"is one place, and these drives need {len(groups)} controllers"
        hint = "write each controller as an entry of its own, or leave it out"
        made.wrong(f"{key}.addr", message, hint)
    slot = 0
    kind = made.kind(entry)
    for before, group in enumerate(groups):
        controller = made.next_id(kind.family)
        properties = _options(made, entry, controller, before)
        made.controllers.append(Device(kind.driver, controller, key, properties, keys=_CONTROLLER_KEYS))
        keys = [f"{key}.drives[{slot + place}]" for place in range(len(group))]
        places = _places(made, kind, controller, group, keys, taken if before == 0 else {})
        for drive, drive_key, (device_id, place) in zip(group, keys, places, strict=True):
            name = f"disk-{kind.family}-{number}-{slot}"
            _add_disk(made, kind, drive, name, device_id, drive_key, place, _DISK_KEYS)
            slot += 1
    for bay, ses in enumerate(entry.seses):
        ses_key = f"{key}.seses[{bay}]"
        properties = {"bus": f"{controller}.0", **_ses_properties(ses)}
        made.drives.append(Device("ses", f"{controller}-ses{bay}", ses_key, properties))
        if ses.ses_buffer_file:
            made.inputs.append(InputSpec(Path(ses.ses_buffer_file), f"{ses_key}.ses_buffer_file"))


def _options(made: _Storage, entry: Controller, controller: str, before: int) -> dict[str, Value]:
    """What a controller is given; ``before`` others of its entry come before it."""
    thread = None
    if entry.iothread:
        thread = f"iothread-{controller}"
        made.controllers.append(storage.io_thread(thread))
    return {
        "bus": entry.bus,
        "addr": None if before else entry.addr,
        "use_jbod": entry.use_jbod,
        "sas_address": None if entry.sas_address is None else f"{entry.sas_address + before:#x}",
        "msi": entry.msi,
        "msix": entry.msix,
        "use_msix": entry.use_msix,
        "max_cmds": entry.max_cmds,
        "max_sge": entry.max_sge,
        "iothread": thread,
        "cmb_size_mb": entry.cmb_size,
        **{name: getattr(entry, key) for key, name in NVME_PROPERTIES.items()},
    }


def _places(
    made: _Storage,
    kind: Kind,
    controller: str,
    group: Sequence[Drive],
    keys: Sequence[str],
    taken: Mapping[int, str],
) -> Iterator[tuple[str, dict[str, Value]]]:
    """The id of each drive's device and the properties that say where it is."""
    if kind.family in _ATA_FAMILIES:
        for port in _ports(made, kind, controller, group, keys, taken):
            yield f"{controller}-{port}", _port(kind.family, controller, port)
        return
    for target, lun, drive in _targets(kind, group, keys):
        place: dict[str, Value] = {
            "bus": f"{controller}.0",
            "channel": drive.channel or 0,
            "scsi-id": target,
            "lun": lun,
        }
        yield f"{controller}-{drive.channel or 0}-{target}-{lun}", place


def _port(family: str, controller: str, port: int) -> dict[str, Value]:
    """A port of a SATA or IDE controller, as QEMU names it."""
    if family == _SATA:
        return {"bus": f"{controller}.{port}"}
    channel, unit = divmod(port, _IDE_CHANNELS)
    return {"bus": f"{controller}.{channel}", "unit": unit}


def _ports(
    made: _Storage,
    kind: Kind,
    controller: str,
    group: Sequence[Drive],
    keys: Sequence[str],
    taken: Mapping[int, str],
) -> Iterator[int]:
    """The port of each drive: its own, or else the next one that nobody asks for."""
    owners = dict(taken)
    for drive, key in zip(group, keys, strict=True):
        if drive.slot is None:
            continue
        if drive.slot >= kind.targets:
            made.wrong(f"{key}.slot", f"{controller} has the ports 0 to {kind.targets - 1}", _OTHER_PORT)
        elif drive.slot in owners:
            message = f"port {drive.slot} of {controller} has {owners[drive.slot]}"
            made.wrong(f"{key}.slot", message, _OTHER_PORT)
        else:
            owners[drive.slot] = key
    free = (port for port in count() if port not in owners)
    for drive, key in zip(group, keys, strict=True):
        yield drive.slot if drive.slot is not None and owners.get(drive.slot) == key else next(free)


def _targets(kind: Kind, group: Sequence[Drive], keys: Sequence[str]) -> Iterator[tuple[int, int, Drive]]:
    """Target and unit of each drive: its own, or else the next target that nobody asks for.

    Where there are more drives than targets, further ones are further units.
    """
    taken = {(drive.scsi_id, drive.lun or 0) for drive in group if drive.scsi_id is not None}
    in_use = {target for target, _ in taken}
    targets = range(kind.targets)
    free = ((target, lun) for lun in range(kind.luns) for target in targets)
    for drive, key in zip(group, keys, strict=True):
        if drive.scsi_id is not None:
            yield drive.scsi_id, drive.lun or 0, drive
            continue
        if drive.lun is None:
            places = (place for place in free if place[1] or place[0] not in in_use)
        else:
            # Targets of its own first.
            places = ((target, drive.lun) for target in sorted(targets, key=in_use.__contains__))
        found = next((place for place in places if place not in taken), None)
        if found is None:
            unit = "each unit" if drive.lun is None else f"unit {drive.lun}"
            message, hint = f"{unit} of the {kind.targets} targets has a disk", "give it another controller"
            raise problem(key if drive.lun is None else f"{key}.lun", message, hint)
        taken.add(found)
        in_use.add(found[0])
        yield *found, drive


# --- disks that are their own controllers


def _add_disks_on_their_own(made: _Storage, entry: Controller, number: int, key: str) -> None:
    kind = made.kind(entry)
    family = kind.family
    if entry.addr is not None and len(entry.drives) > 1:
        message = f"is one place, and these are {len(entry.drives)} controllers"
        made.wrong(f"{key}.addr", message, "write each as an entry of its own, or leave it out")
    listed: list[tuple[str, NumberedDisk]] = [
        (f"{key}.drives[{slot}]", drive) for slot, drive in enumerate(entry.drives)
    ]
    files = {"config_file": entry.config_file, "pci-config": entry.pci_config}
    made.inputs += [InputSpec(Path(path), f"{key}.{name}") for name, path in files.items() if path]
    for slot, (place, disk) in enumerate(listed or [(key, entry)]):
        controller = made.next_id(family)
        name = f"disk-{family}-{number}-{slot}"
        options = _options(made, entry, controller, slot)
        if entry.subsystem is not None or "namespaces" in entry.model_fields_set:
            free = made.free_namespaces[entry.subsystem or number]
            _add_namespaces(made, entry, disk, name, controller, place, options, free)
        else:
            keys = _DISK_KEYS if entry.drives else _CONTROLLER_KEYS
            _add_disk(made, kind, disk, name, controller, place, options, keys)


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
    keys = {} if entry.drives else _CONTROLLER_KEYS
    made.controllers.append(Device("nvme", controller, key, options, keys=keys))
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
    kind: Kind,
    disk: NumberedDisk,
    name: str,
    device_id: str,
    key: str,
    place: dict[str, Value],
    keys: Mapping[str, str],
) -> None:
    node = _add_image(made, disk, name, key)
    serial = disk.serial or addresses.drive_serial(made.node_uuid, name)
    properties = {**place, "drive": node, "serial": serial, **_named(disk), **_block_properties(disk)}
    if kind.needs_wwn and properties["wwn"] is None:
        properties["wwn"] = f"{addresses.drive_wwn(made.node_uuid, name):#x}"
    if isinstance(disk, Drive) and disk.page_file:
        made.inputs.append(InputSpec(Path(disk.page_file), f"{key}.page-file"))
    driver = kind.driver
    if not any(kind is KINDS[name] for name in ALONE):
        driver = "ide-hd" if kind.family in _ATA_FAMILIES else "scsi-hd"
    found = Device(driver, device_id, key, properties, BootClass.DISK, disk.bootindex, keys=keys)
    made.drives.append(found)


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
        "page_file": disk.page_file,
        "slot_number": disk.slot_number,
        "atta_wwn": None if disk.atta_wwn is None else f"{disk.atta_wwn:#x}",
        "atta_phy_id": disk.atta_phy_id,
    }


def _ses_properties(ses: Ses) -> dict[str, Value]:
    """Everything that an enclosure says of itself; its keys are the properties."""
    given: dict[str, Value] = ses.model_dump(by_alias=True, exclude_unset=True)
    return {name: f"{value:#x}" if name in _WIDE else value for name, value in given.items()}


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
            backing_format=image.backing_format or "",
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
