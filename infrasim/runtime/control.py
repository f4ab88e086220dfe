"""The control socket: how scripts, commands and services ask a supervisor for something.

One JSON object per line in, one out. ``{"verb": "status"}`` shows the state, ``stop`` takes the node
down and answers when it is, ``power`` and ``boot`` are what a person at the machine can do. ``ipmi`` is for
other doors of the node's BMC: one request with the privilege of whoever came through that door.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
from typing import TYPE_CHECKING, Any

from infrasim.bmc_core.chassis import Button, ControlAction, RestartCause
from infrasim.bmc_core.codes import Channel, Privilege
from infrasim.bmc_core.message import Origin, Refused, Request
from infrasim.errors import InfrasimError, UsageError
from infrasim.qemu.boot import BootSelector
from infrasim.runtime.machine import OrderRefused

if TYPE_CHECKING:
    from infrasim.runtime.supervisor import Supervisor

# How long the end of the supervisor waits for clients to read their last answer.
_LAST_ANSWERS_S = 0.2

# Clients that may wait for connection, and that may be connected; the oldest gives way to a further one.
_BACKLOG = 100
_CONVERSATIONS_MOST = 64

# What "boot" can name.
_BOOT_WORDS: dict[str, BootSelector | None] = {
    "none": None,
    **{selector.value: selector for selector in BootSelector},
}

# What "power" can order, with the cause that the BMC notes for it, and the button that must not be disabled.
_POWER_WORDS = {
    "on": (ControlAction.POWER_UP, RestartCause.POWER_BUTTON, None),
    "off": (ControlAction.POWER_DOWN, RestartCause.UNKNOWN, Button.POWER),
    "cycle": (ControlAction.POWER_CYCLE, RestartCause.POWER_BUTTON, Button.POWER),
    "reset": (ControlAction.HARD_RESET, RestartCause.RESET_BUTTON, Button.RESET),
    "soft": (ControlAction.SOFT_SHUTDOWN, RestartCause.UNKNOWN, Button.POWER),
}


class ControlServer:
    """Answers on the node's control socket."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._server: asyncio.Server | None = None
        # In the order they began.
        self._conversations: dict[asyncio.Task[None], None] = {}

    async def open(self, bound: socket.socket | None = None) -> None:
        """Begin to listen, at ``bound`` if it is there already; only this user can connect."""
        listener = bound or self._bind()
        # asyncio of Python 3.11 tries to accept as often as its backlog says although no descriptor is
        # left, and plans as many further tries each time. The kernel's own backlog may be longer.
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, backlog=1)
        listener.listen(_BACKLOG)

    def _bind(self) -> socket.socket:
        path = self._supervisor.paths.control_socket
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(str(path))
        path.chmod(0o600)
        return listener

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
        if len(self._conversations) >= _CONVERSATIONS_MOST:
            next(iter(self._conversations)).cancel()
        self._conversations[task] = None
        task.add_done_callback(lambda done: self._conversations.pop(done, None))
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
                # Somebody may have removed or damaged the file, and whoever asks may read it next.
                supervisor.show()
                return {"state": dataclasses.asdict(supervisor.state())}
            case "stop", []:
                supervisor.stop()
                await supervisor.finished.wait()
            case "power", [word] if word in _POWER_WORDS:
                await self._power(word)
            case "boot", [word] if word in _BOOT_WORDS:
                self._set_boot(_BOOT_WORDS[word])
            case "ipmi", [privilege, message]:
                return {"answer": (await self._ipmi(privilege, message)).hex()}
            case _:
                raise UsageError(f"no such verb: {verb} {' '.join(words)}".rstrip())
        return {}

    async def _ipmi(self, privilege: str, message: str) -> bytes:
        """The BMC's answer, completion code and data, to network function, command and data in hex."""
        try:
            netfn, command, *data = bytes.fromhex(message)
            origin = Origin(Channel.SYSTEM_INTERFACE, Privilege[privilege.upper()])
        except (ValueError, KeyError):
            raise UsageError(f"no IPMI request: {privilege} {message}") from None
        if self._supervisor.bmc.is_away:
            raise OrderRefused("the BMC is being reset")
        answer = self._supervisor.bmc.core.answer(Request(netfn, command, bytes(data), origin))
        return answer if isinstance(answer, bytes) else await answer

    def _set_boot(self, selector: BootSelector | None) -> None:
        try:
            self._supervisor.bmc.core.boot.choose(selector)
        except Refused as refusal:
            raise UsageError(
                "the firmware has no menu here: 'compute.boot.menu' is off, or SeaBIOS has fewer than "
                "two devices to boot from"
            ) from refusal

    async def _power(self, word: str) -> None:
        """Follow an order and wait a moment for its effect, so that the next question sees it."""
        core = self._supervisor.bmc.core
        action, cause, button = _POWER_WORDS[word]
        if button and core.chassis_control.is_disabled(button):
            name = str(button.name).lower()
            raise OrderRefused(f"the {name} button is disabled (over IPMI, for good or by boot flags)")
        try:
            core.chassis_control.act(action, cause)
        except Refused as refusal:
            raise OrderRefused("the chassis is off, or the node is not up") from refusal
        if action is ControlAction.POWER_DOWN:
            await core.chassis.settled(on=False)
