"""The verbs on one node: plan, start, stop, restart, destroy. Safe to repeat and to run side by side."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from infrasim.clients.control import ask
from infrasim.errors import (
    SET,
    DeadlineError,
    HostError,
    InfrasimError,
    NotRunningError,
    Problem,
    ProgramError,
    UsageError,
)
from infrasim.frozen import Frozen
from infrasim.host import probe
from infrasim.host.facts import is_free
from infrasim.host.files import locked, make_dir
from infrasim.host.namespace import inside
from infrasim.host.process import Identity, alive, send_signal, stop, wait_gone
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan, PortSpec, read_plan
from infrasim.runtime.launch import ADDRESS_TRIES, STOPPED_MEANWHILE, Launch, become_supervisor
from infrasim.runtime.logs import claim_logs
from infrasim.runtime.needs import check_needs
from infrasim.runtime.planning import (
    Planned,
    document_of,
    includes_are_as_they_were,
    last_plan,
    origin_digest,
    plan,
    problems_on_lines_of,
    require_extras,
)
from infrasim.runtime.state import SUPERVISOR, NodeState, read_state
from infrasim.runtime.status import Condition, living, node_status, unknown_node
from infrasim.runtime.strays import find_strays
from infrasim.runtime.workspace import refresh_workspace, remove_workspace, write_workspace

if TYPE_CHECKING:
    from infrasim.spec.document import Setting

# Another command may hold a node's lock as long as a start or stop may take.
_LOCK_WAIT_S = 120.0
_STOP_WAIT_S = 60.0
_ANSWER_WAIT_S = 10.0
_TERM_WAIT_S = 5.0
# How long a supervisor that nobody wrote down may take to show its state, for it may just have begun.
_SHOW_WAIT_S = 3.0
_SHOW_POLL_S = 0.05
# A child that a supervisor starts while it is being ended is found the next time.
_STRAY_ROUNDS = 3


class Started(Frozen):
    """What ``start`` did; ``already_running`` when there was nothing to do.

    ``planned`` is what it was started from; None for a node whose children ran.
    """

    plan: NodePlan
    warnings: tuple[Problem, ...] = ()
    already_running: bool = False
    planned: Planned | None = None


def start(home: Home, name: str, *, foreground: bool = False, settings: tuple[Setting, ...] = ()) -> Started:
    """Start a node and return when its BMC answers and its host's monitor greets.

    ``settings`` go before its node file until it is stopped.
    ``foreground`` becomes the supervisor and does not return. A failed start leaves nothing running.

    Raises:
        InfrasimError: as ``planning.plan``; HostError for a port in use; ProgramError for a child
            that died; UsageError for settings of a node that runs with others.
    """
    paths = home.node(name)
    if node_status(home, name).condition is Condition.ABSENT:
        raise unknown_node(home, name)
    make_dir(home.root)
    with _exclusive(paths, "start"):
        state = read_state(paths.state)
        if not _runs(state) and find_strays(paths, living(state)):
            state = _shown_state(paths)
            if not _runs(state):
                _end_strays(paths, living(state))
        if state is not None and (_runs(state) or living(state)) and settings:
            _check_settings(home, paths, settings)
        if state is not None and _runs(state):
            return _already_running(paths, state)
        if state is not None and living(state):
            # A supervisor was killed: its children go on under a new one, with the plan they run.
            running = read_plan(paths.plan)
            if running is not None:
                return _take_over(paths, running, foreground=foreground)
            _end_children(state)
        old = read_plan(paths.plan)
        if old is not None and old.links:
            # Nobody could clean up, and a new plan may know nothing of them.
            _remove_links(paths)
        _give_devices_back(paths)
        if foreground:
            _run_in_foreground(paths, _prepare(home, paths, settings).warnings)
        return _start_stopped(home, paths, settings)


def _take_over(paths: NodePaths, running: NodePlan, *, foreground: bool) -> Started:
    """Give children that lost their supervisor a new one."""
    # Somebody may have cleaned the logs up meanwhile.
    claim_logs(paths)
    if foreground:
        _run_in_foreground(paths, ())
    with contextlib.closing(Launch(paths)) as launch:
        launch.go()
    return Started(running)


def _check_settings(home: Home, paths: NodePaths, settings: tuple[Setting, ...]) -> None:
    """Refuse settings that would be lost, because the node runs with others."""
    kept = json.loads(paths.plan.read_bytes()) if paths.plan.exists() else {}
    text, included = home.map_file(paths.name).read_text(encoding="utf-8"), kept.get("included", {})
    qemu = kept.get("qemu", probe.QEMU_PROGRAM)
    if kept.get("made_from") != origin_digest(
        home, paths.name, text, included=included, settings=settings, qemu=qemu
    ) or not includes_are_as_they_were(included):
        raise UsageError(
            f"node {paths.name} runs already, so {SET} cannot act",
            hint=f"run: infrasim node restart {paths.name} {SET} …",
        )


def _start_stopped(home: Home, paths: NodePaths, settings: tuple[Setting, ...]) -> Started:
    """Plan, write and start; an interrupt leaves nothing running, whenever it comes."""
    try:
        return _start_somewhere(home, paths, settings)
    except KeyboardInterrupt:
        # The supervisor has a session of its own and did not hear it.
        stop_all_of(paths)
        raise


def _start_somewhere(home: Home, paths: NodePaths, settings: tuple[Setting, ...]) -> Started:
    """Plan, write and start; again with other addresses if another home took one in between."""
    for tries_left in reversed(range(ADDRESS_TRIES)):
        with contextlib.closing(Launch(paths)) as launch:
            planned = _prepare(home, paths, settings)
            try:
                launch.go()
                return Started(planned.plan, planned.warnings, planned=planned)
            except InfrasimError as exc:
                # A supervisor that was killed ended nothing of what it had started.
                stop_all_of(paths)
                if not tries_left or not lost_an_address(exc, planned.plan):
                    raise
    raise AssertionError("the last try returns or raises")


def lost_an_address(error: InfrasimError, decided: NodePlan) -> bool:
    """Whether a start failed because somebody else took a port that was free when it was planned.

    For a moment nobody may have it: another home's supervisor lets go of it for its own QEMU.
    """
    if error.message == STOPPED_MEANWHILE:
        # Whoever has a port of it now was given it because this node gave it back.
        return False
    in_use = os.strerror(errno.EADDRINUSE) in error.message
    return isinstance(error, (HostError, ProgramError)) and (in_use or port_holder(decided) is not None)


def _prepare(home: Home, paths: NodePaths, settings: tuple[Setting, ...]) -> Planned:
    """Plan the node and bring its workspace up to date."""
    with locked(home.plan_lock, timeout_s=_LOCK_WAIT_S, what="choosing addresses"):
        last = last_plan(home, paths.name, settings)
        planned = decided = last or plan(home, paths.name, settings)
        # What is wrong with the node file stays so; who has a port may change, so that comes after it.
        with problems_on_lines_of(lambda: document_of(home, decided)):
            check_needs(planned.plan, paths)
            if planned.plan.passthrough:
                from infrasim.runtime.passthrough import require_rights  # few nodes have any

                require_rights()
        planned = _with_free_ports(planned, lambda: plan(home, paths.name, settings))
        claim_logs(paths)
        if not planned.is_last:
            write_workspace(planned, paths)
        else:
            refresh_workspace(planned.plan, paths)
    return planned


def _with_free_ports(planned: Planned, plan_again: Callable[[], Planned]) -> Planned:
    """``planned``, or a plan with other ports if another home has just taken one.

    What the node file asks for stays the same. So may, once, what another home's supervisor gave back for
    its QEMU to take just when the plan looked.

    Raises:
        HostError: somebody has a port that is asked for.
    """
    same = 0
    for _ in range(ADDRESS_TRIES):
        if port_holder(planned.plan) is None:
            return planned
        before, planned = planned.plan.ports, plan_again()
        same = same + 1 if planned.plan.ports == before else 0
        if same > 1:
            break
    _check_ports(planned.plan)
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
    if not paths.workspace.is_dir() and not find_strays(paths):
        return False
    with _exclusive(paths, "stop"):
        return stop_all_of(paths)


def restart(home: Home, name: str, *, settings: tuple[Setting, ...] = ()) -> Started:
    """Stop a node and start it from its node file as it is now, and these ``settings``.

    Raises:
        InfrasimError: as ``stop_node`` and ``start``; a wrong node file or setting stops nothing.
    """
    if home.map_file(name).exists():
        from infrasim.runtime.node_map import load_registered  # late: no other verb reads YAML

        require_extras(load_registered(home, name, settings).spec)
    stop_node(home, name)
    return start(home, name, settings=settings)


def destroy(home: Home, name: str) -> bool:
    """Stop a node and remove its workspace, disks and logs; the registered file stays.

    Returns False when there was no workspace.
    """
    paths = home.node(name)
    if not paths.workspace.is_dir() and not find_strays(paths):
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
    with contextlib.ExitStack() as held:
        try:
            make_dir(paths.workspace.parent)
            what = f"{verb} of node {paths.name}"
            held.enter_context(locked(paths.verb_lock, timeout_s=_LOCK_WAIT_S, what=what))
        except HostError:
            # On a disk that has become read-only nobody can have the lock, and a node must be able to end.
            if verb != "stop":
                raise
        yield


def _already_running(paths: NodePaths, state: NodeState) -> Started:
    running = read_plan(paths.plan)
    if running is None:
        raise HostError(
            f"node {paths.name} runs (pid {state.supervisor.pid}), but {paths.plan} is missing or damaged",
            hint=f"run: infrasim node restart {paths.name}",
        )
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
    with inside(decided.namespace):
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


def _runs(state: NodeState | None) -> bool:
    return state is not None and alive(state.supervisor)


def _shown_state(paths: NodePaths) -> NodeState | None:
    """The recorded state. A supervisor that lives without one is asked, and writes it again."""
    state = read_state(paths.state)
    deadline = time.monotonic() + _SHOW_WAIT_S
    while not _runs(state) and time.monotonic() < deadline:
        if all(stray.what != SUPERVISOR for stray in find_strays(paths)):
            break
        with contextlib.suppress(InfrasimError):
            ask(paths.control_socket, "status", timeout_s=_SHOW_WAIT_S)
        time.sleep(_SHOW_POLL_S)
        state = read_state(paths.state)
    return state


def stop_all_of(paths: NodePaths) -> bool:
    """Take everything of a node down, recorded or not; False when nothing of it ran."""
    state = read_state(paths.state)
    ran = _runs(state) or bool(living(state))
    if state is not None and _runs(state):
        _stop_supervisor(paths, state.supervisor)
    _end_children(read_state(paths.state) or state)
    ran = _end_strays(paths) or ran
    ran = _remove_links(paths) or ran
    ran = _give_devices_back(paths) or ran
    _remove_traces(paths)
    return ran


def _stop_supervisor(paths: NodePaths, supervisor: Identity) -> None:
    plan = read_plan(paths.plan)
    wait_s = _STOP_WAIT_S + (plan.host.poweroff_wait_s if plan and plan.host.shuts_down else 0.0)
    try:
        # One that hangs is not worth the time a stop may take.
        ask(paths.control_socket, "status", timeout_s=_ANSWER_WAIT_S)
        ask(paths.control_socket, "stop", timeout_s=wait_s)
    except (NotRunningError, ProgramError):
        # It may end before its answer is out, or hang without a socket: the process decides.
        send_signal(supervisor, signal.SIGTERM)
    except DeadlineError:
        if not stop(supervisor, term_wait_s=_TERM_WAIT_S):
            raise
    if not wait_gone(supervisor, wait_s) and not stop(supervisor, term_wait_s=_TERM_WAIT_S):
        raise DeadlineError(f"the supervisor (pid {supervisor.pid}) does not end")


def _end_children(state: NodeState | None) -> None:
    """End what a dead supervisor left, the host first."""
    for identity in reversed(living(state)):
        _end(identity)


def _end_strays(paths: NodePaths, known: tuple[Identity, ...] = ()) -> bool:
    """End what runs of this node and is not ``known``; True if there was something."""
    for number in range(_STRAY_ROUNDS):
        strays = find_strays(paths, known)
        if not strays:
            return number > 0
        supervisors = [stray.identity for stray in strays if stray.what == SUPERVISOR]
        for supervisor in supervisors:
            _stop_supervisor(paths, supervisor)
        if not supervisors:
            for stray in strays:
                _end(stray.identity)
    return True


def _end(identity: Identity) -> None:
    if not stop(identity, term_wait_s=_TERM_WAIT_S):
        raise DeadlineError(f"pid {identity.pid} does not end, not even by SIGKILL")


def _remove_links(paths: NodePaths) -> bool:
    """Remove the network devices that a killed supervisor left; False if there were none."""
    plan = read_plan(paths.plan)
    if plan is not None and not plan.links:
        return False
    from infrasim.runtime.links import remove_left  # few nodes have any

    return remove_left(plan, paths)


def _give_devices_back(paths: NodePaths) -> bool:
    """Give back the devices that a killed supervisor had taken; False if there were none."""
    if not paths.taken_devices.exists():
        return False
    from infrasim.runtime.passthrough import give_back  # few nodes have any

    return give_back(paths)


def _remove_traces(paths: NodePaths) -> None:
    for path in (*paths.traces(), paths.state, paths.supervisor_lock):
        with contextlib.suppress(OSError):
            path.unlink()
