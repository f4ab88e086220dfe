"""Start, stop, status, restart, destroy: what they do, print and leave, repeated and side by side."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from lab import CLONE, COMMAND_TIMEOUT_S, NODE, Lab, bytes_of, execute, lab, wait_for


def test_a_start_brings_everything_up_and_a_stop_takes_everything_down(scratch: Lab) -> None:
    scratch.register()
    out = scratch.must("node", "start", NODE)
    assert out.startswith("Node n started.\n")
    for word in (scratch.address, "VNC", str(scratch.home / NODE), str(scratch.logs / NODE), "TCG"):
        assert word in out or (word == "TCG" and "KVM" in out)
    status = scratch.status()
    assert status["state"] == "running"
    assert status["host"]["power"] == "on"
    assert [entry["name"] for entry in status["processes"]] == ["supervisor", "socat", "ipmi_sim", "qemu"]
    assert all(entry["state"] == "running" and entry["pid"] for entry in status["processes"])
    assert status["bmc"] == {"address": scratch.address, "port": 623}
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    assert scratch.leftovers() == []
    ran = scratch.infrasim("node", "status", NODE)
    assert ran.code == 3
    assert ran.out.startswith("Node n is stopped.\n")


def test_start_and_stop_are_safe_to_repeat(scratch: Lab) -> None:
    scratch.start()
    first = scratch.pid("supervisor")
    assert scratch.must("node", "start", NODE).startswith("Node n runs already.\n")
    assert scratch.pid("supervisor") == first
    scratch.must("node", "stop", NODE)
    assert scratch.must("node", "stop", NODE) == "Node n was not running.\n"


def test_starts_and_stops_at_the_same_time_do_not_disturb_each_other(scratch: Lab) -> None:
    scratch.register()
    for verb in ("start", "stop", "start"):
        words = [sys.executable, "-m", "infrasim", "node", verb, NODE]
        running = [
            subprocess.Popen(words, env=scratch.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(4)
        ]
        said = [process.communicate()[0].decode() for process in running]
        assert [process.returncode for process in running] == [0] * 4, said
        expected = "running" if verb == "start" else "stopped"
        assert scratch.status()["state"] == expected, said
    assert len(scratch.processes()) >= 4
    assert scratch.count("node-up") == 2


def test_an_edited_node_file_takes_effect_at_the_next_start_and_disks_stay(scratch: Lab) -> None:
    scratch.start()
    disk = next((scratch.home / NODE / "disks").iterdir())
    inode = disk.stat().st_ino
    identity = scratch.must("node", "info", NODE, "--json")
    scratch.register(bmc={"username": "root", "password": "calvin"})
    assert scratch.ipmitool("mc", "info").code == 0, "the running node keeps its user"
    scratch.must("node", "restart", NODE)
    assert scratch.ipmitool("mc", "info").code != 0, "the old user is gone"
    login = ("-I", "lanplus", "-H", scratch.address, "-U", "root", "-P", "calvin")

    assert execute("ipmitool", *login, "mc", "info").code == 0
    assert disk.stat().st_ino == inode
    again = scratch.must("node", "info", NODE, "--json")
    for key in ("uuid", "serial_number"):
        assert json.loads(again)[key] == json.loads(identity)[key]


def test_destroy_removes_workspace_disks_and_logs_but_not_the_node_file(scratch: Lab) -> None:
    scratch.start()
    assert scratch.must("node", "destroy", NODE) == "Node n destroyed.\n"
    assert not (scratch.home / NODE).exists()
    assert not (scratch.logs / NODE).exists()
    assert (scratch.home / ".node_map" / "n.yml").exists()
    assert scratch.status()["state"] == "stopped"
    assert scratch.must("node", "destroy", NODE) == "Node n had no workspace.\n"


def test_a_node_that_starts_powered_off_waits_for_a_power_on(scratch: Lab) -> None:
    scratch.start(bmc={"startnow": False})
    status = scratch.status()
    assert (status["state"], status["host"]["power"]) == ("running", "off")
    assert "is off" in scratch.ipmi("power", "status")
    assert scratch.serial() == ""
    scratch.ipmi("power", "on")
    wait_for(lambda: scratch.pid("qemu"), what="the host")


def test_run_stays_in_the_foreground_says_ready_and_obeys_sigterm(scratch: Lab) -> None:
    scratch.register()
    process = subprocess.Popen(
        [sys.executable, "-m", "infrasim", "node", "run", NODE],
        env=scratch.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert scratch.pid("supervisor") == process.pid
    scratch.ipmi("mc", "info")
    process.send_signal(signal.SIGTERM)
    assert process.wait(COMMAND_TIMEOUT_S) == 0
    assert scratch.leftovers() == []


def test_a_run_that_loses_its_screen_to_another_chooses_again(scratch: Lab) -> None:
    scratch.start(bmc={"startnow": False})
    scratch.must("node", "stop", NODE)
    port = 5900 + json.loads((scratch.home / NODE / "plan.json").read_text())["vnc_display"]
    words = [sys.executable, "-m", "infrasim", "node", "run", NODE]
    with socket.socket() as other:
        # Who plans sees it when it listens, as if it began after the plan was made.
        other.bind(("127.0.0.1", port))
        process = subprocess.Popen(words, env=scratch.env, stdout=subprocess.PIPE, text=True)
        wait_for(
            lambda: [each for each in scratch.processes() if "infrasim.runtime.daemon" in each.words],
            what="the supervisor",
        )
        other.listen()
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert scratch.pid("supervisor") == process.pid
        assert scratch.status()["vnc"]["port"] != port
        process.send_signal(signal.SIGTERM)
        assert process.wait(COMMAND_TIMEOUT_S) == 0


@pytest.mark.parametrize("moment", ["at once", "supervisor begun", "host begun"])
def test_an_interrupted_start_leaves_nothing_running(scratch: Lab, moment: str) -> None:
    scratch.register(compute=scratch.never_up())
    words = [sys.executable, "-m", "infrasim", "node", "start", NODE]
    process = subprocess.Popen(words, env=scratch.env, stderr=subprocess.PIPE, text=True)
    if moment != "at once":
        wanted = "runtime.daemon" if moment == "supervisor begun" else "qemu-system"
        wait_for(
            lambda: (
                process.poll() is not None
                or [found for found in scratch.processes() if wanted in " ".join(found.words)]
            ),
            what=wanted,
        )
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode != 0
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")
    assert scratch.status()["state"] == "stopped"
    scratch.register()
    scratch.must("node", "start", NODE)


def test_a_stop_during_a_start_ends_it(scratch: Lab) -> None:
    scratch.register(compute=scratch.never_up())
    words = [sys.executable, "-m", "infrasim", "node", "start", NODE]
    process = subprocess.Popen(words, env=scratch.env, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: process.poll() is not None or scratch.count("started"), what="the first child")
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGTERM)
    _, said = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert (process.returncode, said) == (5, "infrasim: the node was stopped while it was starting\n")
    assert scratch.leftovers() == []


def test_several_nodes_get_addresses_and_screens_of_their_own(scratch: Lab) -> None:
    for name in ("a", "b", "c"):
        path = scratch.root / f"{name}.yml"
        path.write_text("compute: {memory: {size: 128}}\n")
        (scratch.home / ".node_map").mkdir(parents=True, exist_ok=True)
        (scratch.home / ".node_map" / f"{name}.yml").write_text(path.read_text())
    words = [sys.executable, "-m", "infrasim", "node", "start"]
    starts = [subprocess.Popen([*words, name], env=scratch.env) for name in ("a", "b", "c")]
    assert [process.wait(COMMAND_TIMEOUT_S) for process in starts] == [0, 0, 0]
    listed = json.loads(scratch.must("node", "list", "--json"))
    assert [entry["name"] for entry in listed] == ["a", "b", "c"]
    places = {(entry["bmc"]["address"], entry["bmc"]["port"]) for entry in listed}
    screens = {entry["vnc"]["port"] for entry in listed}
    assert len(places) == len(screens) == 3
    for address, _ in places:
        assert scratch.ipmitool("mc", "info", host=address).code == 0
    before = {entry["name"]: entry["bmc"] for entry in listed}
    scratch.must("node", "restart", "b")
    assert scratch.status("b")["bmc"] == before["b"]


def test_the_launcher_of_the_clone_is_the_same_command(scratch: Lab) -> None:

    env = {key: value for key, value in scratch.env.items() if key != "PYTHONPATH"}
    ran = execute(str(CLONE / "bin" / "infrasim"), "node", "list", env=env)
    assert (ran.code, ran.out) == (0, "There is no node yet. Run: infrasim init\n"), ran


def test_secrets_are_neither_in_the_command_lines_nor_in_the_logs_nor_readable(scratch: Lab) -> None:
    scratch.start(bmc={"password": "s3cretword"})
    words = [word for process in scratch.processes() for word in process.words]
    assert not [word for word in words if "s3cretword" in word]
    logs = [path for path in scratch.logs.rglob("*") if path.is_file()]
    assert not [path for path in logs if b"s3cretword" in (bytes_of(path) or b"")]
    holders = [
        path
        for path in scratch.home.rglob("*")
        if path.is_file() and not path.is_symlink() and b"s3cretword" in (bytes_of(path) or b"")
    ]
    assert holders
    assert [path for path in holders if path.stat().st_mode & 0o077] == []
    assert scratch.home.stat().st_mode & 0o077 == 0
    assert "s3cretword" not in scratch.must("node", "plan", NODE, "--json")
    assert (scratch.home / NODE / "run" / "control.sock").stat().st_mode & 0o077 == 0


def test_two_homes_do_not_share_the_logs_of_a_node(scratch: Lab) -> None:
    scratch.start()
    with lab(lambda: False) as other:
        shared = {"INFRASIM_LOG_DIR": str(scratch.logs)}
        other.register()
        ran = other.infrasim("node", "start", NODE, env=shared)
        assert ran.code == 4, ran
        assert str(scratch.home) in ran.err
        assert str(other.home) in ran.err
        # One that was started elsewhere is destroyed without touching them.
        other.start()
        other.infrasim("node", "destroy", NODE, env=shared)
    assert scratch.count("node-up") == 1
