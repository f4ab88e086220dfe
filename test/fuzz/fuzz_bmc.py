"""Feeds whatever a fuzzer can think of to the parsers of the BMC that see the network or the host.

    pip install atheris
    PYTHONPATH=.:test/unittest/bmc_core python test/fuzz/fuzz_bmc.py TARGET -max_total_time=600 [FOLDER...]

TARGET is one of ``TARGETS``. A crash, a hang (-timeout=5) or growth (-rss_limit_mb=512) ends it with the
input in a file. It is no part of the tests, which must be the same each time and end soon.

``command`` and ``handler`` say from time to time which commands have not succeeded yet. FOLDERs hold inputs
to begin with; ``seeds.py`` makes some.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import atheris

with atheris.instrument_imports(include=["infrasim"]):
    # These import the rest of infrasim.
    from bmc_bench import SETTINGS, FakeEngine
    from lan_client import INSECURE, PEER, Net, PlusClient, message
    from seeds import DCMI_HINT, IN_BAND_HINT, RESERVATION_HINT, RESERVED, fuzzed_commands

    from infrasim.bmc.settings import OtherChannel
    from infrasim.bmc_core.codes import NetFn, Privilege
    from infrasim.bmc_core.dcmi import GROUP
    from infrasim.bmc_core.message import IN_BAND, Origin, Refused, Request
    from infrasim.bmc_core.oem import dell, quanta
    from infrasim.bmc_core.oem.catalog import OEMS
    from infrasim.bmc_core.vm import VmStream

DELL = replace(
    INSECURE,
    manufacturer=dell.MANUFACTURER,
    host_macs=("52:54:00:00:00:01",),
    other_channels=(OtherChannel(2, "52:54:00:00:00:02"),),
)
# How many inputs one BMC sees before the next takes its place, and what it may have grown meanwhile.
_INPUTS_PER_BMC = 20_000
_GROWTH_MOST_BYTES = 8 << 20

_GET_SDR = (NetFn.STORAGE, 0x23)
# A temperature with thresholds, a drive slot, a FRU device, and one of a manufacturer's.
_RECORDS = tuple(
    bytes.fromhex(text)
    for text in (
        "0100510130200001030140 7f680101 0072 0072 3f3f 8001 00 00 0100 0000 00 00 07 1e 50 00 7f80"
        "5a 55 50 00 05 0a 02 02 000000 c4 54656d70",
        "02005102 1b 20000204016f 00 0d6f 0300 0300 0300 c00000 0100 000000 00 c5 536c6f7431",
        "03005111 0f 20008000 00100001 0100 00 c4 4d61696e",
        "040051c0 05 a2020001ff",
    )
)


def pieces(data: bytes) -> Iterator[bytes]:
    """``data`` as several packets: each begins with its length in one byte."""
    while data:
        length = data[0]
        yield data[1 : 1 + length]
        data = data[1 + length :]


class FuzzedEngine(FakeEngine):
    """An ipmi_sim that has a few records, and answers all else with ``says``."""

    says = b""

    async def ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        """The answer."""
        if (netfn, command) != _GET_SDR:
            if self.says[:1] > b"\xf0":
                raise Refused(self.says[0])
            # As long as the longest that the core looks into.
            return self.says.ljust(40, b"\0")
        number, at, count = int.from_bytes(data[2:4], "little"), data[4], data[5]
        place = next((place for place, each in enumerate(_RECORDS) if each[0] == number), 0)
        following = _RECORDS[place + 1][:2] if place + 1 < len(_RECORDS) else b"\xff\xff"
        return following + _RECORDS[place][at : at + count]


class Fuzzed:
    """A BMC that begins anew from time to time, so that it can be seen whether it grows."""

    def __init__(self) -> None:
        self._succeeded: set[tuple[int, int]] = set()
        self._begin()

    def _begin(self) -> None:
        self.net = Net(DELL)
        self.net.bench.chassis.on = True
        self.engine = FuzzedEngine()
        self.net.bench.bmc.engine = self.engine
        # One BMC with the commands of every manufacturer: they have network functions of their own.
        self.commands = self.net.bench.bmc.commands
        self.commands.update({(each.netfn, each.number): each for each in OEMS[quanta.MANUFACTURER].commands})
        self.known = fuzzed_commands()
        self.client = PlusClient(self.net).login()
        self._inputs = 0
        gc.collect()
        tracemalloc.start()

    def settle(self) -> None:
        """Finish what was begun, let some time pass, and see that nothing has piled up."""
        self.net.run_deferred()
        while self.net.bench.deferred:
            # Nobody waits for it: a refusal is a line in the log.
            with suppress(Refused):
                self.net.bench.settle()
        self.net.sent.clear()
        self.net.bench.clock.advance(0.05)
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
            missing = [self.commands[each].name for each in self.known if each not in self._succeeded]
            sys.stderr.write(f"not succeeded yet: {', '.join(missing)}\n")

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
            if len(piece) >= 3:
                self._answer(piece[0], piece[1] & 0x3E, piece[2], piece[3:])
        self.settle()

    def handler(self, data: bytes) -> None:
        """Commands that exist, with numbers that nobody could guess before them, and what ipmi_sim says."""
        for piece in pieces(data):
            if len(piece) < 4:
                continue
            hints, index, said = piece[0], int.from_bytes(piece[1:3], "little"), piece[3] & 0x3F
            self.engine.says, content = piece[4 : 4 + said], piece[4 + said :]
            netfn, number = self.known[index % len(self.known)]
            if netfn == NetFn.GROUP and hints & DCMI_HINT:
                content = bytes([GROUP]) + content
            if (netfn, number) in RESERVED:
                reservation = self.net.bench.bmc.sdr_repository.reserve() if hints & RESERVATION_HINT else 0
                content = reservation.to_bytes(2, "little") + content
            self._answer(hints, netfn, number, content)
        self.settle()

    def _answer(self, hints: int, netfn: int, number: int, data: bytes) -> None:
        origin = IN_BAND if hints & IN_BAND_HINT else Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR)
        answer = self.net.bench.bmc.answer(Request(netfn, number, data, origin))
        if isinstance(answer, bytes):
            self._note(netfn, number, answer)
        else:
            self.net.deferred.append(self._finish(netfn, number, answer))

    async def _finish(self, netfn: int, number: int, answer: Awaitable[bytes]) -> None:
        try:
            self._note(netfn, number, await answer)
        except Refused:
            raise AssertionError("a refusal that is no answer") from None

    def _note(self, netfn: int, number: int, answer: bytes) -> None:
        assert answer
        if not answer[0]:
            self._succeeded.add((netfn, number))

    def vm(self, data: bytes) -> None:
        """The stream from QEMU."""
        stream = VmStream()
        for piece in pieces(data):
            stream.feed(piece)


TARGETS = ("lan", "rmcp", "session", "command", "handler", "vm")


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
