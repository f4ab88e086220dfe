"""The command table and how requests are refused."""

from __future__ import annotations

from bmc_bench import SETTINGS, Bench

from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.message import IN_BAND, Origin, Refused, Request


def test_an_unknown_command_is_invalid() -> None:
    assert Bench().ask(NetFn.APP, 0xEE) == b"\xc1"


def test_a_command_needs_its_privilege() -> None:
    user = Origin(SETTINGS.main_channel, Privilege.USER)
    assert Bench().ask(NetFn.CHASSIS, 0x02, b"\x01", origin=user) == b"\xd4"


def test_what_the_engine_owns_is_asked_of_it() -> None:
    bench = Bench()
    bench.engine.answers[(NetFn.STORAGE, 0x40)] = b"\x51\x00\x00"
    assert bench.ask(NetFn.STORAGE, 0x40) == b"\x00\x51\x00\x00"
    assert bench.engine.asked == [(NetFn.STORAGE, 0x40, b"")]


def test_the_code_of_the_engine_is_passed_on() -> None:
    bench = Bench()
    bench.engine.answers[(NetFn.STORAGE, 0x43)] = Refused(0xCB)
    assert bench.ask(NetFn.STORAGE, 0x43, bytes(6)) == b"\xcb"


def test_a_fru_read_of_too_much_is_answered_as_clients_know_it() -> None:
    """pyghmi reads less after 0xCA and gives up after ipmi_sim's 0xC8."""
    bench = Bench()
    bench.engine.answers[(NetFn.STORAGE, 0x11)] = Refused(0xC8)
    assert bench.ask(NetFn.STORAGE, 0x11, b"\0\0\0\xf0") == b"\xca"
    bench.engine.answers[(NetFn.STORAGE, 0x11)] = Refused(0xCB)
    assert bench.ask(NetFn.STORAGE, 0x11, b"\0\0\0\xf0") == b"\xcb"
    bench.engine.answers[(NetFn.STORAGE, 0x11)] = b"\x01\x55"
    assert bench.ask(NetFn.STORAGE, 0x11, b"\0\0\0\x01") == b"\0\x01\x55"


def test_every_answer_of_a_body_names_it() -> None:
    bench = Bench()
    user = Origin(SETTINGS.main_channel, Privilege.USER)
    assert bench.ask(NetFn.GROUP, 0x08, b"\xdc\0\1x", origin=user) == b"\xd4\xdc"
    assert bench.ask(NetFn.GROUP, 0xEE, b"\xdc") == b"\xc1\xdc"
    assert bench.ask(NetFn.GROUP, 0x01, b"\x00\1") == b"\xc1\0", "PICMG"
    assert bench.ask(NetFn.GROUP, 0xEE) == b"\xc1", "nobody was named"


def test_the_host_has_no_lun_of_its_own_to_write_to() -> None:
    assert Bench().bmc.answer(Request(NetFn.APP, 0x01, b"", IN_BAND, 2)) == b"\xc2"
