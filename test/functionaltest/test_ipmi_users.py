"""Users and logins: every user command, who gets in by which door, and who does not.

The other door of a user is a login of its own; users made in a guest are in test_ipmi_in_a_guest.py.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from lab import NODE, Lab, Ran, lab, wait_for

LAN = ("-I", "lan")
LANPLUS = ("-I", "lanplus")
SHORT, LONG = "0123456789abcdef", "0123456789abcdefghij"


@pytest.fixture(scope="module")
def open_house(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A node whose BMC lets everybody in."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(bmc={"insecure": True, "cipher_suites": [1, 2, 3, 17], "startnow": False})
        yield home


@pytest.fixture(scope="module")
def strict(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A node that locks users out."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(bmc={"lockout_failures": 2, "lockout_time": 3600, "startnow": False})
        yield home


@pytest.fixture
def bob(running: Lab) -> Iterator[Lab]:
    """The shared node with user 3, bob, whose password is bobs and who may do everything."""
    make_user(running, 3, "bob", "bobs")
    yield running
    running.ipmi("user", "disable", "3")


def make_user(home: Lab, number: int, name: str, password: str, privilege: int = 4) -> None:
    """A user who can log in."""
    user = str(number)
    home.ipmi("user", "set", "name", user, name)
    home.ipmi("user", "set", "password", user, password, *(["20"] if len(password) > 16 else []))
    home.ipmi("channel", "setaccess", "1", user, "callin=on", "link=on", "ipmi=on", f"privilege={privilege}")
    home.ipmi("user", "enable", user)


def enter(home: Lab, user: str, password: str, options: tuple[str, ...] = LANPLUS) -> Ran:
    """Ask for the system's GUID as that user. Whoever may not is told at once."""
    return home.ipmitool("mc", "guid", options=options, user=user, password=password)


def row(home: Lab, number: int) -> str:
    """A user's line in ``user list``."""
    found = re.search(rf"^{number} +.*$", home.ipmi("user", "list", "1"), re.MULTILINE)
    assert found
    return found.group(0)


@pytest.mark.parametrize("options", [LAN, LANPLUS, (*LANPLUS, "-C", "3"), (*LANPLUS, "-C", "17")])
def test_a_new_user_gets_in_at_once_by_every_door(bob: Lab, options: tuple[str, ...]) -> None:
    assert enter(bob, "bob", "bobs", options).code == 0
    assert enter(bob, "bob", "bob", options).code != 0


def test_list_and_summary_tell_the_users(bob: Lab) -> None:
    assert re.fullmatch(r"3 +bob +true +true +true +ADMINISTRATOR *", row(bob, 3))
    summary = bob.ipmi("user", "summary", "1")
    assert re.search(r"Maximum IDs\s*: 15\n", summary)
    assert re.search(r"Enabled User Count\s*: 2\n", summary)
    bob.ipmi("user", "disable", "3")
    assert re.search(r"Enabled User Count\s*: 1\n", bob.ipmi("user", "summary", "1"))


def test_a_disabled_user_stays_outside_and_comes_back_with_the_same_password(bob: Lab) -> None:
    bob.ipmi("user", "disable", "3")
    assert enter(bob, "bob", "bobs").code != 0
    bob.ipmi("user", "enable", "3")
    assert enter(bob, "bob", "bobs").code == 0


def test_passwords_of_sixteen_and_twenty_bytes(bob: Lab) -> None:
    bob.ipmi("user", "set", "password", "3", SHORT)
    assert enter(bob, "bob", SHORT).code == 0
    assert enter(bob, "bob", SHORT, LAN).code == 0
    assert "Success" in bob.ipmi("user", "test", "3", "16", SHORT)
    assert "wrong password size" in bob.ipmitool("user", "test", "3", "20", SHORT).out
    bob.ipmi("user", "set", "password", "3", LONG, "20")
    assert enter(bob, "bob", LONG).code == 0
    assert enter(bob, "bob", SHORT).code != 0, "a part of the password"
    assert enter(bob, "bob", SHORT, LAN).code != 0, "IPMI 1.5 has no passwords of twenty bytes"
    assert "Success" in bob.ipmi("user", "test", "3", "20", LONG)
    assert bob.ipmitool("user", "test", "3", "20", LONG[:-1]).code != 0


