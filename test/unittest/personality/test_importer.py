"""Captures to types: names, what is dropped, what is scrubbed and what is repaired."""

from __future__ import annotations

import dataclasses

import pytest

from infrasim.personality.emu import Emulation, emu_text
from infrasim.personality.fru import (
    BoardArea,
    ChassisArea,
    Fru,
    InternalArea,
    MultiArea,
    MultiRecord,
    OpaqueArea,
    ProductArea,
)
from infrasim.personality.idstring import Encoding, IdString
from infrasim.personality.importer import import_capture
from infrasim.personality.layout import DataError
from infrasim.personality.model import Controller, Personality
from infrasim.personality.repair import repaired
from infrasim.personality.scrub import NO_UUID, scrubbed
from infrasim.personality.smbios import (
    MemoryDevice,
    OemStrings,
    OtherStructure,
    Structure,
    System,
    dump_bytes,
)

SYSTEM = System(
    handle=1,
    manufacturer="Maker ",
    product_name=" Thing",
    serial_number="AB12345",
    uuid="3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21",
)
PRODUCT = ProductArea(
    manufacturer=IdString("Maker"),
    product_name=IdString("Board of it"),
    serial_number=IdString("AB12345", size=16),
    custom=(IdString("AB12345_100-2"), IdString("SV43923556"), IdString("100-564-554")),
)


def capture(
    text: str = "", structures: tuple[Structure, ...] = (), frus: tuple[Fru, ...] = ()
) -> Personality:
    emulation = Emulation(controllers=(Controller(address=0x20, device_id=1),), frus=frus)
    dump = dump_bytes([structure.encode() for structure in structures]) if structures else b""
    return import_capture("t", emu=emu_text(emulation, title="") + text, emu_source="t.emu", smbios_dump=dump)


def test_names_come_from_smbios_or_from_the_fru() -> None:
    from_smbios = capture(structures=(SYSTEM,))
    assert (from_smbios.manufacturer, from_smbios.product_name) == ("Maker", "Thing")
    from_fru = capture(frus=(Fru(fru_id=0, size=256, areas=(PRODUCT,)),))
    assert (from_fru.manufacturer, from_fru.product_name) == ("Maker", "Board of it")
    assert capture().manufacturer == ""


def test_what_cannot_be_shown_is_dropped() -> None:
    compact = "main_sdr_add 0x20 9 0 0x51 2 27 0x20 0 5 7 1 0 0 7 0x6f" + " 0" * 17 + " 0xc0\n"
    text = compact + "sensor_add 0x20 0 5 7 0x6f\nsensor_set_threshold 0x20 0 5 none 000001 0 0 0 0 0 9\n"
    (entry,) = capture(text).sdrs
    assert entry.record.record_id == 0
    assert entry.state is not None
    assert entry.state.thresholds is None
    assert entry.state.events is not None


def test_an_event_only_sensor_is_one() -> None:
    record = "main_sdr_add 0x20 1 0 0x51 3 12 0x20 0 5 7 1 7 0x6f 0 0 0 0 0xc0\n"
    (entry,) = capture(record + "sensor_add 0x20 0 5 7 0\n").sdrs
    assert entry.state is not None
    assert entry.state.is_event_only
    assert entry.state.event_type == 0x6F


def test_a_capture_that_cannot_be_read_says_where() -> None:
    with pytest.raises(DataError, match=r"t\.emu:\d+: unknown command 'nonsense'"):
        capture("nonsense\n")
    with pytest.raises(DataError, match="offset 0x0"):
        import_capture("t", emu="", emu_source="x", smbios_dump=b"\1\2\3")


# --- scrubbing


def test_serial_numbers_are_replaced_wherever_they_stand() -> None:
    personality = capture(
        structures=(
            SYSTEM,
            MemoryDevice(handle=2, serial_number="71507192", asset_tag="DIMM_A0"),
            MemoryDevice(handle=3, serial_number="NO DIMM"),
            OemStrings(handle=4, count=1, strings=("tag AB12345",)),
            OtherStructure(handle=5, number=200, extra=b"..AB12345.."),
        ),
        frus=(
            Fru(fru_id=0, size=512, areas=(InternalArea(data=b"1234AB12345 xxxx"), ChassisArea(), PRODUCT)),
            Fru(fru_id=1, size=64, raw=b"\xf0AB12345"),
        ),
    )
    clean = scrubbed(personality)
    text = repr(clean)
    for secret in ("AB12345", "71507192", "SV43923556", SYSTEM.uuid):
        assert secret not in text
    assert clean.structures(System)[0].uuid == NO_UUID
    assert clean.structures(System)[0].serial_number == "0000001"
    product = clean.frus[0].area(ProductArea)
    assert isinstance(product, ProductArea)
    assert product.serial_number == IdString("0000001", size=16)
    assert product.custom[0].text == "0000001_100-2"
    assert product.custom[2].text == "100-564-554"
    assert [device.serial_number for device in clean.structures(MemoryDevice)] == ["00000002", "NO DIMM"]
    assert clean.structures(OemStrings)[0].strings == ("tag 0000001",)
    assert scrubbed(clean) == clean


def test_strings_that_are_not_text_are_left() -> None:
    area = BoardArea(serial_number=IdString("1234567", Encoding.SIX_BIT))
    personality = capture(frus=(Fru(fru_id=0, size=256, areas=(area,)),))
    assert scrubbed(personality).frus == personality.frus


def test_a_scrubbed_area_has_a_right_checksum() -> None:
    area = dataclasses.replace(PRODUCT, checksum=7)
    personality = dataclasses.replace(capture(), frus=(Fru(fru_id=0, size=256, areas=(area,)),))
    (clean,) = scrubbed(personality).frus[0].areas
    assert isinstance(clean, ProductArea)
    assert clean.checksum is None


# --- repair


def repaired_fru(fru: Fru) -> Fru:
    return repaired(dataclasses.replace(capture(), frus=(fru,))).frus[0]


def test_a_fru_without_header_becomes_an_empty_one() -> None:
    fru = repaired_fru(Fru(fru_id=12, size=256, raw=b"\xf0\x32"))
    assert fru == Fru(fru_id=12, size=256)
    assert fru.encode()[:8].hex() == "01000000000000ff"


def test_a_wrong_checksum_is_put_right() -> None:
    area = dataclasses.replace(PRODUCT, checksum=7, padding=b"garbage")
    assert repaired_fru(Fru(fru_id=0, size=256, areas=(area,))).areas == (PRODUCT,)


def test_multi_records_whose_content_sum_is_wrong() -> None:
    good = MultiArea(records=(MultiRecord(0xC0, b"abc"), MultiRecord(0, bytes(range(29)))))
    data = bytearray(good.encode())
    data[6] ^= 1
    fru = Fru(fru_id=1, size=256, areas=(OpaqueArea(header_at=5, data=bytes(data)),))
    (area,) = repaired_fru(fru).areas
    assert isinstance(area, MultiArea)
    assert [(item.record_type, len(item.data)) for item in area.records] == [(0xC0, 3), (0, 24)]


@pytest.mark.parametrize("data", [b"", b"\1\2\3\4\5\6", bytes(4)])
def test_an_area_that_makes_no_sense_is_left(data: bytes) -> None:
    fru = Fru(fru_id=1, size=256, areas=(OpaqueArea(header_at=5, data=data),))
    assert repaired_fru(fru) == fru
    other = Fru(fru_id=1, size=256, areas=(OpaqueArea(header_at=3, data=bytes(8)),))
    assert repaired_fru(other) == other
