"""The machine of a node on the real QEMU, paused and alone: what it is made of, in a fraction of a second.

Nothing boots and no node starts: a plan's files and disks are written, its QEMU is started as the plan says,
and QMP tells what came of it. What the host would connect to (serial line, BMC) may be missing.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import NODE, Lab, wait_for

from infrasim.paths import Home
from infrasim.plan.model import IPMI_SIM, QEMU, SOCAT, NodePlan
from infrasim.runtime.planning import plan
from infrasim.runtime.workspace import write_workspace

_PATIENCE_S = 180.0
_PERIPHERAL = "/machine/peripheral/"
_DEVICE = re.compile(r'(?P<indent> *)dev: (?P<driver>[^,]+), id "(?P<id>[^"]*)"')
_PROPERTY = re.compile(r" *(?P<name>[\w.\[\]-]+) = (?P<value>.*)")
_BUS = re.compile(r"(?P<indent> *)bus: (?P<bus>\S+)")


@dataclass
class Device:
    """A device as ``info qtree`` shows it: the bus it sits on and what it was given."""

    driver: str
    id: str
    bus: str
    properties: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        """A property as the monitor spells it, without quotes: ``0x5000c500``, ``true``, ``12``."""
        return self.properties[name]


class Monitor:
    """A client of QMP."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rw", encoding="utf-8")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns to a command, which it must not refuse."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        while True:
            said = json.loads(self._lines.readline())
            if "event" not in said:
                assert "return" in said, f"{command}: {said}"
                return said["return"]


class Machine(Monitor):
    """A QEMU whose machine is made and waits."""

    def __init__(self, decided: NodePlan, connection: socket.socket) -> None:
        super().__init__(connection)
        self.plan = decided

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line it was started with."""
        return self.plan.process(QEMU).argv

    def monitor(self, line: str) -> str:
        """What the monitor for people says."""
        return str(self.ask("human-monitor-command", **{"command-line": line})).replace("\r", "")

    def devices(self) -> dict[str, Device]:
        """Every device that has an id, by it."""
        return parse_qtree(self.monitor("info qtree"))

    def blocks(self) -> dict[str, dict[str, Any]]:
        """What ``query-block`` says, by the id of the device that has the drive; without flash."""
        found = {str(entry.get("qdev")): entry for entry in self.ask("query-block")}
        return {
            place.removeprefix(_PERIPHERAL).partition("/")[0]: entry
            for place, entry in found.items()
            if place.startswith(_PERIPHERAL) or "/" not in place
        }

    def pci(self) -> dict[str, dict[str, Any]]:
        """What ``query-pci`` says of every PCI device with an id, those behind bridges too, by id."""
        return {entry["qdev_id"]: entry for bus in self.ask("query-pci") for entry in _below(bus)}

    def chardevs(self) -> dict[str, str]:
        """Every character device and what it is connected to."""
        return {entry["label"]: entry["filename"] for entry in self.ask("query-chardev")}

    def qom(self, path: str, name: str) -> Any:
        """A property of an object, such as of ``/machine/peripheral/nic0``."""
        return self.ask("qom-get", path=path, property=name)

    def qom_names(self, path: str) -> dict[str, str]:
        """The properties and children of an object with their types."""
        return {entry["name"]: entry["type"] for entry in self.ask("qom-list", path=path)}


def parse_qtree(text: str) -> dict[str, Device]:
    """The devices with an id in what ``info qtree`` prints."""
    found: dict[str, Device] = {}
    device: Device | None = None
    buses: list[tuple[int, str]] = []
    for line in text.splitlines():
        if bus := _BUS.match(line):
            buses = [(indent, name) for indent, name in buses if indent < len(bus["indent"])]
            buses.append((len(bus["indent"]), bus["bus"]))
            device = None
        elif match := _DEVICE.match(line):
            place = [name for indent, name in buses if indent < len(match["indent"])]
            device = Device(match["driver"], match["id"], place[-1] if place else "")
            if device.id:
                found[device.id] = device
        elif device is not None and (match := _PROPERTY.match(line)):
            device.properties[match["name"]] = match["value"].strip('"')
    return found


def _below(bus: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in bus["devices"]:
        if entry.get("qdev_id"):
            yield entry
        yield from _below(entry.get("pci_bridge", {"devices": []}))


@contextlib.contextmanager
def paused(home: Lab, name: str = NODE, /, **settings: Any) -> Iterator[Machine]:
    """The machine of a node with those settings, as ``Lab.node_file`` takes them.

    Processes that the host needs beside it, such as a TPM, are started too.
    """
    # To find out whether KVM works takes longer than all the rest, and changes nothing here.
    settings["compute"] = {"kvm_enabled": False, **settings.get("compute", {})}
    rooted = Home(home.home, home.logs)
    rooted.node_map.mkdir(parents=True, exist_ok=True)
    shutil.copy(home.node_file(name, **settings), rooted.map_file(name))
    planned = plan(rooted, name)
    paths = rooted.node(name)
    write_workspace(planned, paths)
    decided = planned.plan
    with contextlib.ExitStack() as running, tempfile.TemporaryFile() as said:
        for alias in decided.aliases:
            running.callback(alias.path.unlink)

        def start(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            running.callback(process.wait)
            running.callback(process.kill)
            return process

        for spec in decided.processes:
            if spec.name not in (SOCAT, IPMI_SIM, QEMU):
                target = Path(spec.ready_target)
                # What is there is of one that was killed.
                target.unlink(missing_ok=True)
                start(spec.argv)
                wait_for(target.exists, timeout_s=_PATIENCE_S, what=f"{spec.name} is ready")
        argv = list(decided.process(QEMU).argv)
        # Nobody looks at its screen, and another process may have taken the port since the plan was made.
        argv[argv.index("-vnc") + 1] = "none"
        host = start(tuple(argv))
        monitor = running.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        monitor.settimeout(_PATIENCE_S)

        def ended() -> AssertionError:
            said.seek(0)
            words = "\n  ".join(argv)
            return AssertionError(f"QEMU ended: {said.read().decode()}\n  {words}")

        def greets() -> bool:
            if host.poll() is not None:
                raise ended()
            try:
                monitor.connect(str(paths.qmp_socket))
            except OSError:
                return False
            return True

        wait_for(greets, timeout_s=_PATIENCE_S, what="QEMU's monitor")
        try:
            machine = Machine(decided, monitor)
        except (OSError, ValueError) as exc:
            # It greets before it has made its machine.
            host.wait(_PATIENCE_S)
            raise ended() from exc
        yield machine
    paths.qmp_socket.unlink(missing_ok=True)
