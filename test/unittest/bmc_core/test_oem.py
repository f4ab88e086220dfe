"""What Dell and Quanta add."""

from __future__ import annotations

import dataclasses

import pytest
from bmc_bench import SETTINGS, Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.message import Origin
from infrasim.bmc_core.oem import dell, quanta
from infrasim.bmc_core.oem.catalog import oem

APP = NetFn.APP
_MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
_BASE_S = 1_700_001_000


def dell_bench() -> Bench:
    bench = Bench(dataclasses.replace(SETTINGS, manufacturer=dell.MANUFACTURER, host_macs=_MACS))
    bench.chassis.on = True
    return bench


def ask(bench: Bench, command: int, data: str = "") -> str:
    return bench.ask(dell.NETFN, command, bytes.fromhex(data)).hex(" ")


def parameter(bench: Bench, number: int, more: str = "") -> bytes:
    answer = bench.ask(APP, 0x59, bytes([0, number, 0, 0]) + bytes.fromhex(more))
    assert answer[:2] == b"\0\x11"
    return answer[2:]


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]


def longs(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def test_macs() -> None:
    bench = dell_bench()
    assert parameter(bench, 0xDA, "0000") == b"\x10"
    assert parameter(bench, 0xDA) == b"\x10"
    assert parameter(bench, 0xDA, "0808").hex(" ") == "00 01 52 54 00 00 00 02"
    assert bench.ask(APP, 0x59, b"\0\xda\0\0\x10\x08") == b"\xc9"
    assert bench.ask(APP, 0x59, b"\x80\xda\0\0") == b"\0\x11"
    assert bench.ask(APP, 0x59, b"\0\xda") == b"\xc7"
    assert bench.ask(APP, 0x58, b"\xda\0") == b"\x82"
    assert ask(bench, 0xC9, "01") == "00" + " 00" * 13
    assert ask(bench, 0xC9, "02") == "cc"


@pytest.mark.parametrize(
    ("wanted", "code", "old", "active"),
    [
        ("01 00", "00", "02", "05"),
        ("02 00", "00", "00", "01"),
        ("03 02", "00", "01", "02"),
        ("02 06", "00", "03", "01"),
        ("01 02", "cc", "02", "05"),
        ("02 02", "cc", "02", "05"),
        ("04 00", "cc", "02", "05"),
        ("02 05", "cc", "02", "05"),
        ("00 00", "cc", "02", "05"),
    ],
)
def test_the_network_card(wanted: str, code: str, old: str, active: str) -> None:
    bench = dell_bench()
    assert ask(bench, 0x28, wanted) == code
    assert ask(bench, 0x25) == f"00 {old}"
    assert ask(bench, 0xC1, "00 00 00") == f"00 {active} 00"
    assert ask(bench, 0xC1, "01 00 00") == f"00 {active} 01"
    assert ask(bench, 0xC1, "02 00 00") == "cc"
    again = Bench(dataclasses.replace(bench.bmc.settings), bench.bmc.state)
    assert ask(again, 0x29) == f"00 {wanted if code == '00' else '01 00'}"


@pytest.mark.parametrize(("mode", "told"), [(0, "02 00"), (1, "02 03"), (2, "01 00"), (3, "02 06")])
def test_the_network_card_as_older_tools_set_it(mode: int, told: str) -> None:
    bench = dell_bench()
    assert ask(bench, 0x24, f"{mode:02x}") == "00"
    assert ask(bench, 0x29) == f"00 {told}"
    assert ask(bench, 0x25) == f"00 {mode:02x}"
    assert ask(bench, 0x24, "04") == "cc"


def test_energy_and_peak() -> None:
    bench = dell_bench()
    bench.bmc.power_changed(on=True)
    bench.load.load = 1.0
    bench.clock.advance(3600)
    bench.load.load = 0.0
    bench.clock.advance(3600)
    told = bench.ask(dell.NETFN, 0x9C, b"\x07\x01")[1:]
    since_s, watt_hours, peak_since_s, amperes_at_s = longs(told[:16])
    assert (since_s, peak_since_s, amperes_at_s) == (_BASE_S, _BASE_S, _BASE_S + 10)
    assert 535 <= watt_hours <= 545
    assert words(told[16:18]) == [18], "420 W at 230 V"
    assert longs(told[18:22]) == [_BASE_S + 10]
    assert words(told[22:]) == [420]
    assert bench.bmc.state.energy.peak_w == 420
    assert ask(bench, 0x9D, "07 01 01") == "00"
    assert ask(bench, 0x9D, "07 01 02") == "00"
    told = bench.ask(dell.NETFN, 0x9C, b"\x07\x01")[1:]
    assert longs(told[:16]) == [_BASE_S + 7200, 0, _BASE_S + 7200, _BASE_S + 7200]
    assert words(told[22:]) == [120]
    assert ask(bench, 0x9D, "07 01 03") == "cc"
    assert ask(bench, 0x9C, "07 02") == "cc"


def test_consumption_and_headroom() -> None:
    bench = dell_bench()
    bench.bmc.power_changed(on=True)
    bench.load.load = 0.5
    bench.clock.advance(20)
    bench.load.load = 0.0
    bench.clock.advance(20)
    assert words(bytes.fromhex(ask(bench, 0xB3, "0a 00"))[1:5]) == [120, 5]
    assert words(bytes.fromhex(ask(bench, 0xBB))[1:]) == [300, 150]
    assert ask(bench, 0xB3, "0b 00") == "cc"


def test_the_history_of_a_week() -> None:
    bench = dell_bench()
    bench.bmc.power_changed(on=True)
    bench.load.load = 1.0
    bench.clock.advance(12 * 3600)
    bench.load.load = 0.0
    bench.clock.advance(36 * 3600)
    bench.load.load = 0.5
    bench.clock.advance(60)
    minute, hour, day, week = words(parameter(bench, 0xEB))
    assert minute > hour >= day == 120
    assert 193 <= week <= 197, "a quarter of two days at full load"
    most = parameter(bench, 0xEC)
    assert words(most[:8]) == [270, 270, 270, 420]
    assert longs(most[8:])[3] == _BASE_S + 10
    least = parameter(bench, 0xED)
    assert words(least[:8]) == [120, 120, 120, 120]
    bench.clock.advance(9 * 24 * 3600)
    assert words(parameter(bench, 0xEC)[:8]) == [270, 270, 270, 270]


def test_the_cap_is_dcmis_limit() -> None:
    bench = dell_bench()
    limit = bench.bmc.state.dcmi.limit
    assert ask(bench, 0xBA, "01 ff") == "00 02"
    assert parameter(bench, 0xEA).hex(" ") == "a4 01 00 a4 01 78 00 00 a4 01 00 00"
    assert ask(bench, 0xBA, "00 01") == "00"
    assert ask(bench, 0xBA, "01 ff") == "00 03"
    assert limit.is_active
    bench.load.can_be_limited = True
    for value, unit, watts in ((300, 0, 300), (1000, 1, 292), (50, 3, 270)):
        body = bytes([0xEA]) + value.to_bytes(2, "little") + bytes([unit]) + bytes(9)
        assert bench.ask(APP, 0x58, body) == b"\0"
        assert limit.watts == watts
    assert bench.load.part == 0.5
    assert parameter(bench, 0xEA)[10] == 1, "throttled"
    for body, code in (
        (b"\xea\x10\0\0" + bytes(9), 0xC9),
        (b"\xea\0\2\2" + bytes(9), 0xCC),
        (b"\xea\0\2\0", 0xC7),
    ):
        assert bench.ask(APP, 0x58, body)[0] == code
    user = Origin(SETTINGS.main_channel, Privilege.USER)
    assert bench.ask(dell.NETFN, 0xBA, b"\0\0", origin=user) == b"\xd4"
    assert bench.ask(dell.NETFN, 0xBA, b"\1\xff", origin=user) == b"\0\3"
    assert ask(bench, 0xBA, "02 00") == "cc"


def test_there_is_no_card() -> None:
    assert ask(dell_bench(), 0xA4, "00 00") == "00 01" + " 00" * 11


def test_the_platform_of_a_quanta() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, manufacturer=quanta.MANUFACTURER))
    assert bench.ask(0x36, 0x65, b"\x4c\x1c\0\2") == b"\0\1"
    assert bench.ask(0x36, 0x65, b"\x4c\x1c\0\3") == b"\xcc"
    assert bench.ask(dell.NETFN, 0x29) == b"\xc1"


@given(st.sampled_from([each.number for each in oem(dell.MANUFACTURER).commands]), st.binary(max_size=16))
def test_any_data_is_answered(command: int, data: bytes) -> None:
    assert dell_bench().ask(dell.NETFN, command, data)


@given(st.sampled_from(list(oem(dell.MANUFACTURER).live)), st.binary(max_size=16))
def test_any_parameter_is_answered(number: int, data: bytes) -> None:
    bench = dell_bench()
    assert bench.ask(APP, 0x58, bytes([number]) + data)
    assert bench.ask(APP, 0x59, bytes([0, number]) + data)
