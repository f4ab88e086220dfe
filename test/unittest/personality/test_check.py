"""What is doubtful about a type, and what two types show differently."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from infrasim.paths import data_dir
from infrasim.personality.check import Severity, check
from infrasim.personality.compare import compare
from infrasim.personality.fru import Fru, OpaqueArea, ProductArea
from infrasim.personality.idstring import IdString
from infrasim.personality.model import Controller, Entry, Personality, SensorState, default_state
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.sdr import CompactSensor, FruLocator, FullSensor
from infrasim.personality.smbios import Baseboard, Bios, Processor, System

SHIPPED = data_dir() / "personalities"
VNODE = load_type("vnode", [SHIPPED])
TEMPERATURE = FullSensor(
    number=0x77,
    sensor_type="temperature",
    event_type="threshold",
    reading_mask=0x3F,
    m=1,
    lnr=1,
    lc=2,
    lnc=3,
    unc=7,
    uc=8,
    unr=9,
    id_string=IdString("Temp"),
)


def found(**changes: Any) -> list[str]:
    return [str(finding) for finding in check(dataclasses.replace(VNODE, **changes))]


def entry(record: FullSensor | CompactSensor, **changes: object) -> Entry:
    state = default_state(record)
    assert state is not None
    return Entry(record, SensorState(**{**vars(state), **changes}))


@pytest.mark.parametrize("name", type_names([SHIPPED]))
def test_no_shipped_type_has_an_error(name: str) -> None:
    errors = [item for item in check(load_type(name, [SHIPPED])) if item.severity == Severity.ERROR]
    assert not errors


def test_nothing_is_wrong_with_the_generic_type() -> None:
    assert found() == []
    assert found(sdrs=(*VNODE.sdrs, entry(TEMPERATURE, value=5))) == []


BMC = VNODE.controllers[0]
AREA = ProductArea(product_name=IdString("Thing"))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"controllers": (Controller(address=0x22, device_id=1),)},
            "error: controllers: none has the address 0x20",
        ),
        ({"controllers": (Controller(address=0x22, device_id=1),)}, "sensors are owned by 0x20, which is no"),
        ({"controllers": (BMC, BMC)}, "error: controllers: address 0x20 is given 2 times"),
        ({"sdrs": ()}, "error: sensors: there is no SDR"),
        ({"sdrs": (entry(TEMPERATURE), entry(TEMPERATURE))}, "sensor 0x77 of 0x20 is described 2 times"),
        (
            {"sdrs": (entry(dataclasses.replace(TEMPERATURE, number=255, lun=1)),)},
            "sensor 0xff of 0x20, LUN 1: the simulator knows numbers up to 254",
        ),
        (
            {"hidden_sensors": (SensorState(owner=0x20, lun=0, number=0x99, sensor_type=1, event_type=1),)},
            "note: sensors: sensor 0x99 of 0x20 has no SDR",
        ),
        ({"sdrs": (Entry(TEMPERATURE),)}, "note: full 'Temp': it is not simulated"),
        ({"sdrs": (entry(TEMPERATURE),)}, "note: full 'Temp': it has no value"),
        (
            {"sdrs": (entry(TEMPERATURE, value=9, bits=frozenset({3, 4, 5})),)},
            "beyond its thresholds: unc, uc, unr",
        ),
        (
            {"sdrs": (entry(dataclasses.replace(TEMPERATURE, lnc=7, unc=3), value=5),)},
            "note: full 'Temp': threshold lnc is 7, above unc with 3",
        ),
        (
            {"sdrs": (entry(dataclasses.replace(TEMPERATURE, id_string=IdString("\x01" * 17)), value=5),)},
            "its name has characters that cannot be shown",
        ),
        (
            {"sdrs": (entry(dataclasses.replace(TEMPERATURE, id_string=IdString("x" * 17)), value=5),)},
            "its name takes more than 16 bytes",
        ),
        ({"frus": (Fru(fru_id=0, size=8), Fru(fru_id=0, size=8))}, "error: FRU 0: it is given 2 times"),
        ({"frus": (Fru(fru_id=0, size=8, areas=(AREA,)),)}, "error: FRU 0: FRU 0: the product area ends at"),
        ({"frus": (Fru(fru_id=0, size=8, raw=b"x"),)}, "note: FRU 0: it has no valid header"),
        ({"frus": (Fru(fru_id=9, size=8),)}, "note: FRU 9: no FRU locator names it"),
        (
            {"frus": (Fru(fru_id=0, size=64, areas=(OpaqueArea(header_at=3),)),)},
            "an area does not follow its",
        ),
        (
            {"frus": (Fru(fru_id=0, size=64, areas=(dataclasses.replace(AREA, checksum=1),)),)},
            "note: FRU 0: the checksum of its product area is wrong",
        ),
        (
            {"frus": (Fru(fru_id=0, size=64, areas=(ProductArea(asset_tag=IdString("\x07\x08")),)),)},
            "product area: '\\x07\\x08' cannot be shown",
        ),
        ({"smbios": (*VNODE.smbios, Baseboard(handle=0))}, "error: SMBIOS: handle 0x0000 is given 2 times"),
        ({"smbios": (*VNODE.smbios, System(handle=9))}, "error: SMBIOS: there are 2 system structures"),
        ({"smbios": (Bios(handle=9),)}, "note: SMBIOS: there is no system structure (type 1)"),
        (
            {"smbios": (*VNODE.smbios, Processor(handle=9, l1_cache=0x77))},
            "note: SMBIOS processor 0x0009: l1_cache names the handle 0x0077, which no structure has",
        ),
        ({"smbios": (*VNODE.smbios, Baseboard(handle=9, version="\x01"))}, "string '\\x01' cannot be shown"),
        ({"smbios": (*VNODE.smbios, Baseboard(handle=9, version=4))}, "it refers to string 4, of 0"),
    ],
)
def test_findings(changes: dict[str, Any], wanted: str) -> None:
    assert [line for line in found(**changes) if wanted in line]


def test_errors_come_first() -> None:
    lines = found(sdrs=(), frus=(Fru(fru_id=9, size=8),))
    assert [line.split(":")[0] for line in lines] == sorted(line.split(":")[0] for line in lines)


# --- comparing


def differences(other: Personality, **options: bool) -> list[str]:
    return [str(item) for item in compare(VNODE, other, **options)]


def test_a_type_is_like_itself() -> None:
    assert differences(VNODE) == []


def test_differences_read_as_in_the_files() -> None:
    sdrs = list(VNODE.sdrs)
    state = sdrs[4].state
    assert state is not None
    sdrs[4] = Entry(sdrs[4].record, dataclasses.replace(state, value=30))
    sdrs[5:7] = [sdrs[6], sdrs[5]]
    del sdrs[-1]
    sdrs.append(Entry(FruLocator(fru_id=9, id_string=IdString("New"))))
    other = dataclasses.replace(
        VNODE,
        controllers=(dataclasses.replace(BMC, product=2),),
        sdrs=tuple(sdrs),
        frus=(dataclasses.replace(VNODE.frus[0], areas=VNODE.frus[0].areas[:2]), *VNODE.frus[1:]),
        smbios=(
            dataclasses.replace(VNODE.smbios[0], vendor="Other"),  # type: ignore[call-arg]
            *VNODE.smbios[1:],
        ),
    )
    lines = differences(other)
    assert lines[:3] == [
        "controller 0x20: product: 1 | 2",
        "SDR full Inlet Temp 0x01: value: 23 | 30",
        "SDR compact Event Log 0x46: whole: there | -",
    ]
    assert "SDR fru_locator New: whole: - | there" in lines
    assert "SDR number 6 of those both have: order: full Exhaust Temp 0x02 | full CPU Temp 0x03" in lines
    assert any(line.startswith("FRU 0: product: {manufacturer: Generic") for line in lines)
    assert "SMBIOS bios 0x0000: vendor: Generic | Other" in lines


def test_identity_can_be_left_out() -> None:
    other = dataclasses.replace(
        VNODE,
        smbios=(
            VNODE.smbios[0],
            dataclasses.replace(VNODE.smbios[1], serial_number="X"),  # type: ignore[call-arg]
            *VNODE.smbios[2:],
        ),
    )
    assert len(differences(other)) == 1
    assert differences(other, with_identity=False) == []


def test_records_with_the_same_name_are_told_apart() -> None:
    two = dataclasses.replace(VNODE, sdrs=(VNODE.sdrs[1], VNODE.sdrs[1]))
    one = dataclasses.replace(VNODE, sdrs=(VNODE.sdrs[1],))
    (difference,) = compare(two, one)
    assert difference.where == "SDR fru_locator System FRU (2)"
