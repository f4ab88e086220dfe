"""The supervisor's hold on the host: bring it up, order it about, and understand how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from infrasim.clients.qmp import HostMonitor
from infrasim.errors import InfrasimError
from infrasim.frozen import Frozen
from infrasim.host.cores import pin_process, pin_thread
from infrasim.paths import NodePaths
from infrasim.plan.model import Binding, HostPlan
from infrasim.qemu.boot import BootSelector, Firmware, order_with
from infrasim.runtime.machine import Event, HostBroken, HostReset


class _Menu(Frozen):
    """How a firmware's menu is entered: ``key`` is pressed until it ``shows`` on the serial port.

    Not before it ``listens``, by one of these words: a key that comes while a keyboard is made ready may be
    taken for the keyboard's answer, and then none is heard.

    What it says there if it goes on to boot is ``boots``. Times in seconds.
    """

    key: str
    listens: tuple[bytes, ...]
    press_every_s: float
    give_up_s: float
    shows: bytes
    boots: tuple[bytes, ...]


# Source: measured, SeaBIOS 1.16 and OVMF 2022.11, whose setup is an application called UiApp. On a
# busy machine OVMF does not take keys that come faster, and an emulated one takes minutes there.
_MENUS = {
    Firmware.SEABIOS: _Menu(
        "esc",
        (b"iPXE (http", b"Press ESC "),
        0.05,
        120.0,
        b"Select boot device:",
        (b"Booting from ",),
    ),
    Firmware.UEFI: _Menu(
        "f2",
        (b"",),
        0.3,
        600.0,
        b'"UiApp" from ',
        (b"BdsDxe: starting Boot", b"BdsDxe: failed to ", b"BdsDxe: No bootable "),
    ),
}

# How long it may take to read QEMU's last events once it has ended, on a machine that has much else to do.
_LAST_WORDS_S = 10.0

# A QEMU that is stopped or too busy to say whether anybody listens is taken to have a system.
_LISTENS_WITHIN_S = 5.0

# Run states from which a host does not come back by itself. Source: QEMU QMP, RunState.
_BROKEN_STATES = ("internal-error", "shutdown")
# The run state of one that was started with -S.
_NOT_LET_GO = "prelaunch"


class HostLink:
    """The monitor of one QEMU at a time; ``feed`` takes events for the machine."""

    def __init__(self, host: HostPlan, paths: NodePaths, feed: Callable[[Event], None]) -> None:
        self._host = host
        self._paths = paths
        self._feed = feed
        self._monitor: HostMonitor | None = None
        self._watch: asyncio.Task[None] | None = None
        self._shut_down_by_guest: bool | None = None
        self._ordering = asyncio.Lock()
        self._own_reset: asyncio.Event | None = None

    async def attach(self) -> None:
        """Connect to the monitor of a QEMU that runs or is starting; the caller bounds the wait."""
        self._shut_down_by_guest = None
        self._own_reset = None
        monitor = HostMonitor(self._paths.name)
        await monitor.connect(self._paths.qmp_socket)
        self._monitor = monitor
        self._watch = asyncio.create_task(self._watch_events(monitor))

    async def join(self) -> bool:
        """Connect to a QEMU that another supervisor started; False when it was never let go."""
        await self.attach()
        assert self._monitor is not None
        return await self._monitor.run_state() != _NOT_LET_GO

    async def look(self) -> None:
        """See whether the host came to a halt while nobody watched."""
        if self._monitor:
            self._judge(await self._monitor.run_state())

    def _judge(self, state: str) -> None:
        if state in _BROKEN_STATES:
            self._feed(HostBroken(f"QEMU's run state is {state}"))

    async def pin(self, pid: int, binding: Binding) -> None:
        """Let the threads of a paused host run where the plan says.

        Raises:
            OSError: the processors are not there for it any more.
            ProgramError: QEMU does not say which its threads are.
        """
        assert self._monitor is not None
        if binding.process:
            pin_process(pid, binding.process)
        if binding.main_loop:
            pin_thread(pid, binding.main_loop)
        threads = await self._monitor.processor_threads() if binding.processors else ()
        for thread, cores in zip(threads, binding.processors, strict=False):
            pin_thread(thread, cores)

    async def let_go(self, override: BootSelector | None) -> BootSelector | None:
        """Let a freshly started, paused host run, with ``override`` first; returns what it began with."""
        assert self._monitor is not None
        for card in self._host.unplugged:
            await self._monitor.unplug(card)
        if override is not None:
            await self.set_boot_order(override)
            # The boot order is read at a reset, and the one at QEMU's start is over.
            self._own_reset = asyncio.Event()
            await self._monitor.reset()
            await self._own_reset.wait()
        await self._monitor.resume()
        return override

    async def close(self) -> None:
        """Let go of the monitor."""
        monitor, self._monitor = self._monitor, None
        if self._watch:
            self._watch.cancel()
        if monitor:
            await monitor.close()

    async def quit(self) -> None:
        """End QEMU now."""
        if self._monitor:
            await self._monitor.quit()

    async def press_power_button(self) -> None:
        """Ask the operating system to shut down."""
        if self._monitor:
            await self._monitor.press_power_button()

    async def reset(self) -> None:
        """Reset the machine, with the boot order that was given before; the process stays."""
        async with self._ordering:
            if self._monitor:
                await self._monitor.reset()

    async def send_nmi(self) -> None:
        """Give the host a diagnostic interrupt."""
        if self._monitor:
            await self._monitor.send_nmi()

    async def send_break(self) -> None:
        """Give the host's serial port a break."""
        from infrasim.qemu.chardev import SERIAL_CHARDEV

        if self._monitor:
            await self._monitor.send_break(SERIAL_CHARDEV)

    async def os_listens(self) -> bool:
        """Whether an operating system would hear the power button."""
        if self._monitor is None:
            return False
        try:
            return await asyncio.wait_for(self._monitor.os_hears_power_button(), _LISTENS_WITHIN_S)
        except (InfrasimError, TimeoutError):
            return True

    async def set_boot_order(self, selector: BootSelector | None) -> None:
        """Give the devices the order that the next reset will read."""
        # Indexes are taken from all devices before they are given anew: one order at a time.
        async with self._ordering:
            if self._monitor:
                await self._monitor.set_boot_order(order_with(self._host.boot_devices, selector))

    async def open_firmware_menu(self) -> None:
        """Press the firmware's menu key until the menu shows on the serial port.

        On a machine too busy for the key to come in time the firmware goes on to boot; then it is
        reset and asked again, before any operating system has begun.
        """
        menu = _MENUS[self._host.firmware]
        give_up = time.monotonic() + menu.give_up_s
        start = len(self._serial_output())
        while self._monitor and time.monotonic() < give_up:
            said = self._serial_output()[start:]
            if any(words in said for words in menu.listens):
                await self._monitor.press_key(menu.key)
            await asyncio.sleep(menu.press_every_s)
            said = self._serial_output()[start:]
            if menu.shows in said:
                return
            if any(words in said for words in menu.boots):
                start += len(said)
                await self._monitor.reset()

    async def last_words(self, code: int | None) -> bool:
        """After QEMU's end: whether the host switched itself off, or else died."""
        was_heard = self._monitor is not None
        if self._monitor:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._monitor.closed(), _LAST_WORDS_S)
            for event in self._monitor.waiting_events():
                self._note_shutdown(event)
        await self.close()
        if self._shut_down_by_guest is not None:
            return self._shut_down_by_guest
        # One that was told to end before anybody listened ends with 0 too, and no guest ran on it.
        return was_heard and code == 0

    def _serial_output(self) -> bytes:
        try:
            return self._paths.serial_log.read_bytes()
        except OSError:
            return b""

    async def _watch_events(self, monitor: HostMonitor) -> None:
        async for event in monitor.events():
            match event["event"]:
                case "SHUTDOWN":
                    self._note_shutdown(event)
                case "RESET" if self._own_reset and not self._own_reset.is_set():
                    self._own_reset.set()
                case "RESET":
                    self._feed(HostReset(by_guest=bool(event["data"]["guest"])))
                case "STOP":
                    self._judge(await monitor.run_state())

    def _note_shutdown(self, event: dict[str, Any]) -> None:
        if event["event"] == "SHUTDOWN":
            self._shut_down_by_guest = bool(event["data"]["guest"])
