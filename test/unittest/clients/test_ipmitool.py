"""What ipmitool is told and what its lines mean. Its lines are as ipmitool 1.8.19 prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from infrasim.clients import ipmitool
from infrasim.clients.ipmitool import BMC, Ipmitool, Login, Refused, Target, argv
from infrasim.errors import DeadlineError, InfrasimError, ProgramEndedError, ProgramError, UsageError

LOGIN = Login("192.0.2.1", "root", "s3cret")
GREETING = [
    "Loading IANA PEN Registry...",
    "Using best available cipher suite 3",
    "",
    "Discovered IPMB address 0x0",
]
BYTES = [
    "RAW REQUEST (1 bytes)",
    " 01",
    "RAW RSP (18 bytes)",
    " 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10",
    " 11 12",
]
NOTHING = ["RAW RSP (0 bytes)", ""]
REFUSED = ["Unable to send RAW command (channel=0x0 netfn=0x4 lun=0x0 cmd=0x20 rsp=0xc1): Invalid command"]
SILENT = ["Unable to send RAW command (channel=0x0 netfn=0x4 lun=0x0 cmd=0x20)"]
CUT_SHORT = ["RAW RSP (2 bytes)", " 01"]


class Program:
    """ipmitool, which prints the next of ``answers`` for each command; an exception is raised."""

    answers: Sequence[list[str] | Exception] = ()
    log: Sequence[str] = ()

    def __init__(self, words: Sequence[str], *, env: Mapping[str, str]) -> None:
        type(self).log = (*self.log, " ".join(words))
        assert "s3cret" not in " ".join(words)
        assert env["IPMI_PASSWORD"] == env["IPMITOOL_PASSWORD"] == "s3cret"

    def ask(self, text: str, *, until: str, timeout_s: float) -> list[str]:
        raw, echo = text.splitlines()
        assert echo == f"echo {until}"
        type(self).log = (*self.log, raw)
        answer, *type(self).answers = self.answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        type(self).log = (*self.log, "closed")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> type[Program]:
    class Mine(Program):
        pass

    monkeypatch.setattr(ipmitool, "Conversation", Mine)
    return Mine


def ended(*lines: str) -> ProgramEndedError:
    return ProgramEndedError("ipmitool: exit code 1", lines=lines)


def test_one_session_for_many_commands(program: type[Program]) -> None:
    program.answers = [[*GREETING, *BYTES], NOTHING]
    with Ipmitool(LOGIN) as bmc:
        assert bmc.ask(6, 1) == bytes(range(1, 0x13))
        assert bmc.ask(0x0A, 0x10, b"\x03\xff") == b""
    assert program.log == (" ".join(argv(LOGIN, BMC)), "raw 0x06 0x01", "raw 0x0a 0x10 0x03 0xff", "closed")


def test_another_controller_has_a_session_of_its_own(program: type[Program]) -> None:
    program.answers = [NOTHING] * 3
    with Ipmitool(LOGIN) as bmc:
        for target in (BMC, Target(0x2C, 6), BMC):
            bmc.ask(6, 1, target=target)
    starts = [line for line in program.log if line.startswith("ipmitool")]
    assert starts == [" ".join(argv(LOGIN, target)) for target in (BMC, Target(0x2C, 6), BMC)]
    assert program.log.count("closed") == 3


def test_the_command_line() -> None:
    usual = ("ipmitool", "-I", "lanplus", "-v", "-H", "192.0.2.1", "-p", "623", "-U", "root", "-E")
    assert argv(LOGIN, BMC) == (*usual, "exec", "/dev/stdin")
    login = Login("192.0.2.1", "root", "s3cret", cipher_suite="17", privilege="USER")
    more = ("-C", "17", "-L", "USER", "-t", "0x2c", "-b", "6", "-l", "1")
    assert argv(login, Target(0x2C, 6, 1)) == (*usual, *more, "exec", "/dev/stdin")
    assert argv(LOGIN, Target(lun=2)) == (*usual, "-l", "2", "exec", "/dev/stdin")


def test_a_refusal_has_its_code_and_the_next_command_works(program: type[Program]) -> None:
    program.answers = [REFUSED, NOTHING]
    with Ipmitool(LOGIN) as bmc:
        with pytest.raises(Refused, match="raw 0x04 0x20: Invalid command") as caught:
            bmc.ask(4, 0x20)
        assert (caught.value.code, caught.value.reason) == (0xC1, "Invalid command")
        assert bmc.ask(4, 0x20) == b""


@pytest.mark.parametrize("lost", [SILENT, CUT_SHORT, []])
def test_a_command_without_an_answer_is_tried_once_more(program: type[Program], lost: list[str]) -> None:
    program.answers = [lost, NOTHING, lost, lost]
    with Ipmitool(LOGIN) as bmc:
        assert bmc.ask(4, 0x20) == b""
        with pytest.raises(Refused, match="no answer") as caught:
            bmc.ask(4, 0x20)
    assert caught.value.code is None
    assert len(program.answers) == 0


def test_a_session_that_breaks_is_opened_again(program: type[Program]) -> None:
    program.answers = [NOTHING, ended("Close Session command failed"), NOTHING]
    with Ipmitool(LOGIN) as bmc:
        bmc.ask(6, 1)
        assert bmc.ask(6, 1) == b""
    assert program.log.count(" ".join(argv(LOGIN, BMC))) == 2


FAILED = "Error: Unable to establish IPMI v2 / RMCP+ session"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ended("> RAKP 2 HMAC is invalid", FAILED), UsageError, "user 'root' or the password is wrong"),
        (
            ended("RAKP 2 message indicates an error : unauthorized name", FAILED),
            UsageError,
            "user 'root' or the password is wrong",
        ),
        (
            ended("Address lookup for 192.0.2.1 failed", FAILED),
            UsageError,
            "no machine of that name is known",
        ),
        (
            ended("Error issuing Get Channel Authentication Capabilities request", FAILED),
            DeadlineError,
            "192.0.2.1, port 623: no BMC answers there",
        ),
        (DeadlineError("late"), DeadlineError, "no BMC answers there"),
        (
            ended("Error in open session response message : no matching cipher suite", "", FAILED),
            ProgramError,
            "ipmitool makes no session: Error in open session response message : no matching cipher suite$",
        ),
        (
            ended("lanplus: password is longer than 20 bytes."),
            ProgramError,
            "ipmitool makes no session: lanplus: password is longer than 20 bytes.$",
        ),
        (ended("Segmentation fault"), ProgramError, "ipmitool makes no session: Segmentation fault$"),
        (ended(), ProgramError, "ipmitool makes no session: ipmitool: exit code 1$"),
    ],
)
def test_why_there_is_no_session(
    program: type[Program], error: Exception, kind: type[InfrasimError], message: str
) -> None:
    program.answers = [error]
    with Ipmitool(LOGIN) as bmc, pytest.raises(kind, match=message) as caught:
        bmc.ask(6, 1)
    assert type(caught.value) is kind
    assert program.log[-1] == "closed"
