"""Network cards of a node file, and where they lead."""

from __future__ import annotations

import uuid

from infrasim.plan import addresses
from infrasim.plan.model import PortSpec
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import network
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device
from infrasim.spec.node import Compute


def macs(compute: Compute, node_uuid: uuid.UUID) -> tuple[str, ...]:
    """The addresses of the cards, in order."""
    return tuple(
        str(card.mac) if card.mac else addresses.mac(node_uuid, f"nic{index}")
        for index, card in enumerate(compute.networks)
    )


def networks_part(compute: Compute, node_uuid: uuid.UUID) -> HostPart:
    """Every card with what it is connected to."""
    items: list[Device | Words] = []
    ports: list[PortSpec] = []
    for index, (card, mac) in enumerate(zip(compute.networks, macs(compute, node_uuid), strict=True)):
        netdev, device_id = f"net{index}", f"nic{index}"
        rules = [(rule.protocol, rule.outside, rule.inside) for rule in card.port_forward]
        items.append(network.nat(netdev, rules))
        properties = {"netdev": netdev, "mac": mac}
        key = f"compute.networks[{index}]"
        items.append(Device(card.device, device_id, key, properties, BootClass.NETWORK))
        ports += [
            PortSpec(f"port forward to {inside}", protocol, "127.0.0.1", outside)
            for protocol, outside, inside in rules
        ]
    return HostPart(tuple(items), ports=tuple(ports))
