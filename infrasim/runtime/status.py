"""What state a node is in. Reads only; never raises for a broken node, never changes anything."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from infrasim.errors import ExitCode, UsageError
from infrasim.frozen import Frozen
from infrasim.host.process import Identity, alive, suspended
from infrasim.paths import DEFAULT_NODE, Home, NodePaths
from infrasim.plan.model import NodePlan, read_plan
from infrasim.runtime.state import SUPERVISOR, ChildState, NodeState, Phase, ProcessState, read_state

if TYPE_CHECKING:
    from infrasim.host.table import Found

# The state of a process that lives and does nothing; it overrides what its supervisor believes.
SUSPENDED = "stopped by a signal"


class Condition(StrEnum):
    """A node at a glance."""

    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    ABSENT = "absent"

    @property
    def exit_code(self) -> int:
        """What ``infrasim node status`` returns."""
        match self:
            case Condition.RUNNING:
                return int(ExitCode.DONE)
            case Condition.DEGRADED:
                return 1
            case Condition.STOPPED | Condition.ABSENT:
                return int(ExitCode.NOT_RUNNING)


class ProcessStatus(Frozen):
    """One process; ``pid`` is None while it does not run."""

    name: str
    pid: int | None
    state: str
    restarts: int


class NodeStatus(Frozen):
    """Everything ``node status`` shows; ``plan`` and ``state`` are None when their files cannot be read."""

    name: str
    condition: Condition
    paths: NodePaths
    plan: NodePlan | None
    state: NodeState | None
    processes: tuple[ProcessStatus, ...]
    errors: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The interface other programs rely on; see docs/workspace.md."""
        plan, state = self.plan, self.state
        shell = plan.racadm if plan else None
        running = self.condition in (Condition.RUNNING, Condition.DEGRADED)
        power_on = bool(running and state and state.power)
        return {
            "name": self.name,
            "type": plan.server_type if plan else None,
            "state": self.condition.value,
            "bmc": {"address": plan.bmc.address if plan else None, "port": plan.bmc.port if plan else None},
            "vnc": {"address": plan.vnc_address if plan else None, "port": plan.vnc_port if plan else None},
            "racadm": {"address": shell.address, "port": shell.port} if shell else None,
            "host": {
                "power": "on" if power_on else "off",
                "accelerator": plan.host.accelerator.value if plan else None,
                "accelerator_note": plan.host.accelerator_note if plan else None,
                "boot_override": state.boot_override if running and state else None,
                "identify": bool(running and state and state.identify),
            },
            "processes": [
                {
                    "name": process.name,
                    "pid": process.pid,
                    "state": process.state,
                    "restarts": process.restarts,
                }
                for process in self.processes
            ],
            "workspace": str(self.paths.workspace),
            "log_dir": str(self.paths.log_dir),
            "errors": list(self.errors),
        }


def node_status(home: Home, name: str) -> NodeStatus:
    """The status of one node, whatever it is in.

    Raises:
        UsageError: ``name`` cannot name a node.
    """
    paths = home.node(name)
    plan, state = read_plan(paths.plan), read_state(paths.state)
    errors = list(state.errors if state else ())
    if plan is None and (state is not None or paths.plan.exists()):
        errors.append(f"{paths.plan} cannot be read")
    if paths.state.exists() and state is None:
        errors.append(f"{paths.state} cannot be read")
    strays = _strays(paths, state)
    if strays:
        # A start or stop may have written or removed it since.
        state = read_state(paths.state)
        strays = _strays(paths, state)
    if strays:
        who = ", ".join(f"{stray.what} (pid {stray.identity.pid})" for stray in strays)
        errors.append(f"running, but not on record: {who}; 'infrasim node stop' ends them")
    if paths.taken_devices.exists() and not (state and alive(state.supervisor)) and not living(state):
        errors += _taken(paths)
    processes = _processes(plan, state)
    condition = Condition.DEGRADED if strays else _condition(home, paths, state)
    if condition is Condition.DEGRADED and state and not alive(state.supervisor):
        errors.append("the supervisor is gone; 'infrasim node start' makes a new one that takes over")
    return NodeStatus(name, condition, paths, plan, state, processes, tuple(errors))


def node_names(home: Home) -> tuple[str, ...]:
    """Every node that is registered or has a workspace, sorted."""
    with_workspace = (
        path.parent.name for path in home.root.glob("*/plan.json") if not path.parent.name.startswith(".")
    )
    return tuple(sorted({*home.registered(), *with_workspace}))


def unknown_node(home: Home, name: str) -> UsageError:
    """The error of a name nobody registered."""
    from difflib import get_close_matches

    names = node_names(home)
    close = get_close_matches(name, names, n=1)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif names:
        make = "infrasim init" if name == DEFAULT_NODE else f"infrasim config add {name} FILE"
        hint = f"known nodes: {', '.join(names)}; register one with: {make}"
    else:
        hint = "run: infrasim init, or: infrasim config add NAME FILE"
    return UsageError(f"there is no node {name!r} in {home.root}", hint=hint)


def living(state: NodeState | None) -> tuple[Identity, ...]:
    """The recorded children that still run."""
    return tuple(identity for identity in state.identities() if alive(identity)) if state else ()


def _strays(paths: NodePaths, state: NodeState | None) -> tuple[Found, ...]:
    """What runs and is not on record; looked for only when no supervisor answers for the node."""
    if state is not None and alive(state.supervisor):
        return ()
    from infrasim.runtime.strays import find_strays  # most states need no search

    strays = find_strays(paths, living(state))
    # A supervisor alone has just been started: it waits for its command to plan.
    return strays if any(stray.what != SUPERVISOR for stray in strays) else ()


def _taken(paths: NodePaths) -> list[str]:
    from infrasim.runtime.passthrough import read_record  # few nodes have any

    names = ", ".join(had.address for had in read_record(paths))
    return (
        [f"it still has PCI devices of this machine: {names}; 'infrasim node stop' gives back"]
        if names
        else []
    )


def _condition(home: Home, paths: NodePaths, state: NodeState | None) -> Condition:
    if state is not None and alive(state.supervisor):
        healthy = state.phase == Phase.UP.value and not state.degraded
        # The state file is as new as the supervisor's last event; a child may have died just now.
        gone = any(
            process.state == ChildState.RUNNING and process.identity and not alive(process.identity)
            for process in state.processes
        )
        stuck = any(suspended(identity) for identity in (state.supervisor, *state.identities()))
        return Condition.RUNNING if healthy and not gone and not stuck else Condition.DEGRADED
    if living(state):
        return Condition.DEGRADED
    known = paths.plan.exists() or home.map_file(paths.name).exists()
    return Condition.STOPPED if known else Condition.ABSENT


def _processes(plan: NodePlan | None, state: NodeState | None) -> tuple[ProcessStatus, ...]:
    if state is None:
        names = [SUPERVISOR, *(spec.name for spec in plan.processes)] if plan else []
        return tuple(ProcessStatus(name, None, "stopped", 0) for name in names)
    supervisor = ProcessState(SUPERVISOR, state.supervisor, ChildState.RUNNING.value, 0)
    return tuple(_process(entry) for entry in (supervisor, *state.processes))


def _process(entry: ProcessState) -> ProcessStatus:
    if entry.identity and alive(entry.identity):
        seen = SUSPENDED if suspended(entry.identity) else entry.state
        return ProcessStatus(entry.name, entry.identity.pid, seen, entry.restarts)
    state = "dead" if entry.identity else entry.state
    return ProcessStatus(entry.name, None, state, entry.restarts)
