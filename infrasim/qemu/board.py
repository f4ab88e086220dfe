"""The board a host is built on: QEMU's machine, its options, what the firmware offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from infrasim.frozen import Frozen
from infrasim.host.facts import Accelerator
from infrasim.qemu.element import Value, option

# How long SeaBIOS offers its boot menu. It must be long enough for a key to arrive, because that is
# how a boot override enters the menu, and is short beside a boot. Milliseconds. Source: measured.
MENU_WAIT_MS = 300
# SeaBIOS's own time for a picture. Milliseconds. Source: SeaBIOS docs/Runtime_config.
SPLASH_MS = 2500


class Menu(Frozen):
    """What the firmware offers before it boots: a menu, a picture, for so long."""

    is_offered: bool = True
    splash: Path | None = None
    time_ms: int | None = None

    def argv(self) -> tuple[str, ...]:
        """The option for it."""
        default_ms = MENU_WAIT_MS if self.splash is None else SPLASH_MS
        time_ms = default_ms if self.time_ms is None else self.time_ms
        return option("-boot", menu=self.is_offered, splash=self.splash, splash_time=time_ms)


class Board(Frozen):
    """A board without QEMU's default devices, paused until its monitor says go.

    ``options`` are QEMU's own of the machine; None leaves one out. ``kernel_irqchip`` acts with KVM alone.
    ``graphics=off`` makes SeaBIOS repeat its screen on the serial port; OVMF always does.
    """

    machine: str = "q35"
    options: Mapping[str, Value] = field(default_factory=lambda: {"sata": False, "vmport": False})
    kernel_irqchip: str | None = None
    menu: Menu = Menu()

    def argv(self, accelerator: Accelerator, memory_backend: str | None = None) -> tuple[str, ...]:
        """The options for it; ``memory_backend`` is the object that is its memory, if there is one."""
        irqchip = self.kernel_irqchip if accelerator is Accelerator.KVM else None
        return (
            *("-S", "-no-user-config", "-nodefaults"),
            *option("-machine", self.machine, graphics=False, **self.options, memory_backend=memory_backend),
            *option("-accel", accelerator.value, kernel_irqchip=irqchip),
            *option("-rtc", base="utc"),
            *self.menu.argv(),
        )
