"""Checks of what a node file says of disks and their controllers, as ``spec.checks`` are for the rest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from infrasim.spec.checks import Conflict, printable, refuse, repeated
from infrasim.spec.document import Path
from infrasim.spec.modelling import written
from infrasim.spec.storage_kinds import (
    ALONE,
    ATA,
    IDE_CONTROLLERS_MOST,
    IDE_OF_ISA,
    KINDS,
    SCSI,
    SECTORS_BEYOND,
    Kind,
    kind_of,
)
from infrasim.units import WrongValue

if TYPE_CHECKING:
    from infrasim.spec.storage import Cdrom, Controller, Image

SERIAL_MAX = 36
VENDOR_MAX = 8
PRODUCT_MAX = 16
MODEL_MAX = 40
VERSION_MAX = 8

_SIZE = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[KMG]?)\Z", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
# Source: QEMU hw/core/qdev-properties-system.c, set_blocksize; docs/interop/qcow2, cluster_bits.
_BLOCK_LEAST, _BLOCK_MOST = 512, 2**21
_QCOW2_TABLE_BYTES = 32 * 2**20
_ATA_SECTOR = 512  # Source: QEMU hw/ide/qdev.c, ide_dev_initfn.
# Source: NVM Express base specification, section "NVMe Qualified Names", less QEMU's own beginning.
_SUBSYSTEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,191}\Z")
_NAMESPACES_MOST = 256
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_WIRING = "disk_array"


def drive_serial(text: str) -> str:
    """A serial number; how long one may be depends on the controller."""
    return printable(text, at_most=SERIAL_MAX)


def drive_model(text: str) -> str:
    """A model name of an ATA disk."""
    return printable(text, at_most=MODEL_MAX)


def drive_version(text: str) -> str:
    """A firmware version; how long one may be depends on the controller."""
    return printable(text, at_most=VERSION_MAX)


def drive_vendor(text: str) -> str:
    """A vendor of a SCSI disk."""
    return printable(text, at_most=VENDOR_MAX)


def drive_product(text: str) -> str:
    """A product name of a SCSI disk."""
    return printable(text, at_most=PRODUCT_MAX)


def image_has_a_disk(entries: Sequence[Controller]) -> None:
    """The first disk begins as ``compute.image``: there is one, and it is made for that."""
    disk: Image | None = None
    for entry in entries[:1]:
        disk = entry if entry.type in ALONE and not entry.drives else next(iter(entry.drives), None)
    if disk is None:
        refuse([Conflict(("image",), "the first controller has no disk to begin as it", "give it one")])
    elif getattr(disk, "namespaces", ()):
        hint = "use 'backing_file' of a namespace"
        refuse([Conflict(("image",), "the first disk is an NVMe drive with namespaces", hint)])
    elif disk.file is not None or disk.backing_file is not None:
        hint = "remove 'image', or the first disk's 'file' and 'backing_file'"
        refuse([Conflict(("image",), "the first disk has an image of its own", hint)])
    elif disk.format != "qcow2":
        hint = "leave its 'format' out"
        refuse([Conflict(("image",), f"the first disk is {disk.format}, which has no overlays", hint)])


def cdroms_differ(drives: Sequence[tuple[Path, Cdrom]], entries: Sequence[Controller]) -> None:
    """No two CD-ROM drives share a port, and none has another's place in the order of boot, or a disk's."""
    found: list[Conflict] = []
    for kind in ("ahci", "ide"):
        ports = [((*place, "slot"), drive.slot) for place, drive in drives if drive.controller == kind]
        found += repeated(ports, "another CD-ROM drive has {value} too", "each drive needs its own")
        most = KINDS[kind].targets - 1
        too_high = [place for place, port in ports if port is not None and port > most]
        found += [Conflict(place, f"{kind} has the ports 0 to {most}") for place in too_high]
    indexes = [((*place, "bootindex"), drive.bootindex) for place, drive in drives]
    found += repeated(indexes, "another CD-ROM drive has {value} too", "each drive needs its own")
    if any(drive.bootindex is not None for _, drive in drives):
        taken = {disk.bootindex for entry in entries for _, disk in disks(entry)} - {None}
        for place, drive in drives:
            if drive.bootindex in taken:
                message = f"a disk has {drive.bootindex} too"
                found.append(Conflict((*place, "bootindex"), message, "each drive needs its own"))
    refuse(found)


def byte_size(given: object) -> object:
    """Bytes of a text such as ``64K``; anything else as it is."""
    if not isinstance(given, str):
        return given
    match = _SIZE.match(given)
    if match is None:
        raise WrongValue(f"{given!r} is not a size", hint="bytes, or with K, M or G; such as 64K")
    return int(match["number"]) * _UNITS[match["unit"].upper()]


def power_of_two(number: int) -> int:
    """1, 2, 4, 8 …"""
    if number & (number - 1):
        raise WrongValue(f"{number} is not a power of two")
    return number


def block_size(size_bytes: int) -> int:
    """A sector size that QEMU's disks can have."""
    if not _BLOCK_LEAST <= size_bytes <= _BLOCK_MOST or size_bytes & (size_bytes - 1):
        raise WrongValue(
            f"{size_bytes} is not a power of two from {_BLOCK_LEAST} to {_BLOCK_MOST}",
            hint="the disks of stock QEMU have no other sectors; 512 and 4096 are usual",
        )
    return size_bytes


