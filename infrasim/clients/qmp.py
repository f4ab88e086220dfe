"""The host's monitor: what the supervisor asks of QEMU, on top of the qemu.qmp library."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, Runstate, StateError

from infrasim.errors import ProgramError

LOG = logging.getLogger(__name__)

_CONNECT_POLL_S = 0.005
_COMMAND_TIMEOUT_S = 10.0

# Q35's power management registers; PM1 enable is the second word, its bit 8 the power button.
# Source: QEMU ICH9 (PM base 0x600); ACPI 6.4 section 4.8.3.1.2.
_PM1_ENABLE_PORT = 0x602
_POWER_BUTTON_ENABLED = 0x100
# What an input reads where no device is: before the firmware has put the registers there. Most bits of the
# register are reserved and read 0. Source: measured, QEMU 7.2.
_NOTHING_THERE = 0xFFFF

WATCHED_EVENTS = ("SHUTDOWN", "RESET", "STOP")


class HostMonitor:
    """One connection to one QEMU."""

    def __init__(self, name: str) -> None:
        self._client = QMPClient(name)
        # The library logs every refused attempt to connect as an error; we wait for QEMU that way.
        self._client.logger.setLevel(logging.CRITICAL)
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._pump: asyncio.Task[None] | None = None

    async def connect(self, socket_path: Path) -> None:
        """Wait for the greeting; the caller bounds the wait."""
        while True:
            try:
                await self._client.connect(str(socket_path))
                break
            except (ConnectError, OSError):
                await asyncio.sleep(_CONNECT_POLL_S)
        self._pump = asyncio.create_task(self._collect_events())

    async def _collect_events(self) -> None:
        with self._client.listener(WATCHED_EVENTS) as listener:
            async for event in listener:
                self._events.put_nowait(dict(event))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Every watched event, for ever; the caller cancels."""
        while True:
            yield await self._events.get()

    def waiting_events(self) -> Iterable[dict[str, Any]]:
        """Take the events that came and were not taken yet, without waiting for more."""
        while not self._events.empty():
            yield self._events.get_nowait()

    async def closed(self) -> None:
        """Wait until QEMU has closed the connection and everything it said was read."""
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        if self._pump:
            self._pump.cancel()
        try:
            await asyncio.wait_for(self._client.disconnect(), 1.0)
        except Exception as exc:
            LOG.debug("disconnect: %s", exc)

    async def execute(self, command: str, **arguments: object) -> Any:
        """Run one command and return what it returned.

        Raises:
            ProgramError: QEMU refused it or is gone.
        """
        try:
            return await asyncio.wait_for(
                self._client.execute(command, arguments or None), _COMMAND_TIMEOUT_S
            )
        except TimeoutError as exc:
            raise ProgramError(f"QEMU, {command}: no answer in {_COMMAND_TIMEOUT_S:g} s") from exc
        except (ExecuteError, ExecInterruptedError, StateError, OSError) as exc:
            raise ProgramError(f"QEMU, {command}: {exc}") from exc

    async def resume(self) -> None:
        """Let the processors run."""
        await self.execute("cont")

    async def reset(self) -> None:
        """Reset the machine; the process stays."""
        await self.execute("system_reset")

    async def press_power_button(self) -> None:
        """Ask the operating system to shut down."""
        await self.execute("system_powerdown")

    async def send_nmi(self) -> None:
        """Give every processor a non-maskable interrupt."""
        await self.execute("inject-nmi")

    async def send_break(self, chardev: str) -> None:
        """Send a break through a character device, as from its other end."""
        await self.execute("chardev-send-break", id=chardev)

    async def unplug(self, card: str) -> None:
        """Pull a network card's cable: the system sees no carrier."""
        await self.execute("set_link", name=card, up=False)

    async def quit(self) -> None:
        """End QEMU."""
        await self.execute("quit")

    async def processor_threads(self) -> tuple[int, ...]:
        """The thread of each processor of the host, in their order."""
        found = await self.execute("query-cpus-fast")
        return tuple(entry["thread-id"] for entry in sorted(found, key=lambda entry: entry["cpu-index"]))

    async def run_state(self) -> str:
        """QEMU's run state, such as ``running``, ``prelaunch`` or ``internal-error``."""
        answer = await self.execute("query-status")
        return str(answer["status"])

    async def set_boot_order(self, order: Iterable[tuple[str, int]]) -> None:
        """Give devices their boot indexes; the firmware reads them at the next reset.

        QEMU refuses an index that another device has, so all are taken away first.
        """
        pairs = list(order)
        for device_id, _ in pairs:
            await self._set_index(device_id, -1)
        for device_id, index in pairs:
            await self._set_index(device_id, index)

    async def _set_index(self, device_id: str, index: int) -> None:
        path = f"/machine/peripheral/{device_id}"
        await self.execute("qom-set", path=path, property="bootindex", value=index)

    async def os_hears_power_button(self) -> bool:
        """Whether an operating system has enabled the ACPI power button; True when it cannot be told."""
        answer = await self.execute(
            "human-monitor-command", **{"command-line": f"i /h {_PM1_ENABLE_PORT:#x}"}
        )
        value = str(answer).partition("=")[2]
        try:
            enabled = int(value.strip(), 16)
        except ValueError:
            return True
        return enabled != _NOTHING_THERE and bool(enabled & _POWER_BUTTON_ENABLED)

    async def press_key(self, key: str) -> None:
        """Press and release one key of the keyboard, by its QEMU name."""
        await self.execute("send-key", keys=[{"type": "qcode", "data": key}], **{"hold-time": 20})
