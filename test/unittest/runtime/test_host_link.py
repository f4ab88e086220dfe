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


class Keyboard:
    """A monitor whose firmware says its next line on the serial port at each key or reset."""

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

    def _go_on(self, what: str) -> None:
        self.done.append(what)
        with self.log.open("a") as stream:
            stream.write(self.lines.pop(0) if self.lines else "")


@pytest.mark.parametrize(
    ("firmware", "lines", "done"),
    [
        (Firmware.SEABIOS, ["SeaBIOS\n", "Select boot device:\n"], ["esc", "esc"]),
        (Firmware.SEABIOS, ["Booting from Hard Disk\n", "", "Select boot device:"], ["esc", "reset", "esc"]),
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
    asyncio.run(asyncio.wait_for(link.open_firmware_menu(), 60))
    assert keyboard.done == done
