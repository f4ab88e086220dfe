"""What a plan needs to know of this machine, as plain values: no probing here (``probe`` does that)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypedDict

from infrasim.frozen import Frozen

# The module whose name stands in the command line of a racadm shell, before the node and its workspace.
RACADM_MODULE = "infrasim.runtime.racadm"


class Accelerator(StrEnum):
    """What executes a guest's code."""

    KVM = "kvm"
    TCG = "tcg"


class KvmVerdict(Frozen):
    """Whether KVM really runs 64-bit guest code here, and how that is known.

    ``has_smm``: also in system management mode, which keeps a firmware's secrets from the system.
    """

    works: bool
    reason: str
    has_smm: bool = False


@dataclass(frozen=True, order=True)
class Socket:
    """A bound address; ``0.0.0.0`` and ``::`` mean every address."""

    address: str
    port: int


WILDCARDS = ("0.0.0.0", "::")


# Every interface with its addresses, IPv4 first, link-local IPv6 left out.
AskInterfaces = Callable[[], Mapping[str, tuple[str, ...]]]


class NetworkFacts(TypedDict):
    """The facts that each network namespace has its own of."""

    udp_in_use: frozenset[Socket]
    tcp_in_use: frozenset[Socket]
    ask_interfaces: AskInterfaces | None
    ipv6_loopback: bool


class QemuDevice(Frozen):
    """A device that a QEMU can give its machine.

    ``bus`` is what it sits on, such as ``PCI``, empty for none; ``category`` the heading it is listed under,
    such as ``Network``. ``properties`` is None if this QEMU cannot tell.
    """

    name: str
    bus: str = ""
    category: str = ""
    properties: frozenset[str] | None = None


class QemuAbilities(Frozen):
    """What one QEMU can do, by the names it has for it; ``version`` and ``program`` say which QEMU.

    ``aliases`` are other names of devices, ``options`` are those of the command line that take properties. A
    machine's properties are None where this QEMU cannot tell.
    """

    program: str
    version: str
    devices: Mapping[str, QemuDevice]
    aliases: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    cpus: frozenset[str] = frozenset()
    cpu_features: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    netdevs: frozenset[str] = frozenset()

    def device(self, name: str) -> QemuDevice | None:
        """The device of that name or alias; None if there is none."""
        return self.devices.get(self.aliases.get(name, name))

    def has_device(self, name: str) -> bool:
        """Whether there is a device of that name or alias."""
        return self.device(name) is not None

    def devices_on(self, bus: str, category: str = "") -> tuple[str, ...]:
        """The devices that sit on that kind of bus, sorted; only those of ``category`` if it is given."""
        return tuple(
            sorted(
                device.name
                for device in self.devices.values()
                if device.bus == bus and category in ("", device.category)
            )
        )


class Core(Frozen):
    """A processor of this machine, as its Linux numbers them; ``core`` is the first thread of its core."""

    number: int
    node: int = 0
    package: int = 0
    core: int = 0


class PciDevice(Frozen):
    """A PCI device of this machine. ``address`` is as Linux writes it, such as ``0000:03:00.0``.

    ``vendor``, ``device`` and ``kind``, the class code, are the device's own numbers. ``group`` is its IOMMU
    group, None without one; ``is_bridge`` says that there is another bus behind it.
    """

    address: str
    vendor: int = 0
    device: int = 0
    kind: int = 0
    driver: str | None = None
    group: int | None = None
    is_bridge: bool = False

    @property
    def base_class(self) -> int:
        """The first byte of the class code. Source: PCI Code and ID Assignment Specification, section 1."""
        return self.kind >> 16


# Asks a QEMU what it can do; with ``again`` the program itself and not what is kept of its answers.
AskQemu = Callable[[bool], QemuAbilities]
# Why a QEMU does not make a machine with these arguments, in its words; empty if it makes it.
TryQemu = Callable[[Sequence[str]], str]


class HostFacts(Frozen):
    """This machine at planning time.

    ``memory_free_mib`` is what can be had now without swapping, ``memory_most_mib`` what one process can
    ask for at all; None where that is not known, or where there is no limit. ``may_make_links`` is the right
    to change the network.
    What the QEMU in use can do is asked by ``ask_qemu``, for it costs something; None if nobody can ask.
    ``try_qemu`` makes a machine with it that nothing runs on.
    So are the processors by ``ask_cores``, a PCI device, by its address, by ``ask_pci``, and the addresses of
    each interface by ``ask_interfaces``: few nodes need them. ``python_program`` is the interpreter that runs
    infrasim. ``knows_network`` is False where the network that the node is to be in cannot be seen.
    """

    qemu_program: str
    qemu_version: tuple[int, ...]
    ipmi_sim_program: str
    socat_program: str
    kvm: KvmVerdict
    udp_in_use: frozenset[Socket] = frozenset()
    tcp_in_use: frozenset[Socket] = frozenset()
    ipv6_loopback: bool = False
    machine_id: str = ""
    may_make_links: bool = True
    swtpm_program: str = ""
    python_program: str = ""
    memory_free_mib: int | None = None
    memory_most_mib: int | None = None
    ask_qemu: AskQemu | None = field(default=None, compare=False, repr=False)
    try_qemu: TryQemu | None = field(default=None, compare=False, repr=False)
    ask_cores: Callable[[], tuple[Core, ...]] | None = field(default=None, compare=False, repr=False)
    ask_pci: Callable[[str], PciDevice | None] | None = field(default=None, compare=False, repr=False)
    ask_interfaces: AskInterfaces | None = field(default=None, compare=False, repr=False)
    knows_network: bool = True

    def without(self, *, udp: frozenset[Socket], tcp: frozenset[Socket]) -> HostFacts:
        """The same machine, as if these were not bound."""
        return replace(self, udp_in_use=self.udp_in_use - udp, tcp_in_use=self.tcp_in_use - tcp)

    def udp_free(self, address: str, port: int) -> bool:
        """Whether nobody is bound to that UDP port at that address."""
        return is_free(self.udp_in_use, address, port)

    def tcp_free(self, address: str, port: int) -> bool:
        """Whether nobody is bound to that TCP port at that address."""
        return is_free(self.tcp_in_use, address, port)


class Reserved(Frozen):
    """What other nodes of this home have: taken even while they are stopped."""

    sockets: frozenset[Socket] = frozenset()
    vnc_displays: frozenset[int] = frozenset()
    disks: dict[Path, str] = field(default_factory=dict)
    macs: dict[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] = ()


def is_free(in_use: frozenset[Socket], address: str, port: int) -> bool:
    """Whether ``address`` and ``port`` can be bound beside the sockets ``in_use``."""
    if address in WILDCARDS:
        # ipmi_sim's own address is bound beside the wildcard on purpose, so only wildcards clash.
        return not any(Socket(place, port) in in_use for place in WILDCARDS)
    return not any(Socket(place, port) in in_use for place in (address, *WILDCARDS))
