"""Type/length strings in their four encodings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.idstring import Encoding, IdString, decode_idstring
from infrasim.personality.layout import DataError


@given(st.binary(min_size=1, max_size=70))
def test_what_is_decoded_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        string = decode_idstring(data, 0, what="x")
    except DataError:
        return
    assert data.startswith(string.encode())


@given(st.text(alphabet=[chr(code) for code in range(1, 256)], max_size=63))
def test_text_comes_back(text: str) -> None:
    assert decode_idstring(IdString(text).encode(), 0, what="x") == IdString(text)


@pytest.mark.parametrize(
    ("string", "data"),
    [
        (IdString("IPMI", Encoding.SIX_BIT), "8329dca6"),  # Source: IPMI 2.0 section 43.15, the example
        (IdString("DELL", Encoding.SIX_BIT), "8364c9b2"),
        (IdString("12-3.4:5", Encoding.BCD), "4412b3c4d5"),
        (IdString("", Encoding.TEXT), "c0"),
        (IdString("00ff", Encoding.BINARY), "0200ff"),
        (IdString("R730", size=8), "c8" + b"R730".hex() + "00000000"),
    ],
)
def test_known_strings(string: IdString, data: str) -> None:
    assert string.encode().hex() == data
    assert decode_idstring(bytes.fromhex(data), 0, what="x") == string


@pytest.mark.parametrize(
    ("string", "wanted"),
    [
        (IdString("x" * 64), "takes 64 bytes; the format allows 63"),
        (IdString("ä€"), "cannot be stored as text"),
        (IdString("12x", Encoding.BCD), "'x' has no code there"),
        (IdString("low", Encoding.SIX_BIT), "'l' has no code there"),
        (IdString("zz", Encoding.BINARY), "cannot be stored as binary"),
    ],
)
def test_what_cannot_be_stored(string: IdString, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        string.encode()


def test_a_string_that_ends_early() -> None:
    with pytest.raises(DataError, match="x: string at offset 0x0 wants 4 bytes, 2 are left"):
        decode_idstring(b"\xc4ab", 0, what="x")
    with pytest.raises(DataError, match="type/length byte at offset 0x3 lies beyond the end, 3 bytes"):
        decode_idstring(b"\xc2ab", 3, what="x")


def test_bits_that_six_bit_text_cannot_have() -> None:
    with pytest.raises(DataError, match="is not six_bit"):
        decode_idstring(bytes([0x81, 0xFF]), 0, what="x")
