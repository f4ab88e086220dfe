"""FRU devices: what is written outlives ipmi_sim, as long as the inventory below is the same."""

from __future__ import annotations

import asyncio
import json

import pytest
from bmc_bench import Bench

from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.lifecycle import engine_started
from infrasim.bmc_core.message import IN_BAND, Refused, Request
from infrasim.bmc_core.state import BmcState
from infrasim.jsonform import as_json, from_json

STORAGE = NetFn.STORAGE
INFO, READ, WRITE = 0x10, 0x11, 0x12
INVENTORY = bytes(range(100))


class Sim:
    """An ipmi_sim with these FRU devices, which it forgets when it starts."""

    def __init__(self, bench: Bench, **devices: bytes) -> None:
        self.bench = bench
        self.given = {int(name[1:]): bytearray(content) for name, content in devices.items()}
        self.devices: dict[int, bytearray] = {}
        self.writes = 0
        bench.engine.ask = self._ask  # type: ignore[method-assign]
        self.restart()

    def restart(self) -> None:
        self.devices = {number: bytearray(content) for number, content in self.given.items()}
        self.writes = 0
        asyncio.run(engine_started(self.bench.bmc))

    async def _ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        await asyncio.sleep(0)
        if netfn != STORAGE or command not in (INFO, READ, WRITE):
            return b""
        if data[0] not in self.devices:
            raise Refused(0xCC)
        content = self.devices[data[0]]
        if command == INFO:
            return len(content).to_bytes(2, "little") + b"\0"
        offset = int.from_bytes(data[1:3], "little")
        if offset >= len(content):
            raise Refused(0xC9)
        if command == READ:
            if data[3] > 30:
                raise Refused(0xC8)
            found = bytes(content[offset : offset + data[3]])
            return bytes([len(found)]) + found
        if offset + len(data) - 3 > len(content):
            raise Refused(0xC8)
        content[offset : offset + len(data) - 3] = data[3:]
        self.writes += 1
        return bytes([len(data) - 3])

    def write(self, device: int, offset: int, data: bytes) -> bytes:
        return self.bench.ask(STORAGE, WRITE, bytes([device]) + offset.to_bytes(2, "little") + data)

    def read(self, device: int, offset: int, count: int) -> bytes:
        return self.bench.ask(STORAGE, READ, bytes([device]) + offset.to_bytes(2, "little") + bytes([count]))


def test_what_is_written_outlives_ipmi_sim() -> None:
    bench = Bench()
    sim = Sim(bench, d0=INVENTORY, d3=INVENTORY)
    assert sim.write(0, 98, b"\xab\xcd") == b"\0\x02"
    assert sim.write(0, 1, b"\xee") == b"\0\x01"
    assert bench.changes == 2
    sim.restart()
    assert bytes(sim.devices[0]) == b"\0\xee" + INVENTORY[2:98] + b"\xab\xcd"
    assert bytes(sim.devices[3]) == INVENTORY
    assert sim.writes == 2, "only where it differs"


def test_and_the_bmc() -> None:
    first = Sim(Bench(), d0=INVENTORY)
    first.write(0, 0, b"\xee")
    kept = from_json(BmcState, json.loads(json.dumps(as_json(first.bench.bmc.state))))
    second = Sim(Bench(state=kept), d0=INVENTORY)
    assert second.read(0, 0, 2) == b"\0\x02\xee\x01"
    assert second.bench.changes == 0


def test_an_ipmi_sim_that_went_on_is_left_alone() -> None:
    sim = Sim(Bench(), d0=INVENTORY)
    sim.write(0, 0, b"\xee")
    asyncio.run(engine_started(sim.bench.bmc))
    assert sim.writes == 1


@pytest.mark.parametrize("inventory", [INVENTORY[::-1], INVENTORY + b"\0", b""])
def test_another_inventory_is_the_newer_word(inventory: bytes) -> None:
    bench = Bench()
    sim = Sim(bench, d0=INVENTORY)
    sim.write(0, 0, b"\xee")
    sim.given = {0: bytearray(inventory)} if inventory else {}
    sim.restart()
    assert sim.writes == 0
    assert not bench.bmc.state.frus
    assert bench.changes == 2
    sim.given = {0: bytearray(INVENTORY)}
    sim.restart()
    assert sim.writes == 0, "and void for good"


def test_a_device_that_is_not_there() -> None:
    sim = Sim(Bench(), d0=INVENTORY)
    assert sim.write(9, 0, b"\0") == b"\xcb"
    assert sim.read(9, 0, 8) == b"\xcb"
    assert sim.bench.ask(STORAGE, INFO, b"\x09") == b"\xcb"
    assert not sim.bench.bmc.state.frus


def test_what_ipmi_sim_does_not_take_is_not_kept() -> None:
    sim = Sim(Bench(), d0=INVENTORY)
    assert sim.write(0, 99, b"\1\2") == b"\xc8"
    assert sim.write(0, 100, b"\1") == b"\xc9"
    sim.restart()
    assert bytes(sim.devices[0]) == INVENTORY
    assert sim.writes == 0


def test_more_than_fits_an_answer_is_said_so() -> None:
    assert Sim(Bench(), d0=INVENTORY).read(0, 0, 31) == b"\xca"


def test_two_who_write_at_once() -> None:
    sim = Sim(Bench(), d0=INVENTORY)

    async def one(offset: int) -> bytes:
        found = sim.bench.bmc.answer(Request(STORAGE, WRITE, bytes([0, offset, 0, 0xEE]), IN_BAND))
        return found if isinstance(found, bytes) else await found

    async def both() -> list[bytes]:
        return [*await asyncio.gather(one(4), one(50))]

    assert asyncio.run(both()) == [b"\0\x01"] * 2
    sim.restart()
    assert (sim.devices[0][4], sim.devices[0][50]) == (0xEE, 0xEE)


@pytest.mark.parametrize(
    ("command", "data"), [(INFO, "0000"), (INFO, ""), (READ, "000000"), (READ, "0000000000"), (WRITE, "0000")]
)
def test_requests_have_their_length(command: int, data: str) -> None:
    assert Sim(Bench(), d0=INVENTORY).bench.ask(STORAGE, command, bytes.fromhex(data)) == b"\xc7"
