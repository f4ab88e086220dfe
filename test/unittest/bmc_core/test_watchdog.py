"""The watchdog timer, against IPMI 2.0 chapter 27."""

from __future__ import annotations

import pytest
from bmc_bench import Bench

from infrasim.bmc_core import lifecycle
from infrasim.bmc_core.chassis import RestartCause
from infrasim.bmc_core.codes import NetFn

ADD_SEL = (NetFn.STORAGE, 0x44)


def running() -> Bench:
    bench = Bench()
    bench.chassis.on = True
    bench.bmc.chassis_control.power_changed(on=True)
    bench.engine.answers[ADD_SEL] = b"\x07\x00"
    return bench


def put(bench: Bench, *data: int) -> bytes:
    return bench.ask(NetFn.APP, 0x24, bytes(data))


def get(bench: Bench) -> bytes:
    return bench.ask(NetFn.APP, 0x25)


def start(bench: Bench) -> bytes:
    return bench.ask(NetFn.APP, 0x22)


def test_a_timer_nobody_set_cannot_be_started() -> None:
    assert start(running()) == b"\x80"


def test_it_reads_back_as_set_and_counts_down() -> None:
    bench = running()
    assert put(bench, 0x04, 0x01, 0, 0x10, 100, 0) == b"\0"
    assert get(bench) == bytes([0, 0x04, 0x01, 0, 0, 100, 0, 100, 0])
    start(bench)
    bench.clock.advance(4)
    assert get(bench) == bytes([0, 0x44, 0x01, 0, 0, 100, 0, 60, 0])


@pytest.mark.parametrize(("action", "order"), [(0, []), (1, ["reset"]), (2, ["off"]), (3, ["off"])])
def test_when_it_ends_it_acts_and_logs(action: int, order: list[str]) -> None:
    bench = running()
    put(bench, 0x04, action, 0, 0, 50, 0)
    start(bench)
    bench.clock.advance(5.1)
    assert bench.chassis.orders == order
    bench.settle()
    moment = int(bench.clock.unix_s()).to_bytes(4, "little")
    event = bytes([0x20, 0, 4, 0x23, 0, 0x6F, 0xC0 | action, 0x04, 0xFF])
    assert bench.engine.asked == [(*ADD_SEL, bytes([0, 0, 2]) + moment + event)]
    assert get(bench)[4] == 1 << 4
    assert (bench.bmc.state.chassis.restart_cause is RestartCause.WATCHDOG) is bool(action in (1, 3))


def test_kicking_it_keeps_the_host_alive() -> None:
    bench = running()
    put(bench, 0x04, 1, 0, 0, 50, 0)
    for _ in range(5):
        start(bench)
        bench.clock.advance(4)
    assert bench.chassis.orders == []


@pytest.mark.parametrize("interrupt", [2, 3])
def test_it_warns_before(interrupt: int) -> None:
    bench = running()
    put(bench, 0x04, interrupt << 4 | 1, 2, 0, 50, 0)
    start(bench)
    bench.clock.advance(3.1)
    bench.settle()
    assert bench.engine.asked[0][2][13:] == bytes([0xC8, interrupt << 4 | 4, 0xFF])
    assert bench.chassis.orders == (["nmi"] if interrupt == 2 else [])
    assert bench.system_interface.attention is (interrupt == 3)


def test_it_can_keep_quiet() -> None:
    bench = running()
    put(bench, 0x84, 1, 0, 0, 50, 0)
    start(bench)
    bench.clock.advance(6)
    bench.settle()
    assert bench.engine.asked == []


def test_setting_it_stops_it_unless_told_otherwise() -> None:
    bench = running()
    put(bench, 0x04, 1, 0, 0, 50, 0)
    start(bench)
    put(bench, 0x44, 1, 0, 0, 80, 0)
    assert get(bench)[1] & 0x40
    put(bench, 0x04, 1, 0, 0, 80, 0)
    assert not get(bench)[1] & 0x40


def test_a_host_that_goes_off_or_is_reset_is_not_watched() -> None:
    for end in ("off", "reset"):
        bench = running()
        put(bench, 0x04, 1, 0, 0, 50, 0)
        start(bench)
        if end == "off":
            bench.bmc.chassis_control.power_changed(on=False)
        else:
            bench.ask(NetFn.CHASSIS, 0x02, b"\x03")
        assert not get(bench)[1] & 0x40


