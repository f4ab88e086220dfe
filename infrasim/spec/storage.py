"""What a node file says of disks, their controllers and the CD-ROM drive.

A disk on its own (NVMe, virtio-blk) is its controller and has the keys of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from infrasim.spec import storage_checks, words
from infrasim.spec.modelling import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator
from infrasim.spec.part import (
    UNUSUAL,
    AbsolutePath,
    Becomes,
    Known,
    Only,
    Part,
    PciAddress,
    QemuId,
    Rare,
    Switch,
    Uuid,
    conditions,
    written,
)
from infrasim.spec.storage_kinds import ALONE, ATA, KINDS, SAS_BEYOND, SCSI
from infrasim.spec.unusual import UnusualDrive, UnusualNvme

if TYPE_CHECKING:
    from infrasim.spec.special import Ses
else:
    Ses = Any


def _only(*kinds: str) -> Only:
    """For controllers of these kinds, and for those of which only the QEMU in use knows what they are."""
    return Only(*kinds, known=tuple(KINDS))


_ALONE = Only(*ALONE)
_ATA = _only(*ATA)
_SCSI = _only(*SCSI)
_DISKS = _only(*ATA, *SCSI)
_NVME = Only("nvme")
_MEGASAS = _only("megasas", "megasas-gen2")
_QCOW2 = Only("qcow2", of="format")

Wwn: TypeAlias = Annotated[int, Field(ge=1, le=2**64 - 1)]
ByteSize: TypeAlias = Annotated[int, BeforeValidator(storage_checks.byte_size)]
BlockSize: TypeAlias = Annotated[ByteSize, AfterValidator(storage_checks.block_size)]
SectorSize: TypeAlias = Annotated[ByteSize, AfterValidator(storage_checks.sector_size)]
Format: TypeAlias = Literal["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "qed"]
Discard: TypeAlias = Literal["ignore", "unmap", "off", "on"]
SwitchOrAuto: TypeAlias = Annotated[Literal["on", "off", "auto"], BeforeValidator(words.on_or_off)]


class Image(Part):
    """What every disk has: an image, how QEMU reads it, and blocks."""

    size: Annotated[int, Becomes("`qemu-img create`")] = Field(
        8,
        ge=1,
        le=65536,
        description="Size in GiB of an image that infrasim makes; an image that exists keeps its own.",
        examples=[20],
    )
    format: Annotated[Format, Becomes("`-blockdev driver=`")] = Field(
        "qcow2", description="Format of the image.", examples=["raw"]
    )
    file: Annotated[AbsolutePath, Becomes("`-blockdev file.filename=`")] | None = Field(
        None,
        description="An image or block device that exists already. Left out: one is made in the node's "
        "workspace, and removed by `infrasim node destroy`.",
        examples=["/var/lib/images/debian.qcow2"],
    )
    backing_file: Annotated[AbsolutePath, _QCOW2, Becomes("`qemu-img create -b`")] | None = Field(
        None,
        description="Image that the one infrasim makes begins as: it is only read, and what is written "
        "goes to the new image. Without `size` the new one is as large.",
        examples=["/var/lib/images/debian.qcow2"],
    )
    backing_format: (
        Annotated[
            Format,
            _QCOW2,
            Becomes("`qemu-img create -F`"),
        ]
        | None
    ) = Field(
        None,
        description="Format of `backing_file`. Left out: that of the file when the image is made.",
        examples=["raw"],
    )
    cluster_size: (
        Annotated[
            ByteSize,
            AfterValidator(storage_checks.cluster_size),
            _QCOW2,
            Becomes("`qemu-img create -o cluster_size=`"),
        ]
        | None
    ) = Field(
        None,
        alias="cluster-size",
        description="Cluster size of an image that infrasim makes, a power of two from 512 to 2M.",
        examples=["128K"],
    )
    preallocation: (
        Annotated[
            Literal["off", "metadata", "falloc", "full"],
            Only("qcow2", "raw", of="format"),
            Becomes("`qemu-img create -o preallocation=`"),
        ]
        | None
    ) = Field(
        None,
        description="What is set aside for an image that infrasim makes; `metadata` is of qcow2. Left out: "
        "nothing, the file grows.",
        examples=["metadata"],
    )
    cache: Annotated[
        Literal["writeback", "none", "writethrough", "directsync", "unsafe"], Becomes("`-blockdev cache.…`")
    ] = Field("writeback", description="How QEMU caches the image on this machine.", examples=["none"])
    aio: Annotated[Literal["threads", "native", "io_uring"], Becomes("`-blockdev file.aio=`")] | None = Field(
        None,
        description="How QEMU reads and writes; `native` needs a `cache` of `none` or `directsync`. "
        "Left out: threads.",
        examples=["io_uring"],
    )
    discard: Annotated[Discard, Becomes("`-blockdev discard=`")] | None = Field(
        None,
        description="What becomes of blocks that the host discards: `unmap` or `on` gives their space back, "
        "`ignore` or `off` keeps it. Left out: kept.",
        examples=["unmap"],
    )
    l2_cache_size: (
        Annotated[ByteSize, Field(ge=1, le=2**40), _QCOW2, Becomes("`-blockdev l2-cache-size=`")] | None
    ) = Field(
        None,
        alias="l2-cache-size",
        description="Memory for the image's table of clusters, in bytes or with K, M or G.",
        examples=["4M"],
    )
    refcount_cache_size: (
        Annotated[ByteSize, Field(ge=1, le=2**40), _QCOW2, Becomes("`-blockdev refcount-cache-size=`")] | None
    ) = Field(
        None,
        alias="refcount-cache-size",
        description="Memory for the image's reference counts, in bytes or with K, M or G.",
        examples=["1M"],
    )
    share_rw: Annotated[Switch, Becomes("`share-rw=on`")] = Field(
        False,
        alias="share-rw",
        description="Whether others may write the image too, such as another node: for cluster "
        "file systems. Needs `format: raw` where they run at the same time.",
        examples=[True],
    )
    sector_size: Annotated[SectorSize, Becomes("`logical_block_size=,physical_block_size=`")] | None = Field(
        None,
        description="Bytes in a sector, for the host and on the medium: a power of two from 512 to 2M. Disks "
        "on ahci and ide have 512. 520 and 4160 are of no QEMU of a distribution, and for raw images.",
        examples=[512],
    )
    logical_block_size: Annotated[BlockSize, Becomes("`logical_block_size=`")] | None = Field(
        None, description="Bytes in a sector as the host sees it, a power of two.", examples=[512]
    )
    physical_block_size: Annotated[BlockSize, Becomes("`physical_block_size=`")] | None = Field(
        None, description="Bytes in a sector on the medium, a power of two.", examples=[4096]
    )
    bootindex: Annotated[int, Becomes("`bootindex=`")] | None = Field(
        None,
        ge=0,
        le=65535,
        description="Place in the order of boot, smallest first and before all without one, of which "
        "`boot_order` decides.",
        examples=[1],
    )

    @model_validator(mode="after")
    def _image_can_be(self) -> None:
        storage_checks.image_can_be(self)


class NumberedDisk(Image):
    """A disk with a serial number."""

    serial: Annotated[str, AfterValidator(storage_checks.drive_serial), Becomes("`serial=`")] | None = Field(
        None,
        description="Serial number: at most 20 characters, of a SCSI disk 36. Left out: made from the node.",
        examples=["Z1X4AB01"],
    )


class Drive(UnusualDrive, NumberedDisk):
    """A disk."""

    slot: Annotated[int, _ATA, Becomes("`bus=`")] | None = Field(
        None,
        ge=0,
        le=255,
        description="Port of the controller that the disk is on, from 0. Left out: the next free one. An "
        "ahci has 6, an ide 4; on an ahci CD-ROMs have the first ones, unless they say another.",
        examples=[5],
    )

    vendor: (
        Annotated[str, AfterValidator(storage_checks.drive_vendor), _SCSI, Becomes("`vendor=`")] | None
    ) = Field(None, description="Vendor, at most 8 characters.", examples=["SEAGATE"])
    product: (
        Annotated[str, AfterValidator(storage_checks.drive_product), _SCSI, Becomes("`product=`")] | None
    ) = Field(None, description="Product, at most 16 characters.", examples=["ST600MM0006"])
    model: Annotated[str, AfterValidator(storage_checks.drive_model), _ATA, Becomes("`model=`")] | None = (
        Field(None, description="Model name, at most 40 characters.", examples=["INTEL SSDSC2BB480G6"])
    )
    version: (
        Annotated[str, AfterValidator(storage_checks.drive_version), _DISKS, Becomes("`ver=`")] | None
    ) = Field(
        None,
        description="Firmware version, at most 8 characters; the host sees 4 of a SCSI disk's.",
        examples=["B1.1"],
    )
    wwn: Annotated[Wwn, _DISKS, Becomes("`wwn=`")] | None = Field(
        None,
        description="World-wide name, a 64-bit number. Left out: none, but on an mptsas1068, where it is the "
        "SAS address of the disk, one that is made from the node.",
        examples=[0x5000C50015EA71AC],
    )
    rotation_rate: Annotated[int, _DISKS, Becomes("`rotation_rate=`")] | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("rotation_rate", "rotation"),
        description="Turns per minute; 1 is a solid-state disk, 0 says nothing.",
        examples=[7200],
    )
    port_index: Annotated[int, _SCSI, Becomes("`port_index=`")] | None = Field(
        None, ge=0, le=65535, description="Port of the disk that is connected, for SAS.", examples=[1]
    )
    port_wwn: Annotated[Wwn, _SCSI, Becomes("`port_wwn=`")] | None = Field(
        None, description="World-wide name of that port.", examples=[0x5000C50015EA71AD]
    )
    channel: Annotated[int, _SCSI, Becomes("`channel=`")] | None = Field(
        None, ge=0, le=0, description="Channel; the controllers of stock QEMU have one, 0.", examples=[0]
    )
    scsi_id: Annotated[int, _SCSI, Becomes("`scsi-id=`")] | None = Field(
        None,
        ge=0,
        le=255,
        alias="scsi-id",
        description="Target on the controller, from 0. Left out: the next free one. "
        "An mptsas1068 has 8, an lsi53c895a 7, a virtio-scsi 256, the others 64.",
        examples=[3],
    )
    lun: Annotated[int, _SCSI, Becomes("`lun=`")] | None = Field(
        None,
        ge=0,
        le=16383,
        description="Unit at its target. A megasas has 256, a virtio-scsi 16384, an mptsas1068 2, the others "
        "have 0 alone.",
        examples=[0],
    )


class Namespace(Image):
    """A namespace of an NVMe drive, each with an image of its own."""

    nsid: Annotated[int, Becomes("`-device nvme-ns,nsid=`")] | None = Field(
        None, ge=1, le=256, description="Number of the namespace. Left out: the next free one.", examples=[1]
    )
    uuid: Annotated[Uuid, Becomes("`uuid=`")] | None = Field(
        None,
        description="UUID of the namespace. Left out: made from the node.",
        examples=["3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e22"],
    )
    eui64: Annotated[Wwn, Becomes("`eui64=`")] | None = Field(
        None, description="IEEE extended unique identifier, a 64-bit number.", examples=[0x5254000000000001]
    )
    shared: Annotated[Switch, Becomes("`shared=`")] | None = Field(
        None,
        description="Whether every controller of the subsystem sees it. Left out: yes.",
        examples=[False],
    )


class ControllerHead(Part):
    """What is a controller's own."""

    type: Annotated[
        str, Known(*KINDS), AfterValidator(storage_checks.controller_type), Becomes("`-device`")
    ] = Field(
        "ahci",
        description="Kind of controller. `nvme` and `virtio-blk` are disks themselves: what is said of a "
        "disk stands beside `type`, or `drives` lists several. Any other SCSI or IDE controller of the QEMU "
        "in use can be given by its name there (`qemu-system-x86_64 -device help`), such as `am53c974`; "
        f"{', '.join(f'`{kind}`' for kind in SAS_BEYOND)} are of no QEMU of a distribution.",
        examples=["megasas"],
    )
    max_drive_per_controller: Annotated[int, _DISKS, Becomes("how many controllers")] = Field(
        6,
        ge=1,
        le=256,
        description="Disks on one controller; further ones go to further controllers of the same kind. "
        "An ahci has 6 ports, an ide 4, an lsi53c895a 7 targets, an mptsas1068 8, a virtio-scsi 256, the "
        "others 64.",
        examples=[4],
    )
    bus: Annotated[QemuId, Becomes("`bus=`")] | None = Field(
        None, description="PCI bus the controller sits on. Left out: the root bus.", examples=["pcie.0"]
    )
    addr: Annotated[PciAddress, Becomes("`addr=`")] | None = Field(
        None,
        description="Slot on the bus in hexadecimal, with a function behind a point. Left out: "
        "the next free one.",
        examples=["05.0"],
    )
    use_jbod: Annotated[Switch, _MEGASAS, Becomes("`use_jbod=`")] | None = Field(
        None, description="Whether disks are shown as they are, not as volumes.", examples=[True]
    )
    sas_address: (
        Annotated[
            Wwn,
            _only("megasas", "megasas-gen2", "mptsas1068", *SAS_BEYOND),
            Becomes("`sas_address=`"),
        ]
        | None
    ) = Field(
        None,
        description="SAS address; further controllers have the next numbers.",
        examples=[0x5000C50012345678],
    )
    msi: Annotated[SwitchOrAuto, _only("megasas", "megasas-gen2", "mptsas1068"), Becomes("`msi=`")] | None = (
        Field(
            None,
            validation_alias=AliasChoices("msi", "use_msi"),
            description="Message signalled interrupts.",
            examples=["on"],
        )
    )
    msix: Annotated[SwitchOrAuto, _MEGASAS, Becomes("`msix=`")] | None = Field(
        None, description="Extended message signalled interrupts.", examples=["off"]
    )
    use_msix: Annotated[Switch, UNUSUAL, _only("lsisas3008", "lsisas2308"), Becomes("`use_msix=`")] | None = (
        Field(None, description="Extended message signalled interrupts.", examples=[True])
    )
    max_cmds: Annotated[int, _MEGASAS, Becomes("`max_cmds=`")] | None = Field(
        None, ge=1, le=1024, description="Commands the controller takes at a time.", examples=[1000]
    )
    max_sge: Annotated[int, _MEGASAS, Becomes("`max_sge=`")] | None = Field(
        None,
        ge=1,
        le=128,
        validation_alias=AliasChoices("max_sge", "max-sge"),
        description="Pieces of memory in one command.",
        examples=[80],
    )
    iothread: Annotated[
        Switch,
        _only("virtio-scsi", "virtio-blk", "lsisas3008", "lsisas2308"),
        Becomes("`-object iothread`"),
    ] = Field(
        False, description="Whether each controller has a thread of QEMU's of its own.", examples=[True]
    )
    cmb_size: (
        Annotated[int, AfterValidator(storage_checks.power_of_two), _NVME, Becomes("`cmb_size_mb=`")] | None
    ) = Field(
        None,
        ge=1,
        le=65536,
        validation_alias=AliasChoices("cmb_size", "cmb_size_mb"),
        description="Controller memory buffer in MiB, a power of two, of this machine's memory. "
        "Left out: none.",
        examples=[256],
    )
    subsystem: (
        Annotated[str, AfterValidator(storage_checks.subsystem), _NVME, Becomes("`-device nvme-subsys,nqn=`")]
        | None
    ) = Field(
        None,
        description="Name of the NVM subsystem; drives with the same one are controllers of one subsystem "
        "and share its namespaces.",
        examples=["subsys0"],
    )
    namespaces: Annotated[tuple[Namespace, ...], BeforeValidator(storage_checks.no_number), _NVME] = Field(
        (),
        description="Namespaces of the drive; `[]` for none. Their number alone makes so many, each of the "
        "`size` and so on beside it. Left out: one, of which `size`, `file` and so on speak.",
    )
    drives: tuple[Drive, ...] = Field((), description="The disks.")
    seses: Annotated[
        tuple[Annotated[Ses, Rare("Ses", "infrasim.spec.special")], ...],
        UNUSUAL,
        _only(*SAS_BEYOND),
        Becomes("`-device ses`"),
    ] = Field((), description="Enclosures, on the last controller of the entry.")


