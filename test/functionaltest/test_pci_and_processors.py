"""Buses, slots, processors, NUMA nodes and pinning: what the real QEMU and a guest make of a node file."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from guest.build import Guest
from inside import Inside, guest_settings
from inside import shell as shell_of
from lab import CLONE, NODE, Lab, wait_for
from paused import Machine, paused

TOPOLOGIES = ("pci-bridges", "pcie-switch", "pcie-root-bus")
GOLDEN = CLONE / "test/unittest/golden/plan"


def wanted(argv: Sequence[str]) -> dict[str, tuple[str, int, int]]:
    """Bus, slot and function of each device that a command line puts on a PCI bus."""
    found = {}
    for word in argv:
        given = dict(part.split("=", 1) for part in word.split(",") if "=" in part)
        if {"id", "bus", "addr"} <= given.keys():
            slot, _, function = given["addr"].partition(".")
            found[given["id"]] = (given["bus"], int(slot, 16), int(function or 0))
    return found


def seen(devices: list[dict[str, Any]], bus: str) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """The same as ``query-pci`` has it."""
    for device in devices:
        name = device["qdev_id"]
        yield name, (bus, device["slot"], device["function"])
        yield from seen(device.get("pci_bridge", {}).get("devices", []), name)


@pytest.mark.parametrize("case", TOPOLOGIES)
def test_qemu_has_every_device_in_its_place(scratch: Lab, case: str) -> None:
    compute = yaml.safe_load((GOLDEN / case / "node.yml").read_text())["compute"]
    roots = {"pcie.1": 128}

    def found(machine: Machine) -> dict[str, tuple[str, int, int]]:
        names = {number: name for name, number in roots.items()}
        return {
            name: place
            for root in machine.ask("query-pci")
            for name, place in seen(root["devices"], names.get(root["bus"], "pcie.0"))
        }

    with paused(scratch, compute={**compute, "storage_backend": []}) as machine:
        places = wanted(machine.argv)
        assert places
        machine.ask("cont")
        last: dict[str, tuple[str, int, int]] = {}

        def all_are_there() -> bool:
            """What is behind a bridge is seen when the firmware has numbered its bus; meanwhile anywhere."""
            last.clear()
            last.update((name, place) for name, place in found(machine).items() if name in places)
            return last == places

        with contextlib.suppress(AssertionError):
            wait_for(all_are_there, what="the firmware's numbers of buses")
        assert last == places


# --- a guest


COMPUTE: dict[str, Any] = {
    "cpu": {"sockets": 2, "cores": 2, "threads": 2},
    "memory": {"size": 640, "nodes": 2},
    "storage_backend": [],
    "networks": [
        {"device": "e1000e", "bus": "down2"},
        {"device": "e1000", "addr": "0a"},
        {"device": "virtio-net-pci", "bus": "pci.2", "addr": "07"},
    ],
    "pci_bridge_topology": [
        {"device": "i82801b11-bridge", "addr": "1d", "downstream_bridge": [{"device": "pci-bridge"}]}
    ],
    "pcie_topology": {
        "root_port": [{"id": "root1", "addr": "1c.0"}, {"id": "root2", "addr": "1c.1", "slot": 9}],
        "switch": [
            {
                "upstream": [{"id": "up1", "bus": "root2"}],
                "downstream": [{"id": "down1"}, {"id": "down2", "addr": "03"}],
            }
        ],
    },
    "extra_device": "qemu-xhci,id=usb0",
}


@pytest.fixture(scope="module")
def inside(request: pytest.FixtureRequest, guest: Guest, running: Lab) -> Iterator[tuple[Lab, Inside]]:
    """A shell in a guest of that machine, pinned."""
    cores = sorted(os.sched_getaffinity(0))
    pinned = {
        "numa_control": {"cores": ",".join(map(str, cores)), "node-id": 0},
        "cpu_binding": {
            "main_loop": {"cores": str(cores[0])},
            "vcpu": {"cores": str(cores[-1]), "policy": "shared"},
        },
    }
    running.register(compute=guest_settings(guest, **COMPUTE, **pinned))
    running.must("node", "restart", NODE)
    with shell_of(running, guest) as shell:
        yield running, shell


def test_the_threads_of_the_host_run_where_the_file_says(inside: tuple[Lab, Inside]) -> None:
    home, _ = inside
    cores = sorted(os.sched_getaffinity(0))
    pid = home.pid("qemu")
    allowed = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # A thread of QEMU's that had nothing to do for a while ends.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = (thread / "status").read_text()
            allowed[thread.name] = re.findall(r"Cpus_allowed_list:\s*(\S+)", status)[0]
    assert allowed[str(pid)] == str(cores[0])
    assert Counter(allowed.values())[str(cores[-1])] >= 8, allowed
    assert home.count("not-pinned") == 0


def test_the_guest_sees_sockets_cores_threads_and_nodes(inside: tuple[Lab, Inside]) -> None:
    _, shell = inside
    text = shell.run("cat /proc/cpuinfo").out
    values = {key: re.findall(rf"^{key}\s*: (\d+)", text, re.MULTILINE) for key in ("physical id", "core id")}
    assert len(values["core id"]) == 8
    assert Counter(values["physical id"]) == {"0": 4, "1": 4}
    assert Counter(zip(values["physical id"], values["core id"], strict=True)).most_common(1)[0][1] == 2
    nodes = shell.run("cat /sys/devices/system/node/node*/cpulist").out.split()
    assert nodes == ["0-3", "4-7"]
    totals = re.findall(r"MemTotal:\s+(\d+) kB", shell.run("cat /sys/devices/system/node/node*/meminfo").out)
    assert len(totals) == 2
    # The kernel keeps some of it to itself.
    assert 0.8 * 640 < sum(map(int, totals)) / 1024 <= 640
    said = shell.run("dmidecode -t 4").out
    assert re.findall(r"Core Count: (\d+)", said) == ["2", "2"]
    assert re.findall(r"Thread Count: (\d+)", said) == ["4", "4"]


def test_the_guest_finds_every_device_behind_its_bus(inside: tuple[Lab, Inside]) -> None:
    home, shell = inside
    plan = json.loads(home.must("node", "plan", NODE, "--json"))
    (argv,) = (process["argv"] for process in plan["processes"] if process["name"] == "qemu")
    places = wanted(argv)
    listed = shell.run("for d in /sys/bus/pci/devices/*; do readlink $d; done").out.split()
    paths = {path.rpartition("/")[2]: path.split("/")[5:] for path in listed}
    trees = {tuple(step.partition(":")[2].partition(":")[2] for step in steps) for steps in paths.values()}

    def way(name: str) -> tuple[str, ...]:
        bus, slot, function = places[name]
        own = f"{slot:02x}.{function}"
        return (own,) if bus == "pcie.0" else (*way(bus), own)

    assert {way(name) for name in places} <= trees, (places, listed)
    # One more device than those that have a place: the one of extra_device.
    chipset = {("00.0",), ("01.0",), ("1f.0",), ("1f.3",)}
    assert len(trees - chipset - {way(name) for name in places}) == 1


def test_processors_that_this_machine_has_not(scratch: Lab) -> None:
    file = scratch.node_file(compute={"cpu_binding": {"vcpu": {"cores": "4000-4001"}}})
    scratch.must("config", "add", NODE, str(file))
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert "compute.cpu_binding.vcpu.cores: this machine has no processor 4000, 4001 to run on" in ran.err
    assert re.search(r":\d+:\d+: compute", ran.err)
