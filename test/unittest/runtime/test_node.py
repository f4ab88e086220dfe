"""Planning a node of a home: what is read, what is reserved, and where problems are said to be."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from infrasim.errors import (
    DeadlineError,
    HostError,
    InfrasimError,
    InvalidNodeFile,
    NotRunningError,
    ProgramError,
    UsageError,
)
from infrasim.host import probe
from infrasim.host.facts import HostFacts, KvmVerdict, Socket
from infrasim.host.process import identify
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import PortSpec
from infrasim.runtime import node, passthrough, planning
from infrasim.runtime.launch import ADDRESS_TRIES, STOPPED_MEANWHILE
from infrasim.runtime.state import NodeState, write_state
from infrasim.runtime.workspace import write_workspace
from infrasim.spec.setting import parse_settings

FACTS = HostFacts("/q", (7,), "/i", "/s", KvmVerdict(False, "/dev/kvm does not exist"), machine_id="m")


class NoLaunch:
    """A supervisor that is begun early and never told to go."""

    def __init__(self, paths: NodePaths) -> None:
        self.paths = paths

    def close(self) -> None:
        """Nothing was begun."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", tmp_path / "logs")
    made.node_map.mkdir(parents=True)
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: FACTS)
    monkeypatch.setattr(node, "Launch", NoLaunch)
    return made


def register(home: Home, name: str, text: str = "{}") -> Path:
    path = home.map_file(name)
    path.write_text(text)
    return path


def test_plan_touches_nothing(home: Home) -> None:
    register(home, "a")
    before = sorted(home.root.rglob("*"))
    assert planning.plan(home, "a").plan.name == "a"
    assert sorted(home.root.rglob("*")) == before


def test_what_cannot_be_on_this_machine_is_said_on_the_users_line(home: Home) -> None:
    file = register(home, "a", "# mine\ncompute:\n  memory: {size: 512}\n  kvm_enabled: true\n")
    with pytest.raises(InvalidNodeFile) as caught:
        planning.plan(home, "a")
    assert caught.value.message == (
        f"{file}:4:16: compute.kvm_enabled: KVM does not run a guest on this machine: "
        "/dev/kvm does not exist (leave it out to use KVM only where it works, or see: infrasim doctor)"
    )


def test_further_node_keeps_off_what_the_first_was_given(home: Home) -> None:
    register(home, "a")
    register(home, "b")
    first = planning.plan(home, "a").plan
    paths = home.node("a")
    paths.workspace.mkdir()
    paths.plan.write_text(json.dumps(first.as_json()))
    second = planning.plan(home, "b").plan
    assert (first.bmc.address, first.vnc_display) == ("127.0.0.1", 1)
    assert (second.bmc.address, second.vnc_display) == ("127.0.1.1", 2)
    taken = planning.reserved_by_others(home, "b", None)
    assert Socket(first.bmc.private_address, 9002) in taken.sockets
    assert taken.disks == {first.disks[0].path: "a"}
    assert planning.reserved_by_others(home, "a", None).sockets == frozenset(), "its own are not in its way"


def test_plans_of_an_older_infrasim_keep_what_was_given(home: Home) -> None:
    for name, display in {"a": 7, "b": 9}.items():
        register(home, name)
        home.node(name).workspace.mkdir()
        first = dataclasses.replace(planning.plan(home, name).plan, vnc_display=display)
        home.node(name).plan.write_text(json.dumps({**first.as_json(), "format": 1, "host": None}))
    assert planning.plan(home, "a").plan.vnc_display == 7
    taken = planning.reserved_by_others(home, "a", None)
    assert taken.vnc_displays == {9}
    assert len(taken.sockets) == 2


