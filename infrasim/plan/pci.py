"""Where every device of a host sits: the buses of its node file, and a slot for each device.

QEMU puts a device without a place into the first free slot at that moment, which may be one that a later
device asks for. So as soon as a node file gives any device a place, all of them get theirs here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from infrasim.errors import InvalidNodeFile, Problem
from infrasim.frozen import Frozen
from infrasim.plan.fault import fault
from infrasim.plan.part import HostPart, Words
from infrasim.qemu.element import Device, Value
from infrasim.spec.node import Compute

if TYPE_CHECKING:
    from infrasim.spec.topology import Downstream, LowestBridge, RootPort

_SLOTS = 32


class Chipset(Frozen):
    """The bus of a board that all others hang on, and the slots of it that the board itself takes."""

    root: str
    kind: str
    slots: tuple[int, ...]


# The host bridge is in the first slot; LPC and SMBus are in the last of a Q35 board, its USB controllers in
# 1d; ISA, IDE and USB are functions of the second slot of a PC. Source: QEMU hw/i386/pc_q35 and pc_piix.
Q35 = Chipset("pcie.0", "a root bus", (0, 31))
_Q35_WITH_USB = Chipset("pcie.0", "a root bus", (0, 0x1D, 31))
_PC = Chipset("pci.0", "the bus of a board without PCI Express", (0, 1))

_ROOT_PORTS = ("pcie-root-port", "ioh3420")
_UPSTREAM, _DOWNSTREAM = "x3130-upstream", "xio3130-downstream"
_BRIDGES = ("i82801b11-bridge", "pci-bridge", "pcie-pci-bridge")
_EXTRA_ROOT = "pxb-pcie"
_VMD, _BEHIND_VMD = "vmd", "a root bus behind a VMD"
# What QEMU takes on a further root bus. Source: QEMU hw/pci/pci.c, do_pci_register_device. The last ones are
# of other QEMUs, which say themselves what they take.
_ON_EXTRA_ROOT = (
    *(*_ROOT_PORTS, _UPSTREAM, *_BRIDGES),
    *(_VMD, "skx_ntb", "ioat_dma", "imc_m2mem", "pcu_cr0", "pcu_cr5"),
)
# On which kinds of bus ports can be; all others can be anywhere but inside of a switch.
_NEEDS = {
    **dict.fromkeys(_ROOT_PORTS, ("a root bus", _BEHIND_VMD)),
    _UPSTREAM: ("a port", _BEHIND_VMD),
    _DOWNSTREAM: ("the inside of a switch",),
    _EXTRA_ROOT: ("a root bus",),
    _VMD: ("a root bus",),
    "i82801b11-bridge": ("a root bus",),
    "pcie-pci-bridge": ("a root bus", "a port"),
}
_USUAL_CHASSIS = 1
_LEAVE_OUT = "leave it out to get a free one"
# Controllers that go onto the bridges' buses where the file has bridges. Source: the reference system.
_BRIDGED = "megasas"
# Keys of devices that have no id of their own in a node file, or rarely, and of those that have one.
_NAMELESS = ("compute.storage_backend", "compute.cdrom", "compute.cloud_init", "compute.networks")
_NAMED = ("compute.pci_bridge_topology", "compute.pcie_topology")
# Beginnings of the names of devices that sit on no PCI bus.
_ELSEWHERE = (
    "ide-",
    "scsi-",
    "ses",
    "isa-",
    "ipmi-",
    "usb-",
    "tpm-",
    "nvme-ns",
    "nvme-subsys",
    "virtserialport",
    "virtconsole",
    "pvpanic",
    "floppy",
    "loader",
)


class _Bus(Frozen):
    """A bus: the slots for devices without a place, all of its slots, and what alone it ``holds``."""

    name: str
    kind: str
    free: range
    slots: range
    holds: tuple[str, ...] = ()


@dataclass
class _Board:
    """What is where; ``slots`` are devices by function, by slot, by bus."""

    chipset: Chipset
    buses: dict[str, _Bus]
    slots: dict[tuple[str, int], dict[int, Device]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, device: Device, key: str, message: str, hint: str) -> None:
        """Note a fault at a key of a device."""
        place = device.places.get(f"{device.id}.{key}", f"{device.key}.{key}")
        self.problems.append(fault(place, message, hint))


def topology_part(compute: Compute) -> HostPart:
    """The bridges and ports of a node file, each behind those that it sits on."""
    bridges = _bridges(compute)
    ports = _ports(compute)
    return HostPart(tuple(_parents_first([*bridges, *ports], root=chipset_of(compute).root)))


def chipset_of(compute: Compute) -> Chipset:
    """What the board of a node file has on its PCI bus."""
    machine = compute.machine
    if machine is None:
        return Q35
    if machine.type == "pc" or machine.type.startswith(("pc-i440fx", "pc-0", "pc-1")):
        return _PC
    return _Q35_WITH_USB if machine.usb in (True, "on") else Q35


def is_pci(device: Device) -> bool:
    """Whether a device sits on a PCI bus."""
    return not device.driver.startswith(_ELSEWHERE)


def placed(parts: Sequence[HostPart], onboard: Words, chipset: Chipset = Q35) -> tuple[HostPart, ...]:
    """The parts with a bus and a slot for every device on a PCI bus, if the file gives any of them one.

    ``onboard`` are arguments of QEMU before theirs; what these add to the root bus is in its first slots.

    Raises:
        InvalidNodeFile: every device whose place is not there or taken, or for which none is left, every id
            that is not its own.
    """
    devices = [device for part in parts for device in part.devices]
    on_pci = [device for device in devices if is_pci(device)]
    given = {chipset.root: "the root bus", **_ids(onboard)}
    board = _Board(chipset, dict(_buses(on_pci, chipset)), problems=list(_repeated_ids(devices, given)))
    _put_onboard(board, onboard)
    found = _place(board, on_pci)
    if board.problems:
        # The controllers of one entry have one key.
        raise InvalidNodeFile(dict.fromkeys(board.problems))
    if not any(_text(device, "bus") or _text(device, "addr") for device in on_pci):
        return tuple(parts)
    return tuple(
        dataclasses.replace(
            part,
            items=tuple(
                found.get(item.id, item) if isinstance(item, Device) and is_pci(item) else item
                for item in part.items
            ),
        )
        for part in parts
    )


# --- the buses of the file


def _bridges(compute: Compute) -> list[Device]:
    made: list[Device] = []
    given = {bridge.id for _, _, bridge in _nested(compute) if bridge.id}
    numbers = (number for number in range(1, 1000) if f"pci.{number}" not in given)
    taken = {bridge.chassis_nr for _, _, bridge in _nested(compute)}
    chassis = (number for number in range(1, 256) if number not in taken)
    names: dict[str, str] = {}
    for key, parent, bridge in _nested(compute):
        name = names[key] = bridge.id or f"pci.{next(numbers)}"
        number = bridge.chassis_nr
        if number is None and bridge.device == "pci-bridge":
            number = next(chassis)
        properties: dict[str, Value] = {
            "bus": names.get(parent, chipset_of(compute).root),
            "addr": bridge.addr,
            "chassis_nr": number,
            "msi": bridge.msi,
            "multifunction": bridge.multifunction,
        }
        made.append(Device(bridge.device, name, key, properties))
    return made


def _nested(compute: Compute) -> Iterator[tuple[str, str, LowestBridge]]:
    """Every bridge with its key and that of the one before it, parents first."""
    below: list[tuple[str, str, LowestBridge]] = [
        (f"compute.pci_bridge_topology[{number}]", "", bridge)
        for number, bridge in enumerate(compute.pci_bridge_topology)
    ]
    while below:
        key, parent, bridge = below.pop(0)
        yield key, parent, bridge
        below[:0] = [
            (f"{key}.downstream_bridge[{number}]", key, each)
            for number, each in enumerate(getattr(bridge, "downstream_bridge", ()))
        ]


def _ports(compute: Compute) -> list[Device]:
    topology = compute.pcie_topology
    if topology is None:
        return []
    root = "compute.pcie_topology"
    ports: list[tuple[str, RootPort | Downstream]] = [
        (f"{root}.root_port[{number}]", port) for number, port in enumerate(topology.root_port)
    ]
    made = [
        Device(
            _EXTRA_ROOT,
            bus.id,
            f"{root}.root_bus[{number}]",
            {
                "bus": Q35.root,
                "addr": bus.addr,
                "multifunction": bus.multifunction,
                "bus_nr": bus.bus_nr,
                "numa_node": bus.numa_node,
            },
        )
        for number, bus in enumerate(topology.root_bus)
    ]
    for number, vmd in enumerate(topology.vmd):
        sizes = {"mbar1_size": vmd.bar1_size, "mbar2_size": vmd.bar2_size}
        properties = {"bus": vmd.bus, "addr": vmd.addr, "multifunction": True, **sizes}
        made.append(Device(_VMD, vmd.id, f"{root}.vmd[{number}]", properties))
    buses: dict[str, str] = {}
    for number, switch in enumerate(topology.switch):
        for place, up in enumerate(switch.upstream):
            key = f"{root}.switch[{number}].upstream[{place}]"
            properties = {"bus": up.bus, "addr": up.addr, "multifunction": up.multifunction}
            made.append(Device(up.device, up.id, key, properties))
        for place, down in enumerate(switch.downstream):
            key = f"{root}.switch[{number}].downstream[{place}]"
            buses[key] = down.bus or (switch.upstream[0].id if len(switch.upstream) == 1 else "")
            ports.append((key, down))
    slots = _chassis_slots(ports)
    for key, port in ports:
        chassis, slot = slots[key]
        made.append(
            Device(
                port.device,
                port.id,
                key,
                {
                    "bus": buses.get(key, port.bus),
                    "addr": port.addr,
                    "chassis": chassis,
                    "slot": slot,
                    "multifunction": port.multifunction,
                },
            )
        )
    return made


def _chassis_slots(ports: Sequence[tuple[str, RootPort | Downstream]]) -> dict[str, tuple[int, int]]:
    """Chassis and slot number of each port, by its key.

    Raises:
        InvalidNodeFile: two ports have the same of both.
    """
    found: dict[str, tuple[int, int]] = {}
    keys: dict[tuple[int, int], str] = {}
    problems = []
    for key, port in sorted(ports, key=lambda entry: entry[1].slot is None):
        chassis = _USUAL_CHASSIS if port.chassis is None else port.chassis
        slot = port.slot
        if slot is None:
            slot = next(number for number in range(1, 8192) if (chassis, number) not in keys)
        elif (chassis, slot) in keys:
            message = f"slot {slot} of chassis {chassis} is {keys[chassis, slot]} already"
            problems.append(fault(f"{key}.slot", message, _LEAVE_OUT))
        keys.setdefault((chassis, slot), key)
        found[key] = (chassis, slot)
    if problems:
        raise InvalidNodeFile(problems)
    return found


def _parents_first(devices: Sequence[Device], *, root: str) -> list[Device]:
    """The devices so that each bus comes before what sits on it, else in their order; ``root`` is there.

    Raises:
        InvalidNodeFile: some sit on each other in a ring.
    """
    names = {device.id for device in devices} - {root}
    left, ordered, done = list(devices), list[Device](), set[Value]()
    while left:
        ready = [each for each in left if (bus := each.properties.get("bus")) not in names or bus in done]
        if not ready:
            hint = "every way must lead to a root bus"
            raise InvalidNodeFile(
                fault(f"{each.key}.bus", f"{each.id} sits on itself by way of {each.properties['bus']}", hint)
                for each in left
            )
        ordered += ready
        done |= {each.id for each in ready}
        left = [each for each in left if each.id not in done]
    return ordered


def _buses(devices: Iterable[Device], chipset: Chipset) -> Iterator[tuple[str, _Bus]]:
    every = range(_SLOTS)
    yield chipset.root, _Bus(chipset.root, chipset.kind, every, every)
    for device in devices:
        name = device.id
        if name == chipset.root:
            continue  # it is said that this id is taken
        if device.driver in _BRIDGES:
            # A hot-plug controller of a bridge does not know slot 0. Source: QEMU hw/pci/shpc.
            yield name, _Bus(name, "a bridge", range(1, _SLOTS), every)
        elif device.driver in (*_ROOT_PORTS, _DOWNSTREAM):
            yield name, _Bus(name, "a port", range(1), range(1))
        elif device.driver == _UPSTREAM:
            yield name, _Bus(name, "the inside of a switch", every, every, holds=(_DOWNSTREAM,))
        elif device.driver == _EXTRA_ROOT:
            yield name, _Bus(name, "a root bus", every, every, holds=_ON_EXTRA_ROOT)
        elif device.driver == _VMD:
            yield name, _Bus(name, _BEHIND_VMD, every, every)


def _ids(onboard: Words) -> dict[str, str]:
    """Whose the ids are that devices on the board have."""
    found = {}
    for driver, *words in _devices(onboard):
        found.update(
            {word.removeprefix("id="): f"the machine's {driver}" for word in words if word.startswith("id=")}
        )
    return found


def _devices(arguments: Words) -> Iterator[list[str]]:
    """The words of each device among arguments of QEMU."""
    yield from (text.split(",") for flag, text in itertools.pairwise(arguments) if flag == "-device")


def _repeated_ids(devices: Iterable[Device], taken: Mapping[str, str]) -> Iterator[Problem]:
    """Ids that another device has; of those ``taken``, it is said whose they are."""
    seen = dict(taken)
    for device in devices:
        if device.id in seen:
            named, other = device.key, seen[device.id]
            if device.key.startswith(_NAMELESS) and other.startswith(_NAMED):
                named, other = other, named
            yield fault(f"{named}.id", f"{device.id!r} is the id of {other}", "each needs its own")
        seen.setdefault(device.id, device.key)


# --- a place for each device


def _put_onboard(board: _Board, onboard: Words) -> None:
    """What is on the board, and the devices on it that QEMU places before all others."""
    root = board.chipset.root
    for slot in board.chipset.slots:
        board.slots[root, slot] = {0: Device("chipset", "", "the chipset")}
    on_pci = [driver for driver, *_ in _devices(onboard) if not driver.startswith(_ELSEWHERE)]
    free = (slot for slot in range(_SLOTS) if slot not in board.chipset.slots)
    for slot, driver in zip(free, on_pci, strict=False):
        board.slots[root, slot] = {0: Device(driver, "", f"the machine's {driver}")}


def _place(board: _Board, devices: Sequence[Device]) -> dict[str, Device]:
    """Every device with bus and address, by its id; faults go to the board's problems."""
    buses = {device.id: _bus_of(board, device, devices) for device in devices}
    for device in devices:
        if (bus := buses[device.id]) and (addr := _text(device, "addr")):
            _put_at(board, device, bus, addr)
    _check_functions(board)
    found = {}
    for device in devices:
        bus = buses[device.id]
        if bus is None:
            continue
        place = _address(board, device, bus)
        if place is None:
            continue
        slot, function = place
        functions = board.slots[bus.name, slot]
        properties: dict[str, Value] = {"bus": bus.name, "addr": f"{slot:02x}.{function}"}
        if function == 0 and len(functions) > 1:
            properties["multifunction"] = True
        given = {name: value for name, value in device.properties.items() if name not in properties}
        found[device.id] = dataclasses.replace(device, properties={**properties, **given})
    return found


