"""ipmi_sim's commands: read, written, and what ipmi_sim would make of them."""

from __future__ import annotations

import dataclasses

import pytest

from infrasim.personality.emu import Emulation, emu_text, parse_emu
from infrasim.personality.fru import Fru, ProductArea
from infrasim.personality.idstring import IdString
from infrasim.personality.layout import DataError
from infrasim.personality.model import Controller, Entry, EventLog, SensorState, default_state
from infrasim.personality.sdr import CompactSensor, FullSensor, OemRecord

FAN = FullSensor(
    number=0x30,
    sensor_type="fan",
    event_type="threshold",
    initialization=("scanning_on", "events_on"),
    threshold_access="readable",
    hysteresis_access="readable",
    hysteresis_positive=1,
    assertion_mask=0x0005,
    reading_mask=0x0003,
    m=100,
    lnc=15,
    lc=10,
    id_string=IdString("Fan 1"),
)


BMC = Controller(address=0x20, device_id=32, firmware_major=1, firmware_minor=0x20, support=0xBF)


def state_of(record: FullSensor | CompactSensor, **changes: object) -> SensorState:
    state = default_state(record)
    assert state is not None
    return SensorState(**{**vars(state), **changes})


def test_the_text_as_a_whole() -> None:
    door = CompactSensor(number=0x73, sensor_type=5, event_type=0x6F, id_string=IdString("Door"))
    emulation = Emulation(
        controllers=(BMC,),
        event_log=EventLog(500, 2),
        entries=(
            Entry(FAN, state_of(FAN, value=12, bits=frozenset({0}))),
            Entry(door, state_of(door, bits=frozenset({0}))),
            Entry(OemRecord(manufacturer=343, trailing=b"\1")),
        ),
        hidden_sensors=(SensorState(owner=0x20, lun=0, number=9, sensor_type=1, event_type=1, value=3),),
        frus=(Fru(fru_id=1, size=16, raw=b"\1\2"),),
    )
    text = emu_text(emulation, title="test")
    assert [line for line in text.splitlines() if line and not line.startswith("0x")] == [
        "# test",
        "mc_setbmc 0x20",
        "mc_add 0x20 32 no-device-sdrs 0x1 1 32 0xbf 0x0 0x0 dynsens",
        "mc_enable 0x20",
        "sel_enable 0x20 500 0x02",
        "mc_add_fru_data 0x20 0x01 0x10 data \\",
        "# Fan 1",
        "sensor_add 0x20 0 0x30 0x04 0x01",
        "main_sdr_add 0x20 \\",
        "sensor_set_threshold 0x20 0 0x30 readable 000011 0x00 0x00 0x00 0x00 0x0a 0x0f",
        "sensor_set_hysteresis 0x20 0 0x30 1 0x01 0x00",
        "sensor_set_event_support 0x20 0 0x30 enable scanning per-state 000000000000101 000000000000000"
        " 000000000000101 000000000000000",
        "sensor_set_value 0x20 0 0x30 0x0c 0",
        "# Door",
        "sensor_add 0x20 0 0x73 0x05 0x6f",
        "main_sdr_add 0x20 \\",
        "sensor_set_event_support 0x20 0 0x73 disable no-scanning per-state 000000000000000 000000000000000"
        " 000000000000000 000000000000000",
        "sensor_set_value 0x20 0 0x73 0x00 0",
        "sensor_set_bit 0x20 0 0x73 0 1 0",
        "# ",
        "main_sdr_add 0x20 \\",
        "sensor_add 0x20 0 0x09 0x01 0x01",
        "sensor_set_value 0x20 0 0x09 0x03 0",
    ]
    again = parse_emu(text)
    assert [entry.state for entry in again.entries] == [entry.state for entry in emulation.entries]
    assert again.hidden_sensors == emulation.hidden_sensors
    assert again.controllers == emulation.controllers
    assert again.event_log == emulation.event_log


def test_bits_that_the_value_does_not_explain_are_set_and_cleared() -> None:
    low = Emulation(entries=(Entry(FAN, state_of(FAN, value=5, bits=frozenset({1, 6}))),))
    lines = emu_text(low, title="").splitlines()
    assert lines[-2:] == ["sensor_set_bit 0x20 0 0x30 0 0 0", "sensor_set_bit 0x20 0 0x30 6 1 0"]
    assert parse_emu("\n".join(lines)).entries[0].state == low.entries[0].state


def test_a_value_set_before_thresholds_crosses_none() -> None:
    """As ipmi_sim does it: thresholds are compared when a value is set, not when they are."""
    text = """
        sensor_add 0x20 0 1 1 1
        sensor_set_value 0x20 0 1 0xff 1
        sensor_set_threshold 0x20 0 1 settable 010000 0 0x10 0 0 0 0
    """
    assert parse_emu(text).hidden_sensors[0].bits == frozenset()
    swapped = text + "sensor_set_value 0x20 0 1 0xff 1\n"
    assert parse_emu(swapped).hidden_sensors[0].bits == {4}