# What namespaces that are only counted have in common.
_OF_EACH_IMAGE = frozenset(
    written(name, field) for name, field in Image.model_fields.items() if name not in ("file", "bootindex")
)


def _only_on_its_own(model: type[Controller]) -> type[Controller]:
    """Say of a disk's keys that they are for kinds where the controller is the disk."""
    for name in NumberedDisk.model_fields:
        model.model_fields[name] = model.model_fields[name].with_note(_ALONE)
    return model


@_only_on_its_own
class Controller(UnusualNvme, NumberedDisk, ControllerHead):
    """A controller and its disks; where a controller is a disk, it has a disk's keys too."""

    @model_validator(mode="before")
    @classmethod
    def _namespaces_alike(cls, given: Any) -> Any:
        return storage_checks.namespaces_alike(given, _OF_EACH_IMAGE)

    def model_dump(self, *, by_alias: bool = False, exclude_unset: bool = False) -> dict[str, Any]:
        """Without defaults of keys that this kind does not have: what is shown can be read again."""
        values = super().model_dump(by_alias=by_alias, exclude_unset=exclude_unset)
        is_alone = self.type in ALONE and not (self.drives or self.namespaces)
        for name, only in conditions(Controller):
            applies = is_alone if only is _ALONE else only.allows(getattr(self, only.of))
            if not applies and name not in self.model_fields_set:
                values.pop(name, None)
                values.pop(written(name, Controller.model_fields[name]), None)
        return values

    @model_validator(mode="after")
    def _controller_can_be(self) -> None:
        storage_checks.controller_can_be(self, NumberedDisk.model_fields)


