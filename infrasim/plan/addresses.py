"""Which addresses, ports and names a node gets when its file leaves them open. Pure and repeatable.

What a node was given once it keeps as long as nobody else has taken it, because its last plan is
asked first. The facts of a running node's plan must not count its own sockets as taken.
"""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from infrasim.errors import UsageError
from infrasim.host.facts import HostFacts, Reserved, Socket
from infrasim.plan.fault import problem
from infrasim.plan.model import VNC_FIRST_PORT, Kept

# The first node is where users of an IPMI tool look first; the others share one /24 behind it.
FIRST_ADDRESS = "127.0.0.1"
_FURTHER_ADDRESSES = [f"127.0.1.{last}" for last in range(1, 255)]
FIRST_DISPLAY = 1
_DISPLAYS_MOST = 1000
# The racadm shell's. Source: the reference system's default.
FIRST_RACADM_PORT = 10022
_RACADM_PORTS_MOST = 1000

# ipmi_sim's channel to the BMC core; on an address of the node's own, so it needs no choosing.
CHANNEL_PORT = 9002
_PRIVATE_TRIES = 64

# Locally administered addresses that QEMU's users know. Source: IEEE 802, QEMU's default MAC prefix.
_MAC_PREFIX = "52:54:00"
# Source: SPC-4 section 7.7.3.6, network address authority 3.
_NAA_LOCAL = 3


def bmc_address(port: int, facts: HostFacts, reserved: Reserved, previous: Kept | None) -> str:
    """The loopback address of a BMC whose file names none.

    Raises:
        UsageError: every address is taken.
    """
    had = previous.address if previous else None
    kept = had if had and had.startswith("127.") else FIRST_ADDRESS
    for address in (kept, FIRST_ADDRESS, *_FURTHER_ADDRESSES):
        if Socket(address, port) not in reserved.sockets and facts.udp_free(address, port):
            return address
    raise UsageError(
        f"no loopback address has port {port}/udp free for another BMC",
        hint="set bmc.address or bmc.ipmi_over_lan_port in the node file",
    )


def own_address(address: str, facts: HostFacts, key: str) -> str:
    """``address`` if something can listen on it here: any loopback address, a wildcard, or an interface's.

    Raises:
        InvalidNodeFile: it cannot; at the place ``key`` of the node file.
    """
    parsed = ipaddress.ip_address(address)
    if parsed.is_loopback or parsed.is_unspecified:
        return address
    known = [place for places in _interfaces(facts).values() for place in places]
    if address not in known:
        hint = f"it has: {', '.join(known)}"
        raise problem(key, f"this machine has no address {address}", hint)
    return address


def interface_address(name: str, facts: HostFacts, section: str) -> str:
    """The first address of an interface that ``section`` of the node file names.

    Raises:
        InvalidNodeFile: there is no such interface, or it has none.
    """
    key = f"{section}.interface"
    known = _interfaces(facts)
    if name not in known:
        raise problem(key, f"this machine has no interface {name!r}", f"it has: {', '.join(sorted(known))}")
    if not known[name]:
        raise problem(key, f"interface {name} has no IP address", f"give it one, or set {section}.address")
    return known[name][0]


def _interfaces(facts: HostFacts) -> Mapping[str, tuple[str, ...]]:
    return facts.ask_interfaces() if facts.ask_interfaces else {}


def racadm_port(address: str, facts: HostFacts, reserved: Reserved, previous: Kept | None) -> int:
    """The TCP port of a racadm shell whose file names none.

    Raises:
        UsageError: none is free.
    """
    kept = [previous.racadm_port] if previous and previous.racadm_port else []
    for port in chain(kept, range(FIRST_RACADM_PORT, FIRST_RACADM_PORT + _RACADM_PORTS_MOST)):
        if Socket(address, port) not in reserved.sockets and facts.tcp_free(address, port):
            return port
    raise UsageError(
        f"no port is free for a racadm shell at {address}", hint="set racadm.port in the node file"
    )


def listen_addresses(address: str, port: int, facts: HostFacts, reserved: Reserved) -> tuple[str, ...]:
    """All addresses of the BMC: the first node is on IPv6's loopback too, as "localhost" is."""
    if address != FIRST_ADDRESS or not facts.ipv6_loopback:
        return (address,)
    if facts.udp_free("::1", port) and Socket("::1", port) not in reserved.sockets:
        return (address, "::1")
    return (address,)


def private_address(
    home: Path, name: str, facts: HostFacts, reserved: Reserved, previous: Kept | None
) -> str:
    """Where ipmi_sim listens: a loopback address nobody else is given.

    Raises:
        UsageError: none was free.
    """
    kept = [previous.private_address] if previous and previous.private_address else []
    for address in (*kept, *_private_candidates(home, name)):
        is_free = facts.tcp_free(address, CHANNEL_PORT)
        if is_free and Socket(address, CHANNEL_PORT) not in reserved.sockets:
            return address
    raise UsageError(f"no private loopback address is free for node {name}")


def _private_candidates(home: Path, name: str) -> Iterator[str]:
    """Addresses from 127.64.0.1 up, spread by home and name so that homes do not collide."""
    for attempt in range(_PRIVATE_TRIES):
        digest = hashlib.sha256(f"{home}\0{name}\0{attempt}".encode()).digest()
        yield f"127.{64 + digest[0] % 128}.{digest[1]}.{1 + digest[2] % 254}"


def vnc_display(facts: HostFacts, reserved: Reserved, previous: Kept | None, address: str) -> int:
    """The VNC display of a node whose file names none.

    Raises:
        UsageError: none is free.
    """
    kept = [previous.vnc_display] if previous and previous.vnc_display is not None else []
    for display in chain(kept, range(FIRST_DISPLAY, _DISPLAYS_MOST)):
        if display not in reserved.vnc_displays and facts.tcp_free(address, VNC_FIRST_PORT + display):
            return display
    raise UsageError("no VNC display is free", hint="set compute.vnc_display in the node file")


def node_uuid(home: Path, name: str, facts: HostFacts) -> uuid.UUID:
    """The UUID of a node whose file has none: the same for ever on this machine."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"infrasim:{facts.machine_id}:{home}:{name}")


def serial_number(identity: uuid.UUID) -> str:
    """The serial number of a node whose file has none."""
    return f"IS{identity.hex[:10].upper()}"


def drive_serial(identity: uuid.UUID, what: str) -> str:
    """The serial number of a drive whose file has none. ``what`` names the drive within the node."""
    return f"IS{hashlib.sha256(identity.bytes + what.encode()).hexdigest()[:10].upper()}"


def drive_wwn(identity: uuid.UUID, what: str) -> int:
    """A world-wide name for a drive whose file has none: of the kind that is assigned locally."""
    digest = hashlib.sha256(identity.bytes + what.encode()).digest()
    return _NAA_LOCAL << 60 | int.from_bytes(digest[:8], "big") >> 4


def mac(identity: uuid.UUID, what: str) -> str:
    """The MAC address of a card whose file has none. ``what`` names the card within the node."""
    digest = hashlib.sha256(identity.bytes + what.encode()).digest()
    return ":".join([_MAC_PREFIX, *(f"{value:02x}" for value in digest[:3])])
