"""One node's supervisor: performs what ``machine`` decides, on real processes.

Run by ``python -m infrasim.runtime.daemon``; never imported by a command, so that its memory holds
nothing but what it needs for the node's whole life.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, assert_never

from infrasim.bmc_core import lifecycle
from infrasim.errors import DeadlineError, HostError, InfrasimError, ProgramError
from infrasim.frozen import Frozen
from infrasim.host.files import append_line, last_lines, make_dir, overwrite
from infrasim.host.process import Identity, alive, early_death, group_is_suspended, identify, stop
from infrasim.host.table import has_open
from infrasim.paths import NodePaths
from infrasim.plan.model import IPMI_SIM, QEMU, SOCAT, NodePlan, ReadyCheck
from infrasim.runtime.bmc.host_wires import HostWires
from infrasim.runtime.bmc.node_bmc import NodeBmc
from infrasim.runtime.children import Children, wait_ready
from infrasim.runtime.control import ControlServer
from infrasim.runtime.copies import begin_copies
from infrasim.runtime.held_ports import HeldPorts, host_ports
from infrasim.runtime.host_link import HostLink
from infrasim.runtime.launch import STOPPED_MEANWHILE
from infrasim.runtime.machine import (
    Action,
    Begin,
    Event,
    Exited,
    Finished,
    HostRestarted,
    HostWaits,
    LetHostGo,
    NodeMachine,
    NodeUp,
    OpenFirmwareMenu,
    OverrideUsed,
    Power,
    PowerOrder,
    PressPowerButton,
    QuitHost,
    Ready,
    Report,
    ResetHost,
    SendSignal,
    SerialLogLost,
    SetBootOrder,
    Spawn,
    StartFailed,
    StartTimer,
    Stop,
    StopTimer,
    TimerFired,
)
from infrasim.runtime.serial_log import SerialLog
from infrasim.runtime.state import ChildState, NodeState, Phase, ProcessState, state_text, write_state

LOG = logging.getLogger(__name__)

# Events that say something went wrong; the last of them are part of the status.
_TROUBLE = ("died", "gave-up", "not-ready", "host-broken", "not-pinned", "error")
_TROUBLE_KEPT = 20
# How soon the state is written again when it could not be.
_SHOW_AGAIN_S = 1.0
# A child that was ready is joined in a millisecond; one that hangs is not worth more of everybody's time.
_JOINS_WITHIN_S = 10.0
# How often the length of the serial log is looked at; a host prints a few megabytes per second at most.
_SERIAL_LOG_EVERY_S = 5.0
_JOINING_LOOKS_EVERY_S = 0.05
# QEMU closes its monitor before it ends, and may then wait for a processor.
_ENDS_WITHIN_S = 5.0


class Begun(Frozen):
    """What an opening hands over beside living children: the sockets that listen already.

    ``system_interface`` is the one QEMU connects to, ``listeners`` those of the BMC's addresses.
    """

    control: socket.socket
    system_interface: socket.socket
    listeners: tuple[socket.socket, ...]


class Supervisor:
    """Owns the children, the BMC and the control socket of one node.

    ``outcome`` is set when the start is complete (None) or has failed; ``finished`` when nothing runs.
    """

    def __init__(self, plan: NodePlan, paths: NodePaths) -> None:
        self.plan = plan
        self.paths = paths
        self.machine = NodeMachine.of(plan)
        self.host = HostLink(plan.host, paths, self.feed)
        self.outcome: asyncio.Future[InfrasimError | None] = asyncio.get_running_loop().create_future()
        self.finished = asyncio.Event()
        self.changed = asyncio.Event()
        self._children = Children(paths.workspace, self._child_ended)
        wires = self._wires = HostWires(self)
        self.bmc = NodeBmc(
            plan, paths, chassis=wires, load=wires, break_wanted=wires.send_break, record=self.record
        )
        self._ports = HeldPorts(host_ports(plan))
        self._ports_lost: tuple[str, ...] = ()
        self._control = ControlServer(self)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._becoming_ready: dict[str, asyncio.Task[None]] = {}
        self._trouble: tuple[str, ...] = ()
        self._failure: InfrasimError | None = None
        self._not_started: HostError | None = None
        self._left: tuple[Identity, ...] = ()
        self._unwritten = False
        self._shuts_down = False
        self._loop_said = ""
        self._serial_log = SerialLog(paths.serial_log)
        self._is_cutting = False
        asyncio.get_running_loop().set_exception_handler(self._loop_error)
        myself = identify(os.getpid())
        assert myself is not None
        self._myself = myself

    # --- life

    async def start(self, left: NodeState | None, begun: Begun | None = None) -> None:
        """Open the doors and begin, with what an earlier supervisor left, if anything.

        ``begun``: this process started the node before it became the supervisor.

        Raises:
            HostError: an address or port cannot be had, or the state cannot be written.
        """
        self._left = left.identities() if left else ()
        adopted = {each.name: each.identity for each in left.processes if each.identity} if left else {}
        if begun:
            await self._join_what_began(adopted)
        host = adopted.get(QEMU)
        if host and (begun is None or alive(host)) and not await self._join_host(host):
            # It waits for its boot order, and whoever was to let it go is dead.
            stop(host, term_wait_s=0)
            await self.host.close()
            del adopted[QEMU]
        elif host and begun is None and not alive(host):
            # It ended meanwhile; only a parent could be told how.
            del adopted[QEMU]
        if begun is None:
            # Late, because the BMC of a host that runs is not to say that it is off.
            await self.bmc.open()
        joining: list[asyncio.Task[None]] = []
        for name, identity in adopted.items():
            self._children.adopt(name, identity, own=begun is not None)
            if begun is None:
                self.record("adopted", process=name, pid=identity.pid)
                joining.append(self.in_background(self._join(name)))
        self._ports.reserve()
        if left is None and (faults := self._ports.hold()):
            raise HostError(faults[0])
        if begun is None:
            # What runs must be on record before it runs; a full disk is said before anything is started.
            write_state(self.paths.state, self.state())
        # Nobody may give an order before the machine knows what runs.
        await self._control.open(begun.control if begun else None)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        # An opening holds them back until somebody listens.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        restarts = (
            {each.name: each.restarts for each in left.processes if each.name in adopted} if left else {}
        )
        core = self.bmc.core
        if QEMU not in adopted:
            core.watchdog.host_off()
        # An opening has asked the same policy, and nothing noted yet why the host begins.
        power = left.power if left and begun is None else lifecycle.ac_came(core)
        boot = core.state.boot
        self.feed(Begin(power, restarts, boot.selector, boot.is_persistent, is_up=begun is not None))
        if begun:
            # Whoever asked the BMC meanwhile finds it whole.
            await self.bmc.take_over(begun.listeners, begun.system_interface)
        if left and begun is None:
            self.in_background(self._let_timers_go_on(joining))
        if begun is None:
            # Whoever was about to cut the log may have died over it.
            self._children.signal(self._serial_log_writer, signal.SIGCONT)
        self._watch_serial_log()
        if QEMU in adopted:
            core.dcmi.held_w()
            self.in_background(self.host.look())

    async def _join_what_began(self, children: dict[str, Identity]) -> None:
        """Connect the BMC to the children of an opening, which were ready a moment ago."""
        for name in (SOCAT, IPMI_SIM):
            if name in children and alive(children[name]):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._join(name), _JOINS_WITHIN_S)

    async def _let_timers_go_on(self, joining: list[asyncio.Task[None]]) -> None:
        """What a timer of the BMC's does when it ends needs the log and a node that follows orders."""
        if joining:
            await asyncio.wait(joining, timeout=_JOINS_WITHIN_S)
        while self.machine.phase is Phase.STARTING:
            await self.changed.wait()
        if self.machine.phase is Phase.UP:
            lifecycle.timers_go_on(self.bmc.core)

    async def _join_host(self, host: Identity) -> bool:
        """Connect to a host that runs; False when it was never let go.

        One that ends meanwhile is as good as joined: its end is noticed as any child's is.
        """
        spec = self.plan.process(QEMU)
        joining = asyncio.ensure_future(self.host.join())
        try:
            async with asyncio.timeout(spec.ready_timeout_s):
                while not joining.done() and alive(host):
                    await asyncio.wait((joining,), timeout=_JOINING_LOOKS_EVERY_S)
                return await joining if joining.done() else True
        except TimeoutError:
            place = f"the running host's monitor {spec.ready_target}"
            raise DeadlineError(
                f"{place} did not answer in {spec.ready_timeout_s:g} s",
                hint="run: infrasim node stop",
            ) from None
        except InfrasimError:
            if alive(host):
                raise
            return True
        finally:
            joining.cancel()

    async def close(self) -> None:
        """Close the doors and remove what only a running node has.

        What runs without this supervisor stays on record, so that a stop finds it.
        """
        self.bmc.close()
        self._ports.give_up()
        await self._control.close()
        for task in self._tasks:
            task.cancel()
        for handle in self._timers.values():
            handle.cancel()
        self._wires.limit_load(None)
        self._children.let_go()
        await self.host.close()
        orphans = any(alive(identity) for identity in self._left)
        shared = (*self.paths.traces(), self.paths.state)
        of_all = () if orphans else shared
        for path in (self.paths.control_socket, *of_all):
            with contextlib.suppress(OSError):
                path.unlink()

    def stop(self) -> None:
        """Take the node down; if the node file says so, its system shuts down first.

        Who asks a second time does not want to wait.
        """
        is_up = self.machine.phase is Phase.UP and self.machine.host.state is ChildState.RUNNING
        if not self.plan.host.shuts_down or self._shuts_down or not is_up:
            self.feed(Stop())
            return
        self._shuts_down = True
        self.in_background(self._stop_softly())

    async def _stop_softly(self) -> None:
        await self._wires.shut_down()
        # The machine cuts the power when the system takes too long.
        while self.machine.power:
            await self.changed.wait()
        # It is a loss of AC all the same: a restore policy is to find what was before it.
        self.bmc.core.state.chassis.was_on = True
        self.bmc.core.changed()
        self.feed(Stop())

    # --- events in, actions out

    def feed(self, event: Event) -> None:
        """Give the machine one event, do what it asks for, and show the new state.

        Raises:
            OrderRefused: the chassis does not follow a power order.
        """
        machine = self.machine
        had_power, was_going = machine.power, machine.host.state is ChildState.STOPPING
        if self._host_may_come(event) and self._serial_log_is_lost():
            self._step(SerialLogLost())
        self._step(event)
        has_gone = was_going and machine.host.state is not ChildState.STOPPING
        # A stop is a loss of AC: what the chassis was like before it is what the BMC remembers.
        if machine.phase in (Phase.STARTING, Phase.UP):
            if had_power and machine.power and has_gone:
                # It was switched on again before it had gone; it was off for a moment all the same.
                self.bmc.core.power_changed(on=False)
                self.bmc.core.power_changed(on=True)
            elif machine.power is not had_power and self._is_taken_over(event):
                self.bmc.core.host_goes_on()
            elif machine.power is not had_power:
                self.bmc.core.power_changed(on=machine.power)
        self._hold_ports()
        self.show()

    def _step(self, event: Event) -> None:
        for action in self.machine.step(event, time.monotonic()):
            self._perform(action)

    @staticmethod
    def _is_taken_over(event: Event) -> bool:
        """Whether the host ran before this supervisor."""
        return isinstance(event, Begin) and QEMU in event.adopted and not event.is_up

    def _host_may_come(self, event: Event) -> bool:
        wanted = self.machine.power_wanted or event == Power(PowerOrder.ON)
        return wanted and self._children.identity(QEMU) is None

    def _serial_log_is_lost(self) -> bool:
        """Whether socat writes to a log that somebody has removed."""
        line = self._children.identity(SOCAT)
        return line is not None and not has_open(line.pid, self.paths.serial_log)

    def _perform(self, action: Action) -> None:
        match action:
            case Spawn(name):
                self._spawn(name)
            case LetHostGo():
                self._becoming_ready[QEMU] = self.in_background(self._let_host_go())
            case SendSignal(name, number):
                self._children.signal(name, number)
            case StartTimer(key, delay_s):
                self._stop_timer(key)
                loop = asyncio.get_running_loop()
                self._timers[key] = loop.call_later(delay_s, self._timer_fired, key)
            case StopTimer(key):
                self._stop_timer(key)
            case QuitHost():
                self.order_host(self.host.quit())
            case PressPowerButton():
                self.order_host(self.host.press_power_button())
            case ResetHost():
                self.order_host(self.host.reset())
            case SetBootOrder(selector):
                self.order_host(self.host.set_boot_order(selector))
            case HostRestarted(by_guest):
                self.bmc.core.host_reset(by_guest=by_guest)
            case OverrideUsed():
                self.bmc.core.boot.used()
            case OpenFirmwareMenu():
                self.order_host(self.host.open_firmware_menu())
            case Report(event, details):
                self.record(event, **details)
            case NodeUp():
                self._settle(None)
            case StartFailed(name, code, timed_out):
                self._failure = self._start_error(name, code, timed_out)
            case Finished():
                self._settle(self._failure or ProgramError(STOPPED_MEANWHILE))
                self.finished.set()
            case _:
                assert_never(action)

    def order_host(self, work: Coroutine[None, None, None]) -> None:
        """Ask something of QEMU. That one which ends meanwhile does not do it is no trouble."""
        host = self._children.identity(QEMU)

        async def ordered() -> None:
            try:
                await work
            except InfrasimError:
                if host and not await self._ends(host):
                    raise

        self.in_background(ordered())

    async def _ends(self, host: Identity) -> bool:
        """Whether that host is on its way down, or gone a moment later."""
        if self.machine.host.state is ChildState.STOPPING:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while self._children.identity(QEMU) == host:
                    await self.changed.wait()
        return self._children.identity(QEMU) != host

    def _loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say what went wrong in the event loop, but not over and over, such as a lack of descriptors."""
        exc = context.get("exception")
        message = f"{context['message']}: {exc}" if exc else str(context["message"])
        if message != self._loop_said:
            self._loop_said = message
            LOG.error("%s", message, exc_info=exc)
            self.record("error", message=message)
            loop.call_soon(self.show)

    def in_background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something that takes time; what goes wrong becomes an event of the node."""

        async def guarded() -> None:
            try:
                await work
            except InfrasimError as exc:
                self.record("error", message=exc.message)
                self.show()
            except Exception as exc:
                LOG.exception("in the background")
                self.record("error", message=f"bug: {type(exc).__name__}: {exc}")
                self.show()

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _timer_fired(self, key: str) -> None:
        self._timers.pop(key, None)
        self.feed(TimerFired(key))

    def _stop_timer(self, key: str) -> None:
        if handle := self._timers.pop(key, None):
            handle.cancel()

    def _settle(self, error: InfrasimError | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(error)

    def _start_error(self, name: str, code: int | None, timed_out: bool) -> InfrasimError:
        spec = self.plan.process(name)
        if self._not_started:
            return self._not_started
        if not timed_out:
            return early_death(name, spec.argv, code, spec.log)
        lines = "\n".join(f"    {line}" for line in last_lines(spec.log)) or "    (nothing was logged)"
        return DeadlineError(
            f"{name} was not ready after {spec.ready_timeout_s:g} s\n  last lines of {spec.log}:\n{lines}"
        )

    # --- children

    def _spawn(self, name: str) -> None:
        spec = self.plan.process(name)
        if name == QEMU:
            self._serial_log.begin()
            self._ports.release()
        if spec.ready is not ReadyCheck.VM_CHANNEL:
            # What a predecessor left would be taken for the new child's.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spec.ready_target)  # noqa: PTH108 - a link or socket, by name
        try:
            # Somebody may have cleaned the logs up meanwhile.
            make_dir(spec.log.parent, mode=0o750)
            if name == QEMU and self.bmc.core.state.boot.clears_settings:
                self._clear_settings()
            self._children.start(spec)
        except HostError as exc:
            self.record("error", process=name, message=exc.message)
            self._not_started = exc
            asyncio.get_running_loop().call_soon(self.feed, Exited(name, None))
            return
        identity = self._children.identity(name)
        self.record("started", process=name, pid=identity.pid if identity else None)
        self._becoming_ready[name] = self.in_background(self._become_ready(name))

    def _clear_settings(self) -> None:
        """What the firmware keeps is as it was when the node was new.

        Raises:
            HostError: it cannot be written.
        """
        begin_copies(self.plan, anew=True)
        self.bmc.core.boot.settings_cleared()
        self.record("firmware-settings-cleared")

    def _hold_ports(self) -> None:
        """Keep the ports of a host that does not run."""
        if self.machine.phase not in (Phase.STARTING, Phase.UP):
            self._ports.release()
        elif self._children.identity(QEMU) is None:
            faults = self._ports.hold()
            for fault in set(faults) - set(self._ports_lost):
                self.record("error", message=fault)
            self._ports_lost = faults

    def _watch_serial_log(self) -> None:
        loop = asyncio.get_running_loop()
        self._timers["serial-log"] = loop.call_later(_SERIAL_LOG_EVERY_S, self._watch_serial_log)
        writer = self._children.identity(self._serial_log_writer)
        if writer is not None and self._serial_log.is_long() and not self._is_cutting:
            self._is_cutting = True
            self.in_background(self._cut_serial_log(self._serial_log_writer, writer))

    @property
    def _serial_log_writer(self) -> str:
        return SOCAT if SOCAT in self.machine.children else QEMU

    async def _cut_serial_log(self, writer: str, identity: Identity) -> None:
        try:
            done = await self._serial_log.cut(
                lambda: self._children.signal(writer, signal.SIGSTOP),
                lambda: group_is_suspended(identity.pid),
                lambda: self._children.signal(writer, signal.SIGCONT),
            )
        except OSError as exc:
            self.record("error", message=f"the serial log cannot be cut: {exc.strerror}")
        else:
            if done:
                self.record("serial-log-cut")
        finally:
            self._is_cutting = False

    async def _become_ready(self, name: str) -> None:
        if name == QEMU:
            await self.host.attach()
            self.feed(HostWaits())
            return
        if name != IPMI_SIM:
            await wait_ready(self.plan.process(name))
        await self._join(name)
        self.feed(Ready(name))

    async def _let_host_go(self) -> None:
        self.bmc.core.dcmi.held_w()
        await self._pin_host()
        self.feed(Ready(QEMU, await self.host.let_go(self.machine.override)))

    async def _pin_host(self) -> None:
        """Put the host's threads where the plan says; where that fails it runs anywhere, and that is told."""
        identity = self._children.identity(QEMU)
        if self.plan.host.binding is None or identity is None:
            return
        try:
            await self.host.pin(identity.pid, self.plan.host.binding)
        except (OSError, ProgramError) as exc:
            self.record("not-pinned", reason=str(exc))

    async def _join(self, name: str) -> None:
        """Let the BMC have a child that runs."""
        if name == IPMI_SIM:
            await self.bmc.join_engine()
        elif name == SOCAT:
            self.bmc.join_serial_line()

    def _child_ended(self, name: str, code: int | None) -> None:
        if waiting := self._becoming_ready.pop(name, None):
            waiting.cancel()
        if name == QEMU:
            self._hold_ports()
            self.in_background(self._host_ended(code))
        else:
            self.feed(Exited(name, code))

    async def _host_ended(self, code: int | None) -> None:
        guest_off = await self.host.last_words(code)
        self.feed(Exited(QEMU, code, guest_off))

    # --- what others see

    def record(self, event: str, **details: object) -> None:
        """Add one line to events.jsonl; what went wrong is kept for the status too."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": moment, "event": event, **details})
        if not append_line(self.paths.events, line):
            # Somebody may have cleaned the logs up meanwhile.
            with contextlib.suppress(HostError):
                make_dir(self.paths.log_dir, mode=0o750)
                append_line(self.paths.events, line)
        if event in _TROUBLE:
            words = " ".join(f"{key}={value}" for key, value in details.items())
            self._trouble = (*self._trouble, f"{moment} {event}: {words}")[-_TROUBLE_KEPT:]

    @property
    def identify_lamp(self) -> bool:
        """Whether the chassis identify lamp is lit."""
        return self.bmc.core.chassis_control.identify_state != 0

    def lamp_changed(self, seconds: float) -> None:
        """The lamp is lit for so long; 0 is out, infinity until told otherwise."""
        self._stop_timer("identify")
        if 0 < seconds < float("inf"):
            loop = asyncio.get_running_loop()
            self._timers["identify"] = loop.call_later(seconds, self.show)
        self.record("identify", seconds=seconds if seconds < float("inf") else "until switched off")
        self.show()

    @property
    def host_identity(self) -> Identity | None:
        """Who QEMU is; None while the host has no power."""
        return self._children.identity(QEMU)

    def state(self) -> NodeState:
        """The node as it is now."""
        processes = tuple(
            ProcessState(child.name, self._children.identity(child.name), child.state.value, child.restarts)
            for child in self.machine.children.values()
        )
        override = self.machine.override
        return NodeState(
            supervisor=self._myself,
            phase=self.machine.phase.value,
            power=self.machine.power,
            boot_override=override.value if override else None,
            identify=self.identify_lamp,
            degraded=self.machine.degraded,
            processes=processes,
            errors=self._trouble,
        )

    def show(self) -> None:
        """Bring state.json up to date.

        What cannot be written, as on a full disk, is an error of the node and is tried again.
        """
        try:
            write_state(self.paths.state, self.state())
            self._unwritten = False
        except HostError as exc:
            if not self._unwritten:
                self.record("error", message=exc.message)
            self._unwritten = True
            # What can be written without more room on the disk.
            overwrite(self.paths.state, state_text(self.state()))
            self._stop_timer("show")
            self._timers["show"] = asyncio.get_running_loop().call_later(_SHOW_AGAIN_S, self.show)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
