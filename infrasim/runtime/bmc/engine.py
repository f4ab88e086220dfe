"""The link to ipmi_sim: the BMC core asks it, over its VM channel, for what it owns.

To ipmi_sim this is the machine's system interface, so it answers without a session and tells by its attention
line when an event waits. Its channel takes one client at a time; for the node's life that is this link.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Awaitable, Callable

from infrasim.bmc_core.codes import Completion, NetFn
from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.vm import HardwareCommand, VmAnswer, VmCommand, VmRequest, VmStream

LOG = logging.getLogger(__name__)

_RETRY_S = 0.003
# It answers within a fraction of a millisecond; a stopped process never does.
_ANSWER_S = 3.0
# So long a request is waited for on the spot: the answer takes about 20 microseconds, a turn of the event
# loop several times that.
_AT_ONCE_MS = 2
_SEQUENCES = 256
_CHUNK = 4096

# Source: IPMI 2.0 sections 20.1, 22.4 and 22.8.
_GET_DEVICE_ID = 0x01
_GET_MESSAGE_FLAGS = 0x31
_READ_EVENT = 0x35
_EVENT_WAITS = 0x02


class EngineLink:
    """One connection to ipmi_sim; ``on_event`` gets the 16 bytes of each event it has."""

    def __init__(self, address: str, port: int, on_event: Callable[[bytes], None]) -> None:
        self._place = (address, port)
        self._on_event = on_event
        self._socket: socket.socket | None = None
        self._readable = select.poll()
        self._stream = VmStream()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._at_once: dict[int, bytes] = {}
        self._sequence = 0
        self._fetching: asyncio.Task[None] | None = None
        self._attention = False

    async def connect(self) -> None:
        """Wait until ipmi_sim answers; the caller bounds the wait."""
        self.close()
        while True:
            with contextlib.suppress(OSError, Refused):
                await self._open()
                await self.ask(NetFn.APP, _GET_DEVICE_ID)
                return
            self.close()
            await asyncio.sleep(_RETRY_S)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(link, self._place)
        except BaseException:
            link.close()
            raise
        self._socket, self._stream = link, VmStream()
        self._readable = select.poll()
        self._readable.register(link, select.POLLIN)
        loop.add_reader(link, self._read)

    def close(self) -> None:
        """Let go of the connection; whoever waits is told that the engine is busy."""
        link, self._socket = self._socket, None
        if link:
            asyncio.get_running_loop().remove_reader(link)
            link.close()
        if self._fetching:
            self._fetching.cancel()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Refused(Completion.NODE_BUSY))

    def is_ready(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    async def ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        """Send one request and return what follows completion code 0.

        Raises:
            Refused: with ipmi_sim's code; Node Busy while it is away; Timeout when it does not answer.
        """
        number = self._send(netfn, command, data, lun)
        return await self._answer(number, self._expect(number))

    def ask_at_once(self, netfn: int, command: int, data: bytes, *, lun: int = 0) -> bytes | Awaitable[bytes]:
        """As ``ask``; where the answer comes without delay it is returned on the spot.

        Raises:
            Refused: as ``ask``.
        """
        alone = not self._waiting
        number = self._send(netfn, command, data, lun)
        while alone and self._readable.poll(_AT_ONCE_MS):
            self._read(awaited=number)
            if number in self._at_once:
                return _content(self._at_once.pop(number))
            if self._socket is None:
                raise Refused(Completion.NODE_BUSY)
        # Expected from now on, not from when somebody awaits it: another request may read it meanwhile.
        return self._answer(number, self._expect(number))

    def _send(self, netfn: int, command: int, data: bytes, lun: int) -> int:
        if self._socket is None or len(self._waiting) >= _SEQUENCES - 1:
            raise Refused(Completion.NODE_BUSY)
        number = (self._sequence + 1) % _SEQUENCES
        while number in self._waiting:
            number = (number + 1) % _SEQUENCES
        self._sequence = number
        try:
            self._socket.sendall(VmRequest(number, netfn, lun, command, data).wire())
        except BlockingIOError:
            # It has not read for long and may again: half a request is dropped as damaged.
            raise Refused(Completion.NODE_BUSY) from None
        except OSError:
            self.close()
            raise Refused(Completion.NODE_BUSY) from None
        return number

    def _expect(self, number: int) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        future = self._waiting[number] = loop.create_future()
        deadline = loop.call_later(_ANSWER_S, _give_up, future)
        future.add_done_callback(lambda _: deadline.cancel())
        return future

    async def _answer(self, number: int, future: asyncio.Future[bytes]) -> bytes:
        try:
            return _content(await future)
        finally:
            if self._waiting.get(number) is future:
                del self._waiting[number]

    def _read(self, awaited: int | None = None) -> None:
        """Take what has come; ``awaited`` is the request that somebody waits for on the spot."""
        assert self._socket is not None
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return
        for item in self._stream.feed(chunk):
            match item:
                case VmAnswer(sequence, content):
                    if sequence == awaited:
                        self._at_once[sequence] = content
                        continue
                    future = self._waiting.pop(sequence, None)
                    if future and not future.done():
                        future.set_result(content)
                case VmCommand(HardwareCommand.ATTENTION | HardwareCommand.ATTENTION_WITH_INTERRUPT, _):
                    self._attention = True
                    if self._fetching is None or self._fetching.done():
                        self._fetching = asyncio.get_running_loop().create_task(self._fetch_events())

    async def _fetch_events(self) -> None:
        # Attention may be shown just behind the answer that there is nothing more.
        while self._attention:
            self._attention = False
            with contextlib.suppress(Refused):
                while (await self.ask(NetFn.APP, _GET_MESSAGE_FLAGS))[0] & _EVENT_WAITS:
                    self._on_event(await self.ask(NetFn.APP, _READ_EVENT))


def _give_up(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(Refused(Completion.TIMEOUT))


def _content(answer: bytes) -> bytes:
    if answer[0] != Completion.OK:
        # No refusal of its has anything to tell, but behind some is what its memory held. Source: measured.
        raise Refused(answer[0])
    return answer[1:]
