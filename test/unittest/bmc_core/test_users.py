"""User commands, over the system interface and with the rights of a session."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bmc_bench import SETTINGS, Bench
from lan_client import LoginFailed, Net, OldClient, PlusClient

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.message import Origin
from infrasim.bmc_core.state import BmcState
from infrasim.jsonform import as_json, from_json

NAME, PASSWORD, ACCESS = 0x45, 0x47, 0x43


def ask(bench: Bench, command: int, text: str) -> str:
    return bench.ask(6, command, bytes.fromhex(text)).hex(" ")


def make_user(bench: Bench, number: int, name: bytes, password: bytes) -> None:
    """As ipmitool in the guest does."""
    order = [
        (NAME, bytes([number]) + name.ljust(16, b"\0")),
        (PASSWORD, bytes([number, 2]) + password.ljust(16, b"\0")),
        (PASSWORD, bytes([number, 1])),
        (ACCESS, bytes([0x91, number, 4])),
    ]
    for command, data in order:
        assert bench.ask(6, command, data) == b"\0"


def test_the_node_s_user_is_number_2() -> None:
    bench = Bench()
    assert bench.ask(6, 0x46, b"\x02") == b"\0" + b"admin".ljust(16, b"\0")
    assert bench.ask(6, 0x46, b"\x01") == b"\0" + bytes(16)
    assert ask(bench, 0x44, "01 02") == "00 0f 41 01 34"
    assert ask(bench, 0x44, "01 01") == "00 0f 81 01 0f"


@pytest.mark.parametrize("login", [PlusClient, OldClient])
def test_a_user_made_in_the_guest_logs_in_at_once(login: type[PlusClient] | type[OldClient]) -> None:
    net = Net()
    make_user(net.bench, 4, b"guest", b"word")
    assert login(net, name=b"guest", password=b"word").login().ask(0, 1)[0] == 0
    assert net.bench.ask(6, PASSWORD, b"\x04\x00") == b"\0"
    with pytest.raises(LoginFailed):
        login(net, name=b"guest", password=b"word").login()


def test_a_new_password_counts_from_the_next_login() -> None:
    net = Net()
    net.bench.ask(6, PASSWORD, b"\x82\x02" + b"a password of 20 b.".ljust(20, b"\0"))
    PlusClient(net, password=b"a password of 20 b.").login()
    with pytest.raises(LoginFailed):
        PlusClient(net).login()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x02\x03" + b"admin".ljust(16, b"\0"), 0x00),
        (b"\x02\x03" + b"Admin".ljust(16, b"\0"), 0x80),
        (b"\x82\x03" + b"admin".ljust(20, b"\0"), 0x81),
        (b"\x02\x03" + b"admin".ljust(20, b"\0"), 0xC7),
        (b"\x02\x03", 0xC7),
        (b"\x02\x02", 0xC7),
        (b"\x00\x01", 0xC9),
        (b"\x10\x01", 0xC9),
        (b"\x02", 0xC7),
    ],
)
def test_passwords_are_tested_and_refused(data: bytes, code: int) -> None:
    assert Bench().ask(6, PASSWORD, data) == bytes([code])


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [
        (3, b"operator", 0x00),
        (3, b"sixteen-bytes-ok", 0x00),
        (3, b"", 0x00),
        (2, b"admin", 0x00),
        (3, b"admin", 0xCC),
        (1, b"root", 0xCC),
        (3, b"a b", 0xCC),
        (3, "ä".encode(), 0xCC),
        (3, b"a\0b", 0xCC),
        (16, b"x", 0xC9),
        (0, b"x", 0xC9),
    ],
)
def test_names(number: int, name: bytes, code: int) -> None:
    bench = Bench()
    assert bench.ask(6, NAME, bytes([number]) + name.ljust(16, b"\0")) == bytes([code])
    assert bench.changes == (code == 0)


def test_access_bits_change_only_when_asked() -> None:
    bench = Bench()
    assert ask(bench, ACCESS, "01 02 03") == "00"
    assert ask(bench, 0x44, "01 02") == "00 0f 41 01 33"
    assert ask(bench, ACCESS, "c1 02 02 05") == "00"
    assert ask(bench, 0x44, "01 02") == "00 0f 41 01 42"
    assert bench.bmc.state.users.get(2).session_limit == 5


@pytest.mark.parametrize(
    ("data", "code"), [("01 02 06", "cc"), ("01 02 00", "cc"), ("03 02 04", "cc"), ("01", "c7")]
)
def test_wrong_access_is_refused(data: str, code: str) -> None:
    assert ask(Bench(), ACCESS, data) == code


def test_callback_only_limits_the_login() -> None:
    net = Net()
    ask(net.bench, ACCESS, "f1 02 04")
    with pytest.raises(LoginFailed):
        PlusClient(net).login()
    PlusClient(net, role=1).login()


def test_channels_have_their_own_access() -> None:
    bench = Bench()
    ask(bench, ACCESS, "01 02 02")
    assert ask(bench, 0x44, "0f 02") == "00 0f 41 01 34"
    assert ask(bench, 0x44, "0e 02") == "00 0f 41 01 34"


def test_payload_access() -> None:
    bench = Bench()
    assert ask(bench, 0x4D, "01 02") == "00 02 00 00 00"
    assert ask(bench, 0x4C, "01 42 02 00 00 00") == "00"
    assert ask(bench, 0x4D, "01 02") == "00 00 00 00 00"
    assert ask(bench, 0x4C, "01 02 02 00 05 00") == "00"
    assert ask(bench, 0x4D, "01 02") == "00 02 00 05 00"
    assert ask(bench, 0x4C, "0f 02 02 00 00 00") == "cc"
    assert ask(bench, 0x4C, "01 82 02 00 00 00") == "cc"


@pytest.mark.parametrize(
    ("privilege", "command", "code"),
    [
        (Privilege.USER, 0x44, 0xD4),
        (Privilege.OPERATOR, 0x44, 0x00),
        (Privilege.OPERATOR, 0x46, 0xC7),
        (Privilege.OPERATOR, NAME, 0xD4),
        (Privilege.OPERATOR, PASSWORD, 0xD4),
        (Privilege.OPERATOR, ACCESS, 0xD4),
        (Privilege.OPERATOR, 0x4C, 0xD4),
    ],
)
def test_privileges(privilege: Privilege, command: int, code: int) -> None:
    assert Bench().ask(6, command, b"\x01\x02", origin=Origin(SETTINGS.main_channel, privilege))[0] == code


# --- what stays


def test_users_stay_over_a_restart() -> None:
    bench = Bench()
    make_user(bench, 5, b"stays", b"on")
    kept = from_json(BmcState, as_json(bench.bmc.state))
    again = Bench(state=kept)
    assert again.bmc.state.users == bench.bmc.state.users
    assert again.bmc.state.users.get(5).name == b"stays"


def test_what_was_changed_stays_until_the_node_file_changes() -> None:
    bench = Bench()
    bench.ask(6, PASSWORD, b"\x02\x02" + b"other".ljust(16, b"\0"))
    make_user(bench, 5, b"stays", b"on")
    assert Bench(state=bench.bmc.state).bmc.state.users.get(2).password == b"other"
    edited = Bench(replace(SETTINGS, password="edited"), bench.bmc.state).bmc.state.users
    assert edited.get(2).password == b"edited"
    assert edited.get(5).name == b"stays"


def test_the_node_s_user_takes_its_name_from_another() -> None:
    bench = Bench()
    make_user(bench, 5, b"stays", b"on")
    again = Bench(replace(SETTINGS, username="stays"), bench.bmc.state).bmc.state.users
    assert (again.get(2).name, again.get(5).name) == (b"stays", b"")


def test_a_long_password_of_the_node_is_a_long_one() -> None:
    user = Bench(replace(SETTINGS, password="x" * 18)).bmc.state.users.get(2)
    assert user.long_password
    assert user.password == b"x" * 18
