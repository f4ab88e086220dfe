"""The verbs on one node: plan, start, stop, restart, destroy. Safe to repeat and to run side by side."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from infrasim.clients.control import ask
from infrasim.errors import DeadlineError, HostError, NotRunningError, Problem, ProgramError
from infrasim.host import probe
from infrasim.host.facts import is_free
from infrasim.host.files import locked, make_dir
from infrasim.host.process import alive, send_signal, stop, wait_gone
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan, PortSpec, read_plan
from infrasim.runtime.launch import Launch, become_supervisor
from infrasim.runtime.planning import Planned, last_plan, plan, problems_on_lines_of
from infrasim.runtime.state import NodeState, read_state
from infrasim.runtime.status import Condition, living, node_status, unknown_node
from infrasim.runtime.workspace import check_inputs, refresh_workspace, remove_workspace, write_workspace

# Another command may hold a node's lock as long as a start or stop may take.
_LOCK_WAIT_S = 120.0
_STOP_WAIT_S = 60.0
_ANSWER_WAIT_S = 10.0
_TERM_WAIT_S = 5.0
_ADDRESS_TRIES = 3


@dataclass(frozen=True)
class Started:
    """What ``start`` did; ``already_running`` when there was nothing to do.

    ``planned`` is what it was started from; None for a node whose children ran.
    """

    plan: NodePlan
    warnings: tuple[Problem, ...] = ()
    already_running: bool = False
    planned: Planned | None = None


def start(home: Home, name: str, *, foreground: bool = False) -> Started:
    """Start a node and return when its BMC answers and its host's monitor greets.

    ``foreground`` becomes the supervisor and does not return. A failed start leaves nothing running.

    Raises:
        InfrasimError: as ``planning.plan``; HostError for a port in use; ProgramError for a child
            that died.
    """
    paths = home.node(name)
    if node_status(home, name).condition is Condition.ABSENT:
        raise unknown_node(home, name)
    make_dir(home.root)
    with _exclusive(paths, "start"):
        state = read_state(paths.state)
        if state is not None and alive(state.supervisor):
            return _already_running(paths, state)
        if living(state):
            # A supervisor was killed: its children go on under a new one, with the plan they run.
            running = read_plan(paths.plan)
            if running is not None:
                return _take_over(paths, running, foreground=foreground)
            _end_children(state)
        if foreground:
            _run_in_foreground(paths, _prepare(home, paths).warnings)
        return _start_stopped(home, paths)


def _take_over(paths: NodePaths, running: NodePlan, *, foreground: bool) -> Started:
    """Give children that lost their supervisor a new one."""
    if foreground:
        _run_in_foreground(paths, ())
    with contextlib.closing(Launch(paths)) as launch:
        launch.go()
    return Started(running)


def _start_stopped(home: Home, paths: NodePaths) -> Started:
    """Plan, write and start; again with other addresses if another home took one in between."""
    for tries_left in reversed(range(_ADDRESS_TRIES)):
        with contextlib.closing(Launch(paths)) as launch:
            planned = _prepare(home, paths)
            try:
                launch.go()
                return Started(planned.plan, planned.warnings, planned=planned)
            except (HostError, ProgramError):
                if not tries_left or port_holder(planned.plan) is None:
                    raise
            except KeyboardInterrupt:
                # The supervisor has a session of its own and did not hear it.
                stop_all_of(paths)
                raise
    raise AssertionError("the last try returns or raises")


def _prepare(home: Home, paths: NodePaths) -> Planned:
    """Plan the node and bring its workspace up to date."""
    with locked(home.plan_lock, timeout_s=_LOCK_WAIT_S, what="choosing addresses"):
        last = last_plan(home, paths.name)
        planned = last or plan(home, paths.name)
        _check_ports(planned.plan)
        with problems_on_lines_of(home.map_file(paths.name), planned.node_text):
            check_inputs(planned.plan)
        if not planned.is_last:
            write_workspace(planned, paths)
        else:
            refresh_workspace(planned.plan, paths)
    return planned


def stop_node(home: Home, name: str) -> bool:
    """Stop a node; False when nothing of it ran. Leaves no process, socket or lock.

    Raises:
        DeadlineError: something would not end.
        UsageError: there is no such node.
    """
    paths = home.node(name)
    if node_status(home, name).condition is Condition.ABSENT:
        raise unknown_node(home, name)
    if not paths.workspace.is_dir():
        return False
    with _exclusive(paths, "stop"):
        return stop_all_of(paths)


def restart(home: Home, name: str) -> Started:
    """Stop a node and start it from its node file as it is now."""
    stop_node(home, name)
    return start(home, name)


def destroy(home: Home, name: str) -> bool:
    """Stop a node and remove its workspace, disks and logs; the registered file stays.

    Returns False when there was no workspace.
    """
    paths = home.node(name)
    if not paths.workspace.is_dir():
        if not home.map_file(name).exists():
            raise unknown_node(home, name)
        return False
    with _exclusive(paths, "destroy"):
        stop_all_of(paths)
        remove_workspace(home, paths)
    return True


def require_running(home: Home, name: str) -> NodePaths:
    """The files of a node that runs.

    Raises:
        NotRunningError: it does not.
    """
    status = node_status(home, name)
    if status.condition is Condition.ABSENT:
        raise unknown_node(home, name)
    if status.state is None or not alive(status.state.supervisor):
        raise NotRunningError(
            f"node {name} is {status.condition.value}", hint=f"run: infrasim node start {name}"
        )
    return status.paths


# --- steps of the verbs


@contextmanager
def _exclusive(paths: NodePaths, verb: str) -> Iterator[None]:
    make_dir(paths.workspace.parent)
    with locked(paths.verb_lock, timeout_s=_LOCK_WAIT_S, what=f"{verb} of node {paths.name}"):
        yield


def _already_running(paths: NodePaths, state: NodeState) -> Started:
    running = read_plan(paths.plan)
    if running is None:
        raise HostError(f"node {paths.name} runs (pid {state.supervisor.pid}), but {paths.plan} is damaged")
    return Started(running, already_running=True)


def _check_ports(decided: NodePlan) -> None:
    """Name whoever has a port that the node needs."""
    found = port_holder(decided)
    if found is not None:
        wanted, holder = found
        place = f"{wanted.address} port {wanted.port}/{wanted.protocol}"
        raise HostError(
            f"{wanted.purpose}: {place} is in use by {holder}",
            hint="stop that one, or give this node another address or port in its node file",
        )


def port_holder(decided: NodePlan) -> tuple[PortSpec, str] | None:
    """The first port of a plan that is taken, and by whom."""
    in_use = {protocol: probe.bound_sockets(protocol) for protocol in ("udp", "tcp")}
    for wanted in decided.ports:
        if not is_free(in_use[wanted.protocol], wanted.address, wanted.port):
            return wanted, probe.holder_of(wanted.protocol, wanted.address, wanted.port)
    return None


def _run_in_foreground(paths: NodePaths, warnings: tuple[Problem, ...]) -> NoReturn:
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    # exec closes our lock; the supervisor takes its own before it touches anything.
    paths.verb_lock.unlink(missing_ok=True)
    become_supervisor(paths)


def stop_all_of(paths: NodePaths) -> bool:
    """Take everything of a node down; False when nothing of it ran."""
    state = read_state(paths.state)
    if state is None:
        return False
    ran = alive(state.supervisor) or bool(living(state))
    if alive(state.supervisor):
        _stop_supervisor(paths, state)
    _end_children(read_state(paths.state) or state)
    _remove_traces(paths)
    return ran


def _stop_supervisor(paths: NodePaths, state: NodeState) -> None:
    try:
        # One that hangs is not worth the time a stop may take.
        ask(paths.control_socket, "status", timeout_s=_ANSWER_WAIT_S)
        ask(paths.control_socket, "stop", timeout_s=_STOP_WAIT_S)
    except (NotRunningError, ProgramError):
        # It may end before its answer is out, or hang without a socket: the process decides.
        send_signal(state.supervisor, signal.SIGTERM)
    except DeadlineError:
        if not stop(state.supervisor, term_wait_s=_TERM_WAIT_S):
            raise
    if not wait_gone(state.supervisor, _STOP_WAIT_S) and not stop(state.supervisor, term_wait_s=_TERM_WAIT_S):
        raise DeadlineError(f"the supervisor (pid {state.supervisor.pid}) does not end")


def _end_children(state: NodeState | None) -> None:
    """End what a dead supervisor left, the host first."""
    for identity in reversed(living(state)):
        if not stop(identity, term_wait_s=_TERM_WAIT_S):
            raise DeadlineError(f"pid {identity.pid} does not end, not even by SIGKILL")


def _remove_traces(paths: NodePaths) -> None:
    for path in (*paths.sockets(), paths.pty, paths.state, paths.supervisor_lock):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        paths.terminal_lock.unlink()
