"""Fault bits of Get Chassis Status, against IPMI 2.0 tables 28-3 and 42-3."""

from __future__ import annotations

import pytest
from bmc_bench import Bench

from infrasim.bmc_core.codes import NetFn


def event(sensor_type: int, event_type: int, offset: int, sensor: int = 1) -> bytes:
    return bytes([1, 0, 2, 0, 0, 0, 0, 0x20, 0, 4, sensor_type, sensor, event_type, offset, 0xFF, 0xFF])


def bits(bench: Bench) -> tuple[int, int]:
    """Power faults and chassis faults."""
    bench.settle()
    answer = bench.ask(NetFn.CHASSIS, 0x01)
    return answer[1] & 0x1E, answer[3] & 0x0F


@pytest.mark.parametrize(
    ("sensor_type", "event_type", "offset", "expected"),
    [
        (0x04, 0x01, 0x2, (0, 0x08)),
        (0x04, 0x01, 0x0, (0, 0)),
        (0x05, 0x6F, 0x0, (0, 0x01)),
        (0x08, 0x6F, 0x1, (0x08, 0)),
        (0x08, 0x6F, 0x3, (0x08, 0)),
        (0x08, 0x6F, 0x0, (0, 0)),
        (0x0D, 0x6F, 0x1, (0, 0x04)),
        (0x01, 0x01, 0x9, (0, 0)),
    ],
)
def test_an_event_shows_until_it_is_taken_back(
    sensor_type: int, event_type: int, offset: int, expected: tuple[int, int]
) -> None:
    bench = Bench()
    bench.bmc.event_happened(event(sensor_type, event_type, offset))
    assert bits(bench) == expected
    bench.bmc.event_happened(event(sensor_type, event_type | 0x80, offset))
    assert bits(bench) == (0, 0)


def test_each_sensor_has_its_own() -> None:
    bench = Bench()
    bench.bmc.event_happened(event(0x04, 0x01, 0x2, sensor=1))
    bench.bmc.event_happened(event(0x04, 0x01, 0x2, sensor=2))
    bench.bmc.event_happened(event(0x04, 0x81, 0x2, sensor=1))
    assert bits(bench) == (0, 0x08)
