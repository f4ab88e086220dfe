"""LAN configuration parameters, statistics, ARPs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from bmc_bench import SETTINGS, Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.core import Bmc
from infrasim.bmc_core.lan_config import (
    AlertDestination,
    Lockout,
    alert_destination,
    auth_types,
    community,
    lockout,
    suite_privileges,
)
from infrasim.bmc_core.message import Origin
from infrasim.bmc_core.state import BmcState
from infrasim.jsonform import as_json, from_json

LAN = NetFn.TRANSPORT


def read(bench: Bench, number: int, selector: int = 0, block: int = 0) -> bytes:
    answer = bench.ask(LAN, 0x02, bytes([1, number, selector, block]))
    return answer[2:] if answer[:2] == b"\x00\x11" else answer


def write(bench: Bench, number: int, data: bytes) -> int:
    return bench.ask(LAN, 0x01, bytes([1, number]) + data)[0]


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (0, "00"),
        (1, "14"),
        (2, "14 14 14 14 00"),
        (3, "7f 00 00 01"),
        (4, "01"),
        (5, "52 54 00 01 02 03"),
        (6, "ff 00 00 00"),
        (8, "6f 02"),
        (9, "98 02"),
        (12, "00 00 00 00"),
        (16, b"public".hex() + "00" * 12),
        (17, "04"),
        (18, "00 00 00 00"),
        (19, "00" + "00" * 12),
        (20, "00 00"),
        (22, "10"),
        (23, "00 000102030405060708090a0b0c0d0e 11"),
        (24, "00 0040000000000040"),
        (26, "00" * 6),
        (50, "06"),
        (51, "00"),
        (56, "00 00" + "00" * 17 + "01"),
    ],
)
def test_what_parameters_are_at_first(number: int, value: str) -> None:
    assert read(Bench(), number).hex() == bytes.fromhex(value).hex()


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (2, "00 10 14 14 00"),
        (3, "0a 00 00 07"),
        (4, "02"),
        (5, "02 00 00 00 00 01"),
        (7, "20 00 08"),
        (10, "03"),
        (16, "73656372657400000000000000000000 0000"),
        (20, "64 80"),
        (21, "07"),
        (24, "00 00 40 00 00 00 00 00 20"),
        (26, "01 03 06 00 1e 00"),
        (51, "02"),
        (65, "fe80 0000 0000 0000 0000 0000 0000 0001"),
    ],
)
def test_what_is_set_is_read_back_and_kept(number: int, value: str) -> None:
    bench = Bench()
    assert write(bench, number, bytes.fromhex(value)) == 0
    assert bench.changes == 1
    kept = from_json(BmcState, as_json(bench.bmc.state))
    assert read(Bench(state=kept), number) == bytes.fromhex(value)


@pytest.mark.parametrize(
    ("number", "data", "code"),
    [
        (1, "14", 0x82),
        (17, "05", 0x82),
        (22, "05", 0x82),
        (23, "00" * 17, 0x82),
        (27, "00", 0x80),
        (49, "00", 0x80),
        (192, "00", 0x80),
        (2, "01 01 01 01 01", 0xCC),
        (3, "01 02 03", 0xC7),
        (3, "01 02 03 04 05", 0xC7),
        (4, "05", 0xCC),
        (5, "01 00 00 00 00 00", 0xCC),
        (20, "00 80", 0xCC),
        (20, "ff 8f", 0xCC),
        (24, "00 06 00 00 00 00 00 00 00", 0xCC),
        (18, "05 00 00 00", 0xC9),
        (18, "", 0xC7),
        (0, "03", 0xCC),
        (0, "02", 0xCC),
    ],
)
def test_what_cannot_be_set(number: int, data: str, code: int) -> None:
    bench = Bench()
    assert write(bench, number, bytes.fromhex(data)) == code
    assert bench.changes == 0


def test_revision_alone() -> None:
    assert Bench().ask(LAN, 0x02, bytes([0x81, 3, 0, 0])) == b"\x00\x11"


def test_only_the_lan_channel_has_them() -> None:
    bench = Bench()
    assert bench.ask(LAN, 0x02, bytes([2, 3, 0, 0])) == b"\xcc"
    assert bench.ask(LAN, 0x02, bytes([0xE, 3, 0, 0])) == b"\xcc"
    over_lan = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR)
    assert bench.ask(LAN, 0x02, bytes([0xE, 3, 0, 0]), origin=over_lan)[0] == 0


def test_set_in_progress_keeps_what_is_committed() -> None:
    bench = Bench()
    assert write(bench, 0, b"\x01") == 0
    assert read(bench, 0) == b"\x01"
    assert write(bench, 0, b"\x01") == 0x81
    write(bench, 3, bytes([10, 0, 0, 1]))
    assert write(bench, 0, b"\x02") == 0
    write(bench, 3, bytes([10, 0, 0, 2]))
    assert read(bench, 3) == bytes([10, 0, 0, 2])
    assert write(bench, 0, b"\x00") == 0
    assert read(bench, 3) == bytes([10, 0, 0, 1])
    assert read(bench, 0) == b"\x00"


ENDS: dict[str, Callable[[Bmc], None]] = {
    "host on": lambda bmc: bmc.power_changed(on=True),
    "host off": lambda bmc: bmc.power_changed(on=False),
    "host reset": lambda bmc: bmc.host_reset(by_guest=True),
    "cold reset": lambda bmc: bmc.reset(cold=True),
    "warm reset": lambda bmc: bmc.reset(cold=False),
}


@pytest.mark.parametrize("end", ENDS)
def test_who_sets_parameters_is_not_waited_for_beyond_an_end(end: str) -> None:
    """LAN, PEF, system info, serial over LAN and boot options all have a parameter 0."""
    bench = Bench()
    places = {(LAN, 0x01): b"\1\0", (4, 0x12): b"\0", (6, 0x58): b"\0", (LAN, 0x21): b"\1\0", (0, 8): b"\0"}
    for place, head in places.items():
        assert bench.ask(*place, head + b"\1") == b"\0"
    write(bench, 3, bytes([10, 0, 0, 1]))
    write(bench, 18, bytes([0, 0x80, 4, 2]))
    ENDS[end](bench.bmc)
    assert read(bench, 3) == bytes([127, 0, 0, 1])
    assert read(bench, 18) == bytes(4)
    for place, head in places.items():
        assert bench.ask(*place, head + b"\1") == b"\0", "nobody else sets"


def test_what_was_not_committed_ends_with_the_bmc() -> None:
    bench = Bench()
    write(bench, 7, bytes([0x20, 0, 8]))
    write(bench, 0, b"\1")
    write(bench, 3, bytes([10, 0, 0, 1]))
    again = Bench(state=from_json(BmcState, as_json(bench.bmc.state)))
    assert read(again, 0) == b"\0"
    assert read(again, 3) == bytes([127, 0, 0, 1])
    assert read(again, 7) == bytes([0x20, 0, 8])


def test_a_cold_reset_forgets_what_does_not_outlive_the_bmc() -> None:
    bench = Bench()
    bench.chassis.on = True
    bench.ask(6, 0x06, b"\x83\x81")
    for selector in (0, 1):
        write(bench, 18, bytes([selector, 0x80, 4, 2]))
    bench.bmc.reset(cold=False)
    assert bench.ask(6, 0x07) == b"\0\3\1"
    assert read(bench, 18) == bytes([0, 0x80, 4, 2])
    bench.bmc.reset(cold=True)
    assert bench.ask(6, 0x07) == b"\0\0\x2a"
    assert read(bench, 18) == bytes(4)
    assert read(bench, 18, 1) == bytes([1, 0x80, 4, 2])


def test_destination_0_is_forgotten_with_the_bmc() -> None:
    bench = Bench()
    for selector in (0, 1):
        assert write(bench, 18, bytes([selector, 0x80, 4, 2])) == 0
        assert write(bench, 19, bytes([selector, 0, 0, 192, 0, 2, 9]) + bytes(6)) == 0
        assert read(bench, 18, selector) == bytes([selector, 0x80, 4, 2])
    wanted = AlertDestination("192.0.2.9", acknowledged=True, timeout_s=5, retries=2)
    assert alert_destination(bench.bmc, 0) == alert_destination(bench.bmc, 1) == wanted
    again = Bench(state=bench.bmc.state).bmc
    assert alert_destination(again, 1) == wanted
    assert alert_destination(again, 0) == AlertDestination("", acknowledged=False, timeout_s=1, retries=0)
    assert alert_destination(again, 5) is None


def test_an_ipv6_destination() -> None:
    bench = Bench()
    address = bytes.fromhex("20010db8000000000000000000000001")
    assert write(bench, 19, bytes([2, 0x10]) + address) == 0
    assert write(bench, 19, bytes([2, 0x00]) + address) == 0xCC
    destination = alert_destination(bench.bmc, 2)
    assert destination is not None
    assert destination.address == "2001:db8::1"


def test_privilege_of_suites() -> None:
    bench = Bench()
    parameters = bench.bmc.lan.parameters
    assert suite_privileges(parameters) == ((3, Privilege.ADMINISTRATOR), (17, Privilege.ADMINISTRATOR))
    write(bench, 24, bytes([0] * 8 + [0x20]))
    assert suite_privileges(parameters) == ((17, Privilege.USER),)


def test_fifteen_letters_of_ipmitool_do_not_lock_suite_17_out() -> None:
    """``lan set 1 cipher_privs`` writes 0 for the place that it has no letter for."""
    bench = Bench()
    parameters = bench.bmc.lan.parameters
    assert write(bench, 24, bytes(9)) == 0
    assert suite_privileges(parameters) == ((17, Privilege.ADMINISTRATOR),)
    write(bench, 24, bytes([0] * 8 + [0x30]))
    write(bench, 24, bytes([0, 0, 0x40, *[0] * 6]))
    assert read(bench, 24) == bytes([0, 0, 0x40, *[0] * 6]), "ipmitool compares"
    assert (17, Privilege.OPERATOR) in suite_privileges(parameters), "and its level stays"


def test_a_suite_that_is_not_there_stays_unused() -> None:
    assert write(Bench(), 24, bytes([0, 0x44]) + bytes(7)) == 0xCC


def test_authentication_types() -> None:
    bench = Bench()
    write(bench, 2, bytes([0, 0x10, 0x14, 0x04, 0]))
    assert [auth_types(bench.bmc.lan.parameters, level) for level in Privilege] == [0, 0, 0x10, 0x14, 0x04, 0]
    insecure = Bench(dataclasses.replace(SETTINGS, insecure=True))
    assert read(insecure, 1) == b"\x15"


def test_lockout_comes_from_settings_until_set() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, lockout_failures=3, lockout_s=60.0))
    assert read(bench, 26) == bytes([0, 3, 6, 0, 6, 0])
    assert lockout(bench.bmc) == Lockout(3, 60, 60, audit=False)
    write(bench, 26, bytes([1, 5, 1, 0, 0, 0]))
    assert lockout(bench.bmc) == Lockout(5, 10, 0, audit=True)


def test_community() -> None:
    assert community(Bench().bmc) == b"public"


def test_the_ipv6_address_of_the_node() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, lan_address6="::1"))
    assert read(bench, 51) == b"\x02"
    assert read(bench, 56) == b"\x00\x80" + bytes(15) + b"\x01\x80\x00"


def test_statistics() -> None:
    bench = Bench()
    bench.bmc.lan.statistics.ip_packets_received = 0x12345
    bench.bmc.lan.statistics.rmcp_packets_received = 7
    assert bench.ask(LAN, 0x04, b"\x01\x00").hex() == "00ffff" + "0000" * 5 + "0700" + "0000" * 2
    assert bench.ask(LAN, 0x04, b"\x01\x01") == bytes(19)
    assert bench.bmc.lan.statistics.ip_packets_received == 0


def test_arps_are_suspended() -> None:
    bench = Bench()
    assert bench.ask(LAN, 0x03, b"\x01\x00") == b"\x00\x02"
    write(bench, 10, b"\x03")
    assert bench.ask(LAN, 0x03, b"\x01\x01") == b"\x00\x02"
    assert bench.ask(LAN, 0x03, b"\x01\x03") == b"\x00\x00"


@given(command=st.integers(0, 5), data=st.binary(max_size=40))
def test_any_data_is_answered(command: int, data: bytes) -> None:
    bench = Bench()
    assert bench.ask(LAN, command, data)
    assert bench.ask(LAN, command, b"\x01" + data)


@given(address=st.text(max_size=12))
def test_any_address_in_the_settings(address: str) -> None:
    settings: CoreSettings = dataclasses.replace(SETTINGS, lan_address=address)
    assert len(read(Bench(settings), 3)) == 4
