"""Every golden plan of the unit tests is a machine that the real QEMU makes, with exactly its devices."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guest.build import Guest
from lab import CLONE, Lab
from paused import paused

from infrasim.spec.document import load_document

FOLDER = CLONE / "test" / "unittest" / "golden" / "plan"
NOT_HERE = {
    "numa-hugepages": "it needs huge pages, which a machine may not have",
    "extra-option": "its argument is made up",
    "passthrough": "it needs an IOMMU and devices to spare; test_passthrough.py has what QEMU says of it",
    "own-identity": "its server type is one of the tests",
    "unusual-devices": "no QEMU of a distribution has its devices",
    "network-modes": "bridges and taps are made in a network namespace, by tests of their own",
    "namespace": "as network-modes",
}
# Files that a node reads or has already: the key, and the format they have if no other key says it.
FILES = {"cdrom": "raw", "splash": "raw", "bios": "firmware", "file": "", "backing_file": "", "image": ""}
FIRMWARE = Path("/usr/share/seabios/bios-256k.bin")


def cases() -> list[str]:
    """Golden node files that say something of the host; without that all are one machine."""
    found = sorted(path.parent.name for path in FOLDER.glob("*/node.yml"))
    assert NOT_HERE.keys() & set(found)
    return [case for case in found if case not in NOT_HERE and "compute" in given(case)]


def given(case: str) -> dict[str, Any]:
    """What a golden node file says."""
    return dict(load_document((FOLDER / case / "node.yml").read_text(), file=case).values)


def asked_for(argv: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """The properties of each device of a command line, by its id."""
    devices = (word for flag, word in itertools.pairwise(argv) if flag == "-device")
    # A doubled comma is a comma; that none of it splits is all that matters here.
    listed = (word.replace(",,", ";").split(",")[1:] for word in devices)
    found = [dict(pair.split("=", 1) for pair in pairs) for pairs in listed]
    return {properties["id"]: properties for properties in found if "id" in properties}


def here(value: Any, place: Path, guest: Guest) -> Any:
    """The settings of a golden node file with files that exist on this machine."""
    if isinstance(value, list):
        return [here(entry, place, guest) for entry in value]
    if not isinstance(value, dict):
        return value
    made = {key: here(below, place, guest) for key, below in value.items()}
    for key, kind in FILES.items():
        if isinstance(made.get(key), str):
            backing = made.get("backing_format") if key == "backing_file" else made.get("format")
            made[key] = str(a_file(place, Path(made[key]).name, kind or backing or "qcow2"))
    for key, path in (("kernel", guest.kernel), ("initrd", guest.initrd)):
        if key in made:
            made[key] = str(path)
    return made


def a_file(place: Path, name: str, kind: str) -> Path:
    path = place / name
    if kind == "firmware":
        return FIRMWARE
    if not path.exists():
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, str(path), "64M"], check=True)
    return path


@pytest.mark.parametrize("case", ["default", *cases()])
def test_the_real_qemu_makes_it(case: str, scratch: Lab, guest: Guest) -> None:
    settings = here(given(case), scratch.root, guest)
    compute = settings.pop("compute", {})
    # Where the golden one listens is not an address of this machine.
    for door in ("bmc", "racadm"):
        settings.pop(door, None)
    for key in ("kvm_enabled", "vnc_display"):
        compute.pop(key, None)
    for card in compute.get("networks", ()):
        card.pop("port_forward", None)
    with paused(scratch, **settings, compute=compute) as machine:
        asked, devices = asked_for(machine.argv), machine.devices()
        # What is on no bus is not in the tree: a BMC, an NVM subsystem.
        assert asked.keys() - devices.keys() <= machine.qom_names("/machine/peripheral").keys()
        with_drives = {name for name, properties in asked.items() if "drive" in properties}
        assert with_drives == machine.blocks().keys()
        # A namespace of an NVM subsystem is on none of the buses in the tree.
        for name in with_drives & devices.keys():
            # A virtio device shows nothing of the drive it has inside.
            shown = devices[name].properties.get("serial")
            assert shown is None or shown == asked[name].get("serial", shown), name
        assert machine.ask("query-status")["running"] is False
