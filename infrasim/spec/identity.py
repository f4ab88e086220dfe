"""The keys that give one node texts and numbers of its own in its inventory: FRU devices and SMBIOS.

What is left out stays as the server type has it. Whether the server has the device, the structure or the
memory slot is for those who know the server type (``plan.identity``).
"""

from __future__ import annotations

from typing import Annotated, Any

from infrasim.spec import checks
from infrasim.spec.modelling import AfterValidator, AliasChoices, Field, model_validator
from infrasim.spec.part import AbsolutePath, Becomes, FruText, Part, SmbiosText, Uuid


class FruChassis(Part):
    """The chassis area."""

    pn: Annotated[FruText, Becomes("`fru print`: Chassis Part Number")] | None = Field(
        None, description="Part number.", examples=["32-A0123"]
    )
    sn: Annotated[FruText, Becomes("`fru print`: Chassis Serial")] | None = Field(
        None, description="Serial number.", examples=["QTFCD1420"]
    )


class FruBoard(Part):
    """The board area."""

    manufacturer: Annotated[FruText, Becomes("`fru print`: Board Mfg")] | None = Field(
        None, description="Manufacturer.", examples=["Quanta"]
    )
    name: Annotated[FruText, Becomes("`fru print`: Board Product")] | None = Field(
        None, description="Name of the board.", examples=["S2B-MB"]
    )
    sn: Annotated[FruText, Becomes("`fru print`: Board Serial")] | None = Field(
        None, description="Serial number.", examples=["QTFB0042"]
    )
    pn: Annotated[FruText, Becomes("`fru print`: Board Part Number")] | None = Field(
        None, description="Part number.", examples=["31S2BMB00A0"]
    )


class FruProduct(Part):
    """The product area."""

    manufacturer: Annotated[FruText, Becomes("`fru print`: Product Manufacturer")] | None = Field(
        None, description="Manufacturer.", examples=["Quanta"]
    )
    name: Annotated[FruText, Becomes("`fru print`: Product Name")] | None = Field(
        None, description="Name of the product.", examples=["D51B-2U"]
    )
    pn: Annotated[FruText, Becomes("`fru print`: Product Part Number")] | None = Field(
        None, description="Part or model number.", examples=["20S2BU00A0"]
    )
    version: Annotated[FruText, Becomes("`fru print`: Product Version")] | None = Field(
        None, description="Version of the product.", examples=["A01"]
    )
    sn: Annotated[FruText, Becomes("`fru print`: Product Serial")] | None = Field(
        None, description="Serial number.", examples=["QTFP0042"]
    )


class FruDevice(Part):
    """The texts of one FRU device."""

    chassis: FruChassis = Field(default_factory=FruChassis, description="The chassis area.")
    board: FruBoard = Field(default_factory=FruBoard, description="The board area.")
    product: FruProduct = Field(default_factory=FruProduct, description="The product area.")


class SmbiosSystem(Part):
    """SMBIOS type 1."""

    sn: Annotated[SmbiosText, Becomes("`dmidecode -t 1`: Serial Number")] | None = Field(
        None, description="Serial number, in place of `serial_number`.", examples=["QTFCAR42"]
    )
    uuid: Annotated[Uuid, Becomes("`dmidecode -t 1`: UUID")] | None = Field(
        None,
        description="UUID, the same as `compute.uuid`; one of them is enough.",
        examples=["3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"],
    )
    sku_number: Annotated[SmbiosText, Becomes("`dmidecode -t 1`: SKU Number")] | None = Field(
        None, description="SKU number.", examples=["SKU-D51B"]
    )


class SmbiosBaseboard(Part):
    """SMBIOS type 2."""

    sn: Annotated[SmbiosText, Becomes("`dmidecode -t 2`: Serial Number")] | None = Field(
        None, description="Serial number, in place of `serial_number`.", examples=["QTFB0042"]
    )
    location: Annotated[SmbiosText, Becomes("`dmidecode -t 2`: Location In Chassis")] | None = Field(
        None, description="Where in the chassis the board is.", examples=["Part Component"]
    )


class SmbiosChassis(Part):
    """SMBIOS type 3."""

    sn: Annotated[SmbiosText, Becomes("`dmidecode -t 3`: Serial Number")] | None = Field(
        None,
        description="Serial number, in place of `serial_number` and `bmc.chassis_sn`.",
        examples=["QTFCD1420"],
    )


