"""What a node's status says of its files and processes, whatever state they are in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.errors import UsageError
from infrasim.host.process import Identity, identify
from infrasim.host.table import Found
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.runtime import status
from infrasim.runtime.state import NodeState, ProcessState, write_state
from infrasim.runtime.status import Condition, node_names, node_status

MakePlan = Callable[[Home, str, str], NodePlan]

# Of another boot, so surely gone.
GONE = Identity(os.getpid(), 1, "another boot")
SUPERVISOR_GONE = "the supervisor is gone; 'infrasim node start' makes a new one that takes over"


def living() -> Identity:
    """A process that surely lives: this one."""
    identity = identify(os.getpid())
    assert identity is not None
    return identity


def living_parent() -> Identity:
    """Another process that surely lives."""
    identity = identify(os.getppid())
    assert identity is not None
    return identity


class Node:
    """A node's files, fabricated."""

    def __init__(self, home: Home, plan: NodePlan | None) -> None:
        self.home = home
        self.paths = home.node("a")
        self.paths.run.mkdir(parents=True)
        home.node_map.mkdir()
        home.map_file("a").write_text("{}")
        if plan:
            self.paths.plan.write_text(json.dumps(plan.as_json()))

    def state(
        self,
        supervisor: Identity,
        *children: tuple[str, Identity | None, str, int],
        phase: str = "up",
        degraded: bool = False,
        errors: tuple[str, ...] = (),
    ) -> None:
        write_state(
            self.paths.state,
            NodeState(
                supervisor=supervisor,
                phase=phase,
                power=True,
                boot_override="pxe",
                identify=True,
                degraded=degraded,
                processes=tuple(ProcessState(*child) for child in children),
                errors=errors,
            ),
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "logs")


@pytest.fixture
def node(home: Home, make_plan: MakePlan) -> Node:
    return Node(home, make_plan(home, "a", "{}"))


def test_running(node: Node) -> None:
    me = living()
    node.state(me, ("socat", me, "running", 0), ("ipmi_sim", me, "running", 2), ("qemu", me, "running", 0))
    found = node_status(node.home, "a")
    assert found.condition is Condition.RUNNING
    assert found.condition.exit_code == 0
    plan = found.plan
    assert plan is not None
    assert found.as_json() == {
        "name": "a",
        "type": "quanta_d51",
        "state": "running",
        "bmc": {"address": "127.0.0.1", "port": 623},
        "vnc": {"address": "127.0.0.1", "port": 5901},
        "racadm": None,
        "host": {
            "power": "on",
            "accelerator": "tcg",
            "accelerator_note": "/dev/kvm does not exist",
            "boot_override": "pxe",
            "identify": True,
        },
        "processes": [
            {"name": "supervisor", "pid": me.pid, "state": "running", "restarts": 0},
            {"name": "socat", "pid": me.pid, "state": "running", "restarts": 0},
            {"name": "ipmi_sim", "pid": me.pid, "state": "running", "restarts": 2},
            {"name": "qemu", "pid": me.pid, "state": "running", "restarts": 0},
        ],
        "workspace": str(node.paths.workspace),
        "log_dir": str(node.paths.log_dir),
        "errors": [],
    }


def test_host_that_is_off_is_no_trouble(node: Node) -> None:
    node.state(living(), ("qemu", None, "down", 0))
    found = node_status(node.home, "a")
    assert found.condition is Condition.RUNNING
    assert found.as_json()["processes"][1] == {"name": "qemu", "pid": None, "state": "down", "restarts": 0}


@pytest.mark.parametrize("phase", ["starting", "stopping", "stopped"])
def test_node_on_its_way_up_or_down_is_degraded(node: Node, phase: str) -> None:
    node.state(living(), ("qemu", living(), "running", 0), phase=phase)
    assert node_status(node.home, "a").condition is Condition.DEGRADED


def test_what_the_supervisor_calls_degraded_is(node: Node) -> None:
    node.state(living(), ("ipmi_sim", None, "waiting to restart", 1), degraded=True, errors=("it died",))
    found = node_status(node.home, "a")
    assert (found.condition, found.condition.exit_code) == (Condition.DEGRADED, 1)
    assert found.errors == ("it died",)


def test_child_that_died_just_now_is_seen_before_the_supervisor_says_so(node: Node) -> None:
    node.state(living(), ("ipmi_sim", GONE, "running", 0))
    found = node_status(node.home, "a")
    assert found.condition is Condition.DEGRADED
    assert found.as_json()["processes"][1] == {
        "name": "ipmi_sim",
        "pid": None,
        "state": "dead",
        "restarts": 0,
    }


def test_child_that_was_ended_on_purpose_is_no_trouble(node: Node) -> None:
    node.state(living(), ("ipmi_sim", living(), "running", 0), ("qemu", GONE, "stopping", 0))
    assert node_status(node.home, "a").condition is Condition.RUNNING


