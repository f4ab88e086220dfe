"""Files that a node file names: what they hold goes into the plan, or is refused on its line."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from infrasim.errors import InvalidNodeFile
from infrasim.host import probe
from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.paths import Home, shipped_types
from infrasim.personality.registry import load_type
from infrasim.personality.smbios import Processor, System, decode_structure
from infrasim.runtime import named_files, node_map, planning

FACTS = HostFacts("/q", (7,), "/i", "/s", KvmVerdict(False, "/dev/kvm does not exist"), machine_id="m")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", tmp_path / "logs")
    made.node_map.mkdir(parents=True)
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: FACTS)
    return made


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A Dell's table as a capture holds it."""
    structures = load_type("dell_r730", [shipped_types()]).smbios
    path = tmp_path / "smbios.bin"
    path.write_bytes(b"".join(structure.encode() for structure in structures) + b"\x7f\x04\0\0\0\0")
    return path


@pytest.mark.parametrize("text", ["smbios: TABLE", "smbios: {file: TABLE, type4: {asset_tag: CPU-7}}"])
def test_a_table_takes_the_place_of_the_types_and_gets_the_nodes_identity(
    home: Home, table: Path, text: str
) -> None:
    file = home.map_file("a")
    file.write_text(f"serial_number: MINE-1\ncompute: {{{text.replace('TABLE', str(table))}}}\n")
    planned = planning.plan(home, "a")
    files = [each for each in planned.plan.files if each.path.parent.name == "smbios"]
    structures = [decode_structure(each.content) for each in files]
    (system,) = (each for each in structures if isinstance(each, System))
    assert (system.manufacturer, system.serial_number) == ("Dell Inc.", "MINE-1")
    assert ("CPU-7" in {each.asset_tag for each in structures if isinstance(each, Processor)}) == (
        "CPU-7" in text
    )
    assert planned.plan.server_type == "quanta_d51", "what its BMC says stays"
    assert str(table) in planned.included, "a start notices when it changes"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no SMBIOS table: it does not describe a system (type 1)"),
        (b"not a table at all", "is no SMBIOS table: "),
        (b"\x7f\x04\0\0\0\0", "is no SMBIOS table: it does not describe a system (type 1)"),
    ],
)
def test_what_is_no_table_is_refused_on_its_line(
    home: Home, tmp_path: Path, content: bytes, said: str
) -> None:
    table = tmp_path / "t.bin"
    table.write_bytes(content)
    home.map_file("a").write_text(f"compute:\n  smbios: {table}\n")
    for look in (planning.plan, node_map.load_registered):
        with pytest.raises(InvalidNodeFile) as caught:
            look(home, "a")
        (problem,) = caught.value.problems
        assert (problem.line, problem.column) == (2, 3)
        assert problem.message.startswith(f"{table} {said}")
        assert "dmidecode --dump-bin" in problem.hint


def test_a_file_that_is_not_there_is_missed_at_the_start_only(home: Home, tmp_path: Path) -> None:
    home.map_file("a").write_text(f"compute: {{smbios: {tmp_path}/t.bin}}\n")
    assert node_map.load_registered(home, "a").spec.name == "a"
    with pytest.raises(InvalidNodeFile, match=r"cannot read .*t\.bin"):
        planning.plan(home, "a")


def test_a_pipe_is_not_waited_for(home: Home, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    home.map_file("a").write_text(f"compute: {{smbios: {tmp_path}/pipe}}\n")
    with pytest.raises(InvalidNodeFile, match="is not a regular file"):
        planning.plan(home, "a")


def test_each_is_read_once_so_that_a_plan_and_its_digests_are_of_the_same_content(
    home: Home, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "user-data"
    data.write_text("#cloud-config\n")
    home.map_file("a").write_text(
        f"compute:\n  smbios: {table}\n  cloud_init: {{user_data: {data}, meta_data: {data}}}\n"
    )
    asked: list[str] = []
    read = named_files._content

    def change_behind(path: str, key: str) -> bytes:
        asked.append(key)
        content = read(path, key)
        if path == str(data):
            data.write_bytes(content + b"# another\n")
        return content

    monkeypatch.setattr(named_files, "_content", change_behind)
    planned = planning.plan(home, "a")
    assert sorted(asked) == ["compute.cloud_init.user_data", "compute.smbios.file"]
    assert planned.included[str(data)] == hashlib.sha256(b"#cloud-config\n").hexdigest()
