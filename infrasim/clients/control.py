"""The control socket's client: one JSON object per line there, one back."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from infrasim.errors import DeadlineError, NotRunningError, ProgramError


def ask(control_socket: Path, verb: str, *, timeout_s: float = 10.0, **arguments: object) -> dict[str, Any]:
    """Send ``verb`` to a node's supervisor and return its answer.

    Raises:
        NotRunningError: nobody listens.
        DeadlineError: no answer in time.
        ProgramError: the supervisor refused, or its answer was cut off.
    """
    request = json.dumps({"verb": verb, **arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(control_socket))
            connection.sendall(request)
            answer = _read_line(connection)
        except TimeoutError as exc:
            raise DeadlineError(f"{control_socket}: no answer to {verb!r} in {timeout_s:g} s") from exc
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NotRunningError("the node is not running", hint="run: infrasim node start") from exc
        except OSError as exc:
            raise ProgramError(f"{control_socket}: {exc.strerror or exc}") from exc
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
