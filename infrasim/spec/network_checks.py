"""Checks of what a node file says of network cards, as ``spec.checks`` are for the rest."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from infrasim.spec import checks
from infrasim.spec.checks import Conflict
from infrasim.units import WrongValue

if TYPE_CHECKING:
    from infrasim.spec.network import Network

_DRIVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_PROPERTY = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
_SOCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*\Z")

PREFIX_LEAST = 4  # Source: QEMU net/slirp.c, net_slirp_init.
# The last bits of the addresses of QEMU's own network that a file leaves out. Source: the same.
_USUAL_ADDRESSES = {"host": 0x0202, "dns": 0x0203, "dhcpstart": 0x020F}
BOOT_FILE_MAX = 127  # Source: RFC 951, field "file", less the closing zero.
# A file below /run/netns. Source: ip-netns(8).
_NAMESPACE = re.compile(r"[!-.0-~]{1,255}\Z")

# The length of a network, and a port, in decimal.
_PREFIX = re.compile(r"/(?:[0-9]|[12][0-9]|3[0-2])\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")

# What infrasim gives a card itself, and the key that says it.
_OWN_PROPERTIES = {
    "netdev": "network_mode",
    "bootindex": "boot.boot_order",
    "id": "id",
    "mac": "mac",
    "bus": "bus",
    "addr": "addr",
    "multifunction": "multifunction",
}
_ANY = "0.0.0.0"
# Modes whose ``network_name`` has a default of its own.
_NAMELESS = ("nat", "none", "bridge", "tap")


def network_device(text: str) -> str:
    """The name of a network card; whether the QEMU in use has it is not known here."""
    if not _DRIVER.match(text):
        raise WrongValue(f"{text!r} cannot be a network card", hint="such as e1000, e1000e or virtio-net-pci")
    return text


def card_properties(text: str) -> str:
    """Further properties of a card, ``name=value`` separated by commas: none that has a key of its own."""
    checks.one_line(text)
    if not any(property_pairs(text)):
        raise WrongValue("names no property", hint="such as 'rombar=0,romfile='")
    for name, value in property_pairs(text):
        if value is None or not _PROPERTY.match(name):
            raise WrongValue(f"{name!r} is not 'name=value'", hint="such as 'rombar=0,romfile='")
        if name in _OWN_PROPERTIES:
            raise WrongValue(f"{name!r} is said elsewhere", hint=f"the key is {_OWN_PROPERTIES[name]!r}")
    return text


def property_pairs(text: str) -> Iterator[tuple[str, str | None]]:
    """The properties in a text such as ``rombar=0,romfile=``; None for one without a value."""
    for word in text.split(","):
        if word:
            name, sign, value = word.partition("=")
            yield name, value if sign else None


def namespace(text: str) -> str:
    """The name of a network namespace; whether it exists is not known here."""
    if not _NAMESPACE.match(text) or text in (".", ".."):
        raise WrongValue(f"{text!r} cannot be a network namespace", hint="a name of `ip netns list`")
    return text


def ipv4(text: str) -> str:
    """An IPv4 address."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise WrongValue(f"{text!r} is not an IPv4 address", hint="such as 10.0.2.2") from None


def ipv4_network(text: str) -> str:
    """An IPv4 network with its length."""
    try:
        if not _PREFIX.search(text):
            raise ValueError("its length is missing")
        network = ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise WrongValue(f"{text!r} is not an IPv4 network", hint=f"such as 10.0.2.0/24: {exc}") from None
    if network.prefixlen < PREFIX_LEAST:
        raise WrongValue(f"{text!r} is too large for QEMU's own network", hint=f"at least /{PREFIX_LEAST}")
    if network.prefixlen > 28:
        raise WrongValue(f"{text!r} has no room for gateway, name server and guest", hint="at most /28")
    return str(network)


def host_name(text: str) -> str:
    """A name that DHCP can give."""
    if not _HOST_NAME.match(text) or len(text) > 255:
        raise WrongValue(f"{text!r} cannot be a host name", hint="letters, digits and '-'; such as node-0")
    return text


def boot_file(text: str) -> str:
    """A file name of BOOTP."""
    checks.one_line(text)
    if not text or len(text.encode()) > BOOT_FILE_MAX:
        raise WrongValue(
            f"{text!r} cannot be a boot file", hint=f"1 to {BOOT_FILE_MAX} bytes; such as pxelinux.0"
        )
    return text


