"""Chassis commands: power, status, identify, restart cause, restore policy, power-on hours."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.ports import Timer


class RestartCause(IntEnum):
    """Why the host last began. Source: IPMI 2.0 table 28-11."""

    UNKNOWN = 0x0
    CHASSIS_CONTROL = 0x1
    RESET_BUTTON = 0x2
    POWER_BUTTON = 0x3
    WATCHDOG = 0x4
    OEM = 0x5
    ALWAYS_RESTORE = 0x6
    PREVIOUS_RESTORE = 0x7
    PEF_RESET = 0x8
    PEF_POWER_CYCLE = 0x9
    SOFT_RESET = 0xA
    CLOCK_WAKE = 0xB


class RestorePolicy(IntEnum):
    """What happens when AC comes back. Source: IPMI 2.0 table 28-8."""

    ALWAYS_OFF = 0
    PREVIOUS = 1
    ALWAYS_ON = 2

    @classmethod
    def of_node_file(cls, *, power_on_at_start: bool) -> RestorePolicy:
        """The policy as long as nobody set one."""
        return cls.ALWAYS_ON if power_on_at_start else cls.ALWAYS_OFF

    def gives_power(self, *, was_on: bool) -> bool:
        """Whether the host gets power; ``was_on``: it had some when AC was lost."""
        return self is RestorePolicy.ALWAYS_ON or (self is RestorePolicy.PREVIOUS and was_on)


class ControlAction(IntEnum):
    """Source: IPMI 2.0 table 28-4."""

    POWER_DOWN = 0
    POWER_UP = 1
    POWER_CYCLE = 2
    HARD_RESET = 3
    DIAGNOSTIC_INTERRUPT = 4
    SOFT_SHUTDOWN = 5


class Button(IntFlag):
    """On the front panel, as Set Front Panel Button Enables disables them. Source: IPMI 2.0 section 28.6.

    That of power is only disabled for switching off.
    """

    POWER = 0x01
    RESET = 0x02
    DIAGNOSTIC_INTERRUPT = 0x04
    STANDBY = 0x08


# Bits of "last power event" in Get Chassis Status. Source: IPMI 2.0 table 28-3.
_LAST_AC_FAILED = 0x01
_LAST_ON_BY_IPMI = 0x10

# Of Get Chassis Capabilities: the two that Set Chassis Capabilities changes, and one that every host has.
# Source: IPMI 2.0 tables 28-2 and 28-9.
_HAS_LOCKOUT = 0x02
_SETTABLE_CAPABILITIES = 0x03
_HAS_DIAGNOSTIC_INTERRUPT = 0x04

_IDENTIFY_SUPPORTED = 0x40
_IDENTIFY_DEFAULT_S = 15
_NO_CHANGE = 3
_ALL_POLICIES = 0x07
# One count of the power-on hours counter, in minutes. Source: IPMI 2.0 section 28.14.
_MINUTES_PER_COUNT = 60


@dataclass
class ChassisState:
    """What the chassis remembers.

    ``restore_policy`` None follows the node file. ``was_on``: whether the host is meant to have power, which
    is what the policy finds after a loss of AC. ``last_event`` is byte 2 of Get Chassis Status.
    ``disabled_buttons`` are so until they are enabled, ``locked_buttons`` as long as this boot is up.
    ``power_on_s`` is the time the host had power, without the present stretch.
    """

    restore_policy: RestorePolicy | None = None
    was_on: bool = False
    last_event: int = 0
    restart_cause: RestartCause = RestartCause.UNKNOWN
    restart_channel: int = 0
    power_on_s: float = 0.0
    cycle_interval_s: int = 0
    disabled_buttons: int = 0
    locked_buttons: int = 0
    capabilities: bytes = bytes([_HAS_LOCKOUT, 0x20, 0x20, 0x20, 0x20])


class ChassisControl:
    """The chassis as the BMC sees it: orders go out, what became of them comes back."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._on_since_s: float | None = None
        self._cycle: Timer | None = None
        self._cycling = False
        self._identify_until_s: float | None = None

    @property
    def _state(self) -> ChassisState:
        return self._bmc.state.chassis

    @property
    def policy(self) -> RestorePolicy:
        """The restore policy in effect."""
        if self._state.restore_policy is not None:
            return self._state.restore_policy
        return RestorePolicy.of_node_file(power_on_at_start=self._bmc.settings.power_on_at_start)

    def on_at_ac(self) -> bool:
        """Whether the host gets power now that AC has come; notes why it begins."""
        state, policy = self._state, self.policy
        on = policy.gives_power(was_on=state.was_on)
        state.last_event = _LAST_AC_FAILED
        state.was_on = on
        if on:
            always = policy is RestorePolicy.ALWAYS_ON
            self._note_cause(RestartCause.ALWAYS_RESTORE if always else RestartCause.PREVIOUS_RESTORE)
        self._bmc.changed()
        return on

    def act(self, action: ControlAction, cause: RestartCause, *, channel: int = 0) -> None:
        """Do what somebody ordered.

        Raises:
            Refused: the chassis cannot do that while it is off.
        """
        chassis = self._bmc.chassis
        on = chassis.power_is_on()
        if action not in (ControlAction.POWER_DOWN, ControlAction.POWER_UP) and not on:
            raise Refused(Completion.NOT_IN_THIS_STATE)
        match action:
            case ControlAction.POWER_DOWN:
                self._stop_cycle()
                chassis.power_off()
                # The host takes a moment to go: AC that is lost meanwhile finds it switched off.
                self._note_power(on=False)
            case ControlAction.POWER_UP:
                self._stop_cycle()
                self._power_on(cause, channel)
            case ControlAction.POWER_CYCLE:
                self._note_cause(cause, channel)
                self._bmc.boot.restart_ordered(cause)
                self._begin_cycle()
            case ControlAction.HARD_RESET:
                self._note_cause(cause, channel)
                self._bmc.boot.restart_ordered(cause)
                if self._bmc.state.boot.clears_settings and chassis.keeps_settings():
                    # The firmware has them in use until the power is off.
                    self._begin_cycle()
                else:
                    self._bmc.watchdog.host_reset()
                    chassis.reset()
            case ControlAction.DIAGNOSTIC_INTERRUPT:
                chassis.send_nmi()
            case ControlAction.SOFT_SHUTDOWN:
                chassis.press_power_button()

    def _begin_cycle(self) -> None:
        self._cycling = True
        self._bmc.chassis.power_off()

    def _power_on(self, cause: RestartCause, channel: int) -> None:
        # A host that is on its way off is on, but has no future: this begins another.
        if not (self._bmc.chassis.power_is_on() and self._state.was_on):
            self._note_cause(cause, channel)
            self._note_last_event()
        self._bmc.chassis.power_on()
        self._note_power(on=True)

    def _note_power(self, *, on: bool) -> None:
        if self._state.was_on is not on:
            self._state.was_on = on
            self._bmc.changed()

    def _note_last_event(self) -> None:
        by_ipmi = self._state.restart_cause is RestartCause.CHASSIS_CONTROL
        self._state.last_event = _LAST_ON_BY_IPMI if by_ipmi else 0
        self._bmc.changed()

    def _note_cause(self, cause: RestartCause, channel: int = 0) -> None:
        self._state.restart_cause = cause
        self._state.restart_channel = channel
        self._bmc.changed()

    def _stop_cycle(self) -> None:
        self._cycling = False
        if self._cycle:
            self._cycle.cancel()
            self._cycle = None

    def power_changed(self, *, on: bool) -> None:
        """The host has got or lost power, for whatever reason."""
        now_s = self._bmc.clock.now_s()
        state = self._state
        if on and self._on_since_s is None:
            self._on_since_s = now_s
        elif not on and self._on_since_s is not None:
            state.power_on_s += now_s - self._on_since_s
            self._on_since_s = None
        state.was_on = on
        self._bmc.changed()
        if not on:
            self.lock(Button(0))
            self._bmc.watchdog.host_off()
            if self._cycling:
                self._cycling = False
                self._cycle = self._bmc.clock.later(state.cycle_interval_s, self._end_cycle)

    def _end_cycle(self) -> None:
        self._cycle = None
        self._note_last_event()
        self._bmc.chassis.power_on()

    def host_reset_itself(self) -> None:
        """The host was reset, and no order of ours was behind it."""
        self._note_cause(RestartCause.SOFT_RESET, 0)
        self._bmc.watchdog.host_reset()

    def lock(self, buttons: Button) -> None:
        """A boot begins, with these buttons locked while it is up."""
        if self._state.locked_buttons != buttons:
            self._state.locked_buttons = int(buttons)
            self._bmc.changed()

    @property
    def disabled_buttons(self) -> int:
        """Those that do nothing, by Set Front Panel Button Enables or by boot flags."""
        return self._state.disabled_buttons | self._state.locked_buttons

    def is_disabled(self, button: Button) -> bool:
        """Whether pressing a button does nothing."""
        return bool(self.disabled_buttons & button)

    @property
    def powered_s(self) -> float:
        """How long the host has had power, all in all, in seconds."""
        stretch_s = 0.0 if self._on_since_s is None else self._bmc.clock.now_s() - self._on_since_s
        return self._state.power_on_s + stretch_s

    def save_hours(self) -> None:
        """Bring the kept hours up to date; for regular calls."""
        if self._on_since_s is not None:
            now_s = self._bmc.clock.now_s()
            self._state.power_on_s += now_s - self._on_since_s
            self._on_since_s = now_s
            self._bmc.changed()

    @property
    def identify_state(self) -> int:
        """0 off, 1 for a time, 2 until told otherwise. Source: IPMI 2.0 table 28-3."""
        if self._identify_until_s is None or self._bmc.clock.now_s() >= self._identify_until_s:
            return 0
        return 2 if self._identify_until_s == float("inf") else 1

    def identify(self, seconds: float) -> None:
        """Light the lamp for so long."""
        self._identify_until_s = self._bmc.clock.now_s() + seconds if seconds else None
        self._bmc.chassis.identify(seconds)


