"""Commands about sessions, and what a client asks before it opens one."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from bmc_bench import SETTINGS, Bench
from lan_client import INSECURE, Net, OldClient, PlusClient

from infrasim.bmc_core.message import IN_BAND
from infrasim.bmc_core.users import UserAccess


def admin(net: Net, port: int = 40000) -> PlusClient:
    client = PlusClient(net, peer=("192.0.2.7", port)).login()
    client.ask(6, 0x3B, b"\x04")
    return client


def test_capabilities_of_both_versions() -> None:
    net = Net()
    assert net.ask_outside(6, 0x38, b"\x8e\x04").hex(" ") == "00 01 94 04 03 00 00 00 00"
    assert net.ask_outside(6, 0x38, b"\x0e\x04").hex(" ") == "00 01 14 04 00 00 00 00 00"


def test_capabilities_follow_the_settings() -> None:
    net = Net(INSECURE)
    user = net.bench.bmc.state.users.get(1)
    user.enabled = True
    user.access[1] = UserAccess(2, messaging=True)
    net.bench.bmc.lan.access.volatile.per_message_off = True
    net.bench.bmc.lan.access.volatile.user_level_off = True
    net.bench.bmc.lan.access.bmc_key = b"k" * 20
    assert net.ask_outside(6, 0x38, b"\x8e\x02").hex(" ") == "00 01 95 3f 03 00 00 00 00"
    user.password = b"x"
    assert net.ask_outside(6, 0x38, b"\x8e\x02")[3] == 0x3E


@pytest.mark.parametrize(
    ("data", "code"), [("0f 04", "cc"), ("02 04", "cc"), ("8e 00", "cc"), ("8e 06", "cc"), ("8e", "c7")]
)
def test_capabilities_refused(data: str, code: str) -> None:
    assert Net().ask_outside(6, 0x38, bytes.fromhex(data)).hex() == code


def test_in_band_the_lan_channel_has_to_be_named() -> None:
    bench = Bench()
    assert bench.ask(6, 0x38, b"\x81\x04")[0] == 0
    assert bench.ask(6, 0x38, b"\x8e\x04") == b"\xcc"


def test_cipher_suites_come_in_pages() -> None:
    net = Net(INSECURE)
    pages = [net.ask_outside(6, 0x54, bytes([0x0E, 0, 0x80 | index])) for index in range(6)]
    assert [len(page) for page in pages] == [18, 18, 18, 4, 2, 2]
    records = b"".join(page[2:] for page in pages)
    assert records[:10] == bytes.fromhex("c000004080 c001014080")
    assert [records[index + 1] for index in range(0, 50, 5)] == [0, 1, 2, 3, 6, 7, 8, 15, 16, 17]


def test_algorithms_in_use() -> None:
    assert Net().ask_outside(6, 0x54, b"\x0e\x00\x00") == bytes.fromhex("00 01 0103 4144 81")


def test_guids_are_the_node_s() -> None:
    net = Net()
    guid = UUID(SETTINGS.guid)
    assert net.ask_outside(6, 0x37) == b"\0" + guid.bytes_le
    assert admin(net).ask(6, 0x08) == b"\0" + guid.bytes[::-1]
    client = PlusClient(net)
    client.login()
    assert client.guid == guid.bytes_le


def test_levels() -> None:
    net = Net()
    client = PlusClient(net, role=3).login()
    assert client.ask(6, 0x3B, b"\x00") == b"\0\x02"
    assert client.ask(6, 0x3B, b"\x03") == b"\0\x03"
    assert client.ask(6, 0x3B, b"\x04") == b"\x81"
    assert client.ask(6, 0x3B, b"\x05") == b"\x80"
    assert client.ask(6, 0x3B, b"\x01") == b"\xcc"
    assert client.ask(6, 0x3B, b"\x00") == b"\0\x03"
    assert net.bench.ask(6, 0x3B, b"\x00", origin=IN_BAND) == b"\xd5"


def test_session_info() -> None:
    net = Net()
    first = admin(net, 1000)
    second = OldClient(net, peer=("2001:db8::1", 2000, 0, 0)).login()
    head = "00 01 3f 02 02 04 11"
    assert first.ask(6, 0x3D, b"\0").hex(" ") == f"{head} c0 00 02 07 00 00 00 00 00 00 e8 03"
    assert second.ask(6, 0x3D, b"\0").hex(" ") == "00 02 3f 02 02 02 01 " + bytes(10).hex(" ") + " d0 07"
    assert first.ask(6, 0x3D, b"\x02") == second.ask(6, 0x3D, b"\0")
    assert first.ask(6, 0x3D, b"\x03").hex(" ") == "00 00 3f 02"
    assert first.ask(6, 0x3D, b"\xfe\x02") == second.ask(6, 0x3D, b"\0")
    assert first.ask(6, 0x3D, b"\xfe\x09") == b"\xcb"
    assert first.ask(6, 0x3D, b"\xff" + struct.pack("<I", second.session)) == second.ask(6, 0x3D, b"\0")
    assert first.ask(6, 0x3D, b"\xff" + bytes(4)) == b"\xcb"
    assert first.ask(6, 0x3D, b"\xff") == b"\xc7"
    assert net.bench.ask(6, 0x3D, b"\0").hex(" ") == "00 00 3f 02"
    assert net.bench.ask(6, 0x3D, b"\x01") == first.ask(6, 0x3D, b"\0")


def test_a_mapped_address_is_an_ipv4_one() -> None:
    net = Net()
    client = PlusClient(net, peer=("::ffff:192.0.2.7", 9, 0, 0)).login()
    assert client.ask(6, 0x3D, b"\0")[7:11] == bytes([192, 0, 2, 7])


def test_another_s_session_is_closed_by_administrators() -> None:
    net = Net()
    victim = PlusClient(net, peer=("192.0.2.8", 1)).login()
    user = PlusClient(net).login()
    wanted = struct.pack("<I", victim.session)
    assert user.ask(6, 0x3C, wanted) == b"\xd4"
    assert admin(net).ask(6, 0x3C, wanted) == b"\0"
    assert admin(net).ask(6, 0x3C, wanted) == b"\x87"
    assert net.bench.ask(6, 0x3C, bytes(4) + b"\x63") == b"\x88"
    assert net.bench.ask(6, 0x3C, bytes(4) + b"\x02") == b"\0"


def test_login_commands_make_no_sense_in_band() -> None:
    bench = Bench()
    assert bench.ask(6, 0x39, b"\x02" + bytes(16)) == b"\xd5"
    assert bench.ask(6, 0x3A, bytes(22)) == b"\xd5"
    assert bench.ask(6, 0x3F, bytes(19)) == b"\xc1"
