"""The control socket's client: one JSON object per line there, one back."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Self

from infrasim.errors import DeadlineError, NotRunningError, ProgramError


class Line:
    """A conversation with a node's supervisor, from the first question to ``close``. A context manager."""

    def __init__(self, control_socket: Path, *, timeout_s: float = 10.0) -> None:
        self._path = control_socket
        self._timeout_s = timeout_s
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """Send ``verb`` and return the answer.

        Raises:
            NotRunningError: nobody listens.
            DeadlineError: no answer in time.
            ProgramError: the supervisor refused, or its answer was cut off.
        """
        request = json.dumps({"verb": verb, **arguments}).encode() + b"\n"
        path = self._path
        try:
            if self._connection is None:
                self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._connection.settimeout(self._timeout_s)
                self._connection.connect(str(path))
            self._connection.sendall(request)
            answer = _read_line(self._connection)
        except TimeoutError as exc:
            raise DeadlineError(f"{path}: no answer to {verb!r} in {self._timeout_s:g} s") from exc
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NotRunningError("the node is not running", hint="run: infrasim node start") from exc
        except OSError as exc:
            raise ProgramError(f"{path}: {exc.strerror or exc}") from exc
        return _decoded(path, verb, answer)


def ask(control_socket: Path, verb: str, *, timeout_s: float = 10.0, **arguments: object) -> dict[str, Any]:
    """Send one ``verb`` to a node's supervisor and return its answer.

    Raises:
        NotRunningError, DeadlineError, ProgramError: as ``Line.ask``.
    """
    with Line(control_socket, timeout_s=timeout_s) as line:
        return line.ask(verb, **arguments)


def _decoded(control_socket: Path, verb: str, answer: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(answer)
    except ValueError as exc:
        raise ProgramError(f"{control_socket}: the answer to {verb!r} was cut off: {answer[:80]!r}") from exc
    if not isinstance(decoded, dict) or not decoded.get("ok"):
        reason = decoded.get("error") if isinstance(decoded, dict) else decoded
        raise ProgramError(f"the supervisor refused {verb!r}: {reason}")
    return decoded


def _read_line(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
        if chunk.endswith(b"\n"):
            break
    return b"".join(chunks)
