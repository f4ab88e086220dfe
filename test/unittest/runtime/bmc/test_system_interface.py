"""The host's system interface over a real socket, with a QEMU of the test's."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from vm_peer import HostPeer, until

from infrasim.bmc_core.codes import Channel, Privilege
from infrasim.bmc_core.message import Request
from infrasim.bmc_core.vm import HardwareCommand as Hw
from infrasim.runtime.bmc.system_interface import SystemInterfaceDoor

pytestmark = pytest.mark.allow("socket")


class Bmc:
    """Answers with the command and the data, at once or when ``gate`` opens."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kcs.sock"
        self.requests: list[Request] = []
        self.connects = 0
        self.gate: asyncio.Event | None = None
        self.door = SystemInterfaceDoor(self.path, self.answer, self.on_connect)

    def answer(self, request: Request) -> bytes | Awaitable[bytes]:
        self.requests.append(request)
        content = bytes([0, request.command]) + request.data
        return self._later(content, self.gate) if self.gate else content

    async def _later(self, content: bytes, gate: asyncio.Event) -> bytes:
        await gate.wait()
        return content

    def on_connect(self) -> None:
        self.connects += 1


def play(folder: Path, scene: Callable[[Bmc, HostPeer], Awaitable[None]]) -> None:
    """A scene with a door and a host that has connected."""

    async def whole() -> None:
        bmc, host = Bmc(folder), HostPeer()
        await bmc.door.open()
        try:
            async with asyncio.timeout(60):
                await host.connect(bmc.path)
                await scene(bmc, host)
        finally:
            host.writer.close()
            bmc.door.close()
            await asyncio.sleep(0)

    asyncio.run(whole())


def test_a_host_is_greeted_with_the_version_and_gets_answers(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        assert await host.hear_commands(1) == [Hw.VERSION]
        assert bmc.connects == 1
        assert await host.ask(0x06, 0x01, b"\xa0\xa1\xaa") == b"\0\x01\xa0\xa1\xaa"
        (request,) = bmc.requests
        assert (request.netfn, request.origin.channel) == (0x06, Channel.SYSTEM_INTERFACE)
        assert request.origin.privilege is Privilege.OEM
        assert stat.S_IMODE(bmc.path.stat().st_mode) == 0o600

    play(tmp_path, scene)


def test_requests_are_answered_one_after_the_other(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        bmc.gate = asyncio.Event()
        first = asyncio.ensure_future(host.ask(0x0A, 0x43))
        await until(lambda: bmc.requests)
        bmc.gate.set()
        assert await first == b"\0\x43"
        bmc.gate = None
        assert await host.ask(0x06, 0x01) == b"\0\x01"

    play(tmp_path, scene)


def test_attention_is_shown_and_the_use_of_the_interrupt_only_when_it_changes(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        assert await host.hear_commands(1) == [Hw.VERSION]
        show = bmc.door.set_attention
        show(asserted=True, interrupt=False, interrupts_enabled=False)
        assert await host.hear_commands(1) == [Hw.ATTENTION]
        show(asserted=True, interrupt=True, interrupts_enabled=True)
        assert await host.hear_commands(2) == [Hw.ENABLE_INTERRUPT, Hw.ATTENTION_WITH_INTERRUPT]
        show(asserted=False, interrupt=False, interrupts_enabled=True)
        assert await host.hear_commands(1) == [Hw.NO_ATTENTION]
        show(asserted=False, interrupt=False, interrupts_enabled=False)
        assert await host.hear_commands(2) == [Hw.DISABLE_INTERRUPT, Hw.NO_ATTENTION]

    play(tmp_path, scene)


def test_a_new_host_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        await host.ask(0x06, 0x01)
        bmc.door.set_attention(asserted=True, interrupt=True, interrupts_enabled=True)
        bmc.gate = asyncio.Event()
        waiting = asyncio.ensure_future(host.ask(0x0A, 0x43))
        await until(lambda: len(bmc.requests) == 2)
        bmc.gate = None
        new = HostPeer()
        await new.connect(bmc.path)
        assert await new.hear_commands(1) == [Hw.VERSION]
        assert bmc.connects == 2
        with pytest.raises(OSError):
            await waiting
        bmc.door.set_attention(asserted=True, interrupt=True, interrupts_enabled=True)
        heard = await new.hear_commands(2)
        assert heard == [Hw.ENABLE_INTERRUPT, Hw.ATTENTION_WITH_INTERRUPT], "it knows nothing yet"
        assert await new.ask(0x06, 0x01) == b"\0\x01"
        new.writer.close()

    play(tmp_path, scene)


def test_noise_is_no_request(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        host.writer.write(b"\x01\x02\x03\xa0" + b"\x01" * 2000 + b"\xa0\xa1\xa0")
        assert await host.ask(0x06, 0x01) == b"\0\x01"
        assert len(bmc.requests) == 1

    play(tmp_path, scene)


def test_a_closed_door_is_away_until_it_is_opened_anew(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        await host.ask(0x06, 0x01)
        bmc.door.close()
        await host.lost()
        assert not bmc.path.exists()
        bmc.door.close()
        bmc.door.set_attention(asserted=True, interrupt=True, interrupts_enabled=True)
        with pytest.raises(OSError):
            await host.connect(bmc.path)
        bmc.path.touch()
        await bmc.door.open()
        await host.connect(bmc.path)
        assert await host.ask(0x06, 0x01) == b"\0\x01"

    play(tmp_path, scene)


def test_one_that_came_as_the_door_was_closing_is_turned_away(tmp_path: Path) -> None:
    async def scene(bmc: Bmc, host: HostPeer) -> None:
        await host.ask(0x06, 0x01)
        bmc.door.close()
        aborted: list[bool] = []
        writer = SimpleNamespace(transport=SimpleNamespace(abort=lambda: aborted.append(True)))
        await bmc.door._serve(asyncio.StreamReader(), cast(asyncio.StreamWriter, writer))
        assert (aborted, bmc.connects) == ([True], 1)

    play(tmp_path, scene)


def test_a_host_that_came_before_the_door_to_a_bound_socket_is_answered(tmp_path: Path) -> None:
    async def scene() -> None:
        bmc, host = Bmc(tmp_path), HostPeer()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        bound.bind(str(bmc.path))
        bound.listen()
        async with asyncio.timeout(60):
            await host.connect(bmc.path)
            asked = asyncio.ensure_future(host.ask(0x06, 0x01))
            await asyncio.sleep(0)
            await bmc.door.open(bound)
            assert await asked == b"\0\x01"
        assert bmc.connects == 1
        host.writer.close()
        bmc.door.close()
        assert not bmc.path.exists()
        await asyncio.sleep(0)

    asyncio.run(scene())
