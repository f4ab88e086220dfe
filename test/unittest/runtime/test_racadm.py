"""The racadm shell's process: who may come in, how many, its keys, its log and its link to the BMC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from racadm_bench import FakeBmc

from infrasim.bmc.settings import RacadmSettings
from infrasim.bmc_core.codes import Privilege
from infrasim.clients.control import Line
from infrasim.errors import HostError, NotRunningError
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan
from infrasim.racadm.ports import BmcRefusal
from infrasim.runtime.racadm.link import BmcLink
from infrasim.runtime.racadm.login import rights

if TYPE_CHECKING:
    import asyncssh

    from infrasim.runtime.racadm.door import Door

# asyncssh looks for libraries, with ldconfig, when it is imported, so it is imported by what the tests call:
# while they are collected nothing may be started. asyncio has a socket pair.
pytestmark = pytest.mark.allow("process", "socket")

MakePlan = Callable[[Home, str, str], NodePlan]
ADMINISTRATOR, USER = Privilege.ADMINISTRATOR, Privilege.USER


def doors() -> Any:
    from infrasim.runtime.racadm import door

    return door


def process() -> Any:
    from infrasim.runtime.racadm import __main__

    return __main__


# --- logins


class Passwords(FakeBmc):
    """Users with passwords: number to (size, password)."""

    KEPT = {2: (16, b"calvin"), 3: (20, b"a password of 20 sig"), 4: (16, b"old")}  # noqa: RUF012

    def ask(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        if (net_fn, command) != (0x06, 0x47):
            return super().ask(net_fn, command, data)
        size, password = self.KEPT[data[0] & 0x3F]
        assert data[1] == 3
        assert len(data) == 2 + (20 if data[0] & 0x80 else 16)
        if len(data) - 2 != size:
            raise BmcRefusal("", 0x81)
        if data[2:].rstrip(b"\0") != password:
            raise BmcRefusal("", 0x80)
        return b""


@pytest.mark.parametrize(
    ("name", "password", "expected"),
    [
        ("root", "calvin", ADMINISTRATOR),
        ("root", "Calvin", None),
        ("root", "", None),
        ("root", "calvin\0", None),
        ("root", "c" * 21, None),
        ("root", "\u00e4" * 9, None),
        ("watcher", "a password of 20 sig", USER),
        ("watcher", "a password of 20 si", None),
        ("old", "old", None),
        ("nobody", "calvin", None),
        ("", "", None),
    ],
)
def test_users_of_the_bmc(name: str, password: str, expected: Privilege | None) -> None:
    settings = RacadmSettings("n", "127.0.0.1", 22)
    assert rights(settings, Passwords(()), name, password) is expected


def test_the_user_of_the_node_file_is_alone() -> None:
    settings = RacadmSettings("n", "127.0.0.1", 22, username="me", password="\u00e4")
    bmc = Passwords(())
    assert rights(settings, bmc, "me", "\u00e4") is ADMINISTRATOR
    for name, password in (("me", "x"), ("root", "calvin"), ("", "")):
        assert rights(settings, bmc, name, password) is None


def test_nobody_is_let_in_by_a_bmc_that_does_not_answer() -> None:
    bmc = Passwords(())
    bmc.away = True
    with pytest.raises(BmcRefusal):
        rights(RacadmSettings("n", "127.0.0.1", 22), bmc, "root", "calvin")


# --- how many


class Connection:
    """One that is counted only."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.info: dict[str, Any] = {"peername": ("192.0.2.1", 1)}

    def abort(self) -> None:
        self.ends.append("abort")

    def close(self) -> None:
        self.ends.append("close")

    def get_extra_info(self, name: str) -> Any:
        return self.info.get(name)

    def set_extra_info(self, **more: Any) -> None:
        self.info.update(more)


def a_door(log_in: Callable[[str, str], Privilege | None] = lambda name, password: USER) -> Door:
    def nobody(*words: object) -> Any:
        raise AssertionError(words)

    made: Door = doors().Door(log_in=log_in, run=nobody, shell=nobody, say=nobody)
    return made


def as_ssh(connection: Connection) -> asyncssh.SSHServerConnection:
    return cast("asyncssh.SSHServerConnection", connection)


def test_the_oldest_stranger_gives_way() -> None:
    door = a_door()
    strangers = [Connection() for _ in range(doors().STRANGERS_MOST + 2)]
    for each in strangers[: doors().STRANGERS_MOST]:
        door.came(as_ssh(each))
    door.went(as_ssh(strangers[0]))
    for each in strangers[doors().STRANGERS_MOST :]:
        door.came(as_ssh(each))
    assert [bool(each.ends) for each in strangers] == [False, True] + [False] * doors().STRANGERS_MOST


def test_as_many_give_way_as_come_together() -> None:
    door = a_door()
    strangers = [Connection() for _ in range(doors().STRANGERS_MOST + 5)]
    for each in strangers:
        door.came(as_ssh(each))
    assert [each.ends for each in strangers] == [["abort"]] * 5 + [[]] * doors().STRANGERS_MOST


def test_who_logged_in_is_no_stranger_and_does_not_give_way() -> None:
    door, friend = a_door(), Connection()
    door.came(as_ssh(friend))
    assert asyncio.run(door.judge(as_ssh(friend), "a", "b"))
    for _ in range(doors().STRANGERS_MOST + 1):
        door.came(as_ssh(Connection()))
    assert friend.ends == []
    assert friend.info["rights"] is USER


