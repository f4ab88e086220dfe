"""What a start makes and a stop removes, on a machine that is only remembered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infrasim.errors import HostError, InvalidNodeFile, ProgramError
from infrasim.host.links import Link
from infrasim.paths import Home
from infrasim.plan.model import LinkKind, LinkSpec, NodePlan
from infrasim.runtime import links as node_links

MakePlan = Callable[[Home, str, str], NodePlan]
HOME = Home(Path("/h"), Path("/l"))
NODE = HOME.node("n")
OWNER = "infrasim /h/n"
CARDS = """
namespace: rack7
compute:
  networks:
    - {network_mode: bridge, network_name: lab}
    - {network_mode: tap, network_name: mine}
    - {network_mode: macvtap, network_name: eth1}
    - {network_mode: openvswitch, network_name: sw0}
"""


class Machine:
    """Network devices as ``host.links`` makes them; ``broken`` is one that cannot be made."""

    def __init__(self) -> None:
        self.there = {
            name: Link(name, kind, "", 1500) for name, kind in {"lo": "", "eth1": "", "lab": "bridge"}.items()
        }
        self.ports: dict[str, str] = {}
        self.switches: tuple[str, ...] = ("sw0",)
        self.broken = ""
        self.places: list[str | None] = []

    def links(self) -> dict[str, Link]:
        return dict(self.there)

    def make_tap(self, name: str, *, alias: str, bridge: str = "", mtu: int | None = None) -> None:
        self._make(name, "tun", alias)

    def make_macvtap(self, name: str, *, alias: str, beneath: str, mac: str, mode: str, index: int) -> None:
        assert (beneath, mode, index > 1 << 24) == ("eth1", "bridge", True)
        self._make(name, "macvtap", alias)

    def _make(self, name: str, kind: str, alias: str) -> None:
        assert name not in self.there
        if kind == self.broken:
            raise ProgramError("the kernel refuses")
        self.there[name] = Link(name, kind, alias, 1500)

    def remove(self, name: str) -> None:
        del self.there[name]

    def ovs_bridges(self) -> tuple[str, ...]:
        return self.switches

    def add_ovs_port(self, bridge: str, name: str, *, owner: str, vlan: int | None) -> None:
        self.ports[name] = bridge

    def helper_fault(self, bridge: str) -> tuple[str, str] | None:
        return ("the helper may not", f"allow {bridge}")

    def remove_ovs_port(self, name: str) -> None:
        self.ports.pop(name, None)

    @contextmanager
    def inside(self, name: str | None) -> Iterator[None]:
        self.places.append(name)
        yield


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(node_links, "links", made)
    monkeypatch.setattr(node_links, "inside", made.inside)
    return made


@pytest.fixture
def plan(make_plan: MakePlan) -> NodePlan:
    return make_plan(HOME, "n", CARDS)


def of_others(machine: Machine) -> set[str]:
    return {name for name, link in machine.there.items() if link.alias != OWNER}


def test_all_is_made_and_removed(machine: Machine, plan: NodePlan) -> None:
    before = dict(machine.there)
    with node_links.links_of(plan, NODE, are_there=False):
        assert {link.name for link in plan.links} == machine.there.keys() - before.keys()
        assert machine.ports == {plan.links[3].name: "sw0"}
    assert (machine.there, machine.ports) == (before, {})


def test_a_tap_of_somebody_else_is_used_and_stays(machine: Machine, plan: NodePlan) -> None:
    machine.there["mine"] = Link("mine", "tun", "", 1500)
    with node_links.links_of(plan, NODE, are_there=False):
        assert machine.there["mine"].alias == ""
    assert "mine" in machine.there


def test_what_a_killed_node_left_is_made_anew(machine: Machine, plan: NodePlan) -> None:
    for link in plan.links:
        machine.there[link.name] = Link(link.name, "tun", OWNER, 68)
    with node_links.links_of(plan, NODE, are_there=False):
        assert {machine.there[link.name].mtu for link in plan.links} == {1500}


def test_a_name_that_somebody_else_has_is_refused_and_nothing_stays(machine: Machine, plan: NodePlan) -> None:
    machine.there[plan.links[2].name] = Link(plan.links[2].name, "dummy", "theirs", 1500)
    before = dict(machine.there)
    with (
        pytest.raises(HostError, match=r"is a network device of somebody else \(theirs\)"),
        node_links.links_of(plan, NODE, are_there=False),
    ):
        pass
    assert machine.there == before


def test_a_device_that_cannot_be_made_leaves_none(machine: Machine, plan: NodePlan) -> None:
    machine.broken = "macvtap"
    before = dict(machine.there)
    with pytest.raises(ProgramError), node_links.links_of(plan, NODE, are_there=False):
        pass
    assert machine.there == before


def test_devices_of_children_that_live_on_stay(machine: Machine, plan: NodePlan) -> None:
    node_links.make(plan, NODE)
    with pytest.raises(ZeroDivisionError), node_links.links_of(plan, NODE, are_there=True):
        raise ZeroDivisionError
    assert {link.name for link in plan.links} <= machine.there.keys()
    assert node_links.remove_left(plan, NODE) is True
    assert machine.places == ["rack7"]
    assert node_links.remove_left(plan, NODE) is False


def test_a_plan_that_is_lost_does_not_matter(machine: Machine, plan: NodePlan) -> None:
    node_links.make(plan, NODE)
    other = Link("other", "tun", "infrasim /h/n2", 1500)
    machine.there["other"] = other
    assert node_links.remove_left(None, NODE) is True
    assert of_others(machine) == machine.there.keys() == {"lo", "eth1", "lab", "other"}


def test_without_the_namespace_only_a_port_can_be_left(
    machine: Machine, plan: NodePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.ports = {plan.links[3].name: "sw0", "other": "sw0"}

    @contextmanager
    def gone(name: str | None) -> Iterator[None]:
        raise HostError(f"there is no network namespace {name!r}")
        yield

    monkeypatch.setattr(node_links, "inside", gone)
    assert node_links.remove_left(plan, NODE) is False
    assert machine.ports == {"other": "sw0"}


def test_what_cannot_be_removed_is_logged_and_left_to_the_stop(
    machine: Machine, plan: NodePlan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        raise ProgramError(f"cannot remove {name}")

    with node_links.links_of(plan, NODE, are_there=False):
        monkeypatch.setattr(machine, "remove", refuse)
    assert "'infrasim node stop' tries again" in caplog.text
    with pytest.raises(ProgramError):
        node_links.remove_left(plan, NODE)


def test_what_is_missing_is_told_with_what_is_there(machine: Machine, make_plan: MakePlan) -> None:
    node_links.check_links(make_plan(HOME, "n", CARDS))
    machine.switches = ()
    del machine.there["lab"], machine.there["eth1"]
    machine.there["mine"] = Link("mine", "bridge", "", 1500)
    with pytest.raises(InvalidNodeFile) as caught:
        node_links.check_links(make_plan(HOME, "n", CARDS))
    found = {(problem.path, problem.message, problem.hint) for problem in caught.value.problems}
    key = "compute.networks[{}].network_name"
    assert found == {
        (
            key.format(0),
            "there is no bridge 'lab' on this machine",
            "there are: mine; make one with: ip link add lab type bridge",
        ),
        (key.format(1), "mine is not a tap device", "name another one, or none"),
        (key.format(2), "there is no interface 'eth1' on this machine", "there are: mine"),
        (
            key.format(3),
            "there is no bridge of Open vSwitch 'sw0' on this machine",
            "there is no bridge of Open vSwitch at all; make one with: ovs-vsctl add-br sw0",
        ),
    }


def test_a_name_that_is_no_bridge_is_not_advised_for_one(machine: Machine, plan: NodePlan) -> None:
    link = LinkSpec(LinkKind.BRIDGE, "is0", "compute.networks[0].network_name", "lo")
    machine.there["lo"] = Link("lo", "", "", 65536)
    with pytest.raises(InvalidNodeFile) as caught:
        node_links.check_links(dataclasses.replace(plan, links=(link,)))
    assert caught.value.problems[0].hint == "there are: lab; lo is an interface of another kind"


def test_a_switch_that_does_not_answer_hides_nothing_else(
    machine: Machine, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> tuple[str, ...]:
        raise ProgramError("ovs-vsctl list-br: exit code 1: database connection failed")

    monkeypatch.setattr(machine, "ovs_bridges", fails)
    del machine.there["lab"]
    with pytest.raises(InvalidNodeFile) as caught:
        node_links.check_links(make_plan(HOME, "n", CARDS))
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("compute.networks[0].network_name", "there is no bridge 'lab' on this machine"),
        (
            "compute.networks[3].network_name",
            "Open vSwitch does not say which bridges it has: ovs-vsctl list-br: exit code 1: database "
            "connection failed",
        ),
    ]


def test_a_bridge_of_the_helper_is_checked_and_not_made(machine: Machine, plan: NodePlan) -> None:
    link = LinkSpec(LinkKind.BRIDGE, "", "compute.networks[0].network_name", "lab", make=False)
    helped = dataclasses.replace(plan, links=(link,))
    with pytest.raises(InvalidNodeFile) as caught:
        node_links.check_links(helped)
    assert [(problem.message, problem.hint) for problem in caught.value.problems] == [
        ("the helper may not", "allow lab")
    ]
    before = dict(machine.there)
    with node_links.links_of(helped, NODE, are_there=False):
        assert machine.there == before


def test_a_node_without_links_asks_nobody(make_plan: MakePlan) -> None:
    node_links.check_links(make_plan(HOME, "n", "{}"))
