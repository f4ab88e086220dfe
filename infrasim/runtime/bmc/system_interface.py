"""The host's system interface: QEMU's KCS device is a client of this socket and speaks the VM protocol."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

from infrasim.bmc_core.message import IN_BAND, Request
from infrasim.bmc_core.vm import HardwareCommand, VmRequest, VmStream, answer_wire, command_wire

_CHUNK = 4096

Answerer = Callable[[Request], bytes | Awaitable[bytes]]


class SystemInterfaceDoor:
    """Answers the host's requests one after the other, as KCS has them.

    ``on_connect`` is called when a host has come, so that the attention line can be shown to it.
    """

    def __init__(self, path: Path, answer: Answerer, on_connect: Callable[[], None]) -> None:
        self._path = path
        self._answer = answer
        self._on_connect = on_connect
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._interrupts_enabled = False

    async def open(self, bound: socket.socket | None = None) -> None:
        """Begin to listen, at ``bound`` if it is there already; QEMU tries again each second until then."""
        if bound is not None:
            self._server = await asyncio.start_unix_server(self._serve, sock=bound)
            return
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._path.chmod(0o600)

    def close(self) -> None:
        """Go away: to the host the BMC is not there, and its driver gets an error at once."""
        if self._server:
            self._server.close()
            self._server = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._drop()

    @property
    def has_unread(self) -> bool:
        """Whether the host has not taken yet what was said to it. Source: unix(7), SIOCOUTQ."""
        if self._writer is None or self._writer.is_closing():
            return False
        connection: socket.socket = self._writer.get_extra_info("socket")
        left = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return bool(left or self._writer.transport.get_write_buffer_size())

    def set_attention(self, *, asserted: bool, interrupt: bool, interrupts_enabled: bool) -> None:
        """Show the attention line to the host, if one is connected."""
        if self._writer is None:
            return
        wire = b""
        if interrupts_enabled is not self._interrupts_enabled:
            self._interrupts_enabled = interrupts_enabled
            enable, disable = HardwareCommand.ENABLE_INTERRUPT, HardwareCommand.DISABLE_INTERRUPT
            wire += command_wire(enable if interrupts_enabled else disable)
        if not asserted:
            wire += command_wire(HardwareCommand.NO_ATTENTION)
        elif interrupt:
            wire += command_wire(HardwareCommand.ATTENTION_WITH_INTERRUPT)
        else:
            wire += command_wire(HardwareCommand.ATTENTION)
        self._writer.write(wire)

    def _drop(self) -> None:
        if self._task:
            self._task.cancel()
        if self._writer:
            self._writer.transport.abort()
        self._writer = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            # It was accepted just before the door was closed.
            writer.transport.abort()
            return
        # One QEMU at a time: a new one means that the old one is gone.
        self._drop()
        self._task, self._writer = asyncio.current_task(), writer
        self._interrupts_enabled = False
        writer.write(command_wire(HardwareCommand.VERSION, b"\x01"))
        self._on_connect()
        stream = VmStream()
        try:
            while chunk := await reader.read(_CHUNK):
                for item in stream.feed(chunk):
                    if isinstance(item, VmRequest):
                        writer.write(answer_wire(item, await self._ask(item)))
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            # Cancelled when the door closes or another QEMU comes; nobody waits for this task.
            pass
        finally:
            if self._writer is writer:
                self._writer = None
            writer.transport.abort()

    async def _ask(self, item: VmRequest) -> bytes:
        found = self._answer(Request(item.netfn, item.command, item.data, IN_BAND, item.lun))
        return found if isinstance(found, bytes) else await found
