"""What the power meter remembers: energy and peak since they were cleared, extremes of the last hours.

Energy and peak outlive the BMC; they are written with whatever else is, at least every ten minutes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from infrasim.frozen import Frozen

_HOUR_S = 3600.0
# Longer windows are made of hours.
LONGEST_S = 7 * 24 * _HOUR_S


@dataclass
class EnergyState:
    """Since when, in the BMC's time, how much energy was taken and what was the most power at once."""

    since_s: int = 0
    watt_seconds: float = 0.0
    peak_since_s: int = 0
    peak_w: int = 0
    peak_at_s: int = 0


class Extremes(Frozen):
    """Watts over a time, and when the least and the most were measured, on the clock of the measurements."""

    average_w: int
    least_w: int
    least_at_s: float
    most_w: int
    most_at_s: float


@dataclass
class _Hour:
    """One hour of measurements, or the part of it that has passed."""

    began_s: float
    ended_s: float
    watt_seconds: float
    least: tuple[int, float]
    most: tuple[int, float]

    def add(self, at_s: float, watts: int, before_w: int) -> None:
        """Count a measurement; until it the power was what it was ``before_w``."""
        self.watt_seconds += (at_s - self.ended_s) * before_w
        self.ended_s = at_s
        self.least = min(self.least, (watts, at_s))
        self.most = max(self.most, (watts, at_s), key=lambda each: each[0])


class PowerHistory:
    """The hours of the last week."""

    def __init__(self) -> None:
        self._hours: deque[_Hour] = deque()
        self._last_w = 0

    def add(self, at_s: float, watts: int) -> None:
        """Count a measurement."""
        if not self._hours:
            self._begin_hour(at_s, watts)
        self._hours[-1].add(at_s, watts, self._last_w)
        self._last_w = watts
        if at_s - self._hours[-1].began_s >= _HOUR_S:
            self._begin_hour(at_s, watts)
        while self._hours[0].ended_s < at_s - LONGEST_S:
            self._hours.popleft()

    def extremes(self, now_s: float, window_s: float) -> Extremes:
        """Those of the hours that lie in the window, at least in part."""
        hours = [each for each in self._hours if each.ended_s >= now_s - window_s]
        seconds = sum(each.ended_s - each.began_s for each in hours)
        least, most = (
            min(each.least for each in hours),
            max((each.most for each in hours), key=lambda each: each[0]),
        )
        average = sum(each.watt_seconds for each in hours) / seconds if seconds else self._last_w
        return Extremes(round(average), *least, *most)

    def _begin_hour(self, at_s: float, watts: int) -> None:
        self._hours.append(_Hour(at_s, at_s, 0.0, (watts, at_s), (watts, at_s)))
