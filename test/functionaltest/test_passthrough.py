"""Devices of this machine in a host: what is said here, and what a real kernel with an IOMMU does.

Whether this machine has an IOMMU does not matter: that of the last test is a guest's, which runs the tested
code on this machine's files.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from guest.build import Guest
from lab import CLONE, NODE, Lab

BOOT_AND_RUN_S = 1200
# Where there is no machine with so many buses.
NOWHERE = "ffff:ff:1f.7"
SCRIPT = Path(__file__).parent / "guest" / "take_devices.py"
# In the guest: two cards behind a conventional bridge, which are in one group with it, and one by itself.
FIRST, SECOND, BRIDGE, ALONE = "0000:01:01.0", "0000:01:02.0", "0000:00:07.0", "0000:00:06.0"
USUAL = {FIRST: "e1000e", SECOND: "e1000", ALONE: "e1000e"}


def pci_state() -> dict[str, tuple[str, str]]:
    """The driver of each PCI device of this machine, and the one that is demanded for it."""
    found = {}
    for place in Path("/sys/bus/pci/devices").iterdir():
        driver = place / "driver"
        name = driver.readlink().name if driver.is_symlink() else ""
        found[place.name] = (name, (place / "driver_override").read_text())
    return found


def test_devices_that_cannot_be_had_are_refused_on_their_lines(scratch: Lab) -> None:
    before = pci_state()
    scratch.register(compute={"pcie-passthrough": [{"host": NOWHERE}, {"host": min(before)}]})
    started, stopped = scratch.infrasim("node", "start", NODE), scratch.infrasim("node", "stop", NODE)
    assert (started.code, stopped.code) == (2, 0)
    assert f"compute.pcie-passthrough[0].host: this machine has no PCI device {NOWHERE}" in started.err
    if not any(Path("/sys/kernel/iommu_groups").glob("*")):
        assert "compute.pcie-passthrough[1].host: this machine has no IOMMU in use" in started.err
    assert scratch.infrasim("config", "check", NODE).code == 2
    assert not (scratch.home / NODE / "run" / "devices.json").exists()
    assert pci_state() == before


def test_the_real_qemu_takes_every_property_and_looks_for_the_device(scratch: Lab) -> None:
    rom = scratch.root / "card.rom"
    rom.write_bytes(bytes(512))
    device = {
        "host": NOWHERE,
        "bus": "slot1",
        "addr": "00.0",
        "multifunction": True,
        "bootindex": 7,
        "rombar": False,
        "romfile": str(rom),
    }
    compute = {"pcie-passthrough": [device], "pcie_topology": {"root_port": [{"id": "slot1"}]}}
    scratch.register(compute={**compute, "storage_backend": [], "kvm_enabled": False})
    plan = json.loads(scratch.must("node", "plan", NODE, "--json"))
    (argv,) = (process["argv"] for process in plan["processes"] if process["name"] == "qemu")
    wanted = [word for flag, word in itertools.pairwise(argv) if flag == "-device"]
    ports = [word for word in wanted if word.startswith(("pcie-root-port", "vfio-pci"))]
    words = [word for device in ports for word in ("-device", device)]
    alone = ("-machine", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-S")
    ran = subprocess.run([argv[0], *alone, *words], capture_output=True, text=True, check=False, timeout=300)
    assert ports[1].count("=") == 8
    assert f"vfio /sys/bus/pci/devices/{NOWHERE}: no such host device" in ran.stderr


def steps_of(guest: Guest) -> list[dict[str, Any]]:
    """What the script says in a guest with an IOMMU."""
    run = "+".join([sys.executable, str(SCRIPT), FIRST, ALONE])
    argv = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024"),
        *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-device", "intel-iommu,intremap=on"),
        *("-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "e1000e,addr=06", "-device", "pcie-pci-bridge,id=bridge,addr=07"),
        *("-device", "e1000e,bus=bridge,addr=1", "-device", "e1000,bus=bridge,addr=2"),
        *("-kernel", str(guest.kernel), "-initrd", str(guest.iommu_initrd)),
        # The timer of an emulated processor comes too late for the check of the remapped interrupts.
        *("-append", f"{guest.cmdline} intel_iommu=on no_timer_check panic=-1 run={run} path={CLONE}"),
    ]
    ran = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=BOOT_AND_RUN_S,
        stdin=subprocess.DEVNULL,
    )
    assert "exit=0" in ran.stdout, ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"step"')]


def test_a_real_kernel_gives_devices_and_takes_them_back(guest: Guest) -> None:
    steps = steps_of(guest)
    before = steps[0]["devices"]
    assert {address: before[address] for address in USUAL} == {
        address: [driver, None] for address, driver in USUAL.items()
    }
    groups = steps[0]["groups"]
    assert groups[FIRST] == groups[SECOND] == groups[BRIDGE] != groups[ALONE]
    taken = {**before, **{address: ["vfio-pci", "vfio-pci"] for address in USUAL}}
    kinds = {
        kind: [each for each in steps if each["step"] == kind]
        for kind in dict.fromkeys(s["step"] for s in steps)
    }
    (first,) = kinds["taken"]
    assert first["devices"] == taken
    assert first["nodes"] == sorted([str(groups[FIRST]), str(groups[ALONE]), "vfio"])
    (refused,) = kinds["refused"]
    assert f"of IOMMU group {groups[FIRST]} is in use by python" in refused["message"]
    # Killed before each of the three writes for each of the three devices.
    (left,) = kinds["left"]
    assert left["devices"] == taken
    assert left["number"] == len(kinds["killed"]) == 9
    for step in kinds["given back"]:
        assert (step["devices"], step["on_record"]) == (before, False)
    for step in [first, *kinds["taken again"]]:
        assert (step["devices"], sorted(step["had"])) == (taken, sorted(USUAL.values()))
    assert steps[-1]["devices"] == before
