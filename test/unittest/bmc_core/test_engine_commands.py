"""What ipmi_sim answers, and how its answers are told where they are not IPMI's."""

from __future__ import annotations

import asyncio

import pytest
from bmc_bench import Bench

from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.lifecycle import engine_started
from infrasim.bmc_core.message import Refused

SENSOR = NetFn.SENSOR
_TEMPERATURE, _DISCRETE = b"\x01\x01", b"\x08\x6f"
# The shortest right request about sensor 30h for each command.
LENGTHS = {
    0x23: b"\x30\0",
    0x24: b"\x30\xff\1\1",
    0x25: b"\x30\xff",
    0x26: b"\x30\x01" + bytes(6),
    0x27: b"\x30",
    0x28: b"\x30\xd0",
    0x29: b"\x30",
    0x2A: b"\x30\0",
    0x2B: b"\x30",
    0x2D: b"\x30",
    0x2F: b"\x30",
    0x30: b"\x30\0",
}


def sensor_bench(kind: bytes | Refused = _TEMPERATURE) -> Bench:
    bench = Bench()
    bench.engine.answers[(SENSOR, 0x2F)] = kind
    return bench


@pytest.mark.parametrize("command", [0x24, 0x25, 0x26, 0x27, 0x28, 0x29])
def test_what_a_sensor_does_not_have_is_illegal_for_it(command: int) -> None:
    bench = sensor_bench()
    bench.engine.answers[(SENSOR, command)] = Refused(0xC1)
    assert bench.ask(SENSOR, command, LENGTHS[command]) == b"\xcd"


@pytest.mark.parametrize("command", [0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2D, 0x2F, 0x23, 0x2B, 0x30])
def test_a_sensor_that_is_not_there(command: int) -> None:
    bench = sensor_bench(Refused(0xCC))
    bench.engine.answers[(SENSOR, command)] = Refused(0xCC)
    assert bench.ask(SENSOR, command, LENGTHS[command]) == b"\xcb"


def test_a_wrong_field_stays_one() -> None:
    bench = sensor_bench()
    bench.engine.answers[(SENSOR, 0x26)] = Refused(0xCC)
    assert bench.ask(SENSOR, 0x26, LENGTHS[0x26]) == b"\xcc"


@pytest.mark.parametrize("command", [*LENGTHS])
def test_a_request_of_another_length_does_not_reach_ipmi_sim(command: int) -> None:
    bench = sensor_bench()
    most = {0x28: bytes(6), 0x2A: bytes(6), 0x30: bytes(10)}.get(command, LENGTHS[command])
    assert bench.ask(SENSOR, command, LENGTHS[command][:-1]) == b"\xc7"
    assert bench.ask(SENSOR, command, most + b"\0") == b"\xc7"
    assert not bench.engine.asked


@pytest.mark.parametrize("command", [0x24, 0x26, 0x28, 0x2A])
def test_an_order_is_answered_by_its_code_alone(command: int) -> None:
    bench = sensor_bench()
    bench.engine.answers[(SENSOR, command)] = b"what ipmi_sim's memory holds"
    assert bench.ask(SENSOR, command, LENGTHS[command]) == b"\0"


def test_a_sensor_is_switched_whatever_ipmi_sim_answers() -> None:
    bench = sensor_bench()
    order = bytes([0x30, 0xC0])
    # What it forgets to answer itself is its answer to the request before.
    bench.engine.answers[(SENSOR, 0x28)] = Refused(0xC5)
    bench.engine.answers[(SENSOR, 0x29)] = b"\xc0"
    assert bench.ask(SENSOR, 0x28, order) == b"\0"
    assert bench.engine.asked == [(SENSOR, 0x28, order), (SENSOR, 0x29, b"\x30")]
    assert bench.ask(SENSOR, 0x28, order + b"\0\0\0\0\0") == b"\xc7"


@pytest.mark.parametrize(("engine", "code"), [(0xC1, 0xCD), (0xCC, 0xCB), (0xC0, 0xC0)])
def test_a_sensor_that_cannot_be_switched(engine: int, code: int) -> None:
    bench = sensor_bench(Refused(0xCC))
    bench.engine.answers[(SENSOR, 0x28)] = b"what was asked before"
    bench.engine.answers[(SENSOR, 0x29)] = Refused(engine)
    assert bench.ask(SENSOR, 0x28, bytes([0x30, 0xC0])) == bytes([code])


def test_the_event_status_of_a_threshold_sensor() -> None:
    bench = sensor_bench()
    # Lower non-critical and critical, upper non-recoverable.
    bench.engine.answers[(SENSOR, 0x2D)] = b"\x19\xc0\xe3\x00"
    assert bench.ask(SENSOR, 0x2B, b"\x30") == b"\0\xc0" + (1 << 0 | 1 << 2 | 1 << 11).to_bytes(
        2, "little"
    ) + bytes(2)


def test_the_event_status_of_a_discrete_sensor() -> None:
    bench = sensor_bench(_DISCRETE)
    bench.engine.answers[(SENSOR, 0x2D)] = b"\0\xc0\x05\x80"
    assert bench.ask(SENSOR, 0x2B, b"\x30") == b"\0\xc0\x05\0\0\0"
    assert bench.ask(SENSOR, 0x2B) == b"\xc7"


def test_no_reading_can_be_set() -> None:
    assert sensor_bench().ask(SENSOR, 0x30, b"\x30\x01\x19") == b"\x80"
    assert sensor_bench().ask(SENSOR, 0x30, b"\x30") == b"\xc7"


def test_what_ipmi_sim_is_is_asked_once_each_time_it_starts() -> None:
    bench = Bench()
    asked = (NetFn.APP, 0x01)
    bench.engine.answers[asked] = b"first"
    assert bench.ask(*asked) == b"\0first"
    asyncio.run(engine_started(bench.bmc))
    bench.engine.answers[asked] = b"second"
    assert bench.ask(*asked) == b"\0first"
    asyncio.run(engine_started(bench.bmc))
    assert bench.ask(*asked) == b"\0second"
    assert bench.engine.asked.count((*asked, b"")) == 3
    assert bench.engine.asked.count((NetFn.APP, 0x2E, b"\x0e")) == 2, "and told to tell of events"


@pytest.mark.parametrize("device", [b"\x20\x01", b"\x20\x81"])
def test_device_records_are_there_if_ipmi_sim_has_some(device: bytes) -> None:
    bench = Bench()
    bench.engine.answers[(NetFn.APP, 0x01)] = device
    bench.engine.answers[(SENSOR, 0x20)] = b"\x05\x01"
    asyncio.run(engine_started(bench.bmc))
    has_some = device[1] == 0x81
    assert bench.ask(SENSOR, 0x20) == (b"\0\x05\x01" if has_some else b"\xc1")
    support = bench.ask(NetFn.APP, 0x0A, b"\x0e\x04\0")[1:]
    assert not support[4] & 0x07 if has_some else support[4] & 0x07 == 0x07
    assert bench.ask(SENSOR, 0x22, b"\0") == (b"\xc7" if has_some else b"\xc1")


def test_who_asks_what_ipmi_sim_is_has_nothing_more_to_say() -> None:
    bench = Bench()
    assert bench.ask(NetFn.APP, 0x01, b"\0") == b"\xc7"
    assert not bench.engine.asked
