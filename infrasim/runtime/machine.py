"""What a node does when something happens: one transition function, no process and no clock.

``NodeMachine.step`` takes one event and returns the actions it asks for; the supervisor performs
them and feeds back what came of them. Everything about start order, restarts, chassis power and boot
overrides is decided here.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from infrasim.frozen import Frozen
from infrasim.plan.model import IPMI_SIM, QEMU, SOCAT, NodePlan
from infrasim.qemu.boot import BootSelector
from infrasim.runtime.state import ChildState, Phase

# A child that dies is restarted after a delay that doubles; too many deaths in the window end that.
BACKOFF_FIRST_S = 0.2
DEATHS_ALLOWED = 5
DEATHS_WINDOW_S = 60.0

# How long a program may take to follow a request to end before it gets the next, harder one.
QUIT_WAIT_S = 1.0

# After a reset from outside SeaBIOS finds that it ran before and resets the machine again, about 0.1 s
# later. Both read the boot order, and together they are one boot. Source: measured, QEMU 7.2.
FIRMWARE_SETTLES_S = 3.0
TERM_WAIT_S = 2.0


_RENEWING = (ChildState.RUNNING, ChildState.STARTING, ChildState.STOPPING)
_LIVING = (ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING)


class PowerOrder(StrEnum):
    """What can be asked of the chassis."""

    ON = "on"
    OFF = "off"
    RESET = "reset"
    SOFT = "soft"


# --- events -------------------------------------------------------------------------------------


class Begin(Frozen):
    """Start the node; ``adopted`` children run already and were restarted so often.

    ``power`` says whether the host is to have power; ``override`` and ``keep`` as in ``SetOverride``.
    ``is_up``: the start is complete, and only who supervises is new.
    """

    power: bool
    adopted: Mapping[str, int] = field(default_factory=dict)
    override: BootSelector | None = None
    keep: bool = False
    is_up: bool = False


class Ready(Frozen):
    """A child passed its ready check; a host says which boot override it began with."""

    name: str
    booted_with: BootSelector | None = None


class HostWaits(Frozen):
    """The host that is starting has its monitor open and waits to be let go."""


class Exited(Frozen):
    """A child ended. ``guest_off`` means the host's own system switched it off."""

    name: str
    code: int | None
    guest_off: bool = False


class TimerFired(Frozen):
    """A timer that was started ran out."""

    key: str


class Power(Frozen):
    """Somebody ordered chassis power. ``os_listens``: an operating system will hear a power button."""

    order: PowerOrder
    os_listens: bool = True


class SetOverride(Frozen):
    """Somebody asked for another device at the next boot, or with ``keep`` at each; None takes it back."""

    selector: BootSelector | None
    keep: bool = False


class HostReset(Frozen):
    """The host was reset, by whomever; its firmware has read the boot order."""

    by_guest: bool = False


class HostBroken(Frozen):
    """The host cannot go on although its process lives."""

    reason: str


class SerialLogLost(Frozen):
    """What the host is about to say on its serial port would go to a file that was removed."""


class Stop(Frozen):
    """Take the node down."""


Event = (
    Begin
    | Ready
    | HostWaits
    | Exited
    | TimerFired
    | Power
    | SetOverride
    | HostReset
    | HostBroken
    | SerialLogLost
    | Stop
)


# --- actions ------------------------------------------------------------------------------------


class Spawn(Frozen):
    """Start a child and begin its ready check."""

    name: str


class LetHostGo(Frozen):
    """Let the waiting host run, with the boot order it is to have, and say ``Ready`` then."""


class SendSignal(Frozen):
    """Signal a child."""

    name: str
    number: signal.Signals


class StartTimer(Frozen):
    """Fire ``key`` after ``delay_s``; a timer of that key that runs is replaced."""

    key: str
    delay_s: float


class StopTimer(Frozen):
    """Forget a timer, if there is one."""

    key: str


class QuitHost(Frozen):
    """Tell QEMU to end now."""


class PressPowerButton(Frozen):
    """Ask the operating system to shut down."""


class ResetHost(Frozen):
    """Reset the host."""


class SetBootOrder(Frozen):
    """Give the running host this boot order; None is its own."""

    selector: BootSelector | None


class OverrideUsed(Frozen):
    """The firmware has read the boot override."""


class HostRestarted(Frozen):
    """The host was reset and begins anew, once for all resets that its firmware makes of one."""

    by_guest: bool


