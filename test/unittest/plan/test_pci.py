"""Where devices go: never two in one place, every one in its place or an error on its line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.errors import InvalidNodeFile
from infrasim.plan.part import HostPart
from infrasim.plan.pci import chipset_of, placed, topology_part
from infrasim.qemu.element import Device, Value
from infrasim.spec.load import load_node
from infrasim.spec.node import Compute

SCREEN = ("-device", "VGA,id=vga0", "-chardev", "null,id=a", "-device", "isa-serial,chardev=a")


def compute(text: str) -> Compute:
    return load_node(Path("n.yml"), f"compute: {text}").spec.compute


def card(number: int = 0, driver: str = "e1000e", **properties: Value) -> Device:
    return Device(driver, f"nic{number}", f"compute.networks[{number}]", properties)


def places(parts: Iterable[HostPart]) -> dict[str, str]:
    """Bus and address of each device by its id."""
    return {
        device.id: f"{device.properties.get('bus')} {device.properties.get('addr')}"
        for part in parts
        for device in part.devices
    }


def put(*devices: Device, topology: str = "{}") -> dict[str, str]:
    spec = compute(topology)
    return places(placed((topology_part(spec), HostPart(devices)), SCREEN, chipset_of(spec)))


def refusals(*devices: Device, topology: str = "{}") -> list[str]:
    with pytest.raises(InvalidNodeFile) as caught:
        put(*devices, topology=topology)
    return [f"{each.path}: {each.message} ({each.hint})" for each in caught.value.problems]


def test_nothing_is_touched_where_the_file_has_no_places() -> None:
    part = HostPart((card(0), card(1, multifunction=True), Device("ide-hd", "d", "k", {"bus": "sata0.0"})))
    assert placed((part,), SCREEN) == (part,)


def test_more_devices_than_slots_where_the_file_has_no_places() -> None:
    # The chipset has two of 32 slots, and the screen one.
    cards = [card(number) for number in range(29)]
    assert placed([part := HostPart(tuple(cards))], SCREEN) == (part,)
    raid = [Device("megasas", f"scsi{number}", "compute.storage_backend[0]") for number in range(2)]
    assert refusals(*cards, *raid, card(29)) == [
        f"{key}: no slot of 'pcie.0' is free; it has 32 (put it on another bus, such as a port of "
        "compute.pcie_topology)"
        for key in ("compute.storage_backend[0]", "compute.networks[29]")
    ]


def test_devices_without_a_place_go_round_those_that_have_one() -> None:
    disk = Device("ide-hd", "d", "k", {"bus": "sata0.0"})
    assert put(card(0), card(1, addr="02"), card(2), card(3, addr="0x4"), disk) == {
        "nic0": "pcie.0 03.0",
        "nic1": "pcie.0 02.0",
        "nic2": "pcie.0 05.0",
        "nic3": "pcie.0 04.0",
        "d": "sata0.0 None",
    }


def test_functions_of_one_slot() -> None:
    part = HostPart((card(0, addr="5.1"), card(1, addr="05.0"), card(2)))
    (found,) = placed((part,), SCREEN)
    assert places([found]) == {"nic0": "pcie.0 05.1", "nic1": "pcie.0 05.0", "nic2": "pcie.0 02.0"}
    assert [device.properties.get("multifunction") for device in found.devices] == [None, True, None]


def test_megaraid_controllers_are_spread_over_the_bridges() -> None:
    topology = (
        "{pci_bridge_topology: [{device: i82801b11-bridge, downstream_bridge: [{device: pci-bridge}, "
        "{device: pci-bridge}]}]}"
    )
    raid = [Device("megasas", f"scsi{number}", f"k{number}") for number in range(3)]
    assert put(*raid, card(), topology=topology) == {
        "pci.1": "pcie.0 02.0",
        "pci.2": "pci.1 01.0",
        "pci.3": "pci.1 02.0",
        "scsi0": "pci.2 01.0",
        "scsi1": "pci.3 01.0",
        "scsi2": "pci.2 02.0",
        "nic0": "pcie.0 03.0",
    }


def test_names_and_numbers_that_the_file_leaves_out() -> None:
    part = topology_part(
        compute(
            "{pci_bridge_topology: [{device: pci-bridge}, {device: pci-bridge, id: pci.1, chassis_nr: 1}], "
            "pcie_topology: {root_port: [{id: a}, {id: b, slot: 1}, {id: c, chassis: 2}]}}"
        )
    )
    numbers = {
        device.id: tuple(device.properties.get(name) for name in ("chassis_nr", "chassis", "slot"))
        for device in part.devices
    }
    assert numbers == {
        "pci.2": (2, None, None),
        "pci.1": (1, None, None),
        "a": (None, 1, 2),
        "b": (None, 1, 1),
        "c": (None, 2, 1),
    }


def test_a_bus_comes_before_what_sits_on_it() -> None:
    topology = (
        "{pcie_topology: {root_bus: [{id: far, bus_nr: 9}], root_port: [{id: r, bus: far}], switch: ["
        "{upstream: [{id: u2, bus: d1}], downstream: [{id: d2}]}, "
        "{upstream: [{id: u1, bus: r}], downstream: [{id: d1}]}]}}"
    )
    found = put(card(bus="d2"), topology=topology)
    assert list(found) == ["far", "r", "u1", "d1", "u2", "d2", "nic0"]
    assert found["nic0"] == "d2 00.0"
    assert found["r"] == "far 00.0"


def test_boards_have_other_buses_and_slots() -> None:
    cards = [card(addr="1c"), card(1), card(2)]
    assert put(*cards, topology="{machine: {type: pc}, pci_bridge_topology: [{device: pci-bridge}]}") == {
        "pci.1": "pci.0 03.0",
        "nic0": "pci.0 1c.0",
        "nic1": "pci.0 04.0",
        "nic2": "pci.0 05.0",
    }
    assert refusals(card(addr="1.1"), topology="{machine: {type: pc-i440fx-7.2}}") == [
        "compute.networks[0].addr: slot 01 of pci.0 has the chipset (leave it out to get a free one)"
    ]
    assert refusals(card(addr="1d.4"), topology="{machine: {usb: true}}") == [
        "compute.networks[0].addr: slot 1d of pcie.0 has the chipset (leave it out to get a free one)"
    ]
    assert refusals(topology="{machine: {type: pc}, pcie_topology: {root_port: [{id: a}]}}") == [
        "compute.pcie_topology.root_port[0].bus: there is no PCI bus 'pcie.0' (did you mean 'pci.0'?)"
    ]


PORT = "{pcie_topology: {root_port: [{id: port1}]}}"
SWITCH = "{pcie_topology: {root_port: [{id: r}], switch: [{upstream: [{id: u, bus: r}], downstream: []}]}}"


@pytest.mark.parametrize(
    ("devices", "topology", "said"),
    [
        (
            [card(bus="prot1")],
            PORT,
            ["compute.networks[0].bus: there is no PCI bus 'prot1' (did you mean 'port1'?)"],
        ),
        ([card(bus="x")], "{}", ["compute.networks[0].bus: there is no PCI bus 'x' (there are: pcie.0)"]),
        (
            [card(0, addr="5"), card(1, addr="05.0")],
            "{}",
            [
                "compute.networks[1].addr: slot 05 function 0 of pcie.0 has compute.networks[0] "
                "(leave it out to get a free one)"
            ],
        ),
        (
            [card(addr="1")],
            "{}",
            [
                "compute.networks[0].addr: slot 01 function 0 of pcie.0 has the machine's VGA "
                "(leave it out to get a free one)"
            ],
        ),
        (
            [card(addr="1.3")],
            "{}",
            [
                "compute.networks[0].addr: slot 01 of pcie.0 has the machine's VGA, which has no further "
                "functions (leave it out to get a free one)"
            ],
        ),
        (
            [card(addr="1f.5"), card(1, addr="0")],
            "{}",
            [
                "compute.networks[0].addr: slot 1f of pcie.0 has the chipset "
                "(leave it out to get a free one)",
                "compute.networks[1].addr: slot 00 of pcie.0 has the chipset "
                "(leave it out to get a free one)",
            ],
        ),
        (
            [card(addr="5.1")],
            "{}",
            [
                "compute.networks[0].addr: slot 05 of pcie.0 has no function 0, without which nobody looks "
                "for others ('05.0' is free)"
            ],
        ),
        (
            [card(0, addr="5.0", multifunction=False), card(1, addr="5.1")],
            "{}",
            ["compute.networks[0].multifunction: slot 05 of pcie.0 has 2 functions (leave it out)"],
        ),
        (
            [card(bus="port1"), card(1, bus="port1")],
            PORT,
            [
                "compute.networks[1].bus: no slot of 'port1' is free; it has 1 (put it on another bus)",
            ],
        ),
        (
            [card(bus="port1", addr="1")],
            PORT,
            ["compute.networks[0].addr: 'port1' is a port, which has slot 0 only (write '00.0')"],
        ),
        (
            [card(bus="u")],
            SWITCH,
            [
                "compute.networks[0].bus: 'u' is the inside of a switch, where only xio3130-downstream "
                "can be (use the id of one of its downstream ports)"
            ],
        ),
        (
            [],
            "{pcie_topology: {switch: [{upstream: [{id: u, bus: pcie.0}]}]}}",
            [
                "compute.pcie_topology.switch[0].upstream[0].bus: 'pcie.0' is a root bus; x3130-upstream "
                "sits on a port (add one)"
            ],
        ),
        (
            [],
            "{pcie_topology: {root_port: [{id: r}], switch: [{downstream: [{id: d}, {id: e, bus: r}]}]}}",
            [
                "compute.pcie_topology.switch[0].downstream[0].bus: is missing (there are: pcie.0, r, d, e)",
                "compute.pcie_topology.switch[0].downstream[1].bus: 'r' is a port; xio3130-downstream "
                "sits on the inside of a switch (add one)",
            ],
        ),
        (
            [],
            "{pcie_topology: {switch: [{upstream: [{id: u, bus: d}], downstream: [{id: d}]}]}}",
            [
                "compute.pcie_topology.switch[0].upstream[0].bus: u sits on itself by way of d "
                "(every way must lead to a root bus)",
                "compute.pcie_topology.switch[0].downstream[0].bus: d sits on itself by way of u "
                "(every way must lead to a root bus)",
            ],
        ),
        (
            [],
            "{pcie_topology: {root_port: [{id: a, slot: 2}, {id: b, chassis: 1, slot: 2}]}}",
            [
                "compute.pcie_topology.root_port[1].slot: slot 2 of chassis 1 is "
                "compute.pcie_topology.root_port[0] already (leave it out to get a free one)"
            ],
        ),
        (
            [card(0)],
            "{pcie_topology: {root_port: [{id: nic0}]}}",
            [
                "compute.pcie_topology.root_port[0].id: 'nic0' is the id of compute.networks[0] "
                "(each needs its own)"
            ],
        ),
        # Disks have no id in the file.
        (
            [Device("ich9-ahci", "sata0", "compute.storage_backend[0]")],
            "{pcie_topology: {root_port: [{id: sata0}]}}",
            [
                "compute.pcie_topology.root_port[0].id: 'sata0' is the id of compute.storage_backend[0] "
                "(each needs its own)"
            ],
        ),
        (
            [],
            "{pcie_topology: {root_port: [{id: vga0}, {id: pcie.0}, {id: r, bus: pcie.0}]}}",
            [
                "compute.pcie_topology.root_port[0].id: 'vga0' is the id of the machine's VGA "
                "(each needs its own)",
                "compute.pcie_topology.root_port[1].id: 'pcie.0' is the id of the root bus "
                "(each needs its own)",
            ],
        ),
        (
            [card(bus="pcie.1"), Device("imc_m2mem", "imc0", "compute.imc[0]", {"bus": "pcie.1"})],
            "{pcie_topology: {root_bus: [{id: pcie.1, bus_nr: 9}], root_port: [{id: r, bus: pcie.1}]}}",
            [
                "compute.networks[0].bus: 'pcie.1' is a root bus, where only ports and bridges can be "
                "(put a root port there, and nic0 behind it)"
            ],
        ),
        (
            [card(0), Device("e1000", "nic0", "k")],
            "{}",
            ["k.id: 'nic0' is the id of compute.networks[0] (each needs its own)"],
        ),
    ],
)
def test_what_cannot_be(devices: list[Device], topology: str, said: list[str]) -> None:
    assert refusals(*devices, topology=topology) == said


@st.composite
def machines(draw: st.DrawFn) -> tuple[str, list[Device]]:
    """A topology and cards, some of which ask for a place on it."""
    bridges = draw(st.integers(0, 3))
    ports = draw(st.integers(0, 5))
    topology = (
        f"{{pci_bridge_topology: [{', '.join(['{device: pci-bridge}'] * bridges)}], "
        f"pcie_topology: {{root_port: [{', '.join(f'{{id: port{number}}}' for number in range(ports))}]}}}}"
    )
    buses = [
        "pcie.0",
        *(f"pci.{number + 1}" for number in range(bridges)),
        *(f"port{n}" for n in range(ports)),
    ]
    cards = []
    for number in range(draw(st.integers(0, 40))):
        bus = draw(st.none() | st.sampled_from(buses))
        slot = draw(st.none() | st.integers(0, 31))
        function = draw(st.sampled_from(["", "", ".0", ".1"]))
        addr = None if slot is None else f"{slot:x}{function}"
        cards.append(card(number, bus=bus, addr=addr))
    return topology, cards


@given(machines())
def test_no_place_is_given_twice_and_every_device_has_one_or_an_error(
    machine: tuple[str, list[Device]],
) -> None:
    topology, cards = machine
    part = topology_part(compute(topology))
    try:
        found = placed((part, HostPart(tuple(cards))), SCREEN)
    except InvalidNodeFile as exc:
        keys = {device.key for device in (*part.devices, *cards)}
        assert exc.problems
        assert all(
            problem.path.rpartition(".")[0] in keys or problem.path in keys for problem in exc.problems
        )
        return
    given_places = places(found)
    assert len(given_places) == len(part.devices) + len(cards)
    if set(given_places.values()) == {"None None"}:
        return
    addresses = list(given_places.values())
    assert len(set(addresses)) == len(addresses), "never twice"
    assert not {"pcie.0 00.0", "pcie.0 01.0", "pcie.0 1f.0"} & set(addresses)
    by_id = {device.id: device for each in found for device in each.devices}
    for each in cards:
        bus, addr = given_places[each.id].split()
        assert bus == (each.properties["bus"] or bus)
        if asked := each.properties["addr"]:
            slot, _, function = str(asked).partition(".")
            assert addr == f"{int(slot, 16):02x}.{function or 0}"
        if not addr.endswith(".0"):
            first = next(name for name, place in given_places.items() if place == f"{bus} {addr[:2]}.0")
            assert by_id[first].properties["multifunction"] is True