def test_a_name_is_for_one_user(bob: Lab) -> None:
    assert bob.ipmitool("user", "set", "name", "4", "bob").code != 0
    assert bob.ipmitool("user", "set", "name", "1", "root").code != 0, "user 1 has no name for ever"
    bob.ipmi("user", "set", "name", "3", "robert")
    assert enter(bob, "bob", "bobs").code != 0
    assert enter(bob, "robert", "bobs").code == 0


def test_users_beyond_the_last_are_refused(bob: Lab) -> None:
    assert bob.ipmitool("user", "enable", "16").code != 0
    assert bob.ipmitool("raw", "6", "0x44", "1", "16").code != 0


@pytest.mark.parametrize(
    ("privilege", "may", "may_not"), [("2", "USER", "OPERATOR"), ("3", "OPERATOR", "ADMINISTRATOR")]
)
def test_a_user_gets_no_more_than_its_privilege(bob: Lab, privilege: str, may: str, may_not: str) -> None:
    bob.ipmi("user", "priv", "3", privilege, "1")
    assert row(bob, 3).endswith(may)
    for options in (LAN, LANPLUS):
        assert enter(bob, "bob", "bobs", (*options, "-L", may)).code == 0
        assert enter(bob, "bob", "bobs", (*options, "-L", may_not)).code != 0


def test_no_access_is_no_access(bob: Lab) -> None:
    bob.ipmi("user", "priv", "3", "15", "1")
    assert "NO ACCESS" in row(bob, 3)
    assert enter(bob, "bob", "bobs", (*LANPLUS, "-L", "USER")).code != 0


def test_a_user_without_ipmi_messaging_cannot_log_in(bob: Lab) -> None:
    # ipmitool 1.8.19 sends "on" whatever it is told. Change; link authentication, no messaging; privilege.
    bob.raw(6, 0x43, 0x80 | 0x20 | 1, 3, 4)
    assert enter(bob, "bob", "bobs").code != 0
    told = bob.ipmi("channel", "getaccess", "1", "3")
    assert re.search(r"User Name +: bob\n", told)
    assert re.search(r"IPMI Messaging +: disabled\n", told)
    bob.ipmi("channel", "setaccess", "1", "3", "ipmi=on")
    assert enter(bob, "bob", "bobs").code == 0


def test_commands_need_their_privilege(bob: Lab) -> None:
    """The session's level counts, whoever has it."""
    was = bob.status()["host"]["power"]
    for level, words, passes in (
        ("USER", ("power", "status"), True),
        ("USER", ("power", "off"), False),
        ("USER", ("user", "list", "1"), False),
        ("USER", ("sel", "list"), True),
        ("USER", ("sel", "clear"), False),
        ("OPERATOR", ("chassis", "bootdev", "none"), True),
        ("OPERATOR", ("user", "set", "name", "4", "x"), False),
        ("OPERATOR", ("raw", "6", "2"), False),
        ("OPERATOR", ("raw", "0x0c", "1", "1", "3", "10", "1", "1", "1"), False),
    ):
        for options in (LAN, LANPLUS):
            ran = bob.ipmitool(*words, options=(*options, "-L", level))
            refused = "nsufficient privilege" in ran.out + ran.err
            assert refused is not passes, (level, words, options, ran)
    assert bob.status()["host"]["power"] == was
    assert (
        "nsufficient privilege"
        in bob.ipmitool("power", "off", user="bob", password="bobs", options=(*LANPLUS, "-L", "USER")).err
    )


