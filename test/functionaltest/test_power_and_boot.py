"""Chassis power and boot overrides, with no operating system on the host."""

from __future__ import annotations

import errno
import json
import re
import socket
import subprocess
import sys

import pytest
from lab import COMMAND_TIMEOUT_S, NODE, Lab, lab, wait_for

from infrasim.bmc_core.boot import VALID

# What SeaBIOS says above its menu.
MENU = "Select boot device:"
SELECTORS = {
    "pxe": "Force PXE",
    "disk": "Force Boot from default Hard-Drive",
    "cdrom": "Force Boot from CD/DVD",
    "bios": "Force Boot into BIOS Setup",
}


def selector(home: Lab) -> str:
    """The boot device selector as it reads back."""
    found = re.search(r"Boot Device Selector : (.*)", home.ipmi("chassis", "bootparam", "get", "5"))
    assert found
    return found.group(1)


def power_on(home: Lab) -> None:
    """Bring the host to on and its firmware to talk."""
    home.ipmi("power", "on")
    wait_for(lambda: "SeaBIOS" in home.serial(), what="the firmware")


def test_off_and_on_and_both_again(running: Lab) -> None:
    power_on(running)
    first = running.pid("qemu")
    for _ in range(2):
        running.power_off()
        assert running.status()["state"] == "running"
    running.ipmi("power", "on")
    assert "is on" in running.ipmi("power", "status")
    running.ipmi("power", "on")
    wait_for(lambda: running.pid("qemu"), what="the host")
    assert running.pid("qemu") != first


def test_reset_keeps_the_process_and_boots_again(running: Lab) -> None:
    power_on(running)
    pid, boots = running.pid("qemu"), running.serial().count("SeaBIOS")
    running.ipmi("power", "reset")
    wait_for(lambda: running.serial().count("SeaBIOS") > boots, what="another boot")
    assert running.pid("qemu") == pid


def test_cycle_is_off_and_on(running: Lab) -> None:
    power_on(running)
    before = running.count("power-off")
    pid = running.pid("qemu")
    running.ipmi("power", "cycle")
    wait_for(lambda: running.pid("qemu") not in (None, pid), what="a new host")
    assert running.count("power-off") == before + 1
    assert "is on" in running.ipmi("power", "status")


def test_soft_without_an_operating_system_ends_at_once_as_on_hardware(running: Lab) -> None:
    power_on(running)
    running.ipmi("power", "soft")
    wait_for(lambda: "is off" in running.ipmi("power", "status"), what="power off")
    assert running.count("soft-power-off-timed-out") == 0


def test_reset_of_a_host_that_is_off_is_refused(running: Lab) -> None:
    running.power_off()
    assert running.ipmitool("power", "reset").code != 0
    assert "is off" in running.ipmi("power", "status")


@pytest.mark.parametrize("device", SELECTORS)
def test_an_override_reads_back_while_pending_and_is_gone_after_a_reset(running: Lab, device: str) -> None:
    power_on(running)
    pid = running.pid("qemu")
    boots, menus = (running.serial().count(words) for words in ("SeaBIOS", MENU))
    running.ipmi("chassis", "bootdev", device)
    assert selector(running) == SELECTORS[device]
    assert running.status()["host"]["boot_override"] == device
    assert running.serial().count("SeaBIOS") == boots, "setting it does not reset the host"
    running.ipmi("power", "reset")
    wait_for(lambda: selector(running) == "No override", what="the override used")
    assert running.status()["host"]["boot_override"] is None
    assert running.pid("qemu") == pid
    # Whoever looks next finds a host that has begun to boot, and that is not reset once more for the menu.
    wait_for(lambda: running.serial().count("SeaBIOS") > boots, what="the boot")
    if device == "bios":
        wait_for(lambda: running.serial().count(MENU) > menus, what="the menu")


def test_an_override_set_while_off_is_used_by_the_power_on(running: Lab) -> None:
    running.power_off()
    running.ipmi("chassis", "bootdev", "disk")
    assert selector(running) == SELECTORS["disk"]
    running.ipmi("power", "on")
    wait_for(lambda: "Booting from Hard Disk" in running.serial(), what="a boot from disk")
    assert "iPXE initialising" not in running.serial().partition("Booting from Hard Disk")[0]
    wait_for(lambda: selector(running) == "No override", what="the override used")
    # The next boot is in the usual order again: network first.
    pid = running.pid("qemu")
    running.ipmi("power", "cycle")
    wait_for(lambda: running.pid("qemu") not in (None, pid), what="a new host")
    wait_for(lambda: "iPXE initialising" in running.serial(), what="a boot from the network")
    assert "Hard Disk" not in running.serial().partition("iPXE initialising")[0]


