"""Checks of places on a bus of QEMU's, for every device that a node file can put somewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infrasim.spec import checks
from infrasim.units import WrongValue

if TYPE_CHECKING:
    from infrasim.spec.topology import Passthrough, RootBus

# Source: QEMU util/id.c, id_wellformed.
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
# Slot and function in hexadecimal. Source: QEMU hw/core/qdev-properties-system.c, set_pci_devfn.
_PCI_ADDRESS = re.compile(r"(?:0x)?(?P<slot>[0-9a-fA-F]{1,2})(?:\.(?:0x)?(?P<function>[0-7]))?\Z")
_PCI_SLOTS = 32
_SAME_IN_ALL_BASES = 9
# Domain, bus, device and function of a device of this machine, as QEMU reads them; it takes no larger domain.
# Source: QEMU hw/core/qdev-properties-system.c, set_pci_host_devaddr.
_HOST_DEVICE = re.compile(
    r"(?:(?P<domain>[0-9a-fA-F]{1,4}):)?(?P<bus>[0-9a-fA-F]{1,2}):(?P<slot>[0-9a-fA-F]{1,2})\.(?P<function>[0-7])\Z"
)


def qemu_id(text: str) -> str:
    """An id of QEMU's."""
    if not _ID.match(text):
        raise WrongValue(
            f"{text!r} cannot be an id", hint="a letter, then letters, digits, '-', '.' and '_'; such as nic0"
        )
    return text


def as_digits(given: object) -> object:
    """A slot that was read as a number, as ``0x1`` and ``5.0`` without quotes are; anything else as it is."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return given
    if isinstance(given, int) and _SAME_IN_ALL_BASES < given < _PCI_SLOTS:
        raise WrongValue(f"{given} can be meant as 0x{given:x} and as 0x{given}", hint="write it with 0x")
    return str(given)


def pci_address(text: str) -> str:
    """Slot and function on a PCI bus, in hexadecimal digits."""
    match = _PCI_ADDRESS.match(text)
    if match is None or int(match["slot"], 16) >= _PCI_SLOTS:
        raise WrongValue(
            f"{text!r} is not a place on a PCI bus",
            hint="slot 0 to 1f in hexadecimal, and a function 0 to 7 behind a point; such as '05.0'",
        )
    slot, point, function = text.partition(".")
    return f"{slot}{point}{function.removeprefix('0x')}"


def host_device(text: str) -> str:
    """The address of a PCI device of this machine as Linux writes it; without a domain it is in 0."""
    match = _HOST_DEVICE.match(text)
    if match is None or int(match["slot"], 16) >= _PCI_SLOTS:
        raise WrongValue(
            f"{text!r} is not the address of a PCI device",
            hint="domain:bus:device.function in hexadecimal, as 'lspci -D' lists them; such as "
            "'0000:03:00.0'",
        )
    domain, bus, slot = (int(match[part] or "0", 16) for part in ("domain", "bus", "slot"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{match['function']}"


def numbers_differ(buses: Sequence[RootBus]) -> Sequence[RootBus]:
    """No two root buses have one number."""
    numbers = [((place, "bus_nr"), each.bus_nr) for place, each in enumerate(buses)]
    checks.refuse(checks.repeated(numbers, "another root bus has {value} too", "each root bus needs its own"))
    return buses


def nodes_are_there(buses: Sequence[RootBus], nodes: int) -> None:
    """The NUMA nodes that root buses are beside are among those of the memory; a single one is none."""
    there = f"there are the nodes 0 to {nodes - 1}" if nodes > 1 else "there are no nodes"
    checks.refuse(
        checks.Conflict(
            ("pcie_topology", "root_bus", place, "numa_node"), there, "compute.memory.nodes makes them"
        )
        for place, each in enumerate(buses)
        if each.numa_node is not None and (nodes == 1 or each.numa_node >= nodes)
    )


def given_once(devices: Sequence[Passthrough]) -> Sequence[Passthrough]:
    """No device of this machine is given to the host twice."""
    hosts = [((number, "host"), each.host) for number, each in enumerate(devices)]
    checks.refuse(checks.repeated(hosts, "{value} is in another entry already", "remove one of them"))
    return devices
