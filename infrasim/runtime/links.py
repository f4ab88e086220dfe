"""The network devices of one node: made by its start, removed by its stop, whoever stops it.

The kernel keeps the record: each device says in its alias whose it is, so nothing that a killed supervisor
made is lost, and nothing is removed that is somebody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator

from infrasim.errors import HostError, InfrasimError, InvalidNodeFile, Problem
from infrasim.host import links
from infrasim.host.links import Link
from infrasim.host.namespace import inside
from infrasim.paths import NodePaths
from infrasim.plan.model import LinkKind, LinkSpec, Needs, NodePlan

LOG = logging.getLogger(__name__)

# A tap device, to the kernel.
_TAP = "tun"
# Numbers of devices that the kernel does not give by itself. Source: Linux, dev_new_index counts from 1.
_INDEX_FROM = 1 << 24


def check_links(plan: NodePlan | Needs) -> None:
    """Refuse connections to what is not there, before anything is made.

    Raises:
        InvalidNodeFile: with each of them; the problems carry no line yet.
        HostError: a program is missing.
    """
    if not plan.links:
        return
    with inside(plan.namespace):
        there = links.links()
        found = [(link.key, *fault) for link in plan.links if (fault := _fault(link, there))]
    if found:
        raise InvalidNodeFile(Problem("", 0, 0, *fault) for fault in found)


def _fault(link: LinkSpec, there: dict[str, Link]) -> tuple[str, str] | None:
    """What is wrong with what a link is to be put into, and a hint."""
    match link.kind:
        case LinkKind.BRIDGE:
            bridges = [name for name, each in there.items() if each.kind == "bridge"]
            how = f"make one with: ip link add {link.to} type bridge"
            if link.to in there:
                how = f"{link.to} is an interface of another kind"
            fault = _missing(link.to, "bridge", bridges, how)
            return fault if fault or link.make else links.helper_fault(link.to)
        case LinkKind.OPENVSWITCH:
            try:
                bridges = list(links.ovs_bridges())
            except InfrasimError as exc:
                return f"Open vSwitch does not say which bridges it has: {exc.message}", exc.hint
            return _missing(
                link.to, "bridge of Open vSwitch", bridges, f"make one with: ovs-vsctl add-br {link.to}"
            )
        case LinkKind.MACVTAP:
            return _missing(link.to, "interface", [name for name in there if name != "lo"], "")
        case LinkKind.TAP if link.name in there and there[link.name].kind != _TAP:
            return f"{link.name} is not a tap device", "name another one, or none"
        case LinkKind.TAP if not link.make and link.name not in there:
            taps = [name for name, each in there.items() if each.kind == _TAP]
            return _missing(link.name, "tap device", taps, "as root infrasim makes it")
        case _:
            return None


def _missing(name: str, what: str, known: list[str], how: str) -> tuple[str, str] | None:
    if name in known:
        return None
    listed = f"there are: {', '.join(known)}" if known else f"there is no {what} at all"
    return f"there is no {what} {name!r} on this machine", "; ".join(filter(None, (listed, how)))


@contextlib.contextmanager
def links_of(plan: NodePlan, paths: NodePaths, *, are_there: bool) -> Iterator[None]:
    """Have the devices of a node while it runs, in the network namespace that this process is in.

    ``are_there`` when an earlier supervisor made them. They stay if the node does not end in good order.

    Raises:
        InfrasimError: one cannot be made; none is left then.
    """
    if not are_there:
        try:
            make(plan, paths)
        except InfrasimError:
            remove(plan, paths)
            raise
    try:
        yield
    except BaseException:
        if not are_there:
            _remove_or_log(plan, paths)
        raise
    _remove_or_log(plan, paths)


def _remove_or_log(plan: NodePlan, paths: NodePaths) -> None:
    try:
        remove(plan, paths)
    except InfrasimError as exc:
        LOG.error("%s; 'infrasim node stop' tries again", exc.message)


def make(plan: NodePlan, paths: NodePaths) -> None:
    """Make the devices of a node, in this namespace.

    Raises:
        InfrasimError: one cannot be made.
    """
    owner = _owner(paths)
    there = links.links()
    for link in plan.links:
        if link.kind is LinkKind.BRIDGE and not link.make:
            # QEMU's helper makes it, and it goes with QEMU.
            continue
        old = there.get(link.name)
        if old is not None and old.alias == owner:
            # Of a node that could not clean up.
            links.remove(link.name)
        elif old is not None and link.kind is LinkKind.TAP:
            continue
        elif old is not None:
            raise HostError(f"{link.name} is a network device of somebody else ({old.alias or 'no alias'})")
        _make(link, owner, there)


def _make(link: LinkSpec, owner: str, there: dict[str, Link]) -> None:
    match link.kind:
        case LinkKind.TAP if not link.make:
            raise HostError(f"there is no tap device {link.name}")
        case LinkKind.TAP:
            links.make_tap(link.name, alias=owner)
        case LinkKind.BRIDGE:
            bridge = there.get(link.to)
            links.make_tap(link.name, alias=owner, bridge=link.to, mtu=bridge.mtu if bridge else None)
        case LinkKind.OPENVSWITCH:
            links.make_tap(link.name, alias=owner)
            links.add_ovs_port(link.to, link.name, owner=owner, vlan=link.vlan)
        case LinkKind.MACVTAP:
            links.make_macvtap(
                link.name, alias=owner, beneath=link.to, mac=link.mac, mode=link.mode, index=_index(link.name)
            )


def remove(plan: NodePlan | None, paths: NodePaths) -> bool:
    """Remove every device of a node that is in this namespace; False if there was none.

    Raises:
        InfrasimError: one cannot be removed.
    """
    owner = _owner(paths)
    mine = [link.name for link in links.links().values() if link.alias == owner]
    for name in mine:
        links.remove(name)
    _remove_ports(plan)
    return bool(mine)


def _remove_ports(plan: NodePlan | None) -> None:
    """Open vSwitch keeps its ports over everything, also those whose device is gone."""
    for link in plan.links if plan else ():
        if link.kind is LinkKind.OPENVSWITCH:
            links.remove_ovs_port(link.name)


def remove_left(plan: NodePlan | None, paths: NodePaths) -> bool:
    """Remove what a node that was killed has left, also where its namespace is; False if there was nothing.

    Raises:
        InfrasimError: a device cannot be removed.
    """
    try:
        with inside(plan.namespace if plan else None):
            return remove(plan, paths)
    except HostError:
        # Its devices are gone with its namespace, and without iproute2 none was made.
        _remove_ports(plan)
        return False


def _owner(paths: NodePaths) -> str:
    return f"infrasim {paths.workspace}"


def _index(name: str) -> int:
    """A number of its own, because all namespaces share one folder of device files."""
    return _INDEX_FROM + int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