class SmbiosProcessor(Part):
    """SMBIOS type 4."""

    version: Annotated[SmbiosText, Becomes("`dmidecode -t 4`: Version")] | None = Field(
        None, description="Name of the processor.", examples=["Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz"]
    )
    # Two bytes each. Source: DSP0134 section 7.5.
    max_speed: Annotated[int, Becomes("`dmidecode -t 4`: Max Speed")] | None = Field(
        None, ge=1, le=65535, description="Highest speed in MHz.", examples=[4000]
    )
    speed: Annotated[int, Becomes("`dmidecode -t 4`: Current Speed")] | None = Field(
        None, ge=1, le=65535, description="Present speed in MHz.", examples=[2400]
    )
    sn: Annotated[SmbiosText, Becomes("`dmidecode -t 4`: Serial Number")] | None = Field(
        None, description="Serial number.", examples=["CPU0042"]
    )
    asset_tag: Annotated[SmbiosText, Becomes("`dmidecode -t 4`: Asset Tag")] | None = Field(
        None, description="Asset tag.", examples=["RACK7-CPU"]
    )
    part_number: Annotated[SmbiosText, Becomes("`dmidecode -t 4`: Part Number")] | None = Field(
        None, description="Part number.", examples=["CM8066002031501"]
    )
    cores: Annotated[int, Becomes("`dmidecode -t 4`: Core Count")] | None = Field(
        None,
        ge=1,
        le=255,
        description="Cores of each processor; its threads grow or shrink with them. Only what SMBIOS says: "
        "`compute.cpu.quantities` is the number the host has.",
        examples=[14],
    )


class SmbiosModule(Part):
    """A memory module."""

    locator: Annotated[SmbiosText, Becomes("`dmidecode -t 17`: Locator")] = Field(
        description="Slot it is in, by the name the server has for it.", examples=["DIMM_A0"]
    )
    size: Annotated[int, Becomes("`dmidecode -t 17`: Size")] = Field(
        ge=1,
        le=16 * 1024 * 1024,
        description="Size in MiB; all modules add up to `compute.memory.size`.",
        examples=[1024],
    )
    manufacturer: Annotated[SmbiosText, Becomes("`dmidecode -t 17`: Manufacturer")] | None = Field(
        None,
        validation_alias=AliasChoices("manufacturer", "manufactuer"),
        description="Manufacturer.",
        examples=["Samsung"],
    )
    sn: Annotated[SmbiosText, Becomes("`dmidecode -t 17`: Serial Number")] | None = Field(
        None, description="Serial number.", examples=["3051A7C2"]
    )
    asset_tag: Annotated[SmbiosText, Becomes("`dmidecode -t 17`: Asset Tag")] | None = Field(
        None, description="Asset tag.", examples=["DIMM-42"]
    )
    part_number: Annotated[SmbiosText, Becomes("`dmidecode -t 17`: Part Number")] | None = Field(
        None, description="Part number.", examples=["M393A2G40DB0-CPB"]
    )


class Smbios(Part):
    """What SMBIOS says of this node alone; the path alone (``smbios: /path/to.bin``) is its ``file``."""

    file: Annotated[AbsolutePath, Becomes("one `-smbios file=` for each structure")] | None = Field(
        None,
        description="An SMBIOS table in place of the server type's, as `dmidecode --dump-bin` writes it. "
        "Serial number, UUID, memory and the other values of this node are put into it.",
        examples=["/srv/captures/smbios.bin"],
    )
    type1: SmbiosSystem = Field(default_factory=SmbiosSystem, description="The system.")
    type2: SmbiosBaseboard = Field(default_factory=SmbiosBaseboard, description="The baseboards.")
    type3: SmbiosChassis = Field(default_factory=SmbiosChassis, description="The chassis.")
    type4: SmbiosProcessor = Field(
        default_factory=SmbiosProcessor, description="The processors; those that are plugged in, all alike."
    )
    type17: Annotated[tuple[SmbiosModule, ...], AfterValidator(checks.modules_differ)] = Field(
        (),
        description="The memory modules, and thereby which slots are filled. Left out: the server's slots "
        "are filled with modules of its usual size.",
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, given: Any) -> Any:
        return {"file": given} if isinstance(given, str) else given
