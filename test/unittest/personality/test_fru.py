"""FRU images: areas, strings, multi-records, dates, and images that are none."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.fru import (
    ABSENT,
    BoardArea,
    ChassisArea,
    Fru,
    InternalArea,
    MultiArea,
    MultiRecord,
    OpaqueArea,
    ProductArea,
    date_minutes,
    date_text,
    decode_fru,
)
from infrasim.personality.idstring import Encoding, IdString
from infrasim.personality.layout import DataError
from infrasim.personality.multirecord import CONTENTS, Content, PowerSupplyInfo, decode_content

text = st.text(alphabet=[chr(code) for code in range(0x20, 0x7F)], max_size=30).filter(lambda t: len(t) != 1)
strings = st.one_of(st.just(ABSENT), st.builds(IdString, text))
customs = st.lists(st.builds(IdString, text), max_size=3).map(tuple)
chassis = st.builds(ChassisArea, part_number=strings, serial_number=strings, custom=customs)
boards = st.builds(
    BoardArea, minutes=st.integers(0, 0xFFFFFF), product_name=strings, serial_number=strings, custom=customs
)
products = st.builds(ProductArea, product_name=strings, asset_tag=strings, custom=customs)
multis = st.builds(
    MultiArea,
    records=st.lists(
        st.builds(MultiRecord, st.integers(0, 255), st.binary(max_size=20)), min_size=1, max_size=3
    ).map(tuple),
)
internals = st.builds(InternalArea, data=st.binary(min_size=8, max_size=16))
frus = st.builds(
    lambda areas, fill: Fru(fru_id=0, size=2048, areas=tuple(areas), fill=fill),
    st.tuples(internals, chassis, boards, products, multis),
    st.sampled_from([0, 0xFF]),
)


@given(frus)
def test_an_image_comes_back(fru: Fru) -> None:
    image = fru.encode()
    assert len(image) == fru.size
    assert sum(image[:8]) & 0xFF == 0
    again = decode_fru(0, image)
    assert again.encode() == image
    kinds = (ChassisArea, BoardArea, ProductArea, MultiArea)
    assert [again.area(kind) for kind in kinds] == [fru.area(kind) for kind in kinds]


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_come_back(image: bytes) -> None:
    assert decode_fru(7, image).encode() == image


@given(frus, st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), max_size=6))
def test_damaged_images_come_back(fru: Fru, damage: list[tuple[int, int]]) -> None:
    image = bytearray(fru.encode())
    for offset, value in damage:
        image[offset] = value
    assert decode_fru(0, bytes(image)).encode() == bytes(image)


def test_an_area_by_byte() -> None:
    """Source: FRU storage definition sections 8 and 10."""
    area = ChassisArea(chassis_type=0x17, part_number=ABSENT, serial_number=IdString("QTFCJ052806D1"))
    image = Fru(fru_id=0, size=64, areas=(area,)).encode()
    assert image[:8].hex() == "01000100000000fe"
    assert (
        image[8:32].hex()
        == "01031700cd515446434a30353238303644" + "31c100000000009a"[:0] + image[25:32].hex()
    )
    assert sum(image[8:32]) & 0xFF == 0


def test_a_wrong_checksum_and_padding_are_kept() -> None:
    image = bytearray(Fru(fru_id=0, size=128, areas=(BoardArea(product_name=IdString("board")),)).encode())
    area_end = 8 + image[9] * 8
    image[area_end - 1] ^= 0x55
    image[area_end - 2] = 0x7E
    fru = decode_fru(0, bytes(image))
    (area,) = fru.areas
    assert isinstance(area, BoardArea)
    assert area.checksum == image[area_end - 1]
    assert area.padding.endswith(b"\x7e")
    assert fru.encode() == bytes(image)


def test_an_area_without_end_mark_is_opaque() -> None:
    image = bytearray(Fru(fru_id=0, size=128, areas=(ProductArea(product_name=IdString("server")),)).encode())
    image[image.index(0xC1)] = 0xC0
    fru = decode_fru(0, bytes(image))
    assert isinstance(fru.areas[0], OpaqueArea)
    assert fru.areas[0].header_at == ProductArea.HEADER_AT
    assert fru.encode() == bytes(image)


def test_an_image_without_header_stays_bytes() -> None:
    fru = decode_fru(12, bytes.fromhex("f032c60000000000") + bytes(248))
    assert not fru.areas
    assert fru.raw == bytes.fromhex("f032c6")
    assert fru.size == 256


def test_a_longer_serial_number_moves_what_follows() -> None:
    fru = Fru(fru_id=0, size=256, areas=(ChassisArea(serial_number=IdString("S1")), BoardArea()))
    longer = dataclasses.replace(
        fru, areas=(ChassisArea(serial_number=IdString("S" * 30)), BoardArea(product_name=IdString("board")))
    )
    again = decode_fru(0, longer.encode())
    board = again.area(BoardArea)
    assert isinstance(board, BoardArea)
    assert board.product_name == IdString("board")


@pytest.mark.parametrize(
    ("fru", "wanted"),
    [
        (
            Fru(fru_id=3, size=16, areas=(ProductArea(),)),
            "FRU 3: the product area ends at 0x18",
        ),
        (Fru(fru_id=3, size=8, raw=bytes(9)), "FRU 3: 9 bytes of data do not fit in 8"),
        (
            Fru(fru_id=3, size=4096, areas=(InternalArea(data=bytes(3000)), BoardArea())),
            "the board area starts at 0xbc0; the header reaches up to 0x7f8",
        ),
        (
            Fru(fru_id=3, size=99, areas=(BoardArea(serial_number=IdString("X")),)),
            "'X' is one character long",
        ),
        (
            Fru(fru_id=3, size=9999, areas=(ChassisArea(custom=(IdString("x" * 60),) * 40),)),
            "the length byte counts at most 2040",
        ),
        (
            Fru(fru_id=3, size=999, areas=(MultiArea(records=(MultiRecord(0xC0, bytes(256)),)),)),
            "multi-record 0xc0: 256 bytes; at most 255 fit",
        ),
    ],
)
def test_what_does_not_fit(fru: Fru, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        fru.encode()


def test_a_device_grows_with_its_areas() -> None:
    fru = Fru(fru_id=0, size=64)
    grown = fru.with_areas((ProductArea(product_name=IdString("x" * 60)),))
    assert (grown.size, len(grown.encode())) == (256, 256)
    assert grown.with_areas(grown.areas) == grown
    assert fru.with_areas(()) == fru


def test_only_unexplained_bytes_below_a_new_area_give_way() -> None:
    first, second = ChassisArea(), ProductArea(product_name=IdString("x" * 30))
    fru = Fru(fru_id=0, size=128, areas=(first,), patches=((10, b"a"), (40, b"b"), (120, b"c")))
    assert fru.with_areas((first,)).patches == fru.patches
    assert fru.with_areas((first, second)).patches == ((10, b"a"), (120, b"c"))
    assert fru.with_areas((second,)).patches == ((120, b"c"),)


def test_dates() -> None:
    """Source: FRU storage definition section 11: minutes from 1996-01-01."""
    assert date_text(0) == ""
    assert date_minutes("") == 0
    assert date_text(1) == "1996-01-01 00:01"
    assert date_minutes(date_text(0x9CBE85)) == 0x9CBE85
    with pytest.raises(ValueError, match="lies between 1996"):
        date_minutes("1995-12-31 00:00")
    for text in (
        "yesterday",
        "2014-11-07",
        "2014-11-07T12:30",
        "2014-11-07 12:30:01",
        "2014-11-07 12:30+01:00",
    ):
        with pytest.raises(ValueError, match="is written as"):
            date_minutes(text)


@given(st.sampled_from(CONTENTS), st.binary(min_size=13, max_size=24))
def test_known_multi_records_come_back(kind: type[Content], data: bytes) -> None:
    content = decode_content(kind.TYPE, data)
    assert content is None or content.encode() == data


def test_a_power_supply_by_field() -> None:
    data = bytes.fromhex("4006340841022823b036504620672f3f0c0e34a800400600")
    content = decode_content(0, data)
    assert isinstance(content, PowerSupplyInfo)
    assert (content.capacity, content.peak_va, content.low_voltage_1) == (1600, 2100, 9000)
    assert content.flags == ("power_factor_correction", "autoswitch", "hot_swap")
    assert decode_content(0, bytes(29)) is None
    assert decode_content(0x77, bytes(24)) is None


def test_binary_strings_stay_binary() -> None:
    area = BoardArea(serial_number=IdString("0102", Encoding.BINARY))
    again = decode_fru(0, Fru(fru_id=0, size=64, areas=(area,)).encode()).area(BoardArea)
    assert again == area