def test_an_override_set_while_on_is_used_by_the_reset(running: Lab) -> None:
    power_on(running)
    running.ipmi("chassis", "bootdev", "disk")
    before = len(running.serial())
    running.ipmi("power", "reset")

    def said() -> str:
        # Without the end of the boot before. SeaBIOS resets the machine a second time; both are one boot.
        return running.serial()[before:].partition("SeaBIOS")[2]

    wait_for(lambda: "iPXE initialising" in said(), what="a boot")
    assert "Booting from Hard Disk" in said().partition("iPXE initialising")[0]
    assert "chassis power control" in running.ipmi("chassis", "restart_cause")


def test_none_takes_an_override_back(running: Lab) -> None:
    power_on(running)
    running.ipmi("chassis", "bootdev", "pxe")
    running.ipmi("chassis", "bootdev", "none")
    assert selector(running) == "No override"
    assert running.status()["host"]["boot_override"] is None


@pytest.mark.parametrize("how", ["reset", "cycle"])
def test_bios_stops_at_the_firmwares_menu(running: Lab, how: str) -> None:
    power_on(running)
    shown = running.serial().count(MENU)
    pid = running.pid("qemu")
    running.ipmi("chassis", "bootdev", "bios")
    running.ipmi("power", how)
    if how == "cycle":
        wait_for(lambda: running.pid("qemu") not in (None, pid), what="a new host")
        shown = 0
    wait_for(lambda: running.serial().count(MENU) > shown, what="the menu")


def test_identify_lights_the_lamp(running: Lab) -> None:
    running.ipmi("chassis", "identify", "force")
    assert running.status()["host"]["identify"] is True
    running.ipmi("chassis", "identify", "0")
    assert running.status()["host"]["identify"] is False
    running.ipmi("chassis", "identify", "1")
    wait_for(lambda: not running.status()["host"]["identify"], what="the lamp to go out")


def test_an_override_survives_the_supervisor(running: Lab) -> None:
    power_on(running)
    boots, host = running.serial().count("SeaBIOS"), running.pid("qemu")
    running.ipmi("chassis", "bootdev", "cdrom")
    # What the BMC keeps it writes a moment later.
    wait_for(lambda: bytes.fromhex(running.kept()["boot"]["flags"])[0] & VALID, what="the override on disk")
    running.kill("supervisor")
    assert running.status()["state"] == "degraded"
    running.must("node", "start", NODE)
    assert running.pid("qemu") == host
    assert selector(running) == SELECTORS["cdrom"]
    running.ipmi("power", "reset")
    wait_for(lambda: selector(running) == "No override", what="the override used")
    wait_for(lambda: running.serial().count("SeaBIOS") > boots, what="the boot")


def test_a_host_that_is_just_starting_keeps_its_screen(scratch: Lab) -> None:
    scratch.register(compute=scratch.never_up())
    words = [sys.executable, "-m", "infrasim", "node", "start", NODE]
    with subprocess.Popen(words, env=scratch.env) as start:
        scratch.let_up()
        assert start.wait(COMMAND_TIMEOUT_S) == 0
    screen = scratch.status()["vnc"]
    scratch.power_off()
    scratch.ipmi("power", "on")
    # Nobody listens for it now, and yet it is not given to anybody.
    with socket.socket() as viewer:
        assert viewer.connect_ex((screen["address"], screen["port"])) == errno.ECONNREFUSED
    with lab(lambda: False) as other:
        other.register(compute={"kvm_enabled": False})
        planned = json.loads(other.must("node", "plan", NODE, "--json"))
        (chosen,) = (each["port"] for each in planned["ports"] if each["purpose"] == "VNC screen")
        assert chosen != screen["port"]
        other.register(compute={"kvm_enabled": False, "vnc_display": screen["port"] - 5900})
        ran = other.infrasim("node", "start", NODE)
        assert ran.code == 4, ran
        assert f"in use by infrasim node {NODE} of {scratch.home}" in ran.err
    scratch.let_up()
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    assert scratch.status()["errors"] == []


def test_a_host_that_is_off_keeps_its_screen(scratch: Lab) -> None:
    scratch.start()
    screen = scratch.status()["vnc"]
    scratch.power_off()
    with socket.create_connection((screen["address"], screen["port"]), timeout=10) as viewer:
        assert viewer.recv(1) == b"", "nothing is shown"
    with lab(lambda: False) as other:
        other.start()
        assert other.status()["vnc"] != screen
        display = screen["port"] - 5900
        other.must("node", "stop", NODE)
        other.register(compute={"vnc_display": display})
        ran = other.infrasim("node", "start", NODE)
        assert ran.code == 4, ran
        assert f"in use by infrasim node {NODE} of {scratch.home}" in ran.err
    scratch.ipmi("power", "on")
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    with socket.create_connection((screen["address"], screen["port"]), timeout=10) as viewer:
        assert viewer.recv(3, socket.MSG_WAITALL) == b"RFB"
    assert scratch.status()["errors"] == []