class OpenFirmwareMenu(Frozen):
    """Make the firmware that starts now stop at its boot menu."""


class Report(Frozen):
    """Write what happened to the node's events."""

    event: str
    details: dict[str, str | int | float | None] = field(default_factory=dict)


class NodeUp(Frozen):
    """The start is complete."""


class StartFailed(Frozen):
    """The start failed because of this child; ``timed_out`` when it lives but is not ready."""

    name: str
    code: int | None
    timed_out: bool


class Finished(Frozen):
    """Nothing runs any more."""


Action = (
    Spawn
    | LetHostGo
    | SendSignal
    | StartTimer
    | StopTimer
    | QuitHost
    | PressPowerButton
    | ResetHost
    | SetBootOrder
    | OverrideUsed
    | HostRestarted
    | OpenFirmwareMenu
    | Report
    | NodeUp
    | StartFailed
    | Finished
)


@dataclass
class Child:
    """One child as the machine sees it. ``deaths`` are times on the caller's clock, in seconds.

    ``ends_with_host``: it ends of itself when the host does, and waits anew for the next one. ``met_host``:
    a host was started that finds it.
    ``stands_alone``: no other waits for it to start, nor it for any other.
    """

    name: str
    ready_timeout_s: float
    state: ChildState = ChildState.DOWN
    restarts: int = 0
    deaths: list[float] = field(default_factory=list)
    ends_with_host: bool = False
    met_host: bool = False
    stands_alone: bool = False


class OrderRefused(Exception):
    """The chassis cannot follow an order in its present state."""


