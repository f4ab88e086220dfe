"""Shows on stderr what takes long: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from infrasim.packages.progress import ProgressReporter
    from infrasim.runtime.capture import Progress as CaptureProgress


class Lines:
    """Steps as lines; of bytes nothing, because a log needs none."""

    def step(self, text: str) -> None:
        """One line."""
        click.echo(f"infrasim: {text}", err=True)

    def advance(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Nothing."""


class Bars:
    """Steps as lines above one bar for the file that is under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._name = ""
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """One line above the bar."""
        self._progress.console.print(f"infrasim: {text}", markup=False, highlight=False)

    def advance(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Move the bar, which belongs to one file at a time."""
        if self._task is None or name != self._name:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._name = name
            self._task = self._progress.add_task(name.partition("_")[0], total=total_bytes)
        self._progress.update(self._task, completed=done_bytes, total=total_bytes)


@contextlib.contextmanager
def progress_shown() -> Iterator[ProgressReporter]:
    """A reporter for the time of the block."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)


class Counts:
    """One bar for the things that are being counted; on no terminal nothing."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._name = ""
        self._task: TaskID | None = None

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Move the bar, which belongs to one kind of things at a time."""
        if self._progress is None:
            return
        if self._task is None or name != self._name:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._name = name
            self._task = self._progress.add_task(name, total=total)
        self._progress.update(self._task, completed=done, total=total)


@contextlib.contextmanager
def counts_shown() -> Iterator[CaptureProgress]:
    """A reporter of counts for the time of the block."""
    if not sys.stderr.isatty():
        yield Counts(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Counts(progress)
