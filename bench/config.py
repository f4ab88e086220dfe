"""How much processor time it takes to validate the node file that has every key, and to plan it."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_lab import interleaved, runs_wanted, show_ratio

from infrasim.errors import InvalidNodeFile
from infrasim.paths import HOME_VARIABLE, Home, template_dir
from infrasim.runtime.planning import plan
from infrasim.spec.setting import parse_settings

NAME = "node-0"

VALIDATE_TARGET_S = 0.15
PLAN_TARGET_S = 0.25
BARE = "import yaml"
VALIDATE = (
    "import sys; from pathlib import Path; from infrasim.spec.load import load_node; "
    "path = Path(sys.argv[1]); load_node(path, path.read_bytes())"
)
PLAN = (
    "import sys; from infrasim.paths import Home; from infrasim.runtime.planning import plan; "
    "from infrasim.spec.setting import parse_settings; "
    f"plan(Home.from_environment(), {NAME!r}, parse_settings(sys.argv[1:]))"
)
ROUNDS = 20


def processor_time_s(words: Sequence[str]) -> float:
    """Seconds of processor time that a program and its children took."""
    # As it is where infrasim is installed: what was compiled once is kept.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _without(path: str) -> str:
    """The setting that takes a key away: of a card on a bridge the whole card, of devices and CD-ROMs all."""
    if card := re.match(r"compute\.networks\[\d+\]", path):
        return f"{card[0]}={{}}"
    listed = re.match(r"compute\.(pcie-passthrough|cdroms)", path)
    return f"{listed[0] if listed else path}="


def what_is_elsewhere(home: Home) -> tuple[str, ...]:
    """The settings that take from the example what this machine has not: interfaces, bridges, programs."""
    settings: tuple[str, ...] = ()
    for _ in range(ROUNDS):
        try:
            plan(home, NAME, parse_settings(settings))
        except InvalidNodeFile as exc:
            settings = tuple(dict.fromkeys((*settings, *map(_without, (each.path for each in exc.problems)))))
        else:
            return settings
    raise AssertionError(f"the example cannot be planned here, not even with {settings}")


def main() -> None:
    """Measure and print."""
    runs = runs_wanted()
    full = template_dir() / "node.full.yml"
    with tempfile.TemporaryDirectory() as folder:
        os.environ[HOME_VARIABLE] = folder
        home = Home.from_environment()
        home.node_map.mkdir()
        home.map_file(NAME).write_bytes(full.read_bytes())
        settings = what_is_elsewhere(home)
        bare, validated, planned = interleaved(
            runs,
            lambda: processor_time_s([sys.executable, "-c", BARE]),
            lambda: processor_time_s([sys.executable, "-c", VALIDATE, str(full)]),
            lambda: processor_time_s([sys.executable, "-c", PLAN, *settings]),
        )
    show_ratio("validate the full example / 0.15 s of CPU (ms)", validated, [VALIDATE_TARGET_S], 1.0)
    show_ratio("validate the full example / import yaml (ms)", validated, bare, None)
    show_ratio("plan the full example / 0.25 s of CPU (ms)", planned, [PLAN_TARGET_S], 1.0)
    show_ratio("plan the full example / import yaml (ms)", planned, bare, None)


if __name__ == "__main__":
    main()
