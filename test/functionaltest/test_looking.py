"""The commands that only show: list, info, plan, logs, version, doctor, and the screen."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

from lab import NODE, Lab


def test_status_json_is_the_documented_object(running: Lab) -> None:
    status = running.status()
    assert list(status) == [
        *("name", "type", "state", "bmc", "vnc", "racadm", "host", "processes"),
        *("workspace", "log_dir", "errors"),
    ]
    assert status["type"] == "quanta_d51"
    assert status["vnc"]["address"] == "127.0.0.1"
    assert {"power", "accelerator", "boot_override"} <= set(status["host"])
    assert all(list(entry) == ["name", "pid", "state", "restarts"] for entry in status["processes"])
    assert status["workspace"] == str(running.home / NODE)
    assert status["log_dir"] == str(running.logs / NODE)
    assert status["errors"] == []


def test_list_for_people_and_for_programs(running: Lab) -> None:
    lines = running.must("node", "list").splitlines()
    assert lines[0].split() == ["NODE", "TYPE", "STATE", "POWER", "BMC", "VNC"]
    assert lines[1].split()[:4] == [NODE, "quanta_d51", "running", "on"]
    assert json.loads(running.must("node", "list", "--json")) == [running.status()]


def test_plan_of_a_running_node_is_the_plan_it_runs(running: Lab) -> None:
    planned = json.loads(running.must("node", "plan", NODE, "--json"))
    kept = json.loads((running.home / NODE / "plan.json").read_text())
    assert {key: kept[key] for key in planned} == planned
    qemu = next(process for process in planned["processes"] if process["name"] == "qemu")
    running_argv = Path(f"/proc/{running.pid('qemu')}/cmdline").read_text().split("\0")[:-1]
    assert running_argv == qemu["argv"]


def test_plan_touches_nothing(scratch: Lab) -> None:
    scratch.register()
    before = scratch.names_on_disk()
    said = scratch.must("node", "plan", NODE)
    for heading in ("Files", "Disks", "Ports", "Processes"):
        assert f"\n{heading}\n" in said
    assert scratch.names_on_disk() == before
    assert sorted(path.name for path in scratch.home.iterdir()) in ([".cache", ".node_map"], [".node_map"])


def test_info_before_and_after_the_first_start(scratch: Lab) -> None:
    scratch.register()
    before = json.loads(scratch.must("node", "info", NODE, "--json"))
    scratch.must("node", "start", NODE)
    after = json.loads(scratch.must("node", "info", NODE, "--json"))
    for key in ("product", "serial_number", "uuid"):
        assert before[key] == after[key]
    assert after["serial_number"] in scratch.must("node", "info", NODE)


def test_logs_by_name_and_followed(running: Lab) -> None:
    assert '"event": "node-up"' in running.must("node", "logs", NODE, "events")
    assert "events     | " in running.must("node", "logs", NODE)
    ran = running.infrasim("node", "logs", NODE, "nolog")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "infrasim: there is no log 'nolog'")
    assert running.must("node", "logs", NODE, "events", "-n", "0") == ""
    words = [sys.executable, "-m", "infrasim", "node", "logs", NODE, "events", "-f", "-n", "1"]
    with subprocess.Popen(words, env=running.env, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        try:
            # It shows what was before once it knows from where on it follows.
            assert "node-up" in follower.stdout.readline()
            running.ipmi("chassis", "identify", "1")
            while "identify" not in (line := follower.stdout.readline()):
                assert line, "the follower ended"
        finally:
            follower.terminate()


def test_version_names_every_program(running: Lab) -> None:
    versions = json.loads(running.must("version", "--json"))
    for program in ("infrasim", "Python", "QEMU", "ipmi_sim", "socat", "ipmitool"):
        assert re.match(r"\d+\.\d+", versions[program]), versions


def test_doctor_finds_this_machine_fit(running: Lab) -> None:
    ran = running.infrasim("doctor")
    assert ran.code == 0, ran.out
    assert "FAULT" not in ran.out


def test_the_screen_speaks_vnc_on_loopback_only(running: Lab) -> None:
    port = running.status()["vnc"]["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as viewer:
        assert viewer.recv(12, socket.MSG_WAITALL).startswith(b"RFB 003.")
    for process in running.processes():
        for address in process.addresses():
            assert address.startswith("127.") or address == "::1", process
