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


def sensor_bench(kind: bytes | Refused = _TEMPERATURE) -> Bench:
    bench = Bench()
    bench.engine.answers[(SENSOR, 0x2F)] = kind
    return bench


@pytest.mark.parametrize("command", [0x24, 0x25, 0x26, 0x27, 0x28, 0x29])
def test_what_a_sensor_does_not_have_is_illegal_for_it(command: int) -> None:
    bench = sensor_bench()
    bench.engine.answers[(SENSOR, command)] = Refused(0xC1)
    assert bench.ask(SENSOR, command, b"\x30\0\1\1") == b"\xcd"


@pytest.mark.parametrize("command", [0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2D, 0x2F, 0x23, 0x2B, 0x30])
def test_a_sensor_that_is_not_there(command: int) -> None:
    bench = sensor_bench(Refused(0xCC))
    bench.engine.answers[(SENSOR, command)] = Refused(0xCC)
    data = b"\x30\0" if command in (0x23, 0x30) else b"\x30"
    assert bench.ask(SENSOR, command, data) == b"\xcb"


def test_a_wrong_field_stays_one() -> None:
    bench = sensor_bench()
    bench.engine.answers[(SENSOR, 0x26)] = Refused(0xCC)
    assert bench.ask(SENSOR, 0x26, b"\x30\x20") == b"\xcc"
    bench.engine.answers[(SENSOR, 0x26)] = Refused(0xC7)
    assert bench.ask(SENSOR, 0x26, b"\x30") == b"\xc7"


@pytest.mark.parametrize("command", [0x24, 0x26, 0x28, 0x2A])
def test_an_order_is_answered_by_its_code_alone(command: int) -> None:
    bench = sensor_bench()
    bench.engine.answers[(SENSOR, command)] = b"what ipmi_sim's memory holds"
    assert bench.ask(SENSOR, command, b"\x30\xc0") == b"\0"


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
