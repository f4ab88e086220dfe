"""A network namespace of a test's own, with things to plug nodes into: bridges, an interface."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab import execute, wait_for

# A server that is bound does not listen at once, and a busy one takes its time.
_PATIENT = ("--retry", "--timeout=120")
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Wires:
    """One namespace. Its bridge ``br0`` has 10.77.0.1, ``far``, the other end of ``near``, has 10.77.2.1."""

    def __init__(self, suffix: str = "") -> None:
        self.name = f"isf{os.getpid()}{suffix}"
        self.root = Path(tempfile.mkdtemp(prefix="isf-net-", dir="/tmp"))
        self.env = {**os.environ, **dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"), str(self.root))}
        self._started: list[subprocess.Popen[bytes]] = []
        self._must("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "br0", "type", "bridge")
        self.ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        for name, address in {"br0": "10.77.0.1/24", "near": "", "far": "10.77.2.1/24"}.items():
            if address:
                self.ip("address", "add", address, "dev", name)
            self.ip("link", "set", name, "up")

    def ip(self, *words: str) -> str:
        """Run iproute2 in the namespace."""
        return self._must("ip", "-n", self.name, *words)

    def links(self) -> dict[str, dict[str, Any]]:
        """Its network devices, as ``ip -details link`` tells them."""
        found = json.loads(self.ip("-json", "-details", "link", "show"))
        return {link["ifname"]: link for link in found}

    def inside(self, *words: str) -> tuple[str, ...]:
        """A command line that runs there."""
        return ("ip", "netns", "exec", self.name, *words)

    def pids(self) -> list[int]:
        """Who is there, but for what this object has started."""
        own = {process.pid for process in self._started}
        return [
            pid for pid in map(int, self._must("ip", "netns", "pids", self.name).split()) if pid not in own
        ]

    def spawn(self, *words: str) -> None:
        """Start a program there that runs until the end."""
        log = (self.root / "log").open("ab")
        process = subprocess.Popen(
            self.inside(*words), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._started.append(process)

    def switch(self, bridge: str, address: str) -> None:
        """Run Open vSwitch there with a bridge; without its kernel module, as containers have none."""
        database, socket = str(self.root / "conf.db"), self.root / "db.sock"
        self._must("ovsdb-tool", "create", database, OVS_SCHEMA)
        self.spawn("ovsdb-server", database, f"--remote=punix:{socket}")
        wait_for(socket.exists, what="the database of Open vSwitch")
        self._must("ovs-vsctl", *_PATIENT, "--no-wait", "init")
        self.spawn("ovs-vswitchd", f"unix:{socket}")
        self.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        self.ip("address", "add", address, "dev", bridge)
        self.ip("link", "set", bridge, "up")

    def hears(self, protocol: str, place: str) -> bool:
        """Whether somebody there is bound to that address and port."""
        listed = execute(*self.inside("ss", "-Hln", f"--{protocol}")).out
        return any(place in line.split() for line in listed.splitlines())

    def vsctl(self, *words: str) -> str:
        """Ask or order this Open vSwitch."""
        return self._must("ovs-vsctl", *_PATIENT, *words)

    def close(self) -> None:
        """End and remove everything."""
        for process in reversed(self._started):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()
        execute("ip", "netns", "delete", self.name)
        shutil.rmtree(self.root, ignore_errors=True)

    def _must(self, *words: str) -> str:
        ran = execute(*words, env=self.env)
        assert ran.code == 0, f"{' '.join(words)}: exit {ran.code}\n{ran.out}{ran.err}"
        return ran.out


@contextmanager
def wires(suffix: str = "") -> Iterator[Wires]:
    """A namespace that is gone in the end, with all that is in it."""
    made = Wires(suffix)
    try:
        yield made
    finally:
        made.close()
