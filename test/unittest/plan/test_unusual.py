"""What is for a QEMU that can more: taken where it has it, else said on its key."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_qemu import FakeQemu

from infrasim.errors import InvalidNodeFile
from infrasim.host.facts import HostFacts, KvmVerdict, QemuAbilities, QemuDevice
from infrasim.host.probe import with_qemu
from infrasim.paths import Home
from infrasim.personality.model import Personality
from infrasim.plan.model import QEMU
from infrasim.plan.planner import plan_node
from infrasim.spec.load import load_node

HOME = Home(Path("/home/lab/.infrasim"), Path("/var/log/infrasim"))
NODE = (Path(__file__).parents[1] / "golden" / "plan" / "unusual-devices" / "node.yml").read_text()
FACTS = HostFacts("/opt/qemu", (9, 1, 2), "/i", "/s", KvmVerdict(False, "not here"), machine_id="m")

# What is taken away from a QEMU that has everything, and the key that then cannot be.
STORAGE = "compute.storage_backend"
TAKEN = {
    ("skx_ntb", ""): "compute.ntb[0]",
    ("ioat_dma", ""): "compute.dma_engine[0]",
    ("vmd", ""): "compute.pcie_topology.vmd[0]",
    ("imc_m2mem", ""): "compute.imc[0]",
    ("pcu_cr0", ""): "compute.pcu[0]",
    ("pcu_cr5", ""): "compute.pcu[0]",
    ("lsisas3008", ""): f"{STORAGE}[0].type",
    ("lsisas3008", "use_msix"): f"{STORAGE}[0].use_msix",
    ("lsisas3008", "sas_address"): f"{STORAGE}[0].sas_address",
    ("ses", ""): f"{STORAGE}[0].seses[0]",
    ("scsi-hd", "page_file"): f"{STORAGE}[0].drives[0].page-file",
    ("scsi-hd", "slot_number"): f"{STORAGE}[0].drives[0].slot_number",
    ("scsi-hd", "atta_wwn"): f"{STORAGE}[0].drives[0].atta_wwn",
    ("scsi-hd", "atta_phy_id"): f"{STORAGE}[0].drives[0].atta_phy_id",
    ("pmc", ""): f"{STORAGE}[1].type",
    ("nvme", "nlbaf"): f"{STORAGE}[2].nlbaf",
    ("nvme", "lba_index"): f"{STORAGE}[2].lba_index",
    ("nvme", "oncs"): f"{STORAGE}[2].oncs",
    ("nvme", "vid"): f"{STORAGE}[2].vendor_id",
    ("nvme", "did"): f"{STORAGE}[2].device_id",
    ("nvme", "ssvid"): f"{STORAGE}[2].subsystem_vendor_id",
    ("nvme", "ssdid"): f"{STORAGE}[2].subsystem_device_id",
    ("nvme", "model_number"): f"{STORAGE}[2].model_number",
    ("nvme", "firmware_version"): f"{STORAGE}[2].firmware_version",
    ("nvme", "config_file"): f"{STORAGE}[2].config_file",
    ("nvme", "pci-config"): f"{STORAGE}[2].pci-config",
    ("nvme", "slot_number"): f"{STORAGE}[2].chassis_slot",
    ("ide-hd", "page_file"): f"{STORAGE}[3].drives[0].page-file",
    ("-machine", "spid"): "compute.machine.spid",
    ("-communicate", ""): "compute.communicate",
}

Planned = Callable[..., tuple[str, ...]]


@pytest.fixture
def argv(personality: Personality) -> Planned:
    """A function that returns QEMU's arguments for a node file."""

    def make(text: str, facts: HostFacts = FACTS) -> tuple[str, ...]:
        spec = load_node(Path("node.yml"), text, name="node-0").spec
        found = plan_node(spec, personality, facts, HOME.node("node-0"), home=HOME)
        return found.process(QEMU).argv

    return make


