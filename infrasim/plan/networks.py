"""Network cards of a node file, and where they lead."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never

from infrasim.frozen import Frozen
from infrasim.host.facts import HostFacts, Reserved
from infrasim.paths import NodePaths
from infrasim.personality.model import DefaultNic
from infrasim.plan import addresses
from infrasim.plan.fault import Faults, fault, problem
from infrasim.plan.model import InputSpec, LinkKind, LinkSpec, PortSpec
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import network
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device, Value
from infrasim.spec.network import DEFAULT_BRIDGE, Network
from infrasim.spec.network_checks import property_pairs
from infrasim.spec.node import Compute

USUAL_DEVICE = "e1000"

# Descriptors of QEMU that are devices of this machine: beyond all that a supervisor has open itself.
_FIRST_DESCRIPTOR = 240
# Multicast groups for local use, and ports below those that are given to whoever asks for any.
# Source: RFC 2365 section 6.2; ip-sysctl, ip_local_port_range.
_GROUP = "239.192"
_PORTS = range(16384, 32768)
# Properties that a key of the same name gives.
_NAMED_ALIKE = ("bus", "addr", "multifunction", "mac")
# What has no neighbours: the same address can be in two such networks.
_ALONE = ("nat", "none")


class _Connection(Frozen):
    """What a card is connected to: QEMU's words, and what they need of this machine."""

    words: Words = ()
    links: tuple[LinkSpec, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()


def macs(compute: Compute, node_uuid: uuid.UUID) -> tuple[str, ...]:
    """The addresses of the cards, in order."""
    return tuple(
        str(card.mac) if card.mac else addresses.mac(node_uuid, f"nic{index}")
        for index, card in enumerate(compute.networks)
    )


def neighbours(compute: Compute, node_uuid: uuid.UUID) -> tuple[str, ...]:
    """The addresses that others may see."""
    cards = zip(compute.networks, macs(compute, node_uuid), strict=True)
    return tuple(mac for card, mac in cards if card.network_mode not in _ALONE)


def check_macs(compute: Compute, node_uuid: uuid.UUID, reserved: Reserved) -> None:
    """No other node has an address that others may see.

    Raises:
        InvalidNodeFile: with each that one has.
    """
    seen, faults = neighbours(compute, node_uuid), Faults()
    for index, mac in enumerate(macs(compute, node_uuid)):
        if mac in seen and mac in reserved.macs:
            path, message = f"compute.networks[{index}].mac", f"{mac} belongs to node {reserved.macs[mac]}"
            faults.add([fault(path, message, "two nodes cannot have one address; leave it out to get one")])
    faults.refuse()


def networks_part(
    compute: Compute, node_uuid: uuid.UUID, nics: Sequence[DefaultNic], facts: HostFacts, paths: NodePaths
) -> HostPart:
    """Every card with what it is connected to. ``nics`` are those of the server type.

    Its faults are ways in which this machine cannot connect one.
    """
    faults = Faults()
    items: list[Device | Words] = []
    connections: list[_Connection] = []
    usual = nics[0].model if nics else USUAL_DEVICE
    for index, (card, mac) in enumerate(zip(compute.networks, macs(compute, node_uuid), strict=True)):
        key = f"compute.networks[{index}]"
        step = functools.partial(_connection, card, mac, index, key, facts, paths)
        connection = faults.tried(step) or _Connection()
        connections.append(connection)
        if connection.words:
            items.append(connection.words)
        further = dict(property_pairs(card.extra_option or ""))
        properties: dict[str, Value] = {
            "bus": card.bus,
            "addr": card.addr,
            "multifunction": card.multifunction,
            "netdev": _netdev(index) if connection.words else None,
            "mac": mac,
            **further,
        }
        keys = {
            **dict.fromkeys(further, "extra_option"),
            **{name: name for name in _NAMED_ALIKE},
            "": "device",
        }
        items.append(
            Device(card.device or usual, _card_id(card, index), key, properties, BootClass.NETWORK, keys=keys)
        )
    return HostPart(
        tuple(items),
        links=tuple(link for each in connections for link in each.links),
        unplugged=tuple(
            _card_id(card, index)
            for index, card in enumerate(compute.networks)
            if card.network_mode == "none"
        ),
        ports=tuple(port for each in connections for port in each.ports),
        inputs=(*(given for each in connections for given in each.inputs), *_option_roms(compute)),
        faults=tuple(faults.found),
    )


def _option_roms(compute: Compute) -> Iterator[InputSpec]:
    """Files that cards have their option ROM from; what has no path is QEMU's own."""
    for index, card in enumerate(compute.networks):
        rom = dict(property_pairs(card.extra_option or "")).get("romfile")
        if rom and rom.startswith("/"):
            yield InputSpec(Path(rom), f"compute.networks[{index}].extra_option")


def _netdev(index: int) -> str:
    return f"net{index}"


def _card_id(card: Network, index: int) -> str:
    return card.id or f"nic{index}"


def _connection(
    card: Network, mac: str, index: int, key: str, facts: HostFacts, paths: NodePaths
) -> _Connection:
    netdev, name_key = _netdev(index), f"{key}.network_name"
    match card.network_mode:
        case "none":
            return _Connection()
        case "nat":
            return _nat(card, index, key)
        case "socket":
            group = card.multicast or _group(paths, str(card.network_name))
            return _Connection(network.multicast(netdev, group))
        case "bridge" if not facts.may_make_links:
            bridge = card.network_name or DEFAULT_BRIDGE
            link = LinkSpec(LinkKind.BRIDGE, "", name_key, bridge, make=False)
            return _Connection(network.bridge(netdev, bridge), (link,))
        case "tap" if card.network_name and not facts.may_make_links:
            link = LinkSpec(LinkKind.TAP, card.network_name, name_key, make=False)
            return _Connection(network.tap(netdev, link.name), (link,))
        case mode if not facts.may_make_links:
            raise problem(
                f"{key}.network_mode",
                f"{mode} needs the right to change this machine's network (CAP_NET_ADMIN)",
                "run infrasim as root, or use nat or socket",
            )
        case "bridge":
            bridge = card.network_name or DEFAULT_BRIDGE
            link = LinkSpec(LinkKind.BRIDGE, _own_name(paths, index), name_key, bridge)
            return _Connection(network.tap(netdev, link.name), (link,))
        case "tap":
            link = LinkSpec(LinkKind.TAP, card.network_name or _own_name(paths, index), name_key)
            return _Connection(network.tap(netdev, link.name), (link,))
        case "openvswitch":
            bridge = str(card.network_name)
            link = LinkSpec(LinkKind.OPENVSWITCH, _own_name(paths, index), name_key, bridge, vlan=card.vlan)
            return _Connection(network.tap(netdev, link.name), (link,))
        case "macvtap":
            link = LinkSpec(
                LinkKind.MACVTAP,
                _own_name(paths, index),
                name_key,
                str(card.network_name),
                mode=card.macvtap_mode or "bridge",
                mac=mac,
                descriptor=_FIRST_DESCRIPTOR + index,
            )
            return _Connection(network.tap_descriptor(netdev, _FIRST_DESCRIPTOR + index), (link,))
        case _:
            assert_never(card.network_mode)


def _nat(card: Network, index: int, key: str) -> _Connection:
    forwards = [
        network.Forward(rule.protocol, rule.address, rule.outside, rule.inside) for rule in card.port_forward
    ]
    words = network.nat(
        _netdev(index),
        forwards,
        net=card.net,
        host=card.host,
        dns=card.dns,
        dhcpstart=card.dhcpstart,
        hostname=card.hostname,
        restrict=card.restrict,
        tftp=card.tftp,
        bootfile=card.bootfile,
    )
    return _Connection(
        words,
        ports=tuple(
            PortSpec(f"port forward to {each.inside}", each.protocol, each.address, each.outside)
            for each in forwards
        ),
        inputs=(InputSpec(Path(card.tftp), f"{key}.tftp", may_be_folder=True),) if card.tftp else (),
    )


def _own_name(paths: NodePaths, index: int) -> str:
    """A name that no other node's device of this machine has, in the 15 bytes there are."""
    return f"is{hashlib.sha256(str(paths.workspace).encode()).hexdigest()[:8]}n{index}"


def _group(paths: NodePaths, name: str) -> str:
    """Where the network of that name is, the same for every node of a home and another for other homes."""
    digest = hashlib.sha256(f"{paths.workspace.parent}\0{name}".encode()).digest()
    port = _PORTS[int.from_bytes(digest[2:4], "big") % len(_PORTS)]
    return f"{_GROUP}.{digest[0]}.{digest[1]}:{port}"
