"""A Linux guest on a node, and what its own ipmitool says over KCS: the BMC's other door."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
from guest.build import Guest
from lab import NODE, Lab, Ran

BOOT_S = 240
ANSWER_S = 60
_EXIT = re.compile(r"exit=(\d+)\s*$")


def answer(terminal: pexpect.spawn[str], guest: Guest, line: str) -> str:
    """What a command in the guest prints."""
    # The shell's line editor may take the first key for a part of the terminal's answer: then it is a space.
    terminal.sendline(f" {line}")
    terminal.expect_exact(line)
    terminal.expect_exact(guest.prompt)
    return str(terminal.before).replace("\r", "")


def wake(terminal: pexpect.spawn[str], guest: Guest) -> None:
    """Say something to a shell that has just begun.

    Its line editor asks the terminal where the cursor is, and may take the first key
    for a part of the answer.
    """
    terminal.sendline("echo awake")
    terminal.expect_exact("awake\r\n")
    terminal.expect_exact(guest.prompt)


class Inside:
    """A shell in the guest of a node."""

    def __init__(self, terminal: pexpect.spawn[str], guest: Guest) -> None:
        self.terminal = terminal
        self._guest = guest

    def run(self, line: str) -> Ran:
        """Run one line in the guest."""
        text = answer(self.terminal, self._guest, f'{line}; echo "exit=$?"').partition("\n")[2]
        found = _EXIT.search(text)
        assert found, text
        return Ran(int(found.group(1)), text[: found.start()], "")

    def ipmi(self, *words: str) -> str:
        """Run ipmitool over KCS, which must succeed."""
        ran = self.run("ipmitool " + " ".join(words))
        assert ran.code == 0, f"in the guest: ipmitool {' '.join(words)}: exit {ran.code}\n{ran.out}"
        return ran.out

    def raw(self, *numbers: int) -> bytes:
        """What the BMC answers to a raw request, which must succeed."""
        return bytes.fromhex(self.ipmi("raw", *(f"{number:#x}" for number in numbers)))


def guest_settings(guest: Guest, **compute: Any) -> dict[str, Any]:
    """The ``compute`` of a node that boots the guest."""
    return {
        "kernel": str(guest.kernel),
        "initrd": str(guest.initrd),
        "cmdline": guest.cmdline,
        "memory": {"size": 512},
        **compute,
    }


@contextmanager
def shell(home: Lab, guest: Guest, node: str = NODE) -> Iterator[Inside]:
    """The guest's shell, as soon as it has one."""
    argv = ["-m", "infrasim", "node", "console", node]
    terminal = pexpect.spawn(sys.executable, argv, env=home.env, timeout=ANSWER_S, encoding="latin-1")
    try:
        terminal.expect_exact("Ctrl-] detaches")
        if guest.prompt not in home.serial(node):
            terminal.expect_exact(guest.prompt, timeout=BOOT_S)
        wake(terminal, guest)
        yield Inside(terminal, guest)
    finally:
        terminal.close(force=True)
