"""What the host printed last, as a FRU device."""

from __future__ import annotations

import dataclasses

import pytest
from bmc_bench import SETTINGS, Bench

from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.serial_history import HISTORY_BYTES

STORAGE = NetFn.STORAGE
INFO, READ, WRITE = 0x10, 0x11, 0x12
NUMBER = 99


@pytest.fixture
def bench() -> Bench:
    return Bench(dataclasses.replace(SETTINGS, history_fru=NUMBER))


def read(bench: Bench, offset: int, count: int) -> bytes:
    return bench.ask(STORAGE, READ, bytes([NUMBER]) + offset.to_bytes(2, "little") + bytes([count]))


def test_a_reader_gets_what_was_said_when_it_began(bench: Bench) -> None:
    bench.bmc.sol.output(b"SeaBIOS (version ")
    bench.bmc.sol.output(b"1.16.2)\r\n")
    assert bench.ask(STORAGE, INFO, bytes([NUMBER])) == b"\0" + bytes([26, 0, 0])
    bench.bmc.sol.output(b"Booting from ROM")
    assert read(bench, 0, 20) == b"\0\x14SeaBIOS (version 1.1"
    assert read(bench, 20, 255) == b"\0\x066.2)\r\n"
    assert read(bench, 26, 1) == b"\xc9"
    assert bench.ask(STORAGE, INFO, bytes([NUMBER]))[1] == 42


def test_the_oldest_goes(bench: Bench) -> None:
    for number in range(1000):
        bench.bmc.sol.output(b"%08d" % number)
    assert bench.ask(STORAGE, INFO, bytes([NUMBER])) == b"\0" + HISTORY_BYTES.to_bytes(2, "little") + b"\0"
    assert read(bench, 0, 8) == b"\0\x0800000500"
    assert read(bench, HISTORY_BYTES - 8, 32) == b"\0\x0800000999"
    assert len(read(bench, 0, 255)) == 2 + 32, "what fits an answer at every door"


@pytest.mark.parametrize("data", [b"\x63", b"\x63\0\0", b"\x63\0\0\1\1"])
def test_wrong_length(bench: Bench, data: bytes) -> None:
    bench.bmc.sol.output(b"text")
    assert bench.ask(STORAGE, READ, data) == b"\xc7"
    assert bench.ask(STORAGE, INFO, data + b"\0") == b"\xc7"


def test_it_is_not_written(bench: Bench) -> None:
    assert bench.ask(STORAGE, WRITE, bytes([NUMBER, 0, 0, 1])) == b"\x80"
    assert bench.engine.asked == []


@pytest.mark.parametrize("command", [INFO, READ, WRITE])
def test_other_devices_are_ipmi_sims(bench: Bench, command: int) -> None:
    bench.bmc.sol.output(b"text")
    bench.engine.answers[(STORAGE, command)] = b"\1\2"
    if command == WRITE:
        bench.engine.answers.update({(STORAGE, INFO): b"\1\0\0", (STORAGE, READ): b"\1\xff"})
    rest = b"" if command == INFO else b"\0\0\1"
    assert bench.ask(STORAGE, command, b"\0" + rest) == b"\0\1\2"
    without = Bench()
    without.bmc.sol.output(b"text")
    without.engine.answers = bench.engine.answers
    assert without.ask(STORAGE, command, bytes([NUMBER]) + rest) == b"\0\1\2"
    assert without.ask(STORAGE, command, b"") == b"\xc7"