def _bus_of(board: _Board, device: Device, devices: Sequence[Device]) -> _Bus | None:
    """The bus a device is to be on; None if it cannot be."""
    name = _text(device, "bus") or _usual_bus(board, device, devices)
    bus = board.buses.get(name)
    if bus is None:
        close = get_close_matches(name, board.buses, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(board.buses)}"
        board.wrong(device, "bus", f"there is no PCI bus {name!r}" if name else "is missing", hint)
        return None
    if bus.holds and device.driver not in bus.holds:
        what, hint = ", ".join(bus.holds), "use the id of one of its downstream ports"
        if bus.holds is _ON_EXTRA_ROOT:
            what, hint = "ports and bridges", f"put a root port there, and {device.id} behind it"
        board.wrong(device, "bus", f"{name!r} is {bus.kind}, where only {what} can be", hint)
        return None
    needs = _NEEDS.get(device.driver)
    if needs and bus.kind not in needs:
        usual = " or ".join(kind for kind in needs if kind != _BEHIND_VMD)
        message = f"{name!r} is {bus.kind}; {device.driver} sits on {usual}"
        able = [each.name for each in board.buses.values() if each.kind in needs]
        board.wrong(device, "bus", message, f"such as {able[0]}" if able else "add one")
        return None
    return bus