def test_a_sensor_added_after_its_record_is_set_up_by_it() -> None:
    """Measured: ipmi_sim does so, by the record's initialization flags and comparison bits."""
    flags = ("scanning_on", "events_on", "init_events", "init_hysteresis", "init_thresholds")
    record = dataclasses.replace(
        FAN, initialization=flags, threshold_access="settable", assertion_mask=0x3005, deassertion_mask=0
    )
    rows = " ".join(f"{byte:#x}" for byte in record.encode(1))
    (entry,) = parse_emu(f"main_sdr_add 0x20 {rows}\nsensor_add 0x20 0 0x30 4 1\n").entries
    state = entry.state
    assert state is not None
    assert state.events is not None
    assert (state.events.enabled, state.events.scanning, state.events.assertion) == (True, False, 5)
    assert state.hysteresis == ("readable", 1, 0)
    assert state.thresholds is not None
    assert (state.thresholds.mask, state.thresholds.values[:2]) == (3, (15, 10))


def test_other_ways_to_say_it() -> None:
    text = """
        # comment
        define MC 0x20
        mc_add $MC 1 has-device-sdrs 0x0 0x1 0x2 0x3 0x4 0x5
        mc_enable $MC
        sel_add 0x20 2 0 0 0
        sensor_add $MC 0 10 0x07 0x6f event-only
        sensor_add 0x20 0 11 0x07 0x6f
        sensor_set_bit_clr_rest 0x20 0 11 3 1
        sensor_set_hysteresis 0x20 0 11 fixed 1 2
        sensor_set_event_support 0x20 0 11 0x1 1 3 1 1 1 1
    """
    emulation = parse_emu(text)
    assert emulation.controllers[0].has_device_sdrs
    assert not emulation.controllers[0].has_dynamic_sensors
    only, other = emulation.hidden_sensors
    assert only.is_event_only
    assert (sorted(other.bits), other.value, other.hysteresis) == ([3], 3, ("fixed", 1, 2))
    assert other.events is not None
    assert (other.events.enabled, other.events.scanning, other.events.control) == (True, True, "none")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\nwhat 1", "emu:2: unknown command 'what'"),
        ("mc_add 0x20", "emu:1: mc_add: device id is missing"),
        ("mc_add 0x120", r"emu:1: mc_add: controller \(word 1\): got 0x120, wanted 0 to 0xff"),
        ("mc_add x", r"controller \(word 1\): got 'x', wanted a number"),
        ("main_sdr_add 0x20 1 0 0x51 1 9 1", "the length byte at offset 0x4 says 9 bytes, 1 follow"),
        (
            "mc_add_fru_data 0x20 0 2 data 1 2 3",
            "emu:1: mc_add_fru_data: FRU 0: 3 bytes follow, the size is 2",
        ),
        ("mc_add_fru_data 0x20 0 2 file 0 f", "got 'file': only FRU bytes in the text itself can be read"),
        ("sensor_set_value 0x20 0 9 1 1", "sensor 0x09 of controller 0x20, LUN 0, was not added before"),
        (
            "sensor_add 32 0 9 1 1\nsensor_add 0x20 0 9 1 1",
            "emu:2: sensor_add: sensor 0x09 .* was added before",
        ),
        ("sensor_add 0x20 4 9 1 1", "LUN .word 2.: got 0x4, wanted 0 to 0x3"),
        ("sensor_add 32 0 9 1 1\nsensor_set_bit 0x20 0 9 15 1 0", "bit .word 4.: got 0xf, wanted 0 to 0xe"),
        (
            "sensor_add 32 0 9 1 1\nsensor_set_threshold 0x20 0 9 odd 1",
            "threshold support: got 'odd', wanted one",
        ),
        (
            "sensor_add 32 0 9 1 1\nsensor_set_threshold 0x20 0 9 none 21",
            "got '21', wanted up to 15 digits",
        ),
        ("sensor_add 32 0 9 1 1\nsensor_set_threshold 0x20 0 9 none 1 2 3", "2 threshold values, wanted 6"),
    ],
)
def test_what_is_wrong_says_where(text: str, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        parse_emu(text)


def test_continued_lines_count_from_their_first() -> None:
    with pytest.raises(DataError, match=r"my\.emu:2: main_sdr_add"):
        parse_emu("\nmain_sdr_add 0x20 \\\n 1 \\\n 2 \\\n", source="my.emu")


def test_an_area_is_written_in_rows() -> None:
    fru = Fru(fru_id=0, size=40, areas=(ProductArea(product_name=IdString("server")),))
    rows = [line for line in emu_text(Emulation(frus=(fru,)), title="").splitlines() if line.startswith("0x")]
    assert [row.endswith("\\") for row in rows] == [True, True, False]