def get_chassis_capabilities(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.1."""
    request.need(0)
    kept = bmc.state.chassis.capabilities
    return bytes([kept[0] | _HAS_DIAGNOSTIC_INTERRUPT]) + kept[1:]


def set_chassis_capabilities(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.7."""
    data = request.need(5, 6)
    bmc.state.chassis.capabilities = bytes([data[0] & _SETTABLE_CAPABILITIES]) + data[1:5]
    bmc.changed()
    return b""


def get_chassis_status(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.2."""
    if request.data:
        raise Refused(Completion.LENGTH_INVALID)
    state, control, faults = bmc.state.chassis, bmc.chassis_control, bmc.state.faults
    power = int(bmc.chassis.power_is_on()) | control.policy << 5 | faults.power
    misc = _IDENTIFY_SUPPORTED | control.identify_state << 4 | faults.chassis
    # Every button may be disabled; the low half says which are.
    return bytes((power, state.last_event, misc, 0xF0 | control.disabled_buttons))


def chassis_control(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 28.3."""
    (number,) = request.need(1)
    try:
        action = ControlAction(number & 0x0F)
    except ValueError:
        raise Refused(Completion.INVALID_FIELD) from None
    if bmc.boot.counts_down:
        bmc.boot.begin_countdown()
    bmc.chassis_control.act(action, RestartCause.CHASSIS_CONTROL, channel=request.origin.channel)
    return _when_off(bmc) if action is ControlAction.POWER_DOWN else b""


async def _when_off(bmc: Bmc) -> bytes:
    """The next question is to see the effect, as far as that does not take long."""
    await bmc.chassis.settled(on=False)
    return b""


def chassis_identify(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.5."""
    data = request.need(0, 2)
    seconds = float(data[0] if data else _IDENTIFY_DEFAULT_S)
    if len(data) == 2 and data[1] & 1:
        seconds = float("inf")
    bmc.chassis_control.identify(seconds)
    return b""


def set_front_panel_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.6."""
    (buttons,) = request.need(1)
    bmc.state.chassis.disabled_buttons = buttons & 0x0F
    bmc.changed()
    return b""


def set_power_restore_policy(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.8."""
    (number,) = request.need(1)
    wanted = number & 0x07
    if wanted != _NO_CHANGE:
        try:
            bmc.state.chassis.restore_policy = RestorePolicy(wanted)
        except ValueError:
            raise Refused(Completion.INVALID_FIELD) from None
        bmc.changed()
    return bytes([_ALL_POLICIES])


def set_power_cycle_interval(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.9."""
    (seconds,) = request.need(1)
    bmc.state.chassis.cycle_interval_s = seconds
    bmc.changed()
    return b""


def get_system_restart_cause(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.11."""
    request.need(0)
    state = bmc.state.chassis
    return bytes([state.restart_cause, state.restart_channel])


def get_poh_counter(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.14."""
    request.need(0)
    counts = int(bmc.chassis_control.powered_s / 60 / _MINUTES_PER_COUNT)
    return bytes([_MINUTES_PER_COUNT]) + counts.to_bytes(4, "little")


_USER, _OPERATOR, _ADMINISTRATOR = Privilege.USER, Privilege.OPERATOR, Privilege.ADMINISTRATOR
COMMANDS = tuple(
    Command(NetFn.CHASSIS, *entry)
    for entry in (
        (0x00, "Get Chassis Capabilities", _USER, "28.1", get_chassis_capabilities),
        (0x01, "Get Chassis Status", _USER, "28.2", get_chassis_status),
        (0x02, "Chassis Control", _OPERATOR, "28.3", chassis_control),
        (0x04, "Chassis Identify", _OPERATOR, "28.5", chassis_identify),
        (0x05, "Set Chassis Capabilities", _ADMINISTRATOR, "28.7", set_chassis_capabilities),
        (0x06, "Set Power Restore Policy", _OPERATOR, "28.8", set_power_restore_policy),
        (0x07, "Get System Restart Cause", _USER, "28.11", get_system_restart_cause),
        (0x0A, "Set Front Panel Button Enables", _ADMINISTRATOR, "28.6", set_front_panel_enables),
        (0x0B, "Set Power Cycle Interval", _ADMINISTRATOR, "28.9", set_power_cycle_interval),
        (0x0F, "Get POH Counter", _USER, "28.14", get_poh_counter),
    )
)
