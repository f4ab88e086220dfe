"""A start by its opening: the same node, the same events, and every way out of it."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import COMMAND_TIMEOUT_S, NODE, Lab, free_display, lab, wait_for

# The word in a supervisor's command line that says how it began.
GOES_ON = "go-on"


@pytest.fixture
def stopped(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A home whose node ran once and can be started by its opening."""
    with lab(lambda: bool(request.session.testsfailed)) as scratch:
        # One that tests beside these do not take while the node is stopped.
        scratch.start(compute={"vnc_display": free_display()})
        scratch.must("node", "stop", NODE)
        yield scratch


def began_as(scratch: Lab) -> list[str]:
    pid = scratch.pid("supervisor")
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def names(scratch: Lab, since: int = 0) -> list[tuple[str, str]]:
    return [(entry["event"], entry.get("process", "")) for entry in scratch.events()[since:]]


def test_it_says_and_does_what_an_ordinary_start_does(stopped: Lab) -> None:
    whole = names(stopped)
    ordinary = whole[: whole.index(("node-up", "")) + 1]
    before = len(stopped.events())
    said = stopped.must("node", "start", NODE)
    assert GOES_ON in began_as(stopped)
    assert names(stopped, before) == ordinary
    stopped.ipmi("mc", "info")
    assert stopped.ipmi("sel", "time", "get").split("/")[-1][:4] >= "2026"
    assert stopped.status()["state"] == "running"
    stopped.must("node", "stop", NODE)
    assert stopped.leftovers() == []
    (stopped.home / NODE / ".opening").unlink()
    assert stopped.must("node", "start", NODE) == said
    assert GOES_ON not in began_as(stopped)


def test_what_was_written_to_a_fru_is_there_however_ipmi_sim_starts(stopped: Lab) -> None:
    """A FRU device is an EEPROM; a node file that tells something else of it is the newer word."""

    def last_byte() -> bytes:
        return stopped.raw(0x0A, 0x11, 0, size - 1 & 0xFF, size - 1 >> 8, 1)

    stopped.must("node", "start", NODE)
    size = int.from_bytes(stopped.raw(0x0A, 0x10, 0)[:2], "little")
    before = last_byte()
    written = before[1] ^ 0xFF
    stopped.raw(0x0A, 0x12, 0, size - 1 & 0xFF, size - 1 >> 8, written)
    stopped.kill("ipmi_sim")
    wait_for(lambda: stopped.ipmitool("raw", "0x0a", "0x10", "0").code == 0, what="another ipmi_sim")
    assert last_byte() == bytes([1, written])
    stopped.must("node", "stop", NODE)
    stopped.must("node", "start", NODE)
    assert GOES_ON in began_as(stopped)
    assert last_byte() == bytes([1, written])
    stopped.must("node", "stop", NODE)
    stopped.start(bmc={"fru0": {"board": {"sn": "NEWER"}}})
    assert last_byte() == before
    assert "NEWER" in stopped.ipmi("fru", "print", "0")


def test_what_the_bmc_kept_decides_and_shows_from_the_first_answer(stopped: Lab) -> None:
    for policy, power in (("previous", "on"), ("always-off", "off")):
        stopped.must("node", "start", NODE)
        stopped.ipmi("chassis", "policy", policy)
        # 2030-01-01, as seconds since 1970.
        stopped.ipmi("raw", "0x0a", "0x49", "0x80", "0xd8", "0xdb", "0x70")
        stopped.must("node", "stop", NODE)
        stopped.must("node", "start", NODE)
        assert stopped.ipmi("power", "status") == f"Chassis Power is {power}\n"
        assert GOES_ON in began_as(stopped)
        assert (stopped.pid("qemu") is not None) is (power == "on")
        assert stopped.ipmi("sel", "time", "get").startswith(("12/31/29", "01/01/30"))
        stopped.must("node", "stop", NODE)
    stopped.must("node", "start", NODE)
    stopped.ipmi("chassis", "bootdev", "pxe", "options=persistent")
    stopped.must("node", "stop", NODE)
    stopped.must("node", "start", NODE)
    assert GOES_ON not in began_as(stopped), "a boot override is for an ordinary start"


@pytest.mark.parametrize("name", ["socat", "ipmi_sim", "qemu"])
def test_children_of_the_opening_are_restarted_with_their_exit(stopped: Lab, name: str) -> None:
    stopped.must("node", "start", NODE)
    assert GOES_ON in began_as(stopped)
    pid = stopped.kill(name)
    wait_for(lambda: stopped.pid(name) not in (None, pid), what=f"another {name}")
    died = [entry for entry in stopped.events() if entry["event"] == "died"]
    assert (died[0]["process"], died[0]["exit_code"]) == (name, -9)


def test_children_outlive_a_supervisor_that_was_an_opening(stopped: Lab) -> None:
    stopped.must("node", "start", NODE)
    host = stopped.pid("qemu")
    stopped.kill("supervisor")
    stopped.must("node", "start", NODE)
    assert stopped.pid("qemu") == host
    assert stopped.count("adopted") == 3


def test_a_deviation_ends_in_an_ordinary_start_or_its_error(stopped: Lab) -> None:
    lock = stopped.home / NODE / ".supervisor.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = stopped.infrasim("node", "start", NODE)
    lock.unlink()
    assert (ran.code, ran.err) == (4, f"infrasim: node {NODE} has a supervisor already\n")
    # What no comparing shows: QEMU finds its disk in use. The ordinary start says who has it.
    before = stopped.count("started")
    with writing(next((stopped.home / NODE / "disks").iterdir())):
        ran = stopped.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert f"(process {os.getpid()})" in ran.err
    assert stopped.count("started") - before == 3, "what the opening began is not on record"
    assert stopped.leftovers() == []
    stopped.must("node", "start", NODE)
    assert GOES_ON in began_as(stopped)


@contextmanager
def writing(image: Path) -> Iterator[None]:
    """Lock an image as a QEMU that lets nobody else write. Source: QEMU block/file-posix.c, RAW_LOCK_*."""
    with image.open("rb") as held:
        unshares_write = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0)
        fcntl.fcntl(held, fcntl.F_OFD_SETLK, unshares_write)
        yield


def test_sigterm_to_a_starting_supervisor_ends_the_start(stopped: Lab) -> None:
    words = [sys.executable, "-m", "infrasim", "node", "start", NODE]
    starting = subprocess.Popen(words, env=stopped.env, stderr=subprocess.PIPE, text=True)
    state = stopped.home / NODE / "run" / "state.json"
    wait_for(lambda: starting.poll() is not None or state.exists(), what="the first child")
    supervisor = stopped.pid("supervisor")
    if supervisor:
        os.kill(supervisor, signal.SIGTERM)
    starting.communicate(timeout=COMMAND_TIMEOUT_S)
    wait_for(lambda: stopped.leftovers() == [] or not supervisor, what="everything gone")