class NodeMachine:
    """The state of one node. ``children`` are (name, ready timeout in seconds) in start order."""

    def __init__(
        self,
        children: Iterable[tuple[str, float]],
        *,
        poweroff_wait_s: float,
        kill_wait_s: float,
        ending_with_host: Iterable[str] = (),
        standing_alone: Iterable[str] = (),
    ) -> None:
        self.children = {name: Child(name, timeout_s) for name, timeout_s in children}
        for name in ending_with_host:
            self.children[name].ends_with_host = True
        for name in standing_alone:
            self.children[name].stands_alone = True
        self.phase = Phase.STARTING
        self.power_wanted = False
        self.override: BootSelector | None = None
        self._keeps_override = False
        self._going_down = False
        self._host_waits = False
        self._firmware_settles = False
        self._poweroff_wait_s = poweroff_wait_s
        self._kill_wait_s = kill_wait_s

    @classmethod
    def of(cls, plan: NodePlan) -> NodeMachine:
        """The machine of a planned node."""
        return cls(
            [(spec.name, spec.ready_timeout_s) for spec in plan.processes],
            poweroff_wait_s=plan.host.poweroff_wait_s,
            kill_wait_s=plan.host.kill_wait_s,
            ending_with_host=[spec.name for spec in plan.processes if spec.ends_with_host],
            standing_alone=[spec.name for spec in plan.processes if spec.stands_alone],
        )

    @property
    def host(self) -> Child:
        """The child that is the host."""
        return self.children[QEMU]

    @property
    def is_starting_host(self) -> bool:
        """Whether the host is to have power and does not run yet."""
        return self.power_wanted and self.host.state is not ChildState.RUNNING

    @property
    def power(self) -> bool:
        """Chassis power: on until the host has really gone, and while it is being restarted."""
        return self.power_wanted or self.host.state in (ChildState.RUNNING, ChildState.STOPPING)

    @property
    def degraded(self) -> bool:
        """Whether something that should run does not; a host on its way up or down is in order."""
        host_in_trouble = self.host.state in (ChildState.BACKOFF, ChildState.FAILED)
        return host_in_trouble or any(
            child.state not in (_RENEWING if child.ends_with_host else (ChildState.RUNNING,))
            for child in self.children.values()
            if child is not self.host
        )

    def step(self, event: Event, now_s: float) -> list[Action]:
        """Take one event at ``now_s`` and return what is to be done, in order.

        Raises:
            OrderRefused: for a power order that the present state does not allow.
        """
        match event:
            case Begin(power, adopted, override, keep, is_up):
                for name, restarts in adopted.items():
                    self.children[name].state = ChildState.RUNNING
                    self.children[name].restarts = restarts
                    self.children[name].met_host = QEMU in adopted
                self.override, self._keeps_override = override, keep
                self.power_wanted = power
                if is_up:
                    self.phase = Phase.UP
                # Whoever ran it before may have died before its order was put back; an opening gives none.
                to_restore = QEMU in adopted and not is_up
                restored: list[Action] = [SetBootOrder(override)] if to_restore else []
                return restored + self._advance()
            case Ready(name, booted_with):
                return self._ready(self.children[name], booted_with)
            case HostWaits():
                return self._host_came()
            case Exited(name, code, guest_off):
                return self._exited(self.children[name], code, guest_off, now_s)
            case TimerFired(key):
                return self._timer(key)
            case Power(order, os_listens):
                return self._power(order, os_listens)
            case SetOverride(selector, keep):
                return self._set_override(selector, keep=keep)
            case HostReset(by_guest):
                return self._host_reset(by_guest=by_guest)
            case HostBroken(reason):
                if self.host.state not in _LIVING:
                    return []
                return [Report("host-broken", {"reason": reason}), SendSignal(QEMU, signal.SIGKILL)]
            case SerialLogLost():
                return self._begin_the_line_anew()
            case Stop():
                return self._stop()
            case _:
                assert_never(event)

    # --- starting

    def _wanted(self, child: Child) -> bool:
        return child.name != QEMU or self.power_wanted

    def _advance(self) -> list[Action]:
        """Start what is wanted and down, and let the host go, as far as those before it allow."""
        if self.phase not in (Phase.STARTING, Phase.UP):
            return []
        actions: list[Action] = []
        for child in self.children.values():
            if child.state is ChildState.DOWN and self._wanted(child) and self._may_start(child):
                child.state = ChildState.STARTING
                if child is self.host:
                    for other in self.children.values():
                        other.met_host = True
                actions += [Spawn(child.name), StartTimer(f"ready:{child.name}", child.ready_timeout_s)]
        if self._host_waits and all(self._is_settled(child) for child in self._before(self.host)):
            self._host_waits = False
            actions += [LetHostGo(), StartTimer(f"ready:{QEMU}", self.host.ready_timeout_s)]
        wanted = [child for child in self.children.values() if self._wanted(child)]
        if self.phase is Phase.STARTING and all(self._is_settled(child) for child in wanted):
            self.phase = Phase.UP
            actions += [Report("node-up"), NodeUp()]
        return actions

    def _may_start(self, child: Child) -> bool:
        """The host makes its machine while ipmi_sim starts, and then waits to be let go."""
        beside = IPMI_SIM if child.name == QEMU else None
        return all(
            self._is_settled(other) or (other.name == beside and other.state is ChildState.STARTING)
            for other in self._before(child)
        )

    def _before(self, child: Child) -> list[Child]:
        """Those that a child waits for."""
        if child.stands_alone:
            return []
        names = list(self.children)
        before = (self.children[name] for name in names[: names.index(child.name)])
        return [other for other in before if not other.stands_alone]

    @staticmethod
    def _is_settled(child: Child) -> bool:
        """Whether nobody waits for it any more: it runs, or was given up."""
        return child.state in (ChildState.RUNNING, ChildState.FAILED)

    def _host_came(self) -> list[Action]:
        if self.host.state is not ChildState.STARTING:
            return []
        self._host_waits = True
        # How long it waits now is not in its hands.
        return [StopTimer(f"ready:{QEMU}"), *self._advance()]

    def _ready(self, child: Child, booted_with: BootSelector | None) -> list[Action]:
        if child.state is not ChildState.STARTING:
            return []
        child.state = ChildState.RUNNING
        actions: list[Action] = [StopTimer(f"ready:{child.name}"), Report("ready", {"process": child.name})]
        if child.name == QEMU and booted_with is not None:
            actions += self._consume(booted_with)
        elif child.name == QEMU and self.override is not None:
            # It was set while the host came up with the plain order.
            actions.append(SetBootOrder(self.override))
        return actions + self._advance()

    def _begin_the_line_anew(self) -> list[Action]:
        """End socat on purpose; it and then the host come up in their order."""
        line = self.children.get(SOCAT)
        if line is None or line.state is not ChildState.RUNNING or self.phase is not Phase.UP:
            return []
        return [Report("serial-log-lost"), *self._end(line)]

    # --- ending

    def _exited(self, child: Child, code: int | None, guest_off: bool, now_s: float) -> list[Action]:
        was = child.state
        if was not in _LIVING:
            return []
        child.state = ChildState.DOWN
        child.met_host = False
        timers = ("ready", "term", "kill", *(("soft", "firmware") if child.name == QEMU else ()))
        if child.name == QEMU:
            self._firmware_settles = self._host_waits = False
        actions: list[Action] = [StopTimer(f"{kind}:{child.name}") for kind in timers]
        if child.name == QEMU and self.phase is not Phase.STOPPING:
            actions += self._end_what_ends_with_host()
        details: dict[str, str | int | float | None] = {"process": child.name, "exit_code": code}
        if self.phase is Phase.STOPPING:
            return [*actions, Report("ended", details), *self._stop_next()]
        if was is ChildState.STOPPING:
            return [*actions, Report("ended", details), *self._advance()]
        if child.ends_with_host and was is ChildState.RUNNING and not code:
            # The next host finds it as this one did. Nobody is told the code of one that was adopted.
            return [*actions, Report("ended", details), *self._advance()]
        going_down = child.name == QEMU and self._going_down
        self._going_down = self._going_down and child.name != QEMU
        if child.name == QEMU and guest_off:
            self.power_wanted = False
            return [*actions, Report("guest-powered-off"), *self._advance()]
        actions.append(Report("died", details))
        if going_down:
            # It was to go off anyway.
            self.power_wanted = False
            return [*actions, *self._advance()]
        if self.phase is Phase.STARTING:
            return [*actions, StartFailed(child.name, code, timed_out=False), *self._stop()]
        return actions + self._restart_later(child, now_s)

    def _end_what_ends_with_host(self) -> list[Action]:
        """The host is gone: what was to end with it may not have yet, and the next one must not find that."""
        actions: list[Action] = []
        for child in self.children.values():
            if child.ends_with_host and child.met_host and child.state is ChildState.RUNNING:
                actions += self._end(child)
        return actions

    def _restart_later(self, child: Child, now_s: float) -> list[Action]:
        child.deaths = [at for at in child.deaths if at > now_s - DEATHS_WINDOW_S] + [now_s]
        if len(child.deaths) > DEATHS_ALLOWED:
            child.state = ChildState.FAILED
            if child.name == QEMU:
                self.power_wanted = False
            # Those that waited for it go on without it.
            return [Report("gave-up", {"process": child.name, "deaths": len(child.deaths)}), *self._advance()]
        child.state = ChildState.BACKOFF
        child.restarts += 1
        delay_s = BACKOFF_FIRST_S * 2 ** (len(child.deaths) - 1)
        return [
            Report("restart", {"process": child.name, "delay_s": delay_s}),
            StartTimer(f"restart:{child.name}", delay_s),
        ]

    def _end(self, child: Child) -> list[Action]:
        """Ask a living child to end, with harder means to follow."""
        child.state = ChildState.STOPPING
        if child.name == QEMU:
            return [QuitHost(), StartTimer(f"term:{QEMU}", QUIT_WAIT_S)]
        return [SendSignal(child.name, signal.SIGTERM), StartTimer(f"kill:{child.name}", TERM_WAIT_S)]

    def _stop(self) -> list[Action]:
        if self.phase in (Phase.STOPPING, Phase.STOPPED):
            return []
        self.phase = Phase.STOPPING
        self.power_wanted = False
        timers = [StopTimer(f"restart:{name}") for name in self.children]
        for child in self.children.values():
            if child.state in (ChildState.BACKOFF, ChildState.FAILED):
                child.state = ChildState.DOWN
        return [*timers, Report("node-stopping"), *self._stop_next()]

    def _stop_next(self) -> list[Action]:
        """End the last child that lives; when none does, the node is down."""
        for child in reversed(self.children.values()):
            match child.state:
                case ChildState.STOPPING:
                    return []
                case ChildState.STARTING | ChildState.RUNNING:
                    return self._end(child)
                case ChildState.DOWN | ChildState.BACKOFF | ChildState.FAILED:
                    continue
                case _:
                    assert_never(child.state)
        if self.phase is Phase.STOPPED:
            return []
        self.phase = Phase.STOPPED
        return [Report("node-down"), Finished()]

    def _timer(self, key: str) -> list[Action]:
        kind, _, name = key.partition(":")
        child = self.children[name]
        match kind:
            case "ready":
                return self._not_ready_in_time(child)
            case "restart":
                if child.state is ChildState.BACKOFF:
                    child.state = ChildState.DOWN
                return self._advance()
            case "soft":
                if child.state is not ChildState.RUNNING:
                    return []
                late: list[Action] = [Report("soft-power-off-timed-out", {"waited_s": self._poweroff_wait_s})]
                return late + self._cut_power()
            case "firmware":
                self._firmware_settles = False
                return [SetBootOrder(self.override)] if child.state is ChildState.RUNNING else []
            case "term" | "kill" if child.state is not ChildState.STOPPING:
                return []
            case "term":
                return [SendSignal(name, signal.SIGTERM), StartTimer(f"kill:{name}", self._kill_wait_s)]
            case "kill":
                return [SendSignal(name, signal.SIGKILL)]
            case _:
                raise AssertionError(f"no timer {key!r}")

    def _not_ready_in_time(self, child: Child) -> list[Action]:
        if child.state is not ChildState.STARTING:
            return []
        late: list[Action] = [Report("not-ready", {"process": child.name, "waited_s": child.ready_timeout_s})]
        if self.phase is Phase.STARTING:
            return [*late, StartFailed(child.name, None, timed_out=True), *self._stop()]
        return [*late, SendSignal(child.name, signal.SIGKILL)]

    # --- chassis

    def _power(self, order: PowerOrder, os_listens: bool) -> list[Action]:
        if self.phase is not Phase.UP:
            raise OrderRefused(f"the node is {self.phase.value}")
        report = Report(f"power-{order.value}")
        match order:
            case PowerOrder.ON:
                self.power_wanted = True
                if self.host.state is ChildState.FAILED:
                    self.host.state, self.host.deaths = ChildState.DOWN, []
                return [report, *self._advance()]
            case PowerOrder.OFF:
                return [report, *self._cut_power()]
            case PowerOrder.RESET:
                if self.is_starting_host:
                    # The chassis is on, and nothing of the host runs yet that could begin anew.
                    return [report]
                if self.host.state is not ChildState.RUNNING:
                    raise OrderRefused("the chassis is off")
                # A host that starts anew is not on its way down any more.
                self._going_down = False
                renewed: list[Action] = [SetBootOrder(self.override)] if self._firmware_settles else []
                return [report, StopTimer(f"soft:{QEMU}"), *renewed, ResetHost()]
            case PowerOrder.SOFT:
                if self.host.state is not ChildState.RUNNING:
                    raise OrderRefused("the chassis is off")
                if not os_listens:
                    # With no ACPI system, a power button switches off at once, as on hardware.
                    return [report, *self._cut_power()]
                self._going_down = True
                return [report, PressPowerButton(), StartTimer(f"soft:{QEMU}", self._poweroff_wait_s)]
            case _:
                assert_never(order)

    def _cut_power(self) -> list[Action]:
        self.power_wanted = False
        actions: list[Action] = [StopTimer(f"soft:{QEMU}"), StopTimer(f"restart:{QEMU}")]
        match self.host.state:
            case ChildState.STARTING | ChildState.RUNNING:
                return actions + self._end(self.host)
            case ChildState.BACKOFF | ChildState.FAILED:
                self.host.state = ChildState.DOWN
                return actions
            case ChildState.DOWN | ChildState.STOPPING:
                return actions
            case _:
                assert_never(self.host.state)

    def _set_override(self, selector: BootSelector | None, *, keep: bool) -> list[Action]:
        self.override, self._keeps_override = selector, keep
        actions: list[Action] = [Report("boot-override", {"device": selector.value if selector else "none"})]
        if self.host.state is ChildState.RUNNING and not self._firmware_settles:
            actions.append(SetBootOrder(selector))
        return actions

    def _host_reset(self, *, by_guest: bool) -> list[Action]:
        if self.host.state is not ChildState.RUNNING:
            return []
        is_second, self._firmware_settles = by_guest and self._firmware_settles, True
        actions: list[Action] = [StartTimer(f"firmware:{QEMU}", FIRMWARE_SETTLES_S)]
        if is_second:
            return actions
        actions.append(HostRestarted(by_guest))
        return actions + self._consume(self.override)

    def _consume(self, used: BootSelector | None) -> list[Action]:
        """The firmware has read an order with ``used`` in front: unless it is kept, it is spent."""
        if used is None:
            return []
        actions: list[Action] = [Report("boot-override-used", {"device": used.value})]
        if self.override is used and not self._keeps_override:
            self.override = None
            actions.append(OverrideUsed())
        if not self._firmware_settles:
            actions.append(SetBootOrder(self.override))
        if used is BootSelector.BIOS:
            actions.append(OpenFirmwareMenu())
        return actions
