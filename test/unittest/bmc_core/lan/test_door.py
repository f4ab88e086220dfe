"""The LAN door from outside: logins, requests, what is refused and what is dropped."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from bmc_bench import SETTINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lan_client import INSECURE, PEER, RMCP, SUITES, LoginFailed, Net, OldClient, PlusClient, message, plus

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.lan.door import LanDoor
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.users import UserAccess

STATUS = (0, 1)
GET_DEVICE_ID = (6, 1)


def refusal(login: Callable[[], object]) -> int:
    with pytest.raises(LoginFailed) as caught:
        login()
    return caught.value.status


def add_user(net: Net, *, name: bytes = b"bob", password: bytes = b"pw", limit: int = 3) -> None:
    user = net.bench.bmc.state.users.get(3)
    user.name, user.password, user.enabled = name, password, True
    user.access[1] = UserAccess(limit, messaging=True)


# --- login, RMCP+


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_works_where_all_are_allowed(suite: int) -> None:
    client = PlusClient(Net(INSECURE), suite).login()
    if suite:
        assert client.bmc_knows_password
    assert client.ask(*STATUS)[0] == 0
    assert client.ask(*STATUS)[0] == 0


@pytest.mark.parametrize("suite", [0, 1, 2, 6, 7, 8, 15, 16])
def test_only_3_and_17_are_allowed_by_default(suite: int) -> None:
    assert refusal(PlusClient(Net(), suite).login) in (0x04, 0x05, 0x11)


def test_suite_0_takes_more_than_a_place_in_the_list() -> None:
    net = Net(replace(SETTINGS, cipher_suites=(0, 3)))
    assert refusal(PlusClient(net, 0).login) == 0x11


def test_an_unknown_algorithm_is_named() -> None:
    client = PlusClient(Net())
    for algorithms, status in (((9, 1, 1), 0x04), ((1, 9, 1), 0x05), ((1, 1, 9), 0x10), ((3, 1, 1), 0x11)):
        client.authentication, client.integrity, client.confidentiality = algorithms
        assert refusal(client.open_session) == status


def test_an_answer_leaves_before_what_is_not_part_of_it() -> None:
    net = Net()
    sessions, begun = net.bench.bmc.sessions, []

    def send(datagram: bytes, peer: object) -> None:
        begun.append((sessions.logins, len(sessions)))
        net.sent.append((datagram, peer))

    net.door = LanDoor(net.bench.bmc, send, net.deferred.append)
    PlusClient(net).login()
    assert begun == [(0, 0), (1, 0), (1, 0)]
    assert (sessions.logins, len(sessions)) == (0, 1)


def test_the_bmc_chooses_what_is_left_open() -> None:
    wild = b"".join(bytes([kind]) + bytes(7) for kind in range(3))
    answer = Net().one(plus(0x10, 0, 0, bytes([1, 0, 0, 0, 1, 2, 3, 4]) + wild))
    assert answer[16:19] == bytes([1, 0, 4])
    assert answer[16 + 12 :] == bytes.fromhex("0000000803000000 0100000804000000 0200000801000000")


@pytest.mark.parametrize(("asked", "told"), [(0, 4), (2, 2), (4, 4)])
def test_the_level_is_told_as_asked_or_the_highest(asked: int, told: int) -> None:
    client = PlusClient(Net(), role=asked)
    client.open_session()
    assert client.limit == told


def test_unknown_names_and_wrong_passwords_are_answered_at_once() -> None:
    net = Net()
    assert refusal(PlusClient(net, name=b"nobody").login) == 0x0D
    assert refusal(PlusClient(net, name=b"").login) == 0x0D
    client = PlusClient(net, password=b"wrong")
    assert refusal(client.login) == 0x0F
    assert not client.bmc_knows_password
    assert net.bench.bmc.sessions.logins == 0


def test_a_console_that_gives_up_is_forgotten() -> None:
    net = Net()
    client = PlusClient(net)
    client.open_session()
    client.rakp_1()
    body = bytes([0x55, 0x0F, 0, 0]) + struct.pack("<I", client.session)
    assert net.send(plus(0x14, 0, 0, body)) == []
    assert net.bench.bmc.sessions.logins == 0


def test_the_level_of_a_user_limits_the_login() -> None:
    net = Net()
    add_user(net)
    assert refusal(PlusClient(net, name=b"bob", password=b"pw").login) == 0x0A
    client = PlusClient(net, name=b"bob", password=b"pw", role=3).login()
    assert client.ask(6, 0x3B, b"\x04") == b"\x80"
    assert client.ask(6, 0x3B, b"\x03") == b"\x00\x03"


@pytest.mark.parametrize("by_name", [True, False])
def test_role_0_is_the_most_a_user_may_be(by_name: bool) -> None:
    net = Net()
    add_user(net)
    client = PlusClient(net, name=b"bob", password=b"pw", role=0, by_name=by_name).login()
    assert client.ask(6, 0x3B, b"\x03") == b"\x00\x03"
    assert client.ask(6, 0x3B, b"\x04") == b"\x80"


def test_a_session_begins_as_user() -> None:
    client = PlusClient(Net()).login()
    assert client.ask(6, 0x3B, b"\0") == b"\x00\x02"
    assert client.ask(0, 2, b"\x01") == b"\xd4"
    client.ask(6, 0x3B, b"\x04")
    assert client.ask(0, 2, b"\x01") == b"\x00"


def test_a_disabled_user_cannot_log_in() -> None:
    net = Net()
    add_user(net)
    user = net.bench.bmc.state.users.get(3)
    user.enabled = False
    assert refusal(PlusClient(net, name=b"bob", password=b"pw", role=3).login) == 0x0D
    user.enabled = True
    user.access[1].messaging = False
    assert refusal(PlusClient(net, name=b"bob", password=b"pw", role=3).login) == 0x0D


@pytest.mark.parametrize("suite", [3, 17])
def test_passwords_of_20_bytes(suite: int) -> None:
    net = Net()
    add_user(net, password=b"0123456789abcdefghij")
    net.bench.bmc.state.users.get(3).long_password = True
    PlusClient(net, suite, name=b"bob", password=b"0123456789abcdefghij", role=3).login()
    assert refusal(PlusClient(net, suite, name=b"bob", password=b"0123456789abcdef", role=3).login) == 0x0F
    assert refusal(lambda: OldClient(net, name=b"bob", password=b"0123456789abcdef", role=3).login()) == 0x81


def test_k_g_takes_part_in_the_login() -> None:
    net = Net()
    net.bench.bmc.lan.access.bmc_key = b"k" * 20
    assert PlusClient(net, 17, key=b"k" * 20).login().ask(*STATUS)[0] == 0
    with pytest.raises(AssertionError):
        PlusClient(net).login()


def test_nameless_users_only_where_insecure() -> None:
    for secure, status in ((SETTINGS, 0x0D), (INSECURE, 0)):
        net = Net(secure)
        user = net.bench.bmc.state.users.get(1)
        user.enabled = True
        user.access[1] = UserAccess(Privilege.USER, messaging=True)
        client = PlusClient(net, name=b"", password=b"", role=2, by_name=False)
        if status:
            assert refusal(client.login) == status
        else:
            client.login()


def test_lost_answers_of_a_login_are_sent_again() -> None:
    net = Net()
    client = PlusClient(net)
    client.open_session()
    rakp_2 = client.rakp_1()
    assert client.rakp_1() == rakp_2
    client.rakp_3(rakp_2)
    client.rakp_3(rakp_2)
    assert len(net.bench.bmc.sessions) == 1
    assert client.ask(*STATUS)[0] == 0


def test_another_peer_cannot_take_a_login_over() -> None:
    net = Net()
    client = PlusClient(net)
    client.open_session()
    client.peer = ("198.51.100.1", 1)
    assert refusal(client.rakp_1) == 0x02


def test_a_user_is_locked_out_for_a_while() -> None:
    net = Net(replace(SETTINGS, lockout_failures=2, lockout_s=30.0))
    for _ in range(2):
        assert refusal(PlusClient(net, password=b"no").login) == 0x0F
    assert refusal(PlusClient(net).login) == 0x0D
    assert refusal(lambda: OldClient(net).login()) == 0x81
    net.bench.clock.advance(31)
    PlusClient(net).login()


def test_a_login_that_ends_before_a_password_was_given_is_no_failure() -> None:
    """A lost packet looks the same as a client that has found the passwords to differ."""
    net = Net(replace(SETTINGS, lockout_failures=1))
    for _ in range(3):
        client = PlusClient(net, password=b"no")
        client.open_session()
        client.rakp_1()
        net.bench.clock.advance(6)
    PlusClient(net).login()


def test_a_client_that_says_why_it_gives_up_has_failed() -> None:
    net = Net(replace(SETTINGS, lockout_failures=1))
    client = PlusClient(net, password=b"no")
    client.open_session()
    body = client.rakp_3_body(client.rakp_1())
    assert net.send(plus(0x14, 0, 0, body[:1] + b"\x0f\0\0" + body[4:8])) == []
    assert refusal(PlusClient(net).login) == 0x0D


def test_success_forgets_failures() -> None:
    net = Net(replace(SETTINGS, lockout_failures=2))
    for _ in range(3):
        assert refusal(PlusClient(net, password=b"no").login) == 0x0F
        PlusClient(net).login()


def test_no_lock_out_unless_configured() -> None:
    net = Net()
    for _ in range(20):
        assert refusal(PlusClient(net, password=b"no").login) == 0x0F
    PlusClient(net).login()


def set_lan_parameter(net: Net, number: int, data: str) -> None:
    assert net.bench.ask(0x0C, 1, bytes([1, number]) + bytes.fromhex(data)) == b"\0"


def test_a_lock_out_without_end_is_ended_by_an_administrator(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    events: list[dict[str, object]] = []
    monkeypatch.setattr(net.bench.bmc, "log_event", lambda **event: events.append(event))
    set_lan_parameter(net, 26, "01 02 0000 0000")
    for _ in range(2):
        assert events == []
        assert refusal(PlusClient(net, password=b"no").login) == 0x0F
    assert [(each["sensor_type"], each["data"]) for each in events] == [(0x2A, b"\xf3\x02\x01")]
    net.bench.clock.advance(100_000)
    assert refusal(PlusClient(net).login) == 0x0D
    assert net.bench.ask(6, 0x47, b"\x02\x01") == b"\0"
    PlusClient(net).login()


def test_failures_long_ago_are_not_counted() -> None:
    net = Net()
    set_lan_parameter(net, 26, "00 02 0100 0100")
    for _ in range(4):
        assert refusal(PlusClient(net, password=b"no").login) == 0x0F
        net.bench.clock.advance(11)
    PlusClient(net).login()


def test_a_suite_has_its_own_limit() -> None:
    net = Net()
    set_lan_parameter(net, 24, "00 00 20 00 00 00 00 00 30")
    assert refusal(PlusClient(net, 3).login) == 0x0A
    assert refusal(PlusClient(net, 17).login) == 0x0A
    PlusClient(net, 3, role=2).login()
    assert PlusClient(net, 17, role=0).login().limit == 3
    set_lan_parameter(net, 24, "00 00 00 00 00 00 00 00 30")
    assert refusal(PlusClient(net, 3, role=2).login) == 0x04
    assert net.ask_outside(6, 0x54, b"\x0e\x00\x80") == bytes.fromhex("00 01 c011034481")


def test_authentication_types_can_be_taken_away() -> None:
    net = Net()
    set_lan_parameter(net, 2, "14 14 14 04 00")
    assert net.ask_outside(6, 0x38, b"\x0e\x04")[2] == 0x04
    assert net.ask_outside(6, 0x38, b"\x0e\x03")[2] == 0x14
    assert refusal(lambda: OldClient(net, 4).login()) == 0x86
    OldClient(net, 4, role=3).login()
    set_lan_parameter(net, 2, "04 04 04 04 00")
    assert refusal(lambda: OldClient(net, 4).login()) == 0xCC


def test_packets_are_counted() -> None:
    net = Net()
    net.send(b"rubbish")
    PlusClient(net).login().ask(*STATUS)
    counted = net.bench.bmc.lan.statistics
    assert (counted.udp_packets_received, counted.rmcp_packets_received, counted.ip_packets_sent) == (5, 4, 4)


# --- login, IPMI 1.5


@pytest.mark.parametrize("kind", [2, 4])
def test_ipmi_1_5(kind: int) -> None:
    client = OldClient(Net(), kind).login()
    for _ in range(20):
        assert client.ask(*STATUS)[0] == 0
    assert client.ask(6, 0x3B, b"\x04") == b"\x00\x04"


def test_no_authentication_only_where_insecure() -> None:
    assert refusal(lambda: OldClient(Net(), 0).login()) == 0xCC
    assert OldClient(Net(INSECURE), 0).login().ask(*STATUS)[0] == 0


@pytest.mark.parametrize("kind", [2, 4])
def test_a_wrong_password_of_ipmi_1_5_is_answered(kind: int) -> None:
    net = Net()
    assert refusal(lambda: OldClient(net, kind, password=b"wrong").login()) == 0xD4
    assert len(net.bench.bmc.sessions) == net.bench.bmc.sessions.logins == 0


def test_the_answer_to_a_wrong_password_tells_nothing() -> None:
    net = Net()
    client = OldClient(net, 4, password=b"wrong")
    got = net.one(client.activation(client.challenge()))
    assert b"admin" not in got


def test_unknown_names_of_ipmi_1_5() -> None:
    assert refusal(lambda: OldClient(Net(), name=b"nobody").login()) == 0x81
    assert refusal(lambda: OldClient(Net(), name=b"").login()) == 0x82


def test_a_level_too_high_for_the_user() -> None:
    net = Net()
    add_user(net)
    assert refusal(lambda: OldClient(net, name=b"bob", password=b"pw").login()) == 0x86


def test_a_wrong_challenge_is_refused() -> None:
    net = Net()
    client = OldClient(net)
    client.challenge()
    got = net.one(client.activation(bytes(16)))
    assert client.payload(got)[6] == 0x85


def test_a_lost_activation_answer_is_sent_again() -> None:
    net = Net()
    client = OldClient(net)
    activation = client.activation(client.challenge())
    assert net.one(activation) == net.one(activation)
    assert len(net.bench.bmc.sessions) == 1


def test_packets_need_a_code_unless_the_channel_says_so() -> None:
    net = Net()
    client = OldClient(net).login()
    request = message(*STATUS)
    assert net.send(client.seal(request, kind=0)) == []
    net.bench.bmc.lan.access.volatile.user_level_off = True
    assert client.ask(*STATUS, kind=0)[0] == 0
    assert net.send(client.seal(message(0, 2, b"\x01"), kind=0)) == []
    net.bench.bmc.lan.access.volatile.per_message_off = True
    assert client.ask(0, 2, b"\x01", kind=0) == b"\xd4"


def test_a_wrong_code_is_dropped() -> None:
    net = Net()
    client = OldClient(net).login()
    good = client.seal(message(*STATUS))
    for place in range(5, 29):
        assert net.send(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]) == []
    assert len(net.send(good)) == 1


# --- in a session


def test_packets_without_protection_are_dropped() -> None:
    net = Net()
    client = PlusClient(net).login()
    request = message(*STATUS)
    assert net.send(plus(0, client.session, 1, request)) == []
    client.confidentiality = 0
    assert net.send(client.seal(request)) == []
    client.confidentiality, client.integrity = 1, 0
    assert net.send(client.seal(request)) == []
    client.integrity = 1
    assert len(net.send(client.seal(request))) == 1


def test_changed_packets_are_dropped() -> None:
    net = Net()
    client = PlusClient(net).login()
    good = client.seal(message(*STATUS))
    for place in range(5, len(good)):
        assert net.send(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]) == []
    assert len(net.send(good)) == 1


def test_another_peer_has_no_part_in_a_session() -> None:
    net = Net()
    client = PlusClient(net).login()
    assert net.send(client.seal(message(*STATUS)), ("198.51.100.1", 1)) == []


def test_a_repeated_packet_gets_the_same_answer_and_is_not_done_again() -> None:
    net = Net()
    client = PlusClient(net).login()
    client.ask(6, 0x3B, b"\x04")
    order = client.seal(message(0, 2, b"\x01"))
    assert net.one(order) == net.one(order)
    assert net.bench.chassis.orders == ["on"]


@pytest.mark.parametrize("again", ["same packet", "new packet"])
def test_a_request_that_waits_is_not_asked_again(again: str) -> None:
    net = Net()
    client = PlusClient(net).login()
    request = message(*GET_DEVICE_ID, sequence=5)
    first = client.seal(request)
    net.door.receive(first, PEER)
    net.door.receive(first if again == "same packet" else client.seal(request), PEER)
    assert len(net.answers()) == 1
    assert len(net.bench.engine.asked) == 1
    assert len(net.send(client.seal(request))) == 1


def test_others_are_answered_while_one_waits() -> None:
    net = Net()
    client = PlusClient(net).login()
    net.door.receive(client.seal(message(*GET_DEVICE_ID)), PEER)
    net.door.receive(client.seal(message(*STATUS)), PEER)
    assert len(net.sent) == 1
    assert len(net.answers()) == 2


def test_too_many_waiting_requests_find_the_bmc_busy() -> None:
    net = Net()
    client = PlusClient(net).login()
    for number in range(40):
        net.door.receive(client.seal(message(*GET_DEVICE_ID, sequence=number)), PEER)
    assert len(net.deferred) == 16
    kind, _, payload = client.open(net.sent[0][0])
    assert (kind, payload[6]) == (0, 0xC0)
    assert len(net.answers()) == 40


def test_an_answer_for_a_session_that_ended_goes_nowhere() -> None:
    net = Net()
    client = PlusClient(net).login()
    net.door.receive(client.seal(message(*GET_DEVICE_ID)), PEER)
    net.door.forget_all()
    assert net.answers() == []


def test_the_code_of_the_engine_arrives() -> None:
    net = Net()
    net.bench.engine.answers[GET_DEVICE_ID] = Refused(0xC3)
    assert PlusClient(net).login().ask(*GET_DEVICE_ID) == b"\xc3"


def test_a_handler_with_a_bug_answers_unspecified(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    client = PlusClient(net).login()

    def fail(*_: object) -> bytes:
        raise RuntimeError("bug")

    monkeypatch.setattr(net.bench.bmc, "answer", fail)
    assert client.ask(*STATUS) == b"\xff"


def test_sessions_close() -> None:
    net = Net()
    client = PlusClient(net).login()
    assert client.ask(6, 0x3C, struct.pack("<I", client.session)) == b"\0"
    assert len(net.bench.bmc.sessions) == 0
    assert net.send(client.seal(message(*STATUS))) == []


def test_sessions_end_when_they_are_idle() -> None:
    net = Net()
    client = PlusClient(net).login()
    for _ in range(3):
        net.bench.clock.advance(50)
        assert client.ask(*STATUS)[0] == 0
    net.bench.clock.advance(63)
    assert len(net.bench.bmc.sessions) == 0
    assert net.bench.clock.timers == []


def test_the_number_of_sessions_is_limited() -> None:
    net = Net()
    for number in range(63):
        PlusClient(net, peer=("192.0.2.9", number)).login()
    assert refusal(PlusClient(net).login) == 0x01
    assert refusal(lambda: OldClient(net).login()) == 0x81


def test_a_user_may_have_a_session_limit() -> None:
    net = Net()
    net.bench.bmc.state.users.get(2).session_limit = 1
    PlusClient(net).login()
    assert refusal(PlusClient(net).login) == 0x0B
    assert refusal(lambda: OldClient(net).login()) == 0x82


def test_sol_payloads_go_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    client = PlusClient(net).login()
    [session] = net.bench.bmc.sessions
    got: list[tuple[Session, bytes]] = []
    monkeypatch.setattr(net.bench.bmc.sol, "receive", lambda *both: got.append(both))
    assert net.send(client.seal(b"keys", 1)) == []
    assert got == [(session, b"keys")]
    session.send_payload(PayloadType.SOL, b"text")
    [answer] = net.answers()
    assert client.open(answer)[::2] == (1, b"text")


def test_a_payload_whose_encryption_is_suspended_is_plain_and_signed() -> None:
    net = Net()
    client = PlusClient(net).login()
    [session] = net.bench.bmc.sessions
    session.plain_payloads = frozenset((PayloadType.SOL,))
    session.send_payload(PayloadType.SOL, b"text")
    [answer] = net.answers()
    assert b"text" in answer
    assert client.open(answer, is_plain=True)[::2] == (1, b"text")
    assert client.ask(*STATUS)[0] == 0, "messages are encrypted all the same"


def test_a_closed_channel_is_silent() -> None:
    net = Net()
    client = PlusClient(net).login()
    net.bench.bmc.lan.access.volatile.mode = type(net.bench.bmc.lan.access.volatile.mode)(0)
    assert net.send(client.seal(message(*STATUS))) == []
    net.door.forget_all()
    assert PlusClient(net).login().ask(*STATUS)[0] == 0


# --- outside of sessions


def test_each_format_is_answered_in_its_own() -> None:
    net = Net()
    request = message(6, 0x54, b"\x0e\x00\x80")
    new = net.one(plus(0, 0, 0, request))
    old = net.one(RMCP + bytes(9) + bytes([len(request)]) + request)
    assert new[:14] == RMCP + b"\x06" + bytes(9)
    assert new[16:] == old[14:]
    assert old[14 + 6 : -1] == bytes.fromhex("00 01 c003014181 c011034481")


@pytest.mark.parametrize(("netfn", "command"), [(0, 1), (6, 1), (6, 0x44), (0x0A, 0x43), (6, 0x3B)])
def test_most_commands_need_a_session(netfn: int, command: int) -> None:
    assert Net().ask_outside(netfn, command) == b"\xd4"


def test_pings() -> None:
    net = Net()
    ping = bytes.fromhex("0600ff06000011be80420000")
    assert net.one(ping)[9] == 0x42
    acknowledge, pong = net.send(ping[:2] + b"\x05" + ping[3:])
    assert acknowledge == bytes.fromhex("06000586")
    assert pong[8] == 0x40


# --- anything at all


FUZZ = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
BEGINNINGS = [
    b"",
    RMCP,
    RMCP + bytes(9),
    RMCP + b"\x06",
    *(RMCP + bytes([6, kind]) + bytes(8) for kind in (0, 1, 0x10, 0x12, 0x14, 0xC0)),
]


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(BEGINNINGS), st.binary(max_size=90)), max_size=20))
def test_nothing_breaks_the_door(pieces: list[tuple[bytes, bytes]]) -> None:
    net = Net()
    client = PlusClient(net).login()
    for start, rest in pieces:
        answers = net.send(start + rest)
        assert len(answers) <= 2
    assert client.ask(*STATUS)[0] == 0
    assert len(net.bench.bmc.sessions) == 1


@FUZZ
@given(st.sampled_from([0x10, 0x12, 0x14]), st.binary(max_size=64))
def test_nothing_breaks_a_login(kind: int, body: bytes) -> None:
    net = Net()
    client = PlusClient(net)
    client.open_session()
    body = body[:4] + struct.pack("<I", client.session) + body[8:]
    for answer in net.send(plus(kind, 0, 0, body)):
        assert answer[:6] == RMCP + bytes([6, kind + 1])
        assert struct.unpack("<H", answer[14:16])[0] == len(answer) - 16
    assert len(net.bench.bmc.sessions) == 0


@FUZZ
@given(st.binary(max_size=60), st.sampled_from([0, 1, 2, 0x3F]))
def test_nothing_breaks_a_session(payload: bytes, kind: int) -> None:
    net = Net()
    client = PlusClient(net).login()
    assert len(net.send(client.seal(payload, kind))) <= 1
    assert client.ask(*STATUS)[0] == 0


def test_an_ipmi_1_5_session_gets_messages_that_come_later() -> None:
    """The answers of controllers behind this one; there is no other payload in that format."""
    net = Net()
    client = OldClient(net).login()
    [session] = net.bench.bmc.sessions
    later = message(6, 0x01)
    session.send_payload(PayloadType.IPMI, later)
    [got] = net.answers()
    assert client.payload(got) == later
    assert got[13:29] == client.code(2, struct.unpack("<I", got[5:9])[0], later)
    session.send_payload(PayloadType.SOL, b"text")
    assert net.answers() == []
    client.outbound += 1
    assert client.ask(*STATUS)[0] == 0


# --- the host's software


def test_what_is_for_the_hosts_software_waits_for_it_and_it_answers() -> None:
    net = Net()
    client = PlusClient(net).login()
    asked = message(6, 1, b"\x55", sequence=9, lun=2)
    assert net.send(client.seal(asked)) == [], "who answers is the host"
    taken = net.bench.ask(6, 0x33)
    handle = net.bench.bmc.sessions.by_handle(taken[2])
    assert handle is not None
    assert taken[1] == 0x21, "a session that begins is a user's; channel 1"
    assert taken[3:] == asked
    head, tail = bytes([0x81, 7 << 2]), bytes([0x20, 9 << 2 | 2, 1, 0, 0x77])
    answer = head + bytes([-sum(head) & 0xFF]) + tail + bytes([-sum(tail) & 0xFF])
    assert net.bench.ask(6, 0x34, bytes([1, taken[2]]) + answer) == b"\0"
    [datagram] = net.answers()
    kind, _, payload = client.open(datagram)
    assert (kind, payload) == (0, answer)


def test_a_queue_without_room_is_answered() -> None:
    net = Net()
    client = PlusClient(net).login()
    for sequence in range(32):
        assert net.send(client.seal(message(6, 1, sequence=sequence, lun=2))) == []
    _, _, payload = client.open(net.one(client.seal(message(6, 1, sequence=40, lun=2))))
    assert payload[6:-1] == b"\xc0"


@pytest.mark.parametrize("lun", [1, 3])
def test_the_other_luns_have_no_commands_but_those_about_sensors(lun: int) -> None:
    net = Net()
    client = PlusClient(net).login()
    _, _, payload = client.open(net.one(client.seal(message(6, 1, sequence=9, lun=lun))))
    assert payload[6:-1] == b"\xc2"
    net.bench.engine.answers[(4, 0x2D)] = b"\x19\xc0\0\0"
    _, _, payload = client.open(net.one(client.seal(message(4, 0x2D, b"\x30", sequence=10, lun=lun))))
    assert payload[6:-1] == b"\0\x19\xc0\0\0"
    _, _, payload = client.open(net.one(client.seal(message(4, 0x01, sequence=11, lun=lun))))
    assert payload[6:-1] == b"\xc2"
