"""A terminal on the host's serial port, between two real pseudo-terminals."""

from __future__ import annotations

import io
import os
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from infrasim.paths import Home, NodePaths
from infrasim.runtime import console


class Keyboard:
    """A user's terminal: what is typed at it, and how it was set when its user was told to begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.user, seen = os.openpty()
        self._terminal = os.fdopen(seen, "r+b", buffering=0)
        self._monkeypatch = monkeypatch
        self.said = ""
        self.was_raw: list[bool] = []

    def attach(self, home: Home) -> None:
        """Be joined to the console of a node."""
        with self._monkeypatch.context() as streams:
            streams.setattr("sys.stdin", self._terminal)
            streams.setattr("sys.stdout", SimpleNamespace(buffer=io.BytesIO()))
            streams.setattr("sys.stderr", self)
            console.attach(home, "a")

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self._terminal)[3] & (termios.ICANON | termios.ECHO)

    def write(self, text: str) -> None:
        """Stand in for standard error."""
        self.said += text
        self.was_raw.append(self.is_raw())

    def flush(self) -> None:
        pass

    def close(self) -> None:
        os.close(self.user)
        self._terminal.close()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    made = Keyboard(monkeypatch)
    yield made
    made.close()


@pytest.fixture
def line(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The host's end of the serial line of a node that has just stopped."""
    paths = home.node("a")
    paths.pty.parent.mkdir(parents=True)
    host, terminal = os.openpty()
    tty.setraw(terminal)
    os.set_blocking(host, False)
    paths.pty.symlink_to(os.ttyname(terminal))

    def running(home: Home, name: str) -> NodePaths:
        return paths

    monkeypatch.setattr(console, "require_running", running)
    monkeypatch.setattr(console, "read_plan", lambda path: SimpleNamespace(serial_over_lan=True))
    yield host
    os.close(host)
    os.close(terminal)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "logs")


def test_keys_are_the_hosts_from_the_moment_that_the_console_says_it_is_there(
    home: Home, keyboard: Keyboard, line: int
) -> None:
    keyboard.attach(home)
    assert keyboard.said == "Console of a. Ctrl-] detaches.\r\n\r\nNode stopped.\n"
    assert keyboard.was_raw == [True, False]
    assert not keyboard.is_raw()


def test_what_is_typed_before_that_is_not_lost(home: Home, keyboard: Keyboard, line: int) -> None:
    os.write(keyboard.user, b"root\n")
    keyboard.attach(home)
    assert os.read(line, 100) == b"root\n"
