"""``state.json``: who runs and how the chassis stands, as the supervisor last wrote it.

Written by the supervisor alone; read by every command, which checks each process before it believes.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from infrasim.host.files import write_atomic
from infrasim.host.process import Identity


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


@dataclass(frozen=True)
class ProcessState:
    """One supervised process; ``identity`` is None while it does not run."""

    name: str
    identity: Identity | None
    state: str
    restarts: int


@dataclass(frozen=True)
class NodeState:
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
    return json.dumps(dataclasses.asdict(state))


def read_state(path: Path) -> NodeState | None:
    """The recorded state; None if there is none or it is damaged."""
    try:
        data = json.loads(path.read_bytes())
        return NodeState(
            **{
                **data,
                "supervisor": Identity(**data["supervisor"]),
                "processes": tuple(_process(entry) for entry in data["processes"]),
                "errors": tuple(data["errors"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _process(entry: dict[str, Any]) -> ProcessState:
    identity = Identity(**entry["identity"]) if entry["identity"] else None
    return ProcessState(entry["name"], identity, entry["state"], entry["restarts"])
