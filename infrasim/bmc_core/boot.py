"""System boot options: what the firmware boots from next, and what software notes beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infrasim.bmc_core.chassis import Button, RestartCause
from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request
from infrasim.qemu.boot import BootSelector

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.ports import Timer

# Source: IPMI 2.0 sections 28.12 and 28.13, table 28-14.
_PARAMETER_VERSION = 0x01
_UNSUPPORTED = 0x80
_SET_IN_PROGRESS_TAKEN = 0x81
_INVALID_OR_LOCKED = 0x80

SET_IN_PROGRESS = 0
SERVICE_PARTITION = 1
SERVICE_SCAN = 2
VALID_BIT_CLEARING = 3
INFO_ACKNOWLEDGE = 4
FLAGS = 5
INITIATOR_INFO = 6
MAILBOX = 7

_LENGTHS = {SERVICE_PARTITION: 1, SERVICE_SCAN: 1, VALID_BIT_CLEARING: 1, FLAGS: 5, INITIATOR_INFO: 9}

# Of the first byte of the flags. Source: IPMI 2.0 table 28-14, parameter 5.
VALID = 0x80
_PERSISTENT = 0x40
_DEVICE_MASK = 0x3C
# What a device selector means here. Source: IPMI 2.0 table 28-14, parameter 5, data 2.
SELECTORS = {
    0x1: BootSelector.PXE,
    0x2: BootSelector.DISK,
    0x5: BootSelector.CDROM,
    0x6: BootSelector.BIOS,
}
_NO_FLAGS = bytes(5)

# The other bits. No firmware here locks a keyboard, blanks the screen, talks more or less, or sends progress
# events; its console is on the serial port always; no channel shares that port. What is true anyway is taken:
# the console on the serial port, no password, a port that host and BMC have both.
_CLEAR_SETTINGS = 0x80
_IMPOSSIBLE = bytes([0x00, 0x42, 0x70, 0x08, 0x00])
# What locks a button for one boot: byte and bit.
_LOCKS = {Button.RESET: (1, 0x01), Button.POWER: (2, 0x80), Button.STANDBY: (2, 0x04)}
_CONSOLE_MASK, _CONSOLES = 0x03, (0, 2)
_MUX_MASK, _MUXES = 0x07, range(3)
# Any one, the first of those outside, the first of those inside.
_INSTANCE_MASK, _INSTANCES = 0x1F, (0x00, 0x01, 0x11)

# Parameter 3: what leaves the valid bit alone. Its bits 1 and 0, for the buttons, do nothing: people at the
# machine press them to boot what they have just chosen.
_KEEP_ON_TIMEOUT = 0x08
_KEEP_ON_RESTART = {
    RestartCause.PEF_RESET: 0x10,
    RestartCause.PEF_POWER_CYCLE: 0x10,
    RestartCause.WATCHDOG: 0x04,
}
# Flags that nobody used: how long they stay valid. Source: as above, parameter 3.
EXPIRY_S = 60.0

_MAILBOX_BLOCK = 16
_MAILBOX_BLOCKS = 5


@dataclass
class BootState:
    """The boot options. ``simple`` holds parameters 1, 2, 3 and 6; ``locked`` those marked invalid.

    ``expires_s`` is when the flags do, on the BMC's clock; None while they do not.
    """

    flags: bytes = _NO_FLAGS
    expires_s: float | None = None
    simple: dict[int, bytes] = field(default_factory=dict)
    mailbox: dict[int, bytes] = field(default_factory=dict)
    locked: list[int] = field(default_factory=list)
    # Whether the firmware's settings are to be as they were at first when the host gets power next.
    clears_settings: bool = False

    @property
    def selector(self) -> BootSelector | None:
        """What the next boot is to use; None is the plain order."""
        if not self.flags[0] & VALID:
            return None
        return SELECTORS.get((self.flags[1] & _DEVICE_MASK) >> 2)

    @property
    def is_persistent(self) -> bool:
        """Whether the flags hold for every boot."""
        return bool(self.flags[0] & _PERSISTENT)

    @property
    def is_for_one_boot(self) -> bool:
        """Whether the flags wait for the next boot, also where they name no device."""
        return bool(self.flags[0] & VALID) and not self.is_persistent

    @property
    def locked_buttons(self) -> Button:
        """What the next boot locks, until the host is off or boots again."""
        locked = Button(0)
        for button, (place, bit) in _LOCKS.items() if self.flags[0] & VALID else ():
            if self.flags[place] & bit:
                locked |= button
        return locked

    def keeps(self, reason: int) -> bool:
        """Whether ``reason``, a bit of parameter 3, leaves the valid bit alone."""
        return bool(self.simple.get(VALID_BIT_CLEARING, b"\0")[0] & reason)


class BootOptions:
    """Boot options with their life: they apply, are used, and expire."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._set_in_progress = False
        # Nobody has, when the controller begins. Source: IPMI 2.0 table 28-14, parameter 4.
        self._acknowledged = 0
        self._expiry: Timer | None = None

    @property
    def _state(self) -> BootState:
        return self._bmc.state.boot

    def apply(self) -> None:
        """Tell the host's side what the flags say."""
        self._bmc.chassis.override_boot(self._state.selector, keep=self._state.is_persistent)

    def choose(self, selector: BootSelector | None) -> None:
        """Boot from ``selector`` once; None takes it back. For people, who wait as long as they like."""
        if selector is None:
            self.set_flags(_NO_FLAGS)
            return
        number = next(number for number, each in SELECTORS.items() if each is selector)
        self.set_flags(bytes([VALID, number << 2, 0, 0, 0]), expires=False)

    def set_flags(self, flags: bytes, *, expires: bool = True) -> None:
        """Take new boot flags.

        Raises:
            Refused: this host cannot boot from that, or cannot do something else that they ask for.
        """
        device = (flags[1] & _DEVICE_MASK) >> 2
        if device and (device not in SELECTORS or SELECTORS[device] not in self._bmc.chassis.boot_devices()):
            raise Refused(Completion.INVALID_FIELD)
        if not _can_be_done(flags):
            raise Refused(Completion.INVALID_FIELD)
        self._state.flags = flags
        self._state.clears_settings = bool(flags[0] & VALID and flags[1] & _CLEAR_SETTINGS)
        self._bmc.changed()
        self.apply()
        self.begin_countdown(expires=expires)

    def begin_countdown(self, *, expires: bool = True) -> None:
        """Valid flags wait 60 s for a boot; each chassis control command begins that anew."""
        self._end_countdown()
        state = self._state
        if expires and state.is_for_one_boot and not state.keeps(_KEEP_ON_TIMEOUT):
            state.expires_s = self._bmc.clock.now_s() + EXPIRY_S
            self.go_on()
            self._bmc.changed()

    def go_on(self) -> None:
        """Let the countdown go on that an earlier life of the BMC began, if one did."""
        expires_s = self._state.expires_s
        if expires_s is not None and self._expiry is None:
            left_s = max(0.0, expires_s - self._bmc.clock.now_s())
            self._expiry = self._bmc.clock.later(left_s, self._expire)

    def _end_countdown(self) -> None:
        if self._expiry:
            self._expiry.cancel()
            self._expiry = None
        if self._state.expires_s is not None:
            self._state.expires_s = None
            self._bmc.changed()

    @property
    def counts_down(self) -> bool:
        """Whether the flags will expire."""
        return self._state.expires_s is not None

    def ac_came(self) -> None:
        """Nothing counted while the BMC had no power."""
        if self.counts_down:
            self.begin_countdown()

    def _expire(self) -> None:
        self._end_countdown()
        self._state.flags = bytes([self._state.flags[0] & ~VALID]) + self._state.flags[1:]
        self._state.clears_settings = False
        self._bmc.changed()
        self.apply()

    def used(self) -> None:
        """The firmware has read the flags: unless they are persistent they are gone."""
        self._end_countdown()
        if self._state.is_for_one_boot:
            self._state.flags = _NO_FLAGS
            self._bmc.changed()

    def settings_cleared(self) -> None:
        """The firmware's settings are as they were at first. Flags for every boot clear them each time."""
        state = self._state
        state.clears_settings = state.is_persistent and bool(state.flags[1] & _CLEAR_SETTINGS)
        self._bmc.changed()

    def host_started(self) -> None:
        """A boot begins: flags that name no device are used by that; the machine tells when others are."""
        self._bmc.chassis_control.lock(self._state.locked_buttons)
        if self._state.selector is None:
            self.used()

    def restart_ordered(self, cause: RestartCause) -> None:
        """A reset or power cycle comes. One by a watchdog or a filter takes the flags away before it.

        Source: IPMI 2.0 table 28-14, parameter 3.
        """
        reason = _KEEP_ON_RESTART.get(cause)
        if reason and self._state.is_for_one_boot and not self._state.keeps(reason):
            self._expire()

    def set_complete(self) -> None:
        """End an open set-in-progress."""
        self._set_in_progress = False

    def controller_reset(self) -> None:
        """The BMC begins anew: nobody has acknowledged anything."""
        self._acknowledged = 0

    def set(self, number: int, data: bytes) -> None:
        """Set one parameter to ``data``.

        Raises:
            Refused: no such parameter, a length or value it cannot have, or somebody else is setting.
        """
        state = self._state
        if number == SET_IN_PROGRESS:
            self._set_progress(data)
            return
        if number == INFO_ACKNOWLEDGE:
            _need(data, 2)
            self._acknowledged = self._acknowledged & ~data[0] | data[0] & data[1] & 0x1F
        elif number == MAILBOX:
            self._set_mailbox(data)
        elif number == FLAGS:
            # Some tools leave the instance selector out.
            if len(data) not in (4, 5):
                raise Refused(Completion.LENGTH_INVALID)
            self.set_flags(data.ljust(5, b"\0"))
        elif number in _LENGTHS:
            _need(data, _LENGTHS[number])
            state.simple[number] = data
            if number == VALID_BIT_CLEARING and state.keeps(_KEEP_ON_TIMEOUT):
                self.begin_countdown()
        else:
            raise Refused(_UNSUPPORTED)
        self._bmc.changed()

    def _set_progress(self, data: bytes) -> None:
        _need(data, 1)
        wanted = data[0] & 0x03
        if wanted == 1 and self._set_in_progress:
            raise Refused(_SET_IN_PROGRESS_TAKEN)
        if wanted == 3:
            raise Refused(Completion.INVALID_FIELD)
        self._set_in_progress = wanted == 1

    def _set_mailbox(self, data: bytes) -> None:
        if not 2 <= len(data) <= 1 + _MAILBOX_BLOCK:
            raise Refused(Completion.LENGTH_INVALID)
        if data[0] >= _MAILBOX_BLOCKS:
            raise Refused(Completion.OUT_OF_RANGE)
        self._state.mailbox[data[0]] = data[1:].ljust(_MAILBOX_BLOCK, b"\0")

    def get(self, number: int, block: int) -> bytes:
        """The data of one parameter.

        Raises:
            Refused: no such parameter or block.
        """
        state = self._state
        if number == SET_IN_PROGRESS:
            return bytes([self._set_in_progress])
        if number == INFO_ACKNOWLEDGE:
            return bytes([0, self._acknowledged])
        if number == FLAGS:
            return state.flags
        if number == MAILBOX:
            if block >= _MAILBOX_BLOCKS:
                raise Refused(Completion.OUT_OF_RANGE)
            return bytes([block]) + state.mailbox.get(block, bytes(_MAILBOX_BLOCK))
        if number in _LENGTHS:
            return state.simple.get(number, bytes(_LENGTHS[number]))
        raise Refused(_UNSUPPORTED)


