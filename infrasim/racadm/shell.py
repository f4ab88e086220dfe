"""The two shells of the controller: its own, and racadm's inside it. Lines in, answers out; no terminal."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from infrasim.racadm.commands import Answer, answer
from infrasim.racadm.ports import Session

OUTER_PROMPT = "/admin1-> "
INNER_PROMPT = "racadm>>"
RACADM = "racadm"
_LEAVE = ("exit", "quit")
_FAILURE = 1
# A command line of any tool is shorter.
LINE_MOST = 1024

_OUTER_HELP = """\
 racadm [subcommand]  -- run a RACADM command, or enter its shell
 help [subcommand]    -- display usage summary
 exit, quit           -- end the session"""


@dataclass
class Shell:
    """One session's shell. ``prompt`` is what stands before the next line; None when the session ends."""

    session: Session
    prompt: str | None = OUTER_PROMPT

    def say(self, line: str) -> Answer:
        """Take a line and answer it; an empty one is nothing."""
        try:
            words = split(line)
        except ValueError as error:
            return Answer(f"ERROR: {error}", _FAILURE)
        if not words:
            return Answer("")
        if self.prompt == INNER_PROMPT:
            return self._inner(words)
        return self._outer(words)

    def _outer(self, words: list[str]) -> Answer:
        match words:
            case ["racadm"]:
                self.prompt = INNER_PROMPT
                return Answer("")
            case ["exit" | "quit"]:
                self.prompt = None
                return Answer("CLP Session terminated")
            case ["help"]:
                return Answer(_OUTER_HELP)
            case ["racadm", *rest]:
                return self._end(answer(self.session, _without_prefix(rest)))
            case ["help", *rest]:
                return answer(self.session, ["help", *_without_prefix(rest)])
            case _:
                return _unknown(words[0])

    def _inner(self, words: list[str]) -> Answer:
        rest = _without_prefix(words)
        if len(rest) == 1 and rest[0] in _LEAVE:
            self.prompt = OUTER_PROMPT
            return Answer("")
        found = answer(self.session, rest)
        # The command is shown before its answer, as an iDRAC does.
        shown = Answer(f"{RACADM} {' '.join(rest)}\n{found.text}", found.code, found.ends_sessions)
        return self._end(shown)

    def _end(self, given: Answer) -> Answer:
        if given.ends_sessions:
            self.prompt = None
        return given


def run(session: Session, line: str) -> Answer:
    """A command line without a terminal, as of ``ssh HOST racadm getsysinfo``."""
    try:
        words = split(line)
    except ValueError as error:
        return Answer(f"ERROR: {error}", _FAILURE)
    match words:
        case []:
            return Answer("")
        case ["racadm"]:
            return Answer(
                f"ERROR: {RACADM} without a subcommand needs a terminal: log in without a command.", _FAILURE
            )
        case ["racadm", *rest]:
            return answer(session, _without_prefix(rest))
        case ["help", *rest]:
            return answer(session, ["help", *_without_prefix(rest)]) if rest else Answer(_OUTER_HELP)
        case ["exit" | "quit"]:
            return Answer("")
        case _:
            return _unknown(words[0])


def split(line: str) -> list[str]:
    """The words of a line.

    Raises:
        ValueError: it is too long, has signs that nobody types, or quotes that are not closed.
    """
    if len(line) > LINE_MOST:
        raise ValueError(f"The command is longer than {LINE_MOST} characters.")
    line = line.rstrip("\r\n")
    if any(not sign.isprintable() and sign != "\t" for sign in line):
        raise ValueError("The command has characters that are not printable.")
    try:
        return shlex.split(line)
    except ValueError:
        raise ValueError("A quotation is not closed.") from None


def _without_prefix(words: list[str]) -> list[str]:
    """``racadm racadm getled`` is ``getled``."""
    return words[next((place for place, word in enumerate(words) if word != RACADM), len(words)) :]


def _unknown(word: str) -> Answer:
    return Answer(f'ERROR: Unknown command: {word}. Run "help" for details.', _FAILURE)
