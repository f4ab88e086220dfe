"""The SDR repository: what ipmi_sim was given, read whole, added to, deleted and cleared."""

from __future__ import annotations

import asyncio

import pytest
from bmc_bench import Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.message import Refused

STORAGE = NetFn.STORAGE
_SLACK = b"leaked"


def record(number: int, size: int = 12) -> bytes:
    """A record of an OEM type with ``size`` bytes behind its header."""
    return bytes([number, 0, 0x51, 0xC0, size]) + bytes(range(size))


class Given:
    """A bench whose ipmi_sim was given these records and tells what is behind them too, as it really does."""

    def __init__(self, *records: bytes, bench: Bench | None = None) -> None:
        self.bench = bench or Bench()
        self.given = list(records)
        self.bench.engine.ask = self._ask  # type: ignore[method-assign]

    async def _ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        assert (netfn, command) == (STORAGE, 0x23)
        number = int.from_bytes(data[2:4], "little")
        if not self.given:
            raise Refused(0xCB)
        place = next((at for at, each in enumerate(self.given) if each[0] == number), 0)
        whole = self.given[place] + _SLACK
        if data[5] == 0xFF and len(whole) > 33:
            raise Refused(0xCA)
        following = self.given[place + 1][:2] if place + 1 < len(self.given) else b"\xff\xff"
        return following + whole[data[4] : data[4] + data[5]]

    def ask(self, command: int, data: str = "") -> str:
        return self.bench.ask(STORAGE, command, bytes.fromhex(data)).hex(" ")

    def reserve(self) -> str:
        return self.bench.ask(STORAGE, 0x22)[1:].hex()

    def whole(self, number: int) -> bytes:
        """A record as clients read it."""
        found = b""
        held = bytes.fromhex(self.reserve())
        while (piece := self.bench.ask(STORAGE, 0x23, held + bytes([number, 0, len(found), 16])))[0] == 0:
            found += piece[3:]
        assert piece == b"\xc9"
        return found


def test_records_end_where_they_say() -> None:
    given = Given(record(2), record(3, 48))
    assert given.ask(0x23, "0000 0000 00 05") == "00 03 00 02 00 51 c0 0c"
    held = given.reserve()
    assert given.ask(0x23, held + "0200 0f 0a") == "00 03 00 0a 0b"
    assert given.ask(0x23, held + "0200 11 01") == "c9"
    assert given.whole(3) == record(3, 48)
    assert given.ask(0x23, "0000 ffff 00 02") == "00 ff ff 03 00"
    assert given.ask(0x23, "0000 0900 00 02") == "cb"
    assert given.ask(0x23, "0000 0300 00 ff") == "ca"
    assert given.ask(0x23, "0000 0200 00 ff") == "00 03 00 " + record(2).hex(" ")


def test_a_reservation_is_the_newest_one() -> None:
    given = Given(record(1))
    first = given.reserve()
    assert given.ask(0x23, first + "0100 00 01") == "00 ff ff 01"
    second = given.reserve()
    assert given.ask(0x23, first + "0100 00 01") == "c5"
    assert given.ask(0x23, second + "0100 00 01") == "00 ff ff 01"
    assert given.ask(0x26, "0000 0100") == "c5"


def test_without_a_reservation_nothing_is_changed_or_read_in_parts() -> None:
    given = Given(record(1))
    for command, data in (
        (0x23, "0100 05 01"),
        (0x25, "0000 00 00" + record(0).hex()),
        (0x26, "0100"),
        (0x27, "434c52 aa"),
    ):
        assert given.ask(command, "0000" + data) == "c5"
        held = given.reserve()
        given.bench.bmc.reset(cold=True)
        assert given.ask(command, held + data) == "c5"


def test_a_record_is_added() -> None:
    given = Given(record(1), record(7))
    assert given.ask(0x24, record(0, 3).hex()) == "00 08 00"
    assert given.whole(8) == record(8, 3)
    assert given.ask(0x20)[:8] == "00 51 03"
    assert given.ask(0x24, record(0, 3).hex() + "00") == "80"
    assert given.ask(0x24, "0000") == "80"


