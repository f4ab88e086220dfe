"""What the core needs from outside: the engine behind it, wires to the host, a clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from infrasim.qemu.boot import BootSelector


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Let it not happen; harmless when it has."""


class Clock(Protocol):
    """Time, and being woken."""

    def now_s(self) -> float:
        """Seconds on a clock that only goes forward, the same for all BMCs of this machine."""

    def unix_s(self) -> float:
        """Seconds since 1970 by the machine's clock."""

    def later(self, delay_s: float, act: Callable[[], None]) -> Timer:
        """Call ``act`` after ``delay_s`` seconds."""


class Engine(Protocol):
    """ipmi_sim, which owns SEL, sensors and FRU."""

    async def ask(self, netfn: int, command: int, data: bytes = b"", *, lun: int = 0) -> bytes:
        """Send one request to it and return what follows completion code 0.

        Raises:
            Refused: with the engine's own code; Node Busy while it is being restarted.
        """

    def ask_at_once(self, netfn: int, command: int, data: bytes, *, lun: int = 0) -> bytes | Awaitable[bytes]:
        """As ``ask``; where the answer comes without delay it is returned on the spot.

        Raises:
            Refused: as ``ask``.
        """

    def is_ready(self) -> bool:
        """Whether it would answer now."""


class Chassis(Protocol):
    """The wires from the BMC to the host."""

    def power_is_on(self) -> bool:
        """Whether the chassis has power now."""

    def power_on(self) -> None:
        """Switch on; nothing happens if it is on."""

    def power_off(self) -> None:
        """Cut the power; nothing happens if it is off."""

    def reset(self) -> None:
        """Pull the reset line; the host must be on."""

    def press_power_button(self) -> None:
        """Ask the operating system to shut down, as a short press does."""

    def send_nmi(self) -> None:
        """Give the host a diagnostic interrupt."""

    def boot_devices(self) -> frozenset[BootSelector]:
        """The boot overrides that this host can follow."""

    def keeps_settings(self) -> bool:
        """Whether its firmware keeps settings while it is off."""

    def override_boot(self, selector: BootSelector | None, *, keep: bool) -> None:
        """Boot from ``selector`` next, or, with ``keep``, always; None takes it back."""

    def identify(self, seconds: float) -> None:
        """Light the identify lamp for so long: 0 is off, infinity is until told otherwise."""

    async def settled(self, *, on: bool) -> None:
        """Wait a moment until the power is as it was ordered."""


class SystemInterface(Protocol):
    """The lines of the system interface that the BMC drives."""

    def set_attention(self, *, asserted: bool, interrupt: bool, interrupts_enabled: bool) -> None:
        """Set or clear the attention flag of KCS.

        ``interrupt``: with the interrupt; ``interrupts_enabled``: the interface may use it at all.
        """


class Network(Protocol):
    """The way out of the BMC for what it sends by itself."""

    def send_trap(self, address: str, port: int, datagram: bytes) -> None:
        """Send one UDP datagram from the BMC's address, if that is possible."""


class Load(Protocol):
    """How busy the host is."""

    def host_load(self) -> float:
        """The part of its processors' time that the host used since the last call, from 0 to 1."""

    def limit_load(self, part: float | None) -> bool:
        """Let the host use no more than this part from now on, None for all; whether it is held to that.

        Asking for what is so costs nothing.
        """


class Serial(Protocol):
    """The host's serial port, as the BMC sees it."""

    def write(self, data: bytes) -> int:
        """Send bytes to the host and return how many it took."""

    def discard(self) -> None:
        """Forget what was written and the host has not read yet, as far as that is possible."""

    def send_break(self) -> None:
        """Send a break."""

    def pause(self, *, paused: bool) -> None:
        """Stop reading what the host prints, or go on; the host waits meanwhile."""
