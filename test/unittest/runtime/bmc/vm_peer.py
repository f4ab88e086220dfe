"""The other ends of the VM protocol: an ipmi_sim and a QEMU of the tests, and a wait with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from infrasim.bmc_core.vm import VmAnswer, VmCommand, VmRequest, VmStream, answer_wire

GET_DEVICE_ID = (0x06, 0x01)


async def until(check: Callable[[], object]) -> None:
    """Wait for what must come."""
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.001)


class EnginePeer:
    """An ipmi_sim on loopback. ``answers`` are by (network function, command); None stays silent."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, bytes]] = []
        self.answers: dict[tuple[int, int], bytes | None] = {}
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.requests: list[VmRequest] = []
        self._server: asyncio.Server

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self.writers)

    async def open(self) -> None:
        """Listen, at the port of the time before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Go, with the connection."""
        self._server.close()
        if self.writers:
            self.writers[-1].transport.abort()

    def send(self, wire: bytes) -> None:
        """Say something of its own accord."""
        self.writers[-1].write(wire)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        stream = VmStream()
        while chunk := await reader.read(4096):
            for item in stream.feed(chunk):
                assert isinstance(item, VmRequest)
                self.requests.append(item)
                self.asked.append((item.netfn, item.command, item.data))
                answer = self.answers.get((item.netfn, item.command), b"\0")
                if answer is not None:
                    writer.write(answer_wire(item, answer))
        writer.close()


class HostPeer:
    """A QEMU's BMC device at the socket of a system interface."""

    def __init__(self) -> None:
        self.commands: list[VmCommand] = []
        self._stream = VmStream()
        self._sequence = 0
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self, path: Path) -> None:
        """Connect as QEMU does."""
        self.reader, self.writer = await asyncio.open_unix_connection(path)

    async def ask(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """One request, and what is answered to it: completion code and data."""
        self._sequence = (self._sequence + 1) % 256
        self.writer.write(VmRequest(self._sequence, netfn, 0, command, data).wire())
        while True:
            for item in await self.hear():
                if isinstance(item, VmAnswer):
                    assert item.sequence == self._sequence
                    return item.content

    async def hear(self) -> list[VmRequest | VmAnswer | VmCommand]:
        """What comes next; hardware commands are kept in ``commands`` too."""
        chunk = await asyncio.wait_for(self.reader.read(4096), 60)
        if not chunk:
            raise ConnectionResetError
        items = self._stream.feed(chunk)
        self.commands += [item for item in items if isinstance(item, VmCommand)]
        return items

    async def hear_commands(self, count: int) -> list[int]:
        """The numbers of the first ``count`` hardware commands since the last call."""
        while len(self.commands) < count:
            await self.hear()
        found, self.commands = self.commands[:count], self.commands[count:]
        return [command.number for command in found]

    async def lost(self) -> None:
        """Wait until the other end is gone."""
        while True:
            try:
                await self.hear()
            except ConnectionError:
                return
