"""The watchdog timer: software that stops resetting it has its host reset, cycled or switched off."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.chassis import ControlAction, RestartCause
from infrasim.bmc_core.codes import BMC_ADDRESS, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.ports import Timer

# Source: IPMI 2.0 section 27.6.
_COUNT_S = 0.1
_DO_NOT_LOG = 0x80
_DO_NOT_STOP = 0x40
_IS_RUNNING = 0x40
_USES = (1, 2, 3, 4, 5)

_ACTIONS = {1: ControlAction.HARD_RESET, 2: ControlAction.POWER_DOWN, 3: ControlAction.POWER_CYCLE}
_NMI, _MESSAGING = 2, 3
# SMI is not something a machine of QEMU's can be given from outside.
_INTERRUPTS = (0, _NMI, _MESSAGING)

# Reset Watchdog Timer: nobody has set it yet. Source: IPMI 2.0 section 27.5.
_NOT_INITIALIZED = 0x80

# Source: IPMI 2.0 tables 42-3 (sensor type 23h) and 32-1; event type 6Fh is sensor-specific.
_SENSOR_TYPE = 0x23
_SENSOR_SPECIFIC = 0x6F
_EVENT_TIMER_INTERRUPT = 0x08
_EXTENSION_IN_BYTE_2 = 0xC0


@dataclass
class WatchdogState:
    """How the timer was set. ``countdown`` and the pre-timeout in their own units: 100 ms and seconds.

    ``ends_s`` is when a running countdown ends, on the BMC's clock; ``has_warned``: its pre-timeout has come.
    ``has_expired``: it ended, and was neither set nor started since.
    """

    is_set: bool = False
    use: int = 0
    do_not_log: bool = False
    action: int = 0
    interrupt: int = 0
    pre_timeout_s: int = 0
    expired_uses: int = 0
    countdown: int = 0
    ends_s: float | None = None
    has_warned: bool = False
    has_expired: bool = False


class Watchdog:
    """The running timer; how it was set and when it ends are part of the BMC's state."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._timers: list[Timer] = []

    @property
    def _state(self) -> WatchdogState:
        return self._bmc.state.watchdog

    @property
    def is_running(self) -> bool:
        """Whether it counts down."""
        return self._state.ends_s is not None

    @property
    def left(self) -> int:
        """What is left of the countdown, in steps of 100 ms."""
        state = self._state
        if state.ends_s is None:
            return 0 if state.has_expired else state.countdown
        return max(0, round((state.ends_s - self._bmc.clock.now_s()) / _COUNT_S))

    def start(self) -> None:
        """Begin the countdown anew."""
        state = self._state
        state.ends_s = self._bmc.clock.now_s() + state.countdown * _COUNT_S
        state.has_warned = state.has_expired = False
        self._wait()
        self._bmc.changed()

    def stop(self) -> None:
        """Stop the countdown."""
        self._cancel()
        if self._state.ends_s is not None:
            self._state.ends_s = None
            self._bmc.changed()

    def go_on(self) -> None:
        """The BMC begins anew beside a host that went on: so does the countdown. One that ended acts now."""
        if self.is_running:
            self._wait()

    def _wait(self) -> None:
        self._cancel()
        state, clock = self._state, self._bmc.clock
        assert state.ends_s is not None
        left_s = max(0.0, state.ends_s - clock.now_s())
        self._timers.append(clock.later(left_s, self._expire))
        pre_timeout_s = state.pre_timeout_s if state.interrupt and not state.has_warned else 0
        if 0 < pre_timeout_s <= state.countdown * _COUNT_S and left_s:
            self._timers.append(clock.later(max(0.0, left_s - pre_timeout_s), self._pre_timeout))

    def _cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def host_reset(self) -> None:
        """The host begins anew: a countdown for what ran before makes no sense."""
        self.stop()

    def host_off(self) -> None:
        """Nothing runs that could be watched."""
        self.stop()

    def _pre_timeout(self) -> None:
        self._state.has_warned = True
        self._bmc.changed()
        if self._state.interrupt == _NMI:
            self._bmc.chassis.send_nmi()
        else:
            self._bmc.messaging.watchdog_pre_timeout()
        self._log(_EVENT_TIMER_INTERRUPT)

    def _expire(self) -> None:
        state = self._state
        self.stop()
        state.expired_uses |= 1 << state.use
        state.has_expired = True
        self._bmc.changed()
        self._log(state.action)
        action = _ACTIONS.get(state.action)
        if action is None or not self._bmc.chassis.power_is_on():
            return
        # A host that is on its way down needs no watching.
        with suppress(Refused):
            self._bmc.chassis_control.act(action, RestartCause.WATCHDOG)

    def _log(self, offset: int) -> None:
        state = self._state
        if state.do_not_log:
            return
        self._bmc.log_event(
            generator=BMC_ADDRESS,
            sensor_type=_SENSOR_TYPE,
            sensor=self._bmc.settings.watchdog_sensor,
            event_type=_SENSOR_SPECIFIC,
            data=bytes([_EXTENSION_IN_BYTE_2 | offset, state.interrupt << 4 | state.use, 0xFF]),
        )


def reset_watchdog(bmc: Bmc, request: Request) -> bytes:
    """Once the pre-timeout has come, only Set Watchdog Timer helps. Source: IPMI 2.0 section 27.5."""
    request.need(0)
    state = bmc.state.watchdog
    if not state.is_set:
        raise Refused(_NOT_INITIALIZED)
    if bmc.watchdog.is_running and state.has_warned:
        raise Refused(Completion.NOT_IN_THIS_STATE)
    bmc.watchdog.start()
    return b""


def set_watchdog(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 27.6."""
    use, actions, pre_timeout_s, clear, low, high = request.need(6)
    action, interrupt = actions & 0x07, actions >> 4 & 0x07
    countdown = low | high << 8
    if use & 0x07 not in _USES or action > max(_ACTIONS) or interrupt not in _INTERRUPTS:
        raise Refused(Completion.INVALID_FIELD)
    if interrupt and pre_timeout_s > countdown * _COUNT_S:
        raise Refused(Completion.INVALID_FIELD)
    state = bmc.state.watchdog
    goes_on = bmc.watchdog.is_running and bool(use & _DO_NOT_STOP)
    state.is_set = True
    state.use = use & 0x07
    state.do_not_log = bool(use & _DO_NOT_LOG)
    state.action, state.interrupt, state.pre_timeout_s = action, interrupt, pre_timeout_s
    state.expired_uses &= ~clear
    state.countdown, state.has_expired = countdown, False
    bmc.messaging.clear_watchdog_pre_timeout()
    if goes_on:
        bmc.watchdog.start()
    else:
        bmc.watchdog.stop()
    bmc.changed()
    return b""


def get_watchdog(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 27.7."""
    request.need(0)
    state, timer = bmc.state.watchdog, bmc.watchdog
    use = state.use | state.do_not_log << 7 | (_IS_RUNNING if timer.is_running else 0)
    return (
        bytes([use, state.interrupt << 4 | state.action, state.pre_timeout_s, state.expired_uses])
        + state.countdown.to_bytes(2, "little")
        + timer.left.to_bytes(2, "little")
    )


COMMANDS = (
    Command(NetFn.APP, 0x22, "Reset Watchdog Timer", Privilege.OPERATOR, "27.5", reset_watchdog),
    Command(NetFn.APP, 0x24, "Set Watchdog Timer", Privilege.OPERATOR, "27.6", set_watchdog),
    Command(NetFn.APP, 0x25, "Get Watchdog Timer", Privilege.USER, "27.7", get_watchdog),
)
