"""What the benchmarks share: a scratch home with one node, medians, and how a ratio is printed."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "functionaltest"))

from lab import Lab, lab

__all__ = ["Lab", "interleaved", "lab", "node", "runs_wanted", "show_rate", "show_ratio", "timed"]


def runs_wanted() -> int:
    """How many runs of each thing the user asked for, at least seven."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    return max(7, int(parser.parse_args().runs))


@contextmanager
def node() -> Iterator[Lab]:
    """A scratch home whose node ``n`` is registered and was started once, so that its disk exists."""
    with lab(lambda: False) as scratch:
        scratch.start()
        scratch.must("node", "stop", "n")
        yield scratch


def timed(work: Callable[[], object]) -> float:
    """Seconds one call took."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def interleaved(runs: int, *works: Callable[[], float]) -> list[list[float]]:
    """Each work's seconds, measured in turn A B A B … after one warm-up each."""
    for work in works:
        work()
    found: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for times, work in zip(found, works, strict=True):
            times.append(work())
    return found


def show_ratio(what: str, ours: Sequence[float], theirs: Sequence[float], target: float | None) -> None:
    """Print medians, their ratio and whether the target is met."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = mine / other
    verdict = "" if target is None else f"  target {target:g}  {'met' if ratio <= target else 'MISSED'}"
    print(f"{what:58} {mine * 1000:9.2f} / {other * 1000:9.2f} = {ratio:6.2f}{verdict}")


def show_rate(what: str, ours: Sequence[float], theirs: Sequence[float], target: float | None) -> None:
    """Print median rates and how many times theirs ours is; the target is the least that will do."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = mine / other
    verdict = "" if target is None else f"  target {target:g}  {'met' if ratio >= target else 'MISSED'}"
    print(f"{what:58} {mine:9.0f} / {other:9.0f} = {ratio:6.2f}{verdict}")
