"""Where drives go: places on controllers, further controllers, names that stay."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from infrasim.errors import InvalidNodeFile
from infrasim.paths import Home
from infrasim.plan.part import HostPart
from infrasim.plan.storage import storage_part
from infrasim.spec.load import load_node

PATHS = Home(Path("/home/lab/.infrasim"), Path("/var/log/infrasim")).node("n")
UUID = uuid.UUID("3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21")


def part(compute: str) -> HostPart:
    spec = load_node(Path("node.yml"), f"compute: {{{compute}}}", name="n").spec
    return storage_part(spec.compute, PATHS, UUID)


def ids(compute: str) -> list[str]:
    return [device.id for device in part(compute).devices]


def images(compute: str) -> list[str]:
    return [disk.path.name for disk in part(compute).disks]


def test_controllers_are_numbered_without_gaps_by_family() -> None:
    full = "{drives: [{}, {}], max_drive_per_controller: 2}"
    found = ids(f"storage_backend: [{full}, {{type: pvscsi}}, {full}, {{type: megasas, drives: [{{}}]}}]")
    assert found[:4] == ["sata0", "scsi0", "sata1", "scsi1"]


def test_an_entry_without_drives_is_a_controller() -> None:
    assert ids("storage_backend: [{type: virtio-scsi}, {}]") == ["scsi0", "sata0"]
    assert ids("storage_backend: []") == []


def test_a_cdrom_moves_ports_and_never_images() -> None:
    disks = "storage_backend: [{type: ide, drives: [{}]}, {drives: [{}, {}], max_drive_per_controller: 2}]"
    with_cdrom = f"cdrom: /a.iso, {disks}"
    assert images(with_cdrom) == images(disks)
    assert ids(disks) == ["ide0", "sata0", "ide0-0", "sata0-0", "sata0-1"]
    assert ids(with_cdrom) == ["ide0", "sata0", "sata1", "cdrom0", "ide0-0", "sata0-1", "sata1-0"]


@pytest.mark.parametrize("storage", ["[]", "[{type: megasas, drives: [{}]}]"])
def test_a_cdrom_without_sata_disks_has_a_controller(storage: str) -> None:
    found = ids(f"cdrom: /a.iso, storage_backend: {storage}")
    assert "sata0" in found
    assert "cdrom0" in found


def test_drives_without_a_target_take_those_that_nobody_asks_for() -> None:
    found = ids(
        "storage_backend: [{type: virtio-scsi, drives: [{}, {scsi-id: 0}, {lun: 4}, {scsi-id: 2, lun: 1}]}]"
    )
    assert found[1:] == ["scsi0-0-1-0", "scsi0-0-0-0", "scsi0-0-3-4", "scsi0-0-2-1"]


def test_where_targets_end_units_follow() -> None:
    drives = ", ".join(["{}"] * 10)
    found = ids(f"storage_backend: [{{type: mptsas1068, max_drive_per_controller: 16, drives: [{drives}]}}]")
    assert found[-3:] == ["scsi0-0-7-0", "scsi0-0-0-1", "scsi0-0-1-1"]


@pytest.mark.parametrize(
    "compute",
    [
        "storage_backend: [{addr: '05', max_drive_per_controller: 1, drives: [{}, {}]}]",
        "cdrom: /a.iso, storage_backend: [{addr: '05', max_drive_per_controller: 1, drives: [{}]}]",
        "storage_backend: [{type: nvme, addr: '05', drives: [{}, {}]}]",
    ],
)
def test_one_place_is_for_one_controller(compute: str) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        part(compute)
    (problem,) = caught.value.problems
    assert problem.path == "compute.storage_backend[0].addr"


def test_serial_numbers_are_of_node_and_place() -> None:
    compute = "storage_backend: [{type: nvme}, {type: nvme, namespaces: 2}, {drives: [{}, {serial: X1}]}]"
    serials = [device.properties.get("serial") for device in part(compute).devices]
    made = [serial for serial in serials if serial not in (None, "X1")]
    assert len(set(made)) == len(made) == 3
    assert [device.properties.get("serial") for device in part(compute).devices] == serials


def test_namespaces_of_a_subsystem_share_their_numbers() -> None:
    compute = """storage_backend: [
        {type: nvme, subsystem: s, namespaces: [{}, {nsid: 1}]},
        {type: nvme, subsystem: s, size: 1}, {type: nvme, subsystem: s, namespaces: []},
        {type: nvme, namespaces: 1}]"""
    found = [(device.id, device.properties.get("nsid")) for device in part(compute).devices]
    assert [entry for entry in found if entry[1]] == [
        ("nvme0-ns2", 2),
        ("nvme0-ns1", 1),
        ("nvme1-ns3", 3),
        ("nvme3-ns1", 1),
    ]
