"""The wires from a BMC to its host: what the core orders becomes events of the node's machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion
from infrasim.bmc_core.message import Refused
from infrasim.host.process import Identity, cpu_seconds
from infrasim.host.share import ProcessorShare
from infrasim.qemu.boot import BootSelector
from infrasim.runtime.machine import OrderRefused, Power, PowerOrder, SetOverride

if TYPE_CHECKING:
    from infrasim.runtime.supervisor import Supervisor

# How long an answer waits for the effect of an order, so that the next question sees it.
_SETTLE_S = 0.5


class HostWires:
    """The host of one supervisor, as its BMC sees it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._measured: tuple[Identity | None, float, float] | None = None
        workspace = str(supervisor.paths.workspace)
        self._share = ProcessorShare(f"infrasim-{hashlib.sha256(workspace.encode()).hexdigest()[:12]}")
        self._limited: tuple[Identity, float] | None = None
        self._cannot_limit = False

    def power_is_on(self) -> bool:
        """Whether the chassis has power now."""
        return self._supervisor.machine.power

    def power_on(self) -> None:
        """Switch on."""
        self._order(Power(PowerOrder.ON))

    def power_off(self) -> None:
        """Cut the power."""
        self._order(Power(PowerOrder.OFF))

    def reset(self) -> None:
        """Pull the reset line."""
        self._order(Power(PowerOrder.RESET))

    def press_power_button(self) -> None:
        """Ask the operating system to shut down; without one that listens the power goes at once."""
        self._supervisor.in_background(self.shut_down())

    async def shut_down(self) -> None:
        """Press the button as far as anybody listens to it, or else cut the power."""
        listens = await self._supervisor.host.os_listens()
        # It may have gone off meanwhile, which is what was wanted.
        with contextlib.suppress(OrderRefused):
            if self._supervisor.machine.is_starting_host:
                # Nothing of it runs yet that could listen.
                self._supervisor.feed(Power(PowerOrder.OFF))
            else:
                self._supervisor.feed(Power(PowerOrder.SOFT, listens))

    def send_nmi(self) -> None:
        """Give the host a diagnostic interrupt."""
        self._supervisor.record("nmi")
        self._supervisor.order_host(self._supervisor.host.send_nmi())

    def send_break(self) -> None:
        """Give the host's serial port a break."""
        self._supervisor.order_host(self._supervisor.host.send_break())

    def boot_devices(self) -> frozenset[BootSelector]:
        """The boot overrides that this host can follow."""
        return self._supervisor.plan.host.overrides

    def keeps_settings(self) -> bool:
        """Whether its firmware keeps settings while it is off: UEFI's variables."""
        return bool(self._supervisor.plan.copies)

    def override_boot(self, selector: BootSelector | None, *, keep: bool) -> None:
        """Boot from ``selector`` next, or always."""
        self._supervisor.feed(SetOverride(selector, keep))

    def identify(self, seconds: float) -> None:
        """Light the identify lamp for so long."""
        self._supervisor.lamp_changed(seconds)

    def host_load(self) -> float:
        """The part of its processors' time that the host used since the last call, from 0 to 1."""
        host = self._supervisor.host_identity
        used_s = cpu_seconds(host) if host else None
        before, self._measured = self._measured, (host, time.monotonic(), used_s or 0.0)
        if used_s is None or before is None or before[0] != host:
            return 0.0
        elapsed_s = self._measured[1] - before[1]
        room_s = elapsed_s * self._supervisor.plan.host.processors
        return min(1.0, max(0.0, (used_s - before[2]) / room_s)) if room_s > 0 else 0.0

    def limit_load(self, part: float | None) -> bool:
        """Let the host use no more than this part of its processors' time; whether it is held to that."""
        host = self._supervisor.host_identity
        if part is None or host is None or cpu_seconds(host) is None:
            self._limited = None
            self._share.release()
            return part is None
        if self._limited == (host, part):
            return True
        try:
            self._share.limit(host.pid, part * self._supervisor.plan.host.processors)
        except OSError as exc:
            if not self._cannot_limit:
                self._cannot_limit = True
                self._supervisor.record("power-limit-not-kept", reason=str(exc))
            return False
        self._limited = host, part
        self._supervisor.record("power-limit-kept", processors=round(part, 3))
        return True

    async def settled(self, *, on: bool) -> None:
        """Wait a moment until the power is as it was ordered."""
        supervisor = self._supervisor
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                while supervisor.machine.power is not on:
                    await supervisor.changed.wait()

    def _order(self, event: Power) -> None:
        try:
            self._supervisor.feed(event)
        except OrderRefused as exc:
            raise Refused(Completion.NOT_IN_THIS_STATE) from exc