def one_disk() -> tuple[Controller, ...]:
    """What a node has whose file says nothing of storage."""
    return (Controller(drives=(Drive(),)),)


class Cdrom(Part):
    """A CD-ROM drive; the path alone (``cdrom: /path/to.iso``) says the same."""

    file: Annotated[AbsolutePath, Becomes("`-device ide-cd`")] = Field(
        description="ISO image in the drive.", examples=["/var/lib/images/debian.iso"]
    )
    controller: Annotated[
        Literal["ahci", "ide", "virtio-scsi", "usb"], Becomes("`-device ide-cd` or `-device scsi-cd`")
    ] = Field(
        "ahci",
        description="What the drive is on: the first `ahci` or `ide` controller of the file, or one for "
        "CD-ROMs where it has none; a `virtio-scsi` or `usb` controller for CD-ROMs.",
        examples=["ahci"],
    )
    slot: Annotated[int, Only("ahci", "ide", of="controller"), Becomes("`bus=`")] | None = Field(
        None,
        ge=0,
        le=5,
        description="Port of that controller, from 0. Left out: the next free one, before the disks' ones.",
        examples=[4],
    )
    bootindex: Annotated[int, Becomes("`bootindex=`")] | None = Field(
        None,
        ge=0,
        le=65535,
        description="Place in the order of boot, smallest first; `boot_order` decides without one.",
        examples=[2],
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, given: Any) -> Any:
        return {"file": given} if isinstance(given, str) else given
