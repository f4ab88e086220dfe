"""Children that die, guests that switch themselves off, supervisors that are killed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from lab import NODE, Lab, free_address, wait_for

from infrasim.host.process import identify


@pytest.mark.parametrize("name", ["socat", "ipmi_sim", "qemu"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_dies_comes_back_and_says_so(running: Lab, name: str, number: signal.Signals) -> None:
    running.ipmi("power", "on")
    wait_for(lambda: running.status()["state"] == "running" and running.pid(name), what="a whole node")
    pid = running.pid(name)
    assert pid is not None
    os.kill(pid, number)
    wait_for(lambda: running.pid(name) not in (None, pid), what=f"a new {name}")
    wait_for(lambda: running.status()["state"] == "running", what="a whole node")
    died = [event for event in running.events() if event["event"] == "died" and event["process"] == name]
    assert died
    assert any(f"process={name}" in line for line in running.status()["errors"])
    entry = next(entry for entry in running.status()["processes"] if entry["name"] == name)
    assert entry["restarts"] >= 1
    wait_for(lambda: running.ipmitool("mc", "info").code == 0, what="the BMC")


def wait_for_another_death(home: Lab) -> None:
    """Wait until a death that has just been caused is recorded."""
    before = len(home.events())
    wait_for(lambda: len(home.events()) > before or home.count("gave-up"), what="the death")


def test_a_child_that_keeps_dying_is_given_up_and_shown(scratch: Lab) -> None:
    scratch.start()
    for _ in range(20):
        if scratch.count("gave-up"):
            break
        pid = scratch.pid("qemu")
        if pid is None:
            wait_for(lambda: scratch.pid("qemu") or scratch.count("gave-up"), what="a restart")
            continue
        os.kill(pid, signal.SIGKILL)
        wait_for_another_death(scratch)
    ran = scratch.infrasim("node", "status", NODE)
    assert ran.code == 1
    assert "degraded" in ran.out
    assert scratch.status()["host"]["power"] == "off"
    scratch.ipmi("power", "on")
    wait_for(lambda: scratch.status()["state"] == "running", what="a power-on to try again")


def test_logs_that_are_removed_meanwhile_do_not_keep_the_host_off(scratch: Lab) -> None:
    scratch.start()
    shutil.rmtree(scratch.logs / NODE)
    before = scratch.pid("qemu")
    scratch.ipmi("power", "cycle")
    wait_for(lambda: scratch.pid("qemu") not in (None, before), what="a new host")
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    assert scratch.count("serial-log-lost") == 1
    assert scratch.count("died") == 0
    assert [entry["restarts"] for entry in scratch.status()["processes"]] == [0, 0, 0, 0]
    wait_for(lambda: scratch.ipmitool("mc", "info").code == 0, what="the BMC")
    assert scratch.status()["state"] == "running"


def test_a_host_that_dies_with_its_serial_log_removed_comes_back_with_one(scratch: Lab) -> None:
    scratch.start()
    (scratch.logs / NODE / "serial.log").unlink()
    before = scratch.pid("qemu")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    assert scratch.count("died") == 1
    assert scratch.pid("qemu") not in (None, before)


def test_a_host_that_was_stopped_by_a_signal_is_shown_and_can_be_switched_off(scratch: Lab) -> None:
    scratch.start(bmc={"poweroff_wait": 1, "kill_wait": 1})
    qemu = scratch.pid("qemu")
    assert qemu is not None
    os.kill(qemu, signal.SIGSTOP)
    status = scratch.status()
    assert status["state"] == "degraded"
    assert status["processes"][3]["state"] == "stopped by a signal"
    began = time.monotonic()
    scratch.ipmi("power", "soft")
    wait_for(lambda: scratch.status()["host"]["power"] == "off", timeout_s=10, what="the deadlines")
    assert time.monotonic() - began < 10
    assert scratch.status()["state"] == "running"
    scratch.ipmi("power", "on")
    wait_for(lambda: scratch.status()["state"] == "running" and scratch.pid("qemu"), what="a new host")


def test_a_boot_override_that_comes_while_the_host_goes_is_no_trouble(scratch: Lab) -> None:
    scratch.start()
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(scratch.home / NODE / "run" / "control.sock"))
            client.sendall(b'{"verb": "power", "words": ["off"]}\n{"verb": "power", "words": ["on"]}\n')
            answers = client.makefile()
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(str(scratch.home / NODE / "run" / "control.sock"))
                for word in ("pxe", "none") * 20:
                    other.sendall(f'{{"verb": "boot", "words": ["{word}"]}}\n'.encode())
                    time.sleep(0.002)
            assert json.loads(answers.readline())["ok"]
            assert json.loads(answers.readline())["ok"]
        wait_for(lambda: scratch.status()["state"] == "running" and scratch.pid("qemu"), what="the host")
    time.sleep(1.5)
    assert scratch.status()["errors"] == []


def test_a_supervisor_without_a_descriptor_left_waits_and_does_not_fill_the_log(scratch: Lab) -> None:
    scratch.start()
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    control = scratch.home / NODE / "run" / "control.sock"
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{supervisor}/fd").iterdir()))
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (used + 2, limits[1]))
    busy = psutil.Process(supervisor)
    before = sum(busy.cpu_times()[:2])
    with contextlib.ExitStack() as opened:
        for _ in range(20):
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(5)
            client.connect(str(control))
        time.sleep(3)
        assert sum(busy.cpu_times()[:2]) - before < 1.0
        assert len((scratch.logs / NODE / "supervisor.log").read_text().splitlines()) < 50
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: "Too many open files" in " ".join(scratch.status()["errors"]), what="an error of it")
    wait_for(lambda: scratch.ipmitool("power", "off").code == 0, what="the supervisor to recover")
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"


def test_a_client_that_keeps_many_connections_locks_nobody_out(running: Lab) -> None:
    control = running.home / NODE / "run" / "control.sock"
    with contextlib.ExitStack() as opened:
        for _ in range(200):
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(control))
        running.ipmi("power", "on")


@pytest.mark.parametrize(
    "line",
    [
        b'{"verb": "power", "words": 5}',
        b'{"verb": "power", "words": null}',
        b'{"verb": "chassis", "words": ["identify", "\xc2\xb2", "0"]}',
        b'{"verb": "chassis", "words": ["identify", "' + b"9" * 400 + b'", "0"]}',
        b"[" * 50000,
    ],
)
def test_a_request_that_is_none_is_refused_and_leaves_no_trace(running: Lab, line: bytes) -> None:
    log = running.logs / NODE / "supervisor.log"
    before = log.read_text()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(running.home / NODE / "run" / "control.sock"))
        client.sendall(line + b"\n")
        answer = json.loads(client.makefile().readline())
    assert answer["ok"] is False
    assert log.read_text() == before


def test_a_killed_supervisor_is_replaced_and_its_children_go_on(scratch: Lab) -> None:
    scratch.start()
    before = {name: scratch.pid(name) for name in ("socat", "ipmi_sim", "qemu")}
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: scratch.status()["state"] == "degraded", what="the loss to show")
    assert "supervisor is gone" in scratch.status()["errors"][-1]
    scratch.must("node", "start", NODE)
    assert {name: scratch.pid(name) for name in before} == before
    assert scratch.status()["state"] == "running"
    assert "is on" in scratch.ipmi("power", "status")
    scratch.ipmi("power", "off")
    assert scratch.pid("qemu") is None


def test_a_take_over_makes_a_removed_log_folder_again(scratch: Lab) -> None:
    scratch.start()
    supervisor, qemu = scratch.pid("supervisor"), scratch.pid("qemu")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    shutil.rmtree(scratch.logs / NODE)
    scratch.must("node", "start", NODE)
    assert scratch.pid("qemu") == qemu
    assert scratch.count("adopted") == 3


def test_a_supervisor_that_was_killed_while_the_host_came_up_leaves_no_paused_host(scratch: Lab) -> None:
    scratch.start()
    supervisor, qemu = scratch.pid("supervisor"), scratch.pid("qemu")
    assert supervisor is not None
    assert qemu is not None
    # Its host is started by hand, as the supervisor would, and never let go.
    plan = json.loads((scratch.home / NODE / "plan.json").read_text())
    argv = next(process["argv"] for process in plan["processes"] if process["name"] == "qemu")
    state_file = scratch.home / NODE / "run" / "state.json"
    os.kill(supervisor, signal.SIGKILL)
    os.kill(qemu, signal.SIGKILL)
    wait_for(lambda: scratch.pid("qemu") is None, what="the host's end")
    with subprocess.Popen(argv, start_new_session=True) as paused:
        identity = identify(paused.pid)
        assert identity is not None
        state = json.loads(state_file.read_text())
        host = next(process for process in state["processes"] if process["name"] == "qemu")
        host.update(identity=dataclasses.asdict(identity), state="starting")
        state_file.write_text(json.dumps({**state, "power": True}))
        scratch.must("node", "start", NODE)
        # By SIGTERM or by the SIGKILL that follows at once, whichever comes first.
        paused.wait(timeout=10)
    assert scratch.pid("qemu") not in (None, paused.pid)
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")


def test_a_take_over_that_fails_does_not_lose_sight_of_what_runs(scratch: Lab) -> None:
    scratch.start()
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: scratch.pid("supervisor") is None, what="the supervisor's end")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((scratch.address, 623))
        ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 4, ran
    assert f"BMC address {scratch.address} port 623/udp: Address already in use" in ran.err
    assert scratch.pid("qemu") is not None
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")


def test_a_stop_ends_what_a_killed_supervisor_left(scratch: Lab) -> None:
    scratch.start()
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")


def test_a_stop_ends_a_supervisor_that_hangs(scratch: Lab) -> None:
    scratch.start()
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGSTOP)
    began = time.monotonic()
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    assert time.monotonic() - began < 30
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")


def lose_state(home: Lab) -> None:
    (home.home / NODE / "run" / "state.json").unlink()


def damage_state(home: Lab) -> None:
    (home.home / NODE / "run" / "state.json").write_text("{")


def lose_workspace(home: Lab) -> None:
    shutil.rmtree(home.home / NODE)


def lose_state_and_supervisor(home: Lab) -> None:
    supervisor = home.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    lose_state(home)


LOSSES = [lose_state, damage_state, lose_workspace, lose_state_and_supervisor]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("verb", ["stop", "destroy"])
def test_what_runs_is_found_without_its_state(scratch: Lab, lose: Callable[[Lab], None], verb: str) -> None:
    scratch.start()
    other = free_address()
    scratch.start("other", bmc={"address": other})
    lose(scratch)
    said = scratch.status()
    assert said["state"] == "degraded"
    assert any("running, but not on record" in error and "qemu" in error for error in said["errors"])
    past = {"stop": "stopped", "destroy": "destroyed"}[verb]
    assert scratch.must("node", verb, NODE) == f"Node n {past}.\n"
    assert not [each for each in scratch.processes() if str(scratch.home / NODE) in each.words]
    assert scratch.status("other")["state"] == "running"
    scratch.must("node", "destroy", "other")
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")


def test_a_start_of_a_node_whose_state_is_lost_finds_its_supervisor(scratch: Lab) -> None:
    scratch.start()
    before = scratch.pid("supervisor"), scratch.pid("qemu")
    lose_state(scratch)
    assert scratch.must("node", "start", NODE).startswith("Node n runs already.")
    assert (scratch.pid("supervisor"), scratch.pid("qemu")) == before
    assert scratch.status()["state"] == "running"


@pytest.mark.parametrize("lose", [lose_workspace, lose_state_and_supervisor])
def test_a_start_ends_what_nobody_can_take_over(scratch: Lab, lose: Callable[[Lab], None]) -> None:
    scratch.start()
    before = scratch.pid("qemu")
    lose(scratch)
    scratch.must("node", "start", NODE)
    assert scratch.status()["state"] == "running"
    assert before != scratch.pid("qemu")
    assert len([each for each in scratch.processes() if "qemu-system" in each.name]) == 1


def test_a_host_that_nobody_wrote_down_is_ended_before_another_is_started(scratch: Lab) -> None:
    scratch.start()
    supervisor, unknown = scratch.pid("supervisor"), scratch.pid("qemu")
    assert supervisor is not None
    assert unknown is not None
    os.kill(supervisor, signal.SIGKILL)
    # As if the supervisor had been killed right after it started the host.
    state_file = scratch.home / NODE / "run" / "state.json"
    state = json.loads(state_file.read_text())
    host = next(process for process in state["processes"] if process["name"] == "qemu")
    host.update(identity=None, state="down")
    state_file.write_text(json.dumps(state))
    assert f"not on record: qemu (pid {unknown})" in " ".join(scratch.status()["errors"])
    bmc = scratch.pid("ipmi_sim")
    scratch.must("node", "start", NODE)
    assert scratch.pid("ipmi_sim") == bmc
    assert scratch.pid("qemu") not in (None, unknown)
    assert identify(unknown) is None


def test_a_supervisor_that_is_killed_during_a_start_leaves_nothing_and_is_named(scratch: Lab) -> None:
    scratch.register()
    words = [sys.executable, "-m", "infrasim", "node", "start", NODE]
    with subprocess.Popen(words, env=scratch.env, stderr=subprocess.PIPE, text=True) as start:
        wait_for(lambda: [each for each in scratch.processes() if each.name == "ipmi_sim"], what="the BMC")
        for each in scratch.processes():
            if "infrasim.runtime.daemon" in each.words:
                each.kill()
        _, said = start.communicate()
    assert start.returncode == 5, said
    assert "the supervisor ended without a word" in said
    assert "in use" not in said
    assert scratch.leftovers() == []
    scratch.must("node", "start", NODE)


def test_a_failed_start_leaves_nothing_running_and_shows_why(scratch: Lab) -> None:
    scratch.register(compute={"extra_option": "-device no-such-device"})
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 5, ran
    assert "qemu did not stay up: exit code 1" in ran.err
    assert "-device no-such-device" in ran.err
    assert "'no-such-device' is not a valid device model name" in ran.err
    assert str(scratch.logs / NODE / "qemu.log") in ran.err
    assert scratch.leftovers() == []
    assert scratch.status()["state"] == "stopped"
    scratch.register()
    scratch.must("node", "start", NODE)
