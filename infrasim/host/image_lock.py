"""Whether another QEMU has a disk image open, and who that is.

QEMU says what it does with an image, and what it lets others do, by locks on single bytes of the file. They
are asked for here, never taken.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

# Source: QEMU block/file-posix.c: a byte for each permission that is used, one for each that is not shared.
_USED, _NOT_SHARED = 100, 200
_WRITE = 1  # BLK_PERM_WRITE is bit 1.
# Source: struct flock of fcntl_locking(2) on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = struct.Struct("hh4xqqi4x")


def is_held(path: Path, *, writes: bool, shares: bool) -> bool:
    """Whether QEMU could not open the image now: to write it or only read it, letting others write or not.

    Raises:
        OSError: it cannot be opened.
    """
    bytes_to_ask = [*([_NOT_SHARED + _WRITE] if writes else []), *([] if shares else [_USED + _WRITE])]
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return any(_is_locked(descriptor, offset) for offset in bytes_to_ask)
    finally:
        os.close(descriptor)


def holders(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Processes that have the file open, as far as they can be seen: pid and words of the command line."""
    wanted = path.stat()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(_is_same(link, wanted) for link in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                yield int(process.name), [os.fsdecode(word) for word in words]


def _is_same(link: Path, wanted: os.stat_result) -> bool:
    try:
        found = link.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def _is_locked(descriptor: int, offset: int) -> bool:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    except OSError:
        # A file system without locks, on which QEMU takes none either.
        return False
    kind: int = _FLOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK
