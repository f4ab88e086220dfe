"""Devices of this machine that a node file gives to its host."""

from __future__ import annotations

from pathlib import Path

from infrasim.host.facts import HostFacts
from infrasim.plan.model import HostDeviceSpec, InputSpec
from infrasim.plan.part import HostPart
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device, Value
from infrasim.spec.node import Compute

_KEY = "compute.pcie-passthrough"
# What firmware can boot from, by base class. Source: PCI Code and ID Assignment Specification, section 1.
_BOOT_CLASSES = {0x01: BootClass.DISK, 0x02: BootClass.NETWORK}
# Properties that a key of the same name gives.
_NAMED_ALIKE = ("host", "bus", "addr", "multifunction", "rombar", "romfile")


def passthrough_part(compute: Compute, facts: HostFacts) -> HostPart:
    """Every such device; whether it can be had is seen by the start (``runtime.passthrough``)."""
    devices, specs, inputs = list[Device](), list[HostDeviceSpec](), list[InputSpec]()
    for number, given in enumerate(compute.pcie_passthrough):
        key = f"{_KEY}[{number}]"
        properties: dict[str, Value] = {
            "host": given.host,
            "bus": given.bus,
            "addr": given.addr,
            "multifunction": given.multifunction,
            "rombar": None if given.rombar is None else int(given.rombar),
            "romfile": given.romfile,
        }
        boot_class = _boot_class(given.host, facts)
        if boot_class is None and given.bootindex is not None:
            boot_class = BootClass.DISK
        keys = {name: name for name in _NAMED_ALIKE}
        devices.append(
            Device(given.driver, f"host{number}", key, properties, boot_class, given.bootindex, keys)
        )
        specs.append(HostDeviceSpec(given.host, f"{key}.host"))
        if given.romfile is not None:
            inputs.append(InputSpec(Path(given.romfile), f"{key}.romfile"))
    return HostPart(tuple(devices), inputs=tuple(inputs), passthrough=tuple(specs))


def _boot_class(address: str, facts: HostFacts) -> BootClass | None:
    found = facts.ask_pci(address) if facts.ask_pci else None
    return _BOOT_CLASSES.get(found.base_class) if found else None
