"""A file with the reference system's keys is taken; each exception stands here with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrasim.errors import Problem
from infrasim.spec import legacy
from infrasim.spec.document import undotted
from infrasim.spec.load import load_node

FILE = Path(__file__).with_name("reference_node.yml")
TEXT = FILE.read_text(encoding="utf-8")

# Mistyped, or the name of a device of QEMU's that is another one's too; with the right name.
OLD_SPELLINGS = {
    "compute.networks[].port_forward[].protocal": "the key is 'protocol'",
    "compute.smbios.type17[].manufactuer": "the key is 'manufacturer'",
    "compute.storage_backend[].drives[].rotation": "the key is 'rotation_rate'",
    "compute.storage_backend[].use_msi": "the key is 'msi'",
    "compute.storage_backend[].max-sge": "the key is 'max_sge'",
    "compute.storage_backend[].type": "it is 'lsi53c895a'",
    "compute.serial_number": "move it: 'serial_number'",
}
# Of the reference's own inside: what it was for is done, and nothing is left to say.
SEEN_TO = {
    "bmc_connection_port": "QEMU reaches the BMC by a socket in the node's workspace",
    "serial_port": "QEMU's serial port is a socket in the node's workspace",
    "bmc.name": "the BMC is named after the node",
    "bmc.merge_fru": "every FRU device is part of the server type",
    "compute.boot.checking_time": "infrasim waits for what it needs, no longer and no shorter",
    "compute.ipmi.chardev": "infrasim connects the interface to its BMC itself",
}
NO_REST = "there is no REST service; QMP is at run/monitor.sock of the workspace"
# Services beside the server that are not there, with what does the same.
NOT_THERE = {
    "ipmi_console_ssh": "there is no console over SSH; ipmi_sim takes commands such as sensor_set_value at "
    "'ipmi_console_port', and the BMC ipmitool's event, sel add and sensor thresh",
    "monitor.interface": NO_REST,
    "monitor.port": NO_REST,
}
# Never did anything there.
IDLE = {"compute.storage_backend[].drives[].vendor": "a disk on ahci has 'model' alone"}
# The host saw four characters there too.
SEEN_IN_PART = {"compute.storage_backend[].drives[].version": "the host sees 'B1.1'"}


def by_pattern(problems: tuple[Problem, ...], *, hints: bool) -> dict[str, str]:
    return {legacy.pattern(undotted(each.path)): each.hint if hints else each.message for each in problems}


def test_the_file_is_taken() -> None:
    spec = load_node(FILE, TEXT).spec
    assert spec.serial_number == "infrasim123"
    assert spec.compute.storage_backend[0].drives[0].serial == "20160518AA851134100"
    assert [entry.type for entry in spec.compute.storage_backend] == [
        "ahci",
        "megasas-gen2",
        "lsi53c895a",
        "nvme",
    ]
    assert spec.compute.networks[0].port_forward[0].outside == 8022
    assert spec.compute.smbios is not None
    assert spec.compute.smbios.type17[0].manufacturer == "Hynix"
    assert spec.compute.pcie_topology is not None
    assert spec.compute.pci_bridge_topology[0].addr == "0x1e.0"
    assert spec.compute.pci_bridge_topology[0].downstream_bridge[0].addr == "0x1"
    assert (spec.sol_enable, spec.bmc.startnow, spec.compute.storage_backend[1].use_jbod) == (
        True,
        True,
        True,
    )
    assert [port.id for port in spec.compute.pcie_topology.root_port] == ["root1"]


def test_warnings_are_for_old_spellings_and_for_what_had_nothing_to_do_with_the_server() -> None:
    warnings = load_node(FILE, TEXT).warnings
    assert by_pattern(warnings, hints=True) == {
        **OLD_SPELLINGS,
        **SEEN_TO,
        **NOT_THERE,
        **IDLE,
        **SEEN_IN_PART,
    }


@pytest.mark.parametrize(
    ("key", "text"),
    [
        # Never did anything there, or not what its name says.
        ("compute.networks[].model", "compute: {networks: [{model: e1000}]}"),
        (
            "compute.pcie_topology.switch[].upstream[].slot",
            "compute: {pcie_topology: {switch: [{upstream: [UP]}]}}",
        ),
        (
            "compute.storage_backend[].seses[].port_wwn",
            "compute: {storage_backend: [{type: pmc, seses: [{port_wwn: 5}]}]}",
        ),
        ("compute.networks[].network_name", "compute: {networks: [{network_name: br0}]}"),
        (
            "compute.storage_backend[].drives[].product",
            "compute: {storage_backend: [{type: ide, drives: [{product: HUSMM0SSD}]}]}",
        ),
        ("bmc.channel", "bmc: {channel: 1}"),
        ("compute.cpu.model", "compute: {cpu: {model: Haswell}}"),
        (
            "compute.storage_backend[].cmb_size_mb",
            "compute: {storage_backend: [{type: nvme, cmb_size_mb: 16}]}",
        ),
        (
            "compute.storage_backend[].drives[].page_file",
            "compute: {storage_backend: [{drives: [{page_file: /p}]}]}",
        ),
    ],
)
def test_what_the_documents_promised_and_the_code_ignored(key: str, text: str) -> None:
    """Features that were documented or shown and not there: the key is read, with a word about it."""
    loaded = load_node(FILE, text.replace("UP", "{id: up, bus: r, slot: 1}"))
    assert [legacy.pattern(undotted(each.path)) for each in loaded.warnings] == [key]
