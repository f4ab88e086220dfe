"""A Linux guest on a node, and what its own ipmitool says over KCS: the BMC's other door."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
from guest.build import Guest
from lab import NODE, Lab, Ran

BOOT_S = 900
ANSWER_S = 300
# What the kernel says goes between any two letters of the shell's.
_KERNEL = r"(?:\[ *\d+\.\d+\][^\n]*\n)*"


def say(terminal: pexpect.spawn[str], line: str) -> Ran:
    """Run a line in the guest's shell: what it prints, and its exit code.

    The answer is what stands between two marks that nobody has said before, and that the line as it is typed
    does not have. So it does not matter what a console shows again of an earlier time, nor how often the line
    is echoed, by the shell's line editor or the kernel's.
    """
    mark = secrets.token_hex(4)
    # The line editor may take the first key for a part of the terminal's answer: then it is a space.
    terminal.sendline(f" echo b''{mark}; {line}; echo e''{mark}=$?")
    terminal.expect(_apart(f"b{mark}"))
    terminal.expect(_apart(f"e{mark}=") + rf"{_KERNEL}(\d+){_KERNEL}\r")
    assert isinstance(terminal.match, re.Match)
    printed = str(terminal.before).replace("\r", "").removeprefix("\n")
    return Ran(int(terminal.match.group(1)), printed, "")


def _apart(letters: str) -> str:
    """A pattern for letters with words of the kernel between them."""
    return _KERNEL.join(map(re.escape, letters))


def answer(terminal: pexpect.spawn[str], line: str) -> str:
    """What a command in the guest prints."""
    return say(terminal, line).out


def order(terminal: pexpect.spawn[str], line: str) -> None:
    """Run what ends the guest's system, so that there is nothing to hear."""
    terminal.sendline(f" {line}")


class Inside:
    """A shell in the guest of a node."""

    def __init__(self, terminal: pexpect.spawn[str]) -> None:
        self.terminal = terminal

    def run(self, line: str) -> Ran:
        """Run one line in the guest."""
        return say(self.terminal, line)

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
def console(home: Lab, guest: Guest, node: str = NODE) -> Iterator[pexpect.spawn[str]]:
    """The console of a node, as soon as the guest's shell has asked for a line since power-on."""
    argv = ["-m", "infrasim", "node", "console", node]
    terminal = pexpect.spawn(sys.executable, argv, env=home.env, timeout=ANSWER_S, encoding="latin-1")
    try:
        terminal.expect_exact("Ctrl-] detaches")
        if guest.prompt not in home.serial(node):
            terminal.expect_exact(guest.prompt, timeout=BOOT_S)
        yield terminal
    finally:
        terminal.close(force=True)


@contextmanager
def shell(home: Lab, guest: Guest, node: str = NODE) -> Iterator[Inside]:
    """The guest's shell, as soon as it has one."""
    with console(home, guest, node) as terminal:
        yield Inside(terminal)
