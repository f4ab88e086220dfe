"""What node files ask for that only one node can have: addresses, ports, images, devices. Pure.

Only what a file says itself is a claim; what is left out is chosen so that it fits beside the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from posixpath import normpath

from infrasim.errors import Problem
from infrasim.frozen import Frozen
from infrasim.host.facts import WILDCARDS
from infrasim.plan.fault import fault
from infrasim.plan.model import VNC_FIRST_PORT
from infrasim.spec.document import Document, Path, dotted
from infrasim.spec.node import Compute, NodeSpec
from infrasim.spec.storage import Image

# Where ipmi_sim takes commands.
_LOOPBACK = "127.0.0.1"
# What cards are connected to that have no neighbours.
_ALONE = ("nat", "none")


class Claim(Frozen):
    """One thing and the key that asks for it.

    ``is_grave`` says that two nodes cannot run with it, not only should not. Ports are those of a network
    ``namespace``. What is only read many can read, but nobody may write it. ``called`` is what users call it.
    """

    what: str
    value: str
    path: Path
    is_grave: bool = True
    address: str = ""
    namespace: str | None = None
    is_read: bool = False
    called: str = ""

    def clashes(self, other: Claim) -> bool:
        """Whether not both can have it."""
        mine, theirs = (self.what, self.value, self.namespace), (other.what, other.value, other.namespace)
        if mine != theirs or (self.is_read and other.is_read):
            return False
        places = {self.address, other.address}
        return len(places) == 1 or bool(places & {*WILDCARDS})

    def __str__(self) -> str:
        at = f" at {self.address}" if self.address else ""
        return self.called or f"{self.what} {self.value}{at}"


class Node(Frozen):
    """A node file that was read: what it asks for, and where. ``is_registered``: it is the home's own."""

    name: str
    document: Document
    claims: tuple[Claim, ...]
    is_registered: bool = False


def claims(spec: NodeSpec, interfaces: Mapping[str, Sequence[str]] | None = None) -> Iterator[Claim]:
    """Everything that the file asks for itself. ``interfaces`` are the addresses of those of this machine."""
    compute, bmc = spec.compute, spec.bmc
    if bmc.address is not None or bmc.interface is not None:
        key = "address" if bmc.address is not None else "interface"
        where = bmc.address or _address(str(bmc.interface), spec, interfaces)
        port = str(bmc.ipmi_over_lan_port)
        yield Claim("UDP port", port, ("bmc", key), address=where, namespace=spec.namespace)
    yield from _racadm_port(spec, interfaces)
    if compute.vnc_display is not None:
        port, called = str(VNC_FIRST_PORT + compute.vnc_display), f"VNC display {compute.vnc_display}"
        display: Path = ("compute", "vnc_display")
        yield Claim("TCP port", port, display, address=_LOOPBACK, namespace=spec.namespace, called=called)
    if spec.ipmi_console_port is not None:
        port, doors = str(spec.ipmi_console_port), ("ipmi_console_port",)
        yield Claim("TCP port", port, doors, address=_LOOPBACK, namespace=spec.namespace)
    for name, link in (("sol_device", spec.sol_device), ("serial_socket", spec.serial_socket)):
        if link is not None:
            yield Claim("path", normpath(link), (name,))
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
    for image, path in _read_images(compute):
        yield Claim("image", normpath(image), path, is_read=True)
    for number, backend in enumerate(compute.storage_backend):
        yield from _images(backend, ("compute", "storage_backend", number))


def _address(interface: str, spec: NodeSpec, interfaces: Mapping[str, Sequence[str]] | None) -> str:
    """The address of an interface as a plan chooses it, or its name where that is not known."""
    known = (interfaces or {}).get(interface, ()) if spec.namespace is None else ()
    return known[0] if known else interface


def _racadm_port(spec: NodeSpec, interfaces: Mapping[str, Sequence[str]] | None) -> Iterator[Claim]:
    """The port of the racadm shell, where the file says of which address."""
    if spec.racadm is None or spec.racadm.port is None:
        return
    for place in (spec.racadm, spec.bmc):
        if where := place.address or (place.interface and _address(place.interface, spec, interfaces)):
            port, path = str(spec.racadm.port), ("racadm", "port")
            yield Claim("TCP port", port, path, address=where, namespace=spec.namespace)
            return


def _read_images(compute: Compute) -> Iterator[tuple[str, Path]]:
    """Images that a host only reads: what its disks begin as, and CD-ROMs."""
    if compute.image is not None:
        yield compute.image, ("compute", "image")
    yield from ((drive.file, ("compute", *place)) for place, drive in compute.cdrom_drives)


def _images(part: Image, place: Path) -> Iterator[Claim]:
    """The image of a drive, and those of the drives or namespaces below it, but for shared ones."""
    if part.file is not None and not part.share_rw:
        yield Claim("image", normpath(part.file), (*place, "file"))
    if part.backing_file is not None:
        yield Claim("image", normpath(part.backing_file), (*place, "backing_file"), is_read=True)
    for key in ("drives", "namespaces"):
        for number, below in enumerate(getattr(part, key, ())):
            yield from _images(below, (*place, key, number))


def own_faults(spec: NodeSpec) -> Iterator[Problem]:
    """What the file asks for twice itself.

    Two disks with one image are left to the plan, which knows those it makes.
    """
    told: list[Claim] = []
    for claim in claims(spec):
        first = next((each for each in told if claim.clashes(each) and _is_own(claim, each)), None)
        if first is not None:
            hint = "change one of them"
            if claim.what == "image":
                hint = "an image that is written cannot be read as another disk"
            yield fault(dotted(claim.path), f"{claim} is that of {dotted(first.path)} already", hint)
        told.append(claim)


def _is_own(claim: Claim, other: Claim) -> bool:
    """Whether nobody else compares these two of one file: not two disks, and no two cards or devices."""
    is_compared = claim.what in ("UDP port", "TCP port", "path") or claim.is_read or other.is_read
    are_forwards = "port_forward" in claim.path and "port_forward" in other.path
    return is_compared and not are_forwards


def clashes(node: Node, others: Sequence[Node]) -> Iterator[tuple[Problem, bool]]:
    """What ``node`` asks for and another one too, on its own lines; with each, whether it is grave."""
    for other in others:
        if other.name == node.name and not _is_the_same(node, other):
            path: Path = ("name",)
            message = f"another file that is checked here is of a node {node.name!r}, too"
            mark = node.document.value_mark(path)
            yield node.document.problem(mark, path, message, f"see {other.document.file}"), False
    for claim in node.claims:
        for other in others:
            theirs = next((each for each in other.claims if claim.clashes(each)), None)
            if theirs is None or _is_the_same(node, other):
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


def _is_the_same(node: Node, other: Node) -> bool:
    """Whether both are one node: one file, or the file that is registered and one that is to replace it."""
    is_one_file = node.document.file == other.document.file
    return is_one_file or (node.name == other.name and node.is_registered is not other.is_registered)
