"""The control socket: how scripts, commands and services ask a supervisor for something.

One JSON object per line in, one out. ``{"verb": "status"}`` shows the state, ``stop`` takes the node
down and answers when it is, ``chassis`` carries ipmi_sim's words and ``power``/``boot`` people's.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import socket
from typing import TYPE_CHECKING, Any

from infrasim.errors import InfrasimError, UsageError
from infrasim.qemu.boot import BootSelector
from infrasim.runtime.machine import OrderRefused, Power, PowerOrder, SetOverride, Stop

if TYPE_CHECKING:
    from infrasim.runtime.supervisor import Supervisor

# How long a power order may keep the chassis script, and with it ipmi_sim, waiting for its effect.
_POWER_SETTLE_S = 0.5

# How long the end of the supervisor waits for clients to read their last answer.
_LAST_ANSWERS_S = 0.2

# Source: IPMI 2.0 section 28.5: the interval is one byte.
_SECONDS = re.compile("[0-9]{1,3}")

# ipmi_sim's word for the disk is "default". Source: measured, ipmi_sim 2.0.33.
_BOOT_WORDS: dict[str, BootSelector | None] = {
    "none": None,
    "default": BootSelector.DISK,
    **{selector.value: selector for selector in BootSelector},
}


class ControlServer:
    """Answers on the node's control socket."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def open(self, bound: socket.socket | None = None) -> None:
        """Begin to listen, at ``bound`` if it is there already; only this user can connect."""
        if bound is not None:
            self._server = await asyncio.start_unix_server(self._serve, sock=bound)
            return
        path = self._supervisor.paths.control_socket
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening, once whoever asked for the stop has its answer."""
        if self._server:
            self._server.close()
        if self._conversations:
            await asyncio.wait(self._conversations, timeout=_LAST_ANSWERS_S)
        for conversation in self._conversations:
            conversation.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        # Cancelled only when the supervisor ends; asyncio would log that as an error.
        with contextlib.suppress(OSError, ValueError, asyncio.CancelledError):
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            verb, words = request["verb"], [str(word) for word in request.get("words", [])]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"ok": False, "error": f"not a request: {line[:80]!r}"}
        try:
            return {"ok": True, **await self._do(verb, words)}
        except (OrderRefused, InfrasimError) as exc:
            return {"ok": False, "error": str(exc)}

    async def _do(self, verb: str, words: list[str]) -> dict[str, Any]:
        supervisor = self._supervisor
        match verb, words:
            case "status", []:
                return {"state": dataclasses.asdict(supervisor.state())}
            case "stop", []:
                supervisor.feed(Stop())
                await supervisor.finished.wait()
            case ("power", ["on" | "off" | "reset" | "soft" as order]):
                await self._power(PowerOrder(order))
            case ("boot", [word]) | ("chassis", ["boot", word]) if word in _BOOT_WORDS:
                self._set_boot(_BOOT_WORDS[word])
            case "chassis", ["power", "1"]:
                await self._power(PowerOrder.ON)
            case "chassis", ["power", "0"]:
                await self._power(PowerOrder.OFF)
            case "chassis", ["reset", "1"]:
                await self._power(PowerOrder.RESET)
            case "chassis", ["shutdown", "1"]:
                await self._power(PowerOrder.SOFT)
            case "chassis", ["identify", seconds, force] if _SECONDS.fullmatch(seconds):
                supervisor.light_identify_lamp(float("inf") if force == "1" else int(seconds))
            case _:
                raise UsageError(f"no such verb: {verb} {' '.join(words)}".rstrip())
        return {}

    def _set_boot(self, selector: BootSelector | None) -> None:
        if selector is BootSelector.BIOS and len(self._supervisor.plan.host.boot_devices) < 2:
            raise UsageError("the firmware shows its menu only when there are two devices to boot from")
        self._supervisor.feed(SetOverride(selector))

    async def _power(self, order: PowerOrder) -> None:
        """Follow an order and wait a moment for its effect, so that the next question sees it."""
        supervisor = self._supervisor
        listens = order is not PowerOrder.SOFT or await supervisor.host.os_listens()
        supervisor.feed(Power(order, listens))
        if order is PowerOrder.OFF:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._power_is_off(), _POWER_SETTLE_S)

    async def _power_is_off(self) -> None:
        while self._supervisor.machine.power:
            await self._supervisor.changed.wait()
