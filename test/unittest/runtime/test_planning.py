"""How a plan is made: nothing is imported that a plain node does not need, and nothing is left changed."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from infrasim.errors import UsageError
from infrasim.paths import Home
from infrasim.runtime import planning

# What takes as long to import as a good part of a plan to be made.
SLOW = ("asyncio", "jinja2", "logging", "psutil", "pycdlib", "pydantic", "shutil", "subprocess")
CODE = f"""
import sys
from pathlib import Path
from infrasim.host import probe
from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.paths import Home
from infrasim.runtime import planning

facts = HostFacts("/q", (7,), "/i", "/s", KvmVerdict(False, "no KVM"), machine_id="m")
probe.gather_facts = lambda cache, with_kvm: facts
planning.plan(Home(Path(sys.argv[1]), Path(sys.argv[1])), "a")
print(*sorted(set({SLOW!r}) & set(sys.modules)))
"""


@pytest.mark.allow("process")
def test_a_plan_of_a_plain_node_imports_nothing_that_takes_long(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    home.node_map.mkdir()
    home.map_file("a").write_text("name: a\n")
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_is_looked_for_again_after_a_plan(tmp_path: Path, is_on: bool) -> None:
    was_on = gc.isenabled()
    (gc.enable if is_on else gc.disable)()
    try:
        with pytest.raises(UsageError):
            planning.plan(Home(tmp_path, tmp_path), "none")
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if was_on else gc.disable)()
