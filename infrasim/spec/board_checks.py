"""Checks of values of the board: firmware, TPM, machine, system interface (see ``checks``)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from infrasim.spec.checks import Conflict, Conflicts
from infrasim.units import WrongValue

# Source: `qemu-system-x86_64 -machine help`, those that have PCI and take a disk.
_MACHINE = re.compile(r"(?:q35|pc|pc-(?:q35|i440fx)-\d+\.\d+)\Z")
_TPM = "2.0"


def switch(given: str | bool | None) -> str | bool | None:
    """``on``, ``off``, ``true`` and ``false`` as what they mean; any other word as it is."""
    words = {"on": True, "off": False, "true": True, "false": False}
    return words.get(given, given) if isinstance(given, str) else given


def machine_type(text: str) -> str:
    """A board; whether this QEMU has that version is not known here."""
    if not _MACHINE.match(text):
        raise WrongValue(f"{text!r} is not a board of a server", hint="q35, pc, or such as pc-q35-7.2")
    return text


def is_q35(machine: str) -> bool:
    """Whether a board is a Q35, which has PCI express and system management memory."""
    return "q35" in machine


def tpm_version(given: str | float) -> str:
    """The version of a TPM; without quotes it was read as a number."""
    if str(given) != _TPM:
        raise WrongValue(f"there is no TPM {given}", hint=f"a TPM is {_TPM}")
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
