"""What node files ask for that only one node can have: addresses, ports, images, devices. Pure.

Only what a file says itself is a claim; what is left out is chosen so that it fits beside the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infrasim.errors import Problem
from infrasim.frozen import Frozen
from infrasim.host.facts import WILDCARDS
from infrasim.spec.document import Document, Path
from infrasim.spec.node import NodeSpec
from infrasim.spec.storage import Image

# Where ipmi_sim takes commands.
_LOOPBACK = "127.0.0.1"
# What cards are connected to that have no neighbours.
_ALONE = ("nat", "none")


class Claim(Frozen):
    """One thing and the key that asks for it.

    ``is_grave`` says that two nodes cannot run with it, not only should not. Ports are those of a network
    ``namespace``.
    """

    what: str
    value: str
    path: Path
    is_grave: bool = True
    address: str = ""
    namespace: str | None = None

    def clashes(self, other: Claim) -> bool:
        """Whether not both can have it."""
        mine, theirs = (self.what, self.value, self.namespace), (other.what, other.value, other.namespace)
        if mine != theirs:
            return False
        places = {self.address, other.address}
        return len(places) == 1 or bool(places & {*WILDCARDS})

    def __str__(self) -> str:
        at = f" at {self.address}" if self.address else ""
        return f"{self.what} {self.value}{at}"


class Node(Frozen):
    """A node file that was read: what it asks for, and where."""

    name: str
    document: Document
    claims: tuple[Claim, ...]


def claims(spec: NodeSpec) -> Iterator[Claim]:
    """Everything that the file asks for itself."""
    compute, bmc = spec.compute, spec.bmc
    if bmc.address is not None or bmc.interface is not None:
        key = "address" if bmc.address is not None else "interface"
        where = bmc.address or str(bmc.interface)
        port = str(bmc.ipmi_over_lan_port)
        yield Claim("UDP port", port, ("bmc", key), address=where, namespace=spec.namespace)
    yield from _racadm_port(spec)
    if compute.vnc_display is not None:
        display = str(compute.vnc_display)
        yield Claim("VNC display", display, ("compute", "vnc_display"), namespace=spec.namespace)
    if spec.ipmi_console_port is not None:
        port, doors = str(spec.ipmi_console_port), ("ipmi_console_port",)
        yield Claim("TCP port", port, doors, address=_LOOPBACK, namespace=spec.namespace)
    for name, link in (("sol_device", spec.sol_device), ("serial_socket", spec.serial_socket)):
        if link is not None:
            yield Claim("path", link, (name,))
    if compute.uuid is not None:
        yield Claim("UUID", compute.uuid, ("compute", "uuid"), is_grave=False)
    for number, card in enumerate(compute.networks):
        place: Path = ("compute", "networks", number)
        if card.mac is not None:
            has_neighbours = card.network_mode not in _ALONE
            yield Claim("MAC address", card.mac, (*place, "mac"), is_grave=has_neighbours)
        for rule_number, rule in enumerate(card.port_forward):
            path = (*place, "port_forward", rule_number, "outside")
            what = f"{rule.protocol.upper()} port"
            yield Claim(what, str(rule.outside), path, address=rule.address, namespace=spec.namespace)
    for number, device in enumerate(compute.pcie_passthrough):
        yield Claim("PCI device", device.host, ("compute", "pcie-passthrough", number, "host"))
    for number, backend in enumerate(compute.storage_backend):
        yield from _images(backend, ("compute", "storage_backend", number))


def _racadm_port(spec: NodeSpec) -> Iterator[Claim]:
    """The port of the racadm shell, where the file says of which address."""
    if spec.racadm is None or spec.racadm.port is None:
        return
    places = (spec.racadm.address, spec.racadm.interface, spec.bmc.address, spec.bmc.interface)
    if where := next(filter(None, places), None):
        port, path = str(spec.racadm.port), ("racadm", "port")
        yield Claim("TCP port", port, path, address=where, namespace=spec.namespace)


def _images(part: Image, place: Path) -> Iterator[Claim]:
    """The image of a drive, and those of the drives or namespaces below it, but for shared ones."""
    if part.file is not None and not part.share_rw:
        yield Claim("image", part.file, (*place, "file"))
    for key in ("drives", "namespaces"):
        for number, below in enumerate(getattr(part, key, ())):
            yield from _images(below, (*place, key, number))


def clashes(node: Node, others: Sequence[Node]) -> Iterator[tuple[Problem, bool]]:
    """What ``node`` asks for and another one too, on its own lines; with each, whether it is grave."""
    for claim in node.claims:
        for other in others:
            theirs = next((each for each in other.claims if claim.clashes(each)), None)
            if theirs is None or other.name == node.name:
                continue
            mark = other.document.value_mark(theirs.path)
            place = f"{mark.file or other.document.file}:{mark.line}" if mark.line else mark.file
            problem = node.document.problem(
                node.document.value_mark(claim.path),
                claim.path,
                f"{claim} is asked for by node {other.name} too",
                f"see {place}",
            )
            yield problem, claim.is_grave and theirs.is_grave
