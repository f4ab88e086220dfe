"""The default node file: golden, valid, no more than the defaults, and different for each node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.paths import template_dir
from infrasim.spec.document import load_document
from infrasim.spec.keys import node_keys
from infrasim.spec.load import load_node
from infrasim.spec.node import NodeSpec
from infrasim.spec.template import default_node_text, draw_identity, yaml_text

UUID = "3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"
MAC = "52:54:00:12:34:56"


def text(**changes: object) -> str:
    values: dict[str, object] = {
        "server_type": "quanta_d51",
        "uuid": UUID,
        "serial_number": "infrasim-4711",
        "macs": [MAC],
    }
    return default_node_text("default", **(values | changes))  # type: ignore[arg-type]


def test_the_text(golden: Callable[[str, str], None]) -> None:
    golden("spec/default_node.yml", text())


def test_it_says_nothing_but_the_defaults_and_the_identity() -> None:
    loaded = load_node(Path("n.yml"), text())
    assert loaded.warnings == ()
    compute = {"uuid": UUID, "networks": [{"mac": MAC}], "cpu": {"quantities": 2}}
    bare = NodeSpec.model_validate({"name": "default", "serial_number": "infrasim-4711", "compute": compute})
    assert loaded.spec == bare


def test_every_commented_key_is_a_key_that_works() -> None:
    """Each commented key is taken back into the file, together with the lines it needs."""
    lines = text().splitlines()
    tried = 0
    for number, line in enumerate(lines):
        bare = line.lstrip()
        if (
            not bare.startswith("# ")
            or ": " not in bare
            or bare.removeprefix("# ").partition(":")[0] not in NAMES
        ):
            continue
        if bare.startswith(("# initrd", "# cmdline")):
            bare += f"\n{' ' * (len(line) - len(bare))}kernel: /k"
        changed = [
            *lines[:number],
            line[: len(line) - len(line.lstrip())] + bare.removeprefix("# "),
            *lines[number + 1 :],
        ]
        load_node(Path("n.yml"), "\n".join(changed))
        tried += 1
    assert tried >= 10


NAMES = {key.name for key in node_keys().values()} - {"networks", "compute", "file"}


def test_one_card_for_each_mac() -> None:
    macs = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
    spec = load_node(Path("n.yml"), text(macs=macs)).spec
    assert [card.mac for card in spec.compute.networks] == macs
    assert load_node(Path("n.yml"), text(macs=[])).spec.compute.networks == ()


def test_no_two_identities_are_alike() -> None:
    first, second = draw_identity(cards=3), draw_identity(cards=3)
    assert first.uuid != second.uuid
    assert first.serial_number != second.serial_number
    assert len({*first.macs, *second.macs}) == 6
    assert all(mac.startswith("52:54:00:") for mac in first.macs)
    load_node(Path("n.yml"), text(uuid=first.uuid, serial_number=first.serial_number, macs=first.macs))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_a_text_is_written_so_that_it_is_read_back(value: str) -> None:
    assert load_document(f"a: {yaml_text(value)}\n", file="n").values == {"a": value}


@pytest.mark.parametrize("value", ["true", "12", "0x1", "null", "", "a: b", "a #b", "- a", "&a", "a:", "1.5"])
def test_what_would_be_taken_for_something_else_stands_in_quotes(value: str) -> None:
    assert yaml_text(value) == f'"{value}"'


def test_the_template_has_no_other_file_beside_it() -> None:
    assert (template_dir() / "node.yml.j2").is_file()
