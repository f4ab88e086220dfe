"""A Linux guest on a node: its BMC over KCS, its vendor, its power button, its own reboot and power-off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pexpect
import pytest
from guest.build import Guest
from inside import answer, console, guest_settings, order
from lab import NODE, Lab, wait_for

# How long a system may take to end.
END_S = 300


@pytest.fixture(scope="module")
def home(running: Lab, guest: Guest) -> Lab:
    """The node with Linux at its prompt."""
    running.register(compute=guest_settings(guest), bmc={"poweroff_wait": END_S})
    running.must("node", "restart", NODE)
    return running


@pytest.fixture
def terminal(home: Lab, guest: Guest) -> Iterator[pexpect.spawn[str]]:
    """A console at the guest's prompt, the host powered on if need be."""
    home.ipmi("power", "on")
    with console(home, guest) as found:
        yield found


def test_the_guest_sees_the_bmc_that_the_lan_sees(home: Lab, terminal: pexpect.spawn[str]) -> None:
    inside = answer(terminal, "ipmitool mc info")
    outside = home.ipmi("mc", "info")
    for label in ("Device ID", "Firmware Revision", "Manufacturer ID", "Product ID"):
        pattern = rf"{label} +: (\S+)"
        seen_inside, seen_outside = re.search(pattern, inside), re.search(pattern, outside)
        assert seen_inside and seen_outside, inside
        assert seen_inside.group(1) == seen_outside.group(1)
    rows = [line for line in answer(terminal, "ipmitool sdr list").splitlines() if "|" in line]
    assert rows == [line for line in home.ipmi("sdr", "list").splitlines() if "|" in line]


def test_the_guest_is_the_vendors_machine(home: Lab, terminal: pexpect.spawn[str]) -> None:
    node = json.loads(home.must("node", "info", NODE, "--json"))
    said = {
        word: answer(terminal, f"dmidecode -s {word}").strip()
        for word in ("system-manufacturer", "system-product-name", "system-serial-number", "system-uuid")
    }
    assert said["system-manufacturer"].startswith("Quanta")
    assert said["system-product-name"].startswith("D51B")
    assert said["system-serial-number"] == node["serial_number"]
    assert said["system-uuid"].lower() == node["uuid"]
    memory = answer(terminal, "dmidecode -t 17")
    sizes = [int(size) for size in re.findall(r"^\s+Size: (\d+) MB", memory, re.MULTILINE)]
    assert sum(sizes) == 512, memory


def test_the_guest_switches_its_own_chassis_off(home: Lab, terminal: pexpect.spawn[str]) -> None:
    deaths = home.count("died")
    order(terminal, "poweroff -f")
    wait_for(lambda: home.status()["host"]["power"] == "off", timeout_s=END_S, what="chassis power off")
    assert "is off" in home.ipmi("power", "status")
    assert home.status()["state"] == "running"
    assert home.count("died") == deaths
    assert home.count("guest-powered-off") >= 1


def test_the_guest_switches_off_through_its_bmc(home: Lab, terminal: pexpect.spawn[str]) -> None:
    order(terminal, "ipmitool power off")
    wait_for(lambda: home.status()["host"]["power"] == "off", timeout_s=END_S, what="chassis power off")


def test_soft_power_off_lets_the_system_shut_down(home: Lab, terminal: pexpect.spawn[str]) -> None:
    offs = home.count("guest-powered-off")
    home.ipmi("power", "soft")
    wait_for(
        lambda: home.count("guest-powered-off") > offs, timeout_s=END_S, what="the guest's own power-off"
    )
    assert home.count("soft-power-off-timed-out") == 0


def test_a_reboot_of_the_guest_uses_a_pending_override(home: Lab, terminal: pexpect.spawn[str]) -> None:
    pid, used = home.pid("qemu"), home.count("boot-override-used")
    home.ipmi("chassis", "bootdev", "pxe")
    order(terminal, "reboot -f")
    wait_for(lambda: home.status()["host"]["boot_override"] is None, what="the override used")
    assert home.count("boot-override-used") == used + 1, "it was not used, but expired"
    assert home.pid("qemu") == pid


def test_soft_power_off_has_a_deadline(home: Lab, guest: Guest) -> None:
    """A system that listens and does nothing is cut off in the end."""
    home.register(compute=guest_settings(guest), bmc={"poweroff_wait": 2})
    home.must("node", "restart", NODE)
    with console(home, guest) as terminal:
        answer(terminal, "rm -rf /etc/acpi; killall acpid")
        home.ipmi("power", "soft")
        wait_for(lambda: home.status()["host"]["power"] == "off", timeout_s=END_S, what="the deadline")
    assert home.count("soft-power-off-timed-out") == 1
