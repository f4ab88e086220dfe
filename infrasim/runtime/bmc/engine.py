"""The link to ipmi_sim: the BMC core asks it, over its VM channel, for what it owns.

To ipmi_sim this is the machine's system interface, so it answers without a session and tells by its attention
line when an event waits. Its channel takes one client at a time; for the node's life that is this link.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import cast

from infrasim.bmc_core.codes import Completion, NetFn
from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.vm import HardwareCommand, VmAnswer, VmCommand, VmRequest, VmStream

LOG = logging.getLogger(__name__)

_RETRY_S = 0.003
# It answers within a fraction of a millisecond; a stopped process never does.
_ANSWER_S = 3.0
_SEQUENCES = 256

# Source: IPMI 2.0 sections 20.1, 22.1, 22.4 and 22.8.
_GET_DEVICE_ID = 0x01
_SET_GLOBAL_ENABLES = 0x2E
_GET_MESSAGE_FLAGS = 0x31
_READ_EVENT = 0x35
_EVENT_WAITS = 0x02
# Events in the log and in the event buffer, with attention.
_ENABLES = bytes([0x0E])


class EngineLink(asyncio.Protocol):
    """One connection to ipmi_sim; ``on_event`` gets the 16 bytes of each event it has."""

    def __init__(self, address: str, port: int, on_event: Callable[[bytes], None]) -> None:
        self._place = (address, port)
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._stream = VmStream()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._sequence = 0
        self._fetching: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Wait until ipmi_sim answers; the caller bounds the wait."""
        self.close()
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError, Refused):
                await loop.create_connection(lambda: self, *self._place)
                await self.ask(NetFn.APP, _GET_DEVICE_ID)
                await self.ask(NetFn.APP, _SET_GLOBAL_ENABLES, _ENABLES)
                return
            await asyncio.sleep(_RETRY_S)

    def close(self) -> None:
        """Let go of the connection; whoever waits is told that the engine is busy."""
        transport, self._transport = self._transport, None
        if transport:
            transport.abort()
        if self._fetching:
            self._fetching.cancel()
        self._refuse_all()

    def is_ready(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    async def ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        """Send one request and return what follows completion code 0.

        Raises:
            Refused: with ipmi_sim's code; Node Busy while it is away; Timeout when it does not answer.
        """
        if self._transport is None or len(self._waiting) >= _SEQUENCES:
            raise Refused(Completion.NODE_BUSY)
        while self._sequence in self._waiting:
            self._sequence = (self._sequence + 1) % _SEQUENCES
        number = self._sequence
        self._sequence = (number + 1) % _SEQUENCES
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting[number] = future
        deadline = loop.call_later(_ANSWER_S, _give_up, future)
        try:
            self._transport.write(VmRequest(number, netfn, lun, command, data).wire())
            content = await future
        finally:
            deadline.cancel()
            self._waiting.pop(number, None)
        if content[0] != Completion.OK:
            raise Refused(content[0], content[1:])
        return content[1:]

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Source: asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._stream = VmStream()

    def connection_lost(self, exc: Exception | None) -> None:
        """Source: asyncio.Protocol."""
        # One that was replaced already has nothing to say.
        if self._transport is not None and self._transport.is_closing():
            self._transport = None
            self._refuse_all()

    def data_received(self, data: bytes) -> None:
        """Source: asyncio.Protocol."""
        for item in self._stream.feed(data):
            match item:
                case VmAnswer(sequence, content):
                    future = self._waiting.get(sequence)
                    if future and not future.done():
                        future.set_result(content)
                case VmCommand(HardwareCommand.ATTENTION | HardwareCommand.ATTENTION_WITH_INTERRUPT, _):
                    if self._fetching is None or self._fetching.done():
                        self._fetching = asyncio.get_running_loop().create_task(self._fetch_events())

    async def _fetch_events(self) -> None:
        with contextlib.suppress(Refused):
            while (await self.ask(NetFn.APP, _GET_MESSAGE_FLAGS))[0] & _EVENT_WAITS:
                self._on_event(await self.ask(NetFn.APP, _READ_EVENT))

    def _refuse_all(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Refused(Completion.NODE_BUSY))


def _give_up(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(Refused(Completion.TIMEOUT))
