"""Files: atomic writes, locks, digests and safe removal. Knows nothing of nodes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from infrasim.errors import NO_PERMISSION_HINT, DeadlineError, HostError

_LOCK_POLL_S = 0.02


def make_dir(path: Path, *, mode: int = 0o700) -> None:
    """Make ``path`` and its missing parents, each with ``mode``.

    Raises:
        HostError: when the place cannot be written, naming it.
    """
    missing = []
    probe = path
    try:
        while not probe.exists():
            missing.append(probe)
            probe = probe.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=mode)
        if not path.is_dir():
            raise NotADirectoryError(20, "Not a directory")
    except OSError as exc:
        raise _cannot("make folder", path, exc) from exc


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600, durable: bool = False) -> None:
    """Replace ``path`` by ``data`` so that a reader sees the old or the new content, never a part.

    ``durable`` also waits until the disk has it.

    Raises:
        HostError: when the place cannot be written or is full; ``path`` is then as it was.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(descriptor)
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _cannot("write", path, exc) from exc


def make_link(path: Path, target: Path) -> None:
    """Make a symbolic link; what it leads to need not be there.

    Raises:
        HostError: when the place cannot be written or something is there.
    """
    try:
        path.symlink_to(target)
    except OSError as exc:
        raise _cannot("make the link", path, exc) from exc


def overwrite(path: Path, data: bytes | str) -> bool:
    """Replace what a small file holds in the room it has already; False if that is not possible.

    For what must be true even on a full disk. A reader may see the new text with the end of the old.
    """
    content = data.encode() if isinstance(data, str) else data
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            # Source: stat(2), st_blocks counts 512 bytes. Growing into a new block could stop half-way.
            if len(content) > os.fstat(descriptor).st_blocks * 512:
                return False
            written = os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, written)
            return written == len(content)
        finally:
            os.close(descriptor)
    return False


def append_line(path: Path, line: str) -> bool:
    """Add a whole line to a log, or nothing; False if there is no room or no right to."""
    content = f"{line}\n".encode()
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            written = 0
            with contextlib.suppress(OSError):
                written = os.write(descriptor, content)
            if written == len(content):
                return True
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
    return False


def write_if_changed(path: Path, data: bytes | str, *, mode: int = 0o600) -> bool:
    """Write ``data`` atomically unless ``path`` already holds it with that mode; True if written."""
    content = data.encode() if isinstance(data, str) else data
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o7777 == mode and path.read_bytes() == content:
            return False
    write_atomic(path, content, mode=mode)
    return True


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float, what: str) -> Iterator[None]:
    """Hold the exclusive lock file ``path``, which exists only while it is held.

    Raises:
        DeadlineError: when somebody else holds it longer than ``timeout_s``; ``what`` names the work.
        HostError: when the lock file cannot be made.
    """
    deadline = time.monotonic() + timeout_s
    while (descriptor := hold_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise DeadlineError(
                f"{what}: another command has been working on it for {timeout_s:g} s (lock {path})",
                hint="wait for it to end, then try again",
            )
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        release_lock(path, descriptor)


def hold_lock(path: Path) -> int | None:
    """Take the lock file ``path``; None if another process has it.

    Returns the open descriptor, which is the lock until ``release_lock`` or the end of the process.
    """
    while True:
        descriptor = _open_lock(path)
        if not _try_flock(descriptor):
            os.close(descriptor)
            return None
        # The last holder removes the file; a lock on a removed file is no lock.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def release_lock(path: Path, descriptor: int) -> None:
    """Give a lock back and remove its file."""
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(descriptor)


def remove_tree(path: Path, *, inside: Path) -> None:
    """Remove ``path`` with everything below it; links are removed, never followed.

    Raises:
        HostError: when ``path`` is not strictly inside ``inside``, or cannot be removed.
    """
    if path.parent.resolve() != inside.resolve() or path.name in ("", ".", ".."):
        raise HostError(f"refusing to remove {path}: it is not directly inside {inside}")
    try:
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            import shutil

            shutil.rmtree(path)
    except OSError as exc:
        raise _cannot("remove", path, exc) from exc


def last_lines(path: Path, count: int = 20, *, end: int | None = None) -> tuple[str, ...]:
    """The last ``count`` lines of a log, empty if there is none; reads at most 64 KiB.

    What is behind ``end``, a number of bytes, does not count.
    """
    try:
        with path.open("rb") as stream:
            if end is None:
                end = stream.seek(0, os.SEEK_END)
            start = stream.seek(max(0, end - 65536))
            text = stream.read(end - start).decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-count:]) if count else ()


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _cannot("make lock file", path, exc) from exc


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cannot(action: str, path: Path, exc: OSError) -> HostError:
    reason = exc.strerror or str(exc)
    if isinstance(exc, PermissionError):
        return HostError(f"cannot {action} {path}: {reason}", hint=NO_PERMISSION_HINT)
    return HostError(f"cannot {action} {path}: {reason}")
