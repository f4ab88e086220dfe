"""Linters are tests, so that one command says everything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("process")

CLONE = Path(__file__).resolve().parents[2]
PYTHON = ("infrasim", "test", "bench", "setup.py")
SHELLS = (b"#!/bin/sh", b"#!/bin/bash", b"# shellcheck shell=")
SKIPPED_FOLDERS = frozenset({".git", ".venv", ".environment", ".cache", "build", "dist", "personalities"})


def complaints(*argv: str) -> str:
    """What a linter that fails says; empty when it is content."""
    done = subprocess.run(
        argv, cwd=CLONE, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return (
        ""
        if done.returncode == 0
        else f"{' '.join(argv[:6])}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    )


def check(*argv: str) -> None:
    """Fail with what a linter says, whole."""
    said = complaints(*argv)
    if said:
        pytest.fail(said, pytrace=False)


def program(name: str) -> str:
    """A linter's program in the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)


def files(folder: Path) -> Iterator[Path]:
    """Every file of the clone that is ours."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in SKIPPED_FOLDERS and not path.is_symlink():
            yield from files(path)
        elif path.is_file():
            yield path


def shell_scripts() -> list[str]:
    """Every shell script, known by its first line, whatever it is called."""
    scripts = [path for path in files(CLONE) if path.read_bytes()[:64].startswith(SHELLS)]
    return [str(path.relative_to(CLONE)) for path in scripts]


def python_places() -> list[str]:
    """Those of PYTHON that hold any."""
    return [name for name in PYTHON if name.endswith(".py") or any((CLONE / name).rglob("*.py"))]


def test_ruff_check() -> None:
    check(sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", *python_places())


def test_ruff_format() -> None:
    check(sys.executable, "-m", "ruff", "format", "--check", "--no-cache", *python_places())


def test_mypy_strict() -> None:
    check(sys.executable, "-m", "mypy", "--strict", *python_places())


def test_codespell() -> None:
    check(program("codespell"), "--toml", "pyproject.toml")


def test_shellcheck() -> None:
    scripts = shell_scripts()
    assert {"bin/infrasim", "bin/environment.sh", ".unittests", ".functionaltests", ".ci/run"} <= set(scripts)
    check(program("shellcheck"), "--external-sources", *scripts)


@pytest.mark.parametrize(
    ("name", "content", "argv"),
    [
        ("a.py", "import os\n", ("-m", "ruff", "check", "--no-cache", "--isolated")),
        ("a.py", "x=1\n", ("-m", "ruff", "format", "--check", "--no-cache", "--isolated")),
        ("a.py", "def f(x):\n    return x\n", ("-m", "mypy", "--strict", "--cache-dir=/dev/null")),
        ("a.txt", "recieve\n", ("codespell",)),  # codespell:ignore recieve
        ("a.sh", "#!/bin/sh\ncd $1\n", ("shellcheck",)),
    ],
    ids=["ruff-check", "ruff-format", "mypy", "codespell", "shellcheck"],
)
def test_linter_complains_about_a_fault(
    tmp_path: Path, name: str, content: str, argv: tuple[str, ...]
) -> None:
    faulty = tmp_path / name
    faulty.write_text(content)
    command = (sys.executable, *argv) if argv[0] == "-m" else (program(argv[0]), *argv[1:])
    assert str(name) in complaints(*command, str(faulty))
