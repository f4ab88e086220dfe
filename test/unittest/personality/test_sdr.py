"""SDR records: bytes to values and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.idstring import IdString
from infrasim.personality.layout import DataError
from infrasim.personality.sdr import (
    KINDS,
    CompactSensor,
    DeviceLocator,
    EventOnly,
    FruLocator,
    FullSensor,
    McLocator,
    OemRecord,
    OtherRecord,
    decode_record,
)


def record_bytes(record_type: int, body: bytes) -> bytes:
    return bytes([1, 0, 0x51, record_type, len(body)]) + body


@given(
    st.sampled_from([0x01, 0x02, 0x03, 0x08, 0x10, 0x11, 0x12, 0x14, 0xC0]),
    st.binary(max_size=80),
)
def test_every_record_comes_back_byte_by_byte(record_type: int, body: bytes) -> None:
    data = record_bytes(record_type, body)
    assert decode_record(data).encode() == data


@given(st.binary(max_size=60))
def test_garbage_is_a_clear_error_or_a_record(data: bytes) -> None:
    try:
        record = decode_record(data)
    except DataError as exc:
        assert exc.message.startswith("SDR")
    else:
        assert record.encode() == data


def test_a_full_sensor_by_field() -> None:
    """A threshold temperature sensor as real controllers describe it."""
    data = bytes.fromhex(
        "6e00510138 2000b007127748 01018002803218 1880 010000 01000000000000"
        "1954007f80 006c6a 0000000000000000 cd"
    )
    record = decode_record(data + b"Temp_OCP_Mezz")
    assert isinstance(record, FullSensor)
    assert (record.number, record.entity, record.instance) == (0xB0, "system_board", 0x12)
    assert (record.sensor_type, record.event_type) == ("temperature", "threshold")
    assert record.initialization == (
        "scanning_on",
        "events_on",
        "init_type",
        "init_thresholds",
        "init_events",
        "init_scanning",
    )
    assert (record.auto_rearm, record.threshold_access, record.analog_format) == (
        True,
        "settable",
        "twos_complement",
    )
    assert (record.unit, record.m, record.b, record.uc, record.unc) == ("degrees_c", 1, 0, 0x6C, 0x6A)
    assert record.reading_mask == 0x1818
    assert record.name == "Temp_OCP_Mezz"


@pytest.mark.parametrize(
    ("record", "body"),
    [
        (CompactSensor(number=5, id_string=IdString("A")), "200005" + "00" * 23 + "c141"),
        (EventOnly(number=6, sensor_type="fan", event_type=0x6F), "2000060000046f" + "00" * 4 + "c0"),
        (FruLocator(fru_id=3, id_string=IdString("F")), "200380000010" + "00" * 4 + "c146"),
        (McLocator(address=0x20, channel=1, capabilities=("sel", "fru")), "2001000c" + "00" * 6 + "c0"),
        (DeviceLocator(channel=9, device_address=0x50), "00a1200000" + "00" * 5 + "c0"),
        (OemRecord(manufacturer=343, trailing=b"\x0d\x01"), "5701000d01"),
        (OtherRecord(record_type=0x99, trailing=b"ab"), "6162"),
    ],
)
def test_small_records(record: CompactSensor, body: str) -> None:
    kind = getattr(record, "record_type", record.TYPE)
    data = record.encode(1)
    assert data == record_bytes(kind, bytes.fromhex(body))
    assert decode_record(data).encode() == data
    assert type(decode_record(data)) is type(record)


def test_factors_of_ten_bits_have_a_sign() -> None:
    record = decode_record(FullSensor(m=-512, b=511, accuracy=1023, r_exp=-8, b_exp=7).encode())
    assert isinstance(record, FullSensor)
    assert (record.m, record.b, record.accuracy, record.r_exp, record.b_exp) == (-512, 511, 1023, -8, 7)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"\1\0", "SDR: 2 bytes; the header alone takes 5"),
        (b"\1\0\x51\1\x10abc", "the length byte at offset 0x4 says 16 bytes, 3 follow"),
    ],
)
def test_what_is_no_record(data: bytes, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        decode_record(data)


def test_a_record_too_long() -> None:
    with pytest.raises(DataError, match="an SDR holds at most 255"):
        OemRecord(trailing=bytes(253)).encode()


def test_a_field_out_of_range_is_named() -> None:
    with pytest.raises(DataError, match="full record 'X': field lun at offset 0x6: got 4, wanted a whole"):
        FullSensor(lun=4, id_string=IdString("X")).encode()


def test_kinds_are_not_fields() -> None:
    """In YAML the kind is a key beside the fields."""
    for record in KINDS.values():
        assert not set(KINDS) & set(record.__dataclass_fields__)