def able(words: Sequence[str]) -> QemuAbilities:
    """A QEMU that has exactly what a command line asks for."""
    devices: dict[str, set[str]] = {}
    asked: dict[str, set[str]] = {}
    for nearest in ("megasas-gen2", "ivshmem-plain", "pcie-root-port"):
        devices[nearest] = set()
    for flag, text in itertools.pairwise(words):
        first, *pairs = text.replace(",,", ";").split(",")
        names = {pair.partition("=")[0] for pair in pairs}
        if flag == "-device":
            devices.setdefault(first, set()).update(names)
        elif flag.startswith("-"):
            asked.setdefault(flag, set()).update({first, *names})
    return QemuAbilities(
        program="/opt/qemu",
        version="9.1.2",
        devices={name: QemuDevice(name, "", "", frozenset(names)) for name, names in devices.items()},
        machines={"q35": frozenset(asked["-machine"])},
        cpus=frozenset({"max"}),
        objects=frozenset({"iothread"}),
        options=frozenset({"communicate"}),
        netdevs=frozenset({"user"}),
    )


def without(qemu: QemuAbilities, owner: str, name: str) -> QemuAbilities:
    if owner == "-machine":
        return dataclasses.replace(qemu, machines={"q35": (qemu.machines["q35"] or frozenset()) - {name}})
    if owner.startswith("-"):
        return dataclasses.replace(qemu, options=frozenset())
    devices = dict(qemu.devices)
    device = devices.pop(owner)
    if name:
        devices[owner] = dataclasses.replace(device, properties=(device.properties or frozenset()) - {name})
    return dataclasses.replace(qemu, devices=devices)


def asking(qemu: QemuAbilities, refused: Callable[[Sequence[str]], bool] = lambda words: False) -> HostFacts:
    return dataclasses.replace(
        FACTS, ask_qemu=lambda again: qemu, try_qemu=lambda words: "no" if refused(words) else ""
    )


def test_a_qemu_that_has_it_all_is_given_it_all(argv: Planned) -> None:
    words = argv(NODE)
    assert argv(NODE, asking(able(words))) == words


@pytest.mark.parametrize(("owner", "name"), TAKEN, ids=[":".join(entry) for entry in TAKEN])
def test_each_thing_that_is_missing_is_said_on_its_key(argv: Planned, owner: str, name: str) -> None:
    qemu = without(able(argv(NODE)), owner, name)
    with pytest.raises(InvalidNodeFile) as caught:
        argv(NODE, asking(qemu))
    (problem,) = caught.value.problems
    assert problem.path == TAKEN[owner, name]
    assert problem.message.startswith("needs the ")
    assert problem.message.endswith(" which QEMU 9.1.2 (/opt/qemu) does not have")
    assert repr(name or owner) in problem.message
    if (owner, name) not in {("lsisas3008", "use_msix"), ("lsisas3008", "sas_address")}:
        assert problem.hint.startswith("nearest")


def test_sectors_that_its_disks_cannot_have(argv: Planned) -> None:
    def refused(words: Sequence[str]) -> bool:
        return any("logical_block_size=520" in word for word in words)

    with pytest.raises(InvalidNodeFile) as caught:
        argv(NODE, asking(able(argv(NODE)), refused))
    (problem,) = caught.value.problems
    assert problem.path == f"{STORAGE}[0].drives[1].sector_size"
    assert problem.message == (
        "needs disks with sectors of 520 bytes, which QEMU 9.1.2 (/opt/qemu) does not have"
    )


# --- controllers of which only their name is known here


def bus_of(kind: str, places: int) -> Callable[[Sequence[str]], bool]:
    """What a QEMU refuses whose controller ``hba`` has that kind of bus."""

    def refused(words: Sequence[str]) -> bool:
        driver, *pairs = words[-1].split(",")
        given = dict(pair.split("=") for pair in pairs)
        bus = int(given["bus"].partition(".")[2])
        if kind == "scsi":
            return driver != "scsi-hd" or bus > 0 or int(given.get("scsi-id", 0)) >= places
        return driver != "ide-hd" or bus >= places or int(given.get("unit", 0)) > (1 if kind == "ide" else 0)

    return refused


