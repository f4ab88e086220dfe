"""What the supervisor makes of a host that does not answer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.errors import ProgramError
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.qemu.boot import Firmware
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
    assert asyncio.run(asyncio.wait_for(link.os_listens(), 60)) is listens


BOOT = ("SeaBIOS\n", "Press ESC for boot menu.\n")


class Keyboard:
    """A monitor whose firmware says a line on the serial port as it begins and at each key or reset."""

    def __init__(self, log: Path, lines: list[str]) -> None:
        self.log = log
        self.lines = lines
        self.done: list[str] = []

    async def press_key(self, key: str) -> None:
        """As ``HostMonitor``."""
        self._go_on(key)

    async def reset(self) -> None:
        """As ``HostMonitor``."""
        self._go_on("reset")

    async def begin(self) -> None:
        """What it says before it listens to keys, and then that it does."""
        for _ in range(2):
            await asyncio.sleep(0.1)
            assert self.done == []
            self._say()

    def _go_on(self, what: str) -> None:
        self.done.append(what)
        self._say()

    def _say(self) -> None:
        with self.log.open("a") as stream:
            stream.write(self.lines.pop(0) if self.lines else "")


@pytest.mark.parametrize(
    ("firmware", "lines", "done"),
    [
        (Firmware.SEABIOS, [*BOOT, "Press Ctrl-B\n", "Select boot device:\n"], ["esc", "esc"]),
        (Firmware.SEABIOS, ["SeaBIOS\n", "iPXE (http://ipxe.org)\n", "Select boot device:\n"], ["esc"]),
        (
            Firmware.SEABIOS,
            [*BOOT, "Booting from Hard Disk\n", "".join(BOOT), "Select boot device:"],
            ["esc", "reset", "esc"],
        ),
        (Firmware.UEFI, ["", 'BdsDxe: loading Boot0000 "UiApp" from Fv(1)\n'], ["f2", "f2"]),
        (
            Firmware.UEFI,
            ['BdsDxe: failed to load Boot0002 "UEFI PXEv4" from Pci(1)\n', "", '"UiApp" from Fv(1)\n'],
            ["f2", "reset", "f2"],
        ),
    ],
)
def test_the_key_of_the_firmware_is_pressed_until_its_menu_shows(
    tmp_path: Path,
    make_plan: MakePlan,
    monkeypatch: pytest.MonkeyPatch,
    firmware: Firmware,
    lines: list[str],
    done: list[str],
) -> None:
    home = Home(tmp_path, tmp_path)
    paths = home.node("a")
    paths.log_dir.mkdir(exist_ok=True)
    paths.serial_log.write_text("of the boot before: Select boot device: UiApp\n")
    host = dataclasses.replace(make_plan(home, "a", "{}").host, firmware=firmware)
    link = HostLink(host, paths, lambda event: None)
    keyboard = Keyboard(paths.serial_log, list(lines))
    monkeypatch.setattr(link, "_monitor", keyboard)

    async def boot() -> None:
        begins = asyncio.ensure_future(link.open_firmware_menu())
        if firmware is Firmware.SEABIOS:
            await keyboard.begin()
        await asyncio.wait_for(begins, 60)

    asyncio.run(boot())
    assert keyboard.done == done


class Ended:
    """The monitor of a QEMU that has ended and said this before."""

    def __init__(self, *events: dict[str, object]) -> None:
        self.events = events

    async def closed(self) -> None:
        """As ``HostMonitor``."""

    async def close(self) -> None:
        """As ``HostMonitor``."""

    def waiting_events(self) -> tuple[dict[str, object], ...]:
        """As ``HostMonitor``."""
        return self.events


def shutdown(*, guest: bool) -> dict[str, object]:
    return {"event": "SHUTDOWN", "data": {"guest": guest}}


@pytest.mark.parametrize(
    ("monitor", "code", "by_guest"),
    [
        (Ended(shutdown(guest=True)), 0, True),
        (Ended(shutdown(guest=False)), 0, False),
        (Ended(), 0, True),
        (Ended(), -9, False),
        # It was told to end before anybody listened: nothing ran on it.
        (None, 0, False),
    ],
    ids=["guest", "told", "says nothing", "killed", "nobody listened"],
)
def test_who_ended_a_host(
    make_plan: MakePlan,
    monkeypatch: pytest.MonkeyPatch,
    monitor: Ended | None,
    code: int,
    by_guest: bool,
) -> None:
    home = Home(Path("/h"), Path("/l"))
    link = HostLink(make_plan(home, "a", "{}").host, home.node("a"), lambda event: None)
    monkeypatch.setattr(link, "_monitor", monitor)
    assert asyncio.run(link.last_words(code)) is by_guest
