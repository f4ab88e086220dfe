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


def test_a_unit_that_a_drive_asks_for_is_one_that_is_free() -> None:
    plain = ", ".join(["{}"] * 64)
    text = "storage_backend: [{type: megasas, max_drive_per_controller: 100, drives: [%s]}]"
    assert "scsi0-0-0-7" in ids(text % f"{plain}, {{lun: 7}}")
    with pytest.raises(InvalidNodeFile) as caught:
        part(text % f"{plain}, {{lun: 0}}")
    assert [str(each) for each in caught.value.problems] == [
        ": compute.storage_backend[0].drives[64].lun: unit 0 of the 64 targets has a disk "
        "(give it another controller)"
    ]


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
    assert refusal(compute).startswith("compute.storage_backend[0].addr: ")


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


def ports(compute: str) -> dict[str, str]:
    """The port of each drive on SATA and IDE, by the id of its image."""
    drives = [device for device in part(compute).devices if "drive" in device.properties]
    return {
        str(
            device.properties["drive"]
        ): f"{device.properties['bus']} {device.properties.get('unit', '')}".strip()
        for device in drives
    }


def test_drives_that_want_a_port_have_it_and_the_others_go_round_them() -> None:
    found = ports("cdrom: /a.iso, storage_backend: [{drives: [{}, {slot: 0}, {slot: 5}, {}]}]")
    assert list(found.values()) == ["sata0.1", "sata0.2", "sata0.0", "sata0.5", "sata0.3"]
    found = ports("cdroms: [{file: /a.iso, slot: 2}, /b.iso], storage_backend: [{drives: [{}, {}]}]")
    assert list(found.values()) == ["sata0.2", "sata0.0", "sata0.1", "sata0.3"]
    found = ports("storage_backend: [{type: ide, drives: [{}, {slot: 0}, {slot: 3}]}]")
    assert list(found.values()) == ["ide0.0 1", "ide0.0 0", "ide0.1 1"]


def test_a_port_of_a_further_controller_is_its_own() -> None:
    drives = "[{slot: 1}, {}, {slot: 1}, {}]"
    found = ports(f"storage_backend: [{{max_drive_per_controller: 2, drives: {drives}}}]")
    assert list(found.values()) == ["sata0.1", "sata0.0", "sata1.1", "sata1.0"]


def refusal(compute: str) -> str:
    try:
        (problem,) = part(compute).faults
    except InvalidNodeFile as exc:
        # The file by itself says so already.
        (problem,) = exc.problems
    return f"{problem.path}: {problem.message}"


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (
            "storage_backend: [{drives: [{slot: 1}, {slot: 1}]}]",
            "compute.storage_backend[0].drives[1].slot: port 1 of sata0 has "
            "compute.storage_backend[0].drives[0]",
        ),
        (
            "cdrom: {file: /a, slot: 4}, storage_backend: [{drives: [{slot: 4}]}]",
            "compute.storage_backend[0].drives[0].slot: port 4 of sata0 has compute.cdrom",
        ),
        (
            f"cdroms: [{', '.join(['/a'] * 7)}]",
            "compute.cdroms[6]: no port of the first ich9-ahci is left for it, which has 6",
        ),
    ],
)
def test_two_drives_never_have_one_port(compute: str, said: str) -> None:
    assert refusal(compute) == said


def test_cdroms_on_other_controllers() -> None:
    elsewhere = ", ".join(f"{{file: /{kind}, controller: {kind}}}" for kind in ("usb", "virtio-scsi", "ide"))
    cdroms = f"cdroms: [{elsewhere}, /a]"
    found = part(
        f"{cdroms}, storage_backend: [{{type: ide, drives: [{{}}]}}, {{type: pvscsi, drives: [{{}}]}}]"
    )
    assert {each.id: str(each.properties.get("bus") or each.driver) for each in found.devices} == {
        "sata0": "ich9-ahci",
        "cdrom-usb0": "qemu-xhci",
        "cdrom-scsi0": "virtio-scsi-pci",
        "ide0": "piix3-ide",
        "scsi0": "pvscsi",
        "cdrom0-usb": "cdrom-usb0.0",
        "cdrom0": "cdrom0-usb.0",
        "cdrom1": "cdrom-scsi0.0",
        "cdrom2": "ide0.0",
        "cdrom3": "sata0.0",
        "ide0-1": "ide0.0",
        "scsi0-0-0-0": "scsi0.0",
    }
    assert [each.id for each in found.devices if each.driver == "scsi-cd"] == ["cdrom0", "cdrom1"]


def test_cdroms_come_in_their_order_and_are_inputs() -> None:
    found = part("cdrom: /a, cdroms: [/b, {file: /c, bootindex: 7}]")
    drives = [(each.id, each.boot_index) for each in found.devices if each.driver == "ide-cd"]
    assert drives == [("cdrom0", None), ("cdrom1", None), ("cdrom2", 7)]
    assert [(str(given.path), given.key) for given in found.inputs] == [
        ("/a", "compute.cdrom"),
        ("/b", "compute.cdroms[0]"),
        ("/c", "compute.cdroms[1]"),
    ]


def test_files_that_only_some_qemus_read_are_inputs() -> None:
    nvme = "{type: nvme, config_file: /c, pci-config: /p}"
    sas = "{type: pmc, drives: [{page-file: /d}], seses: [{ses_buffer_file: /s}]}"
    found = [given.key for given in part(f"storage_backend: [{nvme}, {sas}]").inputs]
    assert found == [
        "compute.storage_backend[0].config_file",
        "compute.storage_backend[0].pci-config",
        "compute.storage_backend[1].drives[0].page-file",
        "compute.storage_backend[1].seses[0].ses_buffer_file",
    ]
