"""The tables of sessions stay small, whatever comes."""

from __future__ import annotations

import gc
import struct
import tracemalloc

from lan_client import Net, OldClient, PlusClient, plus

from infrasim.bmc_core.lan.link import Link
from infrasim.bmc_core.lan.session import Session

OPEN = bytes.fromhex("0000000001020304 0000000801000000 0100000801000000 0200000801000000")


def open_and_close(net: Net, times: int) -> None:
    for number in range(times):
        client = PlusClient(net, peer=("192.0.2.1", number)).login()
        assert client.ask(6, 0x3C, struct.pack("<I", client.session)) == b"\0"
        old = OldClient(net).login()
        assert old.ask(6, 0x3C, struct.pack("<I", old.session)) == b"\0"


def test_sessions_that_come_and_go_leave_nothing() -> None:
    net = Net()
    open_and_close(net, 100)
    gc.collect()
    before = sum(isinstance(each, (Link, Session)) for each in gc.get_objects())
    tracemalloc.start()
    gc.disable()
    open_and_close(net, 1000)
    after, _ = tracemalloc.get_traced_memory()
    gc.enable()
    tracemalloc.stop()
    assert len(net.bench.bmc.sessions) == net.bench.bmc.sessions.logins == 0
    assert sum(isinstance(each, (Link, Session)) for each in gc.get_objects()) == before
    assert after < 300_000
    net.bench.clock.advance(70)
    assert net.bench.clock.timers == []


def test_a_flood_of_logins_is_forgotten() -> None:
    net = Net()
    client = PlusClient(net).login()
    for number in range(5000):
        net.send(plus(0x10, 0, 0, OPEN), ("198.51.100.2", number))
        net.ask_outside(6, 0x39, b"\x02" + b"admin".ljust(16, b"\0"))
    assert net.bench.bmc.sessions.logins <= 512
    assert len([each for each in net.bench.clock.timers if not each.cancelled]) == 1
    assert client.ask(0, 1)[0] == 0
    PlusClient(net).login()
    net.bench.clock.advance(6)
    assert net.bench.bmc.sessions.logins == 0


def test_a_login_that_takes_too_long_fails() -> None:
    net = Net()
    client = PlusClient(net)
    client.open_session()
    net.bench.clock.time_s += 5.5
    assert client.exchange(0x12, bytes([1, 0, 0, 0]) + struct.pack("<I", client.session) + bytes(20))[1] == 2


def test_a_flood_of_wrong_passwords_leaves_nothing() -> None:
    net = Net()
    for _ in range(300):
        client = PlusClient(net, password=b"wrong")
        client.open_session()
        client.exchange(0x14, client.rakp_3_body(client.rakp_1()))
    assert net.bench.bmc.sessions.logins == 0


def test_handles_are_used_again() -> None:
    net = Net()
    first, second = (PlusClient(net, peer=("192.0.2.1", number)).login() for number in (1, 2))
    assert [each.handle for each in net.bench.bmc.sessions] == [1, 2]
    first.ask(6, 0x3C, struct.pack("<I", first.session))
    PlusClient(net).login()
    assert sorted(each.handle for each in net.bench.bmc.sessions) == [1, 2]
    assert second.ask(0, 1)[0] == 0
