"""SDR repository and FRU devices piece by piece, from BMCs that give little, lose reservations or refuse."""

from __future__ import annotations

import pytest

from infrasim.clients.ipmitool import BMC, Refused, Target
from infrasim.clients.storage import SdrRepository, fru_data

RESERVATION = b"\x07\x00"


def refused(code: int) -> Refused:
    return Refused(f"code {code:#x}", code=code, reason=f"code {code:#x}")


def record(number: int, size: int) -> bytes:
    return number.to_bytes(2, "little") + bytes((0x51, 0xC0, size)) + bytes(range(size))


class Repository:
    """A BMC with records, which gives at most ``most`` bytes at a time."""

    def __init__(self, *records: bytes, most: int = 255, device: bool = False) -> None:
        self.records = records
        self.most = most
        self.base = (0x04, 0x21, 0x22) if device else (0x0A, 0x23, 0x22)
        self.reservation = RESERVATION
        self.losses = 0
        self.broken: set[int] = set()
        self.next_of_last = 0xFFFF
        self.asked = 0

    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        self.asked += 1
        if (net_fn, command) == (0x04, 0x20) and data == b"\1":
            return bytes((len(self.records), 0))
        if (net_fn, command) == (0x0A, 0x20):
            return b"\x51" + len(self.records).to_bytes(2, "little") + bytes(11)
        if (net_fn, command) == (self.base[0], self.base[2]):
            return self.reservation
        assert (net_fn, command) == self.base[:2]
        number, offset, count = int.from_bytes(data[2:4], "little"), data[4], data[5]
        if offset and self.losses:
            self.losses -= 1
            raise refused(0xC5)
        if count > self.most:
            raise refused(0xCA)
        if number in self.broken and offset:
            raise refused(0xCB)
        if number >= len(self.records):
            raise refused(0xCB)
        after = number + 1 if number + 1 < len(self.records) else self.next_of_last
        return after.to_bytes(2, "little") + self.records[number][offset : offset + count]


def read(bmc: Repository, *, device: bool = False) -> tuple[list[bytes], list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []
    repository = SdrRepository(bmc, is_device=device, note=lambda what, why: notes.append((what, why)))
    assert repository.count() == len(bmc.records)
    return list(repository), notes


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("most", [255, 30, 8])
def test_every_record_whole_however_little_is_given(most: int, device: bool) -> None:
    records = (record(0, 59), record(1, 255), record(2, 0))
    bmc = Repository(*records, most=most, device=device)
    assert read(bmc, device=device) == (list(records), [])


def test_what_was_learnt_of_the_size_holds_for_the_next_record() -> None:
    few = Repository(*(record(number, 64) for number in range(10)), most=16)
    read(few)
    # per record: header and 4 pieces; 2 for size and reservation, 2 that were too large
    assert few.asked == 10 * 5 + 4


def test_a_lost_reservation_is_renewed() -> None:
    bmc = Repository(record(0, 20), record(1, 20))
    bmc.losses = 3
    assert read(bmc) == (list(bmc.records), [])
    bmc.losses = 5
    assert read(bmc) == ([bmc.records[1]], [("SDR 0x0000", "code 0xc5")])


def test_a_record_that_cannot_be_read_is_left_out() -> None:
    bmc = Repository(record(0, 20), record(1, 20), record(2, 20))
    bmc.broken = {1}
    assert read(bmc) == ([bmc.records[0], bmc.records[2]], [("SDR 0x0001", "code 0xcb")])


def test_a_missing_record_ends_the_repository() -> None:
    bmc = Repository(record(0, 20))
    bmc.next_of_last = 9
    assert read(bmc) == ([bmc.records[0]], [("SDR 0x0009 and those behind it", "code 0xcb")])


def test_a_repository_that_goes_round_ends() -> None:
    bmc = Repository(record(0, 20), record(1, 20))
    bmc.next_of_last = 0
    found, notes = read(bmc)
    assert found == list(bmc.records)
    assert notes == [("SDRs behind 0x0000", "the repository goes round in circles")]


class NoCount(Repository):
    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        if command in (0x20, 0x22):
            raise refused(0xC1)
        return super().ask(net_fn, command, data, target=target)


def test_neither_count_nor_reservation_is_needed() -> None:
    repository = SdrRepository(NoCount(record(0, 9)), is_device=False, note=lambda what, why: None)
    assert repository.count() == 0
    assert list(repository) == [record(0, 9)]


class FruDevice:
    """A BMC with one FRU, which gives at most ``most`` bytes at a time and ``readable`` in all."""

    def __init__(self, data: bytes, *, most: int = 255, words: bool = False, readable: int = 0x10000) -> None:
        self.data = data
        self.most = most
        self.unit = 2 if words else 1
        self.readable = readable

    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        assert net_fn == 0x0A
        if data[0] != 3:
            raise refused(0xCB)
        if command == 0x10:
            return len(self.data).to_bytes(2, "little") + bytes((self.unit - 1,))
        offset, count = int.from_bytes(data[1:3], "little") * self.unit, data[3] * self.unit
        if count > self.most:
            raise refused(0xC8)
        if offset >= self.readable:
            raise refused(0xC9)
        got = self.data[offset : offset + count]
        return bytes((len(got) // self.unit,)) + got


CONTENT = bytes(range(256)) * 2


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("most", [255, 24, 8])
def test_a_fru_whole(most: int, words: bool) -> None:
    notes: list[str] = []
    found = fru_data(FruDevice(CONTENT, most=most, words=words), 3, note=lambda what, why: notes.append(what))
    assert found == CONTENT
    assert notes == []


def test_what_cannot_be_read_of_a_fru_is_zero() -> None:
    notes: list[tuple[str, str]] = []
    found = fru_data(FruDevice(CONTENT, readable=256), 3, note=lambda what, why: notes.append((what, why)))
    assert found == CONTENT[:256] + bytes(256)
    assert notes == [("bytes 0x100 to 0x200 of FRU 3", "code 0xc9")]


def test_a_fru_that_is_not_there() -> None:
    with pytest.raises(Refused, match="code 0xcb"):
        fru_data(FruDevice(CONTENT), 4, note=lambda what, why: None)


class Empty(FruDevice):
    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        return super().ask(net_fn, command, data) if command == 0x10 else b"\0"


def test_a_fru_that_gives_nothing() -> None:
    notes: list[tuple[str, str]] = []
    assert fru_data(Empty(CONTENT), 3, note=lambda what, why: notes.append((what, why))) == bytes(512)
    assert notes == [("bytes 0x0 to 0x200 of FRU 3", "there is less than it says")]
