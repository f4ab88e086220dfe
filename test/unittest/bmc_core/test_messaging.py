"""What waits for the host's software, and messages to other controllers."""

from __future__ import annotations

from typing import Any

import pytest
from bmc_bench import SETTINGS, Bench

from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.message import IN_BAND, Origin, Refused

ENABLES, CLEAR, FLAGS, RECEIVE, GET, SEND, READ_EVENT = 0x2E, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35
EVENT = bytes(range(16))


def app(bench: Bench, command: int, *data: int, origin: Origin = IN_BAND) -> bytes:
    return bench.ask(NetFn.APP, command, bytes(data), origin=origin)


def ipmb(address: int, netfn: int, command: int, *data: int, sequence: int = 5) -> bytes:
    head = bytes([address, netfn << 2])
    tail = bytes([0x20, sequence << 2, command, *data])
    return head + bytes([-sum(head) & 0xFF]) + tail + bytes([-sum(tail) & 0xFF])


def session(sent: list[Any]) -> Session:
    return Session(
        handle=1,
        session_id=7,
        user_id=2,
        channel=1,
        peer=("127.0.0.1", 9),
        privilege=Privilege.ADMINISTRATOR,
        privilege_limit=Privilege.ADMINISTRATOR,
        is_rmcp_plus=True,
        is_encrypted=True,
        send_payload=lambda kind, data: sent.append((kind, data)),
    )


def test_an_event_waits_in_its_buffer_and_raises_attention() -> None:
    bench = Bench()
    app(bench, ENABLES, 0x0E)
    bench.bmc.event_happened(EVENT)
    assert (bench.system_interface.attention, bench.system_interface.interrupt) == (True, True)
    assert app(bench, FLAGS) == b"\0\x02"
    assert app(bench, READ_EVENT) == b"\0" + EVENT
    assert not bench.system_interface.attention
    assert app(bench, READ_EVENT) == b"\x80"


def test_without_the_buffer_events_only_go_to_the_log() -> None:
    bench = Bench()
    bench.bmc.event_happened(EVENT)
    assert app(bench, FLAGS) == b"\0\0"


def test_flags_can_be_cleared() -> None:
    bench = Bench()
    app(bench, ENABLES, 0x0C)
    bench.bmc.event_happened(EVENT)
    assert bench.system_interface.attention
    assert not bench.system_interface.interrupt
    app(bench, CLEAR, 0x02)
    assert app(bench, FLAGS) == b"\0\0"
    assert not bench.system_interface.attention


def test_only_the_host_may_read_what_waits_for_it() -> None:
    lan = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR)
    for command in (ENABLES, CLEAR, FLAGS, GET, READ_EVENT):
        assert app(Bench(), command, 0x0F, origin=lan) == b"\xc1"


def behind(bench: Bench) -> None:
    """A controller at 2Ch that answers Get Device ID with one byte, 50h."""
    bench.engine.answers[(NetFn.APP, SEND)] = b""
    bench.engine.answers[(NetFn.APP, GET)] = bytes([0, 0x1C, 0xA0, 0x2C, 0x14, 0x01, 0x00, 0x50, 0x99])


def test_the_host_gets_an_answer_from_another_controller_in_its_queue() -> None:
    bench = Bench()
    behind(bench)
    assert app(bench, SEND, 0x00, *ipmb(0x2C, 6, 1)) == b"\0"
    bench.settle()
    answer = app(bench, GET)
    assert answer[:2] == b"\0\0"
    message = b"\x20" + answer[2:]
    assert sum(message[:3]) & 0xFF == 0
    assert sum(message[3:]) & 0xFF == 0
    assert message[1] == 0x1C
    assert message[3:8] == bytes([0x2C, 5 << 2, 0x01, 0x00, 0x50])
    assert app(bench, GET) == b"\x80"


def test_a_session_gets_it_as_a_message_of_its_own() -> None:
    bench = Bench()
    behind(bench)
    sent: list[Any] = []
    origin = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR, session(sent))
    assert app(bench, SEND, 0x40, *ipmb(0x2C, 6, 1), origin=origin) == b"\0"
    bench.settle()
    kind, message = sent[0]
    assert kind is PayloadType.IPMI
    assert message[0] == 0x20
    assert message[3:8] == bytes([0x2C, 5 << 2, 0x01, 0x00, 0x50])


def test_a_user_does_not_reach_other_controllers() -> None:
    bench = Bench()
    behind(bench)
    sent: list[Any] = []
    user = Origin(SETTINGS.main_channel, Privilege.USER, session(sent))
    assert app(bench, SEND, 0x40, *ipmb(0x2C, 6, 1), origin=user) == b"\xd4"
    assert not bench.engine.asked
    operator = Origin(SETTINGS.main_channel, Privilege.OPERATOR, session(sent))
    assert app(bench, SEND, 0x40, *ipmb(0x2C, 6, 1), origin=operator) == b"\0"
    bench.settle()
    assert sent


