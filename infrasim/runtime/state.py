"""``state.json``: who runs and how the chassis stands, as the supervisor last wrote it.

Written by the supervisor alone; read by every command, which checks each process before it believes.
"""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path

from infrasim.frozen import Frozen
from infrasim.host.files import write_atomic
from infrasim.host.process import Identity
from infrasim.jsonform import as_json, from_json

_READ_TRIES = 3
_READ_AGAIN_S = 0.01

# What the supervisor is called among the processes of its node.
SUPERVISOR = "supervisor"


class ChildState(StrEnum):
    """The life of one child."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "waiting to restart"
    STOPPING = "stopping"
    FAILED = "failed"


class Phase(StrEnum):
    """The life of the node."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    STOPPED = "stopped"


class ProcessState(Frozen):
    """One supervised process; ``identity`` is None while it does not run."""

    name: str
    identity: Identity | None
    state: str
    restarts: int


class NodeState(Frozen):
    """The node as its supervisor sees it. ``identify`` is the chassis identify lamp."""

    supervisor: Identity
    phase: str
    power: bool
    boot_override: str | None
    identify: bool
    degraded: bool
    processes: tuple[ProcessState, ...]
    errors: tuple[str, ...] = ()

    def identities(self) -> tuple[Identity, ...]:
        """Every process that was recorded as running, without the supervisor."""
        return tuple(process.identity for process in self.processes if process.identity)


def write_state(path: Path, state: NodeState) -> None:
    """Replace the state file.

    Raises:
        HostError: it cannot be written.
    """
    write_atomic(path, state_text(state))


def state_text(state: NodeState) -> str:
    """What the state file holds."""
    return json.dumps(as_json(state))


def read_state(path: Path) -> NodeState | None:
    """The recorded state; None if there is none or it is damaged."""
    for tries_left in reversed(range(_READ_TRIES)):
        try:
            return from_json(NodeState, json.loads(path.read_bytes()))
        except OSError:
            return None
        except ValueError:
            if tries_left:
                # On a full disk it is written over where it is, and may have been half-way.
                time.sleep(_READ_AGAIN_S)
    return None