@pytest.mark.parametrize(
    ("kind", "places", "expected"),
    [
        ("scsi", 8, ["scsi0.0 0", "scsi0.0 1"]),
        ("scsi", 64, ["scsi0.0 0", "scsi0.0 1"]),
        ("sata", 6, ["sata0.0 None", "sata0.1 None"]),
        ("ide", 2, ["ide0.0 None", "ide0.0 None"]),
    ],
)
def test_a_controller_by_its_name(argv: Planned, kind: str, places: int, expected: list[str]) -> None:
    text = "compute: {storage_backend: [{type: hba, drives: [{size: 1}, {size: 1}]}]}"
    qemu = QemuAbilities("/opt/qemu", "9.1.2", {"hba": QemuDevice("hba", "PCI", "Storage")})
    everything = dataclasses.replace(
        qemu, devices=_anything(qemu), machines={"q35": None}, cpus=frozenset({"max"})
    )
    words = argv(
        text, asking(dataclasses.replace(everything, netdevs=frozenset({"user"})), bus_of(kind, places))
    )
    drives = [word.split(",") for word in words if word.startswith(("scsi-hd,", "ide-hd,"))]
    found = [dict(pair.split("=") for pair in pairs[1:]) for pairs in drives]
    assert [f"{each['bus']} {each.get('scsi-id')}" for each in found] == expected
    assert sum(word.startswith("hba,") for word in words) == 1


def _anything(qemu: QemuAbilities) -> dict[str, QemuDevice]:
    ordinary = ("VGA", "isa-serial", "ipmi-bmc-extern", "isa-ipmi-kcs", "scsi-hd", "ide-hd", "e1000")
    return {**qemu.devices, **{name: QemuDevice(name) for name in ordinary}}


def test_more_drives_than_a_controller_by_name_takes_go_to_the_next(argv: Planned) -> None:
    drives = ", ".join(["{size: 1}"] * 9)
    text = f"compute: {{storage_backend: [{{type: hba, max_drive_per_controller: 9, drives: [{drives}]}}]}}"
    qemu = QemuAbilities("/opt/qemu", "9.1.2", {"hba": QemuDevice("hba", "PCI", "Storage")})
    everything = dataclasses.replace(
        qemu, devices=_anything(qemu), machines={"q35": None}, cpus=frozenset({"max"})
    )
    words = argv(
        text, asking(dataclasses.replace(everything, netdevs=frozenset({"user"})), bus_of("scsi", 8))
    )
    assert [word for word in words if word.startswith("hba,")] == ["hba,id=scsi0", "hba,id=scsi1"]
    assert sum(",bus=scsi0.0," in word for word in words) == 7


def test_what_is_no_controller_is_said_to_be_none(argv: Planned) -> None:
    text = "compute: {storage_backend: [{type: e1000, drives: [{size: 1}]}]}"
    qemu = QemuAbilities("/opt/qemu", "9.1.2", {"e1000": QemuDevice("e1000", "PCI", "Network")})
    with pytest.raises(InvalidNodeFile) as caught:
        argv(text, asking(qemu, lambda words: True))
    (problem,) = (each for each in caught.value.problems if each.path == f"{STORAGE}[0].type")
    assert problem.message == "'e1000' is no controller that SCSI or IDE disks can be behind"


@pytest.mark.allow("process")
def test_a_program_with_more_devices_is_simply_accepted(
    argv: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = argv(NODE)
    qemu = able(words)
    listed = "".join(f'name "{name}", bus PCI\n' for name in qemu.devices)
    properties = {name: sorted(device.properties or ()) for name, device in qemu.devices.items()}
    fake = FakeQemu(tmp_path, devices=f"Storage devices:\n{listed}", properties=properties)
    fake.can["machine_properties"] = sorted(qemu.machines["q35"] or ())
    fake.can["answers"]["query-command-line-options"] = [{"option": "communicate", "parameters": []}]
    fake.say()
    facts = with_qemu(FACTS, tmp_path / "cache", str(fake.program))
    assert argv(NODE, facts)[1:] == words[1:]
    del fake.can["answers"]["query-command-line-options"]
    fake.say()
    with fake.program.open("a") as stream:
        stream.write("# another build\n")
    with pytest.raises(InvalidNodeFile) as caught:
        argv(NODE, with_qemu(FACTS, tmp_path / "cache", str(fake.program)))
    assert [problem.path for problem in caught.value.problems] == ["compute.communicate"]
