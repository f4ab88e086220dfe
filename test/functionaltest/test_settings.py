"""``--set`` and ``!include`` on nodes that run: what acts, how long, and what the fast start makes of it."""

from __future__ import annotations

import json
from pathlib import Path

from lab import NODE, Lab

SET = "--set"


def memory(scratch: Lab) -> str:
    """How much memory the host was given, in MiB."""
    pid = scratch.pid("qemu")
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[words.index("-m") + 1].partition(",")[0].removesuffix("M")


def test_a_setting_acts_until_the_node_is_stopped(scratch: Lab) -> None:
    scratch.register()
    planned = scratch.must("node", "plan", NODE, SET, "compute.memory.size=128")
    assert " -m 128" in planned
    wrong = scratch.infrasim("node", "start", NODE, SET, "compute.memory.size=1")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "--set compute.memory.size: wanted 16 to 16777216, got 1\n"
    assert not (scratch.home / NODE).exists()
    scratch.must("node", "start", NODE, SET, "compute.memory.size=128")
    assert memory(scratch) == "128"
    assert "runs already" in scratch.must("node", "start", NODE)
    assert "runs already" in scratch.must("node", "start", NODE, SET, "compute.memory.size=128")
    refused = scratch.infrasim("node", "start", NODE, SET, "compute.memory.size=192")
    assert refused.code == 2
    assert "runs already, so --set cannot act" in refused.err
    scratch.kill("supervisor")
    scratch.must("node", "start", NODE)
    assert memory(scratch) == "128", "a new supervisor goes on with the plan that runs"
    wrong = scratch.infrasim("node", "restart", NODE, SET, "compute.nonsense=1")
    assert wrong.code == 2
    assert scratch.status()["state"] == "running", "a wrong setting stops nothing"
    scratch.must("node", "restart", NODE)
    assert memory(scratch) == "256", "a restart takes what it is given itself"
    scratch.must("node", "stop", NODE)
    assert (scratch.home / NODE / ".opening").exists() is False, "a restart leaves none"
    scratch.must("node", "start", NODE)
    assert (scratch.home / NODE / ".opening").exists()
    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE, SET, "compute.memory.size=128")
    assert memory(scratch) == "128", "what is remembered is not what was asked for"
    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE)
    assert memory(scratch) == "256", "what was asked for is not remembered"


def test_what_a_node_includes_is_kept_and_noticed(scratch: Lab) -> None:
    main = scratch.node_file()
    (scratch.root / "memory.yml").write_text("# shared by all\nsize: 128\n")
    main.write_text(
        f"# mine\nbmc: {{address: {scratch.address}}}\ncompute:\n  memory: !include memory.yml  # see there\n"
    )
    scratch.must("config", "add", NODE, str(main))
    (scratch.root / "memory.yml").unlink()
    shown = scratch.must("config", "show", NODE)
    assert shown.startswith("# mine\n")
    assert "  # see there\n" in shown
    assert scratch.must("config", "check", NODE) == "n: ok (node n, type quanta_d51)\n"
    for _ in range(2):
        scratch.must("node", "start", NODE)
        assert memory(scratch) == "128"
        scratch.must("node", "stop", NODE)
    (copy,) = (scratch.home / ".node_map" / f"{NODE}.include").iterdir()
    assert copy.read_text() == "# shared by all\nsize: 128\n"
    keys = json.loads(scratch.must("config", "show", NODE, "--origin", "--json"))["keys"]
    (size,) = (row for row in keys if row["key"] == "compute.memory.size")
    assert (size["value"], size["source"], size["place"]) == (128, "file", f"{copy}:2")
    copy.write_text("size: 192\n")
    scratch.must("node", "start", NODE)
    assert memory(scratch) == "192"
    scratch.must("node", "stop", NODE)
    copy.write_text("\nsize: much\n")
    ran = scratch.infrasim("node", "start", NODE)
    assert (ran.code, ran.err.startswith(f"{copy}:2:7: compute.memory.size: wanted a whole")) == (2, True)
