"""Keys of disks and their controllers for a QEMU that can more than those of distributions.

Each becomes a property of the device, and is refused on its line where the QEMU in use has no such property.
Devices of their own are in ``special``.
"""

from __future__ import annotations

from typing import Annotated, Final

from infrasim.spec import checks
from infrasim.spec.modelling import AfterValidator, AliasChoices, Field
from infrasim.spec.part import UNUSUAL, AbsolutePath, Becomes, Only, Part
from infrasim.spec.storage_kinds import KINDS, SCSI

_SCSI = Only(*SCSI, known=tuple(KINDS))
_NVME = Only("nvme")
_Id = Annotated[int, Field(ge=0, le=0xFFFF)]
_Text = Annotated[str, AfterValidator(checks.one_line)]

# The keys of an NVMe drive, and the properties that they are.
NVME_PROPERTIES: Final = {
    "nlbaf": "nlbaf",
    "lba_index": "lba_index",
    "oncs": "oncs",
    "vendor_id": "vid",
    "device_id": "did",
    "subsystem_vendor_id": "ssvid",
    "subsystem_device_id": "ssdid",
    "model_number": "model_number",
    "firmware_version": "firmware_version",
    "config_file": "config_file",
    "pci_config": "pci-config",
    "chassis_slot": "slot_number",
}


class UnusualNvme(Part):
    """What an NVMe drive is in such a QEMU."""

    nlbaf: Annotated[int, UNUSUAL, _NVME, Becomes("`nlbaf=`")] | None = Field(
        None, ge=1, le=64, description="Number of formats the drive can have.", examples=[5]
    )
    lba_index: Annotated[int, UNUSUAL, _NVME, Becomes("`lba_index=`")] | None = Field(
        None, ge=0, le=63, description="Which of them it has.", examples=[0]
    )
    oncs: Annotated[_Id, UNUSUAL, _NVME, Becomes("`oncs=`")] | None = Field(
        None, description="Optional commands, as a number of bits.", examples=[0x0C]
    )
    vendor_id: Annotated[_Id, UNUSUAL, _NVME, Becomes("`vid=`")] | None = Field(
        None, description="PCI vendor.", examples=[0x144D]
    )
    device_id: Annotated[_Id, UNUSUAL, _NVME, Becomes("`did=`")] | None = Field(
        None, description="PCI device.", examples=[0xA821]
    )
    subsystem_vendor_id: Annotated[_Id, UNUSUAL, _NVME, Becomes("`ssvid=`")] | None = Field(
        None, description="PCI vendor of the subsystem.", examples=[0x1028]
    )
    subsystem_device_id: Annotated[_Id, UNUSUAL, _NVME, Becomes("`ssdid=`")] | None = Field(
        None, description="PCI device of the subsystem.", examples=[0x1FC1]
    )
    model_number: Annotated[_Text, UNUSUAL, _NVME, Becomes("`model_number=`")] | None = Field(
        None, description="Model.", examples=["PM1725a"]
    )
    firmware_version: Annotated[_Text, UNUSUAL, _NVME, Becomes("`firmware_version=`")] | None = Field(
        None, description="Firmware revision.", examples=["GPNA9B3Q"]
    )
    config_file: Annotated[AbsolutePath, UNUSUAL, _NVME, Becomes("`config_file=`")] | None = Field(
        None, description="File with what the drive says of itself.", examples=["/srv/nvme.conf"]
    )
    pci_config: Annotated[AbsolutePath, UNUSUAL, _NVME, Becomes("`pci-config=`")] | None = Field(
        None,
        alias="pci-config",
        description="File with the PCI configuration space.",
        examples=["/srv/nvme-pci.bin"],
    )
    chassis_slot: Annotated[int, UNUSUAL, _NVME, Becomes("`slot_number=`")] | None = Field(
        None, ge=0, le=24, description="Slot of the chassis that the drive is in.", examples=[3]
    )


class UnusualDrive(Part):
    """What a disk can say of itself and its place in such a QEMU."""

    page_file: Annotated[AbsolutePath, UNUSUAL, Becomes("`page_file=`")] | None = Field(
        None,
        alias="page-file",
        validation_alias=AliasChoices("page-file", "page_file"),
        description="File with the pages that the disk answers INQUIRY and MODE SENSE with.",
        examples=["/srv/pages.bin"],
    )
    slot_number: Annotated[int, UNUSUAL, _SCSI, Becomes("`slot_number=`")] | None = Field(
        None, ge=0, le=255, description="Slot of the enclosure.", examples=[4]
    )
    atta_wwn: Annotated[int, UNUSUAL, _SCSI, Becomes("`atta_wwn=`")] | None = Field(
        None,
        ge=1,
        le=2**64 - 1,
        description="World-wide name of what the disk's port leads to.",
        examples=[0x500605B000000001],
    )
    atta_phy_id: Annotated[int, UNUSUAL, _SCSI, Becomes("`atta_phy_id=`")] | None = Field(
        None, ge=0, le=255, description="Phy there.", examples=[8]
    )
