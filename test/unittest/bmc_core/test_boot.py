"""System boot options, against IPMI 2.0 table 28-14."""

from __future__ import annotations

import pytest
from bmc_bench import Bench

from infrasim.bmc_core import lifecycle
from infrasim.bmc_core.chassis import Button, ControlAction, RestartCause
from infrasim.bmc_core.codes import NetFn
from infrasim.qemu.boot import BootSelector

VALID, PERSISTENT, EFI = 0x80, 0x40, 0x20
PXE = 0x04
CLEAR = 0x80


def put(bench: Bench, *data: int) -> bytes:
    return bench.ask(NetFn.CHASSIS, 0x08, bytes(data))


def get(bench: Bench, number: int, block: int = 0) -> bytes:
    return bench.ask(NetFn.CHASSIS, 0x09, bytes([number, block, 0]))


def flags(bench: Bench, *data: int) -> bytes:
    return put(bench, 5, *data)


def test_flags_read_back_whole_and_apply() -> None:
    bench = Bench()
    assert flags(bench, VALID | EFI, PXE, 0x0A, 2, 1) == b"\0"
    assert get(bench, 5) == bytes([0, 1, 5, VALID | EFI, PXE, 0x0A, 2, 1])
    assert bench.chassis.orders == ["boot pxe keep=False"]


@pytest.mark.parametrize(
    "impossible",
    [
        (0x40, 0, 0, 0),  # lock the keyboard
        (0x02, 0, 0, 0),  # blank the screen
        (0, 0x40, 0, 0),  # say more
        (0, 0x20, 0, 0),  # say less
        (0, 0x10, 0, 0),  # send progress events
        (0, 0x01, 0, 0),  # no console on the serial port
        (0, 0x03, 0, 0),
        (0, 0, 0x08, 0),  # share a channel
        (0, 0, 0x03, 0),
        (0, 0, 0, 0x02),  # the second one outside
        (0, 0, 0, 0x12),
    ],
)
def test_what_no_firmware_here_does_is_refused(impossible: tuple[int, int, int, int]) -> None:
    bench = Bench()
    flags(bench, VALID, PXE, 0, 0, 0)
    assert flags(bench, VALID, *impossible) == b"\xcc"
    assert get(bench, 5) == bytes([0, 1, 5, VALID, PXE, 0, 0, 0]), "what was set before stays"


# The console on the serial port, no password, the port for both or one, the first device.
@pytest.mark.parametrize("true", [(0, 2, 0, 0), (0, 8, 0, 0), (0, 0, 1, 0), (0, 0, 2, 1), (0, 0, 0, 0x11)])
def test_what_is_so_anyway_is_taken(true: tuple[int, int, int, int]) -> None:
    bench = Bench()
    assert flags(bench, VALID, *true) == b"\0"
    assert get(bench, 5) == bytes([0, 1, 5, VALID, *true])


@pytest.mark.parametrize(
    ("first", "second", "button"),
    [(1, 0, Button.RESET), (0, 0x80, Button.POWER), (0, 0x04, Button.STANDBY)],
)
def test_a_boot_locks_buttons_until_the_next_one_or_the_hosts_end(
    first: int, second: int, button: Button
) -> None:
    bench = Bench()
    bench.chassis.on = True

    def disabled() -> int:
        return bench.ask(NetFn.CHASSIS, 0x01)[4] & 0x0F

    flags(bench, VALID, PXE | first, second, 0, 0)
    assert disabled() == 0, "not yet"
    bench.bmc.host_reset(by_guest=False)
    bench.bmc.boot.used()
    assert disabled() == button
    assert bench.bmc.chassis_control.is_disabled(button)
    again = Bench(state=bench.bmc.state)
    assert again.bmc.chassis_control.is_disabled(button), "the host goes on"
    bench.bmc.host_reset(by_guest=True)
    assert disabled() == 0
    flags(bench, VALID | PERSISTENT, first, second, 0, 0)
    for _ in range(2):
        bench.bmc.host_reset(by_guest=True)
        assert disabled() == button
    bench.bmc.power_changed(on=False)
    assert disabled() == 0


def test_settings_are_cleared_at_the_next_power_on_and_only_once() -> None:
    bench = Bench()
    state = bench.bmc.state.boot
    flags(bench, VALID, PXE | CLEAR, 0, 0, 0)
    bench.bmc.boot.used()
    assert state.clears_settings, "a boot without a power-on has left them"
    bench.bmc.boot.settings_cleared()
    assert not state.clears_settings
    flags(bench, VALID | PERSISTENT, CLEAR, 0, 0, 0)
    bench.bmc.boot.settings_cleared()
    assert state.clears_settings, "at every boot"
    flags(bench, 0, 0, 0, 0, 0)
    assert not state.clears_settings