def test_a_session_writes_to_the_hosts_software_and_is_answered() -> None:
    bench = Bench()
    sent: list[Any] = []
    caller = session(sent)
    caller.privilege = Privilege.USER
    origin = Origin(SETTINGS.main_channel, Privilege.USER, caller)
    request = ipmb(0x20, 6, 1)
    assert app(bench, SEND, 0x0F, *request, origin=origin) == b"\0"
    assert bench.system_interface.attention
    assert not bench.engine.asked
    assert app(bench, GET) == b"\0" + bytes([0x21, caller.handle]) + request
    assert app(bench, SEND, 0x0F, *request[:-1], request[-1] ^ 1, origin=origin) == b"\xcc"
    caller.privilege = Privilege.CALLBACK
    assert app(bench, SEND, 0x0F, *request, origin=origin) == b"\xd4"


def test_the_hosts_software_writes_to_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    sent: list[Any] = []
    caller = session(sent)
    monkeypatch.setattr(
        bench.bmc.sessions, "by_handle", lambda handle: caller if handle == caller.handle else None
    )
    answer = ipmb(0x81, 7, 1, 0, 0x50)
    assert app(bench, SEND, 1, caller.handle, *answer) == b"\0"
    assert sent == [(PayloadType.IPMI, answer)]
    assert app(bench, SEND, 1, caller.handle + 1, *answer) == b"\x80"
    assert app(bench, SEND, 1, caller.handle, *answer[:-1], answer[-1] ^ 1) == b"\xcc"
    lan = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR, caller)
    assert app(bench, SEND, 1, caller.handle, *answer, origin=lan) == b"\xd3"
    assert len(sent) == 1


def test_the_host_chooses_whose_messages_it_gets() -> None:
    bench = Bench()
    bench.engine.answers[(NetFn.APP, GET)] = bytes([0, 0x1C, 0, 0x2C, 0x14, 1, 0, 0x20, 0])
    lan = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR, session([]))
    assert app(bench, RECEIVE, 0, 2) == b"\0\0\1"
    assert app(bench, RECEIVE, 0, 0) == b"\0\0\0"
    assert app(bench, SEND, 0, *ipmb(0x2C, 6, 1)) == b"\0"
    bench.settle()
    assert app(bench, GET) == b"\x80"
    assert app(bench, SEND, 0x0F, *ipmb(0x20, 6, 1), origin=lan) == b"\0", "another channel"
    assert app(bench, RECEIVE, 1, 0) == b"\0\1\0"
    assert app(bench, SEND, 0x0F, *ipmb(0x20, 6, 1), origin=lan) == b"\xd3"
    assert app(bench, GET)[0] == 0
    assert app(bench, RECEIVE, 0, 1) == b"\0\0\1"
    assert app(bench, SEND, 0, *ipmb(0x2C, 6, 1)) == b"\0"
    bench.settle()
    assert app(bench, GET)[0] == 0
    bench.bmc.reset(cold=True)
    assert app(bench, RECEIVE, 1, 2) == b"\0\1\1"
    assert app(bench, RECEIVE, 0, 3) == b"\xcc"
    assert app(bench, RECEIVE, 5, 1) == b"\xcc", "no such channel"
    assert app(bench, RECEIVE, 0, 2, origin=lan) == b"\xc1", "only the host asks"


def test_a_queue_that_is_full_is_said_so() -> None:
    bench = Bench()
    origin = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR, session([]))
    codes = [app(bench, SEND, 0x0F, *ipmb(0x20, 6, 1), origin=origin) for _each in range(33)]
    assert codes == [b"\0"] * 32 + [b"\xc0"]
    app(bench, CLEAR, 0x01)
    assert app(bench, SEND, 0x0F, *ipmb(0x20, 6, 1), origin=origin) == b"\0"


def test_of_a_controller_that_is_not_there_is_said_so_at_once() -> None:
    bench = Bench()
    bench.engine.answers[(NetFn.APP, SEND)] = Refused(0x83)
    assert app(bench, SEND, 0x00, *ipmb(0x2E, 6, 1)) == b"\x83", "NAK on Write"
    bench.settle()
    assert app(bench, GET) == b"\x80"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes([0x05]) + ipmb(0x2C, 6, 1), 0xCC),
        (bytes([0x0F]) + ipmb(0x2C, 6, 1), 0xD3),
        (bytes([0x01, 0x01]) + ipmb(0x81, 7, 1), 0x80),
        (bytes([0x00, 1, 2]), 0xC7),
        (bytes([0x00]) + ipmb(0x2C, 6, 1)[:-1] + b"\0", 0xCC),
    ],
)
def test_what_cannot_be_passed_on_is_refused(data: bytes, code: int) -> None:
    assert app(Bench(), SEND, *data) == bytes([code])
