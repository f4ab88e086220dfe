"""The table of keys: complete, documented, with examples that hold, and one with the old keys' tables."""

from __future__ import annotations

from typing import Any

import pytest

from infrasim.spec import legacy
from infrasim.spec.identity import FruDevice, Smbios
from infrasim.spec.keys import Key, node_keys, section_keys
from infrasim.spec.node import NodeSpec
from infrasim.spec.part import Only, notes
from infrasim.spec.storage import Cdrom, Drive


def tree(path: str, value: object) -> dict[str, Any]:
    """The smallest file in which ``path`` has ``value``."""
    steps = path.replace("fruN", "fru0").split(".")
    for step in reversed(steps):
        name = step.removesuffix("[]")
        value = {name: [value] if step.endswith("[]") else value}
    assert isinstance(value, dict)
    return value


def key(path: str) -> Key:
    return node_keys()[path]


def test_the_table_follows_the_models() -> None:
    assert next(iter(node_keys())) == "name"
    assert key("compute.storage_backend[].drives[].size").bounds == (1, 65536)
    assert key("compute.storage_backend[].drives").model is Drive
    assert key("compute.storage_backend[].drives").is_list
    assert key("compute.cdrom").model is Cdrom
    assert not key("compute.cdrom").is_list
    assert key("bmc.ipmi_over_lan_port").bounds == (1, 65535)
    assert key("bmc.poweroff_wait").scalar is float
    assert key("bmc.startnow").scalar is bool
    assert key("compute.extra_option").scalar is str
    assert key("compute.networks[].port_forward[].protocol").choices == ("tcp", "udp")
    assert key("compute.cpu").section == "compute"
    assert section_keys("compute.memory") == ("size", "nodes", "share", "prealloc")
    assert key("compute.smbios.type17").is_list
    assert key("compute.smbios.type4.speed").bounds == (1, 65535)
    assert key("compute.smbios").model is Smbios
    assert key("bmc.fruN").model is FruDevice
    assert not key("bmc.fruN").is_list
    assert section_keys("bmc.fruN.chassis") == ("pn", "sn")


def test_a_path_and_its_pattern() -> None:
    assert legacy.pattern(("bmc", "fru254", "board", "sn")) == "bmc.fruN.board.sn"
    assert legacy.pattern(("bmc", "fru255")) == "bmc.fru255"
    assert legacy.pattern(("bmc", "fru01")) == "bmc.fru01"
    assert legacy.pattern(("compute", "fru1")) == "compute.fru1"
    assert legacy.pattern(("compute", "networks", 3, "mac")) == "compute.networks[].mac"


@pytest.mark.parametrize("entry", node_keys().values(), ids=list(node_keys()))
def test_every_key_is_explained(entry: Key) -> None:
    description = entry.field.description or ""
    assert description.endswith(".")
    assert description[0].isupper() or description[0] == "`"
    assert entry.model is not None or entry.field.examples, "a scalar needs an example"


@pytest.mark.parametrize("path", [path for path, entry in node_keys().items() if entry.field.examples])
def test_every_example_holds(path: str) -> None:
    for example in key(path).field.examples or ():
        values = tree(path, example)
        values.setdefault("name", "n")
        if path in ("compute.initrd", "compute.cmdline"):
            values["compute"]["kernel"] = "/k"
        if (only := key(path).only) and only.of == "network_mode":
            card = values["compute"]["networks"][0]
            card["network_mode"] = only.kinds[0]
            if only.kinds != ("nat",):
                card["network_name"] = "lab"
        if path in ("racadm.username", "racadm.password"):
            values["racadm"] = {"username": "u", "password": "p", **values["racadm"]}
        if path == "compute.secure_boot":
            values["compute"]["firmware"] = "uefi"
        if path == "compute.pcie_topology.root_bus[].numa_node":
            values["compute"]["memory"] = {"nodes": 2}
        if ".port_forward[]." in path:
            forward = values["compute"]["networks"][0]["port_forward"][0]
            forward.update({name: 1 for name in ("outside", "inside") if name not in forward})
        if ".type17[]." in path:
            module = values["compute"]["smbios"]["type17"][0]
            values["compute"]["smbios"]["type17"] = [{"locator": "A1", "size": 1024, **module}]
        if ".storage_backend[]" in path:
            _suit_storage(path, values["compute"]["storage_backend"][0])
        _complete(values, "")
        NodeSpec.model_validate(values)


def _suit_storage(path: str, backend: dict[str, Any]) -> None:
    """Give a controller what the key of an example needs beside it."""
    only = next((note for note in notes(key(path).field, Only) if note.of == "type"), None)
    if ".namespaces[]" in path:
        only = Only("nvme")
    if ".seses[]" in path:
        only = Only("lsisas3008")
    if only is not None:
        backend["type"] = only.kinds[0]
    if path.endswith(".backing_format"):
        disk = next((backend[name][0] for name in ("drives", "namespaces") if name in backend), backend)
        disk["backing_file"] = "/srv/images/base.raw"


# Mappings of which some keys are required.
_WITH_NEEDS = (
    *("compute.pci_", "compute.pcie", "compute.cpu_binding.", "compute.cdroms", "compute.cdrom"),
    *("compute.ntb", "compute.dma_engine", "compute.imc", "compute.pcu", "compute.communicate"),
)


def _complete(values: object, section: str) -> None:
    """Add what such a mapping needs beside the key that is tried."""
    if isinstance(values, list):
        for entry in values:
            _complete(entry, f"{section}[]")
        return
    if not isinstance(values, dict):
        return
    if section.startswith(_WITH_NEEDS):
        for entry in node_keys().values():
            if entry.section == section and entry.field.is_required():
                values.setdefault(entry.name, (entry.field.examples or [None])[0])
    for name, below in values.items():
        _complete(below, f"{section}.{name}" if section else name)


def test_old_keys_lead_to_keys_of_today() -> None:
    for old, new in legacy.RENAMED.items():
        section = old.rpartition(".")[0]
        assert f"{section}.{new}" in node_keys()
        assert old not in node_keys()
    for path, now in legacy.MOVED.items():
        assert legacy.pattern(now) in node_keys()
        assert legacy.pattern(path) not in node_keys()


def test_what_is_refused_or_ignored_is_no_key_of_today() -> None:
    assert not set(node_keys()) & {*legacy.REFUSED, *legacy.IGNORED}
    assert not {*legacy.RENAMED} & {*legacy.REFUSED, *legacy.IGNORED}
    for path in (*legacy.REFUSED, *legacy.IGNORED):
        section = path.rpartition(".")[0]
        assert section == "" or section_keys(section), f"{path} stands in no section of today"


def test_refused_values_belong_to_keys_with_choices() -> None:
    for path, values in legacy.REFUSED_VALUES.items():
        assert key(path).choices
        assert not set(key(path).choices) & set(values)
    assert legacy.value_refusal(("compute", "pcie-passthrough", 0, "driver"), "pci-stub")
    assert not legacy.value_refusal(("compute", "pcie-passthrough", 0, "driver"), "vfio-pci")


def test_most_keys_say_what_they_become() -> None:
    told = [bool(entry.becomes) for entry in node_keys().values() if entry.model is None]
    assert sum(told) >= 0.9 * len(told)
