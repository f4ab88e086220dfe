"""Answers of a BMC: what each byte means, and what is taken when one is missing."""

from __future__ import annotations

import dataclasses

import pytest

from infrasim.personality.answers import SensorAnswers, controller, event_log, sensor_state
from infrasim.personality.layout import DataError
from infrasim.personality.model import EventLog, Events, Thresholds, default_state
from infrasim.personality.sdr import CompactSensor, EventOnly, FullSensor, McLocator

DEVICE_ID = bytes.fromhex("20 81 83 38 02 bf a2 02 f0 00 01")
FAN = FullSensor(
    number=0x30,
    event_type="threshold",
    sensor_type="fan",
    threshold_access="settable",
    hysteresis_access="settable",
    assertion_mask=0x5,
    reading_mask=0x3,
    lnc=15,
    lc=10,
    initialization=("scanning_on", "events_on"),
)
LID = CompactSensor(number=0x32, event_type="sensor_specific", sensor_type="physical_security")


def test_a_controller() -> None:
    found = controller(0x20, DEVICE_ID, b"\x05\x00")
    assert (found.device_id, found.device_revision, found.has_device_sdrs) == (0x20, 1, True)
    assert (found.firmware_major, found.firmware_minor, found.support) == (3, 0x38, 0xBF)
    assert (found.manufacturer, found.product) == (674, 0x100)
    assert not found.has_dynamic_sensors
    assert controller(0x20, DEVICE_ID, b"\x05\x81").has_dynamic_sensors
    assert controller(0x20, DEVICE_ID, None).has_dynamic_sensors


def test_a_controller_that_says_too_little() -> None:
    with pytest.raises(DataError, match="Get Device ID of controller 0x2c: 10 bytes, wanted 11 or more"):
        controller(0x2C, DEVICE_ID[:10], None)


def test_an_event_log_holds_what_is_used_and_what_is_free() -> None:
    info = bytes.fromhex("51 0200 603e 00000000 00000000 8b")
    assert event_log(info) == EventLog(1000, 0x0A)
    with pytest.raises(DataError, match="Get SEL Info: 13 bytes, wanted 14"):
        event_log(info[:13])


def test_a_sensor_with_thresholds() -> None:
    answers = SensorAnswers(
        reading=bytes.fromhex("09 c0 c3"),
        events=bytes.fromhex("c0 0500 0000"),
        thresholds=bytes.fromhex("03 10 0b 00 00 00 00"),
        hysteresis=bytes.fromhex("02 01"),
        sensor_type=bytes.fromhex("04 81"),
    )
    state = sensor_state(FAN, answers)
    assert state is not None
    assert (state.value, set(state.bits)) == (9, {0, 1, 6, 7})
    assert state.thresholds == Thresholds("settable", 3, (0x10, 0x0B, 0, 0, 0, 0))
    assert state.hysteresis == ("settable", 2, 1)
    assert state.events == Events(True, True, "per_state", 5, 0, 5, 0)
    assert (state.sensor_type, state.event_type) == (4, 1)


def test_a_discrete_sensor() -> None:
    state = sensor_state(LID, SensorAnswers(reading=bytes.fromhex("00 40 01 80"), sensor_type=b"\x05\x6f"))
    assert state is not None
    assert (state.value, set(state.bits), state.thresholds) == (0, {0}, None)
    assert state.events is not None
    assert (state.events.enabled, state.events.scanning) == (False, True)


def test_what_answers_runs_even_if_its_record_knows_nothing_of_it() -> None:
    bare = dataclasses.replace(FAN, threshold_access="none", assertion_mask=0)
    state = sensor_state(
        bare,
        SensorAnswers(reading=b"\x09\xc0", thresholds=b"\x01" + bytes(6), events=bytes.fromhex("c001000200")),
    )
    assert state is not None
    assert state.thresholds == Thresholds("readable", 1, (0,) * 6)
    assert state.events == Events(True, True, "per_state", 1, 2, 1, 2)
    assert state.bits == frozenset()


def test_no_reading() -> None:
    unavailable = sensor_state(FAN, SensorAnswers(reading=b"\x00\xe0\xc0"))
    assert unavailable is not None
    assert (unavailable.value, unavailable.bits) == (None, frozenset())
    refused = sensor_state(FAN, SensorAnswers(sensor_type=b"\x04\x01"))
    assert refused is not None
    assert refused.is_event_only
    assert sensor_state(FAN, SensorAnswers()) is None


def test_short_answers_are_no_answers() -> None:
    state = sensor_state(
        FAN,
        SensorAnswers(
            reading=b"\x14", events=b"", thresholds=b"\x03\x10", hysteresis=b"\x01", sensor_type=b"\4"
        ),
    )
    assert state is not None
    assert (state.value, state.thresholds, state.hysteresis) == (0x14, None, None)
    usual = default_state(FAN)
    assert usual is not None
    assert state.events == usual.events


def test_records_without_a_reading_are_as_they_say() -> None:
    record = EventOnly(number=1)
    assert sensor_state(record, SensorAnswers()) == default_state(record)
    assert sensor_state(McLocator(address=0x20), SensorAnswers()) is None
