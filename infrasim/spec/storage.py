"""What a node file says of disks, their controllers and the CD-ROM drive."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.aliases import AliasChoices

from infrasim.spec import checks
from infrasim.spec.part import AbsolutePath, Part


class Drive(Part):
    """A disk."""

    size: int = Field(
        8,
        ge=1,
        le=65536,
        description="Size in GiB of an image that infrasim makes; an image that exists keeps its own.",
        examples=[20],
    )
    format: Literal["qcow2", "raw"] = Field("qcow2", description="Format of the image.", examples=["raw"])
    file: AbsolutePath | None = Field(
        None,
        description="An image or block device that exists already. Left out: one is made in the node's "
        "workspace, and removed by `infrasim node destroy`.",
        examples=["/var/lib/images/debian.qcow2"],
    )
    bootindex: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Place in the order of boot, smallest first; `boot_order` decides for disks without one.",
        examples=[1],
    )
    serial: Annotated[str, AfterValidator(checks.drive_serial)] | None = Field(
        None,
        description="Serial number, at most 20 characters. Left out: made from the node.",
        examples=["Z1X4AB01"],
    )
    model: Annotated[str, AfterValidator(checks.drive_model)] | None = Field(
        None, description="Model name, at most 40 characters.", examples=["INTEL SSDSC2BB480G6"]
    )
    version: Annotated[str, AfterValidator(checks.drive_version)] | None = Field(
        None, description="Firmware version, at most 8 characters.", examples=["B1.10"]
    )
    wwn: int | None = Field(
        None,
        ge=1,
        le=2**64 - 1,
        description="World-wide name, a 64-bit number.",
        examples=[0x5000C50015EA71AC],
    )
    rotation_rate: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("rotation_rate", "rotation"),
        description="Turns per minute; 1 is a solid-state disk, 0 says nothing.",
        examples=[7200],
    )
    cache: Literal["writeback", "none", "writethrough", "directsync", "unsafe"] = Field(
        "writeback", description="How QEMU caches the image on this machine.", examples=["none"]
    )


class AhciController(Part):
    """A SATA controller and its disks."""

    type: Literal["ahci"] = Field("ahci", description="Kind of controller.", examples=["ahci"])
    max_drive_per_controller: int = Field(
        6,
        ge=1,
        le=6,
        description="Disks on one controller; further ones go to further controllers.",
        examples=[4],
    )
    drives: tuple[Drive, ...] = Field((), strict=False, description="The disks.")


class Cdrom(Part):
    """A CD-ROM drive; the path alone (``cdrom: /path/to.iso``) says the same."""

    file: AbsolutePath = Field(description="ISO image in the drive.", examples=["/var/lib/images/debian.iso"])

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, given: Any) -> Any:
        return {"file": given} if isinstance(given, str) else given
