"""Events: how they come in, and what platform event filtering does about each.

Whoever learns of an event calls :meth:`Events.happened`: the commands here, and the runtime for what ipmi_sim
reports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infrasim.bmc_core.chassis import ControlAction, RestartCause
from infrasim.bmc_core.clock import bmc_time_s
from infrasim.bmc_core.codes import BMC_ADDRESS, REMOTE_CONSOLE_ADDRESS, Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.parameters import ParameterState
from infrasim.bmc_core.pef_config import Action, Control, Filter, Policy
from infrasim.bmc_core.pet import event_of_record
from infrasim.bmc_core.sel import add_to_log

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

_SYSTEM_EVENT = 0x02
_EVENT_REVISION = 0x04
NO_RECORD = 0xFFFF
# The id of an event that is in no log. Source: IPMI 2.0 table 30-6.
_NOT_LOGGED = bytes(2)

# What ipmi_sim's own global enables are: its event buffer and the flag that tells of it, with its log or
# without. Source: IPMI 2.0 section 22.1.
_SET_GLOBAL_ENABLES = 0x2E
_ENGINE_ENABLES, _ENGINE_LOGS = 0x06, 0x08

# The BMC's sensor for its own PEF actions: System Event, sensor-specific, offset 4 with the actions in event
# data 2. Source: IPMI 2.0 table 42-3, sensor type 12h.
_PEF_ACTION_EVENT = bytes([_EVENT_REVISION, 0x12, 0x00, 0x6F, 0x44])
# How long the host stays off in a power cycle. Source: IPMI 2.0 section 28.3 has at least 1 s.
# Events that wait for the postpone timer; the SEL has them all.
_MOST_WAITING = 256
_DISABLED = 0xFE


@dataclass
class PefState:
    """What PEF keeps. ``last_by_software`` and ``last_by_bmc`` are record ids of the SEL."""

    parameters: ParameterState = field(default_factory=ParameterState)
    last_by_software: int = NO_RECORD
    last_by_bmc: int = NO_RECORD
    event_receiver: int = BMC_ADDRESS
    event_receiver_lun: int = 0


# What a filter can do to the host, the highest priority first. Source: IPMI 2.0 table 17-3.
_POWER_ACTIONS = {
    Action.POWER_OFF: (ControlAction.POWER_DOWN, RestartCause.UNKNOWN),
    Action.POWER_CYCLE: (ControlAction.POWER_CYCLE, RestartCause.PEF_POWER_CYCLE),
    Action.RESET: (ControlAction.HARD_RESET, RestartCause.PEF_RESET),
    Action.DIAGNOSTIC_INTERRUPT: (ControlAction.DIAGNOSTIC_INTERRUPT, RestartCause.UNKNOWN),
}


class Events:
    """Matches events with the filters and does what they say."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._postponed_until_s = 0.0
        self._is_disabled = False
        self._host_started_s = float("-inf")
        self._waiting: list[bytes] = []

    def host_started(self) -> None:
        """The host was switched on or reset: the startup delays begin."""
        self._host_started_s = self._bmc.clock.now_s()
        self.end_postponement()

    def end_postponement(self) -> None:
        """The host was switched off or reset, or the BMC was: what its software had postponed goes on.

        Source: IPMI 2.0 section 30.2.
        """
        self._is_disabled = False
        self._postponed_until_s = 0.0
        self._work_later(self._wait_s())

    def postpone(self, value: int) -> int:
        """Set the postpone timer as Arm PEF Postpone Timer wants, and return what is left of it."""
        if value != 0xFF:
            self._is_disabled = value == _DISABLED
            seconds = 0 if self._is_disabled else value
            self._postponed_until_s = self._bmc.clock.now_s() + seconds
            self._work_later(seconds)
        if self._is_disabled:
            return _DISABLED
        return max(0, round(self._postponed_until_s - self._bmc.clock.now_s()))

    async def happened(self, record: bytes) -> None:
        """Take note of one event: 16 bytes as in the SEL, with the record id that it has there.

        Source: IPMI 2.0 section 17.
        """
        if len(record) != 16 or record[2] != _SYSTEM_EVENT:
            return
        if not self._bmc.pef_parameters.control & Control.ENABLED:
            return
        wait_s = self._wait_s()
        if self._is_disabled or wait_s > 0:
            self._waiting = [*self._waiting, record][-_MOST_WAITING:]
            self._work_later(wait_s)
            return
        actions = self._process(record)
        if actions and self._bmc.pef_parameters.control & Control.EVENT_MESSAGES:
            await self._log(actions)

    def _wait_s(self) -> float:
        started_s = self._host_started_s + self._bmc.pef_parameters.startup_delay_s
        return max(self._postponed_until_s, started_s) - self._bmc.clock.now_s()

    def _work_later(self, delay_s: float) -> None:
        if self._waiting and not self._is_disabled:
            self._bmc.clock.later(max(0.0, delay_s), self._work)

    def _work(self) -> None:
        """Process what waited, unless software has dealt with it meanwhile."""
        wait_s = self._wait_s()
        if self._is_disabled or wait_s > 0:
            self._work_later(wait_s)
            return
        waiting, self._waiting = self._waiting, []
        numbers = [int.from_bytes(record[:2], "little") for record in waiting]
        done = self._bmc.state.pef.last_by_software
        first = numbers.index(done) + 1 if done in numbers else 0
        for record in waiting[first:]:
            self._process(record)

    def _process(self, record: bytes) -> Action:
        """Do what the filters say about an event and return what was done."""
        bmc = self._bmc
        number = int.from_bytes(record[:2], "little")
        if bmc.state.pef.last_by_bmc != number:
            bmc.state.pef.last_by_bmc = number
            bmc.changed()
        matching = [each for each in bmc.pef_parameters.filters() if each.matches(record)]
        wanted = Action(0)
        for each in matching:
            wanted |= each.actions
        actions = wanted & bmc.pef_parameters.allowed_actions
        done = self._act_on_power(actions)
        if actions & Action.ALERT:
            done |= Action.ALERT
            severity = max(each.severity for each in matching)
            self._alert(record, [each for each in matching if each.actions & Action.ALERT], severity)
        return done

    def _act_on_power(self, actions: Action) -> Action:
        """Do the one of these actions with the highest priority. Source: IPMI 2.0 table 17-3."""
        bmc = self._bmc
        if not bmc.chassis.power_is_on():
            return Action(0)
        for action, (control, cause) in _POWER_ACTIONS.items():
            if actions & action:
                bmc.chassis_control.act(control, cause)
                return action
        return Action(0)

    def _alert(self, record: bytes, filters: list[Filter], severity: int) -> None:
        """Run each alert policy that the filters name, once.

        All tell the highest severity that any filter gives the event. Source: IPMI 2.0 table 17-2, byte 4.
        """
        by_policy: dict[int, Filter] = {}
        for each in filters:
            by_policy.setdefault(each.policy, each)
        delay_s = (
            self._host_started_s + self._bmc.pef_parameters.alert_startup_delay_s - self._bmc.clock.now_s()
        )
        for number, each in by_policy.items():
            run = self._policy_run(record, number, each, severity)
            if delay_s > 0:
                self._bmc.clock.later(delay_s, run)
            else:
                run()

    def _policy_run(self, record: bytes, number: int, cause: Filter, severity: int) -> Callable[[], None]:
        store = self._bmc.pef_parameters
        event = event_of_record(record, severity=severity)
        sensor = self._bmc.sensors.entities.get((record[7], record[11]))
        if sensor is not None:
            event = dataclasses.replace(event, entity=sensor[0], entity_instance=sensor[1])

        def text(policy: Policy) -> bytes:
            if policy.string_is_event_specific:
                return store.event_string(cause.number, policy.string)
            return store.alert_string(policy.string) if policy.string else b""

        return lambda: self._bmc.alerts.run_policy(store.policies(number), event, text)

    async def _log(self, actions: Action) -> None:
        body = _PEF_ACTION_EVENT + bytes([actions, 0xFF])
        await add_own_event(self._bmc, bytes([BMC_ADDRESS, 0]) + body)


