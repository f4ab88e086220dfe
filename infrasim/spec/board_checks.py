"""Checks of values of the board and its BMC: firmware, TPM, machine, interface, channels (see ``checks``)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from infrasim.spec.checks import Conflict, Conflicts
from infrasim.units import WrongValue

# Source: `qemu-system-x86_64 -machine help`, those that have PCI and take a disk.
_MACHINE = re.compile(r"(?:q35|pc|pc-(?:q35|i440fx)-\d+\.\d+)\Z")
_TPM = "2.0"

# Channels 12 and 13 are reserved. Source: IPMI 2.0 table 6-1.
LAST_LAN_CHANNEL = 11


def machine_type(text: str) -> str:
    """A board; whether this QEMU has that version is not known here."""
    if not _MACHINE.match(text):
        raise WrongValue(f"{text!r} is not a board of a server", hint="q35, pc, or such as pc-q35-7.2")
    return text


def is_q35(machine: str) -> bool:
    """Whether a board is a Q35, which has PCI express and system management memory."""
    return "q35" in machine


def tpm_version(given: object) -> object:
    """The version of a TPM, which without quotes is read as a number; anything else as it is."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return given
    if str(given) != _TPM and given != float(_TPM):
        raise WrongValue(f"there is no TPM {given!r}", hint=f"a TPM is {_TPM}")
    return _TPM


def one_firmware(*, firmware: str, is_secure: bool, bios: str | None, machine: str) -> None:
    """A firmware's image and board are its own."""
    found = []
    if firmware != "seabios" and bios is not None:
        found.append(
            Conflict(
                ("bios",), f"takes the place of seabios, and 'firmware' is {firmware}", "keep one of them"
            )
        )
    if is_secure and firmware != "uefi":
        found.append(Conflict(("secure_boot",), f"{firmware} has none", "add 'firmware: uefi'"))
    if firmware == "uefi" and not is_q35(machine):
        found.append(Conflict(("machine", "type"), f"uefi does not run on {machine}", "use q35"))
    if found:
        raise Conflicts(found)


def one_inventory(*, emu_file: str | None, own: Iterable[str]) -> None:
    """A file that is taken as it is takes no texts."""
    message = "would be written into the server type's commands, and 'emu_file' takes their place"
    found = [Conflict((key,), message, "keep one of them") for key in own] if emu_file else []
    if found:
        raise Conflicts(found)


def split_channels(given: object) -> object:
    """``1,8`` or a number alone as a list; anything else as it is."""
    if isinstance(given, int) and not isinstance(given, bool):
        return (given,)
    if not isinstance(given, str):
        return given
    words = [word.strip() for word in given.split(",")]
    if not all(word.isdecimal() for word in words):
        raise WrongValue(f"{given!r} is not a list of channels", hint="such as 1,8")
    return tuple(int(word) for word in words)


def lan_channel(number: int) -> int:
    """A number that a LAN channel can have."""
    if not 1 <= number <= LAST_LAN_CHANNEL:
        raise WrongValue(f"{number} is no number of a LAN channel", hint=f"1 to {LAST_LAN_CHANNEL}")
    return number


def channels_differ(channels: tuple[int, ...]) -> tuple[int, ...]:
    """No channel twice."""
    if len(set(channels)) < len(channels):
        raise WrongValue("names a channel twice")
    return channels


def main_channel_is_one(*, main: int, channels: tuple[int, ...]) -> None:
    """The main channel is in the list, where there is a list."""
    if channels and main not in channels:
        hint = f"add {main}, or choose a 'main_channel' that is there"
        raise Conflicts([Conflict(("channels",), f"does not have the main channel, {main}", hint)])
