"""What only the QEMU in use knows of disks: the kind of a controller of which there is just a name, and
sectors that those of distributions do not have.

No QEMU says which bus a device has or which values a property takes, so it is asked to make a machine with
a disk (``HostFacts.try_qemu``).
"""

from __future__ import annotations

from collections.abc import Iterator

from infrasim.errors import Problem
from infrasim.host.facts import HostFacts, TryQemu
from infrasim.plan.fault import fault
from infrasim.qemu.element import Device, Value
from infrasim.spec.document import dotted
from infrasim.spec.node import Compute
from infrasim.spec.storage_checks import disks
from infrasim.spec.storage_kinds import KINDS, SECTORS_BEYOND, Kind

_TRIAL = "trial"
# How many places a bus may have, most first: the last one of them is tried. A parallel SCSI bus has eight,
# and the last is the controller itself.
_SCSI_TARGETS = (256, 64, 7)
_SATA_PORTS = (32, 16, 8, 6, 4, 3)
# Two on each of two channels.
_PATA_DISKS = 4


def other_kinds(compute: Compute, facts: HostFacts) -> tuple[dict[str, Kind], list[Problem]]:
    """The controllers of a node file that ``storage_kinds`` does not know and the QEMU in use has.

    With them a fault for each that takes no disk.
    """
    ask, attempt = facts.ask_qemu, facts.try_qemu
    found: dict[str, Kind] = {}
    problems: list[Problem] = []
    for number, entry in enumerate(compute.storage_backend):
        name = entry.type
        if name in KINDS or name in found or ask is None or attempt is None:
            continue
        if not (ask(False).has_device(name) or ask(True).has_device(name)):
            continue  # qemu.check says so, with all else that is not there
        if (kind := _tried(name, attempt)) is not None:
            found[name] = kind
            continue
        message = f"{name!r} is no controller that SCSI or IDE disks can be behind"
        hint = f"known here: {', '.join(KINDS)}; compute.extra_device takes any device as it is"
        problems.append(fault(f"compute.storage_backend[{number}].type", message, hint))
    return found, problems


def lacking_sectors(compute: Compute, facts: HostFacts) -> Iterator[Problem]:
    """Disks with sectors that those of the QEMU in use cannot have."""
    if facts.try_qemu is None:
        return
    for number, entry in enumerate(compute.storage_backend):
        for place, disk in disks(entry):
            size = disk.sector_size
            if size not in SECTORS_BEYOND:
                continue
            properties = {"logical_block_size": size, "physical_block_size": size}
            if facts.try_qemu(_machine("virtio-scsi-pci", "scsi-hd", {"bus": f"{_TRIAL}.0", **properties})):
                path = dotted(("compute", "storage_backend", number, *place, "sector_size"))
                version = ".".join(map(str, facts.qemu_version))
                whose = f"QEMU {version} ({facts.qemu_program})"
                message = f"needs disks with sectors of {size} bytes, which {whose} does not have"
                yield fault(path, message, "nearest: 512 and 4096")


def _tried(name: str, attempt: TryQemu) -> Kind | None:
    """The kind of controller that a device is; None if it is none."""

    def takes(driver: str, bus: int, **place: Value) -> bool:
        return not attempt(_machine(name, driver, {"bus": f"{_TRIAL}.{bus}", **place}))

    if takes("scsi-hd", 0):
        targets = (most for most in _SCSI_TARGETS if takes("scsi-hd", 0, **{"scsi-id": most - 1}))
        return Kind("scsi", name, {}, targets=next(targets, 1))
    if takes("ide-hd", 1, unit=1):
        return Kind("ide", name, {}, targets=_PATA_DISKS)
    ports = next((most for most in _SATA_PORTS if takes("ide-hd", most - 1)), 0)
    return Kind("sata", name, {}, targets=ports) if ports else None


def _machine(controller: str, driver: str, place: dict[str, Value]) -> tuple[str, ...]:
    """QEMU's arguments for a machine with one controller and one disk."""
    return (
        *("-blockdev", f"driver=null-co,node-name={_TRIAL}"),
        *Device(controller, _TRIAL, "").argv(),
        *Device(driver, "disk", "", {**place, "drive": _TRIAL}).argv(),
    )
