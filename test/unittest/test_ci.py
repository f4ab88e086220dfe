""".ci/run runs exactly the two test runners and fails when either fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("process")

CLONE = Path(__file__).resolve().parents[2]


def run(clone: Path, codes: dict[str, int], *words: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/run in a clone whose two runners end with ``codes``."""
    (clone / ".ci").mkdir()
    shutil.copy(CLONE / ".ci" / "run", clone / ".ci" / "run")
    for name, code in codes.items():
        runner = clone / name
        runner.write_text(f'#!/bin/sh\necho "$0 $*"\necho "what {name} said last"\nexit {code}\n')
        runner.chmod(0o755)
    return subprocess.run(
        [str(clone / ".ci" / "run"), *words], capture_output=True, text=True, check=False, cwd="/"
    )


@pytest.mark.parametrize(("unit", "functional"), [(0, 0), (1, 0), (0, 1), (2, 5)])
def test_both_run_and_either_counts(tmp_path: Path, unit: int, functional: int) -> None:
    done = run(tmp_path, {".unittests": unit, ".functionaltests": functional})
    assert done.returncode == (1 if unit or functional else 0)
    assert done.stdout.splitlines() == [
        "==> ./.unittests",
        "./.unittests ",
        "what .unittests said last",
        "==> ./.functionaltests",
        "./.functionaltests ",
        "what .functionaltests said last",
        "==> result",
        f".unittests: exit {unit}: what .unittests said last",
        f".functionaltests: exit {functional}: what .functionaltests said last",
    ]


def test_a_runner_that_is_not_there_fails(tmp_path: Path) -> None:
    assert run(tmp_path, {".unittests": 0}).returncode == 1


def test_arguments_go_to_both(tmp_path: Path) -> None:
    done = run(tmp_path, {".unittests": 0, ".functionaltests": 0}, "-k", "x")
    assert "./.unittests -k x" in done.stdout
    assert "./.functionaltests -k x" in done.stdout