def test_settings_are_not_cleared_by_flags_that_expired() -> None:
    bench = Bench()
    flags(bench, VALID, CLEAR, 0, 0, 0)
    bench.clock.advance(61)
    assert not bench.bmc.state.boot.clears_settings


@pytest.mark.parametrize(
    ("has_settings", "clear", "orders"),
    [(True, CLEAR, ["off", "on"]), (True, 0, ["reset"]), (False, CLEAR, ["reset"])],
)
def test_a_reset_is_a_power_cycle_where_settings_are_to_be_cleared(
    has_settings: bool, clear: int, orders: list[str]
) -> None:
    bench = Bench()
    bench.chassis.on, bench.chassis.has_settings = True, has_settings
    flags(bench, VALID, clear, 0, 0, 0)
    bench.chassis.orders.clear()
    assert bench.ask(NetFn.CHASSIS, 0x02, bytes([ControlAction.HARD_RESET])) == b"\0"
    if not bench.chassis.on:
        bench.bmc.power_changed(on=False)
        bench.clock.advance(1)
    assert bench.chassis.orders == orders


def test_one_boot_uses_them_up() -> None:
    bench = Bench()
    flags(bench, VALID, PXE, 0, 0, 0)
    bench.bmc.boot.used()
    assert get(bench, 5) == bytes([0, 1, 5, 0, 0, 0, 0, 0])


def test_flags_without_a_device_are_used_by_any_boot() -> None:
    bench = Bench()
    flags(bench, VALID | EFI, 0, 0, 0, 0)
    bench.bmc.host_reset(by_guest=True)
    assert get(bench, 5) == bytes([0, 1, 5, 0, 0, 0, 0, 0])


def test_flags_with_a_device_wait_until_the_firmware_has_read_them() -> None:
    bench = Bench()
    flags(bench, VALID, PXE, 0, 0, 0)
    bench.bmc.power_changed(on=True)
    assert get(bench, 5)[3] == VALID


def test_persistent_ones_stay() -> None:
    bench = Bench()
    flags(bench, VALID | PERSISTENT, PXE, 0, 0, 0)
    assert bench.chassis.orders == ["boot pxe keep=True"]
    bench.bmc.boot.used()
    bench.clock.advance(1000)
    assert get(bench, 5)[3] == VALID | PERSISTENT


def test_unused_flags_expire_after_a_minute() -> None:
    bench = Bench()
    flags(bench, VALID, PXE, 0, 0, 0)
    bench.clock.advance(59)
    assert get(bench, 5)[3] == VALID
    bench.clock.advance(2)
    assert get(bench, 5)[3:5] == bytes([0, PXE])
    assert bench.chassis.orders[-1] == "boot None keep=False"


def test_a_chassis_control_begins_the_minute_anew() -> None:
    bench = Bench()
    flags(bench, VALID, PXE, 0, 0, 0)
    bench.clock.advance(50)
    bench.ask(NetFn.CHASSIS, 0x02, b"\x01")
    bench.clock.advance(50)
    assert get(bench, 5)[3] == VALID


@pytest.mark.parametrize("first", [True, False])
def test_the_timeout_can_be_switched_off(first: bool) -> None:
    bench = Bench()
    if first:
        put(bench, 3, 0x08)
    flags(bench, VALID, PXE, 0, 0, 0)
    if not first:
        put(bench, 3, 0x08)
    bench.clock.advance(1000)
    assert get(bench, 5)[3] == VALID


@pytest.mark.parametrize("action", [ControlAction.HARD_RESET, ControlAction.POWER_CYCLE])
@pytest.mark.parametrize(
    ("cause", "keep"),
    [(RestartCause.WATCHDOG, 0x04), (RestartCause.PEF_RESET, 0x10), (RestartCause.PEF_POWER_CYCLE, 0x10)],
)
def test_a_restart_that_nobody_wanted_takes_them_away(
    cause: RestartCause, keep: int, action: ControlAction
) -> None:
    for clearing, valid in ((0, 0), (keep, VALID), (0x1F & ~keep, 0)):
        bench = Bench()
        bench.chassis.on = True
        put(bench, 3, clearing)
        flags(bench, VALID, PXE, 0, 0, 0)
        bench.bmc.chassis_control.act(action, cause)
        assert get(bench, 5)[3] == valid
    flags(bench, VALID | PERSISTENT, PXE, 0, 0, 0)
    bench.chassis.on = True
    bench.bmc.chassis_control.act(action, cause)
    assert get(bench, 5)[3] == VALID | PERSISTENT


