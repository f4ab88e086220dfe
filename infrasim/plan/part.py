"""What one part of a node file adds to the plan of its host.

Each of ``storage`` and ``networks`` gives one; ``planner`` joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from infrasim.errors import InvalidNodeFile, Problem
from infrasim.frozen import Frozen
from infrasim.plan.fault import fault
from infrasim.plan.model import (
    CopySpec,
    DiskSpec,
    FileSpec,
    HostDeviceSpec,
    InputSpec,
    LinkSpec,
    PortSpec,
    ProcessSpec,
)
from infrasim.qemu.boot import BootDevice, number_devices
from infrasim.qemu.element import Device

# Arguments of QEMU that need nothing from other parts, such as ``("-netdev", "user,id=net0")``.
Words = tuple[str, ...]


class HostPart(Frozen):
    """``items`` become QEMU's arguments, in their order; ``processes`` run before QEMU and beside it.

    ``faults`` are what is wrong with it although all of its devices are there.
    """

    items: tuple[Device | Words, ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    files: tuple[FileSpec, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    processes: tuple[ProcessSpec, ...] = ()
    links: tuple[LinkSpec, ...] = ()
    passthrough: tuple[HostDeviceSpec, ...] = ()
    unplugged: tuple[str, ...] = ()
    copies: tuple[CopySpec, ...] = ()
    folders: tuple[Path, ...] = ()
    faults: tuple[Problem, ...] = ()

    @property
    def devices(self) -> tuple[Device, ...]:
        """Its devices, in their order."""
        return tuple(item for item in self.items if isinstance(item, Device))

    def argv(self, indexes: Mapping[str, int]) -> tuple[str, ...]:
        """QEMU's arguments. ``indexes`` are the boot indexes by device id."""
        return tuple(
            word
            for item in self.items
            for word in (item.argv(indexes.get(item.id)) if isinstance(item, Device) else item)
        )


def boot_devices(parts: Iterable[HostPart], order: str) -> tuple[BootDevice, ...]:
    """Every device to boot from with its place; ``order`` is that of the node file.

    Raises:
        InvalidNodeFile: two are to have one place.
    """
    found = [device for part in parts for device in part.devices]
    problems, taken = [], dict[int, str]()
    for device in found:
        if device.boot_index is not None and device.boot_index in taken:
            message = f"{taken[device.boot_index]} has {device.boot_index} too"
            problems.append(fault(f"{device.key}.bootindex", message, "each needs its own"))
        elif device.boot_index is not None:
            taken[device.boot_index] = device.key
    if problems:
        raise InvalidNodeFile(problems)
    return number_devices(
        (
            (device.id, device.boot_class, device.boot_index)
            for device in found
            if device.boot_class is not None
        ),
        order,
    )
