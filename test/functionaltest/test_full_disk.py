"""Disks that fill up, on small file systems of the test's own. Mounting needs root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import NODE, Lab, execute, wait_for


@contextmanager
def small(folder: Path, size: str) -> Iterator[Path]:
    """Mount a memory disk of ``size`` at ``folder``; gives the file that fills it up."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = execute("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    assert ran.code == 0, ran.err
    try:
        yield folder / "filler"
    finally:
        execute("umount", "-l", str(folder))


def fill(filler: Path) -> None:
    """Use up what room there is, to the last byte."""
    with pytest.raises(OSError, match="No space left"), filler.open("ab", buffering=0) as stream:
        while True:
            if stream.write(bytes(4096)) < 4096:
                stream.write(b"x")


@pytest.fixture
def home_disk(scratch: Lab) -> Iterator[Path]:
    with small(scratch.home, "16m") as filler:
        yield filler
        scratch.stop_all()


@pytest.fixture
def log_disk(scratch: Lab) -> Iterator[Path]:
    with small(scratch.logs, "4m") as filler:
        yield filler
        scratch.stop_all()


def test_a_home_that_fills_up_under_a_running_node(scratch: Lab, home_disk: Path) -> None:
    scratch.start()
    # What the BMC keeps of the start it writes a moment later, and that may give room back.
    wait_for(lambda: scratch.kept()["chassis"]["was_on"], what="the BMC's state on disk")
    fill(home_disk)
    scratch.power_off()
    assert any("No space left on device" in error for error in scratch.status()["errors"])
    scratch.ipmi("power", "on")
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    assert "is on" in scratch.ipmi("power", "status")
    assert scratch.status()["host"]["power"] == "on"
    home_disk.unlink()
    scratch.ipmi("chassis", "bootdev", "pxe")
    assert scratch.status()["host"]["boot_override"] == "pxe"
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"


def test_a_node_on_a_full_home_can_be_stopped(scratch: Lab, home_disk: Path) -> None:
    scratch.start()
    fill(home_disk)
    assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
    assert scratch.processes() == []


def test_a_start_in_a_full_home_fails_clearly_and_leaves_nothing(scratch: Lab, home_disk: Path) -> None:
    scratch.register()
    fill(home_disk)
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 4, ran
    assert "No space left on device" in ran.err
    assert scratch.processes() == []
    home_disk.unlink()
    scratch.must("node", "start", NODE)


def test_a_log_folder_that_fills_up_under_a_running_node(scratch: Lab, log_disk: Path) -> None:
    scratch.start()
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    fill(log_disk)
    scratch.power_off()
    scratch.ipmi("power", "on")
    wait_for(lambda: scratch.status()["state"] == "running" and scratch.pid("qemu"), what="the host")
    log_disk.unlink()
    scratch.power_off()
    scratch.ipmi("power", "on")
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    assert scratch.status()["state"] == "running"
    events = scratch.logs / NODE / "events.jsonl"
    wait_for(lambda: events.read_bytes().endswith(b"\n"), what="whole lines")
    assert all(entry["event"] for entry in scratch.events())


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write in a folder, not even root."""
    for options in (("--bind", str(folder)), ("-o", "remount,bind,ro")):
        ran = execute("mount", *options, str(folder))
        assert ran.code == 0, ran.err
    try:
        yield
    finally:
        execute("umount", "-l", str(folder))


def test_a_home_that_becomes_read_only_under_a_running_node(scratch: Lab) -> None:
    scratch.start()
    with read_only(scratch.home):
        ran = scratch.infrasim("node", "destroy", NODE)
        assert ran.code == 4, ran
        assert "Read-only file system" in ran.err
        assert scratch.status()["state"] == "running"
        assert scratch.must("node", "stop", NODE) == "Node n stopped.\n"
        assert scratch.processes() == []
        assert scratch.status()["state"] == "stopped"
        ran = scratch.infrasim("node", "start", NODE)
        assert ran.code == 4, ran
        assert "Read-only file system" in ran.err
    scratch.must("node", "start", NODE)
