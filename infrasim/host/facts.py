"""What a plan needs to know of this machine, as plain values: no probing here (``probe`` does that)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path


class Accelerator(StrEnum):
    """What executes a guest's code."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True)
class KvmVerdict:
    """Whether KVM really runs 64-bit guest code here, and how that is known."""

    works: bool
    reason: str


@dataclass(frozen=True, order=True)
class Socket:
    """A bound address; ``0.0.0.0`` and ``::`` mean every address."""

    address: str
    port: int


WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class HostFacts:
    """This machine at planning time. ``interfaces`` maps a name to its addresses, IPv4 first.

    ``memory_free_mib`` is what can be had now without swapping, ``memory_most_mib`` what one process can
    ask for at all; None where that is not known, or where there is no limit.
    """

    qemu_program: str
    qemu_version: tuple[int, ...]
    ipmi_sim_program: str
    socat_program: str
    kvm: KvmVerdict
    udp_in_use: frozenset[Socket] = frozenset()
    tcp_in_use: frozenset[Socket] = frozenset()
    interfaces: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ipv6_loopback: bool = False
    machine_id: str = ""
    memory_free_mib: int | None = None
    memory_most_mib: int | None = None

    def without(self, *, udp: frozenset[Socket], tcp: frozenset[Socket]) -> HostFacts:
        """The same machine, as if these were not bound."""
        return replace(self, udp_in_use=self.udp_in_use - udp, tcp_in_use=self.tcp_in_use - tcp)

    def udp_free(self, address: str, port: int) -> bool:
        """Whether nobody is bound to that UDP port at that address."""
        return is_free(self.udp_in_use, address, port)

    def tcp_free(self, address: str, port: int) -> bool:
        """Whether nobody is bound to that TCP port at that address."""
        return is_free(self.tcp_in_use, address, port)


@dataclass(frozen=True)
class Reserved:
    """What other nodes of this home have: taken even while they are stopped."""

    sockets: frozenset[Socket] = frozenset()
    vnc_displays: frozenset[int] = frozenset()
    disks: dict[Path, str] = field(default_factory=dict)


def is_free(in_use: frozenset[Socket], address: str, port: int) -> bool:
    """Whether ``address`` and ``port`` can be bound beside the sockets ``in_use``."""
    if address in WILDCARDS:
        # ipmi_sim's own address is bound beside the wildcard on purpose, so only wildcards clash.
        return not any(Socket(place, port) in in_use for place in WILDCARDS)
    return not any(Socket(place, port) in in_use for place in (address, *WILDCARDS))
