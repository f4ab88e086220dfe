"""How long start, status and stop take, beside the bare programs and a bare Python.

The bare programs are started one after the other, each when the one before passes its ready check; QEMU's is
its greeting. The row "floor" is what a start can come to at best in Python: an interpreter that imports
nothing does the same spawns and checks, QEMU beside ipmi_sim, and waits, as a start does, until QEMU has made
its machine and is let go.

A start by an opening returns before its supervisor has imported itself. Who asks the BMC at once is answered
only then, so this is measured too.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_lab import Lab, interleaved, node, runs_wanted, show_ratio, timed

# Get Device ID on ipmi_sim's VM channel. Source: OpenIPMI lanserv/README.vm.
DEVICE_ID = bytes.fromhex("011801e6a0")
ANSWER_ENDS = b"\xa0"
# Source: IPMI 2.0 section 13.2.3.
PRESENCE_PING = bytes.fromhex("0600ff06000011be80000000")
POLL_S = 0.001


def main() -> None:
    """Measure and print."""
    runs = runs_wanted()
    with node() as scratch:
        plan = json.loads((scratch.home / "n" / "plan.json").read_text())
        ours, bare, floor = interleaved(
            runs,
            lambda: infrasim_start(scratch),
            lambda: bare_start(scratch, plan),
            lambda: floor_start(scratch, plan),
        )
        show_ratio("node start / the same programs bare (ms)", ours, bare, 1.5)
        show_ratio("floor: a bare Python that does the same / bare (ms)", floor, bare, None)
        wait, imports = interleaved(
            runs,
            lambda: first_answer(scratch),
            lambda: timed(lambda: subprocess.run([sys.executable, "-c", SUPERVISOR], check=True)),
        )
        show_ratio("first answer after a start / importing a supervisor (ms)", wait, imports, None)
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


def first_answer(scratch: Lab) -> float:
    """Seconds from the end of a start until the BMC has answered a ping; the stop is not counted."""
    scratch.must("node", "start", "n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(30)
        probe.connect((scratch.address, 623))
        probe.send(PRESENCE_PING)
        seconds = timed(lambda: probe.recv(256))
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
        for name, ready in (("socat", link_exists), ("ipmi_sim", channel_answers), ("qemu", qmp_greets)):
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


def floor_start(scratch: Lab, plan: dict[str, Any]) -> float:
    """Seconds until a Python that imports next to nothing has started the same and let the host go."""
    specs = {spec["name"]: spec for spec in plan["processes"]}
    run = scratch.home / "n" / "run"
    words = [sys.executable, "-c", FLOOR, str(scratch.home / "n")]
    for name in ("socat", "ipmi_sim", "qemu"):
        words += [str(len(specs[name]["argv"])), specs[name]["ready_target"], *specs[name]["argv"]]
    seconds = 0.0
    begin = time.monotonic()
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        seconds = time.monotonic() - begin
        program.communicate(timeout=30)
    for path in (specs["socat"]["ready_target"], specs["qemu"]["ready_target"], run / "serial.sock"):
        Path(path).unlink(missing_ok=True)
    return seconds


SUPERVISOR = "import gc; gc.disable(); import infrasim.runtime.supervising"

# Without the BMC's clock, the comparing, the locks and the records of a start.
FLOOR = r"""
import _socket, os, sys, time
os.chdir(sys.argv[1])
words, pids = sys.argv[2:], []
null = os.open(os.devnull, os.O_RDWR)
def ready(index, target):
    if index == 0:
        return os.path.exists(target)
    try:
        if index == 1:
            probe = _socket.socket(_socket.AF_INET)
            address, port = target.split()
            probe.connect((address, int(port)))
            probe.send(bytes.fromhex("011801e6a0"))
            while b"\xa0" not in probe.recv(256):
                pass
            return True
        probe = _socket.socket(_socket.AF_UNIX)
        probe.connect(target)
        probe.recv(4096)
        for command in (b"qmp_capabilities", b"cont"):
            probe.send(b'{"execute": "%s"}\n' % command)
            while b"return" not in probe.recv(4096):
                pass
        return True
    except OSError:
        return False
def wait(index):
    while not ready(index, targets[index]):
        time.sleep(0.0003)
targets = []
for index in range(3):
    count, target = int(words[0]), words[1]
    argv, words = words[2 : 2 + count], words[2 + count :]
    targets.append(target)
    streams = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
    pids.append(os.posix_spawn(argv[0], argv, os.environ, file_actions=streams, setsid=True))
    if index == 0:
        wait(0)
wait(1)
wait(2)
os.write(1, b"ready\n")
sys.stdin.read()
for pid in reversed(pids):
    os.kill(pid, 15)
    os.waitpid(pid, 0)
"""


def link_exists(target: str) -> bool:
    """socat's terminal is there."""
    return Path(target).exists()


def channel_answers(target: str) -> bool:
    """ipmi_sim answers on its VM channel."""
    address, port = target.split()
    with socket.socket(socket.AF_INET) as probe:
        probe.settimeout(5)
        try:
            probe.connect((address, int(port)))
            probe.send(DEVICE_ID)
            while heard := probe.recv(256):
                if ANSWER_ENDS in heard:
                    return True
        except OSError:
            return False
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
