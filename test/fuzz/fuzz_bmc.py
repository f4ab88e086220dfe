"""Feeds whatever a fuzzer can think of to the parsers of the BMC that see the network or the host.

    pip install atheris
    PYTHONPATH=.:test/unittest/bmc_core python test/fuzz/fuzz_bmc.py TARGET -max_total_time=600

TARGET is one of ``TARGETS``. A crash, a hang (-timeout=5) or growth (-rss_limit_mb=512) ends it with the
input in a file. It is no part of the tests, which must be the same each time and end soon.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator

import atheris

with atheris.instrument_imports(include=["infrasim"]):
    # These import the rest of infrasim.
    from lan_client import INSECURE, PEER, Net, PlusClient, message

    from infrasim.bmc_core.codes import Channel, Privilege
    from infrasim.bmc_core.message import IN_BAND, Origin, Refused, Request
    from infrasim.bmc_core.vm import VmStream

# How many inputs one BMC sees before the next takes its place, and what it may have grown meanwhile.
_INPUTS_PER_BMC = 20_000
_GROWTH_MOST_BYTES = 8 << 20


def pieces(data: bytes) -> Iterator[bytes]:
    """``data`` as several packets: each begins with its length in one byte."""
    while data:
        length = data[0]
        yield data[1 : 1 + length]
        data = data[1 + length :]


class Fuzzed:
    """A BMC that begins anew from time to time, so that it can be seen whether it grows."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.net = Net(INSECURE)
        self.net.bench.chassis.on = True
        self.client = PlusClient(self.net).login()
        self._inputs = 0
        gc.collect()
        tracemalloc.start()

    def settle(self) -> None:
        """Finish what was begun, let some time pass, and see that nothing has piled up."""
        self.net.run_deferred()
        self.net.bench.settle()
        self.net.sent.clear()
        self.net.bench.clock.advance(0.05)
        self.net.bench.engine.asked.clear()
        self.net.bench.chassis.orders.clear()
        self.net.bench.resets.clear()
        self.net.bench.serial.written.clear()
        self._inputs += 1
        if self._inputs >= _INPUTS_PER_BMC:
            gc.collect()
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert grown < _GROWTH_MOST_BYTES, f"grew by {grown} bytes"
            self._begin()

    def lan(self, data: bytes) -> None:
        """Datagrams from anybody."""
        for datagram in pieces(data):
            self.net.door.receive(datagram, PEER)
        self.settle()

    def rmcp(self, data: bytes) -> None:
        """Datagrams from anybody that look like IPMI, so that more of the code is reached."""
        for rest in pieces(data):
            self.net.door.receive(b"\x06\x00\xff\x07" + rest, PEER)
        self.settle()

    def session(self, data: bytes) -> None:
        """Payloads within a session, encrypted and signed as they should be."""
        if len(self.net.bench.bmc.sessions) == 0:
            self.client = PlusClient(self.net).login()
        for piece in pieces(data):
            if len(piece) < 3:
                continue
            kind = piece[0] & 0x3F
            payload = piece[1:] if kind else message(piece[1] & 0x3E, piece[2], piece[3:])
            self.net.door.receive(self.client.seal(payload, kind), PEER)
        self.settle()

    def command(self, data: bytes) -> None:
        """Commands with any data, from a session without a socket or from the host."""
        for piece in pieces(data):
            if len(piece) < 3:
                continue
            origin = IN_BAND if piece[0] & 1 else Origin(Channel.LAN, Privilege.ADMINISTRATOR)
            answer = self.net.bench.bmc.answer(Request(piece[1] & 0x3E, piece[2], piece[3:], origin))
            if isinstance(answer, bytes):
                assert answer
            else:
                self.net.deferred.append(_finished(answer))
        self.settle()

    def vm(self, data: bytes) -> None:
        """The stream from QEMU."""
        stream = VmStream()
        for piece in pieces(data):
            stream.feed(piece)


async def _finished(answer: Awaitable[bytes]) -> None:
    try:
        assert await answer
    except Refused:
        raise AssertionError("a refusal that is no answer") from None


TARGETS = ("lan", "rmcp", "session", "command", "vm")


def main() -> None:
    """Fuzz the target that the first argument names."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"usage: fuzz_bmc.py {'|'.join(TARGETS)} [options of libFuzzer]")
    run: Callable[[bytes], None] = getattr(Fuzzed(), name)
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
