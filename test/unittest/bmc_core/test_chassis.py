"""Chassis commands, against the byte tables of IPMI 2.0 chapter 28."""

from __future__ import annotations

import dataclasses

import pytest
from bmc_bench import SETTINGS, Bench

from infrasim.bmc_core.chassis import Button, ChassisState, ControlAction, RestartCause, RestorePolicy
from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.state import BmcState

STATUS, CONTROL, IDENTIFY, POLICY, CAUSE, INTERVAL, HOURS = 0x01, 0x02, 0x04, 0x06, 0x07, 0x0B, 0x0F


def chassis(bench: Bench, command: int, data: bytes = b"") -> bytes:
    return bench.ask(NetFn.CHASSIS, command, data)


def powered() -> Bench:
    bench = Bench()
    bench.chassis.on = True
    bench.bmc.chassis_control.power_changed(on=True)
    return bench


def test_status_tells_power_policy_and_lamp() -> None:
    bench = powered()
    assert chassis(bench, STATUS) == bytes([0, 0x41, 0, 0x40, 0xF0])
    chassis(bench, POLICY, b"\x01")
    chassis(bench, IDENTIFY, b"\x0a")
    bench.chassis.on = False
    assert chassis(bench, STATUS) == bytes([0, 0x20, 0, 0x50, 0xF0])


@pytest.mark.parametrize(
    ("action", "order"), [(0, "off"), (1, "on"), (2, "off"), (3, "reset"), (4, "nmi"), (5, "button")]
)
def test_each_control_reaches_the_host(action: int, order: str) -> None:
    bench = powered()
    assert chassis(bench, CONTROL, bytes([action])) == b"\0"
    assert bench.chassis.orders == [order]


@pytest.mark.parametrize("action", [2, 3, 4, 5])
def test_what_needs_power_is_refused_without(action: int) -> None:
    bench = Bench()
    assert chassis(bench, CONTROL, bytes([action])) == b"\xd5"
    assert bench.chassis.orders == []


@pytest.mark.parametrize(("data", "code"), [(b"\x06", 0xCC), (b"", 0xC7), (b"\x01\x01", 0xC7)])
def test_control_refuses_nonsense(data: bytes, code: int) -> None:
    assert chassis(powered(), CONTROL, data) == bytes([code])


def test_orders_to_a_host_that_takes_its_time_to_go() -> None:
    """It has power until it is gone; what was ordered counts for a loss of AC and for what comes after it."""
    bench = powered()
    state = bench.bmc.state.chassis
    assert chassis(bench, CONTROL, b"\x00") == b"\0"
    bench.chassis.on = True
    assert state.was_on is False
    assert chassis(bench, CONTROL, b"\x01") == b"\0"
    assert state.was_on is True
    assert chassis(bench, CAUSE) == bytes([0, RestartCause.CHASSIS_CONTROL, 0x0F])
    assert chassis(bench, STATUS)[2] == 0x10, "switched on by IPMI"
    state.restart_cause = RestartCause.WATCHDOG
    assert chassis(bench, CONTROL, b"\x01") == b"\0"
    assert state.restart_cause is RestartCause.WATCHDOG, "it is on, so nothing begins"


def test_a_cycle_goes_on_after_its_interval() -> None:
    bench = powered()
    chassis(bench, INTERVAL, b"\x05")
    chassis(bench, CONTROL, b"\x02")
    bench.bmc.chassis_control.power_changed(on=False)
    bench.clock.advance(4.9)
    assert bench.chassis.orders == ["off"]
    bench.clock.advance(0.2)
    assert bench.chassis.orders == ["off", "on"]


def test_an_off_during_a_cycle_ends_it() -> None:
    bench = powered()
    chassis(bench, CONTROL, b"\x02")
    chassis(bench, CONTROL, b"\x00")
    bench.bmc.chassis_control.power_changed(on=False)
    bench.clock.advance(10)
    assert bench.chassis.orders == ["off", "off"]


def test_the_cause_of_a_restart_is_kept_with_its_channel() -> None:
    bench = powered()
    chassis(bench, CONTROL, b"\x03")
    assert chassis(bench, CAUSE) == bytes([0, RestartCause.CHASSIS_CONTROL, 0x0F])
    bench.bmc.chassis_control.host_reset_itself()
    assert chassis(bench, CAUSE) == bytes([0, RestartCause.SOFT_RESET, 0])


