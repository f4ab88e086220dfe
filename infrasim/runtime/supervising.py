"""What a supervisor's process does: see ``daemon``, which imports this and runs ``main``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import socket
import sys
from pathlib import Path

from infrasim.errors import HostError, InfrasimError
from infrasim.host.files import hold_lock, release_lock
from infrasim.host.namespace import enter
from infrasim.host.process import adopt_orphans, alive, raise_descriptor_limit
from infrasim.paths import NodePaths
from infrasim.plan.model import NodePlan, require_plan
from infrasim.runtime.launch import GO, call_again
from infrasim.runtime.state import NodeState, read_state
from infrasim.runtime.supervisor import Begun, Supervisor


def main(arguments: list[str]) -> int:
    """Become the supervisor and return its exit code."""
    name, workspace, log_dir, mode, *rest = arguments
    paths = NodePaths(name, Path(workspace), Path(log_dir))
    if mode == "foreground":
        return _supervise_in_foreground(paths, int(rest[0]), rest[1:])
    if mode == "anew":
        return _supervise(paths, notify=int(rest[0]))
    if mode == "go-on":
        lock, *descriptors = (int(descriptor) for descriptor in rest)
        control, system_interface, *listeners = (_inherited(each) for each in descriptors)
        begun = Begun(control, system_interface, tuple(listeners))
        return _supervise_under(paths, lock, notify=None, begun=begun)
    notify = int(rest[0])
    if sys.stdin.readline() != GO:
        return 0  # the command changed its mind
    with _detached(paths, notify):
        return _supervise(paths, notify=notify)


def _detached(paths: NodePaths, notify: int) -> contextlib.AbstractContextManager[object]:
    import daemon  # type: ignore[import-untyped]  # the library has no type hints

    log = paths.log("supervisor").open("a", encoding="utf-8")
    context: contextlib.AbstractContextManager[object] = daemon.DaemonContext(
        working_directory=str(paths.workspace),
        umask=0o077,
        files_preserve=[notify],
        stdout=log,
        stderr=log,
        signal_map={},
        detach_process=True,
    )
    return context


def _supervise_in_foreground(paths: NodePaths, tries_left: int, command: list[str]) -> int:
    """As ``_supervise``; another address is chosen if another home took one after this was planned."""
    try:
        return _supervise(paths, notify=None, lost=_LostAddress if tries_left > 0 else None)
    except _LostAddress:
        call_again(tries_left, command)


class _LostAddress(Exception):
    """Somebody took an address that was free when it was planned. Nothing was begun."""


def _supervise(paths: NodePaths, *, notify: int | None, lost: type[_LostAddress] | None = None) -> int:
    lock = hold_lock(paths.supervisor_lock)
    if lock is None:
        error = HostError(f"node {paths.name} has a supervisor already")
        _tell(notify, error)
        return int(error.exit_code)
    return _supervise_under(paths, lock, notify=notify, begun=None, lost=lost)


def _inherited(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _supervise_under(
    paths: NodePaths,
    lock: int,
    *,
    notify: int | None,
    begun: Begun | None,
    lost: type[_LostAddress] | None = None,
) -> int:
    os.set_inheritable(lock, False)
    adopt_orphans()
    raise_descriptor_limit()
    try:
        plan = require_plan(paths.plan)
        if plan.namespace is not None:
            enter(plan.namespace)
        # A child of our own that has ended already is still there to tell how.
        left = read_state(paths.state) if begun else left_running(plan, paths)
        is_there = left is not None
        with _devices(plan, paths, are_there=is_there), _links(plan, paths, are_there=is_there):
            return asyncio.run(_run(plan, left, paths, notify, begun))
    except InfrasimError as exc:
        if lost and isinstance(exc, HostError) and os.strerror(errno.EADDRINUSE) in exc.message:
            raise lost from exc
        _tell(notify, exc)
        return int(exc.exit_code)
    finally:
        release_lock(paths.supervisor_lock, lock)


def _links(plan: NodePlan, paths: NodePaths, *, are_there: bool) -> contextlib.AbstractContextManager[None]:
    if not plan.links:
        return contextlib.nullcontext()
    from infrasim.runtime.links import links_of  # few nodes have any

    return links_of(plan, paths, are_there=are_there)


def _devices(plan: NodePlan, paths: NodePaths, *, are_there: bool) -> contextlib.AbstractContextManager[None]:
    if not plan.passthrough:
        return contextlib.nullcontext()
    from infrasim.runtime.passthrough import devices_of  # few nodes have any

    return devices_of(plan, paths, are_there=are_there)


async def _run(
    plan: NodePlan, left: NodeState | None, paths: NodePaths, notify: int | None, begun: Begun | None
) -> int:
    supervisor = Supervisor(plan, paths)
    try:
        await supervisor.start(left, begun)
        # A start that was completed before is not judged again.
        error = None if begun else await asyncio.shield(supervisor.outcome)
        if error is None and not begun:
            _tell(notify, None)
        await supervisor.finished.wait()
    finally:
        await supervisor.close()
    if error is not None:
        _tell(notify, error)
        return int(error.exit_code)
    return 0


def left_running(plan: NodePlan, paths: NodePaths) -> NodeState | None:
    """What an earlier supervisor of this plan left, with only the children that still run."""
    state = read_state(paths.state)
    if state is None:
        return None
    known = {spec.name for spec in plan.processes}
    children = tuple(
        process
        for process in state.processes
        if process.identity and process.name in known and alive(process.identity)
    )
    return dataclasses.replace(state, processes=children) if children else None


def _tell(notify: int | None, error: InfrasimError | None) -> None:
    """Report how the start went, once: to the command that waits, or to people."""
    if notify is None:
        if error is None:
            print("ready", flush=True)  # noqa: T201 - the foreground's readiness line
        else:
            print(f"infrasim: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        return
    outcome = {"ok": True} if error is None else {"ok": False, **error.as_json()}
    with contextlib.suppress(OSError):
        os.write(notify, json.dumps(outcome).encode() + b"\n")
        os.close(notify)
