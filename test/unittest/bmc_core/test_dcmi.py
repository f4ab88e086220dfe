"""DCMI: capabilities, tags, power and temperatures with their limits."""

from __future__ import annotations

import dataclasses

import pytest
from bmc_bench import SETTINGS, Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.message import Refused

GROUP = NetFn.GROUP


def dcmi_bench() -> Bench:
    bench = Bench(dataclasses.replace(SETTINGS, asset_tag="RACK-7"))
    bench.chassis.on = True
    return bench


def ask(bench: Bench, command: int, data: str) -> str:
    """What DCMI answers without its own number, in hex, the completion code first."""
    answer = bench.ask(GROUP, command, b"\xdc" + bytes.fromhex(data))
    assert answer[1] == 0xDC
    return (answer[:1] + answer[2:]).hex(" ")


def temperature_record(number: int, entity: int, *, record_id: int) -> bytes:
    """A full record of a temperature in whole degrees less 100. Source: IPMI 2.0 table 43-1."""
    record = bytearray(48)
    record[:5] = bytes([record_id, 0, 0x51, 0x01, 43])
    record[5:14] = bytes([0x20, 0, number, entity, 1, 0, 0, 0x01, 0x01])
    # M = 1, B = -100 (ten bits), no exponents.
    record[23:30] = bytes([0, 1, 0, (-100 & 0xFF), 0xC0, 0, 0])
    return bytes(record)


def put_sensors(bench: Bench, *readings: tuple[int, int]) -> None:
    """Sensors from (entity, raw reading), one record each."""
    records = [
        temperature_record(place, entity, record_id=place)
        for place, (entity, _raw) in enumerate(readings, start=1)
    ]
    raw = {place: value for place, (_entity, value) in enumerate(readings, start=1)}
    inner = bench.engine.ask

    async def engine_ask(netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        await inner(netfn, command, data, lun=lun)
        if (netfn, command) == (NetFn.STORAGE, 0x20):
            return b"\x51" + len(records).to_bytes(2, "little") + bytes(11)
        if (netfn, command) == (NetFn.STORAGE, 0x23):
            number = max(1, int.from_bytes(data[2:4], "little"))
            if data[5] == 0xFF:
                raise Refused(0xCA)
            following = 0xFFFF if number == len(records) else number + 1
            return following.to_bytes(2, "little") + records[number - 1][data[4] : data[4] + data[5]]
        if (netfn, command) == (NetFn.SENSOR, 0x2D):
            return bytes([raw[data[0]], 0x40 if raw[data[0]] else 0x60, 0xC0])
        return b"\x01\x01"

    bench.engine.ask = engine_ask  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("parameter", "data"),
    [
        (1, "00 01 05 02 00 01 01"),
        (2, "00 01 05 02 e8 03 07 01 01"),
        (3, "00 01 05 02 20 00"),
        (4, "00 01 05 02 01 ff ff"),
        (5, "00 01 05 02 08 1e 41 43 45 47 4f 5e 81"),
        (6, "cc"),
    ],
)
def test_capabilities(parameter: int, data: str) -> None:
    bench = dcmi_bench()
    bench.engine.answers[(NetFn.STORAGE, 0x40)] = bytes([0x51, 10, 0]) + (990 * 16).to_bytes(2, "little")
    assert ask(bench, 0x01, f"{parameter:02x}") == data


def test_other_groups_are_told_apart() -> None:
    bench = dcmi_bench()
    assert bench.ask(GROUP, 0x01, b"\x03\x01") == b"\xc1\x03"
    assert bench.ask(GROUP, 0x01, b"") == b"\xc1"
    assert bench.ask(GROUP, 0x3E, b"\x00") == b"\xc1\x00"
    assert bench.ask(GROUP, 0x01, b"\xdc") == b"\xc7\xdc"


def test_the_asset_tag() -> None:
    bench = dcmi_bench()
    assert ask(bench, 0x06, "00 10") == "00 06 " + b"RACK-7".hex(" ")
    assert ask(bench, 0x08, "00 10" + b"sixteen bytes, a".hex()) == "00 10"
    assert ask(bench, 0x08, "10 03" + b"tag".hex()) == "00 13"
    assert ask(bench, 0x06, "10 03") == "00 13 " + b"tag".hex(" ")
    assert ask(bench, 0x06, "14 01") == "c9"
    assert ask(bench, 0x08, "3f 01 41") == "c9"
    assert ask(Bench(state=bench.bmc.state), 0x06, "00 02") == "00 13 73 69"


