"""How much power the node would take: from what its host does, with statistics.

The model is a straight line from idle to full load. A server takes about 70 W besides its processors while
idle and 150 W under load (memory, fans, losses, drives), and a processor of the simulated generation 25 W
idle and 135 W under load; so two sockets take 120 to 420 W, as such servers do. Off, the BMC takes 12 W of
standby power.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from infrasim.bmc_core.clock import bmc_time_s
from infrasim.bmc_core.power_history import Extremes, PowerHistory
from infrasim.frozen import Frozen

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

STANDBY_W = 12
_REST_IDLE_W, _REST_BUSY_W = 70, 150
_PROCESSOR_IDLE_W, _PROCESSOR_BUSY_W = 25, 135

SAMPLING_S = 10.0
# Who asks more often gets the last measurement: the load is a mean over the time between two.
_LEAST_APART_S = 1.0
_LONGEST_WINDOW_S = 3600.0


class PowerReading(Frozen):
    """Watts, now and over ``period_s`` seconds."""

    now_w: int
    least_w: int
    most_w: int
    average_w: int
    period_s: float


class PowerMeter:
    """Measures at regular times, once the first is asked for or the host gets power.

    ``sampled`` is called with each measurement. ``held_w`` tells what the host is held to, None for nothing.
    """

    def __init__(self, bmc: Bmc, sampled: Callable[[int], None], held_w: Callable[[], int | None]) -> None:
        self._bmc = bmc
        self._sampled = sampled
        self._held_w = held_w
        self._samples: deque[tuple[float, int]] = deque()
        self._history = PowerHistory()
        self._began_s: float | None = None
        self._total_ws = 0.0
        self._least = self._most = self._last = 0
        self._last_s = 0.0

    @property
    def idle_w(self) -> int:
        """What the node takes while its host does nothing."""
        return _REST_IDLE_W + _PROCESSOR_IDLE_W * self._bmc.settings.processors

    @property
    def busy_w(self) -> int:
        """What the node takes while its host does all it can."""
        return _REST_BUSY_W + _PROCESSOR_BUSY_W * self._bmc.settings.processors

    def power_changed(self) -> None:
        """The host has got or lost power, so the reading jumps."""
        self._sample()

    def reading(self, window_s: float | None = None) -> PowerReading:
        """The power now, and over the last ``window_s`` seconds, or since measuring began.

        ``window_s`` is at most an hour.
        """
        if self._began_s is None or self._bmc.clock.now_s() - self._last_s >= _LEAST_APART_S:
            self._sample()
        began_s = self._began_s or 0.0
        if window_s is None:
            period_s = self._last_s - began_s
            average = self._total_ws / period_s if period_s else self._last
            return PowerReading(self._last, self._least, self._most, round(average), period_s)
        period_s = min(window_s, self._last_s - began_s)
        watts = [each for at_s, each in self._samples if at_s >= self._last_s - window_s]
        return PowerReading(self._last, min(watts), max(watts), round(sum(watts) / len(watts)), period_s)

    def extremes(self, window_s: float) -> Extremes:
        """Average, least and most over the last ``window_s`` seconds, a week at most; times are the BMC's."""
        now_s = self._bmc.clock.now_s()
        self.reading()
        if window_s > _LONGEST_WINDOW_S:
            found = self._history.extremes(now_s, window_s)
        else:
            samples = [(watts, at_s) for at_s, watts in self._samples if at_s >= self._last_s - window_s]
            average = round(sum(watts for watts, _at_s in samples) / len(samples))
            found = Extremes(average, *min(samples), *max(samples, key=lambda each: each[0]))
        offset_s = bmc_time_s(self._bmc) - now_s
        return replace(found, least_at_s=found.least_at_s + offset_s, most_at_s=found.most_at_s + offset_s)

    def clear_energy(self) -> None:
        """Count energy from now on."""
        self.reading()
        energy = self._bmc.state.energy
        energy.since_s, energy.watt_seconds = int(bmc_time_s(self._bmc)), 0.0
        self._bmc.changed()

    def clear_peak(self) -> None:
        """Look for the most power at once from now on."""
        self.reading()
        energy = self._bmc.state.energy
        energy.peak_since_s = energy.peak_at_s = int(bmc_time_s(self._bmc))
        energy.peak_w = self._last
        self._bmc.changed()

    def _count(self, now_s: float, watts: int) -> None:
        energy, unix_s = self._bmc.state.energy, int(bmc_time_s(self._bmc))
        energy.since_s = energy.since_s or unix_s
        energy.peak_since_s = energy.peak_since_s or unix_s
        energy.watt_seconds += (now_s - self._last_s) * self._last
        if watts > energy.peak_w:
            energy.peak_w, energy.peak_at_s = watts, unix_s
        self._history.add(now_s, watts)

    def _sample(self) -> None:
        """Measure, and see to it that this happens again and again."""
        now_s = self._bmc.clock.now_s()
        watts = self._watts()
        if self._began_s is None:
            self._began_s = self._last_s = now_s
            self._least = self._most = self._last = watts
            self._bmc.clock.later(SAMPLING_S, self._again)
        self._total_ws += (now_s - self._last_s) * self._last
        self._count(now_s, watts)
        self._least, self._most = min(self._least, watts), max(self._most, watts)
        self._last, self._last_s = watts, now_s
        self._samples.append((now_s, watts))
        while self._samples[0][0] < now_s - _LONGEST_WINDOW_S:
            self._samples.popleft()

    def _again(self) -> None:
        self._sample()
        self._sampled(self._last)
        self._bmc.clock.later(SAMPLING_S, self._again)

    def _watts(self) -> int:
        held_w = self._held_w()
        if not self._bmc.chassis.power_is_on():
            return STANDBY_W
        load = min(max(self._bmc.load.host_load(), 0.0), 1.0)
        watts = round(self.idle_w + (self.busy_w - self.idle_w) * load)
        # What the host used before it was held belongs to the time before.
        return watts if held_w is None else min(watts, held_w)
