"""A terminal on the host's serial port, beside serial-over-LAN and any number of other consoles.

What the host says is read from its serial log, which has every byte; what is typed goes into the
same terminal device that ipmi_sim writes to.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from infrasim.errors import HostError, UsageError
from infrasim.paths import Home
from infrasim.plan.model import read_plan
from infrasim.runtime.node import require_running
from infrasim.runtime.serial_log import unread

DETACH_KEY = b"\x1d"  # Ctrl-]
_REPLAY_BYTES = 8192
_POLL_MS = 30
# What is kept of a user's keys while the host reads none; more is lost.
_UNSENT_MOST = 65536


def attach(home: Home, name: str) -> None:
    """Join this terminal to the console until the detach key, end of input, or the node's end.

    Raises:
        NotRunningError: the node does not run.
        UsageError: the node has no serial line.
    """
    paths = require_running(home, name)
    decided = read_plan(paths.plan)
    if decided is None or not decided.serial_over_lan:
        raise UsageError(f"node {name} has no serial line", hint="set sol_enable: true in its node file")
    if sys.stdin is None or sys.stdout is None:
        raise UsageError("a console needs standard input and standard output")
    try:
        line = os.open(paths.pty, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as exc:
        raise HostError(f"cannot open {paths.pty}: {exc.strerror}") from exc
    try:
        with _raw_terminal():
            # Whoever reads this types from now on to the host.
            sys.stderr.write(f"Console of {name}. Ctrl-] detaches.\r\n")
            sys.stderr.flush()
            ended = _converse(str(paths.serial_log), str(paths.state), line)
    finally:
        os.close(line)
    sys.stderr.write(f"\r\n{'Node stopped' if ended else 'Detached'}.\n")


def _converse(log: str, state: str, line: int) -> bool:
    """Copy both ways; True when the node ended, False when the user left."""
    offset = max(0, _size(log) - _REPLAY_BYTES)
    keyboard = sys.stdin.fileno()
    is_terminal = sys.stdin.isatty()
    unsent = b""
    poll = select.poll()
    poll.register(keyboard, select.POLLIN | select.POLLHUP)
    while True:
        offset = _copy_new_output(log, offset)
        unsent = _send(line, unsent)
        # A host that does not read its serial port makes a pipe wait; a user can always leave.
        waits = bool(unsent) and not is_terminal
        if waits:
            time.sleep(_POLL_MS / 1000)
        if waits or not poll.poll(_POLL_MS):
            if not os.path.exists(state):  # noqa: PTH110 - asked thirty times a second
                return True
            continue
        typed = os.read(keyboard, 1024)
        before, found, _ = typed.partition(DETACH_KEY)
        unsent = (unsent + before)[:_UNSENT_MOST]
        if found or not typed:
            _send(line, unsent)
            _copy_new_output(log, offset)
            return False


def _send(line: int, keys: bytes) -> bytes:
    """Type what the line takes now and return the rest."""
    try:
        return keys[os.write(line, keys) :] if keys else keys
    except BlockingIOError:
        return keys
    except OSError:
        return b""  # the line is gone, and with it whoever would have read this


def _copy_new_output(log: str, offset: int) -> int:
    size = _size(log)
    data = b""
    if size < offset:
        # The host was powered on anew, or the log was cut.
        data, offset = unread(Path(log), offset), 0
    if size > offset:
        with open(log, "rb") as stream:  # noqa: PTH123 - asked thirty times a second
            stream.seek(offset)
            more = stream.read()
        data += more
        offset += len(more)
    if data:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return offset


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - asked thirty times a second
    except OSError:
        return 0


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the host, until the end, also what was typed early; a pipe is left as it is."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