@pytest.mark.parametrize(
    ("registered", "asked", "hint"),
    [
        ([], "a", "run: infrasim init, or: infrasim config add NAME FILE"),
        (["default"], "defualt", "did you mean 'default'?"),
        (["x", "y"], "lab7", "known nodes: x, y; register one with: infrasim config add lab7 FILE"),
    ],
)
@pytest.mark.parametrize(
    "verb", [planning.plan, node.start, node.stop_node, node.destroy, node.require_running]
)
def test_unknown_node(
    home: Home, registered: list[str], asked: str, hint: str, verb: Callable[[Home, str], object]
) -> None:
    for name in registered:
        register(home, name)
    with pytest.raises(UsageError) as caught:
        verb(home, asked)
    assert caught.value.message == f"there is no node {asked!r} in {home.root}"
    assert caught.value.hint == hint
    assert not list(home.root.glob("*/")) or {path.name for path in home.root.iterdir()} == {".node_map"}


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "", "..", "a..b", "-a", "x" * 64])
@pytest.mark.parametrize("verb", [planning.plan, node.start, node.stop_node, node.destroy])
def test_name_that_cannot_be_one(home: Home, verb: Callable[[Home, str], object], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        verb(home, name)
    assert caught.value.message == f"node name {name!r} cannot be used"


def test_verbs_on_a_node_that_was_never_started(home: Home) -> None:
    register(home, "a")
    assert node.stop_node(home, "a") is False
    assert node.destroy(home, "a") is False
    with pytest.raises(NotRunningError) as caught:
        node.require_running(home, "a")
    assert (caught.value.message, caught.value.hint) == ("node a is stopped", "run: infrasim node start a")
    assert [path.name for path in home.root.iterdir()] == [".node_map"]


def test_node_file_that_is_no_text(home: Home) -> None:
    file = home.map_file("a")
    file.write_bytes(b"name: \xff\n")
    with pytest.raises(UsageError) as caught:
        planning.plan(home, "a")
    assert str(file) in caught.value.message
    assert "UTF-8" in caught.value.message


def test_node_file_that_is_a_folder(home: Home) -> None:
    file = home.map_file("a")
    file.mkdir()
    with pytest.raises((HostError, UsageError)) as caught:
        planning.plan(home, "a")
    assert caught.value.message == f"cannot read {file}: Is a directory"


@pytest.mark.parametrize(
    ("protocol", "bound", "message"),
    [
        ("udp", Socket("127.0.0.1", 623), "BMC: 127.0.0.1 port 623/udp is in use by ipmi_sim (pid 4711)"),
        ("udp", Socket("0.0.0.0", 623), "BMC: 127.0.0.1 port 623/udp is in use by ipmi_sim (pid 4711)"),
        ("tcp", Socket("::", 5901), "VNC screen: 127.0.0.1 port 5901/tcp is in use by ipmi_sim (pid 4711)"),
    ],
)
def test_start_names_who_has_a_port(
    home: Home, monkeypatch: pytest.MonkeyPatch, protocol: str, bound: Socket, message: str
) -> None:
    register(home, "a", "bmc: {address: 127.0.0.1}\ncompute: {vnc_display: 1}\n")
    monkeypatch.setattr(probe, "bound_sockets", lambda kind: frozenset({bound} if kind == protocol else ()))
    monkeypatch.setattr(probe, "holder_of", lambda *_: "ipmi_sim (pid 4711)")
    with pytest.raises(HostError) as caught:
        node.start(home, "a")
    assert caught.value.message == message
    assert not home.node("a").workspace.exists()
    assert not home.node("a").verb_lock.exists()


def test_an_address_that_another_home_takes_while_it_is_chosen_is_chosen_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "a", "bmc: {address: 127.0.0.1}\n")
    taken = frozenset({Socket("127.0.0.1", 5901)})
    facts = iter([FACTS, dataclasses.replace(FACTS, tcp_in_use=taken)])
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: next(facts))
    monkeypatch.setattr(probe, "bound_sockets", lambda kind: taken if kind == "tcp" else frozenset())
    monkeypatch.setattr(node, "write_workspace", lambda planned, paths: None)
    paths = home.node("a")
    assert node._prepare(home, paths, ()).plan.vnc_display == 2


