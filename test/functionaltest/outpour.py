"""Much serial output: numbered lines, where they come from, and a serial-over-LAN session that keeps them.

Shared by the functional tests and by ``bench/serial.py``.
"""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import NODE, Lab, execute, wait_for

_SOURCE = Path(__file__).parent / "guest" / "printer.asm"
_LINES_AT_ONCE = 10_000
_PATIENCE_S = 180


def numbered(count: int) -> bytes:
    """What a host prints that counts: lines of eight hexadecimal digits."""
    return b"".join(b"%08x\n" % number for number in range(count))


def counting_disk(path: Path, count: int) -> dict[str, str]:
    """A disk whose boot sector prints so many numbered lines, as an entry of ``drives``."""
    assembled = execute("nasm", "-f", "bin", "-D", f"LINES={count}", "-o", str(path), str(_SOURCE))
    assert assembled.code == 0, assembled.err
    with path.open("r+b") as disk:
        disk.truncate(1 << 20)
    return {"file": str(path), "format": "raw"}


def pour(home: Lab, count: int) -> threading.Thread:
    """Print numbered lines into the serial line of a node whose host is off, as fast as it takes them.

    A real host prints a byte at a time, some ten thousand per second under emulation.
    """
    host = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    host.connect(str(home.home / NODE / "run" / "serial.sock"))

    def work() -> None:
        with host:
            for start in range(0, count, _LINES_AT_ONCE):
                lines = range(start, min(start + _LINES_AT_ONCE, count))
                host.sendall(b"".join(b"%08x\n" % number for number in lines))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@contextmanager
def session(home: Lab, said: Path) -> Iterator[None]:
    """``ipmitool sol activate`` that writes what it shows to a file."""
    terminal, other_end = pty.openpty()
    login = ["-I", "lanplus", "-H", home.address, "-U", "admin", "-P", "admin"]
    command = ["ipmitool", *login, "sol", "activate"]
    client = subprocess.Popen(command, stdin=other_end, stdout=other_end, stderr=other_end)
    os.close(other_end)
    said.write_bytes(b"")
    writer = threading.Thread(target=_write_down, args=(terminal, said), daemon=True)
    writer.start()
    try:
        wait_for(
            lambda: b"SOL Session operational" in said.read_bytes(), timeout_s=_PATIENCE_S, what="the session"
        )
        yield
        os.write(terminal, b"\r~.")
        client.wait(timeout=_PATIENCE_S)
    finally:
        client.kill()
        client.wait()
        writer.join(timeout=_PATIENCE_S)
        os.close(terminal)


def _write_down(terminal: int, said: Path) -> None:
    with said.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while text := os.read(terminal, 65536):
            out.write(text)


def shown(said: Path) -> bytes:
    """What the host said in such a session, whatever the terminal made of line ends."""
    text = said.read_bytes().replace(b"\r", b"")
    return text.partition(b"help]\n")[2].rpartition(b"~. [terminated")[0]
