"""Processes, locks and files for a program that has imported nothing yet.

``process`` and ``files`` do the same with what an application wants around it. This is for the first
milliseconds of a start: it imports only what is built into the interpreter, and its paths are strings.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself makes enumerations first
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"


def read(path: str) -> bytes:
    """A file's content.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_json(path: str) -> dict[str, Any]:
    """The JSON object in a file, by the part of ``json`` that is compiled: the rest takes 5 ms to import.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON; or this Python has no such part.
    """
    try:
        import _json

        text = read(path).decode()
        found, end = _json.make_scanner(_JsonFlavour)(text, 0)  # type: ignore[arg-type]  # wants a decoder
    except (ImportError, StopIteration, SystemError) as exc:
        raise ValueError(path) from exc
    if not isinstance(found, dict) or text[end:].strip():
        raise ValueError(path)
    return found


class _JsonFlavour:
    """How ``json.loads`` reads. Source: CPython, json.decoder.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def replace(path: str, content: bytes) -> None:
    """Replace a file as a whole, as ``files.write_atomic`` does."""
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)  # noqa: PTH104 - pathlib takes as long to import as all of this


def remove(path: str) -> None:
    """Remove a file if it is there."""
    try:
        os.unlink(path)  # noqa: PTH108 - as above
    except FileNotFoundError:
        return


def signature(path: str) -> tuple[int, ...] | None:
    """What changes when a file or folder does; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode)


def hold_lock(path: str) -> int | None:
    """Take a lock file as ``files.hold_lock`` does; None if another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder removes the file; a lock on a removed file is no lock.
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116 - as above
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def release_lock(path: str, descriptor: int) -> None:
    """Give a lock back and remove its file."""
    try:
        remove(path)
    finally:
        os.close(descriptor)


def spawn(argv: tuple[str, ...], log: str) -> int:
    """Start a child in a session of its own as ``process.spawn`` does, here in this folder; its pid."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        argv[0],
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o640),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        # What Python ignores and programs want. Source: subprocess, restore_signals.
        setsigdef=(_signal.SIGPIPE, _signal.SIGXFSZ),
    )


def end_group(leader: int) -> None:
    """Kill a child with what it forked, and reap it."""
    try:
        os.killpg(leader, _signal.SIGKILL)
        os.waitpid(leader, 0)
    except OSError:
        return


def start_ticks(pid: int) -> int:
    """When a process began. Source: proc(5), field 22 of stat."""
    return int(read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])


def moment() -> str:
    """Now, in UTC with milliseconds, as in events.jsonl."""
    now_ms = time.time_ns() // 1_000_000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now_ms // 1000))}.{now_ms % 1000:03}+00:00"
