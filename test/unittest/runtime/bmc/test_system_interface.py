"""The host's system interface: where it listens, and one QEMU at a time."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from infrasim.bmc_core.message import Request
from infrasim.bmc_core.vm import HardwareCommand, VmRequest, answer_wire, command_wire
from infrasim.runtime.bmc.system_interface import SystemInterfaceDoor

VERSION = command_wire(HardwareCommand.VERSION, b"\x01")
ASKED = VmRequest(7, 6, 0, 1, b"")
ANSWERED = answer_wire(ASKED, b"\0\x20")


def answer(request: Request) -> bytes:
    assert (request.netfn, request.command) == (6, 1)
    return b"\0\x20"


@pytest.mark.allow("socket")
@pytest.mark.parametrize("is_bound", [False, True])
def test_a_host_is_answered_also_one_that_came_before_the_door(tmp_path: Path, is_bound: bool) -> None:
    path = tmp_path / "kcs.sock"

    async def scene() -> None:
        came: list[bool] = []
        door = SystemInterfaceDoor(path, answer, lambda: came.append(True))
        bound = None
        if is_bound:
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            bound.bind(str(path))
            bound.listen()
        else:
            await door.open()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(ASKED.wire())
        if is_bound:
            await door.open(bound)
        heard = await asyncio.wait_for(reader.readexactly(len(VERSION + ANSWERED)), 5)
        assert heard == VERSION + ANSWERED
        assert came == [True]
        door.close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert not path.exists()
        writer.close()

    asyncio.run(scene())


@pytest.mark.allow("socket")
def test_a_new_host_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "kcs.sock"

    async def scene() -> None:
        door = SystemInterfaceDoor(path, answer, lambda: None)
        await door.open()
        old, old_writer = await asyncio.open_unix_connection(path)
        assert await asyncio.wait_for(old.readexactly(len(VERSION)), 5) == VERSION
        new, new_writer = await asyncio.open_unix_connection(path)
        assert await asyncio.wait_for(new.readexactly(len(VERSION)), 5) == VERSION
        assert await asyncio.wait_for(old.read(), 5) == b""
        door.set_attention(asserted=True, interrupt=False, interrupts_enabled=False)
        wire = command_wire(HardwareCommand.ATTENTION)
        assert await asyncio.wait_for(new.readexactly(len(wire)), 5) == wire
        door.close()
        old_writer.close()
        new_writer.close()

    asyncio.run(scene())
