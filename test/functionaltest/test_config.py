"""``infrasim config`` and a real editor: node files registered, checked, edited on a terminal."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pexpect
import pytest
from lab import CLONE, NODE, Lab

TEXT = "# mine\nname: somewhere-else  # keep\nbmc: {password: secret}\n"


@pytest.fixture
def source(scratch: Lab) -> Path:
    """A node file with comments, outside the home."""
    path = scratch.root / "mine.yml"
    path.write_text(TEXT)
    return path


def editor(scratch: Lab, *scripts: str) -> dict[str, str]:
    """An editor that runs one line of sh each time it is opened; ``$1`` is the file."""
    program = scratch.root / "my editor"
    count = scratch.root / "count"
    cases = "\n".join(f"{number}) {line} ;;" for number, line in enumerate(scripts, start=1))
    program.write_text(f'#!/bin/sh\necho x >> "{count}"\ncase $(wc -l < "{count}") in\n{cases}\nesac\n')
    program.chmod(0o755)
    return {"VISUAL": f"'{program}'"}


def test_a_node_file_is_registered_shown_updated_and_removed(scratch: Lab, source: Path) -> None:
    registered = scratch.home / ".node_map" / f"{NODE}.yml"
    assert scratch.must("config", "add", NODE, str(source)) == f"Node n registered: {registered}\n"
    assert registered.read_text() == TEXT.replace("somewhere-else", NODE)
    assert registered.stat().st_mode & 0o7777 == 0o600
    assert registered.parent.stat().st_mode & 0o7777 == 0o700
    assert scratch.must("config", "show", NODE) == registered.read_text()
    assert scratch.must("config", "check", NODE) == "n: ok (node n, type quanta_d51)\n"
    (listed,) = json.loads(scratch.must("config", "list", "--json"))
    assert (listed["name"], listed["type"]) == (NODE, "quanta_d51")
    ran = scratch.infrasim("config", "add", NODE, str(source))
    assert (ran.code, ran.out) == (2, "")
    assert f"infrasim config update {NODE} {source}" in ran.err
    source.write_text("type: quanta_d51\n")
    assert "updated" in scratch.must("config", "update", NODE, str(source))
    assert registered.read_text() == "type: quanta_d51\n"
    assert "removed" in scratch.must("config", "delete", NODE)
    assert not registered.exists()


def test_a_wrong_file_is_refused_with_its_lines_and_leaves_the_disk_alone(scratch: Lab, source: Path) -> None:
    source.write_text("name: n\ncompute:\n  memory: {size: 4G}\n  cpus: 2\n")
    before = scratch.names_on_disk()
    for words in (("check", str(source)), ("add", NODE, str(source))):
        ran = scratch.infrasim("config", *words)
        assert ran.code == 2
        assert f"{source}:3:18: compute.memory.size: wanted a whole number, got the text '4G'\n" in ran.err
        assert f"{source}:4:3: compute.cpus: unknown key 'cpus' (did you mean 'cpu'?)\n" in ran.err
    assert scratch.names_on_disk() == before


def test_the_editor_opens_again_until_the_text_is_right(scratch: Lab, source: Path) -> None:
    scratch.must("config", "add", NODE, str(source))
    wrong, right = 'echo "sol_enabled: 1" >> "$1"', 'sed -i s/sol_enabled:.*/sol_enable:\\ false/ "$1"'
    env = {**scratch.env, **editor(scratch, wrong, right)}
    words = ["-m", "infrasim", "config", "edit", NODE]
    with pexpect.spawn(sys.executable, words, env=env, timeout=60, encoding="utf-8") as terminal:
        terminal.expect("4:1: sol_enabled: unknown key 'sol_enabled' .did you mean 'sol_enable'")
        terminal.expect("Edit again")
        terminal.sendline("y")
        terminal.expect("Node n updated")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 0
    assert scratch.must("config", "show", NODE).endswith("sol_enable: false\n")
    assert [path.name for path in (scratch.home / ".node_map").iterdir()] == ["n.yml"]


def test_a_wrong_text_is_kept_beside_the_registered_one(scratch: Lab, source: Path) -> None:
    scratch.must("config", "add", NODE, str(source))
    before = scratch.must("config", "show", NODE)
    ran = scratch.infrasim("config", "edit", NODE, env=editor(scratch, 'echo "- x" > "$1"'))
    assert ran.code == 2
    assert "1:1: the file is a list" in ran.err
    copy = Path(ran.err.rpartition(" ")[2].strip())
    assert copy.read_text() == "- x\n"
    assert scratch.must("config", "show", NODE) == before
    copy.write_text("name: n  # mended\n")
    scratch.must("config", "update", NODE, str(copy))
    assert scratch.must("config", "show", NODE) == "name: n  # mended\n"


def test_two_nodes_cannot_be_added_under_one_name(scratch: Lab, source: Path) -> None:
    words = [sys.executable, "-m", "infrasim", "config", "add", NODE, str(source)]
    both = [pexpect.spawn(words[0], words[1:], env=scratch.env, timeout=60) for _ in range(2)]
    for terminal in both:
        terminal.expect(pexpect.EOF)
        terminal.wait()
    assert sorted(str(terminal.exitstatus) for terminal in both) == ["0", "2"]


def test_what_is_for_another_qemu_is_refused_on_each_line_by_this_one(scratch: Lab) -> None:
    text = (CLONE / "test" / "unittest" / "golden" / "plan" / "unusual-devices" / "node.yml").read_text()
    path = scratch.root / "unusual.yml"
    path.write_text(text)
    ran = scratch.infrasim("config", "check", str(path))
    assert ran.code == 2
    said = [line for line in ran.err.splitlines() if " does not have (nearest" in line]
    assert all(" which QEMU " in line for line in said)
    lines = {int(line.split(":")[1]) for line in said}
    unusual = re.compile(
        "spid|communicate|id: (ntb|dma|vmd_|imc)0|- bus: pcie.1|lsisas3008|slot_number|sector_size|"
        "ses_buffer_file|pmc|nlbaf|lba_index|oncs|_id:|model_number|firmware_version|config_file|pci-config|"
        "chassis_slot|page-file"
    )
    assert lines == {number for number, line in enumerate(text.splitlines(), start=1) if unusual.search(line)}
