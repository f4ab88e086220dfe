"""Commands to a BMC on the network, through ipmitool: one session carries any number of them.

ipmitool is started once, as ``ipmitool exec /dev/stdin``, and told ``raw`` commands, each when the answer to
the one before is there. It chooses cipher suite and interface details itself. A controller behind the BMC, or
another LUN, needs a session of its own (``-t``, ``-b``, ``-l``), which takes the place of the one before.

Source: ipmitool(1) of 1.8.19 and measured: ``exec`` goes on after a command that failed; ``raw`` waits 15
seconds and tries once; ``-v`` says how long an answer is and why no session was made.
"""

from __future__ import annotations

import os
import re
from typing import Protocol

from infrasim.errors import DeadlineError, InfrasimError, ProgramEndedError, ProgramError, UsageError
from infrasim.frozen import Frozen
from infrasim.host.process import Conversation

PROGRAM = "ipmitool"
BMC_ADDRESS = 0x20
# A command is given up after 15 s; before the first one a session is opened, which may take 20 s and more.
_ANSWER_S = 120.0
_BYTES = re.compile(r"(?: [0-9a-f]{2})+")
_LENGTH = re.compile(r"RAW RSP \((\d+) bytes\)")
_REFUSAL = re.compile(r"Unable to send RAW command \(.*?(?:rsp=0x([0-9a-f]+))?\)(?:: (.*))?$")

# Why there is no session. The two that are left out are said when nothing answers at all.
_REASON = re.compile(r"(?:> )?(?:Error (?!issuing Get Channel)|Error: (?!Unable to establish)|RAKP|lanplus:)")


class Login(Frozen):
    """Where the BMC is and who asks; empty ``cipher_suite`` and ``privilege`` leave them to ipmitool."""

    host: str
    user: str
    password: str
    port: int = 623
    cipher_suite: str = ""
    privilege: str = ""


class Target(Frozen):
    """A controller, seen from the BMC: its address, the channel it is on, and the LUN that is meant."""

    address: int = BMC_ADDRESS
    channel: int = 0
    lun: int = 0


BMC = Target()


class Refused(ProgramError):
    """A command the BMC does not do: ``code`` is its completion code, None when there was no answer."""

    def __init__(self, message: str, *, code: int | None, reason: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Bmc(Protocol):
    """Whoever answers IPMI commands."""

    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        """The answer's data, without the completion code.

        Raises:
            Refused: with the completion code, or without one if there was no answer.
        """


class Ipmitool:
    """A :class:`Bmc` on the network. A context manager, because a session is to be closed."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._session: Conversation | None = None
        self._target = BMC
        self._was_open = False
        self._count = 0

    def __enter__(self) -> Ipmitool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        """See :meth:`Bmc.ask`. A command without an answer is tried once more.

        Raises:
            Refused: with the completion code, or without one if there was no answer.
            UsageError: user or password are wrong, or the name is not known.
            DeadlineError: nothing answers at that address.
            ProgramError: no session for another reason; with what ipmitool said.
        """
        try:
            return self._ask_once(net_fn, command, data, target)
        except Refused as exc:
            if exc.code is not None:
                raise
        return self._ask_once(net_fn, command, data, target)

    def _ask_once(self, net_fn: int, command: int, data: bytes, target: Target) -> bytes:
        words = " ".join(f"{byte:#04x}" for byte in (net_fn, command, *data))
        self._count += 1
        mark = f"answered-{self._count}"
        try:
            lines = self._open(target).ask(f"raw {words}\necho {mark}\n", until=mark, timeout_s=_ANSWER_S)
        except (ProgramEndedError, DeadlineError) as exc:
            self.close()
            if not self._was_open:
                raise _no_session(self._login, exc) from exc
            raise Refused(f"raw {words}: no answer", code=None, reason="no answer") from exc
        self._was_open = True
        return _answer(words, lines)

    def _open(self, target: Target) -> Conversation:
        """The session with ``target``; one with another target is closed first."""
        if self._session is not None and target != self._target:
            self.close()
        if self._session is None:
            self._target = target
            password = dict.fromkeys(("IPMI_PASSWORD", "IPMITOOL_PASSWORD"), self._login.password)
            environment = {**os.environ, "LC_ALL": "C", **password}
            self._session = Conversation(argv(self._login, target), env=environment)
        return self._session


def argv(login: Login, target: Target) -> tuple[str, ...]:
    """ipmitool's command line, without the password, which is in its environment."""
    words = [PROGRAM, "-I", "lanplus", "-v", "-H", login.host, "-p", str(login.port), "-U", login.user, "-E"]
    if login.cipher_suite:
        words += ["-C", login.cipher_suite]
    if login.privilege:
        words += ["-L", login.privilege]
    if target.address != BMC_ADDRESS:
        words += ["-t", f"{target.address:#04x}", "-b", str(target.channel)]
    if target.lun:
        words += ["-l", str(target.lun)]
    return (*words, "exec", "/dev/stdin")


def _answer(words: str, lines: list[str]) -> bytes:
    """The bytes among the lines that a raw command printed.

    Raises:
        Refused: there are none.
    """
    length, data = None, bytearray()
    for line in lines:
        if refusal := _REFUSAL.match(line):
            code, text = refusal.groups()
            reason = text or "no answer"
            number = int(code, 16) if code else None
            raise Refused(f"raw {words}: {reason}", code=number, reason=reason)
        if said := _LENGTH.match(line):
            length = int(said.group(1))
        elif length is not None and _BYTES.fullmatch(line):
            # Before the length, -v repeats the bytes of the command.
            data += bytes.fromhex(line)
    if length != len(data):
        raise Refused(f"raw {words}: no answer", code=None, reason="no answer")
    return bytes(data)


def _no_session(login: Login, error: ProgramError | DeadlineError) -> InfrasimError:
    """Why there is no session, of what ipmitool said."""
    place = f"{login.host}, port {login.port}"
    lines = error.lines if isinstance(error, ProgramEndedError) else ()
    said = "\n".join(lines)
    if "RAKP 2 HMAC is invalid" in said or "unauthorized name" in said:
        return UsageError(f"{place}: user {login.user!r} or the password is wrong")
    if "Address lookup for" in said:
        return UsageError(f"{login.host}: no machine of that name is known")
    reasons = [line for line in lines if _REASON.match(line)]
    if isinstance(error, DeadlineError) or (not reasons and "Unable to establish" in said):
        return DeadlineError(
            f"{place}: no BMC answers there",
            hint="is IPMI over LAN switched on, and does a firewall let UDP through?",
        )
    return ProgramError(
        f"{place}: ipmitool makes no session: {'; '.join(reasons) or said.strip() or error.message}",
        hint="-C chooses a cipher suite, -L a privilege level",
    )