def test_power_on_hours_count_only_time_with_power() -> None:
    bench = powered()
    bench.clock.advance(2 * 3600 + 10)
    assert chassis(bench, HOURS) == bytes([0, 60, 2, 0, 0, 0])
    bench.bmc.chassis_control.power_changed(on=False)
    bench.clock.advance(10 * 3600)
    assert chassis(bench, HOURS) == bytes([0, 60, 2, 0, 0, 0])
    assert bench.bmc.state.chassis.power_on_s == pytest.approx(7210)


def test_identify_lasts_as_long_as_asked() -> None:
    bench = Bench()
    for data, seconds in ((b"", 15.0), (b"\x05", 5.0), (b"\x00", 0.0), (b"\x00\x01", float("inf"))):
        assert chassis(bench, IDENTIFY, data) == b"\0"
        assert bench.chassis.orders[-1] == f"identify {seconds}"
    assert bench.bmc.chassis_control.identify_state == 2
    chassis(bench, IDENTIFY, b"\x05")
    bench.clock.advance(5)
    assert bench.bmc.chassis_control.identify_state == 0


@pytest.mark.parametrize(
    ("policy", "was_on", "startnow", "on", "cause"),
    [
        (None, False, True, True, RestartCause.ALWAYS_RESTORE),
        (None, True, False, False, RestartCause.UNKNOWN),
        (RestorePolicy.ALWAYS_ON, False, False, True, RestartCause.ALWAYS_RESTORE),
        (RestorePolicy.ALWAYS_OFF, True, True, False, RestartCause.UNKNOWN),
        (RestorePolicy.PREVIOUS, True, False, True, RestartCause.PREVIOUS_RESTORE),
        (RestorePolicy.PREVIOUS, False, True, False, RestartCause.UNKNOWN),
    ],
)
def test_the_restore_policy_decides_when_ac_comes(
    policy: RestorePolicy | None, was_on: bool, startnow: bool, on: bool, cause: RestartCause
) -> None:
    state = BmcState(chassis=ChassisState(restore_policy=policy, was_on=was_on))
    bench = Bench(dataclasses.replace(SETTINGS, power_on_at_start=startnow), state)
    assert bench.bmc.chassis_control.on_at_ac() is on
    assert state.chassis.was_on is on
    assert state.chassis.restart_cause is cause


def test_a_policy_can_be_asked_for_without_changing_it() -> None:
    bench = Bench()
    chassis(bench, POLICY, b"\x02")
    assert chassis(bench, POLICY, b"\x03") == b"\0\x07"
    assert bench.bmc.chassis_control.policy is RestorePolicy.ALWAYS_ON
    assert chassis(bench, POLICY, b"\x04") == b"\xcc"


LAST_EVENT = 2


def cycled(bench: Bench, *, by: RestartCause) -> int:
    """The last power event after a power cycle."""
    bench.bmc.chassis_control.act(ControlAction.POWER_CYCLE, by)
    bench.bmc.power_changed(on=False)
    bench.clock.advance(1)
    assert bench.chassis.orders[-1] == "on"
    bench.bmc.power_changed(on=True)
    return chassis(bench, STATUS)[LAST_EVENT]


def test_the_last_power_event_tells_who_switched_on() -> None:
    bench = Bench()
    bench.bmc.chassis_control.act(ControlAction.POWER_UP, RestartCause.POWER_BUTTON)
    bench.bmc.power_changed(on=True)
    assert chassis(bench, STATUS)[LAST_EVENT] == 0
    assert cycled(bench, by=RestartCause.CHASSIS_CONTROL) == 0x10
    assert cycled(bench, by=RestartCause.WATCHDOG) == 0
    chassis(bench, CONTROL, b"\x00")
    chassis(bench, CONTROL, b"\x01")
    assert chassis(bench, STATUS)[LAST_EVENT] == 0x10
    assert cycled(bench, by=RestartCause.POWER_BUTTON) == 0


def test_capabilities_tell_of_lockout_and_diagnostic_interrupt() -> None:
    bench = Bench()
    assert chassis(bench, 0x00) == bytes([0, 0x06, 0x20, 0x20, 0x20, 0x20])
    assert chassis(bench, 0x05, bytes([0xF9, 0x20, 0x20, 0x22, 0x20])) == b"\0"
    assert chassis(bench, 0x00) == bytes([0, 0x05, 0x20, 0x20, 0x22, 0x20])


def test_buttons_are_disabled_one_by_one() -> None:
    bench = Bench()
    chassis(bench, 0x0A, b"\x02")
    assert [each for each in Button if bench.bmc.chassis_control.is_disabled(each)] == [Button.RESET]