def sector_size(size_bytes: int) -> int:
    """A sector size that some QEMU's disks can have."""
    return size_bytes if size_bytes in SECTORS_BEYOND else block_size(size_bytes)


def controller_type(name: str) -> str:
    """A kind of controller, or the name of a device of QEMU's that can be one."""
    if name == _WIRING:
        raise WrongValue(
            "the wiring of a disk array (sas_topo.bin) is for SAS controllers of the reference system's own "
            "QEMU, and infrasim does not write it",
            hint="list the drives on a controller, such as megasas-gen2 or mptsas1068",
        )
    if not _DEVICE.match(name):
        raise WrongValue(f"{name!r} is no name of a device", hint=f"known here: {', '.join(KINDS)}")
    return name


def cluster_size(size_bytes: int) -> int:
    """A cluster size that a qcow2 image can have."""
    if not _BLOCK_LEAST <= size_bytes <= _BLOCK_MOST or size_bytes & (size_bytes - 1):
        raise WrongValue(f"{size_bytes} is not a power of two from 512 to 2M", hint="64K is usual")
    return size_bytes


def subsystem(text: str) -> str:
    """A name that an NVM subsystem's qualified name can end with."""
    if not _SUBSYSTEM.match(text):
        raise WrongValue(
            f"{text!r} cannot be the name of an NVM subsystem", hint="letters, digits, '.', '_', ':' and '-'"
        )
    return text


