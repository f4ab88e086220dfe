"""Channel commands."""

from __future__ import annotations

import dataclasses

import pytest
from bmc_bench import SETTINGS, Bench
from lan_client import LoginFailed, Net, PlusClient

from infrasim.bmc_core import channels
from infrasim.bmc_core.channels import AccessMode
from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.message import Origin
from infrasim.bmc_core.state import BmcState
from infrasim.jsonform import as_json, from_json

LAN_ADMIN = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR)


def ask(bench: Bench, command: int, text: str, *, lan: bool = False) -> str:
    data = bytes.fromhex(text)
    answer = bench.ask(6, command, data, origin=LAN_ADMIN) if lan else bench.ask(6, command, data)
    return answer.hex(" ")


def test_what_the_channels_are() -> None:
    bench = Bench()
    assert ask(bench, 0x42, "00") == "00 00 01 01 00 f2 1b 00 00 00"
    assert ask(bench, 0x42, "01") == "00 01 04 01 80 f2 1b 00 00 00"
    assert ask(bench, 0x42, "0f") == "00 0f 0c 05 00 f2 1b 00 ff ff"
    assert ask(bench, 0x42, "0e") == ask(bench, 0x42, "0f")
    assert ask(bench, 0x42, "0e", lan=True) == ask(bench, 0x42, "01")
    assert ask(bench, 0x42, "03") == "cc"


def test_the_lan_channel_counts_its_sessions() -> None:
    net = Net()
    PlusClient(net).login()
    assert ask(net.bench, 0x42, "01") == "00 01 04 01 81 f2 1b 00 00 00"


def test_volatile_and_lasting_access() -> None:
    bench = Bench()
    assert ask(bench, 0x41, "01 40") == ask(bench, 0x41, "01 80") == "00 02 04"
    assert ask(bench, 0x40, "01 7a 43") == "00"
    assert ask(bench, 0x41, "01 40") == "00 3a 03"
    assert ask(bench, 0x41, "01 80") == "00 02 04"
    assert ask(bench, 0x40, "01 8b 82") == "00"
    assert ask(bench, 0x41, "01 80") == "00 0b 02"
    channels.restart(bench.bmc)
    assert ask(bench, 0x41, "01 80") == "00 3a 03"


def test_a_restart_forgets_the_volatile_access() -> None:
    bench = Bench()
    ask(bench, 0x40, "01 42 43")
    ask(bench, 0x40, "01 80 82")
    again = Bench(state=from_json(BmcState, as_json(bench.bmc.state)))
    assert ask(again, 0x41, "01 80") == "00 02 03"


@pytest.mark.parametrize(
    ("command", "data", "code"),
    [
        (0x40, "0f 42 44", "82"),
        (0x40, "00 42 44", "82"),
        (0x40, "03 42 44", "cc"),
        (0x40, "01 44 44", "83"),
        (0x40, "01 c2 44", "cc"),
        (0x40, "01 42 46", "cc"),
        (0x40, "01 42", "c7"),
        (0x41, "0f 40", "82"),
        (0x41, "01 00", "cc"),
        (0x41, "01 c0", "cc"),
    ],
)
def test_wrong_access_is_refused(command: int, data: str, code: str) -> None:
    bench = Bench()
    assert ask(bench, command, data) == code
    assert bench.changes == 0


def test_the_channel_limits_every_login() -> None:
    net = Net()
    ask(net.bench, 0x40, "01 00 83")
    with pytest.raises(LoginFailed) as caught:
        PlusClient(net).login()
    assert caught.value.status == 0x0A
    PlusClient(net, role=3).login()


@pytest.mark.parametrize(
    ("mode", "powered", "is_open"),
    [
        (AccessMode.DISABLED, False, False),
        (AccessMode.PRE_BOOT, False, True),
        (AccessMode.PRE_BOOT, True, False),
        (AccessMode.ALWAYS, True, True),
        (AccessMode.SHARED, True, True),
    ],
)
def test_when_the_channel_is_open(mode: AccessMode, powered: bool, is_open: bool) -> None:
    bench = Bench()
    bench.bmc.lan.access.volatile.mode = mode
    bench.chassis.on = powered
    assert channels.is_open(bench.bmc) == is_open


def test_keys_are_set_read_and_locked() -> None:
    bench = Bench()
    key = bytes(range(1, 21)).hex(" ")
    assert ask(bench, 0x56, "01 00 01") == "00 01 " + bytes(20).hex(" ")
    assert ask(bench, 0x56, f"01 01 01 {key}") == "00 01"
    assert ask(bench, 0x56, "01 00 01") == f"00 01 {key}"
    assert ask(bench, 0x56, "01 00 00") == "00 01 " + bytes(20).hex(" ")
    assert ask(bench, 0x56, "01 02 01") == "00 02"
    assert ask(bench, 0x56, "01 00 01") == "00 02"
    assert ask(bench, 0x56, f"01 01 01 {key}") == "80"
    assert ask(bench, 0x56, f"01 01 00 {key}") == "00 01"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("01 01 01 00", "81"),
        ("01 01 01" + "00" * 21, "82"),
        ("01 03 01", "cc"),
        ("01 00 02", "cc"),
        ("0f 00 01", "82"),
    ],
)
def test_wrong_keys_are_refused(data: str, code: str) -> None:
    assert ask(Bench(), 0x56, data) == code


def test_a_key_set_over_lan_is_needed_by_the_next_login() -> None:
    net = Net()
    client = PlusClient(net).login()
    client.ask(6, 0x3B, b"\x04")
    assert client.ask(6, 0x56, b"\x01\x01\x01" + b"k" * 20) == b"\0\x01"
    assert net.ask_outside(6, 0x38, b"\x8e\x04")[3] & 0x20
    PlusClient(net, key=b"k" * 20).login()


def test_the_system_interface_is_the_one_of_the_node() -> None:
    bench = Bench()
    assert bench.ask(NetFn.APP, 0x57, b"\x01") == b"\x00\x00\x00\xff"
    assert bench.ask(NetFn.APP, 0x57, b"\x00") == b"\xcc", "no SSIF"
    assert bench.ask(NetFn.APP, 0x57) == b"\xc7"
    bt = Bench(dataclasses.replace(SETTINGS, system_interface="bt"))
    assert bt.ask(NetFn.APP, 0x57, b"\x01") == b"\xcc"
