"""The fully qualified device descriptors of a server's parts. Source: public documents of iDRAC 7 to 9.

Network cards are those of the integrated card, in their order. Disks of a controller with SCSI targets are in
bays, those of other controllers plugged in directly.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from infrasim.bmc.hardware import Card, Controller, Drive, Hardware
from infrasim.frozen import Frozen
from infrasim.personality.smbios import MemoryDevice, Processor, Structure

S = TypeVar("S", bound=Structure)

_DISK = "disk"
_SOLID_STATE = 1


class Kind(Frozen):
    """A kind of controller: the first part of its name, what its drives speak, what it is."""

    name: str
    protocol: str
    product: str
    vendor_id: int = 0
    device_id: int = 0


# By QEMU's names. Ids as the host sees them; those of virtio depend on the bus. Source: measured, QEMU 7.2,
# `info pci`; names: pci.ids.
_KINDS = {
    "ich9-ahci": Kind("AHCI.Embedded", "SATA", "Intel ICH9 AHCI Controller", 0x8086, 0x2922),
    "piix3-ide": Kind("IDE.Embedded", "IDE", "Intel PIIX3 IDE Controller", 0x8086, 0x7010),
    "megasas": Kind("RAID.Integrated", "SAS", "LSI MegaRAID SAS 1078", 0x1000, 0x0060),
    "megasas-gen2": Kind("RAID.Integrated", "SAS", "LSI MegaRAID SAS 2108", 0x1000, 0x0079),
    "mptsas1068": Kind("NonRAID.Integrated", "SAS", "LSI SAS1068", 0x1000, 0x0054),
    "lsi53c895a": Kind("NonRAID.Integrated", "SCSI", "LSI 53C895A", 0x1000, 0x0012),
    "pvscsi": Kind("NonRAID.Integrated", "SCSI", "VMware PVSCSI", 0x15AD, 0x07C0),
    "virtio-scsi-pci": Kind("NonRAID.Integrated", "SCSI", "Virtio SCSI"),
    "virtio-blk-pci": Kind("NonRAID.Integrated", "VIRTIO", "Virtio block device"),
    "nvme": Kind("PCIeExtender.Slot", "PCIe", "QEMU NVM Express Controller", 0x1B36, 0x0010),
}
_OTHER = Kind("NonRAID.Integrated", "SCSI", "")

# Product, vendor id, device id. Source: as above.
_CARDS = {
    "e1000": ("Intel 82540EM Gigabit Ethernet Controller", 0x8086, 0x100E),
    "e1000e": ("Intel 82574L Gigabit Network Connection", 0x8086, 0x10D3),
    "igb": ("Intel 82576 Gigabit Network Connection", 0x8086, 0x10C9),
    "vmxnet3": ("VMware VMXNET3 Ethernet Controller", 0x15AD, 0x07B0),
    "virtio-net-pci": ("Virtio network device", 0, 0),
    "rtl8139": ("Realtek RTL-8139 Fast Ethernet", 0x10EC, 0x8139),
    "pcnet": ("AMD 79C970 PCnet32 LANCE", 0x1022, 0x2000),
}


class Port(Frozen):
    """A port of the integrated network card; ids are 0 if not known."""

    fqdd: str
    number: int
    card: Card
    product: str
    vendor_id: int
    device_id: int


class Disk(Frozen):
    """A disk: ``bay`` is its place, ``owner`` the controller it is on."""

    fqdd: str
    bay: int
    drive: Drive
    owner: Adapter

    @property
    def media(self) -> str:
        """What it is made of: a rotation rate of 1 is none. Source: SBC-4, medium rotation rate."""
        is_flash = self.drive.rotation_rate == _SOLID_STATE or self.owner.kind.protocol == "PCIe"
        return "SSD" if is_flash else "HDD"

    @property
    def maker(self) -> str:
        """Who made it, as the host sees it."""
        return self.drive.vendor or "QEMU"

    @property
    def model(self) -> str:
        """What it is called, as the host sees it. Source: QEMU 7.2, hw/ide, hw/scsi and hw/nvme."""
        return self.drive.product or (
            "QEMU NVMe Ctrl" if self.owner.kind.protocol == "PCIe" else "QEMU HARDDISK"
        )


class Adapter(Frozen):
    """A disk controller under its name."""

    fqdd: str
    kind: Kind
    controller: Controller


def ports(hardware: Hardware) -> tuple[Port, ...]:
    """Every network card of the host."""
    return tuple(
        Port(f"NIC.Integrated.1-{number}-1", number, card, *_CARDS.get(card.device, (card.device, 0, 0)))
        for number, card in enumerate(hardware.cards, 1)
    )


def adapters(hardware: Hardware) -> tuple[Adapter, ...]:
    """Every controller that has disks or could have them."""
    numbers: Counter[str] = Counter()
    found = []
    for controller in hardware.controllers:
        if controller.drives and not any(drive.kind == _DISK for drive in controller.drives):
            continue
        kind = _KINDS.get(controller.device, _OTHER)
        numbers[kind.name] += 1
        number = numbers[kind.name]
        tail = f"{number}" if kind.protocol == "PCIe" else f"{number}-1"
        found.append(Adapter(f"{kind.name}.{tail}", kind, controller))
    return tuple(found)


def disks(hardware: Hardware) -> tuple[Disk, ...]:
    """Every disk, controller by controller."""
    return tuple(disk for adapter in adapters(hardware) for disk in _disks_of(adapter))


def _disks_of(adapter: Adapter) -> tuple[Disk, ...]:
    drives = [drive for drive in adapter.controller.drives if drive.kind == _DISK]
    bays = [_target(drive) for drive in drives]
    if len(set(bays)) < len(bays):
        # Several units of one target.
        bays = list(range(len(drives)))
    return tuple(
        Disk(_disk_name(adapter, bay), bay, drive, adapter) for bay, drive in zip(bays, drives, strict=True)
    )


def _target(drive: Drive) -> int:
    """The SCSI target of a drive, or the port that it is on."""
    steps = [int(step) for step in drive.place.split(":") if step.isdigit()]
    return steps[-2] if len(steps) > 2 else next(iter(steps), 0)


def _disk_name(adapter: Adapter, bay: int) -> str:
    if adapter.kind.name in ("AHCI.Embedded", "IDE.Embedded"):
        return f"Disk.Direct.{bay}-{bay}:{adapter.fqdd}"
    return f"Disk.Bay.{bay}:Enclosure.Internal.0-1:{adapter.fqdd}"


def of_kind(structures: tuple[Structure, ...], kind: type[S]) -> tuple[S, ...]:
    """The SMBIOS structures of one kind, in their order."""
    return tuple(each for each in structures if isinstance(each, kind))


def processors(structures: tuple[Structure, ...]) -> tuple[Processor, ...]:
    """Those that are in their sockets."""
    return tuple(each for each in of_kind(structures, Processor) if each.is_populated)


def has_threads(processor: Processor) -> bool:
    """Whether its cores have several threads each."""
    return processor.thread_count > processor.core_count > 0


def modules(structures: tuple[Structure, ...]) -> tuple[MemoryDevice, ...]:
    """Memory modules that are in their sockets."""
    return tuple(each for each in of_kind(structures, MemoryDevice) if each.size_mib)


def text(value: object) -> str:
    """A text of SMBIOS; the number of a string that is not there is none."""
    return value.strip() if isinstance(value, str) else ""
