"""The wires from the BMC to its host: what becomes of each order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infrasim.bmc_core.message import Refused
from infrasim.host.facts import Accelerator
from infrasim.host.process import Identity
from infrasim.plan.model import HostPlan
from infrasim.qemu.boot import BootClass, BootDevice, BootSelector, Firmware
from infrasim.runtime.bmc import host_wires
from infrasim.runtime.bmc.host_wires import HostWires
from infrasim.runtime.machine import Event, OrderRefused, Power, PowerOrder, SetOverride


class Host:
    """A host that notes what it is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.listens = True

    async def os_listens(self) -> bool:
        return self.listens

    async def send_nmi(self) -> None:
        self.told.append("nmi")

    async def send_break(self) -> None:
        self.told.append("break")


class FakeSupervisor:
    """As much of a supervisor as the wires lead to."""

    def __init__(self, *, devices: int = 2, processors: int = 2) -> None:
        self.events: list[Event] = []
        self.told: list[str] = []
        self.host = Host(self.told)
        self.refuses = False
        self.machine = SimpleNamespace(power=True, is_starting_host=False)
        self.changed = asyncio.Event()
        self.host_identity: Identity | None = Identity(1, 1, "boot")
        found = tuple(BootDevice(f"d{number}", BootClass.DISK, number) for number in range(devices))
        self.plan = SimpleNamespace(host=HostPlan(Accelerator.TCG, "", 60.0, 5.0, found, processors))
        self.paths = SimpleNamespace(workspace=Path("/home/n"))

    def feed(self, event: Event) -> None:
        if self.refuses:
            raise OrderRefused("the chassis is off")
        self.events.append(event)

    def order_host(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run(work)

    in_background = order_host

    def record(self, event: str, **details: object) -> None:
        self.told.append(f"event {event}")

    def lamp_changed(self, seconds: float) -> None:
        self.told.append(f"lamp {seconds}")


def wired(**changes: int) -> tuple[FakeSupervisor, HostWires]:
    supervisor = FakeSupervisor(**changes)
    return supervisor, HostWires(cast(Any, supervisor))


def test_orders_become_events() -> None:
    supervisor, wires = wired()
    wires.power_on()
    wires.power_off()
    wires.reset()
    wires.override_boot(BootSelector.PXE, keep=True)
    wires.override_boot(None, keep=False)
    assert supervisor.events == [
        Power(PowerOrder.ON),
        Power(PowerOrder.OFF),
        Power(PowerOrder.RESET),
        SetOverride(BootSelector.PXE, keep=True),
        SetOverride(None),
    ]
    assert wires.power_is_on()


def test_an_order_the_chassis_does_not_follow_is_refused_in_ipmis_words() -> None:
    supervisor, wires = wired()
    supervisor.refuses = True
    for order in (wires.power_on, wires.power_off, wires.reset):
        with pytest.raises(Refused) as caught:
            order()
        assert caught.value.code == 0xD5


@pytest.mark.parametrize("listens", [True, False])
def test_a_power_button_asks_first_whether_anybody_listens(listens: bool) -> None:
    supervisor, wires = wired()
    supervisor.host.listens = listens
    wires.press_power_button()
    assert supervisor.events == [Power(PowerOrder.SOFT, listens)]


def test_a_power_button_of_a_host_that_is_only_starting_switches_it_off() -> None:
    supervisor, wires = wired()
    supervisor.machine.is_starting_host = True
    wires.press_power_button()
    assert supervisor.events == [Power(PowerOrder.OFF)]


def test_a_power_button_of_a_host_that_went_off_meanwhile_has_what_it_wanted() -> None:
    supervisor, wires = wired()
    supervisor.refuses = True
    wires.press_power_button()
    assert supervisor.events == []


def test_what_goes_to_the_host_itself() -> None:
    supervisor, wires = wired()
    wires.send_nmi()
    wires.send_break()
    wires.identify(15)
    assert supervisor.told == ["event nmi", "nmi", "break", "lamp 15"]


@pytest.mark.parametrize(("devices", "has_menu"), [(0, False), (1, False), (2, True)])
def test_seabios_has_a_menu_for_two_devices_or_more(devices: int, has_menu: bool) -> None:
    _, wires = wired(devices=devices)
    assert (BootSelector.BIOS in wires.boot_devices()) is has_menu
    assert wires.boot_devices() | {BootSelector.BIOS} == set(BootSelector)


@pytest.mark.parametrize("is_offered", [True, False])
def test_uefi_has_a_setup_unless_no_menu_is_offered(is_offered: bool) -> None:
    supervisor, wires = wired(devices=0)
    supervisor.plan.host = replace(supervisor.plan.host, firmware=Firmware.UEFI, has_menu=is_offered)
    assert (BootSelector.BIOS in wires.boot_devices()) is is_offered


def test_the_load_is_the_part_of_all_processors_since_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float | None] = [10.0, 11.0, 11.0, 100.0, 5.0, None, 6.0]
    moments = iter(range(100, 200))
    monkeypatch.setattr(host_wires, "cpu_seconds", lambda identity: used.pop(0))
    monkeypatch.setattr(host_wires, "time", SimpleNamespace(monotonic=lambda: float(next(moments))))
    supervisor, wires = wired(processors=2)
    loads = [wires.host_load() for _ in range(4)]
    assert loads == [0.0, 0.5, 0.0, 1.0], "the first has nothing to compare with, and more than all is all"
    supervisor.host_identity = Identity(2, 1, "boot")
    assert wires.host_load() == 0.0, "another process"
    assert wires.host_load() == 0.0, "gone"
    supervisor.host_identity = None
    assert wires.host_load() == 0.0


def test_an_order_is_settled_when_the_power_is_as_it_was_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_wires, "_SETTLE_S", 0.05)

    async def scene() -> None:
        supervisor, wires = wired()
        await wires.settled(on=True)
        waiting = asyncio.ensure_future(wires.settled(on=False))
        await asyncio.sleep(0)
        supervisor.machine.power = False
        supervisor.changed.set()
        await asyncio.wait_for(waiting, 60)
        supervisor.changed = asyncio.Event()
        await asyncio.wait_for(wires.settled(on=True), 60)

    asyncio.run(scene())


class Share:
    """A processor share that notes what it is told."""

    def __init__(self, name: str) -> None:
        self.told: list[str] = []
        self.fails = False
        assert name.startswith("infrasim-")

    def limit(self, pid: int, processors: float) -> None:
        if self.fails:
            raise OSError("read-only file system")
        self.told.append(f"{pid}: {processors:g}")

    def release(self) -> None:
        self.told.append("free")


def test_the_host_is_held_to_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_wires, "ProcessorShare", Share)
    monkeypatch.setattr(host_wires, "cpu_seconds", lambda identity: 1.0)
    supervisor, wires = wired(processors=4)
    share = cast(Share, wires._share)
    assert wires.limit_load(0.5)
    assert wires.limit_load(0.5)
    assert share.told == ["1: 2"], "once for the same"
    supervisor.host_identity = Identity(2, 1, "boot")
    assert wires.limit_load(0.5)
    assert wires.limit_load(None)
    assert share.told == ["1: 2", "2: 2", "free"]
    share.fails = True
    assert not wires.limit_load(0.5)
    assert not wires.limit_load(0.5)
    assert supervisor.told.count("event power-limit-not-kept") == 1
    supervisor.host_identity = None
    assert not wires.limit_load(0.5)
    assert wires.limit_load(None)