def test_the_controllers_name() -> None:
    bench = dcmi_bench()
    assert ask(bench, 0x09, "00 10") == "00 10 " + b"DCMI525400010203".hex(" ")
    assert ask(bench, 0x0A, "00 05" + b"node\0".hex()) == "00 05"
    assert ask(bench, 0x09, "00 10") == "00 04 " + b"node".hex(" ")


def test_configuration() -> None:
    bench = dcmi_bench()
    assert ask(bench, 0x13, "04 00") == "00 01 05 01 78 00"
    assert ask(bench, 0x12, "04 00 82 00") == "00"
    assert ask(bench, 0x13, "04 00") == "00 01 05 01 82 00"
    assert ask(bench, 0x12, "01 00 01") == "00"
    assert ask(bench, 0x12, "04 00 82") == "c7"
    assert ask(bench, 0x13, "06 00") == "cc"


def test_power_follows_the_load() -> None:
    bench = dcmi_bench()
    bench.bmc.power_changed(on=True)
    # Two processors: 120 W idle, 420 W busy. 1700001000 s is 0x6553f4e8.
    assert ask(bench, 0x02, "01 00 00") == "00 78 00 78 00 78 00 78 00 e8 f4 53 65 00 00 00 00 40"
    bench.load.load = 1.0
    bench.clock.advance(10)
    assert ask(bench, 0x02, "01 00 00")[:20] == "00 a4 01 78 00 a4 01"[:20]
    bench.clock.advance(10)
    reading = bytes.fromhex(ask(bench, 0x02, "01 00 00"))
    assert int.from_bytes(reading[7:9], "little") == 270
    assert int.from_bytes(reading[13:17], "little") == 20_000
    averaged = bytes.fromhex(ask(bench, 0x02, "02 41 00"))
    assert averaged[13:17] == bytes([0x41, 0, 0, 0])
    bench.chassis.on = False
    bench.bmc.power_changed(on=False)
    assert ask(bench, 0x02, "01 00 00")[3:8] == "0c 00"
    assert ask(bench, 0x02, "02 42 00") == "cc"
    assert ask(bench, 0x02, "03 00 00") == "cc"


def test_a_power_limit_is_kept() -> None:
    bench = dcmi_bench()
    assert ask(bench, 0x03, "00 00") == "80 00 00 00 a4 01 e8 03 00 00 00 00 01 00"
    assert ask(bench, 0x04, "00 00 00 11 c8 00 f4 01 00 00 00 00 05 00") == "00"
    assert ask(bench, 0x05, "01 00 00") == "00"
    again = Bench(state=bench.bmc.state)
    assert ask(again, 0x03, "00 00") == "00 00 00 11 c8 00 f4 01 00 00 00 00 05 00"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("00 00 00 02 c8 00 f4 01 00 00 00 00 05 00", "cc"),
        ("00 00 00 01 10 00 f4 01 00 00 00 00 05 00", "84"),
        ("00 00 00 01 c8 00 00 00 00 00 00 00 05 00", "85"),
    ],
)
def test_a_power_limit_that_cannot_be(data: str, code: str) -> None:
    assert ask(dcmi_bench(), 0x04, data) == code


@pytest.mark.parametrize(("action", "orders", "events"), [(0x00, [], 0), (0x01, ["off"], 1), (0x11, [], 1)])
def test_passing_the_power_limit_has_its_consequence_once(
    action: int, orders: list[str], events: int
) -> None:
    bench = dcmi_bench()
    bench.bmc.power_changed(on=True)
    ask(bench, 0x04, f"00 00 00 {action:02x} c8 00 10 27 00 00 00 00 05 00")
    ask(bench, 0x05, "01 00 00")
    bench.load.load = 1.0
    bench.clock.advance(15)
    assert bench.chassis.orders == []
    bench.clock.advance(60)
    bench.settle()
    assert bench.chassis.orders == orders
    added = [data for netfn, command, data in bench.engine.asked if command == 0x44]
    assert [data[10:15] for data in added] == [b"\x0b\x00\x05\x01\xff"] * events


def limited_bench(watts: int) -> Bench:
    """A busy host that can be slowed down, with an active limit that switches it off otherwise."""
    bench = dcmi_bench()
    bench.load.can_be_limited, bench.load.load = True, 1.0
    bench.bmc.power_changed(on=True)
    assert (
        ask(bench, 0x04, f"00 00 00 01 {watts.to_bytes(2, 'little').hex()} 10 27 00 00 00 00 05 00") == "00"
    )
    assert ask(bench, 0x05, "01 00 00") == "00"
    return bench


