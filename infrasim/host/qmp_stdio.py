"""A QEMU that is started to be asked something over QMP, at its standard input, and then ends."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence

from infrasim.errors import ProgramEndedError
from infrasim.host.process import Conversation

_TIMEOUT_S = 30.0
# So many commands fit into a pipe together.
_COMMANDS_AT_ONCE = 100
# Ends a batch: a QEMU without a name has nothing else to say of it.
_END = '{"execute": "query-name", "id": "end"}'
_ENDED = '{"return": {}, "id": "end"}'


class QmpTalk:
    """What can be said to it, and everything that it said."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self.lines: list[str] = []

    def ask(self, commands: Sequence[str]) -> None:
        """Say the commands and wait for their answers; ``lines`` has them even if it ends.

        Raises:
            ProgramEndedError: it ended before it had answered all.
            DeadlineError: it does not answer in time.
        """
        for begin in range(0, len(commands), _COMMANDS_AT_ONCE):
            batch = [*commands[begin : begin + _COMMANDS_AT_ONCE], _END]
            try:
                self.lines += self._talk.ask(
                    "".join(f"{each}\n" for each in batch), until=_ENDED, timeout_s=_TIMEOUT_S
                )
            except ProgramEndedError as exc:
                self.lines += exc.lines
                raise


def command(name: str, **arguments: object) -> str:
    """A command of QMP."""
    return json.dumps({"execute": name, "arguments": arguments})


@contextlib.contextmanager
def qmp_talk(argv: Sequence[str]) -> Iterator[QmpTalk]:
    """Start ``argv``, a QEMU without its monitor, wait until it has made its machine, and end it afterwards.

    It greets before it has made its machine, and answers afterwards.

    Raises:
        HostError: it cannot be run.
        ProgramEndedError: it ended instead.
        DeadlineError: it does not answer in time.
    """
    talk = Conversation((*argv, "-qmp", "stdio"), env=os.environ)
    try:
        session = QmpTalk(talk)
        session.ask([command("qmp_capabilities")])
        session.lines.clear()
        yield session
        with contextlib.suppress(ProgramEndedError):
            # It ends in place of saying that it has.
            session.ask([command("quit")])
    finally:
        talk.close()
