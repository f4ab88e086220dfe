"""The serial console of a node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
from lab import NODE, Lab

BOOT_S = 240
ANSWER_S = 60


@contextmanager
def console_of(home: Lab, node: str = NODE) -> Iterator[pexpect.spawn[str]]:
    """The host's serial console."""
    argv = ["-m", "infrasim", "node", "console", node]
    terminal = pexpect.spawn(sys.executable, argv, env=home.env, timeout=ANSWER_S, encoding="latin-1")
    terminal.expect_exact("Ctrl-] detaches")
    try:
        yield terminal
    finally:
        terminal.close(force=True)
