"""Where a racadm shell listens, who may have one, and what two of them must not share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.errors import InvalidNodeFile, UsageError
from infrasim.host.facts import HostFacts, KvmVerdict, Reserved, Socket
from infrasim.paths import Home
from infrasim.personality.model import Personality
from infrasim.plan import addresses
from infrasim.plan.claims import Node, claims, clashes
from infrasim.plan.model import Kept, NodePlan, read_kept, read_plan
from infrasim.plan.planner import plan_node
from infrasim.spec.load import load_node

FACTS = HostFacts(
    "q",
    (7,),
    "i",
    "s",
    KvmVerdict(False, ""),
    ask_interfaces=lambda: {"eth0": (), "eth1": ("192.0.2.10",)},
    machine_id="m",
)
HOME = Home(Path("/h"), Path("/l"))
NOBODY = Reserved()

Make = Callable[..., NodePlan]


@pytest.fixture
def make(dell: Personality) -> Make:
    """A function that plans a node of Dell's from the text of its file."""

    def plan(
        text: str,
        *,
        facts: HostFacts = FACTS,
        reserved: Reserved = NOBODY,
        previous: Kept | None = None,
        server: Personality = dell,
    ) -> NodePlan:
        spec = load_node(Path("n.yml"), text, name="a").spec
        paths = HOME.node("a")
        return plan_node(spec, server, facts, paths, home=HOME, reserved=reserved, previous=previous)

    return plan


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("racadm: {}", ("127.0.0.1", 10022)),
        ("racadm: {}\nbmc: {address: 127.0.0.9}", ("127.0.0.9", 10022)),
        ("racadm: {}\nbmc: {interface: eth1}", ("192.0.2.10", 10022)),
        ("racadm: {interface: eth1, port: 22}", ("192.0.2.10", 22)),
        ("racadm: {address: 0.0.0.0}\nbmc: {address: 127.0.0.9}", ("0.0.0.0", 10022)),
        ("racadm: {address: '::1', port: 2222}", ("::1", 2222)),
    ],
)
def test_it_listens_where_its_bmc_does_unless_the_file_says_otherwise(
    make: Make, text: str, place: tuple[str, int]
) -> None:
    plan = make(text)
    assert plan.racadm is not None
    assert (plan.racadm.address, plan.racadm.port) == place
    assert Socket(*place) in plan.sockets("tcp") & plan.kept.sockets


def test_a_node_without_one_takes_no_port_and_no_process(make: Make) -> None:
    plan = make("{}")
    assert plan.racadm is None
    assert "racadm" not in [spec.name for spec in plan.processes]
    assert "racadm" not in [port.purpose for port in plan.ports]
    assert all(socket.port != 10022 for socket in plan.kept.sockets)


def test_the_next_free_port_is_taken_and_kept(make: Make) -> None:
    taken = dataclasses.replace(FACTS, tcp_in_use=frozenset({Socket("127.0.0.1", 10022)}))
    others = Reserved(frozenset({Socket("127.0.0.1", 10023)}))
    plan = make("racadm: {}", facts=taken, reserved=others)
    assert plan.racadm is not None
    assert plan.racadm.port == 10024
    again = make("racadm: {}", previous=plan.kept)
    assert again.racadm == plan.racadm


def test_a_port_that_the_file_names_is_not_exchanged(make: Make) -> None:
    taken = dataclasses.replace(FACTS, tcp_in_use=frozenset({Socket("127.0.0.1", 10022)}))
    plan = make("racadm: {port: 10022}", facts=taken)
    assert plan.racadm is not None
    assert plan.racadm.port == 10022


def test_no_port_is_left() -> None:
    everywhere = frozenset(Socket("0.0.0.0", port) for port in range(10022, 11022))
    facts = dataclasses.replace(FACTS, tcp_in_use=everywhere)
    with pytest.raises(UsageError, match="no port is free for a racadm shell"):
        addresses.racadm_port("127.0.0.1", facts, NOBODY, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("racadm: {interface: eth9}", "racadm.interface: this machine has no interface 'eth9'"),
        ("racadm: {interface: eth0}", "racadm.interface: interface eth0 has no IP address"),
        ("racadm: {address: 198.51.100.1}", "racadm.address: this machine has no address 198.51.100.1"),
    ],
)
def test_a_place_that_this_machine_has_not_is_said_at_its_key(make: Make, text: str, message: str) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        make(text)
    assert message in str(caught.value)


def test_a_server_of_somebody_else_has_none(make: Make, personality: Personality) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        make("type: quanta_d51\nracadm: {}", server=personality)
    assert "racadm: the server type quanta_d51 has no racadm, which is a shell of Dell's" in str(caught.value)


def test_the_password_is_in_a_private_file_and_nowhere_else(make: Make) -> None:
    plan = make("racadm: {username: root, password: Geheim7}")
    holders = [file for file in plan.files if b"Geheim7" in file.content]
    assert [(file.path.name, file.mode) for file in holders] == [("racadm.json", 0o600)]
    assert "Geheim7" not in str(plan.as_json())
    assert not any("Geheim7" in word for spec in plan.processes for word in spec.argv)


def test_the_plan_is_read_back_with_it(make: Make, tmp_path: Path) -> None:
    import json

    plan = make("racadm: {username: root, password: x, port: 22}")
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.as_json()))
    read, kept = read_plan(path), read_kept(path)
    assert read is not None
    assert read.racadm == plan.racadm
    assert kept == plan.kept
    assert [spec.stands_alone for spec in read.processes] == [False, False, False, True]


@pytest.mark.parametrize(
    ("mine", "theirs", "what"),
    [
        ("{address: 127.0.0.9, port: 22}", "{address: 127.0.0.9, port: 22}", "TCP port 22 at 127.0.0.9"),
        ("{address: 127.0.0.9, port: 22}", "{address: 0.0.0.0, port: 22}", "TCP port 22 at 127.0.0.9"),
        ("{address: 127.0.0.9, port: 22}", "{address: 127.0.0.8, port: 22}", ""),
        ("{address: 127.0.0.9, port: 22}", "{address: 127.0.0.9}", ""),
        ("{port: 22}", "{port: 22}", ""),
    ],
)
def test_two_files_that_ask_for_one_port(mine: str, theirs: str, what: str) -> None:
    nodes = []
    for name, text in (("a", mine), ("b", theirs)):
        loaded = load_node(Path(f"{name}.yml"), f"type: dell_r730\nracadm: {text}", name=name)
        nodes.append(Node(name, loaded.document, tuple(claims(loaded.spec))))
    found = [(problem.message, problem.path, grave) for problem, grave in clashes(nodes[0], nodes[1:])]
    expected = [(f"{what} is asked for by node b too", "racadm.port", True)] if what else []
    assert found == expected


def test_the_port_is_of_the_bmcs_address_where_the_file_gives_that() -> None:
    text = "type: dell_r730\nracadm: {port: 22}\nbmc: {address: 127.0.0.9}"
    found = [str(claim) for claim in claims(load_node(Path("a.yml"), text, name="a").spec)]
    assert "TCP port 22 at 127.0.0.9" in found
