"""SMBIOS structures and tables: bytes to values and back, and tables that are broken."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.layout import DataError, slots
from infrasim.personality.smbios import (
    KINDS,
    Baseboard,
    Chassis,
    IpmiDevice,
    MemoryDevice,
    OemStrings,
    OtherStructure,
    Port,
    Processor,
    Structure,
    System,
    decode_structure,
    decode_table,
    dump_bytes,
    with_texts,
)

texts = st.lists(st.binary(min_size=1, max_size=8).filter(lambda b: 0 not in b), max_size=5)


def structure_bytes(number: int, body: bytes, strings: list[bytes]) -> bytes:
    tail = b"".join(text + b"\0" for text in strings) or b"\0"
    return bytes([number, len(body) + 4, 0x34, 0x12]) + body + tail + b"\0"


@given(st.integers(0, 255), st.binary(max_size=100), texts)
def test_every_structure_comes_back_byte_by_byte(number: int, body: bytes, strings: list[bytes]) -> None:
    data = structure_bytes(number, body, strings)
    assert decode_structure(data).encode() == data


@given(st.sampled_from(sorted(kind.TYPE for kind in KINDS.values())), st.integers(0, 90), texts, st.data())
def test_structures_of_known_types_come_back(
    number: int, length: int, strings: list[bytes], data: st.DataObject
) -> None:
    body = data.draw(st.lists(st.integers(0, 6), min_size=length, max_size=length).map(bytes))
    image = structure_bytes(number, body, strings)
    assert decode_structure(image).encode() == image


@given(st.binary(max_size=200))
def test_garbage_is_a_clear_error_or_structures(data: bytes) -> None:
    try:
        decode_table(data)
    except DataError as exc:
        assert "SMBIOS" in exc.message


def test_a_structure_by_field() -> None:
    system = System(
        handle=1,
        manufacturer="Maker",
        product_name="Thing",
        serial_number="S1",
        uuid="00112233-4455-6677-8899-aabbccddeeff",
        wake_up="power_switch",
    )
    data = system.encode()
    # Source: DSP0134 section 7.2.1, the example of how a UUID is stored
    assert data[8:24].hex() == "33221100554477668899aabbccddeeff"
    assert data[:8].hex() == "011b010001020003"
    assert data[24:27].hex() == "060000"
    assert data[27:] == b"Maker\0Thing\0S1\0\0"
    assert decode_structure(data) == system


def test_strings_in_another_order_are_kept() -> None:
    data = structure_bytes(8, bytes([2, 0, 1, 0, 0]), [b"outside", b"inside", b"unused"])
    port = decode_structure(data)
    assert isinstance(port, Port)
    assert (port.internal, port.external) == ("inside", "outside")
    assert port.strings == ("outside", "inside", "unused")


def test_a_string_twice_is_told_apart_by_number() -> None:
    data = structure_bytes(8, bytes([2, 0, 1, 0, 0]), [b"same", b"same"])
    port = decode_structure(data)
    assert isinstance(port, Port)
    assert port.internal == 2
    assert port.encode() == data


def test_a_structure_that_ends_before_its_last_field() -> None:
    data = structure_bytes(17, bytes(range(4, 34)), [b"A"] * 1)
    device = decode_structure(data)
    assert device.encode() == data
    short = decode_structure(structure_bytes(2, bytes([1, 2, 0, 3]), [b"Maker", b"Board", b"S"]))
    assert isinstance(short, Baseboard)
    assert short.length == 8
    assert short.serial_number == "S"


def test_contained_elements_of_a_chassis_move_its_sku_number() -> None:
    body = bytes([1, 0x17, 0, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0, 0, 1, 2, 3]) + b"abcdef" + bytes([2])
    data = structure_bytes(3, body, [b"Maker", b"SKU"])
    chassis = decode_structure(data)
    assert isinstance(chassis, Chassis)
    assert (chassis.sku_number, chassis.elements, chassis.strings) == ("SKU", b"abcdef", ())
    assert chassis.encode() == data


def test_fields_beyond_the_usual_length_make_it_longer() -> None:
    assert len(Processor().encode()) == 0x2A + 2
    assert Processor(thread_count_2=256).encode()[1] == 0x30
    assert Processor(extra=b"xy").encode()[1] == 0x2C


@pytest.mark.parametrize(
    ("structure", "wanted"),
    [
        (System(handle=1, manufacturer="a\0b"), "string 'a.x00b': wanted at least one character"),
        (System(handle=1, manufacturer="€"), "none of them zero or above U.00FF"),
        (
            System(handle=1, uuid="1234"),
            "structure 0x0001: field uuid at offset 0x8: got '1234'",
        ),
        (System(handle=1, manufacturer=300), "got 300, wanted a string or the number of one"),
        (System(handle=70000), "wanted a handle from 0 to 0xffff"),
        (OtherStructure(number=200, extra=bytes(252)), "length 256; wanted 4 to 255"),
        (OemStrings(strings=("x",) * 256), "256 strings; at most 255 have a number"),
    ],
)
def test_what_does_not_fit(structure: Structure, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        structure.encode()


# --- tables

TABLE = [
    System(handle=1, manufacturer="M").encode(),
    OtherStructure(handle=2, number=200, extra=b"x").encode(),
]
END = bytes([127, 4, 3, 0, 0, 0])


def entry_point_2(table: bytes, address: int) -> bytes:
    head = bytearray(b"_SM_\0\x1f\2\x08" + struct.pack("<HB5s", 99, 0, bytes(5)))
    tail = bytearray(b"_DMI_\0" + struct.pack("<HIHB", len(table), address, 3, 0x28))
    tail[5] = -sum(tail) & 0xFF
    head[4] = -sum(head + tail) & 0xFF
    return bytes(head + tail)


@pytest.mark.parametrize(
    "data",
    [
        b"".join(TABLE),
        b"".join(TABLE) + END + b"rest",
        dump_bytes(TABLE),
        entry_point_2(b"".join(TABLE) + END, 32) + b"\0" + b"".join(TABLE) + END,
        entry_point_2(b"".join(TABLE) + END, 0xE0000) + b"".join(TABLE) + END,
        entry_point_2(b"".join(TABLE), 0xE0000) + b"".join(TABLE) + bytes(8),
    ],
    ids=["bare", "bare-with-end", "3.0", "2.x-dump", "2.x-in-front", "2.x-without-end"],
)
def test_tables_with_and_without_entry_point(data: bytes) -> None:
    assert [structure.encode() for structure in decode_table(data)] == TABLE


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"\1\2", "at offset 0x0 2 bytes are left; a header takes 4"),
        (b"\1\3\0\0\0\0", "structure at offset 0x0 .type 1. says 3 bytes; wanted 4 to 6"),
        (b"\1\x20\0\0\0\0", "says 32 bytes; wanted 4 to 6"),
        (TABLE[0] + b"\2\4\0\0abc\0", r"the strings of the structure at offset 0x1e do not end"),
        (b"_SM_" + bytes(10), "entry point: 14 bytes; wanted 31"),
        (b"_SM_\1\x1f" + bytes(40), "entry point: its 31 bytes add up to"),
    ],
)
def test_a_broken_table_says_where(data: bytes, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        decode_table(data)


def test_bytes_after_a_structure() -> None:
    with pytest.raises(DataError, match="structure: 33 bytes, but it ends at 0x1e"):
        decode_structure(TABLE[0] + b"abc")


# --- texts and ports


def test_texts_are_replaced_in_place() -> None:
    plain = Chassis(serial_number="old", version="v")
    assert with_texts(plain, serial_number="new", version="") == Chassis(serial_number="new", version="v")
    listed = Chassis(serial_number="old", version="v", strings=("v", "old", "other"))
    assert with_texts(listed, serial_number="new").strings == ("v", "new", "other")
    shared = Chassis(serial_number="same", version="same", strings=("same",))
    changed = with_texts(shared, serial_number="new")
    assert (changed.serial_number, changed.version, changed.strings) == ("new", "same", ("same", "new"))
    numbered = Chassis(serial_number=2, version="x", strings=("x", "x"))
    assert with_texts(numbered, serial_number="new").strings == ("x", "new")
    absent = Baseboard(length=8)
    assert with_texts(absent, asset_tag="A") is absent


def test_the_port_of_an_ipmi_device() -> None:
    assert IpmiDevice(base_address=0xCA3).io_port == 0xCA2
    assert IpmiDevice(base_address=0xCA3, low_bit=1).io_port == 0xCA3
    assert IpmiDevice(base_address=0xFED00000).io_port is None
    assert IpmiDevice(base_address=0x21, interface="ssif").io_port is None


@pytest.mark.parametrize(
    ("size", "extended", "mib"),
    [(0, 0, 0), (0xFFFF, 0, 0), (1024, 0, 1024), (0x8800, 0, 2), (0x7FFF, 65536, 65536)],
)
def test_sizes_of_modules(size: int, extended: int, mib: int) -> None:
    assert MemoryDevice(size=size, extended_size=extended).size_mib == mib


def test_kinds_are_not_fields() -> None:
    """In YAML the kind is a key beside the fields."""
    for kind in KINDS.values():
        assert not set(KINDS) & {name for name, _ in slots(kind)}
        assert dataclasses.is_dataclass(kind)
