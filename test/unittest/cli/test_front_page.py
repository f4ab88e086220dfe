"""The front page of a node, from an inventory made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.cli.front_page import front_page, size_text
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.runtime.images import image_size
from infrasim.runtime.inventory import inventory
from infrasim.runtime.status import node_status

MakePlan = Callable[[Home, str, str], NodePlan]
NODE_FILE = "compute: {networks: [{port_forward: [{outside: 2222, inside: 22}]}]}"


def test_page_says_what_is_there_and_leaves_out_what_is_not(tmp_path: Path, make_plan: MakePlan) -> None:
    home = Home(tmp_path / "h", tmp_path / "l")
    paths = home.node("a")
    plan = make_plan(home, "a", NODE_FILE)
    paths.data.mkdir(parents=True)
    paths.plan.write_text(json.dumps(plan.as_json()))
    paths.hardware.write_bytes(next(file.content for file in plan.files if file.path == paths.hardware))
    found = node_status(home, "a")
    listed = inventory(home, found)
    lines = list(front_page(found, listed))
    assert lines[1] == "  node           a, stopped, power off"
    assert not [line for line in lines if line.startswith("  asset tag")], "there is none"
    listed.hardware["modules"] = []
    assert "Memory" in lines
    assert "Memory" not in front_page(found, listed)
    at = lines.index("Network cards")
    assert lines[at + 2].split("  ")[1:3] == ["nic0", "e1000e"]
    assert lines[at + 2].endswith("nat, tcp 2222 to 22")
    listed.hardware["controllers"][0]["drives"] = []
    assert "  sata0 (ich9-ahci)  -     -     -     -      -              -" in front_page(found, listed)


def test_page_shows_devices_of_this_machine(tmp_path: Path, make_plan: MakePlan) -> None:
    home = Home(tmp_path / "h", tmp_path / "l")
    paths = home.node("a")
    plan = make_plan(home, "a", "compute: {pcie-passthrough: [{host: '3:0.0'}]}")
    paths.data.mkdir(parents=True)
    paths.plan.write_text(json.dumps(plan.as_json()))
    paths.hardware.write_bytes(next(file.content for file in plan.files if file.path == paths.hardware))
    found = node_status(home, "a")
    listed = inventory(home, found)
    lines = list(front_page(found, listed))
    at = lines.index("Devices of this machine")
    assert lines[at + 2].split() == ["host0", "vfio-pci", "0000:03:00.0", "not", "there", "-"]
    listed.hardware["host_devices"][0].update(kind="network", ids="8086:1521")
    lines = list(front_page(found, listed))
    assert lines[at + 2].split() == ["host0", "vfio-pci", "0000:03:00.0", "network", "8086:1521"]
    # Kept by an older infrasim.
    del listed.hardware["host_devices"]
    assert "Devices of this machine" not in front_page(found, listed)


def test_what_cannot_be_read_is_planned_again(tmp_path: Path, make_plan: MakePlan) -> None:
    home = Home(tmp_path / "h", tmp_path / "l")
    paths = home.node("a")
    paths.data.mkdir(parents=True)
    paths.plan.write_text(json.dumps(make_plan(home, "a", "{}").as_json()))
    for text in ("", "[]"):
        paths.hardware.write_text(text)
        with pytest.raises(Exception, match="there is no node"):
            inventory(home, node_status(home, "a"))


def test_size_of_an_image_is_that_of_its_disk(tmp_path: Path) -> None:
    qcow2, raw = tmp_path / "q", tmp_path / "r"
    qcow2.write_bytes(b"QFI\xfb" + bytes(20) + (5 << 30).to_bytes(8, "big") + bytes(100))
    raw.write_bytes(bytes(4096))
    assert (image_size(qcow2), image_size(raw), image_size(tmp_path / "no")) == (5 << 30, 4096, None)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "?"), (0, "0 B"), (1536, "1.5 KiB"), (8 << 30, "8 GiB"), (3 << 40, "3 TiB"), (1023, "1023 B")],
)
def test_size_text(size_bytes: int | None, text: str) -> None:
    assert size_text(size_bytes) == text
