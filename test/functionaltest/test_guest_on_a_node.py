"""A Linux guest on a node: its BMC over KCS, its vendor, its power button, its own reboot and power-off."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest
from guest.build import Guest
from inside import answer, guest_settings, wake
from lab import NODE, Lab, wait_for

BOOT_S = 240
ANSWER_S = 60


@contextmanager
def console_of(home: Lab) -> Iterator[pexpect.spawn[str]]:
    """The host's serial console."""
    argv = ["-m", "infrasim", "node", "console", NODE]
    terminal = pexpect.spawn(sys.executable, argv, env=home.env, timeout=ANSWER_S, encoding="latin-1")
    terminal.expect_exact("Ctrl-] detaches")
    try:
        yield terminal
    finally:
        terminal.close(force=True)


@pytest.fixture(scope="module")
def booted(running: Lab, guest: Guest) -> Iterator[tuple[Lab, Guest]]:
    """The node with Linux at its prompt."""
    running.register(compute=guest_settings(guest), bmc={"poweroff_wait": 120})
    running.must("node", "restart", NODE)
    yield running, guest


@pytest.fixture
def terminal(booted: tuple[Lab, Guest]) -> Iterator[pexpect.spawn[str]]:
    """A console at the guest's prompt, the host powered on if need be."""
    home, guest = booted
    home.ipmi("power", "on")
    with console_of(home) as found:
        if guest.prompt not in home.serial():
            found.expect_exact(guest.prompt, timeout=BOOT_S)
        wake(found, guest)
        yield found


def test_the_guest_sees_the_bmc_that_the_lan_sees(
    booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]
) -> None:
    home, guest = booted
    inside = answer(terminal, guest, "ipmitool mc info")
    outside = home.ipmi("mc", "info")
    for label in ("Device ID", "Firmware Revision", "Manufacturer ID", "Product ID"):
        pattern = rf"{label} +: (\S+)"
        seen_inside, seen_outside = re.search(pattern, inside), re.search(pattern, outside)
        assert seen_inside and seen_outside, inside
        assert seen_inside.group(1) == seen_outside.group(1)
    rows = [line for line in answer(terminal, guest, "ipmitool sdr list").splitlines() if "|" in line]
    assert rows == [line for line in home.ipmi("sdr", "list").splitlines() if "|" in line]


def test_the_guest_is_the_vendors_machine(booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]) -> None:
    home, guest = booted
    node = json.loads(home.must("node", "info", NODE, "--json"))
    said = {
        word: answer(terminal, guest, f"dmidecode -s {word}").strip()
        for word in ("system-manufacturer", "system-product-name", "system-serial-number", "system-uuid")
    }
    assert said["system-manufacturer"].startswith("Quanta")
    assert said["system-product-name"].startswith("D51B")
    assert said["system-serial-number"] == node["serial_number"]
    assert said["system-uuid"].lower() == node["uuid"]
    memory = answer(terminal, guest, "dmidecode -t 17")
    sizes = [int(size) for size in re.findall(r"^\s+Size: (\d+) MB", memory, re.MULTILINE)]
    assert sum(sizes) == 512, memory


def test_the_guest_switches_its_own_chassis_off(
    booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]
) -> None:
    home, _ = booted
    deaths = home.count("died")
    terminal.sendline("poweroff -f")
    wait_for(lambda: home.status()["host"]["power"] == "off", what="chassis power off")
    assert "is off" in home.ipmi("power", "status")
    assert home.status()["state"] == "running"
    assert home.count("died") == deaths
    assert home.count("guest-powered-off") >= 1


def test_the_guest_switches_off_through_its_bmc(
    booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]
) -> None:
    home, _ = booted
    terminal.sendline("ipmitool power off")
    wait_for(lambda: home.status()["host"]["power"] == "off", what="chassis power off")


def test_soft_power_off_lets_the_system_shut_down(
    booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]
) -> None:
    home, _ = booted
    offs = home.count("guest-powered-off")
    home.ipmi("power", "soft")
    wait_for(lambda: home.count("guest-powered-off") > offs, timeout_s=120, what="the guest's own power-off")
    assert home.count("soft-power-off-timed-out") == 0


def test_a_reboot_of_the_guest_uses_a_pending_override(
    booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]
) -> None:
    home, _ = booted
    pid = home.pid("qemu")
    home.ipmi("chassis", "bootdev", "pxe")
    terminal.sendline("reboot -f")
    wait_for(lambda: home.status()["host"]["boot_override"] is None, what="the override used")
    assert home.pid("qemu") == pid


def test_soft_power_off_has_a_deadline(booted: tuple[Lab, Guest], terminal: pexpect.spawn[str]) -> None:
    """A system that listens and does nothing is cut off in the end."""
    home, guest = booted
    answer(terminal, guest, "rm -rf /etc/acpi; killall acpid")
    home.register(
        compute={
            "kernel": str(guest.kernel),
            "initrd": str(guest.initrd),
            "cmdline": guest.cmdline,
            "memory": {"size": 512},
        },
        bmc={"poweroff_wait": 2},
    )
    home.must("node", "restart", NODE)
    with console_of(home) as found:
        found.expect_exact(guest.prompt, timeout=BOOT_S)
        wake(found, guest)
        answer(found, guest, "rm -rf /etc/acpi; killall acpid")
        home.ipmi("power", "soft")
        wait_for(lambda: home.status()["host"]["power"] == "off", what="the deadline")
    assert home.count("soft-power-off-timed-out") == 1
