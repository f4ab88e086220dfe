"""One node's supervisor: performs what ``machine`` decides, on real processes.

Run as ``python -m infrasim.runtime.daemon``; never imported by a command, so that its memory holds
nothing but what it needs for the node's whole life.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from infrasim.errors import DeadlineError, HostError, InfrasimError, ProgramError
from infrasim.host.files import last_lines, make_dir, write_atomic
from infrasim.host.process import Identity, alive, early_death, identify, stop
from infrasim.paths import NodePaths
from infrasim.plan.model import IPMI_SIM, QEMU, NodePlan, ReadyCheck
from infrasim.qemu.boot import BootSelector
from infrasim.runtime.children import Children, set_bmc_clock, wait_ready
from infrasim.runtime.control import ControlServer
from infrasim.runtime.front import Front
from infrasim.runtime.host_link import HostLink
from infrasim.runtime.machine import (
    Action,
    Begin,
    Event,
    Exited,
    Finished,
    NodeMachine,
    NodeUp,
    OpenFirmwareMenu,
    PressPowerButton,
    QuitHost,
    Ready,
    Report,
    ResetHost,
    SendSignal,
    SetBootOrder,
    Spawn,
    StartFailed,
    StartTimer,
    Stop,
    StopTimer,
    TimerFired,
)
from infrasim.runtime.state import NodeState, ProcessState, write_state

LOG = logging.getLogger(__name__)

# Events that say something went wrong; the last of them are part of the status.
_TROUBLE = ("died", "gave-up", "not-ready", "host-broken", "error")
_TROUBLE_KEPT = 20


@dataclass(frozen=True)
class Begun:
    """What an opening hands over beside living children: the sockets that listen already."""

    control: socket.socket
    listeners: tuple[socket.socket, ...]


class Supervisor:
    """Owns the children, the front and the control socket of one node.

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
        self._front = Front(plan.bmc.listen, plan.bmc.port, plan.bmc.private_address)
        self._control = ControlServer(self)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._becoming_ready: dict[str, asyncio.Task[None]] = {}
        self._trouble: tuple[str, ...] = ()
        self._failure: InfrasimError | None = None
        self._left: tuple[Identity, ...] = ()
        self._identify_until_s: float | None = None
        myself = identify(os.getpid())
        assert myself is not None
        self._myself = myself

    # --- life

    async def start(self, left: NodeState | None, begun: Begun | None = None) -> None:
        """Open the doors and begin, with what an earlier supervisor left, if anything.

        ``begun``: this process started the node before it became the supervisor.

        Raises:
            HostError: a BMC address cannot be had.
        """
        make_dir(self.paths.chassis)
        self._left = left.identities() if left else ()
        self._front.open(begun.listeners if begun else ())
        adopted = {each.name: each.identity for each in left.processes if each.identity} if left else {}
        host = adopted.get(QEMU)
        if host and (begun is None or alive(host)) and not await self._join_host():
            # It waits for its boot order, and whoever was to let it go is dead.
            stop(host, term_wait_s=0)
            await self.host.close()
            del adopted[QEMU]
        for name, identity in adopted.items():
            self._children.adopt(name, identity, own=begun is not None)
            if begun is None:
                self.record("adopted", process=name, pid=identity.pid)
        # Nobody may give an order before the machine knows what runs.
        await self._control.open(begun.control if begun else None)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.feed, Stop())
        # An opening holds them back until somebody listens.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        override = BootSelector(left.boot_override) if left and left.boot_override else None
        restarts = (
            {each.name: each.restarts for each in left.processes if each.name in adopted} if left else {}
        )
        self.feed(Begin(restarts, left.power if left else None, override, is_up=begun is not None))
        if QEMU in adopted:
            self._background(self.host.look())

    async def _join_host(self) -> bool:
        """Connect to a host that runs; False when it was never let go."""
        spec = self.plan.process(QEMU)
        try:
            return await asyncio.wait_for(self.host.join(), spec.ready_timeout_s)
        except TimeoutError:
            place = f"the running host's monitor {spec.ready_target}"
            raise DeadlineError(
                f"{place} did not answer in {spec.ready_timeout_s:g} s",
                hint="run: infrasim node stop",
            ) from None

    async def close(self) -> None:
        """Close the doors and remove what only a running node has.

        What runs without this supervisor stays on record, so that a stop finds it.
        """
        self._front.close()
        await self._control.close()
        for task in self._tasks:
            task.cancel()
        for handle in self._timers.values():
            handle.cancel()
        self._children.let_go()
        await self.host.close()
        orphans = any(alive(identity) for identity in self._left)
        of_all = () if orphans else (*self.paths.sockets(), self.paths.pty, self.paths.state)
        for path in (self.paths.control_socket, *of_all):
            with contextlib.suppress(OSError):
                path.unlink()

    # --- events in, actions out

    def feed(self, event: Event) -> None:
        """Give the machine one event, do what it asks for, and show the new state.

        Raises:
            OrderRefused: the chassis does not follow a power order.
        """
        for action in self.machine.step(event, time.monotonic()):
            self._perform(action)
        self.show()

    def _perform(self, action: Action) -> None:
        match action:
            case Spawn(name):
                self._spawn(name)
            case SendSignal(name, number):
                self._children.signal(name, number)
            case StartTimer(key, delay_s):
                self._stop_timer(key)
                loop = asyncio.get_running_loop()
                self._timers[key] = loop.call_later(delay_s, self._timer_fired, key)
            case StopTimer(key):
                self._stop_timer(key)
            case QuitHost():
                self._background(self.host.quit())
            case PressPowerButton():
                self._background(self.host.press_power_button())
            case ResetHost():
                self._background(self.host.reset())
            case SetBootOrder(selector):
                self._background(self.host.set_boot_order(selector))
            case OpenFirmwareMenu():
                self._background(self.host.open_firmware_menu())
            case Report(event, details):
                self.record(event, **details)
            case NodeUp():
                self._settle(None)
            case StartFailed(name, code, timed_out):
                self._failure = self._start_error(name, code, timed_out)
            case Finished():
                self._settle(self._failure or ProgramError("the node was stopped while it was starting"))
                self.finished.set()
            case _:
                assert_never(action)

    def _background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something that takes time; what goes wrong becomes an event of the node."""

        async def guarded() -> None:
            try:
                await work
            except InfrasimError as exc:
                self.record("error", message=exc.message)
            except Exception as exc:
                LOG.exception("in the background")
                self.record("error", message=f"bug: {type(exc).__name__}: {exc}")

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
            self._begin_serial_log()
        if spec.ready is not ReadyCheck.RMCP_PING:
            # What a predecessor left would be taken for the new child's.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spec.ready_target)  # noqa: PTH108 - a link or socket, by name
        try:
            # Somebody may have cleaned the logs up meanwhile.
            make_dir(spec.log.parent, mode=0o750)
            self._children.start(spec)
        except HostError as exc:
            self.record("error", process=name, message=exc.message)
            asyncio.get_running_loop().call_soon(self.feed, Exited(name, None))
            return
        identity = self._children.identity(name)
        self.record("started", process=name, pid=identity.pid if identity else None)
        self._becoming_ready[name] = self._background(self._become_ready(name))

    def _begin_serial_log(self) -> None:
        """Begin the serial log anew; what the host said before is kept once.

        socat holds the file open for appending, so it is copied and emptied, not renamed.
        """
        log = self.paths.serial_log
        with contextlib.suppress(OSError):
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)

    async def _become_ready(self, name: str) -> None:
        booted_with: BootSelector | None = None
        if name == QEMU:
            booted_with = await self.host.bring_up(self.machine.override)
        else:
            await wait_ready(self.plan.process(name))
        if name == IPMI_SIM:
            bmc = self.plan.bmc
            if not await set_bmc_clock(bmc.private_address, bmc.kcs_port):
                self.record("bmc-clock-not-set")
        self.feed(Ready(name, booted_with))

    def _child_ended(self, name: str, code: int | None) -> None:
        if waiting := self._becoming_ready.pop(name, None):
            waiting.cancel()
        if name == QEMU:
            self._background(self._host_ended(code))
        else:
            self.feed(Exited(name, code))

    async def _host_ended(self, code: int | None) -> None:
        guest_off = await self.host.last_words(code)
        self.feed(Exited(QEMU, code, guest_off))

    # --- what others see

    def record(self, event: str, **details: object) -> None:
        """Add one line to events.jsonl; what went wrong is kept for the status too."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError), self.paths.events.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": moment, "event": event, **details}) + "\n")
        if event in _TROUBLE:
            words = " ".join(f"{key}={value}" for key, value in details.items())
            self._trouble = (*self._trouble, f"{moment} {event}: {words}")[-_TROUBLE_KEPT:]

    @property
    def identify_lamp(self) -> bool:
        """Whether the chassis identify lamp is lit."""
        return self._identify_until_s is not None and time.monotonic() < self._identify_until_s

    def light_identify_lamp(self, seconds: float) -> None:
        """Light the lamp for so long; 0 puts it out, infinity leaves it on."""
        self._stop_timer("identify")
        self._identify_until_s = time.monotonic() + seconds if seconds else None
        if 0 < seconds < float("inf"):
            loop = asyncio.get_running_loop()
            self._timers["identify"] = loop.call_later(seconds, self.show)
        self.record("identify", seconds=seconds if seconds < float("inf") else "until switched off")
        self.show()

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
        """Bring state.json and what the chassis script answers from up to date."""
        state = self.state()
        boot = "default" if state.boot_override == BootSelector.DISK.value else state.boot_override or "none"
        for name, value in (("power", f"{int(state.power)}"), ("boot", boot)):
            path = self.paths.chassis / name
            with contextlib.suppress(OSError):
                if path.exists() and path.read_text() == f"{value}\n":
                    continue
            write_atomic(path, f"{value}\n")
        write_state(self.paths.state, state)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
