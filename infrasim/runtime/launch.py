"""The command's end of a supervisor's start: begin early, say go, hear how it went."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from infrasim.errors import DeadlineError, ProgramError, error_from_json
from infrasim.host.files import last_lines
from infrasim.host.process import replace_by, spawn
from infrasim.paths import NodePaths

GO = "go\n"

# What a supervisor says of a start that somebody ended.
STOPPED_MEANWHILE = "the node was stopped while it was starting"

_START_WAIT_S = 200.0

# Homes that start nodes at once choose the same free port, and one of them gets it.
ADDRESS_TRIES = 8
_TRIES_LEFT = "INFRASIM_RUN_TRIES_LEFT"


class Launch:
    """A supervisor that imports what it needs and then waits for ``go``; ``cancel`` lets it end."""

    def __init__(self, paths: NodePaths) -> None:
        self._paths = paths
        # What it says before it has its log, such as a failed import.
        self._early_words = os.memfd_create("infrasim-supervisor")
        self._outcome, outcome_end = os.pipe()
        order_end, self._order = os.pipe()
        os.environ["PYTHONPATH"] = supervisor_path()
        try:
            self._process = spawn(
                [*supervisor_argv(paths), "background", str(outcome_end)],
                output=self._early_words,
                cwd=paths.workspace.parent,
                stdin=order_end,
                keep_open=[outcome_end],
            )
        finally:
            os.close(order_end)
            os.close(outcome_end)

    def go(self) -> None:
        """Start the node by its plan.json and return when it is up.

        Raises:
            InfrasimError: what the supervisor says of a failed start; nothing runs then.
        """
        try:
            os.write(self._order, GO.encode())
            outcome = self._read_outcome()
        except BrokenPipeError:
            raise self._silent_end() from None
        if not outcome.get("ok"):
            raise error_from_json(outcome)

    def close(self) -> None:
        """Let go of the supervisor; one that was not told to go ends."""
        for descriptor in (self._order, self._outcome):
            os.close(descriptor)
        self._process.wait()
        os.close(self._early_words)

    def _read_outcome(self) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self._outcome, select.POLLIN | select.POLLHUP)
        deadline = time.monotonic() + _START_WAIT_S
        said = b""
        while not said.endswith(b"\n"):
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise DeadlineError(f"the supervisor did not report within {_START_WAIT_S:g} s")
            chunk = os.read(self._outcome, 65536)
            if not chunk:
                raise self._silent_end()
            said += chunk
        outcome = json.loads(said)
        assert isinstance(outcome, dict)
        return outcome

    def _silent_end(self) -> ProgramError:
        size = os.lseek(self._early_words, 0, os.SEEK_END)
        early = os.pread(self._early_words, size, 0).decode(errors="replace").splitlines()
        return silent_end(self._paths, early)


def silent_end(paths: NodePaths, early: Sequence[str] = ()) -> ProgramError:
    """The error of a supervisor that ended before it said anything; ``early`` is not in its log."""
    log = paths.log("supervisor")
    lines = "\n".join(f"    {line}" for line in (*early, *last_lines(log))[-20:])
    return ProgramError(f"the supervisor ended without a word; last lines of {log}:\n{lines}")


def become_supervisor(paths: NodePaths) -> NoReturn:
    """Turn this process into the node's supervisor, in the foreground; does not return.

    It is told how this command was called, so that it can be called again.
    """
    os.environ["PYTHONPATH"] = supervisor_path()
    tries_left = int(os.environ.pop(_TRIES_LEFT, ADDRESS_TRIES)) - 1
    replace_by([*supervisor_argv(paths), "foreground", str(tries_left), *sys.orig_argv[1:]])


def call_again(tries_left: int, words: Sequence[str]) -> NoReturn:
    """Turn a supervisor in the foreground that has begun nothing back into the command that it was."""
    os.environ[_TRIES_LEFT] = str(tries_left)
    replace_by([sys.executable, *words])


def supervisor_path() -> str:
    """The supervisor's PYTHONPATH: the package may lie in a clone that only this process was told of."""
    package = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([package, *filter(None, known)]))


def supervisor_argv(paths: NodePaths) -> list[str]:
    """The supervisor's command line, without its mode."""
    # Late, because the supervisor has this module too, and does not probe.
    from infrasim.host.probe import SUPERVISOR_MODULE

    return [sys.executable, "-m", SUPERVISOR_MODULE, paths.name, str(paths.workspace), str(paths.log_dir)]