@pytest.mark.parametrize("stuck", ["supervisor", "qemu"])
def test_a_process_that_was_stopped_by_a_signal_is_not_called_running(
    node: Node, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    supervisor, child = living(), living_parent()
    node.state(supervisor, ("qemu", child, "running", 0))
    sleeper = supervisor if stuck == "supervisor" else child
    monkeypatch.setattr(status, "suspended", lambda identity: identity == sleeper)
    found = node_status(node.home, "a")
    assert found.condition is Condition.DEGRADED
    states = {process.name: process.state for process in found.processes}
    assert states == {"supervisor": "running", "qemu": "running", stuck: "stopped by a signal"}


def test_children_without_a_supervisor(node: Node) -> None:
    node.state(GONE, ("qemu", living(), "running", 0), ("socat", GONE, "running", 0), errors=("old",))
    found = node_status(node.home, "a")
    assert found.condition is Condition.DEGRADED
    assert found.errors == ("old", SUPERVISOR_GONE)
    assert [process.state for process in found.processes] == ["dead", "running", "dead"]
    assert found.as_json()["host"]["power"] == "on"


def test_nothing_lives_any_more(node: Node) -> None:
    node.state(GONE, ("qemu", GONE, "running", 0))
    found = node_status(node.home, "a")
    assert (found.condition, found.condition.exit_code) == (Condition.STOPPED, 3)
    host = found.as_json()["host"]
    assert (host["power"], host["boot_override"], host["identify"]) == ("off", None, False)


def test_stopped_node_shows_its_plan(node: Node) -> None:
    found = node_status(node.home, "a")
    assert found.condition is Condition.STOPPED
    data = found.as_json()
    assert data["bmc"] == {"address": "127.0.0.1", "port": 623}
    assert [process["name"] for process in data["processes"]] == ["supervisor", "socat", "ipmi_sim", "qemu"]
    assert {process["state"] for process in data["processes"]} == {"stopped"}


def test_registered_and_never_started(home: Home) -> None:
    home.node_map.mkdir(parents=True)
    home.map_file("a").write_text("{}")
    found = node_status(home, "a")
    assert found.condition is Condition.STOPPED
    data = found.as_json()
    assert (data["type"], data["processes"]) == (None, [])
    assert data["bmc"] == data["vnc"] == {"address": None, "port": None}


def test_absent(home: Home) -> None:
    found = node_status(home, "a")
    assert (found.condition, found.condition.exit_code) == (Condition.ABSENT, 3)
    with pytest.raises(UsageError):
        node_status(home, "../a")


@pytest.mark.parametrize("damage", ["", "{", "[]", "5", '{"format": 1}', "\x00", '{"vnc_display": "x"}'])
@pytest.mark.parametrize("file", ["plan", "state"])
def test_damaged_files_never_raise_and_are_named(node: Node, file: str, damage: str) -> None:
    node.state(living(), ("qemu", living(), "running", 0))
    path = {"plan": node.paths.plan, "state": node.paths.state}[file]
    path.write_text(damage)
    found = node_status(node.home, "a")
    assert f"{path} cannot be read" in found.errors
    assert json.dumps(found.as_json())
    assert found.condition is (Condition.RUNNING if file == "plan" else Condition.STOPPED)


def test_a_plan_that_was_removed_under_a_running_node_is_an_error(node: Node) -> None:
    node.state(living(), ("qemu", living(), "running", 0))
    node.paths.plan.unlink()
    assert f"{node.paths.plan} cannot be read" in node_status(node.home, "a").errors


def strays(monkeypatch: pytest.MonkeyPatch, *what: str) -> None:
    """Let processes be found that no state knows."""
    found = tuple(Found(name, Identity(10 + number, 1, "b"), 1) for number, name in enumerate(what))
    monkeypatch.setattr("infrasim.runtime.strays.find_strays", lambda paths, known: found)


@pytest.mark.parametrize("recorded", [True, False])
def test_processes_that_are_not_on_record_are_an_error(
    node: Node, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    if recorded:
        node.state(GONE, ("qemu", GONE, "running", 0))
    strays(monkeypatch, "supervisor", "qemu")
    found = node_status(node.home, "a")
    assert (found.condition, found.condition.exit_code) == (Condition.DEGRADED, 1)
    who = "supervisor (pid 10), qemu (pid 11)"
    assert f"running, but not on record: {who}; 'infrasim node stop' ends them" in found.errors


def test_processes_of_a_node_that_nobody_knows_are_an_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    strays(monkeypatch, "qemu")
    assert node_status(home, "a").condition is Condition.DEGRADED


def test_a_supervisor_that_has_just_begun_is_no_trouble(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    strays(monkeypatch, "supervisor")
    found = node_status(node.home, "a")
    assert (found.condition, found.errors) == (Condition.STOPPED, ())


def test_a_supervisor_that_lives_is_believed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.state(living(), ("qemu", living(), "running", 0))
    strays(monkeypatch, "qemu")
    assert node_status(node.home, "a").condition is Condition.RUNNING


def test_names_are_those_registered_and_those_with_a_workspace(node: Node) -> None:
    node.home.map_file("registered").write_text("{}")
    for name in ("left-over", ".hidden"):
        (node.home.root / name).mkdir()
        (node.home.root / name / "plan.json").touch()
    (node.home.root / "no-plan").mkdir()
    assert node_names(node.home) == ("a", "left-over", "registered")
