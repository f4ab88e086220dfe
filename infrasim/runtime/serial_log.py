"""The serial log: begun anew with each host, and cut when it has grown long, without losing a byte.

Whoever writes it, socat or QEMU, holds it open for appending and never opens it again. So it is copied and
emptied, not renamed. Between the last byte that was copied and the emptying the writer is suspended, for
about a millisecond; meanwhile the host's output waits in the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# When the log is cut. What was before is kept once, so the newest so many bytes are always there.
MOST_BYTES = 64 * 1024 * 1024

_POLL_S = 0.001
_SUSPENDED_WITHIN_S = 1.0


class SerialLog:
    """The log at ``path``; what was before is at ``older``."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self.older = path.with_name(f"{path.name}.1")
        self._new_older = path.with_name(f".{path.name}.1.new")

    def begin(self) -> None:
        """Begin anew before a host; what the one before said is kept."""
        with contextlib.suppress(OSError):
            shutil.copyfile(self._path, self.older)
        # Also when there was no room for the copy: emptying makes some.
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)

    def is_long(self) -> bool:
        """Whether it is to be cut."""
        try:
            return self._path.stat().st_size >= self._most_bytes
        except OSError:
            return False

    async def cut(
        self, suspend: Callable[[], None], is_suspended: Callable[[], bool], resume: Callable[[], None]
    ) -> bool:
        """Move all there is to ``older``; False if the writer cannot be suspended.

        Raises:
            OSError: there is no room for the copy; the log is as it was.
        """
        try:
            with self._path.open("rb") as log, self._new_older.open("wb") as copy:
                # Most of it while the writer goes on, and nobody waits.
                await asyncio.to_thread(shutil.copyfileobj, log, copy)
                suspend()
                try:
                    return await self._finish(log, copy, is_suspended)
                finally:
                    resume()
        finally:
            self._new_older.unlink(missing_ok=True)

    async def _finish(self, log: BinaryIO, copy: BinaryIO, is_suspended: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(_SUSPENDED_WITHIN_S):
                while not is_suspended():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return False
        shutil.copyfileobj(log, copy)
        copy.flush()
        self._new_older.replace(self.older)
        os.truncate(self._path, 0)
        return True


def unread(path: Path, offset: int) -> bytes:
    """For who reads on at ``offset`` and finds the log shorter: what was behind that before it was cut."""
    try:
        with path.with_name(f"{path.name}.1").open("rb") as older:
            older.seek(offset)
            return older.read()
    except OSError:
        return b""
