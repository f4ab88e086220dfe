"""What a host boots from, and in which order, with and without a boot override.

An override changes the ``bootindex`` of running devices; the firmware reads the order at each reset.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from enum import StrEnum

from infrasim.frozen import Frozen


class Firmware(StrEnum):
    """What starts a host."""

    SEABIOS = "seabios"
    UEFI = "uefi"


class BootClass(StrEnum):
    """The kinds of device a host can boot from."""

    NETWORK = "network"
    DISK = "disk"
    CDROM = "cdrom"


class BootSelector(StrEnum):
    """What a boot override can ask for, in the words of ``ipmitool chassis bootdev``."""

    PXE = "pxe"
    DISK = "disk"
    CDROM = "cdrom"
    BIOS = "bios"

    @property
    def boot_class(self) -> BootClass | None:
        """The devices to try first; None for the firmware's own menu."""
        match self:
            case BootSelector.PXE:
                return BootClass.NETWORK
            case BootSelector.DISK:
                return BootClass.DISK
            case BootSelector.CDROM:
                return BootClass.CDROM
            case BootSelector.BIOS:
                return None


# The letters of ``compute.boot.boot_order``. Source: QEMU invocation, -boot order.
ORDER_LETTERS = {"n": BootClass.NETWORK, "c": BootClass.DISK, "d": BootClass.CDROM}

# ``-kernel`` puts its loader at bootindex 0. Source: measured, QEMU 7.2.
FIRST_INDEX = 1


class BootDevice(Frozen):
    """A device the host can boot from; ``index`` is its place in the order, lowest first."""

    device_id: str
    boot_class: BootClass
    index: int


def number_devices(
    devices: Iterable[tuple[str, BootClass, int | None]], order: str
) -> tuple[BootDevice, ...]:
    """Give every device its boot index: its own from the node file, else one behind all these, by class.

    QEMU too puts devices with an index before those without.
    ``devices`` are (device id, class, index from the node file or None) in the machine's order;
    ``order`` is letters of ``ORDER_LETTERS``, and classes it leaves out follow in n, c, d order.
    """
    listed = list(devices)
    first = max((index + 1 for _, _, index in listed if index is not None), default=FIRST_INDEX)
    letters = order + "".join(letter for letter in ORDER_LETTERS if letter not in order)
    ranks = [ORDER_LETTERS[letter] for letter in letters]
    free = itertools.count(first)
    by_rank = sorted(listed, key=lambda device: ranks.index(device[1]))
    numbered = {
        name: BootDevice(name, kind, next(free) if index is None else index) for name, kind, index in by_rank
    }
    return tuple(numbered[name] for name, _, _ in listed)


def order_with(devices: Sequence[BootDevice], selector: BootSelector | None) -> tuple[tuple[str, int], ...]:
    """(device id, boot index) of every device when ``selector`` goes first; None is the plain order."""
    wanted = selector.boot_class if selector else None
    indexes = sorted(device.index for device in devices)
    ranked = sorted(devices, key=lambda device: (device.boot_class is not wanted, device.index))
    if wanted is None:
        ranked = sorted(devices, key=lambda device: device.index)
    return tuple((device.device_id, index) for device, index in zip(ranked, indexes, strict=True))
