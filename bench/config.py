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
ROUNDS = 10


def processor_time_s(words: Sequence[str]) -> float:
    """Seconds of processor time that a program and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def what_is_elsewhere(home: Home) -> tuple[str, ...]:
    """The settings that take from the example what this machine has not: interfaces, bridges, programs."""
    settings: tuple[str, ...] = ()
    for _ in range(ROUNDS):
        try:
            plan(home, NAME, parse_settings(settings))
        except InvalidNodeFile as exc:
            # The whole entry of a list, such as a card on a bridge; otherwise the key alone.
            entries = (re.match(r"compute\.networks\[\d+\]", problem.path) for problem in exc.problems)
            wrong = (
                f"{entry[0]}={{}}" if entry else f"{problem.path}="
                for entry, problem in zip(entries, exc.problems, strict=True)
            )
            settings = tuple(dict.fromkeys((*settings, *wrong)))
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