def namespaces_alike(given: Any, of_each: Collection[str]) -> Any:
    """A controller with a number of namespaces as one with a list of so many; anything else as it is.

    ``of_each`` are the keys beside the number that each of them has; the first is booted from.
    """
    count = given.get("namespaces") if isinstance(given, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _NAMESPACES_MOST:
        return given
    spaces = [{key: value for key, value in given.items() if key in of_each} for _ in range(count)]
    if spaces and "bootindex" in given:
        spaces[0]["bootindex"] = given["bootindex"]
    moved = {*of_each, "bootindex"} if spaces else set()
    return {**{key: value for key, value in given.items() if key not in moved}, "namespaces": spaces}


def no_number(given: object) -> object:
    """Refuse a number of namespaces that there cannot be; anything else as it is."""
    if isinstance(given, int) and not isinstance(given, bool):
        raise WrongValue(f"wanted 0 to {_NAMESPACES_MOST} namespaces, got {given}")
    return given


def image_can_be(image: Image) -> None:
    """What is said of one image fits together."""
    refuse(_image_faults(image))


def _image_faults(image: Image) -> Iterator[Conflict]:
    if image.aio == "native" and image.cache not in ("none", "directsync"):
        message = f"'native' needs cache none or directsync, not {image.cache}"
        yield Conflict(("aio",), message, "set 'cache: none', or use io_uring")
    if image.sector_size in SECTORS_BEYOND and image.format != "raw":
        message = f"{image.sector_size} is only for raw images, not for {image.format}"
        yield Conflict(("sector_size",), message, "say 'format: raw'")
    if image.sector_size is not None:
        for name in ("logical_block_size", "physical_block_size"):
            if getattr(image, name) is not None:
                yield Conflict((name,), "'sector_size' says it already", "keep one of them")
    logical, physical = block_sizes(image)
    if logical is not None and physical is not None and logical > physical:
        message = f"{logical} is more than a sector of the medium has, {physical}"
        yield Conflict(("logical_block_size",), message, "make physical_block_size as large")
    if image.preallocation == "metadata" and image.format != "qcow2":
        yield Conflict(("preallocation",), "'metadata' is of qcow2 images", "use falloc or full")
    if image.backing_file is not None and image.preallocation not in (None, "off", "metadata"):
        message = "what has a backing file cannot be allocated before"
        yield Conflict(("preallocation",), message, "remove one of them")
    if image.file is not None:
        made = {
            "backing_file": "backing_file",
            "cluster_size": "cluster-size",
            "preallocation": "preallocation",
        }
        for name, key in made.items():
            if getattr(image, name) is not None:
                message = "is for an image that infrasim makes, and 'file' names one that exists"
                yield Conflict((key,), message, "remove one of them")
    elif image.cluster_size is not None and image.size > (most := _largest_gib(image.cluster_size)):
        message = (
            f"{image.cluster_size} bytes are too few for {image.size} GiB: such an image has {most} at most"
        )
        yield Conflict(("cluster-size",), message, "use larger clusters; 64K is usual")
    if image.backing_file is None and image.backing_format is not None:
        yield Conflict(("backing_format",), "needs 'backing_file' beside it", "add it, or remove this")


def _largest_gib(cluster_bytes: int) -> int:
    """The largest qcow2 image with clusters of that size, in GiB.

    Each entry of its first table is a cluster of 8-byte entries. Source: QEMU block/qcow2.h,
    QCOW_MAX_L1_SIZE; measured with qemu-img.
    """
    return _QCOW2_TABLE_BYTES // 8 * cluster_bytes * (cluster_bytes // 8) >> 30


def block_sizes(image: Image) -> tuple[int | None, int | None]:
    """Bytes in a sector as the host sees it and on the medium; None where QEMU decides."""
    if image.sector_size is not None:
        return image.sector_size, image.sector_size
    logical, physical = image.logical_block_size, image.physical_block_size
    # QEMU's medium has 512 bytes unless told otherwise, and no less than the host sees.
    return logical, logical if physical is None else physical


def controller_can_be(controller: Controller, disk_keys: Collection[str]) -> None:
    """What is said of one controller and its disks fits together and to its kind.

    ``disk_keys`` are the keys of a disk that stand beside the kind where the controller is the disk.
    """
    kind = kind_of(controller.type)
    refuse(
        (
            *_places(controller, kind),
            *_images_of_their_own(controller, disk_keys),
            *_ata_sectors(controller),
            *_scsi_sectors(controller),
            *(
                fault
                for place, disk in disks(controller)
                for fault in _long_texts(place, disk, controller.type)
            ),
        )
    )


def disks(controller: Controller) -> Iterator[tuple[Path, Image]]:
    """Every disk and namespace that the node file describes, with its place below the controller."""
    if controller.type in ALONE and not controller.drives:
        if not controller.namespaces:
            yield (), controller
        yield from ((("namespaces", number), each) for number, each in enumerate(controller.namespaces))
    yield from ((("drives", number), each) for number, each in enumerate(controller.drives))


def _places(controller: Controller, kind: Kind) -> Iterator[Conflict]:
    most, name = controller.max_drive_per_controller, "max_drive_per_controller"
    if name in controller.model_fields_set and most > kind.targets * kind.luns:
        yield Conflict(
            (name,), f"{most} is more than one {controller.type} has room for, {kind.targets * kind.luns}"
        )
    count = controllers_needed(controller)
    if controller.addr is not None and count > 1:
        message = f"is one place, and these disks need {count} controllers"
        yield Conflict(("addr",), message, "write each controller as an entry of its own, or leave it out")
    if controller.type == "ide" and len(controller.drives) > kind.targets:
        yield Conflict(("drives",), f"an IDE controller has room for {kind.targets} disks", "use ahci")
    size = drives_on_each(controller)
    taken: dict[tuple[int, int, int], int] = {}
    for number, drive in enumerate(controller.drives):
        place: Path = ("drives", number)
        if drive.slot is not None and drive.slot >= kind.targets:
            message = f"{controller.type} has the ports 0 to {kind.targets - 1}, not {drive.slot}"
            yield Conflict((*place, "slot"), message)
        if drive.scsi_id is not None and drive.scsi_id >= kind.targets:
            message = f"{controller.type} has the targets 0 to {kind.targets - 1}, not {drive.scsi_id}"
            yield Conflict((*place, "scsi-id"), message)
        if drive.lun is not None and drive.lun >= kind.luns:
            message = f"a target of {controller.type} has the units 0 to {kind.luns - 1}, not {drive.lun}"
            yield Conflict((*place, "lun"), message)
        if drive.scsi_id is not None:
            key = number // size, drive.scsi_id, drive.lun or 0
            if key in taken:
                message = f"target {drive.scsi_id} has unit {drive.lun or 0} already, in drives[{taken[key]}]"
                yield Conflict((*place, "scsi-id"), message, "give it another 'scsi-id' or 'lun'")
            taken.setdefault(key, number)


def drives_on_each(controller: Controller) -> int:
    """How many disks one controller takes before the next one is begun."""
    if controller.type in ALONE:
        return 1
    kind = kind_of(controller.type)
    return min(controller.max_drive_per_controller, kind.targets * kind.luns)


def controllers_needed(controller: Controller) -> int:
    """How many controllers an entry becomes."""
    return max(1, -(-len(controller.drives) // drives_on_each(controller)))


def _images_of_their_own(controller: Controller, disk_keys: Collection[str]) -> Iterator[Conflict]:
    """Keys of a disk beside a list of disks speak of none of them."""
    named = "drives" if controller.drives else "namespaces"
    if not getattr(controller, named) or controller.type not in ALONE:
        return
    # A drive with namespaces still has a serial number.
    beside = {*disk_keys, "namespaces"} if named == "drives" else {*disk_keys} - {"serial"}
    for name, field in type(controller).model_fields.items():
        if name in beside & controller.model_fields_set:
            message = f"each of {named!r} has its own"
            yield Conflict((written(name, field),), message, f"move it there, or remove {named!r}")


def _ata_sectors(controller: Controller) -> Iterator[Conflict]:
    for place, disk in disks(controller) if controller.type in ATA else ():
        for name in ("sector_size", "logical_block_size"):
            if getattr(disk, name) not in (None, _ATA_SECTOR):
                message = f"a disk on {controller.type} shows sectors of {_ATA_SECTOR} bytes in QEMU"
                hint = "use physical_block_size for what is on the medium, or another controller"
                yield Conflict((*place, name), message, hint)


def _scsi_sectors(controller: Controller) -> Iterator[Conflict]:
    for place, disk in disks(controller) if controller.type in KINDS.keys() - {*ATA, *SCSI} else ():
        if disk.sector_size in SECTORS_BEYOND:
            message = f"sectors of {disk.sector_size} bytes are of SCSI disks"
            yield Conflict((*place, "sector_size"), message, "use another size, or a SCSI controller")


def _long_texts(place: Path, disk: Image, kind: str) -> Iterator[Conflict]:
    for name, at_most in kind_of(kind).texts.items():
        text = getattr(disk, name, None)
        if text is not None and len(text) > at_most:
            message = f"is {len(text)} characters long, a disk on {kind} has at most {at_most}"
            yield Conflict((*place, name), message, "make it shorter")


def controllers_differ(controllers: Sequence[Controller]) -> Sequence[Controller]:
    """No two disks share an image, a place in the order of boot or a name, and there is one IDE at most."""
    found: list[Conflict] = []
    everything = [
        ((number, *place), disk) for number, each in enumerate(controllers) for place, disk in disks(each)
    ]
    for key in ("file", "bootindex", "serial", "wwn", "eui64", "uuid"):
        values = [((*place, key), getattr(disk, key, None)) for place, disk in everything]
        if key == "file":
            values = [((*place, key), disk.file) for place, disk in everything if not disk.share_rw]
        if key == "serial":
            # Controllers of one NVM subsystem are one drive.
            values = [entry for entry in values if controllers[int(entry[0][0])].subsystem is None]
        found += repeated(values, "another drive has {value} too", "each drive needs its own")
    spaces = [
        ((number, "namespaces", place, "nsid"), (each.subsystem or number, space.nsid))
        for number, each in enumerate(controllers)
        for place, space in enumerate(each.namespaces)
        if space.nsid is not None
    ]
    found += repeated(spaces, "another namespace has this number too", "each namespace needs its own")
    ides = [number for number, each in enumerate(controllers) if each.type in IDE_OF_ISA]
    for number in ides[IDE_CONTROLLERS_MOST:]:
        found.append(Conflict((number, "type"), "a machine has one IDE controller", "use ahci for this one"))
    refuse(found)
    return controllers
