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
        """Seconds on a clock that only goes forward."""
        return self._loop.time()

    def unix_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def later(self, delay_s: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act`` after ``delay_s`` seconds."""
        return self._loop.call_later(delay_s, act)