def multicast(text: str) -> str:
    """A multicast group of IPv4 with a UDP port."""
    group, _, port = text.rpartition(":")
    try:
        is_group = ipaddress.IPv4Address(group).is_multicast
    except ValueError:
        is_group = False
    if not is_group or not _PORT.match(port) or not 0 < int(port) < 65536:
        raise WrongValue(f"{text!r} is not a multicast group with a port", hint="such as 239.192.7.1:7001")
    return f"{group}:{int(port)}"


def network_name(mode: str, name: str | None, *, group: str | None) -> None:
    """The name is one that this mode can use."""
    if name is None:
        if mode not in _NAMELESS and not (mode == "socket" and group):
            what = {
                "macvtap": "the interface it sits on",
                "openvswitch": "the bridge of Open vSwitch it is put into",
                "socket": "the network it is on; cards with the same name can talk",
            }[mode]
            hint = f"such as 'network_name: {'lab' if mode == 'socket' else 'eth1'}'"
            raise checks.Conflicts(
                [Conflict(("network_mode",), f"{mode} needs 'network_name': {what}", hint)]
            )
    elif mode == "socket":
        if not _SOCKET_NAME.match(name):
            hint = "letters, digits, '-', '.' and '_'; such as lab"
            raise checks.Conflicts([Conflict(("network_name",), f"{name!r} cannot name a network", hint)])
    else:
        try:
            checks.interface(name)
        except WrongValue as exc:
            raise checks.Conflicts([Conflict(("network_name",), str(exc), exc.hint)]) from None


def addresses_inside(network: str, addresses: Mapping[str, str | None]) -> None:
    """The addresses that QEMU's own network has are in it and differ. ``addresses`` are by key."""
    inside = ipaddress.IPv4Network(network)
    found: list[Conflict] = []
    seen = {
        _usual(inside, key): f"{key!r}, which is left out," for key in addresses if addresses[key] is None
    }
    for key, address in addresses.items():
        if address is None:
            continue
        if ipaddress.IPv4Address(address) not in inside:
            found.append(
                Conflict((key,), f"{address} is not in the network {network}", "change it, or 'net'")
            )
        elif address in seen:
            found.append(Conflict((key,), f"{seen[address]} has {address} already", "each needs its own"))
        seen[address] = repr(key)
    if found:
        raise checks.Conflicts(found)


def _usual(network: ipaddress.IPv4Network, key: str) -> str:
    """The address that QEMU chooses itself."""
    bits = _USUAL_ADDRESSES[key] & int(network.hostmask)
    return str(ipaddress.IPv4Address(int(network.network_address) | bits))


def networks_differ(networks: Sequence[Network]) -> Sequence[Network]:
    """No two cards share an address, an id, a device of this machine or a place, no two forwards a port."""
    found: list[Conflict] = []
    for key, hint in (
        ("mac", "each card needs its own; leave it out to get one"),
        ("id", "each card needs its own; leave it out to get one"),
    ):
        values = [((number, key), getattr(card, key)) for number, card in enumerate(networks)]
        found += checks.repeated(values, "another card has {value} too", hint)
    taps = [
        ((number, "network_name"), card.network_name)
        for number, card in enumerate(networks)
        if card.network_mode == "tap"
    ]
    found += checks.repeated(taps, "another card is at {value} already", "each card needs a tap of its own")
    places = [
        ((number, "addr"), f"{card.bus or 'pcie.0'} {card.addr}" if card.addr is not None else None)
        for number, card in enumerate(networks)
    ]
    found += checks.repeated(places, "another card is at {value} already", "each card needs its own place")
    found += _forwarded_twice(networks)
    if found:
        raise checks.Conflicts(found)
    return networks


def _forwarded_twice(networks: Sequence[Network]) -> Iterator[Conflict]:
    """Forwards of a port that another one has at the same address, or at all of them."""
    seen: dict[tuple[str, int], set[str]] = {}
    for number, card in enumerate(networks):
        for place, forward in enumerate(card.port_forward):
            others = seen.setdefault((forward.protocol, forward.outside), set())
            if forward.address in others or (others and _ANY in {forward.address, *others}):
                message = f"{forward.protocol} port {forward.outside} of this machine is forwarded already"
                path = (number, "port_forward", place, "outside")
                yield Conflict(path, message, "each port of an address leads to one place")
            others.add(forward.address)
