"""What cards need of this machine, and what others may see of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from infrasim.errors import InvalidNodeFile
from infrasim.host.facts import HostFacts, KvmVerdict, Reserved
from infrasim.paths import Home
from infrasim.personality.model import DefaultNic, Personality
from infrasim.plan.claims import claims
from infrasim.plan.model import NodePlan
from infrasim.plan.planner import plan_node
from infrasim.spec.load import load_node

HOME = Home(Path("/h"), Path("/l"))
FACTS = HostFacts("q", (7,), "i", "s", KvmVerdict(False, "no KVM"), machine_id="m")
NO_RIGHTS = dataclasses.replace(FACTS, may_make_links=False)
FORWARD = "{{networks: [{{port_forward: [{{address: {}, outside: 5, inside: 6}}]}}]}}"


def plan(
    personality: Personality,
    cards: str,
    *,
    facts: HostFacts = FACTS,
    reserved: Reserved | None = None,
    name: str = "n",
    home: Home = HOME,
) -> NodePlan:
    text = f"compute: {{networks: [{cards}]}}\n"
    spec = load_node(Path("n.yml"), text, name=name).spec
    return plan_node(spec, personality, facts, home.node(name), home=home, reserved=reserved)


def words(decided: NodePlan, flag: str) -> list[str]:
    argv = decided.process("qemu").argv
    return [argv[place + 1] for place, word in enumerate(argv) if word == flag]


def test_a_card_is_the_server_types_unless_the_file_says_otherwise(personality: Personality) -> None:
    server = dataclasses.replace(personality, nics=(DefaultNic("vmxnet3", 2), DefaultNic("tulip")))
    found = [word.split(",")[0] for word in words(plan(server, "{}, {device: e1000e}"), "-device")]
    assert found[-2:] == ["vmxnet3", "e1000e"]
    assert words(plan(personality, "{}"), "-device")[-1].startswith("e1000,")


@pytest.mark.parametrize("mode", ["macvtap, network_name: eth1", "openvswitch, network_name: sw0", "tap"])
def test_what_needs_rights_says_so(personality: Personality, mode: str) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        plan(personality, f"{{network_mode: {mode}}}", facts=NO_RIGHTS)
    (problem,) = caught.value.problems
    assert problem.path == "compute.networks[0].network_mode"
    assert problem.message == (
        f"{mode.partition(',')[0]} needs the right to change this machine's network (CAP_NET_ADMIN)"
    )
    assert problem.hint == "run infrasim as root, or use nat or socket"


def test_a_network_without_root_is_one_home_s(personality: Personality) -> None:
    card = "{network_mode: socket, network_name: rack}"
    first = words(plan(personality, card), "-netdev")
    assert words(plan(personality, card, name="other"), "-netdev") == first
    assert words(plan(personality, card.replace("rack", "lab")), "-netdev") != first
    assert words(plan(personality, card, home=Home(Path("/h2"), Path("/l"))), "-netdev") != first


def test_names_of_devices_fit_and_are_the_node_s_own(personality: Personality) -> None:
    cards = ", ".join(["{network_mode: tap}"] * 20)
    mine, theirs = (
        {link.name for link in plan(personality, cards, name=name).links} for name in ("a", "b" * 40)
    )
    assert len(mine) == len(theirs) == 20
    assert not mine & theirs
    assert max(map(len, mine)) <= 15


def test_an_address_that_others_see_is_one_node_s(personality: Personality) -> None:
    reserved = Reserved(macs={"52:54:00:00:00:01": "first"})
    card = "{{mac: 52:54:00:00:00:01, network_mode: {}}}"
    alone = plan(personality, card.format("nat"), reserved=reserved)
    assert alone.macs == ()
    assert plan(personality, card.format("socket, network_name: r")).macs == ("52:54:00:00:00:01",)
    with pytest.raises(InvalidNodeFile) as caught:
        plan(personality, card.format("bridge"), reserved=reserved)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (
        "compute.networks[0].mac",
        "52:54:00:00:00:01 belongs to node first",
    )


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("bmc: {address: 127.8.0.1}", "bmc: {address: 127.8.0.1}", True),
        ("bmc: {address: 127.8.0.1}", "{namespace: a, bmc: {address: 127.8.0.1}}", False),
        ("{namespace: a, compute: {vnc_display: 3}}", "{namespace: b, compute: {vnc_display: 3}}", False),
        ("{namespace: a, compute: {vnc_display: 3}}", "{namespace: a, compute: {vnc_display: 3}}", True),
        (f"compute: {FORWARD.format('127.0.0.1')}", f"compute: {FORWARD.format('127.0.0.1')}", True),
        (f"compute: {FORWARD.format('127.0.0.1')}", f"compute: {FORWARD.format('192.0.2.1')}", False),
        (f"compute: {FORWARD.format('127.0.0.1')}", f"compute: {FORWARD.format('0.0.0.0')}", True),
    ],
)
def test_ports_are_claimed_at_an_address_of_a_namespace(one: str, two: str, clash: bool) -> None:
    first, second = (claims(load_node(Path("n.yml"), text, name="n").spec) for text in (one, two))
    theirs = list(second)
    assert any(mine.clashes(other) for mine in first for other in theirs) is clash
