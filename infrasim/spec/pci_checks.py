"""Checks of places on a bus of QEMU's, for every device that a node file can put somewhere."""

from __future__ import annotations

import re

from infrasim.units import WrongValue

# Source: QEMU util/id.c, id_wellformed.
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
# Slot and function in hexadecimal. Source: QEMU hw/core/qdev-properties-system.c, set_pci_devfn.
_PCI_ADDRESS = re.compile(r"(?:0x)?(?P<slot>[0-9a-fA-F]{1,2})(?:\.(?P<function>[0-7]))?\Z")
_PCI_SLOTS = 32


def qemu_id(text: str) -> str:
    """An id of QEMU's."""
    if not _ID.match(text):
        raise WrongValue(
            f"{text!r} cannot be an id", hint="a letter, then letters, digits, '-', '.' and '_'; such as nic0"
        )
    return text


def pci_address(text: str) -> str:
    """Slot and function on a PCI bus, in hexadecimal digits."""
    match = _PCI_ADDRESS.match(text)
    if match is None or int(match["slot"], 16) >= _PCI_SLOTS:
        raise WrongValue(
            f"{text!r} is not a place on a PCI bus",
            hint="slot 0 to 1f in hexadecimal, and a function 0 to 7 behind a point; such as '05.0'",
        )
    return text
