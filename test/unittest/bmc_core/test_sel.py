"""The event log: who may change it, and when it was changed."""

from __future__ import annotations

import pytest
from bmc_bench import Bench

from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.message import Refused

STORAGE = NetFn.STORAGE
RECORD = bytes([0, 0, 2, 0, 0, 0, 0, 0x20, 0, 4, 1, 0x30, 1, 0x57, 1, 2])


class Log(Bench):
    """A bench whose ipmi_sim answers for its log."""

    def __init__(self) -> None:
        super().__init__()
        self.tell(added=0)
        self.engine.answers[(STORAGE, 0x43)] = b"\xff\xff" + RECORD
        self.engine.answers[(STORAGE, 0x44)] = b"\x01\x00"
        self.engine.answers[(STORAGE, 0x46)] = b"\x01\x00"
        self.engine.answers[(STORAGE, 0x47)] = b"\x01"

    def tell(self, *, added: int) -> None:
        """ipmi_sim says of its log that the newest entry is from then."""
        info = b"\x51\x01\x00\xf0\x3f" + added.to_bytes(4, "little") + bytes(4) + b"\x0a"
        self.engine.answers[(STORAGE, 0x40)] = info

    def say(self, command: int, data: str = "") -> str:
        return self.ask(STORAGE, command, bytes.fromhex(data)).hex(" ")

    def reserve(self) -> str:
        return self.ask(STORAGE, 0x42)[1:].hex()

    def erased(self) -> int:
        return int.from_bytes(self.ask(STORAGE, 0x40)[10:14], "little")


@pytest.mark.parametrize(
    ("command", "rest"),
    [(0x46, "0100"), (0x47, "434c52 aa"), (0x43, "0100 04 04")],
    ids=["delete", "clear", "part"],
)
def test_what_needs_a_reservation(command: int, rest: str) -> None:
    log = Log()
    assert log.say(command, "0000" + rest) == "c5"
    assert log.say(command, "0100" + rest) == "c5"
    assert not log.engine.asked, "ipmi_sim takes anything"
    first, second = log.reserve(), log.reserve()
    assert log.say(command, first + rest) == "c5"
    assert log.say(command, second + rest)[:2] == "00"


def test_a_whole_entry_needs_none_but_a_lost_one_is_told() -> None:
    log = Log()
    assert log.say(0x43, "0000 0100 00 ff") == "00 ff ff " + RECORD.hex(" ")
    held = log.reserve()
    assert log.say(0x43, held + "0100 00 ff")[:2] == "00"
    log.reserve()
    assert log.say(0x43, held + "0100 00 ff") == "c5"
    assert log.engine.asked[-1] == (STORAGE, 0x43, bytes.fromhex("0000 0100 00 ff")), (
        "ipmi_sim has none of its own"
    )


def test_a_new_entry_ends_a_reservation() -> None:
    log = Log()
    held = log.reserve()
    assert log.say(0x44, RECORD.hex()) == "00 01 00"
    assert log.say(0x46, held + "0100") == "c5"
    held = log.reserve()
    log.bmc.event_happened(b"\x02" + RECORD[1:])
    assert log.say(0x46, held + "0100") == "c5", "one that ipmi_sim's sensors made"
    held = log.reserve()
    log.bmc.log_event(generator=0x20, sensor_type=1, sensor=1, event_type=1, data=bytes(3))
    log.settle()
    assert log.say(0x46, held + "0100") == "c5"


@pytest.mark.parametrize("number", [b"\0\0", b"\xff\xff"])
def test_an_event_that_is_not_logged_does_not(number: bytes) -> None:
    log = Log()
    held = log.reserve()
    log.bmc.event_happened(number + RECORD[2:])
    assert log.say(0x46, held + "0100") == "00 01 00"


def test_several_entries_are_deleted_with_one_reservation() -> None:
    log = Log()
    held = log.reserve()
    assert log.say(0x46, held + "0100") == "00 01 00"
    assert log.say(0x46, held + "0100") == "00 01 00"


def test_clearing_ends_a_reservation_and_its_end_can_be_asked_for() -> None:
    log = Log()
    held = log.reserve()
    assert log.say(0x47, held + "434c52 00") == "00 01"
    assert not log.engine.asked, "to ipmi_sim that would be an erasure too"
    assert log.say(0x47, held + "434c51 aa") == "cc"
    assert log.say(0x47, held + "434c52 ab") == "cc"
    assert log.say(0x47, held + "434c52 aa") == "00 01"
    assert log.say(0x47, held + "434c52 00") == "00 01"
    assert log.say(0x47, held + "434c52 aa") == "c5"


@pytest.mark.parametrize("cold", [True, False])
def test_a_reset_of_the_bmc_ends_a_reservation(cold: bool) -> None:
    log = Log()
    held = log.reserve()
    log.bmc.reset(cold=cold)
    assert log.say(0x46, held + "0100") == "c5"
    assert log.say(0x46, log.reserve() + "0100") == "00 01 00"


def test_before_anything_happened_there_are_no_times() -> None:
    log = Log()
    assert log.say(0x40) == "00 51 01 00 f0 3f ff ff ff ff ff ff ff ff 0b"
    log.tell(added=5)
    assert log.say(0x40) == "00 51 01 00 f0 3f 05 00 00 00 ff ff ff ff 0b"


def test_deleting_and_clearing_are_erasures() -> None:
    log = Log()
    log.say(0x46, log.reserve() + "0100")
    first = log.erased()
    assert first == int(log.clock.unix_s())
    assert log.changes == 1
    log.clock.advance(60)
    log.say(0x47, log.reserve() + "434c52 aa")
    assert log.erased() == first + 60
    log.engine.answers[(STORAGE, 0x46)] = Refused(0xCB)
    log.clock.advance(60)
    assert log.say(0x46, log.reserve() + "0900") == "cb"
    assert log.erased() == first + 60


def test_what_is_not_as_long_as_it_must_be_is_refused() -> None:
    log = Log()
    held = log.reserve()
    for command, data in (
        (0x40, "00"),
        (0x42, "00"),
        (0x43, "0000 0000 00 ff 00"),
        (0x44, RECORD.hex() + "00"),
        (0x46, held + "0100 00"),
        (0x47, held + "434c52 aa 00"),
        (0x48, "00"),
    ):
        assert log.say(command, data) == "c7"
    assert log.say(0x43, held + "0000 10 01") == "c9"
    assert not log.engine.asked


def test_the_log_has_room_for_so_many_entries() -> None:
    log = Log()
    # One entry, and room for 0x3ff0 bytes.
    assert log.say(0x41) == "00 00 04 10 00 ff 03 ff 03 01"
    assert log.ask(STORAGE, 0x40)[-1] & 0x01, "and the log says that it tells so"
    assert log.say(0x41, "00") == "c7"
    log.engine.answers[(STORAGE, 0x40)] = b"\x51" + b"\xff" * 4 + bytes(9)
    assert log.say(0x41) == "00 ff ff 10 00 ff 0f ff 0f 01", "more than the answer has room for"