def test_wrong_names_and_passwords_are_refused_as_fast_as_a_login(bob: Lab) -> None:
    """Each is told so in as many packets at most as a login has, and ipmitool waits for none of them in vain.

    By IPMI 1.5 as well, whose section 6.12 has no answer to a wrong password.
    """
    patience_s = 60

    def packets(user: str, password: str, options: tuple[str, ...]) -> int:
        before, began = bob.packets_received(), time.monotonic()
        patient = (*options, "-N", str(patience_s))
        ran = bob.ipmitool("mc", "guid", options=patient, user=user, password=password)
        assert time.monotonic() - began < patience_s, (user, password, options)
        assert (ran.code == 0) is ((user, password) == ("bob", "bobs"))
        return bob.packets_received() - before

    for options in ((*LANPLUS, "-C", "3"), (*LANPLUS, "-C", "17"), LAN):
        login = packets("bob", "bobs", options)
        assert packets("nobody", "bobs", options) <= login, options
        assert packets("bob", "wrong", options) <= login, options


def test_a_user_without_the_sol_payload_cannot_open_the_serial_line(bob: Lab) -> None:
    bob.ipmi("sol", "payload", "disable", "1", "3")
    assert "disabled" in bob.ipmi("sol", "payload", "status", "1", "3")
    ran = bob.ipmitool("sol", "activate", user="bob", password="bobs")
    assert ran.code != 0
    assert "operational" not in ran.out
    bob.ipmi("sol", "payload", "enable", "1", "3")
    assert "enabled" in bob.ipmi("sol", "payload", "status", "1", "3")


def test_a_user_is_locked_out_after_its_failures_until_an_administrator_helps(strict: Lab) -> None:
    make_user(strict, 3, "bob", "bobs")
    printed = strict.ipmi("lan", "print", "1")
    assert re.search(r"Bad Password Threshold +: 2\n", printed)
    assert re.search(r"User Lockout Interval +: 3600\n", printed)
    # By IPMI 1.5: with 2.0 it is the client that finds the password wrong, and ipmitool says nothing of it.
    assert enter(strict, "bob", "wrong", LAN).code != 0
    assert enter(strict, "bob", "bobs").code == 0, "one failure is none too many"
    assert enter(strict, "bob", "wrong", LAN).code != 0
    assert enter(strict, "bob", "wrong", LAN).code != 0
    for options in (LANPLUS, LAN):
        assert enter(strict, "bob", "bobs", options).code != 0, "locked out"
    assert enter(strict, "admin", "admin").code == 0, "the others are not"
    strict.ipmi("user", "enable", "3")
    assert enter(strict, "bob", "bobs").code == 0


