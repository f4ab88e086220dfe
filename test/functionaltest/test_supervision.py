"""Children that die, guests that switch themselves off, supervisors that are killed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lab import NODE, Lab, free_address, free_display, wait_for

from infrasim.host.process import identify
from infrasim.runtime.node import _STOP_WAIT_S
from infrasim.runtime.supervisor import _ENDS_WITHIN_S


@pytest.mark.parametrize("name", ["socat", "ipmi_sim", "qemu"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_dies_comes_back_and_says_so(running: Lab, name: str, number: signal.Signals) -> None:
    running.ipmi("power", "on")
    wait_for(lambda: running.status()["state"] == "running" and running.pid(name), what="a whole node")
    pid = running.kill(name, number)
    wait_for(lambda: running.pid(name) not in (None, pid), what=f"a new {name}")
    wait_for(lambda: running.status()["state"] == "running", what="a whole node")
    died = [event for event in running.events() if event["event"] == "died" and event["process"] == name]
    assert died
    assert any(f"process={name}" in line for line in running.status()["errors"])
    entry = next(entry for entry in running.status()["processes"] if entry["name"] == name)
    assert entry["restarts"] >= 1
    wait_for(lambda: running.ipmitool("mc", "info").code == 0, what="the BMC")


def hosts(home: Lab) -> list[int]:
    """The pid of every QEMU that was started."""
    return [each["pid"] for each in home.events() if each["event"] == "started" and each["process"] == "qemu"]


def clean_up(folder: Path) -> None:
    """Remove a folder under those who write there, all at once: what they make afterwards is another one."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone)


def test_a_child_that_keeps_dying_is_given_up_and_shown(scratch: Lab) -> None:
    scratch.start()
    for number in itertools.count(1):
        wait_for(lambda: len(hosts(scratch)) == number or scratch.count("gave-up"), what="a host")  # noqa: B023
        if scratch.count("gave-up"):
            break
        os.kill(hosts(scratch)[-1], signal.SIGKILL)
        wait_for(lambda: scratch.count("died") == number, what="the death")  # noqa: B023
    wait_for(lambda: scratch.status()["host"]["power"] == "off", what="power off")
    ran = scratch.infrasim("node", "status", NODE)
    assert ran.code == 1
    assert "degraded" in ran.out
    scratch.ipmi("power", "on")
    wait_for(
        lambda: scratch.status()["state"] == "running" and scratch.pid("qemu"), what="a power-on to try again"
    )


def test_logs_that_are_removed_meanwhile_do_not_keep_the_host_off(scratch: Lab) -> None:
    scratch.start()
    clean_up(scratch.logs / NODE)
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
    before = scratch.kill("qemu")
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    assert scratch.count("died") == 1
    assert scratch.pid("qemu") not in (None, before)


def test_a_host_that_was_stopped_by_a_signal_is_shown_and_can_be_switched_off(scratch: Lab) -> None:
    scratch.start(bmc={"poweroff_wait": 1, "kill_wait": 1})
    qemu = scratch.pid("qemu")
    assert qemu is not None
    os.kill(qemu, signal.SIGSTOP)
    # It stops when it is its turn.
    wait_for(
        lambda: scratch.status()["processes"][3]["state"] == "stopped by a signal", what="the stop to show"
    )
    assert scratch.status()["state"] == "degraded"
    scratch.ipmi("power", "soft")
    wait_for(lambda: scratch.status()["host"]["power"] == "off", what="the deadlines")
    # Both deadlines are those of the node file, and one after the other they went by.
    (late,) = (each for each in scratch.events() if each["event"] == "soft-power-off-timed-out")
    (ended,) = (each for each in scratch.events() if each["event"] == "ended")
    assert (late["waited_s"], ended["process"], ended["exit_code"]) == (1, "qemu", -signal.SIGKILL)
    assert scratch.status()["state"] == "running"
    scratch.ipmi("power", "on")
    wait_for(lambda: scratch.status()["state"] == "running" and scratch.pid("qemu"), what="a new host")


