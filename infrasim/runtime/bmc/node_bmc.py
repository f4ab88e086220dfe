"""One node's BMC: the core with its doors, its engine and its state."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from infrasim.bmc_core.core import Bmc
from infrasim.bmc_core.lan.door import LanDoor
from infrasim.bmc_core.lifecycle import engine_started
from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.ports import Chassis, Load
from infrasim.paths import NodePaths
from infrasim.plan.model import NodePlan
from infrasim.runtime.bmc.clock import LoopClock
from infrasim.runtime.bmc.engine import EngineLink
from infrasim.runtime.bmc.lan import LanSockets
from infrasim.runtime.bmc.serial_line import SerialLine
from infrasim.runtime.bmc.store import StateStore, read_settings, read_state
from infrasim.runtime.bmc.system_interface import SystemInterfaceDoor

LOG = logging.getLogger(__name__)

# How often the power-on hours are written.
_HOURS_EVERY_S = 600.0
# How long the answer to a reset has to reach its asker at least, and at most if the host does not read it:
# QEMU drops what it did not read when we hang up.
_ANSWER_LEAVES_S = 0.05
_ANSWER_KEEPS_S = 5.0


class NodeBmc:
    """The BMC of one node.

    ``break_wanted`` gives the host's serial port a break, ``record`` notes an event of the node.
    """

    def __init__(
        self,
        plan: NodePlan,
        paths: NodePaths,
        *,
        chassis: Chassis,
        load: Load,
        break_wanted: Callable[[], None],
        record: Callable[..., None],
    ) -> None:
        self.core: Bmc
        self._lan: LanDoor
        state = read_state(paths.core_state)
        bmc = plan.bmc
        self._sockets = LanSockets(bmc.listen, bmc.port, lambda data, peer: self._lan.receive(data, peer))
        self._store = StateStore(paths.core_state, state)
        self._record = record
        self._engine = EngineLink(
            bmc.private_address, bmc.channel_port, lambda event: self.core.event_happened(event)
        )
        self._host_door = SystemInterfaceDoor(
            paths.kcs_socket,
            lambda request: self.core.answer(request),
            lambda: self.core.messaging.show(),
        )
        self._serial = SerialLine(
            paths.pty,
            received=lambda output: self.core.sol.output(output),
            writable=lambda: self.core.sol.writable(),
            break_wanted=break_wanted,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._hours: asyncio.TimerHandle | None = None
        self._back: asyncio.TimerHandle | None = None
        self.core = Bmc(
            read_settings(paths.bmc_settings),
            state,
            engine=self._engine,
            chassis=chassis,
            system_interface=self._host_door,
            serial=self._serial,
            network=self._sockets,
            load=load,
            clock=LoopClock(),
            changed=self._store.changed,
            defer=self.defer,
            reset=self._reset,
        )
        self._lan = LanDoor(self.core, self._sockets.send, self.defer)

    async def open(self) -> None:
        """Open the doors to LAN and host.

        Raises:
            HostError: a BMC address cannot be had, or the state cannot be written.
        """
        self._sockets.open()
        self._store.write()
        await self._host_door.open()
        self._save_hours()

    async def take_over(self, listeners: Sequence[socket.socket], system_interface: socket.socket) -> None:
        """Open the doors whose sockets listen already, because the node was started by its opening."""
        self._sockets.open(listeners)
        await self._host_door.open(system_interface)
        self._save_hours()

    def close(self) -> None:
        """Close the doors and keep the state."""
        for timer in (self._hours, self._back):
            if timer:
                timer.cancel()
        self.core.chassis_control.save_hours()
        self._sockets.close()
        self._host_door.close()
        self._serial.close()
        self._engine.close()
        for task in self._tasks:
            task.cancel()
        self._store.close()

    @property
    def is_away(self) -> bool:
        """Whether it is being reset."""
        return self._sockets.is_deaf

    async def join_engine(self) -> None:
        """Connect to an ipmi_sim that runs or is starting, and set its clock; the caller bounds the wait."""
        await self._engine.connect()
        try:
            await engine_started(self.core)
        except Refused as refusal:
            self._record("engine-not-set-up", reason=str(refusal))

    def join_serial_line(self) -> None:
        """Take up the terminal of a socat that is ready."""
        try:
            self._serial.reopen()
        except OSError as exc:
            self._record("error", message=f"serial terminal: {exc}")

    def defer(self, work: Awaitable[None] | Coroutine[None, None, None]) -> None:
        """Do something that nobody waits for; a failure is logged."""

        async def guarded() -> None:
            try:
                await work
            except Refused as refusal:
                LOG.warning("the BMC could not finish something: %s", refusal)
            except Exception:
                LOG.exception("in the BMC")

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- its own resets

    def _reset(self, cold: bool) -> None:
        """Go away once the answer has left, and come back after a while."""
        self._record("bmc-reset", kind="cold" if cold else "warm", seconds=self.core.settings.reset_s)
        if self._back:
            self._back.cancel()
        loop = asyncio.get_running_loop()
        at_last_s = loop.time() + _ANSWER_KEEPS_S
        self._back = loop.call_later(_ANSWER_LEAVES_S, self._go_away, at_last_s)

    def _go_away(self, at_last_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._host_door.has_unread and loop.time() < at_last_s:
            self._back = loop.call_later(_ANSWER_LEAVES_S, self._go_away, at_last_s)
            return
        self._sockets.is_deaf = True
        self.core.sol.deactivate_all()
        self._lan.forget_all()
        self._host_door.close()
        self._back = loop.call_later(self.core.settings.reset_s, self._come_back)

    def _come_back(self) -> None:
        self._back = None
        self._sockets.is_deaf = False
        self.defer(self._host_door.open())
        self._record("bmc-back")

    def _save_hours(self) -> None:
        self.core.chassis_control.save_hours()
        self._hours = asyncio.get_running_loop().call_later(_HOURS_EVERY_S, self._save_hours)
