"""The serial line on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infrasim.runtime.bmc.serial_line import SerialLine


class Wire:
    """A terminal whose other end is the test's; ``link`` names it as socat's link does."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "pty"
        self.heard = bytearray()
        self.breaks = 0
        self.was_writable = 0
        self.master = -1
        self.line: SerialLine

    def plug_in(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self) -> None:
        os.close(self.master)

    def make_line(self) -> None:
        self.line = SerialLine(
            self.link, received=self.heard.extend, writable=self._writable, break_wanted=self._break
        )
        self.line.reopen()

    def read_typed(self) -> bytes:
        """What the host would read now."""
        try:
            return os.read(self.master, 65536)
        except BlockingIOError:
            return b""

    def _writable(self) -> None:
        self.was_writable += 1

    def _break(self) -> None:
        self.breaks += 1


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.001)


def on_a_wire(folder: Path, scene: Callable[[Wire], Awaitable[None]]) -> None:
    async def play() -> None:
        wire = Wire(folder)
        wire.plug_in()
        wire.make_line()
        try:
            await scene(wire)
        finally:
            wire.line.close()
            wire.unplug()

    asyncio.run(play())


def test_every_byte_passes_as_it_is(tmp_path: Path) -> None:
    every = bytes(range(256)) * 3

    async def scene(wire: Wire) -> None:
        os.write(wire.master, every)
        await until(lambda: len(wire.heard) >= len(every))
        assert wire.heard == every
        assert wire.line.write(every) == len(every)
        typed = bytearray()
        await until(lambda: len(typed.__iadd__(wire.read_typed())) >= len(every))
        assert typed == every
        wire.line.send_break()
        assert wire.breaks == 1

    on_a_wire(tmp_path, scene)


def test_a_paused_line_leaves_the_output_where_it_is(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.line.pause(paused=True)
        sent = 0
        with pytest.raises(BlockingIOError):
            while True:
                sent += os.write(wire.master, bytes(4096))
        await asyncio.sleep(0.02)
        assert not wire.heard
        wire.line.pause(paused=False)
        await until(lambda: len(wire.heard) == sent)

    on_a_wire(tmp_path, scene)


def test_what_the_host_does_not_read_is_taken_up_to_a_limit_and_keeps_its_order(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        text = os.urandom(1 << 20)
        taken = wire.line.write(text)
        assert 4096 <= taken < len(text)
        assert wire.line.write(b"more") == 0
        typed = bytearray()
        await until(lambda: len(typed.__iadd__(wire.read_typed())) == taken)
        assert typed == text[:taken]
        assert wire.was_writable == 1
        assert wire.line.write(b"more") == 4

    on_a_wire(tmp_path, scene)


def test_what_waits_for_the_host_can_be_discarded(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.line.write(bytes(1 << 20))
        wire.line.discard()
        assert wire.was_writable == 1
        while wire.read_typed():
            pass
        wire.line.write(b"new")
        await asyncio.sleep(0.01)
        assert wire.read_typed() == b"new"

    on_a_wire(tmp_path, scene)


def test_a_hung_up_line_takes_nothing_until_it_is_opened_anew(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.unplug()
        await until(lambda: not wire.line.is_open)
        assert wire.line.write(b"lost") == 0
        wire.line.pause(paused=True)
        wire.plug_in()
        wire.line.reopen()
        os.write(wire.master, b"back")
        await asyncio.sleep(0.02)
        assert not wire.heard
        wire.line.pause(paused=False)
        await until(lambda: wire.heard == b"back")
        wire.line.write(b"key")
        assert wire.read_typed() == b"key"

    on_a_wire(tmp_path, scene)


def test_a_write_notices_the_hang_up_too(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.unplug()
        assert wire.line.write(b"lost") == 0
        assert not wire.line.is_open
        wire.plug_in()

    on_a_wire(tmp_path, scene)


def test_a_terminal_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.link.unlink()
        with pytest.raises(FileNotFoundError):
            wire.line.reopen()
        assert not wire.line.is_open
        wire.link.write_text("a file")
        with pytest.raises(OSError, match="ioctl"):
            wire.line.reopen()

    on_a_wire(tmp_path, scene)
