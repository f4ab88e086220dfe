"""DCMI by every subcommand of ``ipmitool dcmi``, and a power limit that slows a busy host down."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from lab import Lab, wait_for

# A limit that leaves the host a tenth of its two processors, and what it then uses at most. Without one a
# host uses all of one, or what other programs of this machine leave of it; an idle one uses hardly any.
_LIMIT_W = 150
_LIMITED_USE, _BUSY_USE = 0.25, 0.1
_BUSY_W = 130
PATIENCE_S = 180.0

# A boot sector that turns in a circle: jmp $.
_BUSY = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture(scope="module")
def busy(request: pytest.FixtureRequest, running: Lab) -> Iterator[Lab]:
    """The shared node with a host that never rests."""
    disk = running.root / "busy.img"
    disk.write_bytes(_BUSY.ljust(1 << 20, b"\0"))
    running.must("node", "stop", "n")
    drives = [{"file": str(disk), "format": "raw"}]
    running.start(compute={"memory": {"size": 256}, "storage_backend": [{"type": "ahci", "drives": drives}]})
    wait_for(lambda: used(running, 0.5) > _BUSY_USE, timeout_s=PATIENCE_S, what="a busy host")
    yield running


def used(home: Lab, seconds: float) -> float:
    """How many processors the host uses, measured for so long."""
    pid = home.pid("qemu")
    assert pid is not None
    qemu = psutil.Process(pid)
    # The time is taken around the use: what passes between the two makes it less, never more.
    began_s = time.monotonic()
    before = sum(qemu.cpu_times()[:2])
    deadline_s = began_s + seconds
    wait_for(lambda: time.monotonic() >= deadline_s, what="the measurement")
    used_s = sum(qemu.cpu_times()[:2]) - before
    return used_s / (time.monotonic() - began_s)


def groups_of(home: Lab) -> list[Path]:
    """The control groups that this product made and that the host is in."""
    pid = str(home.pid("qemu"))
    # Others than this host's may end at any time; os.walk then goes on.
    every = (Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup"))
    made = [each for each in every if each.name.startswith("infrasim-")]
    return [each for each in made if pid in lines_of(each / "cgroup.procs")]


def lines_of(file: Path) -> list[str]:
    """The lines of a file of a control group, none if that has ended."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def slowed_group(home: Lab) -> Path:
    """The control group in which the kernel makes the host wait, as its ``cpu.stat`` counts."""
    [group] = groups_of(home)

    def throttled() -> int:
        lines = (line.split() for line in lines_of(group / "cpu.stat"))
        return next(int(number) for name, number in lines if name == "nr_throttled")

    before = throttled()
    wait_for(lambda: throttled() > before, timeout_s=PATIENCE_S, what="the host to be slowed down")
    return group


def watts(home: Lab) -> int:
    """What the node takes now."""
    found = re.search(r"Instantaneous power reading: +(\d+) Watts", home.ipmi("dcmi", "power", "reading"))
    assert found
    return int(found.group(1))


def test_discover(running: Lab) -> None:
    told = running.ipmi("dcmi", "discover")
    for line in (
        "Power management available",
        "In-band KCS channel available",
        r"\d+ SEL entries",
        "Asset tag",
        "Primary LAN channel number: 1 is available",
    ):
        assert re.search(line, told), line
    assert running.ipmitool("dcmi", "oob_discover").code == 0


def test_sensors_and_temperatures_are_those_of_the_sensors(running: Lab) -> None:
    told = running.ipmi("dcmi", "sensors")
    assert re.search(r"Inlet: 1 temperature sensor found:\n.*Temp_Ambient_FP +\| 25 degrees C", told)
    assert re.search(r"CPU: 2 temperature sensors found:", told)
    told = running.ipmi("dcmi", "get_temp_reading")
    assert re.search(r"Inlet air temperature\(40h\)\s+1\s+\+25 C", told)


def test_the_asset_tag_in_pieces(running: Lab) -> None:
    tag = "a tag of more than two pieces of sixteen"
    running.ipmi("dcmi", "set_asset_tag", tag)
    assert f"Asset tag: {tag}\n" in running.ipmi("dcmi", "asset_tag")
    wait_for(lambda: running.kept()["dcmi"]["asset_tag"] == tag.encode().hex(), what="the tag on disk")


def test_the_controllers_identifier(running: Lab) -> None:
    mac = re.search(r"MAC Address +: (\S+)\n", running.ipmi("lan", "print", "1"))
    assert mac
    before = running.ipmi("dcmi", "get_mc_id_string")
    assert before.strip().endswith(f": DCMI{mac.group(1).replace(':', '')}")
    running.ipmi("dcmi", "set_mc_id_string", "rack-7-node-3")
    assert running.ipmi("dcmi", "get_mc_id_string").strip().endswith(": rack-7-node-3")


