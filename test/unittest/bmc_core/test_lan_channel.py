"""Several LAN channels: what each has of its own, and which one has an effect."""

from __future__ import annotations

import dataclasses

import pytest
from bmc_bench import SETTINGS, Bench
from lan_client import LoginFailed, Net, PlusClient

from infrasim.bmc.settings import OtherChannel
from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.message import Origin
from infrasim.bmc_core.state import BmcState
from infrasim.jsonform import as_json, from_json

APP, SENSOR, TRANSPORT, GROUP = NetFn.APP, NetFn.SENSOR, NetFn.TRANSPORT, NetFn.GROUP
TWO = dataclasses.replace(
    SETTINGS, main_channel=8, other_channels=(OtherChannel(1, "52:54:00:0a:0b:0c"),), cipher_suites=(3, 17)
)
OVER_LAN = Origin(TWO.main_channel, Privilege.ADMINISTRATOR)


def ask(bench: Bench, netfn: int, text: str, *, origin: Origin | None = None) -> str:
    command, *data = bytes.fromhex(text)
    answer = (
        bench.ask(netfn, command, bytes(data), origin=origin)
        if origin
        else bench.ask(netfn, command, bytes(data))
    )
    return answer.hex(" ")


def test_each_is_a_lan_channel_and_only_the_main_one_has_sessions() -> None:
    net = Net(TWO)
    PlusClient(net).login()
    assert ask(net.bench, APP, "42 08") == "00 08 04 01 81 f2 1b 00 00 00"
    assert ask(net.bench, APP, "42 01") == "00 01 04 01 80 f2 1b 00 00 00"
    assert ask(net.bench, APP, "42 02") == "cc"
    assert ask(net.bench, APP, "42 0e", origin=OVER_LAN) == ask(net.bench, APP, "42 08")


def test_a_session_is_of_the_main_channel() -> None:
    net = Net(TWO)
    client = PlusClient(net).login()
    # Get Session Info: channel and protocol.
    assert client.ask(APP, 0x3D, b"\0")[6] == 0x18
    assert client.ask(APP, 0x38, b"\x8e\x04")[1] == 8
    assert net.ask_outside(APP, 0x38, b"\x8e\x04")[1] == 8


def test_lan_parameters_are_a_channels_own() -> None:
    bench = Bench(TWO)
    assert ask(bench, TRANSPORT, "02 08 03 00 00") == "00 11 7f 00 00 01"
    assert ask(bench, TRANSPORT, "02 01 03 00 00") == "00 11 00 00 00 00"
    assert ask(bench, TRANSPORT, "02 01 05 00 00") == "00 11 52 54 00 0a 0b 0c"
    assert ask(bench, TRANSPORT, "01 01 03 0a 00 00 09") == "00"
    assert ask(bench, TRANSPORT, "01 01 00 01") == "00"
    assert ask(bench, TRANSPORT, "02 08 03 00 00") == "00 11 7f 00 00 01"
    assert ask(bench, TRANSPORT, "02 08 00 00 00") == "00 11 00", "being set is the other one"
    assert ask(bench, TRANSPORT, "01 01 00 02") == "00"
    assert ask(bench, TRANSPORT, "03 01 03") == "00 00"
    assert ask(bench, TRANSPORT, "03 08 00") == "00 02"
    again = Bench(TWO, from_json(BmcState, as_json(bench.bmc.state)))
    assert ask(again, TRANSPORT, "02 01 03 00 00") == "00 11 0a 00 00 09"


def test_the_host_ends_what_was_begun_on_any_channel() -> None:
    bench = Bench(TWO)
    assert ask(bench, TRANSPORT, "01 01 00 01") == "00"
    assert ask(bench, TRANSPORT, "01 01 03 0a 00 00 09") == "00"
    bench.bmc.host_reset(by_guest=True)
    assert ask(bench, TRANSPORT, "02 01 03 00 00") == "00 11 00 00 00 00"


def test_statistics_count_where_datagrams_come() -> None:
    net = Net(TWO)
    net.ask_outside(APP, 0x38, b"\x8e\x04")
    assert ask(net.bench, TRANSPORT, "04 08 00")[:8] == "00 01 00"
    assert ask(net.bench, TRANSPORT, "04 01 00") == " ".join(["00"] * 19)


def test_access_limits_and_keys_of_another_channel_have_no_effect() -> None:
    net = Net(TWO)
    assert ask(net.bench, APP, "40 01 80 82") == "00", "disabled, users at most"
    assert ask(net.bench, APP, "41 01 80") == "00 00 02"
    assert ask(net.bench, APP, "41 08 80") == "00 02 04"
    assert ask(net.bench, APP, "56 01 01 01" + "55" * 20) == "00 01"
    assert ask(net.bench, APP, "38 81 04").split()[3] == "24", "the key is told of, of that channel"
    assert ask(net.bench, APP, "38 88 04").split()[3] == "04"
    PlusClient(net).login()
    assert ask(net.bench, TRANSPORT, "01 01 18 00 00 00 00 00 00 00 00 30") == "00", "suite 3 is unused there"
    assert ask(net.bench, APP, "54 01 00 80") == "00 01 c0 11 03 44 81"
    assert len(ask(net.bench, APP, "54 08 00 80").split()) == 2 + 10
    PlusClient(net, 3).login()


