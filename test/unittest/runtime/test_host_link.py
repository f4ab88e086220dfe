"""What the supervisor makes of a host that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.errors import ProgramError
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.runtime import host_link
from infrasim.runtime.host_link import HostLink

MakePlan = Callable[[Home, str, str], NodePlan]


class Monitor:
    """A monitor that answers, refuses or hangs."""

    def __init__(self, answer: bool | Exception | None) -> None:
        self.answer = answer

    async def os_hears_power_button(self) -> bool:
        """As ``HostMonitor``; None hangs."""
        if self.answer is None:
            await asyncio.sleep(600)
        if isinstance(self.answer, Exception):
            raise self.answer
        return bool(self.answer)


class Paused:
    """A monitor of a host that waits; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def unplug(self, card: str) -> None:
        """As ``HostMonitor``."""
        self.told.append(f"unplug {card}")

    async def resume(self) -> None:
        """As ``HostMonitor``."""
        self.told.append("resume")


def test_cables_are_out_before_the_host_begins(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(Path("/h"), Path("/l"))
    cards = "compute: {networks: [{}, {network_mode: none, id: spare}, {network_mode: none}]}"
    link = HostLink(make_plan(home, "a", cards).host, home.node("a"), lambda event: None)
    monitor = Paused()
    monkeypatch.setattr(link, "_monitor", monitor)
    assert asyncio.run(link.let_go(None)) is None
    assert monitor.told == ["unplug spare", "unplug nic2", "resume"]


@pytest.mark.parametrize(
    ("monitor", "listens"),
    [
        (None, False),
        (Monitor(True), True),
        (Monitor(False), False),
        (Monitor(ProgramError("gone")), True),
        (Monitor(None), True),
    ],
    ids=["no host", "yes", "no", "refused", "hangs"],
)
def test_a_host_that_cannot_say_gets_the_time_of_a_system(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, monitor: Monitor | None, listens: bool
) -> None:
    monkeypatch.setattr(host_link, "_LISTENS_WITHIN_S", 0.02)
    home = Home(Path("/h"), Path("/l"))
    link = HostLink(make_plan(home, "a", "{}").host, home.node("a"), lambda event: None)
    monkeypatch.setattr(link, "_monitor", monitor)
    assert asyncio.run(asyncio.wait_for(link.os_listens(), 5)) is listens
