"""How the work on packages tells what it does; whoever shows it implements this."""

from __future__ import annotations

from typing import Protocol


class ProgressReporter(Protocol):
    """Told of steps and of bytes; called from one thread."""

    def step(self, text: str) -> None:
        """A step begins, such as ``installing 12 packages``."""

    def advance(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Of the file ``name``, ``done_bytes`` are here; ``total_bytes`` is None while not known."""