@contextlib.contextmanager
def talk(control: Path) -> Iterator[Callable[[str, str], bool]]:
    """Say verbs with one word on the control socket; whether each was followed."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(control))
        answers = client.makefile()

        def say(verb: str, word: str) -> bool:
            client.sendall(json.dumps({"verb": verb, "words": [word]}).encode() + b"\n")
            return bool(json.loads(answers.readline())["ok"])

        yield say


def test_a_boot_override_that_comes_while_the_host_goes_is_no_trouble(scratch: Lab) -> None:
    scratch.start()
    control = scratch.home / NODE / "run" / "control.sock"
    for _ in range(5):
        with talk(control) as say, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control))
            client.sendall(b'{"verb": "power", "words": ["off"]}\n{"verb": "power", "words": ["on"]}\n')
            for word in ("pxe", "none") * 20:
                assert say("boot", word)
            answers = client.makefile()
            assert json.loads(answers.readline())["ok"]
            assert json.loads(answers.readline())["ok"]
        wait_for(lambda: scratch.status()["state"] == "running" and scratch.pid("qemu"), what="the host")
    # The last order waits its turn at QEMU, and is judged only when it is clear that the host lives on.
    wait_for_the_host_to_answer(scratch)
    wait_for_timers(scratch, math.ceil(_ENDS_WITHIN_S))
    assert scratch.status()["errors"] == []


def wait_for_the_host_to_answer(home: Lab) -> None:
    """See everything done that QEMU was asked for until now: a reset waits for it."""
    boots = home.serial().count("SeaBIOS")
    home.ipmi("power", "reset")
    wait_for(lambda: home.serial().count("SeaBIOS") > boots, what="another boot")


def wait_for_timers(home: Lab, seconds: int) -> None:
    """See every timer fired in the supervisor that had less than so long to go, by one that is seen."""
    home.ipmi("chassis", "identify", str(seconds))
    wait_for(lambda: not home.status()["host"]["identify"], what="the lamp to go out")


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
            client.settimeout(60)
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
        client.settimeout(60)
        client.connect(str(running.home / NODE / "run" / "control.sock"))
        client.sendall(line + b"\n")
        answer = json.loads(client.makefile().readline())
    assert answer["ok"] is False
    assert log.read_text() == before


def test_a_killed_supervisor_is_replaced_and_its_children_go_on(scratch: Lab) -> None:
    scratch.start()
    before = {name: scratch.pid(name) for name in ("socat", "ipmi_sim", "qemu")}
    scratch.kill("supervisor")
    status = scratch.status()
    assert status["state"] == "degraded"
    assert "supervisor is gone" in status["errors"][-1]
    scratch.must("node", "start", NODE)
    assert {name: scratch.pid(name) for name in before} == before
    assert scratch.status()["state"] == "running"
    assert "is on" in scratch.ipmi("power", "status")
    scratch.power_off()
    assert scratch.pid("qemu") is None


def test_a_watchdog_outlives_its_supervisor(scratch: Lab) -> None:
    scratch.start()
    qemu, tenths = scratch.pid("qemu"), 80
    scratch.raw(6, 0x24, 0x04, 0x02, 0, 0x10, tenths, 0)
    scratch.raw(6, 0x22)
    wait_for(lambda: scratch.kept()["watchdog"]["ends_s"], what="the state on disk")
    scratch.kill("supervisor")
    scratch.must("node", "start", NODE)
    assert [each["pid"] for each in scratch.events() if each["event"] == "adopted"][-1] == qemu
    wait_for(lambda: scratch.pid("qemu") is None, what="the power off")
    assert scratch.raw(6, 0x25) == bytes([0x04, 0x02, 0, 0x10, tenths, 0, 0, 0])
    assert "Power down" in scratch.ipmi("sel", "elist")


def test_a_take_over_makes_a_removed_log_folder_again(scratch: Lab) -> None:
    scratch.start()
    qemu = scratch.pid("qemu")
    scratch.kill("supervisor")
    shutil.rmtree(scratch.logs / NODE)
    scratch.must("node", "start", NODE)
    assert scratch.pid("qemu") == qemu
    assert scratch.count("adopted") == 3


def test_a_supervisor_that_was_killed_while_the_host_came_up_leaves_no_paused_host(scratch: Lab) -> None:
    scratch.start(compute={"vnc_display": free_display()})
    # Its host is started by hand, as the supervisor would, and never let go.
    plan = json.loads((scratch.home / NODE / "plan.json").read_text())
    argv = next(process["argv"] for process in plan["processes"] if process["name"] == "qemu")
    state_file = scratch.home / NODE / "run" / "state.json"
    scratch.kill("supervisor")
    scratch.kill("qemu")
    with subprocess.Popen(argv, start_new_session=True) as paused:
        identity = identify(paused.pid)
        assert identity is not None
        state = json.loads(state_file.read_text())
        host = next(process for process in state["processes"] if process["name"] == "qemu")
        host.update(identity=dataclasses.asdict(identity), state="starting")
        state_file.write_text(json.dumps({**state, "power": True}))
        scratch.must("node", "start", NODE)
        # By SIGTERM or by the SIGKILL that follows at once, whichever comes first.
        paused.wait(timeout=60)
    assert scratch.pid("qemu") not in (None, paused.pid)
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")


def test_a_take_over_that_fails_does_not_lose_sight_of_what_runs(scratch: Lab) -> None:
    scratch.start()
    scratch.kill("supervisor")
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
    scratch.kill("supervisor")
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")


def test_a_stop_ends_a_supervisor_that_hangs(scratch: Lab) -> None:
    scratch.start()
    supervisor = scratch.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGSTOP)
    began = time.monotonic()
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    # Not the time that one may take which does its work.
    assert time.monotonic() - began < _STOP_WAIT_S
    wait_for(lambda: scratch.leftovers() == [], what="everything gone")


def lose_state(home: Lab) -> None:
    (home.home / NODE / "run" / "state.json").unlink()


def damage_state(home: Lab) -> None:
    (home.home / NODE / "run" / "state.json").write_text("{")


def lose_workspace(home: Lab) -> None:
    clean_up(home.home / NODE)


def lose_state_and_supervisor(home: Lab) -> None:
    home.kill("supervisor")
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
    scratch.start(compute={"vnc_display": free_display()})
    unknown = scratch.pid("qemu")
    assert unknown is not None
    scratch.kill("supervisor")
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
    scratch.register(compute=scratch.never_up())
    words = [sys.executable, "-m", "infrasim", "node", "start", NODE]
    with subprocess.Popen(words, env=scratch.env, stderr=subprocess.PIPE, text=True) as start:
        wait_for(lambda: start.poll() is not None or hosts(scratch), what="the host")
        scratch.kill("supervisor")
        _, said = start.communicate()
    assert start.returncode == 5, said
    assert "the supervisor ended without a word" in said
    assert "in use" not in said
    assert scratch.leftovers() == []
    scratch.register()
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
