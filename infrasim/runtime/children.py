"""The supervisor's children: start, adopt, watch and signal them, and check that they are ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infrasim.errors import HostError
from infrasim.host.process import Identity, OwnChild, identify, spawn
from infrasim.plan.model import ProcessSpec, ReadyCheck

if TYPE_CHECKING:
    from infrasim.host.process import Spawned

_POLL_S = 0.003


class Children:
    """Every child by name. ``on_exit(name, code)`` is called once for each that ends; an adopted
    child's code is None, because only a parent is told.
    """

    def __init__(self, cwd: Path, on_exit: Callable[[str, int | None], None]) -> None:
        self._cwd = cwd
        self._on_exit = on_exit
        self._own: dict[str, Spawned | OwnChild] = {}
        self._identities: dict[str, Identity] = {}
        self._descriptors: dict[str, int] = {}

    def identity(self, name: str) -> Identity | None:
        """Who the child is; None while it does not run."""
        return self._identities.get(name)

    def start(self, spec: ProcessSpec) -> None:
        """Start a child.

        Raises:
            HostError: its program cannot be started, or there is no descriptor left to watch it.
        """
        child = _spawn(spec, self._cwd)
        # Not reaped yet, so the pid is surely its own, even if it has ended already.
        identity = identify(child.pid) or Identity(child.pid, 0, "")
        try:
            self._watch(spec.name, identity)
        except OSError as exc:
            child.kill()
            child.wait()
            raise HostError(f"cannot watch {spec.name}: {exc.strerror}") from exc
        self._own[spec.name] = child

    def adopt(self, name: str, identity: Identity, *, own: bool = False) -> None:
        """Watch a child that an earlier supervisor started; ``own``: this process did, before it was one."""
        if own:
            self._own[name] = OwnChild(identity.pid)
        self._watch(name, identity)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a child and what it forked, if it still runs.

        Each child leads a session of its own; socat forks for each connection.
        """
        identity = self._identities.get(name)
        if identity is None:
            return
        # Through the descriptor that watches it: that is surely its own, and no other may be left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._descriptors[name], number)
            os.killpg(identity.pid, number)

    def let_go(self) -> None:
        """Stop watching everything; nobody is signalled."""
        for name in list(self._descriptors):
            self._unwatch(name)

    def _watch(self, name: str, identity: Identity) -> None:
        descriptor = os.pidfd_open(identity.pid)
        self._identities[name] = identity
        self._descriptors[name] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._ended, name)

    def _unwatch(self, name: str) -> None:
        descriptor = self._descriptors.pop(name)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)

    def _ended(self, name: str) -> None:
        self._unwatch(name)
        identity = self._identities.pop(name)
        own = self._own.pop(name, None)
        code = own.wait() if own else None
        _end_group(identity.pid)
        self._on_exit(name, code)


def _spawn(spec: ProcessSpec, cwd: Path) -> Spawned:
    """Start a child with all that it is to find open."""
    numbers = [each.number for each in spec.descriptors]
    with contextlib.ExitStack() as opened:
        for each in spec.descriptors:
            from infrasim.host.links import open_macvtap  # few nodes have any

            open_macvtap(each.macvtap, each.number)
            opened.callback(os.close, each.number)
        return spawn(spec.argv, output=spec.log, cwd=cwd, keep_open=numbers)


def _end_group(leader: int) -> None:
    """End and reap what a dead child forked; as its subreaper we are those processes' parent now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-leader, 0)


async def wait_ready(spec: ProcessSpec) -> None:
    """Wait until a child that needs no conversation is ready; the caller bounds the wait."""
    match spec.ready:
        case ReadyCheck.LINK:
            target = Path(spec.ready_target)
            while not target.exists():
                await asyncio.sleep(_POLL_S)
        case ReadyCheck.VM_CHANNEL | ReadyCheck.QMP_GREETING:
            raise AssertionError("whoever talks to it checks that")