@pytest.mark.parametrize(
    "data", [(0, 1, 0, 0, 50, 0), (4, 4, 0, 0, 50, 0), (4, 0x11, 0, 0, 50, 0), (4, 0x31, 9, 0, 50, 0)]
)
def test_nonsense_is_refused(data: tuple[int, ...]) -> None:
    assert put(running(), *data) == b"\xcc"


def test_expired_uses_are_cleared_on_request() -> None:
    bench = running()
    put(bench, 0x04, 0, 0, 0, 1, 0)
    start(bench)
    bench.clock.advance(1)
    bench.settle()
    put(bench, 0x04, 0, 0, 0x10, 1, 0)
    assert get(bench)[4] == 0


def test_after_its_end_the_countdown_can_be_started_again() -> None:
    bench = running()
    put(bench, 0x04, 0, 0, 0, 50, 0)
    start(bench)
    bench.clock.advance(5)
    assert get(bench) == bytes([0, 0x04, 0, 0, 1 << 4, 50, 0, 0, 0])
    assert start(bench) == b"\0"
    bench.clock.advance(4.9)
    assert get(bench)[1] == 0x44
    assert get(bench)[7] == 1
    bench.clock.advance(1)
    put(bench, 0x04, 0, 0, 0x10, 50, 0)
    assert get(bench) == bytes([0, 0x04, 0, 0, 0, 50, 0, 50, 0])
    bench.settle()


def test_once_it_has_warned_only_setting_it_helps() -> None:
    bench = running()
    put(bench, 0x04, 0x21, 2, 0, 50, 0)
    start(bench)
    bench.clock.advance(2.9)
    assert start(bench) == b"\0"
    bench.clock.advance(3.1)
    assert start(bench) == b"\xd5"
    assert get(bench)[1] == 0x44
    assert get(bench)[7] == 19
    bench.clock.advance(2)
    assert bench.chassis.orders == ["nmi", "reset"]
    assert start(bench) == b"\0"
    put(bench, 0x44, 0x21, 2, 0, 50, 0)
    bench.clock.advance(2.9)
    assert start(bench) == b"\0"
    # Without an interrupt there is nothing to reach.
    put(bench, 0x44, 0x01, 2, 0, 50, 0)
    bench.clock.advance(4)
    assert start(bench) == b"\0"
    bench.settle()


def replaced(bench: Bench, *, after_s: float) -> Bench:
    """The same host's next BMC, which begins that long after the first one came to a sudden end."""
    following = Bench(state=bench.bmc.state)
    following.clock.time_s = bench.clock.time_s + after_s
    following.engine.answers[ADD_SEL] = b"\x07\x00"
    following.chassis.on = True
    following.bmc.host_goes_on()
    lifecycle.timers_go_on(following.bmc)
    return following


def test_a_countdown_outlives_the_bmc_as_long_as_the_host_does() -> None:
    bench = running()
    put(bench, 0x04, 0x21, 2, 0, 100, 0)
    start(bench)
    bench = replaced(bench, after_s=3)
    assert get(bench)[1] == 0x44
    assert get(bench)[7] == 70
    bench.clock.advance(5.1)
    assert bench.chassis.orders == ["nmi"]
    bench.settle()
    bench = replaced(bench, after_s=1)
    bench.clock.advance(0.5)
    assert bench.chassis.orders == [], "it has warned before"
    bench = replaced(bench, after_s=60)
    bench.clock.advance(0)
    assert bench.chassis.orders == ["reset"]
    bench.settle()
    assert len(bench.engine.asked) == 1
    assert not get(bench)[1] & 0x40


def test_ac_ends_a_countdown() -> None:
    bench = running()
    put(bench, 0x04, 1, 0, 0, 50, 0)
    start(bench)
    following = Bench(state=bench.bmc.state)
    lifecycle.ac_came(following.bmc)
    following.clock.advance(100)
    assert following.chassis.orders == []
    assert get(following) == bytes([0, 0x04, 1, 0, 0, 50, 0, 50, 0])