def rakp(home: Lab, name: bytes, code: bytes) -> int:
    """The status of a login with suite 17 as that user, who proves a password by ``code``.

    No client does that for a wrong one: all see in RAKP message 2 that the passwords differ, and leave.
    Source: IPMI 2.0 sections 13.17 to 13.23.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(30)
        line.connect((home.address, 623))

        def ask(kind: int, body: bytes) -> bytes:
            head = bytes.fromhex("0600ff07") + struct.pack("<BBIIH", 6, kind, 0, 0, len(body))
            line.send(head + body)
            answer = line.recv(1024)
            assert answer[5] == kind + 1
            return answer[16:]

        console_id = b"isim"
        proposals = b"".join(bytes([kind, 0, 0, 8, each, 0, 0, 0]) for kind, each in enumerate((3, 4, 1)))
        opened = ask(0x10, bytes(4) + console_id + proposals)
        assert opened[1] == 0
        session_id = opened[8:12]
        proven = ask(0x12, bytes(4) + session_id + bytes(16) + bytes([0x14, 0, 0, len(name)]) + name)
        return proven[1] or ask(0x14, bytes(4) + session_id + code)[1]


def test_a_user_is_locked_out_by_wrong_passwords_in_ipmi_2_too(strict: Lab) -> None:
    make_user(strict, 5, "dave", "daves")
    # What ipmitool leaves after RAKP message 2 is no failure.
    for _ in range(3):
        assert enter(strict, "dave", "wrong").code != 0
    assert enter(strict, "dave", "daves").code == 0
    assert rakp(strict, b"dave", bytes(32)) == 0x0F, "invalid integrity check value"
    assert rakp(strict, b"dave", bytes(32)) == 0x0F
    assert rakp(strict, b"dave", bytes(32)) == 0x0D, "unauthorized name"
    for options in (LANPLUS, LAN):
        assert enter(strict, "dave", "daves", options).code != 0, "locked out"


def test_the_bad_password_threshold_can_be_set_and_audits(strict: Lab) -> None:
    strict.ipmi("sel", "clear")
    make_user(strict, 4, "carol", "carols")
    # LAN parameter 26: audit, one failure, counted anew and locked for ever.
    strict.raw(0x0C, 1, 1, 26, 1, 1, 0, 0, 0, 0)
    assert enter(strict, "carol", "wrong", LAN).code != 0
    assert enter(strict, "carol", "carols").code != 0
    wait_for(lambda: "Session Audit" in strict.ipmi("sel", "list"), what="the audit event")
    strict.ipmi("user", "set", "password", "4", "carols")
    assert enter(strict, "carol", "carols").code == 0


@pytest.mark.parametrize("suite", ["0", "1", "2"])
def test_weak_suites_need_to_be_asked_for(running: Lab, open_house: Lab, suite: str) -> None:
    options = (*LANPLUS, "-C", suite)
    assert enter(open_house, "admin", "admin", options).code == 0
    assert enter(running, "admin", "admin", options).code != 0
    wanted = bool(
        re.search(rf"^{suite} ", open_house.ipmi("channel", "getciphers", "ipmi", "1"), re.MULTILINE)
    )
    assert wanted
    assert not re.search(rf"^{suite} ", running.ipmi("channel", "getciphers", "ipmi", "1"), re.MULTILINE)


def test_suite_zero_asks_for_no_password_where_insecure_and_no_other_does(open_house: Lab) -> None:
    assert enter(open_house, "admin", "wrong", (*LANPLUS, "-C", "0")).code == 0
    for suite in ("1", "2", "3", "17"):
        assert enter(open_house, "admin", "wrong", (*LANPLUS, "-C", suite)).code != 0


def test_the_anonymous_user_needs_an_insecure_bmc(running: Lab, open_house: Lab) -> None:
    for home in (running, open_house):
        home.ipmi("user", "set", "password", "1", "nobodys")
        home.ipmi("channel", "setaccess", "1", "1", "ipmi=on", "link=on", "callin=on", "privilege=2")
        home.ipmi("user", "enable", "1")
    for options in (LAN, LANPLUS):
        assert enter(open_house, "", "nobodys", (*options, "-L", "USER")).code == 0
        assert enter(running, "", "nobodys", (*options, "-L", "USER")).code != 0
    assert "Null user names exist      : yes" in open_house.ipmi("channel", "authcap", "1", "2")
    assert "Null user names exist      : no" in running.ipmi("channel", "authcap", "1", "2")
    running.ipmi("user", "disable", "1")


def test_an_insecure_bmc_takes_ipmi_1_5_without_authentication(running: Lab, open_house: Lab) -> None:
    options = (*LAN, "-A", "NONE")
    assert enter(open_house, "admin", "", options).code == 0
    assert enter(running, "admin", "", options).code != 0


@pytest.mark.parametrize("kind", ["PASSWORD", "MD5"])
def test_ipmi_1_5_authentication_types(bob: Lab, kind: str) -> None:
    assert enter(bob, "bob", "bobs", (*LAN, "-A", kind)).code == 0
    assert enter(bob, "bob", "bobz", (*LAN, "-A", kind)).code != 0


def test_an_insecure_bmc_is_told_of(open_house: Lab) -> None:
    """Whoever starts such a node is warned."""
    open_house.must("node", "stop", NODE)
    ran = open_house.infrasim("node", "start", NODE)
    assert ran.code == 0
    assert "insecure" in ran.out + ran.err
