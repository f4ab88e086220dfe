"""Writes a node's opening: what its next start compares and the moves it makes (see ``opening``).

The moves are what ``machine`` says of a start on which every child becomes ready; nothing is decided here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import marshal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from infrasim.bmc.rmcp import PRESENCE_PING
from infrasim.errors import HostError, InfrasimError, ProgramError, error_from_json
from infrasim.host import bare
from infrasim.host.facts import WILDCARDS
from infrasim.host.files import write_atomic
from infrasim.host.process import find_program
from infrasim.packages.catalogue import PROGRAMS
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan, PortSpec, ReadyCheck, read_plan
from infrasim.runtime import opening
from infrasim.runtime.launch import silent_end, supervisor_argv, supervisor_path
from infrasim.runtime.machine import (
    Begin,
    Event,
    NodeMachine,
    NodeUp,
    Ready,
    Report,
    Spawn,
    StartTimer,
    StopTimer,
)
from infrasim.runtime.node import port_holder, stop_all_of
from infrasim.runtime.planning import Planned, origin_digest, sources
from infrasim.runtime.workspace import LOG_MOST_BYTES, QCOW2_MAGIC

Move = tuple[object, ...]


def remember(home: Home, planned: Planned, said: str) -> None:
    """Write the opening of a node that was just started by this plan; ``said`` is what people were told.

    A node whose next start cannot be known from files alone gets none.
    """
    paths = home.node(planned.plan.name)
    moves = moves_of(planned.plan)
    # What changed since it was planned would be taken for what the plan was made from.
    same = planned.made_from == origin_digest(home, paths.name, planned.node_text)
    if moves is None or planned.warnings or "interface" in planned.node_text or not same:
        paths.opening.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        write_atomic(paths.opening, marshal.dumps(contents(home, paths, planned, moves, said)))


def contents(
    home: Home, paths: NodePaths, planned: Planned, moves: tuple[Move, ...], said: str
) -> dict[str, object]:
    """Everything ``opening`` needs, as values that marshal can hold."""
    plan = planned.plan
    bmc = plan.bmc
    return {
        "who": opening.who_asks(),
        "home": str(home.root),
        "logs": str(home.log_root),
        "name": paths.name,
        "verb_lock": str(paths.verb_lock),
        "plan_lock": str(home.plan_lock),
        "supervisor_lock": str(paths.supervisor_lock),
        "workspace": str(paths.workspace),
        "log_dir": str(paths.log_dir),
        "log": str(paths.log("supervisor")),
        "log_most_bytes": LOG_MOST_BYTES,
        "serial_log": str(paths.serial_log),
        "events": str(paths.events),
        "state": str(paths.state),
        "control": str(paths.control_socket),
        "traces": tuple(str(path) for path in (*paths.sockets(), paths.pty)),
        "node_file": (str(home.map_file(paths.name)), planned.node_text.encode()),
        "same": tuple((str(path), bare.signature(str(path))) for path in _what_stays(home, paths, plan)),
        "others": opening.other_plans(str(home.root), paths.name),
        "folders": tuple(str(path) for path in (paths.run, paths.chassis, paths.lan, paths.disks)),
        "inputs": tuple(_inputs(plan)),
        "taken": tuple(_taken(plan)),
        "bmc_files": str(paths.bmc_state / "ipmi_sim" / plan.name),
        "answers": (
            (str(paths.chassis / "power"), b"%d\n" % plan.host.power_on_at_start),
            (str(paths.chassis / "boot"), b"none\n"),
        ),
        "listen": tuple(_listener(address, bmc.port) for address in bmc.listen),
        "clock": (bmc.private_address, bmc.kcs_port),
        "power": str(plan.host.power_on_at_start).lower(),
        "moves": moves,
        "children": {
            spec.name: (spec.argv, str(spec.log), spec.ready.value, _target(spec.ready, spec.ready_target))
            for spec in plan.processes
        },
        "supervisor": tuple(supervisor_argv(paths)),
        "python_path": supervisor_path(),
        "said": said,
    }


def moves_of(plan: NodePlan) -> tuple[Move, ...] | None:
    """What the machine does on a start that goes well; None if it is more than can be done so early."""
    machine = NodeMachine.of(plan)
    events: list[Event] = [Begin()]
    moves: list[Move] = []
    while events:
        for action in machine.step(events.pop(0), 0.0):
            match action:
                case Spawn(name):
                    moves.append(("spawn", name))
                    events.append(Ready(name))
                case Report(event, details) if all(
                    isinstance(value, (str, int)) for value in details.values()
                ):
                    moves.append(("report", event, tuple(details.items())))
                case StartTimer() | StopTimer():
                    # The opening has a patience of its own; the supervisor's timers begin with it.
                    continue
                case NodeUp():
                    return tuple(moves)
                case _:
                    return None
    return None


def _what_stays(home: Home, paths: NodePaths, plan: NodePlan) -> Iterator[Path]:
    found = list(sources(home))
    yield from found
    # So that a file that is new is noticed too.
    yield from sorted({path.parent for path in found if path.is_relative_to(home.cache) is False})
    yield from (Path(program) for name in PROGRAMS if (program := find_program(name)))
    yield from (spec.path for spec in plan.files)
    yield from (paths.plan, paths.data, paths.smbios_dir, paths.scripts)


def _inputs(plan: NodePlan) -> Iterator[tuple[str, tuple[bytes, bool] | None]]:
    for disk in plan.disks:
        on_device = disk.path.is_relative_to("/dev")
        yield str(disk.path), None if on_device else (QCOW2_MAGIC, disk.format == "qcow2")
    yield from ((str(given.path), None) for given in plan.inputs)


def _taken(plan: NodePlan) -> Iterator[tuple[str, frozenset[str]]]:
    """Per table of /proc/net, the addresses nobody may have, as it spells them."""
    for protocol in ("udp", "tcp"):
        ports = [spec for spec in plan.ports if spec.protocol == protocol]
        wanted = [pair for spec in ports for pair in _clashes(spec)]
        for family, suffix in ((socket.AF_INET, ""), (socket.AF_INET6, "6")):
            yield (
                f"{protocol}{suffix}",
                frozenset(
                    f"{_spelled(family, address)}:{port:04X}"
                    for address, port in wanted
                    if (":" in address) == (family == socket.AF_INET6)
                ),
            )


def _clashes(spec: PortSpec) -> Iterator[tuple[str, int]]:
    # As facts.is_free sees it.
    for address in {*WILDCARDS, *(() if spec.address in WILDCARDS else (spec.address,))}:
        yield address, spec.port


def _spelled(family: int, address: str) -> str:
    packed = socket.inet_pton(family, address)
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))


def _listener(address: str, port: int) -> tuple[str, int, int | None, bool]:
    """As ``front`` binds: address, port, for IPv6 whether only that, and whether the port is shared."""
    version = ipaddress.ip_address(address).version
    return address, port, int(address != "::") if version == 6 else None, address in WILDCARDS


def _target(ready: ReadyCheck, target: str) -> str:
    return f"{target} {PRESENCE_PING.hex()}" if ready is ReadyCheck.RMCP_PING else target


def failure(words: list[str], said: bytes) -> InfrasimError | None:
    """The error of a start that was begun by its opening; None if it is to be tried in full.

    Nothing of the node runs then. Another home may have taken an address in between, so that another
    one is to be chosen.
    """
    name = opening.node_of(words)
    assert name is not None
    paths = Home.from_environment().node(name)
    if not said:
        return silent_end(paths)
    error = error_from_json(json.loads(said))
    plan = read_plan(paths.plan)
    again = (
        isinstance(error, (HostError, ProgramError)) and plan is not None and port_holder(plan) is not None
    )
    return None if again else error


def stop_begun(home: str, logs: str, name: str) -> None:
    """Take down what an interrupted start began."""
    stop_all_of(Home(Path(home), Path(logs)).node(name))