def test_a_watchdog_that_switches_off_leaves_them_for_the_next_power_on() -> None:
    bench = Bench()
    bench.chassis.on = True
    flags(bench, VALID, PXE, 0, 0, 0)
    bench.bmc.chassis_control.act(ControlAction.POWER_DOWN, RestartCause.WATCHDOG)
    assert get(bench, 5)[3] == VALID


@pytest.mark.parametrize("device", [3, 4, 7, 8, 9, 11, 15])
def test_a_device_the_node_does_not_have_is_refused(device: int) -> None:
    bench = Bench()
    assert flags(bench, VALID, device << 2, 0, 0, 0) == b"\xcc"
    assert get(bench, 5)[3:] == bytes(5)


def test_a_menu_needs_something_to_choose_from() -> None:
    bench = Bench()
    bench.chassis.devices = frozenset({BootSelector.PXE})
    assert flags(bench, VALID, 6 << 2, 0, 0, 0) == b"\xcc"


def test_set_in_progress_is_for_one() -> None:
    bench = Bench()
    assert put(bench, 0, 1) == b"\0"
    assert put(bench, 0, 1) == b"\x81"
    assert get(bench, 0) == bytes([0, 1, 0, 1])
    assert put(bench, 0, 0) == b"\0"


def test_the_acknowledgement_is_none_when_the_bmc_begins() -> None:
    first = Bench()
    put(first, 4, 0x1F, 0x1F)
    assert get(Bench(state=first.bmc.state), 4)[3:] == bytes(2)
    first.bmc.power_changed(on=True)
    assert get(first, 4)[3:] == bytes([0, 0x1F])
    first.bmc.reset(cold=False)
    assert get(first, 4)[3:] == bytes(2)


def test_acknowledge_writes_only_masked_bits() -> None:
    bench = Bench()
    put(bench, 4, 0x1F, 0x1F)
    put(bench, 4, 0x01, 0x00)
    assert get(bench, 4) == bytes([0, 1, 4, 0, 0x1E])


def test_the_mailbox_has_blocks() -> None:
    bench = Bench()
    assert put(bench, 7, 2, *range(16)) == b"\0"
    assert get(bench, 7, 2) == bytes([0, 1, 7, 2, *range(16)])
    assert get(bench, 7, 9) == b"\xc9"
    assert put(bench, 7, 9, 1) == b"\xc9"


def test_a_parameter_can_be_marked_invalid_and_back() -> None:
    bench = Bench()
    put(bench, 0x86)
    assert get(bench, 6)[2] == 0x86
    put(bench, 6)
    assert get(bench, 6)[2] == 6


@pytest.mark.parametrize("data", [(), (5, 1), (3, 1, 2), (6, 1)])
def test_wrong_lengths_are_refused(data: tuple[int, ...]) -> None:
    assert put(Bench(), *data) == b"\xc7"


def test_an_unknown_parameter_is_refused_with_its_own_code() -> None:
    assert put(Bench(), 9, 0) == b"\x80"
    assert get(Bench(), 9) == b"\x80"


def test_the_minute_goes_on_when_the_bmc_begins_anew() -> None:
    first = Bench()
    flags(first, VALID, PXE, 0, 0, 0)
    bench = Bench(state=first.bmc.state)
    bench.clock.time_s += 50
    bench.bmc.host_goes_on()
    lifecycle.timers_go_on(bench.bmc)
    bench.clock.advance(9)
    assert get(bench, 5)[3] == VALID
    bench.clock.advance(2)
    assert get(bench, 5)[3] == 0
    assert bench.chassis.orders == ["boot None keep=False"]


def test_flags_without_a_device_are_not_used_by_a_host_that_goes_on() -> None:
    first = Bench()
    flags(first, VALID | EFI, 0, 0, 0, 0)
    bench = Bench(state=first.bmc.state)
    bench.bmc.host_goes_on()
    assert get(bench, 5)[3] == VALID | EFI


def test_without_power_no_minute_passes() -> None:
    first = Bench()
    flags(first, VALID, PXE, 0, 0, 0)
    bench = Bench(state=first.bmc.state)
    bench.clock.time_s += 1000
    lifecycle.ac_came(bench.bmc)
    bench.clock.advance(59)
    assert get(bench, 5)[3] == VALID
    bench.clock.advance(2)
    assert get(bench, 5)[3] == 0


def test_what_people_chose_waits_through_all_of_that() -> None:
    first = Bench()
    first.bmc.boot.choose(BootSelector.PXE)
    bench = Bench(state=first.bmc.state)
    lifecycle.ac_came(bench.bmc)
    lifecycle.timers_go_on(bench.bmc)
    bench.clock.advance(1000)
    assert get(bench, 5)[3] == VALID
