"""The BMC's end of the serial line: it holds socat's pseudo-terminal open and is the core's ``Serial``.

What the host prints is handed on as it comes; while the line is paused it waits in the terminal,
then in socat's socket, then in the host. What is written is kept, up to a limit, until the terminal
takes it. socat comes and goes: the line closes itself when socat is gone, and the caller says
``reopen`` when there is a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import termios
from collections.abc import Callable
from pathlib import Path

LOG = logging.getLogger(__name__)

# Most that is read at once; a terminal gives a few kilobytes.
_READ_BYTES = 65536
# Most that waits for a host that does not read. More would only be typed by nobody's hand.
_UNSENT_BYTES = 4096


class SerialLine:
    """The line at the terminal ``path``.

    ``received`` is called with what the host prints, ``writable`` when the line takes characters
    again after it did not take all, ``break_wanted`` to give the host a break: a terminal cannot.
    """

    def __init__(
        self,
        path: Path,
        *,
        received: Callable[[bytes], None],
        writable: Callable[[], None],
        break_wanted: Callable[[], None],
    ) -> None:
        self._path = path
        self._received = received
        self._writable = writable
        self._break_wanted = break_wanted
        self._loop = asyncio.get_running_loop()
        self._line: int | None = None
        self._unsent = bytearray()
        self._is_paused = False
        self._was_full = False

    @property
    def is_open(self) -> bool:
        """Whether there is a terminal at the other end."""
        return self._line is not None

    def reopen(self) -> None:
        """Open the terminal, anew if it is open.

        Raises:
            OSError: it cannot be opened; the line is closed then.
        """
        self.close()
        line = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _make_raw(line)
        except termios.error as exc:
            os.close(line)
            raise OSError(*exc.args) from exc
        self._line = line
        if not self._is_paused:
            self._loop.add_reader(line, self._read)
        if self._unsent:
            self._loop.add_writer(line, self._write_unsent)

    def close(self) -> None:
        """Let go of the terminal; harmless when there is none."""
        line, self._line = self._line, None
        if line is not None:
            self._loop.remove_reader(line)
            self._loop.remove_writer(line)
            os.close(line)

    def write(self, data: bytes) -> int:
        """Send bytes to the host and return how many were taken; none without a terminal."""
        taken = 0
        if self._line is not None and not self._unsent:
            taken = self._write_now(data)
        if self._line is None:
            return 0
        more = data[taken : taken + _UNSENT_BYTES - len(self._unsent)]
        if more:
            if not self._unsent:
                self._loop.add_writer(self._line, self._write_unsent)
            self._unsent += more
        taken += len(more)
        self._was_full = self._was_full or taken < len(data)
        return taken

    def discard(self) -> None:
        """Forget what the host has not read yet; what socat has taken is beyond reach."""
        self._unsent.clear()
        if self._line is not None:
            self._loop.remove_writer(self._line)
            with contextlib.suppress(termios.error):
                termios.tcflush(self._line, termios.TCOFLUSH)
        self._tell_writable()

    def send_break(self) -> None:
        """Give the host a break."""
        self._break_wanted()

    def pause(self, *, paused: bool) -> None:
        """Stop reading what the host prints, or go on."""
        self._is_paused = paused
        if self._line is None:
            return
        if paused:
            self._loop.remove_reader(self._line)
        else:
            self._loop.add_reader(self._line, self._read)

    def _read(self) -> None:
        assert self._line is not None
        try:
            data = os.read(self._line, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self._lose()

    def _write_now(self, data: bytes | bytearray) -> int:
        assert self._line is not None
        try:
            return os.write(self._line, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return 0

    def _write_unsent(self) -> None:
        del self._unsent[: self._write_now(self._unsent)]
        if self._line is None or self._unsent:
            return
        self._loop.remove_writer(self._line)
        self._tell_writable()

    def _tell_writable(self) -> None:
        if self._was_full:
            self._was_full = False
            self._writable()

    def _lose(self) -> None:
        LOG.info("the serial line %s was hung up", self._path)
        self.close()


def _make_raw(line: int) -> None:
    """Every byte passes as it is, in both directions. Source: termios(3), cfmakeraw."""
    attributes = termios.tcgetattr(line)
    attributes[0] = 0
    attributes[1] = 0
    attributes[2] = attributes[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    attributes[3] = 0
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(line, termios.TCSANOW, attributes)
