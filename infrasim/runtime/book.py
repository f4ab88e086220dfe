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
from collections.abc import Iterator, Mapping
from pathlib import Path

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.boot import VALID
from infrasim.bmc_core.chassis import RestorePolicy
from infrasim.bmc_core.clock import SET_TIME_COMMANDS
from infrasim.bmc_core.codes import NetFn
from infrasim.errors import HostError, InfrasimError, ProgramError, error_from_json
from infrasim.host import bare
from infrasim.host.facts import WILDCARDS, Socket
from infrasim.host.files import write_atomic
from infrasim.host.image_format import QCOW2_MAGIC
from infrasim.host.process import find_program
from infrasim.host.reservation import reservation_name
from infrasim.jsonform import from_json
from infrasim.packages.catalogue import PROGRAMS
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import QEMU, NodePlan, PortSpec, read_plan
from infrasim.runtime import opening
from infrasim.runtime.images import image_faults
from infrasim.runtime.launch import silent_end, supervisor_argv, supervisor_path
from infrasim.runtime.machine import (
    Begin,
    Event,
    HostWaits,
    LetHostGo,
    NodeMachine,
    NodeUp,
    Ready,
    Report,
    Spawn,
    StartTimer,
    StopTimer,
)
from infrasim.runtime.node import lost_an_address, stop_all_of
from infrasim.runtime.planning import Planned, includes_are_as_they_were, origin_digest, sources
from infrasim.runtime.workspace import LOG_MOST_BYTES

Move = tuple[object, ...]


def remember(home: Home, planned: Planned, said: str) -> None:
    """Write the opening of a node that was just started by this plan; ``said`` is what people were told.

    A node whose next start cannot be known from files alone gets none.
    """
    paths = home.node(planned.plan.name)
    moves = {power: moves_of(planned.plan, power=power) for power in (True, False)}
    # What changed since it was planned would be taken for what the plan was made from.
    same = planned.made_from == origin_digest(
        home,
        paths.name,
        planned.node_text,
        included=planned.included,
        settings=planned.settings,
        qemu=planned.qemu,
    )
    # An opening is for a start without settings.
    certain = not (planned.warnings or planned.names_interface or planned.settings)
    # It takes no devices, makes none, pulls no cable, and stays in the namespace of the command.
    plan = planned.plan
    certain = certain and not plan.passthrough
    certain = certain and not plan.links and not plan.host.unplugged and plan.namespace is None
    # Python takes longer to be ready than all that an opening spares.
    certain = certain and plan.racadm is None
    # It pins no threads.
    certain = certain and plan.host.binding is None
    if None in moves.values() or not certain or not same or not includes_are_as_they_were(planned.included):
        paths.opening.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        write_atomic(paths.opening, marshal.dumps(contents(home, paths, planned, moves, said)))


def contents(
    home: Home, paths: NodePaths, planned: Planned, moves: Mapping[bool, tuple[Move, ...] | None], said: str
) -> dict[str, object]:
    """Everything ``opening`` needs, as values that marshal can hold."""
    plan = planned.plan
    bmc = plan.bmc
    settings = from_json(CoreSettings, json.loads(paths.bmc_settings.read_bytes()))
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
        "traces": tuple(map(str, paths.traces())),
        "node_file": (str(home.map_file(paths.name)), planned.node_text.encode()),
        "same": tuple((str(path), bare.signature(str(path))) for path in _what_stays(home, paths, planned)),
        "others": opening.other_plans(str(home.root), paths.name),
        "folders": tuple(str(path) for path in (paths.run, paths.disks, *plan.folders)),
        "aliases": tuple((str(alias.path), str(alias.target)) for alias in plan.aliases),
        "inputs": tuple(_inputs(plan)),
        "taken": tuple(_taken(plan)),
        "reservations": tuple(_reservations(plan)),
        "bmc_files": str(paths.bmc_state / "ipmi_sim" / plan.name),
        "bmc_state": str(paths.core_state),
        "boot_flags_valid": VALID,
        "power_at_ac": {
            (policy, was_on): _policy(policy, settings).gives_power(was_on=was_on)
            for policy in (None, *(int(each) for each in RestorePolicy))
            for was_on in (False, True)
        },
        "clock_commands": tuple((NetFn.STORAGE << 2, command) for command in SET_TIME_COMMANDS),
        "system_interface": str(paths.kcs_socket),
        "listen": tuple(_listener(address, bmc.port) for address in bmc.listen),
        "moves": dict(moves),
        "children": {
            spec.name: (spec.argv, str(spec.log), spec.ready.value, spec.ready_target)
            for spec in plan.processes
        },
        "supervisor": tuple(supervisor_argv(paths)),
        "python_path": supervisor_path(),
        "said": said,
    }