def test_a_record_is_added_in_parts() -> None:
    given = Given(record(1))
    whole = record(0, 20)
    held = given.reserve()
    assert given.ask(0x25, held + "0000 00 00" + whole[:10].hex()) == "00 02 00"
    assert given.ask(0x25, held + "0200 0b 00" + whole[11:].hex()) == "c9"
    assert given.ask(0x25, held + "0200 0a 01" + whole[10:].hex() + "00") == "80"
    assert given.ask(0x25, held + "0200 0a 02" + whole[10:].hex()) == "cc"
    assert given.ask(0x25, held + "0200 0a 01" + whole[10:].hex()) == "00 02 00"
    assert given.whole(2) == record(2, 20)
    assert given.ask(0x25, held + "0000 00 00" + whole[:10].hex()) == "c5"
    held = given.reserve()
    assert given.ask(0x25, held + "0000 00 00 000000") == "c7"
    assert given.ask(0x25, held + "0000 00 01" + whole[:10].hex()) == "80"


def test_the_record_that_is_named_is_deleted() -> None:
    given = Given(record(1), record(2), record(3))
    assert given.ask(0x26, given.reserve() + "0200") == "00 02 00"
    assert given.ask(0x23, "0000 0200 00 01") == "cb"
    assert given.ask(0x23, "0000 0100 00 01") == "00 03 00 01"
    assert given.ask(0x26, given.reserve() + "0200") == "cb"


def test_the_repository_is_cleared() -> None:
    given = Given(record(1), record(2))
    held = given.reserve()
    assert given.ask(0x27, held + "434c52 00") == "00 01"
    assert given.ask(0x23, "0000 0000 00 01") == "00 02 00 01", "that was a question"
    assert given.ask(0x27, held + "434c51 aa") == "cc"
    assert given.ask(0x27, held + "434c52 aa") == "00 01"
    assert given.ask(0x27, held + "434c52 00") == "00 01"
    assert given.ask(0x27, held + "434c52 aa") == "c5"
    assert given.ask(0x20)[:11] == "00 51 00 00"
    assert given.ask(0x23, "0000 0000 00 01") == "cb"
    assert given.ask(0x24, record(0).hex()) == "00 01 00"


def test_info_and_allocation_tell_what_is_free() -> None:
    given = Given(record(1), record(2, 40))
    given.bench.clock.time_s = 0
    now = (1_700_000_000).to_bytes(4, "little").hex(" ")
    assert given.ask(0x20) == f"00 51 02 00 b0 ff {now} 00 00 00 00 2f"
    assert given.ask(0x21) == "00 00 10 10 00 fb 0f fb 0f 11"
    assert given.ask(0x28) == f"00 {now}"


def test_a_full_repository_takes_no_more() -> None:
    given = Given()
    for _ in range(240):
        assert given.ask(0x24, record(0, 255).hex()).startswith("00 ")
    assert given.ask(0x21)[:23] == "00 00 10 10 00 10 00 10"
    assert given.ask(0x24, record(0, 255).hex()) == "c4"
    assert given.ask(0x24, record(0, 251).hex()).startswith("00 ")


def test_changes_are_kept_for_the_records_they_were_made_to() -> None:
    given = Given(record(1), record(2))
    given.ask(0x26, given.reserve() + "0100")
    assert given.bench.changes
    again = Given(record(1), record(2), bench=Bench(state=given.bench.bmc.state))
    assert again.ask(0x23, "0000 0000 00 01") == "00 ff ff 02"
    other = Given(record(1), record(3), bench=Bench(state=given.bench.bmc.state))
    assert other.ask(0x23, "0000 0000 00 01") == "00 03 00 01"


def test_two_first_requests_load_it_once() -> None:
    given = Given(record(1))

    async def both() -> None:
        await asyncio.gather(given.bench.bmc.sdr_repository.load(), given.bench.bmc.sdr_repository.load())

    asyncio.run(both())
    assert given.bench.bmc.sdr_repository.generation == 1


@given(st.lists(st.integers(0, 255), max_size=8), st.integers(1, 33))
def test_what_is_read_in_pieces_is_what_was_added(sizes: list[int], piece: int) -> None:
    given_ = Given()
    for number, size in enumerate(sizes, start=1):
        given_.ask(0x24, record(0, size).hex())
        whole = record(number, size)
        held = bytes.fromhex(given_.reserve())
        parts = [
            given_.bench.ask(STORAGE, 0x23, held + bytes([number, 0, at, piece]))[3:]
            for at in range(0, min(len(whole), 256), piece)
        ]
        assert b"".join(parts)[:256] == whole[:256]


@pytest.mark.parametrize("command", [0x20, 0x21, 0x22, 0x23, 0x26, 0x27])
def test_an_ipmi_sim_that_is_away_is_told(command: int) -> None:
    bench = Bench()
    bench.engine.answers[(STORAGE, 0x23)] = Refused(0xC0)
    assert bench.ask(STORAGE, command, bytes(6)) == b"\xc0"
