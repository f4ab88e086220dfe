"""The BMC core's clock: asyncio's timers and the machine's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class LoopClock:
    """Time as the event loop has it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now_s(self) -> float:
        """Seconds on the machine's clock that only goes forward, since it was started.

        Source: asyncio's loop takes ``time.monotonic``, which is the same clock for every process on Linux.
        """
        return self._loop.time()

    def unix_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def later(self, delay_s: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act`` after ``delay_s`` seconds."""
        return self._loop.call_later(delay_s, act)
