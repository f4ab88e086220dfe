"""A BMC core on a bench: fakes for everything outside of it."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.core import Bmc
from infrasim.bmc_core.message import IN_BAND, Origin, Refused, Request
from infrasim.bmc_core.state import BmcState
from infrasim.qemu.boot import BootSelector

SETTINGS = CoreSettings(
    node="node-0",
    guid="11111111-2222-3333-4444-555555555555",
    manufacturer=674,
    product=256,
    username="admin",
    password="admin",
    lan_address="127.0.0.1",
    lan_netmask="255.0.0.0",
    lan_gateway="0.0.0.0",
    lan_mac="52:54:00:01:02:03",
    lan_port=623,
    serial_over_lan=True,
)


@dataclass
class FakeTimer:
    at_s: float
    act: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeClock:
    """Time that passes when the test says so."""

    time_s: float = 1000.0
    unix_offset_s: float = 1_700_000_000.0
    timers: list[FakeTimer] = field(default_factory=list)

    def now_s(self) -> float:
        return self.time_s

    def unix_s(self) -> float:
        return self.time_s + self.unix_offset_s

    def later(self, delay_s: float, act: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.time_s + delay_s, act)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass and fire what is due, in order."""
        end_s = self.time_s + seconds
        while due := [each for each in self.timers if not each.cancelled and each.at_s <= end_s]:
            timer = min(due, key=lambda each: each.at_s)
            self.timers.remove(timer)
            self.time_s = timer.at_s
            timer.act()
        self.time_s = end_s


@dataclass
class FakeEngine:
    """Notes what it is asked; ``answers`` by (network function, command): data, or a refusal."""

    answers: dict[tuple[int, int], bytes | Refused] = field(default_factory=dict)
    asked: list[tuple[int, int, bytes]] = field(default_factory=list)
    ready: bool = True

    async def ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        self.asked.append((netfn, command, data))
        answer = self.answers.get((netfn, command), b"")
        if isinstance(answer, Refused):
            raise answer
        return answer

    def ask_at_once(self, netfn: int, command: int, data: bytes, *, lun: int = 0) -> Awaitable[bytes]:
        return self.ask(netfn, command, data, lun=lun)

    def is_ready(self) -> bool:
        return self.ready


@dataclass
class FakeChassis:
    on: bool = False
    orders: list[str] = field(default_factory=list)
    devices: frozenset[BootSelector] = frozenset(BootSelector)
    has_settings: bool = False

    def power_is_on(self) -> bool:
        return self.on

    def power_on(self) -> None:
        self.on = True
        self.orders.append("on")

    def power_off(self) -> None:
        self.on = False
        self.orders.append("off")

    def reset(self) -> None:
        self.orders.append("reset")

    def press_power_button(self) -> None:
        self.orders.append("button")

    def send_nmi(self) -> None:
        self.orders.append("nmi")

    def boot_devices(self) -> frozenset[BootSelector]:
        return self.devices

    def keeps_settings(self) -> bool:
        return self.has_settings

    def override_boot(self, selector: BootSelector | None, *, keep: bool) -> None:
        self.orders.append(f"boot {selector} keep={keep}")

    def identify(self, seconds: float) -> None:
        self.orders.append(f"identify {seconds}")

    async def settled(self, *, on: bool) -> None:
        return


@dataclass
class FakeSystemInterface:
    attention: bool = False
    interrupt: bool = False

    def set_attention(self, *, asserted: bool, interrupt: bool, interrupts_enabled: bool) -> None:
        self.attention, self.interrupt = asserted, interrupt


@dataclass
class FakeSerial:
    written: bytearray = field(default_factory=bytearray)
    takes: int = 1 << 20
    breaks: int = 0
    discarded: int = 0
    paused: bool = False

    def write(self, data: bytes) -> int:
        taken = data[: self.takes]
        self.written += taken
        return len(taken)

    def discard(self) -> None:
        self.discarded += 1

    def send_break(self) -> None:
        self.breaks += 1

    def pause(self, *, paused: bool) -> None:
        self.paused = paused


@dataclass
class FakeNetwork:
    traps: list[tuple[str, int, bytes]] = field(default_factory=list)

    def send_trap(self, address: str, port: int, datagram: bytes) -> None:
        self.traps.append((address, port, datagram))


@dataclass
class FakeLoad:
    load: float = 0.0
    can_be_limited: bool = False
    part: float | None = None

    def host_load(self) -> float:
        return self.load if self.part is None else min(self.load, self.part)

    def limit_load(self, part: float | None) -> bool:
        if part is not None and not self.can_be_limited:
            return False
        self.part = part
        return True


def _close_all(works: list[Coroutine[None, None, None]]) -> None:
    for work in works:
        work.close()


class Bench:
    """A BMC with its fakes."""

    def __init__(self, settings: CoreSettings = SETTINGS, state: BmcState | None = None) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine()
        self.chassis = FakeChassis()
        self.system_interface = FakeSystemInterface()
        self.serial = FakeSerial()
        self.network = FakeNetwork()
        self.load = FakeLoad()
        self.changes = 0
        self.deferred: list[Coroutine[None, None, None]] = []
        # What a test does not settle is closed, or Python complains in whichever test comes next.
        weakref.finalize(self, _close_all, self.deferred)
        self.resets: list[bool] = []
        self.bmc = Bmc(
            settings,
            state or BmcState(),
            engine=self.engine,
            chassis=self.chassis,
            system_interface=self.system_interface,
            serial=self.serial,
            network=self.network,
            load=self.load,
            clock=self.clock,
            changed=self._changed,
            defer=self.deferred.append,
            reset=self.resets.append,
        )
        # What the BMC set up for itself does not count.
        self.changes = 0

    def _changed(self) -> None:
        self.changes += 1

    def ask(self, netfn: int, command: int, data: bytes = b"", *, origin: Origin = IN_BAND) -> bytes:
        """Completion code and data that the BMC answers."""
        answer = self.bmc.answer(Request(netfn, command, data, origin))
        if isinstance(answer, bytes):
            return answer
        assert inspect.isawaitable(answer)

        async def wait() -> bytes:
            return await answer

        return asyncio.run(wait())

    def settle(self) -> None:
        """Do everything that was put off."""
        while self.deferred:
            asyncio.run(self.deferred.pop(0))