async def add_own_event(bmc: Bmc, event: bytes) -> bytes:
    """Add an event of the BMC's own to the SEL, if that is possible, and return its record.

    ``event`` is generator id and event message, 9 bytes.
    """
    record = _record(bmc, event)
    with suppress(Refused):
        return await _add(bmc, record)
    return record


def _record(bmc: Bmc, event: bytes) -> bytes:
    timestamp = (int(bmc_time_s(bmc)) & 0xFFFFFFFF).to_bytes(4, "little")
    return _NOT_LOGGED + bytes([_SYSTEM_EVENT]) + timestamp + event


async def _add(bmc: Bmc, record: bytes) -> bytes:
    """The record as it is in the SEL; as it was, if that is full or the host's software wants none.

    Raises:
        Refused: by ipmi_sim.
    """
    if not bmc.messaging.logs_events:
        return record
    try:
        number = await add_to_log(bmc, record)
    except Refused as refusal:
        if refusal.code != Completion.OUT_OF_SPACE:
            raise
        return record
    return number[:2].ljust(2, b"\xff") + record[2:]


async def platform_event(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 29.3. The last two event data bytes may be left out.

    One that finds the log full has happened all the same: filters and alerts get it.
    """
    in_band = request.origin.channel == Channel.SYSTEM_INTERFACE
    data = request.need(5 + in_band, 7 + in_band)
    if in_band:
        generator, message = bytes([data[0], 0]), data[1:]
    else:
        generator, message = bytes([REMOTE_CONSOLE_ADDRESS, request.origin.channel << 4]), data
    record = await _add(bmc, _record(bmc, generator + message.ljust(7, b"\xff")))
    bmc.event_happened(record)
    return b""


async def set_event_receiver(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 29.1. ipmi_sim makes the events, so it must know."""
    address, lun = request.need(2)
    if address & 0x01 and address != 0xFF:
        raise Refused(Completion.INVALID_FIELD)
    await bmc.engine.ask(request.netfn, request.command, request.data)
    bmc.state.pef.event_receiver, bmc.state.pef.event_receiver_lun = address, lun & 0x03
    bmc.changed()
    return b""


def get_event_receiver(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 29.2."""
    request.need(0)
    return bytes([bmc.state.pef.event_receiver, bmc.state.pef.event_receiver_lun])


async def set_engine_enables(bmc: Bmc) -> None:
    """Let ipmi_sim tell of the events that its sensors make, and log them where the host's software wants it.

    Raises:
        Refused: by ipmi_sim.
    """
    enables = _ENGINE_ENABLES | (_ENGINE_LOGS if bmc.messaging.logs_events else 0)
    await bmc.engine.ask(NetFn.APP, _SET_GLOBAL_ENABLES, bytes([enables]))


async def restore_event_receiver(bmc: Bmc) -> None:
    """Tell ipmi_sim again after it was started, if it is not what it begins with.

    Raises:
        Refused: by ipmi_sim.
    """
    state = bmc.state.pef
    if (state.event_receiver, state.event_receiver_lun) != (BMC_ADDRESS, 0):
        receiver = bytes([state.event_receiver, state.event_receiver_lun])
        await bmc.engine.ask(NetFn.SENSOR, 0x00, receiver)


COMMANDS = (
    Command(NetFn.SENSOR, 0x00, "Set Event Receiver", Privilege.ADMINISTRATOR, "29.1", set_event_receiver),
    Command(NetFn.SENSOR, 0x01, "Get Event Receiver", Privilege.USER, "29.2", get_event_receiver),
    Command(NetFn.SENSOR, 0x02, "Platform Event", Privilege.OPERATOR, "29.3", platform_event),
)