def test_there_may_be_so_many_friends_and_no_more() -> None:
    door = a_door()
    friends = [Connection() for _ in range(doors().FRIENDS_MOST + 1)]
    judged = []
    for each in friends:
        door.came(as_ssh(each))
        judged.append(asyncio.run(door.judge(as_ssh(each), "a", "b")))
    assert judged == [True] * doors().FRIENDS_MOST + [False]
    door.went(as_ssh(friends[0]))
    assert asyncio.run(door.judge(as_ssh(friends[-1]), "a", "b"))


def test_who_goes_before_the_judgement_takes_nobodys_place() -> None:
    gone = Connection()

    def leave(name: str, password: str) -> Privilege:
        door.went(as_ssh(gone))
        return USER

    door = a_door(leave)
    door.came(as_ssh(gone))
    assert not asyncio.run(door.judge(as_ssh(gone), "a", "b"))
    assert not door._friends
    assert "rights" not in gone.info


def test_a_reset_ends_the_others_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors(), "_ANSWER_LEAVES_S", 0.0)
    door, asker, other = a_door(), Connection(), Connection()

    async def scene() -> None:
        for each in (asker, other):
            door.came(as_ssh(each))
            assert await door.judge(as_ssh(each), "a", "b")
        door.end_sessions(as_ssh(asker))
        assert (asker.ends, other.ends) == ([], ["close"])
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(scene())
    assert asker.ends == ["close"]


# --- what it keeps


@pytest.fixture
def paths(tmp_path: Path) -> NodePaths:
    return NodePaths("n", tmp_path / "n", tmp_path / "l")


def test_host_keys_are_made_once_and_private(paths: NodePaths) -> None:
    made = process().host_keys(paths)
    assert [key.get_algorithm() for key in made] == ["ssh-ed25519", "ecdsa-sha2-nistp256"]
    assert paths.host_keys.stat().st_mode & 0o777 == 0o600
    again = process().host_keys(paths)
    assert [key.export_public_key() for key in again] == [key.export_public_key() for key in made]


@pytest.mark.parametrize("begin", [b"no keys", b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"])
def test_damaged_host_keys_are_said_to_be(paths: NodePaths, begin: bytes) -> None:
    paths.host_keys.parent.mkdir(parents=True)
    paths.host_keys.write_bytes(begin)
    with pytest.raises(HostError, match="is damaged"):
        process().host_keys(paths)


def test_what_the_plan_wrote_is_read(paths: NodePaths, make_plan: MakePlan, tmp_path: Path) -> None:
    text = "type: dell_r630\nserial_number: S1\nracadm: {username: root, password: x}\n"
    plan = make_plan(Home(tmp_path, tmp_path / "l"), "n", text)
    for file in plan.files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_bytes(file.content)
    server = process().read_server(paths)
    assert (server.settings.username, server.hardware.serial_number) == ("root", "S1")
    assert len(server.structures) > 10
    (drive,) = server.hardware.controllers[0].drives
    assert server.size_bytes(drive) == 8 << 30, "as the file says, while there is no image"


def test_the_log_is_not_filled() -> None:
    now = [0.0]
    sparing = process().Sparing(lambda: now[0])
    lines = [logging.LogRecord("x", 30, "f", 1, "line %d", (number,), None) for number in range(300)]
    kept = [line.getMessage() for line in lines if sparing.filter(line)]
    assert len(kept) == process().LINES_A_MINUTE
    assert kept[0] == "line 0"
    assert kept[-1].startswith("line 99 (and more")
    now[0] = 60.0
    assert sparing.filter(lines[0])


# --- the link


class Said(Line):
    """A line that answers what the test says."""

    def __init__(self, answers: list[str | Exception]) -> None:
        self.answers = answers
        self.asked: list[object] = []
        self.hung_up = 0

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        self.asked.append((verb, arguments["words"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"ok": True, "answer": answer}

    def close(self) -> None:
        self.hung_up += 1


def test_questions_have_all_rights_and_orders_those_of_the_user() -> None:
    line = Said(["0001ff", "00", "d4"])
    link = BmcLink(line, USER, lan_channel=1)
    assert link.ask(0x00, 0x01) == b"\x01\xff"
    assert link.order(0x00, 0x04, b"\0\1") == b""
    with pytest.raises(BmcRefusal) as caught:
        link.order(0x00, 0x02, b"\0")
    assert caught.value.code == 0xD4
    assert line.asked == [
        ("ipmi", ["administrator", "0001"]),
        ("ipmi", ["user", "00040001"]),
        ("ipmi", ["user", "000200"]),
    ]


def test_a_line_that_is_cut_is_begun_anew() -> None:
    line = Said([NotRunningError("away"), "00"])
    link = BmcLink(line, USER, lan_channel=1)
    with pytest.raises(BmcRefusal) as caught:
        link.ask(0x06, 0x01)
    assert (caught.value.code, line.hung_up) == (None, 1)
    assert link.ask(0x06, 0x01) == b""


def test_records_are_read_in_pieces() -> None:
    record = "0100510105" + "0102030405"
    answers: list[str | Exception] = ["000700", f"00ffff{record[:10]}", f"00ffff{record[10:]}"]
    assert BmcLink(Said(answers), USER, lan_channel=1).records() == (bytes.fromhex(record),)
