"""The examples of docs/personality.md are read, checked and compiled."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

from infrasim.paths import shipped_types
from infrasim.personality.check import check
from infrasim.personality.compiler import compile_personality
from infrasim.personality.folder import read_folder
from infrasim.personality.identity import NodeIdentity

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "personality.md"


def write(folder: Path, prefix: str) -> Path:
    """The files whose first line is ``# PREFIX NAME``."""
    folder.mkdir()
    for name, text in re.findall(rf"```yaml\n# {prefix}(\w+\.yml)\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        (folder / name).write_text(text)
    return folder


def test_the_server_made_by_hand(tmp_path: Path) -> None:
    folder = write(tmp_path / "shelf", "")
    assert {path.name for path in folder.iterdir()} == {"type.yml", "sensors.yml", "fru.yml", "smbios.yml"}
    shelf = read_folder(folder)
    assert [str(finding) for finding in check(shelf)] == []
    compiled = compile_personality(shelf, NodeIdentity(UUID(int=1), "SERIAL-1", memory_mib=1024))
    assert (compiled.sockets, compiled.cores, compiled.interface.io_port) == (1, 2, 0xCA2)
    assert [sensor.value for sensor in shelf.sensors] == [61, 23, 0]


def test_the_server_like_another(tmp_path: Path) -> None:
    other = read_folder(write(tmp_path / "other", "extending "), find=lambda name: shipped_types() / name)
    names = [entry.record.name for entry in other.sdrs]
    assert names[names.index("Fan 3") : names.index("Fan 3") + 2] == ["Fan 3", "Fan 5"]
    assert "Fan 4" not in names
    assert [str(finding) for finding in check(other)] == []
