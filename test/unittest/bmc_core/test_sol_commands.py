"""Commands about payloads, and SOL's configuration parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bmc_bench import SETTINGS, Bench

from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.message import IN_BAND, Origin
from infrasim.bmc_core.state import BmcState
from infrasim.jsonform import as_json, from_json

ACTIVATE = bytes([1, 1, 0xC0, 0, 0, 0])
DEACTIVATE = bytes([1, 1, 0, 0, 0, 0])
ANSWER = bytes.fromhex("00 00000000 ff00 ff00 6f02 ffff")
DEACTIVATED = b"\x00\x00\x00\x10"


class Client:
    """A LAN session and the SOL packets it got."""

    def __init__(
        self, bench: Bench, *, number: int = 1, privilege: Privilege = Privilege.ADMINISTRATOR
    ) -> None:
        self.bench = bench
        self.got: list[bytes] = []
        # What a new BMC writes of its own accord does not count.
        bench.changes = 0
        self.session = Session(
            handle=number,
            session_id=0x0A0B0C00 + number,
            user_id=2,
            channel=SETTINGS.main_channel,
            peer=("127.0.0.1", 40000 + number),
            privilege=privilege,
            privilege_limit=privilege,
            is_rmcp_plus=True,
            is_encrypted=True,
            send_payload=self._take,
        )

    def _take(self, kind: PayloadType, data: bytes) -> None:
        assert kind == PayloadType.SOL
        self.got.append(data)

    def ask(self, command: int, data: bytes, *, netfn: int = NetFn.APP) -> bytes:
        origin = Origin(SETTINGS.main_channel, self.session.privilege, self.session)
        return self.bench.ask(netfn, command, data, origin=origin)


def test_activation_tells_sizes_and_port() -> None:
    client = Client(Bench())
    assert client.ask(0x48, ACTIVATE) == ANSWER
    assert client.bench.bmc.sol.session is client.session


def test_the_same_session_may_ask_again() -> None:
    client = Client(Bench())
    client.ask(0x48, ACTIVATE)
    assert client.ask(0x48, ACTIVATE) == ANSWER


def test_another_session_has_it() -> None:
    bench = Bench()
    Client(bench).ask(0x48, ACTIVATE)
    assert Client(bench, number=2).ask(0x48, ACTIVATE) == b"\x80"


@pytest.mark.parametrize("data", [bytes([2, 1, 0xC0, 0, 0, 0]), bytes([1, 2, 0xC0, 0, 0, 0])])
def test_there_is_one_payload_with_one_instance(data: bytes) -> None:
    assert Client(Bench()).ask(0x48, data) == b"\xcc"
    assert Client(Bench()).ask(0x49, data) == b"\xcc"


def test_the_host_goes_on_though_ipmitool_asks_to_hold_it() -> None:
    client = Client(Bench())
    client.ask(0x48, bytes([1, 1, 0xC2, 0, 0, 0]))
    assert not client.bench.serial.paused


def test_a_user_can_be_kept_from_sol() -> None:
    client = Client(Bench())
    user_2_without_sol = bytes([0x01, 0x42, 0x02, 0, 0, 0])
    assert client.ask(0x4C, user_2_without_sol) == b"\x00"
    assert client.ask(0x48, ACTIVATE) == b"\x81"


def test_a_disabled_payload_is_not_activated() -> None:
    client = Client(Bench())
    client.bench.bmc.lan.sol.kept.enabled = False
    assert client.ask(0x48, ACTIVATE) == b"\x81"


def test_a_session_without_encryption_cannot_have_it() -> None:
    client = Client(Bench())
    client.session.is_encrypted = False
    assert client.ask(0x48, ACTIVATE) == b"\x83"
    assert client.ask(0x48, bytes([1, 1, 0x40, 0, 0, 0])) == ANSWER


def test_encryption_and_authentication_can_be_demanded() -> None:
    client = Client(Bench())
    client.bench.bmc.lan.sol.kept.force_encryption = True
    assert client.ask(0x48, bytes([1, 1, 0x40, 0, 0, 0])) == b"\x84"
    client.bench.bmc.lan.sol.kept.force_encryption = False
    client.bench.bmc.lan.sol.kept.force_authentication = True
    assert client.ask(0x48, bytes([1, 1, 0x00, 0, 0, 0])) == b"\xcc"
    assert client.ask(0x48, ACTIVATE) == ANSWER


@pytest.mark.parametrize(("wanted", "plain"), [(0xC0, False), (0x40, True)])
def test_a_console_gets_encryption_if_it_asks_for_it(wanted: int, plain: bool) -> None:
    client = Client(Bench())
    assert client.ask(0x48, bytes([1, 1, wanted, 0, 0, 0])) == ANSWER
    assert (PayloadType.SOL in client.session.plain_payloads) is plain


def test_encryption_is_suspended_and_resumed() -> None:
    bench = Bench()
    client = Client(bench)
    assert client.ask(0x55, b"\1\1\0") == b"\x83", "not active yet"
    client.ask(0x48, ACTIVATE)
    assert client.ask(0x55, b"\1\1\0") == b"\0"
    assert client.session.plain_payloads == {PayloadType.SOL}
    assert client.ask(0x55, b"\1\1\2") == b"\0"
    assert client.session.plain_payloads == {PayloadType.SOL}
    assert client.ask(0x55, b"\1\1\1") == b"\0"
    assert not client.session.plain_payloads
    assert client.ask(0x55, b"\1\1\3") == b"\xcc"
    assert client.ask(0x55, b"\0\1\0") == client.ask(0x55, b"\1\2\0") == b"\x80"
    assert Client(bench, number=2).ask(0x55, b"\1\1\0") == b"\x83", "another's"
    bench.bmc.lan.sol.kept.force_encryption = True
    assert client.ask(0x55, b"\1\1\0") == b"\x81"
    assert client.ask(0x55, b"\1\1\1") == b"\0"
    client.session.is_encrypted = False
    assert client.ask(0x55, b"\1\1\1") == b"\x82"


def test_sol_has_a_privilege_of_its_own() -> None:
    bench = Bench()
    user = Client(bench, privilege=Privilege.USER)
    assert user.ask(0x48, ACTIVATE) == b"\xd4"
    bench.bmc.lan.sol.kept.privilege = Privilege.USER
    assert user.ask(0x48, ACTIVATE) == ANSWER
    bench.bmc.lan.sol.kept.privilege = Privilege.ADMINISTRATOR
    assert user.ask(0x49, DEACTIVATE) == b"\xd4"


def test_only_rmcp_plus_sessions_carry_payloads() -> None:
    client = Client(Bench())
    client.session.is_rmcp_plus = False
    assert client.ask(0x48, ACTIVATE) == b"\xd5"
    assert client.bench.ask(NetFn.APP, 0x48, ACTIVATE) == b"\xd5"


def test_deactivation_by_its_own_session() -> None:
    client = Client(Bench())
    client.ask(0x48, ACTIVATE)
    assert client.ask(0x49, DEACTIVATE) == b"\x00"
    assert client.got == []
    assert client.ask(0x49, DEACTIVATE) == b"\x80"
    assert client.ask(0x48, ACTIVATE) == ANSWER


def test_deactivation_by_another_session_is_told() -> None:
    bench = Bench()
    owner, other = Client(bench), Client(bench, number=2)
    owner.ask(0x48, ACTIVATE)
    assert other.ask(0x49, DEACTIVATE) == b"\x00"
    assert owner.got == [DEACTIVATED]
    assert other.ask(0x48, ACTIVATE) == ANSWER


def test_deactivation_from_the_host() -> None:
    client = Client(Bench())
    client.ask(0x48, ACTIVATE)
    assert client.bench.ask(NetFn.APP, 0x49, DEACTIVATE, origin=IN_BAND) == b"\x00"
    assert client.got == [DEACTIVATED]


def test_status_and_owner() -> None:
    client = Client(Bench())
    assert client.ask(0x4A, b"\x01") == bytes.fromhex("00 01 00 00")
    assert client.ask(0x4B, b"\x01\x01") == bytes.fromhex("00 00000000 01 00000000000000")
    client.ask(0x48, ACTIVATE)
    assert client.ask(0x4A, b"\x01") == bytes.fromhex("00 01 01 00")
    assert client.ask(0x4B, b"\x01\x01") == bytes.fromhex("00 010c0b0a 01 00000000000000")
    assert client.ask(0x4A, b"\x02") == b"\xcc"


@pytest.mark.parametrize("channel", [1, 0x0E])
def test_what_the_channel_carries(channel: int) -> None:
    client = Client(Bench())
    assert client.ask(0x4E, bytes([channel])) == bytes.fromhex("00 0300 3f00 0000 0000")
    assert client.ask(0x4F, bytes([channel, 1])) == b"\x00\x10"
    assert client.ask(0x4F, bytes([channel, 0x12])) == b"\x00\x10"
    assert client.ask(0x4F, bytes([channel, 2])) == b"\x80"


def test_other_channels_carry_nothing() -> None:
    client = Client(Bench())
    assert client.ask(0x4E, b"\x0f") == client.ask(0x4F, b"\x00\x01") == b"\xcc"


def test_a_node_without_serial_over_lan() -> None:
    client = Client(Bench(replace(SETTINGS, serial_over_lan=False)))
    assert client.ask(0x48, ACTIVATE) == client.ask(0x49, DEACTIVATE) == b"\x81"
    assert client.ask(0x4E, b"\x01") == bytes.fromhex("00 0100 3f00 0000 0000")
    assert client.ask(0x4F, b"\x01\x01") == b"\x80"
    assert get(client, 1) == b"\x00\x11\x00"
    assert put(client, 1, b"\x01") == b"\xd6"
    assert put(client, 1, b"\x00") == b"\x00"


# Parameters.


def get(client: Client, selector: int, *, channel: int = 0x0E) -> bytes:
    return client.ask(0x22, bytes([channel, selector, 0, 0]), netfn=NetFn.TRANSPORT)


def put(client: Client, selector: int, values: bytes) -> bytes:
    return client.ask(0x21, bytes([1, selector]) + values, netfn=NetFn.TRANSPORT)


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        (0, "00"),
        (1, "01"),
        (2, "03"),
        (3, "0240"),
        (4, "0732"),
        (5, "0a"),
        (6, "0a"),
        (7, "01"),
        (8, "6f02"),
    ],
)
def test_parameters_as_they_begin(selector: int, value: str) -> None:
    client = Client(Bench())
    assert get(client, selector) == b"\x00\x11" + bytes.fromhex(value)
    assert get(client, selector, channel=0x81) == b"\x00\x11"


@pytest.mark.parametrize(
    ("selector", "value"),
    [(0, "01"), (1, "00"), (2, "c4"), (3, "0c60"), (4, "0502"), (5, "06"), (6, "09")],
)
def test_a_parameter_is_read_as_it_was_set(selector: int, value: str) -> None:
    client = Client(Bench())
    assert put(client, selector, bytes.fromhex(value)) == b"\x00"
    assert get(client, selector) == b"\x00\x11" + bytes.fromhex(value)


@pytest.mark.parametrize(
    ("selector", "value", "code"),
    [
        (0, "03", 0xCC),
        (2, "01", 0xCC),
        (2, "06", 0xCC),
        (3, "0001", 0xCC),
        (3, "0100", 0xCC),
        (3, "01", 0xC7),
        (5, "00", 0xCC),
        (6, "0b", 0xCC),
        (7, "01", 0x82),
        (8, "6f02", 0x82),
        (9, "00", 0x80),
        (1, "", 0xC7),
    ],
)
def test_a_wrong_parameter_is_refused(selector: int, value: str, code: int) -> None:
    client = Client(Bench())
    assert put(client, selector, bytes.fromhex(value)) == bytes([code])
    assert client.bench.changes == 0


def test_an_unknown_parameter_cannot_be_read() -> None:
    assert get(Client(Bench()), 9) == b"\x80"


def test_parameters_are_claimed_by_one_at_a_time() -> None:
    client = Client(Bench())
    assert put(client, 0, b"\x01") == b"\x00"
    assert put(client, 0, b"\x01") == b"\x81"
    assert put(client, 0, b"\x02") == b"\x00"
    assert get(client, 0) == b"\x00\x11\x01"
    assert put(client, 0, b"\x00") == b"\x00"
    assert put(client, 0, b"\x01") == b"\x00"
    assert client.bench.changes == 0


def test_parameters_outlive_the_bmc_except_volatile_ones() -> None:
    client = Client(Bench())
    for selector, value in ((0, "01"), (2, "c4"), (3, "0c60"), (4, "0502"), (5, "06"), (6, "09")):
        put(client, selector, bytes.fromhex(value))
    assert client.bench.changes == 5
    again = Client(Bench(state=from_json(BmcState, as_json(client.bench.bmc.state))))
    values = {selector: get(again, selector)[2:].hex() for selector in range(7)}
    assert values == {0: "00", 1: "01", 2: "c4", 3: "0c60", 4: "0502", 5: "06", 6: "06"}


def test_other_channels_have_no_sol() -> None:
    client = Client(Bench())
    assert get(client, 1, channel=0x0F) == get(client, 1, channel=2) == b"\xcc"


def test_the_host_means_the_lan_channel_by_this_one() -> None:
    assert Bench().ask(NetFn.TRANSPORT, 0x22, b"\x0e\x01\x00\x00") == b"\x00\x11\x01"


def test_users_read_and_administrators_write() -> None:
    client = Client(Bench(), privilege=Privilege.OPERATOR)
    assert get(client, 1)[0] == 0
    assert put(client, 1, b"\x00") == b"\xd4"
