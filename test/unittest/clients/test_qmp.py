"""The host's monitor against a stand-in for QEMU on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from infrasim.clients.qmp import HostMonitor
from infrasim.errors import ProgramError

pytestmark = pytest.mark.allow("socket")

GREETING = {
    "QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}
}
Answer = Callable[[str, dict[str, Any]], Any]


class Refusal(Exception):
    """What the stand-in answers with an error."""


async def requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Every JSON object that comes; nothing stands between them, as QEMU allows."""
    text = ""
    while chunk := await reader.read(4096):
        text += chunk.decode()
        while text:
            try:
                request, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break
            text = text[end:].lstrip()
            yield request


class Qemu:
    """Speaks QMP; ``answer`` is what a command returns, ``commands`` what was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.answer: Answer = lambda command, arguments: {}
        self.greeting = json.dumps(GREETING).encode() + b"\r\n"
        self.hang_up_at = ""
        self.writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        if self.writer:
            self.writer.close()
        if self._server:
            self._server.close()

    async def emit(self, event: str, **data: object) -> None:
        await self._send({"event": event, "data": data, "timestamp": {"seconds": 1, "microseconds": 0}})

    async def _send(self, message: dict[str, Any]) -> None:
        assert self.writer is not None
        self.writer.write(json.dumps(message).encode() + b"\r\n")
        await self.writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        writer.write(self.greeting)
        with contextlib.suppress(OSError):
            async for request in requests(reader):
                command, arguments = request["execute"], request.get("arguments", {})
                if command == self.hang_up_at:
                    break
                if command == "qmp_capabilities":
                    await self._send({"return": {}})
                    continue
                self.commands.append((command, arguments))
                try:
                    reply: dict[str, Any] = {"return": self.answer(command, arguments)}
                except Refusal as exc:
                    reply = {"error": {"class": "GenericError", "desc": str(exc)}}
                await self._send({**reply, "id": request["id"]})
        writer.close()


@contextlib.asynccontextmanager
async def connected(qemu: Qemu) -> AsyncIterator[HostMonitor]:
    await qemu.listen()
    monitor = HostMonitor("node-0")
    try:
        await asyncio.wait_for(monitor.connect(qemu.path), 60)
        yield monitor
    finally:
        await monitor.close()
        await qemu.close()


def play(qemu: Qemu, scene: Callable[[HostMonitor], Awaitable[None]]) -> None:
    """Run a scene with a connected monitor."""

    async def whole() -> None:
        async with connected(qemu) as monitor:
            await asyncio.wait_for(scene(monitor), 60)

    asyncio.run(whole())


@pytest.fixture
def qemu(tmp_path: Path) -> Qemu:
    return Qemu(tmp_path / "qmp.sock")


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("resume", ("cont", {})),
        ("reset", ("system_reset", {})),
        ("press_power_button", ("system_powerdown", {})),
        ("quit", ("quit", {})),
    ],
)
def test_orders(qemu: Qemu, method: str, sent: tuple[str, dict[str, Any]]) -> None:
    play(qemu, lambda monitor: getattr(monitor, method)())
    assert qemu.commands == [sent]


def test_key_press(qemu: Qemu) -> None:
    play(qemu, lambda monitor: monitor.press_key("esc"))
    assert qemu.commands == [("send-key", {"keys": [{"type": "qcode", "data": "esc"}], "hold-time": 20})]


def test_unplugged_card(qemu: Qemu) -> None:
    play(qemu, lambda monitor: monitor.unplug("nic1"))
    assert qemu.commands == [("set_link", {"name": "nic1", "up": False})]


def test_run_state(qemu: Qemu) -> None:
    qemu.answer = lambda command, arguments: {"status": "internal-error", "running": False}

    async def scene(monitor: HostMonitor) -> None:
        assert await monitor.run_state() == "internal-error"

    play(qemu, scene)
    assert qemu.commands == [("query-status", {})]


def test_boot_order_takes_all_indexes_away_before_it_gives_any(qemu: Qemu) -> None:
    indexes = {"nic0": 1, "disk0": 2}

    def answer(command: str, arguments: dict[str, Any]) -> Any:
        name = arguments["path"].removeprefix("/machine/peripheral/")
        index = arguments["value"]
        if index >= 0 and index in indexes.values():
            raise Refusal(f"The bootindex {index} has already been used")
        indexes[name] = index
        return {}

    qemu.answer = answer
    play(qemu, lambda monitor: monitor.set_boot_order([("disk0", 1), ("nic0", 2)]))
    assert indexes == {"disk0": 1, "nic0": 2}
    assert {command for command, _ in qemu.commands} == {"qom-set"}
    assert qemu.commands[0][1] == {"path": "/machine/peripheral/disk0", "property": "bootindex", "value": -1}


@pytest.mark.parametrize(
    ("answer", "hears"),
    [
        ("portw[0x0602] = 0x0100\r\n", True),
        ("portw[0x0602] = 0x0320\r\n", True),
        ("portw[0x0602] = 0x0000\r\n", False),
        ("portw[0x0602] = 0x0020\r\n", False),
        ("portw[0x0602] = 0xffff\r\n", False),
        ("unknown command: 'i'\r\n", True),
        ("portw[0x0602] = nonsense", True),
        ("", True),
    ],
)
def test_whether_an_operating_system_hears_the_power_button(qemu: Qemu, answer: str, hears: bool) -> None:
    qemu.answer = lambda command, arguments: answer

    async def scene(monitor: HostMonitor) -> None:
        assert await monitor.os_hears_power_button() is hears

    play(qemu, scene)
    assert qemu.commands == [("human-monitor-command", {"command-line": "i /h 0x602"})]


def test_command_that_qemu_refuses(qemu: Qemu) -> None:
    def refuse(command: str, arguments: dict[str, Any]) -> Any:
        raise Refusal("Device 'nic9' not found")

    qemu.answer = refuse

    async def scene(monitor: HostMonitor) -> None:
        with pytest.raises(ProgramError) as caught:
            await monitor.execute("qom-set")
        assert caught.value.message == "QEMU, qom-set: Device 'nic9' not found"

    play(qemu, scene)


def test_qemu_that_goes_away_during_a_command(qemu: Qemu) -> None:
    qemu.hang_up_at = "system_reset"

    async def scene(monitor: HostMonitor) -> None:
        with pytest.raises(ProgramError, match=r"^QEMU, system_reset: "):
            await monitor.reset()
        await monitor.closed()
        with pytest.raises(ProgramError, match=r"^QEMU, cont: "):
            await monitor.resume()

    play(qemu, scene)


def test_command_that_is_never_answered(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrasim.clients.qmp._COMMAND_TIMEOUT_S", 0.05)

    async def scene(monitor: HostMonitor) -> None:
        assert qemu.writer is not None
        qemu.writer = Muted(qemu.writer)  # type: ignore[assignment]
        with pytest.raises(ProgramError, match=r"^QEMU, system_reset: "):
            await monitor.reset()

    play(qemu, scene)


class Muted:
    """A writer that loses everything."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, _: bytes) -> None:
        """Lose it."""

    async def drain(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        self._writer.close()


def test_connect_waits_for_a_qemu_that_is_still_starting(qemu: Qemu) -> None:
    async def whole() -> None:
        monitor = HostMonitor("node-0")
        waiting = asyncio.create_task(monitor.connect(qemu.path))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await qemu.listen()
        await asyncio.wait_for(waiting, 60)
        await monitor.resume()
        await monitor.close()
        await qemu.close()

    asyncio.run(whole())
    assert qemu.commands == [("cont", {})]


@pytest.mark.parametrize("greeting", [b"", b'{"QMP": {"ver', b"hello\r\n"], ids=["closed", "half", "noise"])
def test_connect_tries_again_after_a_bad_greeting(qemu: Qemu, greeting: bytes) -> None:
    good, qemu.greeting = qemu.greeting, greeting

    async def whole() -> None:
        await qemu.listen()
        monitor = HostMonitor("node-0")
        waiting = asyncio.create_task(monitor.connect(qemu.path))
        while qemu.writer is None:
            await asyncio.sleep(0.001)
        qemu.writer.close()
        assert not waiting.done()
        qemu.greeting = good
        await asyncio.wait_for(waiting, 60)
        await monitor.close()
        await qemu.close()

    asyncio.run(whole())


def test_events_come_in_order_and_only_those_watched(qemu: Qemu) -> None:
    async def scene(monitor: HostMonitor) -> None:
        await monitor.resume()
        await qemu.emit("RTC_CHANGE", offset=0)
        await qemu.emit("RESET", guest=True, reason="guest-reset")
        await qemu.emit("SHUTDOWN", guest=True, reason="guest-shutdown")
        seen = []
        async for event in monitor.events():
            seen.append(event["event"])
            if len(seen) == 2:
                break
        assert seen == ["RESET", "SHUTDOWN"]

    play(qemu, scene)


def test_last_events_are_there_when_qemu_has_gone(qemu: Qemu) -> None:
    async def scene(monitor: HostMonitor) -> None:
        await monitor.resume()
        await qemu.emit("SHUTDOWN", guest=True, reason="guest-shutdown")
        await qemu.close()
        await monitor.closed()
        waiting = list(monitor.waiting_events())
        assert [(event["event"], event["data"]["guest"]) for event in waiting] == [("SHUTDOWN", True)]
        assert list(monitor.waiting_events()) == []

    play(qemu, scene)


def test_close_of_what_was_never_connected() -> None:
    asyncio.run(HostMonitor("node-0").close())
