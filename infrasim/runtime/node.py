"""The verbs on one node: plan, start, stop, restart, destroy. Safe to repeat and to run side by side."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrasim.clients.control import ask
from infrasim.errors import (
    DeadlineError,
    HostError,
    InvalidNodeFile,
    NotRunningError,
    Problem,
    ProgramError,
    UsageError,
    error_from_json,
)
from infrasim.host import probe
from infrasim.host.facts import Reserved, Socket, is_free
from infrasim.host.files import last_lines, locked, make_dir
from infrasim.host.process import alive, replace_by, send_signal, spawn, stop, wait_gone
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan, PortSpec, read_plan
from infrasim.runtime.state import NodeState, read_state
from infrasim.runtime.status import Condition, living, node_names, node_status
from infrasim.runtime.workspace import check_disks, remove_workspace, write_workspace

# Another command may hold a node's lock as long as a start or stop may take.
_LOCK_WAIT_S = 120.0
_START_WAIT_S = 120.0
_STOP_WAIT_S = 60.0
_TERM_WAIT_S = 5.0
_ADDRESS_TRIES = 3
_DAEMON = "infrasim.runtime.daemon"


@dataclass(frozen=True)
class Planned:
    """A plan and what it came from; ``warnings`` are about the node file."""

    plan: NodePlan
    node_text: str
    warnings: tuple[Problem, ...]


@dataclass(frozen=True)
class Started:
    """What ``start`` did; ``already_running`` when there was nothing to do."""

    plan: NodePlan
    warnings: tuple[Problem, ...] = ()
    already_running: bool = False


def plan(home: Home, name: str) -> Planned:
    """Everything that would be done to start a node now; touches nothing of it.

    Raises:
        InvalidNodeFile: the node file has problems.
        UsageError: there is no such node, or it cannot be as it is written.
        HostError: this machine lacks a program.
    """
    from infrasim.personality.registry import load_type, type_names
    from infrasim.plan.planner import plan_node
    from infrasim.spec.load import load_node

    paths = home.node(name)
    node_file, text = _read_node_file(home, name)
    folders = type_folders(home)
    loaded = load_node(node_file, text, name=name, known_types=type_names(folders))
    personality = load_type(loaded.spec.type, folders)
    previous = read_plan(paths.plan)
    facts = probe.gather_facts(home.cache, with_kvm=loaded.spec.compute.kvm_enabled is not False)
    if previous is not None and living(read_state(paths.state)):
        facts = facts.without(udp=previous.sockets("udp"), tcp=previous.sockets("tcp"))
    try:
        decided = plan_node(
            loaded.spec,
            personality,
            facts,
            paths,
            home=home,
            previous=previous,
            reserved=reserved_by_others(home, name),
        )
    except InvalidNodeFile as exc:
        from infrasim.spec.document import load_document
        from infrasim.spec.problems import relocate

        raise relocate(exc, load_document(text, file=str(node_file))) from exc
    return Planned(decided, text, loaded.warnings)


def start(home: Home, name: str, *, foreground: bool = False) -> Started:
    """Start a node and return when its BMC answers and its host's monitor greets.

    ``foreground`` becomes the supervisor and does not return. A failed start leaves nothing running.

    Raises:
        InfrasimError: as ``plan``; HostError for a port in use; ProgramError for a child that died.
    """
    paths = home.node(name)
    make_dir(home.root)
    with _exclusive(paths, "start"):
        state = read_state(paths.state)
        if state is not None and alive(state.supervisor):
            return _already_running(paths, state)
        if living(state):
            # A supervisor was killed: its children go on under a new one, with the plan they run.
            running = read_plan(paths.plan)
            if running is not None:
                return _hand_over(paths, running, (), foreground=foreground)
            _end_children(state)
        return _start_stopped(home, paths, foreground=foreground)


def _start_stopped(home: Home, paths: NodePaths, *, foreground: bool) -> Started:
    """Plan, write and start; again with other addresses if another home took one in between."""
    for tries_left in reversed(range(_ADDRESS_TRIES)):
        with locked(home.plan_lock, timeout_s=_LOCK_WAIT_S, what="choosing addresses"):
            planned = plan(home, paths.name)
            _check_ports(planned.plan)
            check_disks(planned.plan)
            write_workspace(planned.plan, paths, planned.node_text)
        try:
            return _hand_over(paths, planned.plan, planned.warnings, foreground=foreground)
        except (HostError, ProgramError):
            if not tries_left or _holder(planned.plan) is None:
                raise
    raise AssertionError("the last try returns or raises")


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
        state = read_state(paths.state)
        if state is None:
            return False
        ran = alive(state.supervisor) or bool(living(state))
        if alive(state.supervisor):
            _stop_supervisor(paths, state)
        _end_children(read_state(paths.state) or state)
        _remove_traces(paths)
        return ran


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
    stop_node(home, name)
    with _exclusive(paths, "destroy"):
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


def unknown_node(home: Home, name: str) -> UsageError:
    """The error of a name nobody registered."""
    from difflib import get_close_matches

    names = node_names(home)
    close = get_close_matches(name, names, n=1)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif names:
        hint = f"known nodes: {', '.join(names)}; register one with: infrasim config add {name} FILE"
    else:
        hint = "run: infrasim init, or: infrasim config add NAME FILE"
    return UsageError(f"there is no node {name!r} in {home.root}", hint=hint)


def type_folders(home: Home) -> tuple[Path, ...]:
    """Where server types are looked for, first wins."""
    from infrasim.paths import data_dir

    return (home.types, data_dir() / "personalities")


def reserved_by_others(home: Home, name: str) -> Reserved:
    """What the other nodes of this home have been given, running or not."""
    sockets, displays, disks = set(), set(), {}
    for other in node_names(home):
        decided = read_plan(home.node(other).plan) if other != name else None
        if decided is None:
            continue
        bmc = decided.bmc
        sockets |= {Socket(address, bmc.port) for address in (*bmc.listen, bmc.private_address)}
        displays.add(decided.vnc_display)
        disks.update({disk.path: other for disk in decided.disks})
    return Reserved(frozenset(sockets), frozenset(displays), disks)


# --- steps of the verbs


def _read_node_file(home: Home, name: str) -> tuple[Path, str]:
    path = home.map_file(name)
    try:
        return path, path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise unknown_node(home, name) from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: not a text file in UTF-8 (byte {exc.start})") from exc
    except OSError as exc:
        raise HostError(f"cannot read {path}: {exc.strerror}") from exc


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
    found = _holder(decided)
    if found is not None:
        wanted, holder = found
        place = f"{wanted.address} port {wanted.port}/{wanted.protocol}"
        raise HostError(
            f"{wanted.purpose}: {place} is in use by {holder}",
            hint="end that program, or give the node another address or port in its node file",
        )


def _holder(decided: NodePlan) -> tuple[PortSpec, str] | None:
    """The first port of a plan that is taken, and by whom."""
    in_use = {protocol: probe.bound_sockets(protocol) for protocol in ("udp", "tcp")}
    for wanted in decided.ports:
        if not is_free(in_use[wanted.protocol], wanted.address, wanted.port):
            return wanted, probe.holder_of(wanted.protocol, wanted.address, wanted.port)
    return None


def _hand_over(
    paths: NodePaths, decided: NodePlan, warnings: tuple[Problem, ...], *, foreground: bool
) -> Started:
    argv = [sys.executable, "-m", _DAEMON, paths.name, str(paths.workspace), str(paths.log_dir)]
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    if foreground:
        for warning in warnings:
            sys.stderr.write(f"warning: {warning}\n")
        # exec closes our lock; the supervisor takes its own before it touches anything.
        paths.verb_lock.unlink(missing_ok=True)
        replace_by([*argv, "foreground"])
    reader, writer = os.pipe()
    try:
        log = paths.log("supervisor")
        launcher = spawn([*argv, "background", str(writer)], log=log, cwd=paths.workspace, keep_open=[writer])
        os.close(writer)
        outcome = _read_outcome(reader, log)
        launcher.wait()
    finally:
        os.close(reader)
    if not outcome.get("ok"):
        raise error_from_json(outcome)
    return Started(decided, warnings)


def _read_outcome(reader: int, log: Path) -> dict[str, Any]:
    """How the start went, from the supervisor itself."""
    poll = select.poll()
    poll.register(reader, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + _START_WAIT_S
    said = b""
    while not said.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise DeadlineError(
                f"the supervisor did not report within {_START_WAIT_S:g} s", hint=f"see {log}"
            )
        chunk = os.read(reader, 65536)
        if not chunk:
            lines = "\n".join(last_lines(log))
            raise ProgramError(f"the supervisor ended without a word; last lines of {log}:\n{lines}")
        said += chunk
    outcome = json.loads(said)
    assert isinstance(outcome, dict)
    return outcome


def _stop_supervisor(paths: NodePaths, state: NodeState) -> None:
    try:
        ask(paths.control_socket, "stop", timeout_s=_STOP_WAIT_S)
    except (NotRunningError, ProgramError):
        # It may end before its answer is out, or hang without a socket: the process decides.
        send_signal(state.supervisor, signal.SIGTERM)
    except DeadlineError:
        pass
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
