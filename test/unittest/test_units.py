"""Values more than one layer reads: one spelling each, or a clear refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.units import WrongValue, format_mac, parse_address, parse_mac, parse_uuid


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_survives_its_text(octets: bytes) -> None:
    text = format_mac(octets)
    if octets[0] & 1 or not any(octets):
        with pytest.raises(WrongValue):
            parse_mac(text)
    else:
        assert parse_mac(text) == parse_mac(text.upper()) == parse_mac(text.replace(":", "-")) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "52:54-00:12:34:56",
        "525400123456",
        "52:54:00:12:34:5g",
        "52:54:00:12:34:56\n",
    ],
)
def test_no_mac(text: str) -> None:
    with pytest.raises(WrongValue, match="is not a MAC address") as caught:
        parse_mac(text)
    assert caught.value.hint == "six fields of two hex digits: 52:54:00:12:34:56"


@given(st.uuids())
def test_a_uuid_is_written_small(value: object) -> None:
    assert parse_uuid(str(value).upper()) == str(value)


@pytest.mark.parametrize(
    "text", ["", "1", "3f1c6f2e8d7b4c559a550d5c3a1f7e21", "3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e2g"]
)
def test_no_uuid(text: str) -> None:
    with pytest.raises(WrongValue, match="is not a UUID"):
        parse_uuid(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1", "127.0.0.1"), ("0:0::1", "::1"), ("::", "::"), ("fe80::1%eth0", "fe80::1%eth0")],
)
def test_addresses(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.0.0.1:623", "10.0.0.0/8", "127.1", "[::1]", "010.0.0.1", "1"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(WrongValue, match="is not an IPv4 or IPv6 address"):
        parse_address(text)
    with pytest.raises(WrongValue, match="is a multicast address"):
        parse_address("ff02::1")
