"""How long start, status and stop take, beside the bare programs and a bare Python."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_lab import Lab, interleaved, node, runs_wanted, show_ratio, timed

RMCP_PING = bytes.fromhex("0600ff06000011be80000000")
POLL_S = 0.001


def main() -> None:
    """Measure and print."""
    runs = runs_wanted()
    with node() as scratch:
        plan = json.loads((scratch.home / "n" / "plan.json").read_text())
        ours, bare = interleaved(runs, lambda: infrasim_start(scratch), lambda: bare_start(scratch, plan))
        show_ratio("node start / the same programs bare (ms)", ours, bare, 1.5)
        scratch.must("node", "start", "n")
        click = [sys.executable, "-c", "import click"]
        ours, bare = interleaved(
            runs,
            lambda: timed(lambda: scratch.infrasim("node", "status", "n")),
            lambda: timed(lambda: subprocess.run(click, check=True)),
        )
        show_ratio("node status / python3 -c 'import click' (ms)", ours, bare, 2.0)
        stops = [stop_time(scratch) for _ in range(runs)]
        show_ratio("node stop of a host with no OS / one second (ms)", stops, [1.0], 1.0)


def infrasim_start(scratch: Lab) -> float:
    """Seconds of ``node start``; the stop is not counted."""
    seconds = timed(lambda: scratch.must("node", "start", "n"))
    scratch.must("node", "stop", "n")
    return seconds


def stop_time(scratch: Lab) -> float:
    """Seconds of ``node stop``; the start is not counted."""
    scratch.must("node", "start", "n")
    return timed(lambda: scratch.must("node", "stop", "n"))


def bare_start(scratch: Lab, plan: dict[str, Any]) -> float:
    """Seconds until socat, ipmi_sim and QEMU are ready when nothing but their argv is given."""
    specs = {spec["name"]: spec for spec in plan["processes"]}
    children: list[subprocess.Popen[bytes]] = []
    begin = time.monotonic()
    try:
        for name, ready in (("socat", link_exists), ("ipmi_sim", rmcp_answers), ("qemu", qmp_greets)):
            spec = specs[name]
            children.append(
                subprocess.Popen(
                    spec["argv"],
                    cwd=scratch.home / "n",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            while not ready(spec["ready_target"]):
                time.sleep(POLL_S)
        return time.monotonic() - begin
    finally:
        for child in reversed(children):
            child.terminate()
        for child in children:
            child.wait()
        for name in ("socat", "qemu"):
            Path(specs[name]["ready_target"]).unlink(missing_ok=True)
        (scratch.home / "n" / "run" / "serial.sock").unlink(missing_ok=True)


def link_exists(target: str) -> bool:
    """socat's terminal is there."""
    return Path(target).exists()


def rmcp_answers(target: str) -> bool:
    """ipmi_sim answers a ping."""
    address, port = target.split()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.02)
        try:
            probe.connect((address, int(port)))
            probe.send(RMCP_PING)
            return bool(probe.recv(64))
        except OSError:
            return False


def qmp_greets(target: str) -> bool:
    """QEMU's monitor greets."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(target)
            return b"QMP" in probe.recv(1024)
        except OSError:
            return False


if __name__ == "__main__":
    main()
