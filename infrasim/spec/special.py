"""Devices for a QEMU that has more than those of distributions; refused where the one in use lacks them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from infrasim.spec import checks, storage_checks
from infrasim.spec.modelling import AfterValidator, Field
from infrasim.spec.part import AbsolutePath, Becomes, Part, PciAddress, QemuId
from infrasim.spec.storage import Wwn

_BarSize: TypeAlias = Annotated[int, Field(ge=1, le=2**20), AfterValidator(storage_checks.power_of_two)]
_Exponent: TypeAlias = Annotated[int, Field(ge=12, le=47)]
_Text: TypeAlias = Annotated[str, AfterValidator(checks.one_line)]

_ID = "Name of the device."
_BUS = "Bus it sits on."
_ADDR = "Slot on the bus in hexadecimal, with a function behind a point."


class Communicate(Part):
    """The chassis the host is in."""

    shm_key: Annotated[_Text, Becomes("`-communicate shmkey=`")] = Field(
        description="Name of the shared memory that the chassis is.", examples=["chassis0"]
    )


class Ses(Part):
    """An enclosure's services."""

    channel: Annotated[int, Becomes("`channel=`")] | None = Field(
        None, ge=0, le=255, description="Channel.", examples=[0]
    )
    scsi_id: Annotated[int, Becomes("`scsi-id=`")] | None = Field(
        None, ge=0, le=65535, alias="scsi-id", description="Target.", examples=[30]
    )
    lun: Annotated[int, Becomes("`lun=`")] | None = Field(
        None, ge=0, le=16383, description="Unit at its target.", examples=[0]
    )
    vendor: Annotated[_Text, Becomes("`vendor=`")] | None = Field(
        None, description="Vendor.", examples=["EMC"]
    )
    product: Annotated[_Text, Becomes("`product=`")] | None = Field(
        None, description="Product.", examples=["ESES Enclosure"]
    )
    serial: Annotated[_Text, Becomes("`serial=`")] | None = Field(
        None, description="Serial number.", examples=["ENC0001"]
    )
    wwn: Annotated[Wwn, Becomes("`wwn=`")] | None = Field(
        None, description="World-wide name.", examples=[0x500605B0000272BF]
    )
    version: Annotated[_Text, Becomes("`version=`")] | None = Field(
        None, description="Firmware version.", examples=["0001"]
    )
    dae_type: Annotated[_Text, Becomes("`dae_type=`")] | None = Field(
        None, description="Kind of enclosure.", examples=["Tabasco"]
    )
    side: Annotated[int, Becomes("`side=`")] | None = Field(
        None, ge=0, le=1, description="Which of its two sides.", examples=[0]
    )
    ses_buffer_file: Annotated[AbsolutePath, Becomes("`ses_buffer_file=`")] | None = Field(
        None, description="File with the pages that it answers.", examples=["/srv/ses.bin"]
    )
    physical_port: Annotated[int, Becomes("`physical_port=`")] | None = Field(
        None, ge=0, le=255, description="Port that leads to the controller.", examples=[0]
    )
    pp_atta_sas_addr: Annotated[Wwn, Becomes("`pp_atta_sas_addr=`")] | None = Field(
        None, description="SAS address of what its primary port leads to.", examples=[0x500605B000000001]
    )
    ep_atta_sas_addr: Annotated[Wwn, Becomes("`ep_atta_sas_addr=`")] | None = Field(
        None, description="SAS address of what its expansion port leads to.", examples=[0x500605B000000002]
    )


class Vmd(Part):
    """A volume management device: a root of PCI Express that an operating system finds behind its driver."""

    id: QemuId = Field(description="Name of the device and of the bus behind it.", examples=["vmd_0"])
    bus: QemuId = Field("pcie.0", description=_BUS, examples=["pcie.0"])
    device: Literal["vmd"] = Field("vmd", description="Kind of device.", examples=["vmd"])
    addr: Annotated[PciAddress, Becomes("`addr=`")] = Field("05.5", description=_ADDR, examples=["05.5"])
    bar1_size: Annotated[_BarSize, Becomes("`mbar1_size=`")] | None = Field(
        None, description="MiB of memory of its first window, a power of two.", examples=[64]
    )
    bar2_size: Annotated[_BarSize, Becomes("`mbar2_size=`")] | None = Field(
        None, description="MiB of memory of its second window, a power of two.", examples=[8192]
    )


class NonTransparentBridge(Part):
    """A bridge to the memory of another host, as Skylake has."""

    id: QemuId = Field(description=_ID, examples=["ntb0"])
    bus: QemuId = Field("pcie.0", description=_BUS, examples=["pcie.0"])
    addr: Annotated[PciAddress, Becomes("`addr=`")] = Field("00.0", description=_ADDR, examples=["12.0"])
    bar1_exp: Annotated[_Exponent, Becomes("`region1size=`")] = Field(
        description="Size of its first window as a power of two.", examples=[20]
    )
    bar2_exp: Annotated[_Exponent, Becomes("`region2size=`")] = Field(
        description="Size of its second window as a power of two.", examples=[20]
    )
    local: Annotated[AbsolutePath, Becomes("`-chardev socket`, `link_tx=`")] = Field(
        description="Socket that this host connects to.", examples=["/run/ntb-a"]
    )
    peer_rx: Annotated[AbsolutePath, Becomes("`-chardev socket`, `link_rx=`")] = Field(
        description="Socket that the other host connects to.", examples=["/run/ntb-b"]
    )
    peer_memory: Annotated[_Text, Becomes("`peer_memory=`")] | None = Field(
        None, description="The other host's memory.", examples=["node-1"]
    )


class DmaEngine(Part):
    """A DMA engine of Intel's I/OAT: functions of one slot."""

    id: QemuId = Field(description="Beginning of the names of its functions.", examples=["dma0"])
    bus: QemuId = Field("pcie.0", description=_BUS, examples=["pcie.0"])
    addr: Annotated[PciAddress, Becomes("`addr=`")] = Field("00.0", description=_ADDR, examples=["14.0"])
    count: Annotated[int, Becomes("`-device ioat_dma`, each")] = Field(
        8, ge=1, le=8, description="Number of functions.", examples=[8]
    )


class MemoryController(Part):
    """An integrated memory controller of a processor."""

    id: QemuId = Field(description=_ID, examples=["imc0"])
    bus: QemuId = Field(description=_BUS, examples=["pcie.1"])
    addr: Annotated[Literal["08.0", "09.0"], Becomes("`addr=`")] = Field(
        description="Slot on the bus, in quotes.", examples=["08.0"]
    )
    imc_slot_topo: Annotated[int, Becomes("`imc_slot_topo=`")] = Field(
        ge=0, le=2**32 - 1, description="Which memory modules are there, as a number of bits.", examples=[0x3]
    )
    imc_cpu_index: Annotated[int, Becomes("`imc_cpu_index=`")] = Field(
        ge=0, le=127, description="Processor that it belongs to.", examples=[0]
    )


class PowerControlUnit(Part):
    """A power control unit of a processor, by which a system reads the modules of its memory."""

    bus: QemuId = Field(description=_BUS, examples=["pcie.1"])
    spd_data_file: Annotated[AbsolutePath, Becomes("`spd_data_file=`")] = Field(
        description="File with the data of the memory modules.", examples=["/srv/spd.bin"]
    )
