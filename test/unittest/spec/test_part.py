"""What keys say of themselves beside their type: for which kinds they are, and what they become."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest

from infrasim.spec.checks import Conflict, Conflicts
from infrasim.spec.keys import Key
from infrasim.spec.modelling import Field, ValidationError
from infrasim.spec.part import Becomes, Only, Part


class Disk(Part):
    """An entry whose keys depend on the mapping that its list stands in."""

    lun: Annotated[int, Only("scsi", "sas")] | None = Field(None, description="Number.")
    size: int = Field(1, description="Size.")


class Bus(Part):
    """A mapping of some kind."""

    type: Literal["ahci", "scsi", "sas"] = Field("ahci", description="Kind.")
    width: Annotated[int | None, Only("sas"), Becomes("`width=`")] = Field(None, description="Width.")
    speed: Annotated[int | None, Only("fast", of="mode")] = Field(None, description="Speed.")
    mode: str = Field("slow", description="Mode.")
    disks: tuple[Disk, ...] = Field((), description="Disks.")


def faults(**given: object) -> list[Conflict]:
    with pytest.raises(ValidationError) as caught:
        Bus.model_validate(given)
    (fault,) = caught.value.faults
    assert isinstance(fault.error, Conflicts)
    return list(fault.error.found)


def test_a_key_of_another_kind_is_refused_where_it_stands() -> None:
    assert faults(width=3) == [
        Conflict(("width",), "is only for type sas, not for ahci", "remove it, or change 'type'")
    ]
    assert faults(speed=3) == [
        Conflict(("speed",), "is only for mode fast, not for slow", "remove it, or change 'mode'")
    ]
    assert faults(type="ahci", disks=[{"lun": 1}, {"size": 2}, {"lun": 2}]) == [
        Conflict(
            ("disks", 0, "lun"), "is only for type scsi or sas, not for ahci", "remove it, or change 'type'"
        ),
        Conflict(
            ("disks", 2, "lun"), "is only for type scsi or sas, not for ahci", "remove it, or change 'type'"
        ),
    ]


def test_a_key_is_taken_where_it_belongs_and_when_it_says_nothing() -> None:
    bus = Bus.model_validate({"type": "sas", "width": 3, "mode": "fast", "speed": 1, "disks": [{"lun": 1}]})
    assert (bus.width, bus.speed, bus.disks[0].lun) == (3, 1, 1)
    assert Bus.model_validate({"width": None, "disks": [{"lun": None}]}).width is None
    assert Bus.model_validate({"disks": [{"size": 2}]}).disks[0].size == 2


def test_the_table_of_keys_has_what_a_key_says() -> None:
    width = Key("width", Bus.model_fields["width"], None, is_list=False)
    assert (width.only and width.only.kinds, width.becomes) == (("sas",), "`width=`")
    lun = Key("lun", Disk.model_fields["lun"], None, is_list=False)
    assert (lun.only and lun.only.kinds, lun.becomes) == (("scsi", "sas"), "")