def watts_now(bench: Bench) -> int:
    bench.clock.advance(30)
    bench.settle()
    return int.from_bytes(bytes.fromhex(ask(bench, 0x02, "01 00 00"))[1:3], "little")


def test_an_active_power_limit_slows_the_host_down() -> None:
    bench = limited_bench(270)
    assert bench.load.part == 0.5
    assert watts_now(bench) == 270
    assert bench.chassis.orders == []
    ask(bench, 0x04, "00 00 00 01 96 00 10 27 00 00 00 00 05 00")
    assert bench.load.part == pytest.approx(0.1)
    assert watts_now(bench) == 150
    ask(bench, 0x05, "00 00 00")
    assert bench.load.part is None
    assert watts_now(bench) == 420


def test_a_limit_above_what_the_host_can_take_slows_nothing() -> None:
    bench = limited_bench(420)
    assert bench.load.part is None
    assert watts_now(bench) == 420


def test_a_power_limit_too_low_to_be_kept_has_its_consequence() -> None:
    bench = limited_bench(130)
    assert bench.load.part == 0.1, "the host has to go on"
    assert watts_now(bench) == 12
    assert bench.chassis.orders == ["off"]
    assert bench.load.part is None


def test_a_host_that_gets_power_is_held_at_once() -> None:
    bench = limited_bench(270)
    bench.chassis.on = False
    bench.bmc.power_changed(on=False)
    assert bench.load.part is None
    bench.chassis.on = True
    bench.bmc.power_changed(on=True)
    assert bench.load.part == 0.5


def test_temperatures() -> None:
    bench = dcmi_bench()
    put_sensors(bench, (0x37, 122), (0x03, 150), (0x03, 0), (0x41, 90), (0x0A, 130))
    assert ask(bench, 0x07, "01 40 00 00") == "00 01 01 01 00"
    assert ask(bench, 0x07, "01 03 00 00") == "00 03 03 02 00 03 00 04 00"
    assert ask(bench, 0x10, "01 37 00 00") == "00 01 01 16 01"
    assert ask(bench, 0x10, "01 41 00 00") == "00 03 02 32 01 8a 03"
    assert ask(bench, 0x10, "01 41 03 00") == "00 03 01 8a 03"
    assert ask(bench, 0x10, "01 41 00 02") == "00 03 01 8a 03"
    assert ask(bench, 0x10, "01 42 00 00") == "00 00 00"
    assert ask(bench, 0x10, "01 42 01 00") == "cb"
    assert ask(bench, 0x10, "02 42 00 00") == "cc"
    assert ask(bench, 0x10, "01 10 00 00") == "cc"


def test_the_records_are_read_once() -> None:
    bench = dcmi_bench()
    put_sensors(bench, (0x37, 122))
    ask(bench, 0x10, "01 37 00 00")
    before = len(bench.engine.asked)
    ask(bench, 0x10, "01 37 00 00")
    assert [each[1] for each in bench.engine.asked[before:]] == [0x2D]
    assert bench.bmc.sensors.entities == {(0x20, 1): (0x37, 1)}


def test_a_thermal_limit() -> None:
    bench = dcmi_bench()
    put_sensors(bench, (0x37, 145))
    bench.bmc.power_changed(on=True)
    assert ask(bench, 0x0C, "40 01") == "00 00 00 00 00"
    assert ask(bench, 0x0B, "37 01 60 28 0f 00") == "00"
    assert ask(bench, 0x0C, "40 01") == "00 60 28 0f 00"
    assert ask(bench, 0x0B, "03 01 60 28 0f 00") == "cc"
    for _ in range(4):
        bench.clock.advance(10)
        bench.settle()
    assert bench.chassis.orders == ["off"]


@given(st.integers(0, 0x14), st.binary(max_size=24))
def test_any_data_is_answered(command: int, data: bytes) -> None:
    bench = dcmi_bench()
    put_sensors(bench, (0x37, 122))
    assert bench.ask(GROUP, command, data)
    assert bench.ask(GROUP, command, b"\xdc" + data)


def test_a_sensors_factors_are_those_of_its_record() -> None:
    bench = dcmi_bench()
    put_sensors(bench, (0x37, 122))
    assert bench.ask(NetFn.SENSOR, 0x23, b"\x01\x7a").hex(" ") == "00 7b 01 00 9c c0 00 00"
    assert bench.ask(NetFn.SENSOR, 0x23, b"\x02\x7a") == b"\xcd"
