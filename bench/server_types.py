"""How long listing, loading and compiling server types takes."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_lab import interleaved, lab, runs_wanted, show_ratio, timed

from infrasim.paths import shipped_types
from infrasim.personality.compiler import compile_personality
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.registry import load_type, type_names

LIST_TARGET_S = 0.3
COMPILE_TARGET_S = 0.2
IDENTITY = NodeIdentity(UUID("3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"), "NODE-0001", memory_mib=4096)


def main() -> None:
    """Measure and print."""
    runs = runs_wanted()
    click = [sys.executable, "-c", "import click"]
    with lab(lambda: False) as scratch:
        ours, bare = interleaved(
            runs,
            lambda: timed(lambda: scratch.must("type", "list")),
            lambda: timed(lambda: subprocess.run(click, check=True)),
        )
    show_ratio("type list / python3 -c 'import click' (ms)", ours, bare, None)
    show_ratio("type list / 0.3 s (ms)", ours, [LIST_TARGET_S], 1.0)
    folders = [shipped_types()]
    for name in type_names(folders):
        personality = load_type(name, folders)
        loads, compiles = interleaved(
            runs,
            partial(timed, partial(load_type, name, folders)),
            partial(timed, partial(compile_personality, personality, IDENTITY)),
        )
        show_ratio(f"load {name} / 0.2 s (ms)", loads, [COMPILE_TARGET_S], None)
        show_ratio(f"compile {name} / 0.2 s (ms)", compiles, [COMPILE_TARGET_S], 1.0)
        both = [load + compiled for load, compiled in zip(loads, compiles, strict=True)]
        show_ratio(f"load and compile {name} / 0.2 s (ms)", both, [COMPILE_TARGET_S], 1.0)


if __name__ == "__main__":
    main()
