"""The guard in conftest.py refuses what it says, and only then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest


def connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


def bind() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", 9))


TOUCHES: dict[str, Callable[[], object]] = {
    "Popen": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "fork": os.fork,
    "system": lambda: os.system("true"),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "kill": lambda: os.kill(os.getpid(), 0),
    "killpg": lambda: os.killpg(os.getpgid(0), 0),
    "pthread_kill": lambda: signal.pthread_kill(0, 0),
    "connect": connect,
    "bind": bind,
    "sendto": send_datagram,
}


@pytest.mark.parametrize("name", TOUCHES)
def test_unmarked_test_is_refused_and_except_exception_does_not_swallow_it(name: str) -> None:
    with pytest.raises(BaseException, match="mark the test with") as caught:
        try:
            TOUCHES[name]()
        except Exception:
            pytest.fail("swallowed")
    assert not isinstance(caught.value, Exception)


@pytest.mark.allow("process")
def test_marked_for_processes() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
    with pytest.raises(BaseException, match=r"socket\.bind"):
        bind()


@pytest.mark.allow("socket")
def test_marked_for_sockets() -> None:
    bind()
    with pytest.raises(BaseException, match=r"os\.kill"):
        os.kill(os.getpid(), 0)