def test_a_thermal_policy(running: Lab) -> None:
    running.ipmi("dcmi", "thermalpolicy", "set", "0x40", "1", "nonvolatile", "nopoweroff", "sel", "90", "30")
    told = running.ipmi("dcmi", "thermalpolicy", "get", "0x40", "1")
    for line in (
        r"Persistence flag is: +set",
        r"Hard Power Off system and log event: +inactive",
        r"Log event to SEL only: +active",
        r"Temperature Limit +90 degrees",
        r"Exception Time +30 seconds",
    ):
        assert re.search(line, told), line
    refused = running.ipmitool("dcmi", "thermalpolicy", "get", "0x41", "1")
    assert "Invalid data field" in refused.out + refused.err, "limits are for the inlet"


def test_configuration_parameters(running: Lab) -> None:
    for name, value in (("dhcp_config", "3"), ("init", "5"), ("timeout", "100"), ("retry", "60")):
        running.ipmi("dcmi", "set_conf_param", name, value)
    running.ipmi("dcmi", "set_conf_param", "activate_dhcp", "1")
    told = running.ipmi("dcmi", "get_conf_param")
    for line in (
        "Management Controller ID String is enabled",
        r"Initial timeout interval\s+: 5 seconds",
        r"Server contact timeout interval\s+: 100 seconds",
        r"Server contact retry interval\s+: 60 seconds",
    ):
        assert re.search(line, told), line


def test_a_power_limit_is_set_field_by_field(running: Lab) -> None:
    assert "No Active Power Limit" in running.ipmi("dcmi", "power", "get_limit")
    for name, value in (
        ("limit", "300"),
        ("correction", "2000"),
        ("sample", "10"),
        ("action", "sel_logging"),
    ):
        running.ipmi("dcmi", "power", "set_limit", name, value)
    told = running.ipmi("dcmi", "power", "get_limit")
    for line in (
        r"Exception actions: +Log Event to SEL",
        r"Power Limit: +300 Watts",
        r"Correction time: +2000 milliseconds",
        r"Sampling period: +10 seconds",
    ):
        assert re.search(line, told), line
    refused = running.ipmitool("dcmi", "power", "set_limit", "limit", "20")
    assert refused.out + refused.err, "less than the node takes idle"
    assert re.search(r"Power Limit: +300 Watts", running.ipmi("dcmi", "power", "get_limit"))


def test_power_readings_of_periods(running: Lab) -> None:
    for period in ("30_sec", "1_min", "3_min", "30_min", "1_hour"):
        told = running.ipmi("dcmi", "power", "reading", period)
        assert re.search(r"Instantaneous power reading: +\d+ Watts", told)
        assert period in told
    refused = running.ipmitool("dcmi", "power", "reading", "5_sec")
    assert "Invalid data field" in refused.out + refused.err, "no such period is in the capabilities"


def test_an_active_power_limit_slows_a_busy_host_down(busy: Lab) -> None:
    """Two processors, one of them busy: 270 W.

    Where this machine lets nobody limit processor time, the node says so and the limit has its consequence.
    """
    wait_for(lambda: watts(busy) > _BUSY_W, timeout_s=PATIENCE_S, what="a reading of the busy host")
    busy.ipmi("sel", "clear")
    for name, value in (("limit", str(_LIMIT_W)), ("correction", "100"), ("action", "sel_logging")):
        busy.ipmi("dcmi", "power", "set_limit", name, value)
    busy.ipmi("dcmi", "power", "activate")
    try:
        if busy.count("power-limit-not-kept"):
            wait_for(lambda: "Limit" in busy.ipmi("sel", "elist"), timeout_s=PATIENCE_S, what="the event")
            return
        assert busy.count("power-limit-kept") == 1
        group = slowed_group(busy)
        assert used(busy, 2.0) < _LIMITED_USE
        assert watts(busy) <= _LIMIT_W
        # Whoever keeps it slow may die.
        busy.kill("supervisor")
        assert busy.status()["state"] == "degraded"
        assert used(busy, 1.0) < _LIMITED_USE
        busy.must("node", "start", "n")
        assert used(busy, 1.0) < _LIMITED_USE
        assert watts(busy) <= _LIMIT_W
        ran = busy.ipmitool("sel", "elist")
        assert "SEL has no entries" in ran.out + ran.err, "the limit is kept, so nothing happens"
        # A new host is held from its beginning. The power is "on" until the old one is gone.
        before = busy.pid("qemu")
        busy.ipmi("power", "cycle")
        wait_for(lambda: busy.pid("qemu") not in (None, before) and busy.host_runs(), what="the next host")
        assert slowed_group(busy) == group
        assert used(busy, 2.0) < _LIMITED_USE
    finally:
        busy.ipmi("dcmi", "power", "deactivate")
    wait_for(lambda: used(busy, 0.5) > _BUSY_USE, timeout_s=PATIENCE_S, what="a host at full speed")
    assert not groups_of(busy)
    busy.must("node", "stop", "n")
    assert not group.exists()