def _usual_bus(board: _Board, device: Device, devices: Sequence[Device]) -> str:
    """Where a device goes that does not say so."""
    bridges = [each.id for each in devices if each.driver in _BRIDGES]
    parents = {_text(each, "bus") for each in devices if each.driver in _BRIDGES}
    last = [name for name in bridges if name not in parents]
    if device.driver == _DOWNSTREAM:
        return ""
    if not device.driver.startswith(_BRIDGED) or not last:
        return board.chipset.root
    alike = [each for each in devices if each.driver.startswith(_BRIDGED) and not _text(each, "bus")]
    return last[alike.index(device) % len(last)]


def _put_at(board: _Board, device: Device, bus: _Bus, addr: str) -> None:
    slot, function = _numbers(addr)
    functions = board.slots.setdefault((bus.name, slot), {})
    if slot not in bus.slots:
        board.wrong(device, "addr", f"{bus.name!r} is {bus.kind}, which has slot 0 only", "write '00.0'")
    elif bus.name == board.chipset.root and slot in board.chipset.slots:
        board.wrong(device, "addr", f"slot {slot:02x} of {bus.name} has the chipset", _LEAVE_OUT)
    elif function in functions:
        other = functions[function].key
        message = f"slot {slot:02x} function {function} of {bus.name} has {other}"
        board.wrong(device, "addr", message, _LEAVE_OUT)
    else:
        functions[function] = device