def moves_of(plan: NodePlan, *, power: bool) -> tuple[Move, ...] | None:
    """What the machine does on a start that goes well; None if it is more than can be done so early."""
    machine = NodeMachine.of(plan)
    events: list[Event] = [Begin(power)]
    moves: list[Move] = []
    while events:
        event = events.pop(0)
        if isinstance(event, Ready):
            moves.append(("await", event.name))
        for action in machine.step(event, 0.0):
            match action:
                case Spawn(name):
                    moves.append(("spawn", name))
                    events.append(HostWaits() if name == QEMU else Ready(name))
                case LetHostGo():
                    # To wait for it is to let it go.
                    events.append(Ready(QEMU))
                case Report(what, details) if all(
                    isinstance(value, (str, int)) for value in details.values()
                ):
                    moves.append(("report", what, tuple(details.items())))
                case StartTimer() | StopTimer():
                    # The opening has a patience of its own; the supervisor's timers begin with it.
                    continue
                case NodeUp():
                    return tuple(moves)
                case _:
                    return None
    return None


def _policy(number: int | None, settings: CoreSettings) -> RestorePolicy:
    """The restore policy that the BMC's kept state names."""
    if number is None:
        return RestorePolicy.of_node_file(power_on_at_start=settings.power_on_at_start)
    return RestorePolicy(number)


def _what_stays(home: Home, paths: NodePaths, planned: Planned) -> Iterator[Path]:
    found = list(sources(home, planned.qemu))
    yield from found
    # So that a file that is new is noticed too.
    yield from sorted({path.parent for path in found if path.is_relative_to(home.cache) is False})
    yield from (Path(program) for name in PROGRAMS if (program := find_program(name)))
    yield from dict.fromkeys(Path(spec.argv[0]) for spec in planned.plan.processes)
    yield from map(Path, planned.included)
    yield from (spec.path for spec in planned.plan.files)
    # An overlay holds what differs from this image, as it was.
    yield from dict.fromkeys(disk.backing for disk in planned.plan.disks if disk.backing is not None)
    yield from (paths.plan, paths.data, paths.smbios_dir, paths.log_owner)


def _inputs(plan: NodePlan) -> Iterator[tuple[str, tuple[bytes, bool] | None]]:
    for disk in plan.disks:
        on_device = disk.path.is_relative_to("/dev")
        yield str(disk.path), None if on_device else (QCOW2_MAGIC, disk.format == "qcow2")
    yield from ((str(given.path), None) for given in plan.inputs)
    yield from ((str(kept.path), None) for kept in plan.copies)


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


def _reservations(plan: NodePlan) -> Iterator[bytes]:
    """Ends of the lines of /proc/net/unix that nobody may have."""
    for spec in plan.ports:
        yield f" @{reservation_name(spec.protocol, Socket(spec.address, spec.port))}\n".encode()


def _clashes(spec: PortSpec) -> Iterator[tuple[str, int]]:
    # As facts.is_free sees it.
    for address in {*WILDCARDS, *(() if spec.address in WILDCARDS else (spec.address,))}:
        yield address, spec.port


def _spelled(family: int, address: str) -> str:
    packed = socket.inet_pton(family, address)
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))


def _listener(address: str, port: int) -> tuple[str, int, int | None]:
    """As ``bmc.lan`` binds: address, port, for IPv6 whether only that."""
    version = ipaddress.ip_address(address).version
    return address, port, int(address != "::") if version == 6 else None


def failure(words: list[str], said: bytes) -> InfrasimError | None:
    """The error of a start that was begun by its opening; None if it is to be tried in full.

    Nothing of the node runs then. Another home may have taken an address in between, so that another
    one is to be chosen. Of an image that somebody has in use the full start can say who that is.
    """
    name = opening.node_of(words)
    assert name is not None
    paths = Home.from_environment().node(name)
    if not said:
        return silent_end(paths)
    error = error_from_json(json.loads(said))
    plan = read_plan(paths.plan)
    if plan is None or not isinstance(error, (HostError, ProgramError)):
        return error
    again = lost_an_address(error, plan) or any(fault for _, fault in image_faults(plan, paths))
    return None if again else error


def stop_begun(home: str, logs: str, name: str) -> None:
    """Take down what an interrupted start began."""
    stop_all_of(Home(Path(home), Path(logs)).node(name))
