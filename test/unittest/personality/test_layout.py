"""Fields of binary records: reading, writing, ranges, and records as values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.layout import (
    HEX,
    NUMBER,
    SIGNED,
    SWITCH,
    Choice,
    DataError,
    Fielded,
    Flags,
    Kind,
    decode_fields,
    encode_fields,
    slot,
)


class Sample(Fielded):
    """A record with every kind of field."""

    number: int = slot(0)
    low: int = slot(1, bits=3)
    high: int = slot(1, shift=3)
    word: int = slot(2, HEX, width=2)
    signed: int = slot(4, SIGNED, above=(5, 6, 2))
    switch: bool = slot(5, SWITCH, bits=1)
    color: str | int = slot(6, Choice({1: "red", 2: "green"}))
    marks: tuple[str | int, ...] = slot(7, Flags("a", None, "c"))


@given(st.binary(min_size=8, max_size=8))
def test_every_bit_survives(data: bytes) -> None:
    covered = bytes([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xC1, 0xFF, 0xFF])
    wanted = bytes(byte & mask for byte, mask in zip(data, covered, strict=True))
    again = bytearray(8)
    encode_fields(Sample(**decode_fields(Sample, data, what="sample")), again, what="sample")
    assert bytes(again) == wanted


def test_names_stand_for_codes() -> None:
    values = decode_fields(Sample, bytes([0, 0, 0, 0, 0xFF, 0xC0, 2, 0x86]), what="sample")
    assert values["color"] == "green"
    assert values["marks"] == (1, "c", 7)
    assert values["signed"] == -1


def test_a_record_that_ends_early_names_field_and_offset() -> None:
    with pytest.raises(DataError, match=r"sample: field color at offset 0x6 lies beyond the end, 6 bytes"):
        decode_fields(Sample, bytes(6), what="sample")


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("number", 256, "got 256, wanted a whole number from 0 to 255"),
        ("number", True, "got True, wanted a whole number from 0 to 255"),
        ("low", 8, "field low at offset 0x1: got 8, wanted a whole number from 0 to 7"),
        ("signed", 512, "wanted a whole number from -512 to 511"),
        ("switch", 1, "wanted true or false"),
        ("color", "blue", "wanted a number or one of: red, green"),
        ("color", 300, "wanted a name or a number from 0 to 255"),
        ("marks", ("z",), "wanted bit numbers below 8 or names of: a, c"),
        ("marks", 3, "wanted a list"),
    ],
)
def test_a_value_that_does_not_fit(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted.replace("(", r"\(")):
        encode_fields(Sample(**{field: value}), bytearray(8), what="sample")


def test_records_are_values() -> None:
    one, other = Sample(number=1), Sample(number=1)
    assert one == other
    assert hash(one) == hash(other)
    assert one != Sample(number=2)
    assert one != 1
    assert repr(one) == "Sample(number=1)"
    assert dataclasses.replace(one, low=2) == Sample(number=1, low=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.number = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"Sample\(\) has no field weight"):
        Sample(weight=1)  # type: ignore[call-arg]


def test_a_kind_has_to_say_how() -> None:
    with pytest.raises(NotImplementedError):
        Kind().decode(0, 8)
    with pytest.raises(NotImplementedError):
        Kind().encode(0, 8)
    assert NUMBER != HEX