def _check_functions(board: _Board) -> None:
    """Several devices in one slot are functions of one, whose first says that there are more."""
    for (bus, slot), functions in board.slots.items():
        first = functions.get(0)
        for function, device in functions.items():
            # A VMD is one of several functions of the chipset, of which such a QEMU may have the first.
            if function and first is None and device.driver != _VMD:
                message = f"slot {slot:02x} of {bus} has no function 0, without which nobody looks for others"
                board.wrong(device, "addr", message, f"'{slot:02x}.0' is free")
                break
        if first is None or len(functions) == 1:
            continue
        if not first.id:
            for device in [each for number, each in functions.items() if number]:
                message = f"slot {slot:02x} of {bus} has {first.key}, which has no further functions"
                board.wrong(device, "addr", message, _LEAVE_OUT)
        elif first.properties.get("multifunction") in (False, "off"):
            message = f"slot {slot:02x} of {bus} has {len(functions)} functions"
            board.wrong(first, "multifunction", message, "leave it out")


def _address(board: _Board, device: Device, bus: _Bus) -> tuple[int, int] | None:
    """Slot and function of a device, the next free slot if it has none yet."""
    if addr := _text(device, "addr"):
        return _numbers(addr)
    for slot in bus.free:
        if not board.slots.get((bus.name, slot)):
            board.slots[bus.name, slot] = {0: device}
            return slot, 0
    key = "bus" if _text(device, "bus") else ""
    message = f"no slot of {bus.name!r} is free; it has {len(bus.free)}"
    hint = "put it on another bus"
    if bus.name == Q35.root:
        hint += ", such as a port of compute.pcie_topology"
    board.problems.append(fault(f"{device.key}.{key}".rstrip("."), message, hint))
    return None


def _numbers(addr: str) -> tuple[int, int]:
    slot, _, function = addr.removeprefix("0x").partition(".")
    return int(slot, 16), int(function or "0")


def _text(device: Device, name: str) -> str:
    value = device.properties.get(name)
    return value if isinstance(value, str) else ""
