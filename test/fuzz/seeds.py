"""Writes what the unit tests ask the BMC as inputs for the fuzzer to begin with.

    PYTHONPATH=.:test/unittest/bmc_core python test/fuzz/seeds.py DIR

DIR gets a folder for each of the targets ``command`` and ``handler`` of ``fuzz_bmc.py``, to be named behind
the target there.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest

from infrasim.bmc_core.codes import Channel, NetFn
from infrasim.bmc_core.core import Bmc
from infrasim.bmc_core.message import Request

_TESTS = "test/unittest/bmc_core"
IN_BAND_HINT, DCMI_HINT, RESERVATION_HINT = 1, 2, 4
# Storage and sensor commands that begin with a reservation.
RESERVED = frozenset((*((NetFn.STORAGE, number) for number in range(0x23, 0x28)), (NetFn.SENSOR, 0x21)))


def command_input(request: Request) -> bytes:
    """The input of the target ``command`` that makes this request."""
    hints = IN_BAND_HINT if request.origin.channel == Channel.SYSTEM_INTERFACE else 0
    return _piece(bytes([hints, request.netfn, request.command]) + request.data)


def handler_input(request: Request, known: list[tuple[int, int]]) -> bytes:
    """The input of the target ``handler``: numbers that the target adds itself are left out."""
    hints = IN_BAND_HINT if request.origin.channel == Channel.SYSTEM_INTERFACE else 0
    data = request.data
    if request.netfn == NetFn.GROUP:
        hints, data = hints | DCMI_HINT, data[1:]
    if (request.netfn, request.command) in RESERVED:
        hints, data = hints | RESERVATION_HINT, data[2:]
    index = known.index((request.netfn, request.command))
    return _piece(bytes([hints]) + index.to_bytes(2, "little") + b"\0" + data)


def _piece(content: bytes) -> bytes:
    return bytes([len(content) & 0xFF]) + content


def record(folder: Path) -> int:
    """Run the tests and write what they ask; pytest's exit code."""
    answer = Bmc.answer

    def write(target: str, content: bytes) -> None:
        (folder / target).mkdir(parents=True, exist_ok=True)
        (folder / target / hashlib.sha1(content).hexdigest()).write_bytes(content)

    def recorded(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
        write("command", command_input(request))
        known = fuzzed_commands()
        if (request.netfn, request.command) in known:
            write("handler", handler_input(request, known))
        return answer(bmc, request)

    Bmc.answer = recorded  # type: ignore[method-assign, assignment]
    return int(pytest.main([_TESTS, "-q", "-p", "no:cacheprovider"]))


def fuzzed_commands() -> list[tuple[int, int]]:
    """The commands of the fuzzer's BMC, which has those of every manufacturer, in their order."""
    from infrasim.bmc_core.oem.catalog import OEMS
    from infrasim.bmc_core.table import command_table

    return sorted(set().union(*(command_table(number) for number in OEMS)))


if __name__ == "__main__":
    sys.exit(record(Path(sys.argv[1])))