def _can_be_done(flags: bytes) -> bool:
    """Whether a host here does everything that the flags ask for beside a device."""
    return (
        not any(byte & impossible for byte, impossible in zip(flags, _IMPOSSIBLE, strict=True))
        and flags[2] & _CONSOLE_MASK in _CONSOLES
        and flags[3] & _MUX_MASK in _MUXES
        and flags[4] & _INSTANCE_MASK in _INSTANCES
    )


def _need(data: bytes, length: int) -> None:
    if len(data) != length:
        raise Refused(Completion.LENGTH_INVALID)


def set_boot_options(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.12."""
    if not request.data:
        raise Refused(Completion.LENGTH_INVALID)
    number, invalid = request.data[0] & 0x7F, bool(request.data[0] & _INVALID_OR_LOCKED)
    locked = bmc.state.boot.locked
    if len(request.data) > 1:
        bmc.boot.set(number, request.data[1:])
    else:
        # Without data only the validity bit is written.
        bmc.boot.get(number, 0)
    if invalid and number not in locked:
        locked.append(number)
    if not invalid and number in locked:
        locked.remove(number)
    bmc.changed()
    return b""


def get_boot_options(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.13."""
    selector, set_selector, block = request.need(3)
    number = selector & 0x7F
    data = bmc.boot.get(number, set_selector or block)
    invalid = _INVALID_OR_LOCKED if number in bmc.state.boot.locked else 0
    return bytes([_PARAMETER_VERSION, invalid | number]) + data


COMMANDS = (
    Command(NetFn.CHASSIS, 0x08, "Set System Boot Options", Privilege.OPERATOR, "28.12", set_boot_options),
    Command(NetFn.CHASSIS, 0x09, "Get System Boot Options", Privilege.OPERATOR, "28.13", get_boot_options),
)
