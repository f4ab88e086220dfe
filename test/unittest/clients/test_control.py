"""The control socket's client against supervisors that answer well, badly or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infrasim.clients.control import ask
from infrasim.errors import DeadlineError, NotRunningError, ProgramError

pytestmark = pytest.mark.allow("socket")

Act = Callable[[socket.socket], None]


class Supervisor:
    """Takes one connection, reads one line, and does as the test says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[bytes] = []
        self.act: Act = lambda connection: None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            with connection, connection.makefile("rb") as stream:
                self.requests.append(stream.readline())
                self.act(connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "control.sock")
    yield made
    made.close()


def says(*chunks: bytes) -> Act:
    def act(connection: socket.socket) -> None:
        for chunk in chunks:
            connection.sendall(chunk)

    return act


def test_ask_sends_one_line_and_returns_the_answer(supervisor: Supervisor) -> None:
    supervisor.act = says(b'{"ok": true, "state"', b': {"power": true}}\n')
    assert ask(supervisor.path, "power", words=["on"]) == {"ok": True, "state": {"power": True}}
    assert [json.loads(line) for line in supervisor.requests] == [{"verb": "power", "words": ["on"]}]


def test_large_answer(supervisor: Supervisor) -> None:
    text = "x" * 300_000
    supervisor.act = says(json.dumps({"ok": True, "text": text}).encode() + b"\n")
    assert ask(supervisor.path, "status")["text"] == text


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            b'{"ok": false, "error": "the chassis is off"}\n',
            "the supervisor refused 'power': the chassis is off",
        ),
        (b'{"error": "odd"}\n', "the supervisor refused 'power': odd"),
        (b"{}\n", "the supervisor refused 'power': None"),
        (b"[1]\n", "the supervisor refused 'power': [1]"),
        (b"", "{path}: the answer to 'power' was cut off: b''"),
        (b'{"ok": tr', "{path}: the answer to 'power' was cut off: b'{\"ok\": tr'"),
        (b"\xff\xfe\n", "{path}: the answer to 'power' was cut off: b'\\xff\\xfe\\n'"),
    ],
    ids=["refused", "no ok", "empty object", "list", "closed", "half", "noise"],
)
def test_answers_that_are_none(supervisor: Supervisor, reply: bytes, message: str) -> None:
    supervisor.act = says(reply)
    with pytest.raises(ProgramError) as caught:
        ask(supervisor.path, "power")
    assert caught.value.message == message.replace("{path}", str(supervisor.path))


def test_connection_reset(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(_: socket.socket) -> bytes:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("infrasim.clients.control._read_line", reset)
    with pytest.raises(ProgramError) as caught:
        ask(supervisor.path, "status")
    assert caught.value.message == f"{supervisor.path}: Connection reset by peer"


def test_no_answer_in_time(supervisor: Supervisor) -> None:
    release = threading.Event()

    def wait(_: socket.socket) -> None:
        release.wait(5)

    supervisor.act = wait
    try:
        with pytest.raises(DeadlineError) as caught:
            ask(supervisor.path, "stop", timeout_s=0.05)
    finally:
        release.set()
    assert caught.value.message == f"{supervisor.path}: no answer to 'stop' in 0.05 s"


@pytest.mark.parametrize("leftover", [False, True], ids=["no socket", "socket that nobody serves"])
def test_nobody_listens(tmp_path: Path, leftover: bool) -> None:
    path = tmp_path / "control.sock"
    if leftover:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    with pytest.raises(NotRunningError) as caught:
        ask(path, "status")
    assert (caught.value.message, caught.value.hint) == (
        "the node is not running",
        "run: infrasim node start",
    )


def test_path_that_is_no_socket(tmp_path: Path) -> None:
    with pytest.raises((ProgramError, NotRunningError)):
        ask(tmp_path, "status")
    with pytest.raises(ProgramError) as caught:
        ask(tmp_path / ("x" * 120), "status")
    assert caught.value.message == f"{tmp_path}/{'x' * 120}: AF_UNIX path too long"