def test_what_a_user_may_on_one_channel_is_not_what_it_may_on_another() -> None:
    net = Net(TWO)
    bench = net.bench
    bob = b"bob".ljust(16, b"\0").hex()
    for text in (f"45 03 {bob}", f"47 03 02 {bob}", "47 03 01"):
        assert ask(bench, APP, text) == "00"
    assert ask(bench, APP, "43 91 03 04") == "00", "on channel 1"
    assert ask(bench, APP, "44 01 03").split()[-1] == "14"
    assert ask(bench, APP, "44 08 03").split()[-1] == "0f"
    with pytest.raises(LoginFailed):
        PlusClient(net, name=b"bob", password=b"bob").login()
    assert ask(bench, APP, "43 98 03 04") == "00"
    PlusClient(net, name=b"bob", password=b"bob").login()
    assert ask(bench, APP, "44 02 03") == "cc"
    assert ask(bench, APP, "44 08 02").split()[-1] == ask(bench, APP, "44 01 02").split()[-1] == "34"


def test_payloads_of_a_user_are_a_channels_own() -> None:
    net = Net(TWO)
    net.bench.chassis.on = True
    client = PlusClient(net).login()
    assert client.ask(APP, 0x3B, b"\x04") == b"\0\x04"
    assert ask(net.bench, APP, "4c 01 42 02 00 00 00") == "00"
    assert ask(net.bench, APP, "4d 01 02") == "00 00 00 00 00"
    assert ask(net.bench, APP, "4d 08 02") == "00 02 00 00 00"
    activate = bytes([1, 1, 0xC0, 0, 0, 0])
    assert client.ask(APP, 0x48, activate)[:1] == b"\0"
    assert client.ask(APP, 0x49, bytes([1, 1, 0, 0, 0, 0])) == b"\0"
    assert ask(net.bench, APP, "4c 08 42 02 00 00 00") == "00"
    assert client.ask(APP, 0x48, activate) == b"\x81"


def test_sol_parameters_are_a_channels_own() -> None:
    bench = Bench(TWO)
    assert ask(bench, TRANSPORT, "21 01 01 00") == "00"
    assert ask(bench, TRANSPORT, "21 01 06 07") == "00"
    assert ask(bench, TRANSPORT, "21 01 00 01") == "00"
    for selector, other, main in (
        ("01", "00", "01"),
        ("06", "07", "0a"),
        ("00", "01", "00"),
        ("07", "01", "08"),
    ):
        assert ask(bench, TRANSPORT, f"22 01 {selector} 00 00") == f"00 11 {other}"
        assert ask(bench, TRANSPORT, f"22 08 {selector} 00 00") == f"00 11 {main}"
    assert ask(bench, TRANSPORT, "22 0e 07 00 00") == "00 11 08"
    bench.bmc.sol.deactivate_all()
    assert ask(bench, TRANSPORT, "22 01 06 00 00") == "00 11 0a"


def test_no_alert_leaves_by_a_channel_without_a_network() -> None:
    bench = Bench(TWO)
    bench.chassis.on = True
    assert ask(bench, TRANSPORT, "01 01 13 01 00 00 c0 00 02 01 00 00 00 00 00 00") == "00"
    assert ask(bench, SENSOR, "16 01 01 00") == "00"
    assert ask(bench, SENSOR, "16 01 40 00") == "00 02", "the retries failed"
    assert bench.network.traps == []
    assert ask(bench, SENSOR, "13 09 01 00")[-5:-3] == "80", "policies begin with the main channel"


def test_dcmi_tells_of_the_second_channel() -> None:
    assert ask(Bench(), GROUP, "01 dc 04").endswith(" 01 ff ff")
    assert ask(Bench(TWO), GROUP, "01 dc 04").endswith(" 08 01 ff")
    assert ask(Bench(), GROUP, "01 dc 01").endswith(" 01")
    assert ask(Bench(TWO), GROUP, "01 dc 01").endswith(" 05")


def test_the_nodes_user_comes_to_a_channel_that_is_new_and_stays_as_it_is() -> None:
    bench = Bench()
    assert bench.ask(APP, 0x47, bytes([2, 2]) + b"changed".ljust(16, b"\0")) == b"\0"
    assert ask(bench, APP, "43 91 02 03") == "00"
    net = Net(TWO, from_json(BmcState, as_json(bench.bmc.state)))
    assert ask(net.bench, APP, "44 01 02").split()[-1] == "13", "as it was set there"
    assert ask(net.bench, APP, "44 08 02").split()[-1] == "34"
    PlusClient(net, password=b"changed").login()