@pytest.mark.parametrize("verb", ["stop", "destroy"])
def test_only_a_stop_needs_no_lock_where_none_can_be_made(
    home: Home, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def refuse(path: Path, *, timeout_s: float, what: str) -> NoReturn:
        raise HostError(f"cannot make lock file {path}: Read-only file system")

    monkeypatch.setattr(node, "locked", refuse)
    done = []

    def stop(paths: NodePaths) -> bool:
        done.append(paths.name)
        return True

    monkeypatch.setattr(node, "stop_all_of", stop)
    register(home, "a")
    home.node("a").workspace.mkdir()
    if verb == "stop":
        assert node.stop_node(home, "a")
        assert done == ["a"]
    else:
        with pytest.raises(HostError, match="Read-only"):
            node.destroy(home, "a")
        assert done == []


def test_traces_of_a_node_are_removed_and_its_kept_state_is_not(home: Home) -> None:
    paths = home.node("a")
    paths.run.mkdir(parents=True)
    paths.bmc_state.mkdir()
    paths.pty.symlink_to("/dev/null")
    for path in (*paths.sockets(), paths.state, paths.supervisor_lock, paths.core_state):
        path.touch()
    node._remove_traces(paths)
    node._remove_traces(paths)
    assert list(paths.run.iterdir()) == []
    assert sorted(path.name for path in paths.workspace.iterdir()) == ["bmc", "run"]
    assert paths.core_state.exists()


def test_devices_of_a_killed_node_are_given_back_by_start_and_stop(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "a")
    paths = home.node("a")
    given: list[NodePaths] = []

    def give_back(paths: NodePaths) -> bool:
        given.append(paths)
        paths.taken_devices.unlink()
        return True

    def prepare(*_: object) -> NoReturn:
        raise HostError(f"{len(given)} given back before")

    monkeypatch.setattr(passthrough, "give_back", give_back)
    monkeypatch.setattr(node, "find_strays", lambda paths, known=(): ())
    monkeypatch.setattr(node, "_remove_links", lambda paths: False)
    monkeypatch.setattr(node, "Launch", Launched())
    monkeypatch.setattr(node, "_prepare", prepare)
    for number in (1, 2):
        paths.run.mkdir(parents=True, exist_ok=True)
        paths.taken_devices.touch()
        if number == 1:
            with pytest.raises(HostError, match="1 given back before"):
                node.start(home, "a")
        else:
            assert node.stop_node(home, "a") is True
        assert given == [paths] * number
    assert node.stop_node(home, "a") is False


def test_a_start_looks_at_its_devices_before_anything_else_is_done(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.map_file("a").write_text("compute: {pcie-passthrough: [{host: 'ffff:ff:1f.7'}]}\n")
    monkeypatch.setattr(node, "_check_ports", lambda decided: None)
    with pytest.raises(InvalidNodeFile, match=r"a\.yml:1:37: .*no PCI device ffff:ff:1f\.7"):
        node._prepare(home, home.node("a"), ())
    assert not home.node("a").workspace.exists()


class Launched:
    """A supervisor whose start fails, and what had to be stopped before the next."""

    def __init__(self, *outcomes: InfrasimError | None) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[str] = []

    def __call__(self, paths: NodePaths) -> Launched:
        return self

    def go(self) -> None:
        """Start, as far as it comes."""
        self.seen.append("go")
        if outcome := self.outcomes.pop(0):
            raise outcome

    def stop(self, paths: NodePaths) -> bool:
        """End what was left."""
        self.seen.append("stop")
        return True

    def close(self) -> None:
        """Nothing was begun."""
        self.seen.append("close")


@pytest.fixture
def prepared(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[[Launched, bool], Home]:
    """A registered node whose supervisor is a fake one, and whether a port of it is taken."""

    def prepare(launched: Launched, port_taken: bool) -> Home:
        register(home, "a")
        holder = (PortSpec("BMC", "udp", "127.0.0.1", 623), "somebody") if port_taken else None
        monkeypatch.setattr(node, "Launch", launched)
        monkeypatch.setattr(node, "stop_all_of", launched.stop)
        monkeypatch.setattr(node, "_prepare", lambda home, paths, settings: planning.plan(home, "a"))
        monkeypatch.setattr(node, "port_holder", lambda decided: holder)
        return home

    return prepare


@pytest.mark.parametrize(
    ("first", "port_taken", "tried"),
    [
        (ProgramError("it ended without a word"), False, 1),
        (ProgramError("it ended without a word"), True, ADDRESS_TRIES),
        (HostError("in use"), True, ADDRESS_TRIES),
        # Whoever took it has just let go of it for its own QEMU.
        (
            HostError("VNC screen: 127.0.0.1 port 5901/tcp: Address already in use"),
            False,
            ADDRESS_TRIES,
        ),
        (DeadlineError("Address already in use"), False, 1),
        (DeadlineError("no report"), True, 1),
        # Whoever ended the start does not want it tried again, although somebody has its port by now.
        (ProgramError(STOPPED_MEANWHILE), True, 1),
    ],
)
def test_what_a_failed_start_left_is_ended_before_the_next_and_after_the_last(
    prepared: Callable[[Launched, bool], Home], first: InfrasimError, port_taken: bool, tried: int
) -> None:
    launched = Launched(*[first] * ADDRESS_TRIES)
    with pytest.raises(type(first)) as caught:
        node.start(prepared(launched, port_taken), "a")
    assert caught.value is first
    assert launched.seen == ["go", "stop", "close"] * tried


@pytest.mark.parametrize("moment", ["_prepare", "go", "close"])
def test_an_interrupt_leaves_nothing_whenever_it_comes(
    prepared: Callable[[Launched, bool], Home], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    launched = Launched(None)
    home = prepared(launched, False)

    def interrupted(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(node if moment == "_prepare" else launched, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        node.start(home, "a")
    assert launched.seen[-1] == "stop"


def test_a_start_that_lost_an_address_tries_again(prepared: Callable[[Launched, bool], Home]) -> None:
    launched = Launched(HostError("in use"), None)
    assert node.start(prepared(launched, True), "a").plan.name == "a"
    assert launched.seen == ["go", "stop", "close", "go", "close"]


@pytest.mark.parametrize(
    ("held", "displays", "last"),
    [
        ((), (), 1),
        ((1,), (2,), 2),
        # Free while it was planned, because it was changing hands.
        ((1,), (1, 4), 4),
        ((1, 2, 3, 4, 5, 6, 7), (2, 3, 4, 5, 6, 7, 8), 8),
    ],
)
def test_ports_that_were_taken_meanwhile_are_chosen_again(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    held: tuple[int, ...],
    displays: tuple[int, ...],
    last: int,
) -> None:
    planned = planning_with_held(home, monkeypatch, held)
    choices = iter(displays)
    chosen = node._with_free_ports(planned(1), lambda: planned(next(choices)))
    assert chosen.plan.vnc_display == last


def test_ports_that_the_node_file_asks_for_are_asked_for_three_times(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = planning_with_held(home, monkeypatch, (1,))
    asked: list[int] = []

    def plan_again() -> planning.Planned:
        asked.append(1)
        return planned(1)

    with pytest.raises(HostError, match=r"VNC screen: 127\.0\.0\.1 port 5901/tcp is in use by somebody"):
        node._with_free_ports(planned(1), plan_again)
    assert len(asked) == 2


def planning_with_held(
    home: Home, monkeypatch: pytest.MonkeyPatch, held: tuple[int, ...]
) -> Callable[[int], planning.Planned]:
    """Plans by the number of their VNC display; somebody has those that are ``held``."""
    register(home, "a")

    def with_display(number: int) -> planning.Planned:
        planned = planning.plan(home, "a")
        ports = (PortSpec("VNC screen", "tcp", "127.0.0.1", 5900 + number),)
        decided = dataclasses.replace(planned.plan, vnc_display=number, ports=ports)
        return dataclasses.replace(planned, plan=decided)

    monkeypatch.setattr(
        node,
        "port_holder",
        lambda decided: (decided.ports[0], "somebody") if decided.vnc_display in held else None,
    )
    return with_display


def test_same_port_of_another_address_or_protocol_is_free(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "a")
    other = {"udp": Socket("127.0.0.2", 623), "tcp": Socket("127.0.0.1", 623)}
    monkeypatch.setattr(probe, "bound_sockets", lambda kind: frozenset({other[kind]}))
    node._check_ports(planning.plan(home, "a").plan)


def test_facts_ask_for_kvm_only_when_the_node_may_use_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def gather(cache: Path, with_kvm: bool) -> HostFacts:
        asked.append(with_kvm)
        return dataclasses.replace(FACTS)

    monkeypatch.setattr(probe, "gather_facts", gather)
    for name, text in {"a": "{}", "b": "compute: {kvm_enabled: false}"}.items():
        register(home, name, text)
        planning.plan(home, name)
    assert asked == [True, False]


def test_a_setting_that_is_wrong_stops_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    register(home, "a")
    stopped: list[str] = []
    monkeypatch.setattr(node, "stop_node", lambda home, name: stopped.append(name))
    with pytest.raises(InvalidNodeFile, match=r"--set compute\.memory\.size: wanted 16 to"):
        node.restart(home, "a", settings=parse_settings(["compute.memory.size=1"]))
    assert stopped == []


def test_settings_of_a_node_that_runs_are_refused_unless_it_runs_with_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "a")
    settings = parse_settings(["compute.memory.size=2048"])
    paths = home.node("a")
    supervisor = identify(os.getpid())
    assert supervisor is not None
    monkeypatch.setattr("infrasim.runtime.workspace.create_disk", lambda disk: disk.path.touch())
    write_workspace(planning.plan(home, "a", settings), paths)
    write_state(paths.state, NodeState(supervisor, "up", True, None, False, False, (), ()))
    assert node.start(home, "a").already_running
    assert node.start(home, "a", settings=settings).already_running
    with pytest.raises(UsageError, match="node a runs already, so --set cannot act") as caught:
        node.start(home, "a", settings=parse_settings(["compute.memory.size=4096"]))
    assert caught.value.hint == "run: infrasim node restart a --set …"
