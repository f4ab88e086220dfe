"""The kinds of disk controller: what each is in QEMU, and what its disks can say of themselves."""

from __future__ import annotations

from typing import Final

from infrasim.frozen import Frozen

ATA: Final = ("ahci", "ide")
# SAS controllers that only a QEMU has which can more than those of distributions.
SAS_BEYOND: Final = ("lsisas3008", "lsisas2308", "pmc")
SCSI: Final = (
    *("megasas", "megasas-gen2", "mptsas1068", "lsi53c895a", "pvscsi", "virtio-scsi"),
    *SAS_BEYOND,
)
# Kinds where a controller is a disk.
ALONE: Final = ("nvme", "virtio-blk")


class Kind(Frozen):
    """One kind. ``family`` begins the names of its controllers, disks and images; ``driver`` is QEMU's name.

    ``targets`` are the places on one controller, ``luns`` the units at each. ``texts`` are the longest texts
    that its disks can be given, in characters. ``needs_wwn`` ones show no disk without a world-wide name.
    """

    family: str
    driver: str
    texts: dict[str, int]
    targets: int = 1
    luns: int = 1
    needs_wwn: bool = False


# Source: ATA8-ACS IDENTIFY DEVICE words 10-19, 23-26, 27-46.
_ATA_TEXTS = {"serial": 20, "version": 8, "model": 40}
# Source: SPC-4 standard INQUIRY data, and QEMU hw/scsi/scsi-disk.c for the serial number (page 80h).
_SCSI_TEXTS = {"serial": 36, "vendor": 8, "product": 16}
# Of a longer version the host sees the beginning, as with the reference system, whose files have such.
SCSI_VERSION_SEEN = 4

# How many targets and units a controller takes is what QEMU 7.2 says of its bus (measured), less what cannot
# be used: target 7 of a 53C895A is the controller itself, and an mptsas1068 has eight ports.
KINDS = {
    "ahci": Kind("sata", "ich9-ahci", _ATA_TEXTS, targets=6),
    # Two channels with two disks each; its ports are those of ISA times, so there is one per machine.
    "ide": Kind("ide", "piix3-ide", _ATA_TEXTS, targets=4),
    "megasas": Kind("scsi", "megasas", _SCSI_TEXTS, targets=64, luns=256),
    "megasas-gen2": Kind("scsi", "megasas-gen2", _SCSI_TEXTS, targets=64, luns=256),
    # Linux attaches no device whose SAS address, which is the disk's world-wide name, is 0 (measured).
    "mptsas1068": Kind("scsi", "mptsas1068", _SCSI_TEXTS, targets=8, luns=2, needs_wwn=True),
    "lsi53c895a": Kind("scsi", "lsi53c895a", _SCSI_TEXTS, targets=7),
    "pvscsi": Kind("scsi", "pvscsi", _SCSI_TEXTS, targets=64),
    "virtio-scsi": Kind("scsi", "virtio-scsi-pci", _SCSI_TEXTS, targets=256, luns=16384),
    # Nobody here has one to ask: such a QEMU says itself when a target is too high.
    **{name: Kind("scsi", name, _SCSI_TEXTS, targets=256) for name in SAS_BEYOND},
    # Source: virtio 1.2 section 5.2.6.1, VIRTIO_BLK_T_GET_ID.
    "virtio-blk": Kind("virtio", "virtio-blk-pci", {"serial": 20}),
    # Source: NVM Express base specification, Identify Controller data structure, SN.
    "nvme": Kind("nvme", "nvme", {"serial": 20}),
}
# Controllers with the same ports, of ISA times: QEMU takes several, and the host finds one of them.
IDE_OF_ISA: Final = ("ide", "piix3-ide", "piix4-ide", "isa-ide")
IDE_CONTROLLERS_MOST = 1
# Sectors with room for checksums behind the data, which only such a QEMU has.
SECTORS_BEYOND = (520, 4160)


def kind_of(name: str) -> Kind:
    """A kind by the name it has in a node file, which may be that of any controller of a QEMU's.

    Of one that is not known here, only the QEMU in use knows what its disks are; until it is asked, all is
    possible that a SCSI controller can have.
    """
    return KINDS.get(name) or Kind("scsi", name, {}, targets=256)
