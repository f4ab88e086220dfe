"""The ways infrasim is installed, and what ``infrasim init`` does on a machine that has everything."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[2]
NOT_COPIED = (
    ".git",
    ".venv",
    ".environment",
    ".cache",
    "__pycache__",
    "*_cache",
    "build",
    "dist",
    "*.egg-info",
)


def run(*argv: str | Path, **variables: str) -> str:
    """What a program prints; its failure fails the test with what it said.

    Without the test runner's PYTHONPATH, behind which pip would take the clone for installed.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in argv],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=600,
    )
    assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shipped(folder: str) -> set[str]:
    """The files of a shipped folder, as paths from the clone."""
    return {str(path.relative_to(CLONE)) for path in (CLONE / folder).rglob("*") if path.is_file()}


SHIPPED = shipped("template") | shipped("data")
# Prints where the shipped folders are, in the order template, data.
WHERE = "from infrasim import paths; print(paths.template_dir()); print(paths.data_dir())"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone, so that building leaves nothing in ours."""
    copy = tmp_path_factory.mktemp("source") / "infrasim"
    shutil.copytree(CLONE, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A virtual environment's folder of programs; the packages we need are lent by ours."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    return tmp_path / "venv" / "bin"


def lent(fresh: Path, *words: str) -> str:
    """Run a program of the fresh environment with our environment's packages behind its own."""
    own = run(fresh / "python", "-c", "import site; print(site.getsitepackages()[0])").strip()
    path = os.pathsep.join([own, *site.getsitepackages()])
    return run(fresh / words[0], *words[1:], PYTHONPATH=path, PYTHONSAFEPATH="1")


def test_wheel_from_sdist(source: Path, fresh: Path, tmp_path: Path) -> None:
    run(fresh / "pip", "install", "build")
    run(fresh / "python", "-m", "build", "--outdir", tmp_path / "dist", source)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    tests = {"test/unittest/test_layers.py", "test/functionaltest/guest/root/init"}
    wanted = {"bin/infrasim", "bin/environment.sh", "requirements.txt", ".unittests", ".ci/run", *tests}
    assert wanted | SHIPPED <= in_sdist, sorted((wanted | SHIPPED) - in_sdist)
    with zipfile.ZipFile(wheel) as packed:
        in_wheel = set(packed.namelist())
    assert {f"infrasim/{name}" for name in SHIPPED} == {
        name for name in in_wheel if name.startswith(("infrasim/template/", "infrasim/data/"))
    }
    # Built from the sdist, so the sdist is complete; nothing but the package is installed.
    assert not [name for name in in_wheel if not name.startswith(("infrasim/", "infrasim-"))]

    run(fresh / "pip", "install", "--no-deps", wheel)
    assert "Simulated bare-metal servers" in lent(fresh, "infrasim", "--help")
    template, data = lent(fresh, "python", "-c", WHERE).split()
    assert template.startswith(str(tmp_path))
    assert (Path(template).name, Path(data).name) == ("template", "data")


def test_pip_install_editable(source: Path, fresh: Path) -> None:
    run(fresh / "pip", "install", "--no-deps", "-e", source)
    run(fresh / "infrasim", "--help", PYTHONPATH=os.pathsep.join([str(source), *site.getsitepackages()]))
    where = run(
        fresh / "python", "-c", WHERE, PYTHONPATH=os.pathsep.join([str(source), *site.getsitepackages()])
    )
    assert where.split() == [f"{source}/template", f"{source}/data"]


def test_launcher_of_a_clone(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "infrasim"
    link.symlink_to(source / "bin" / "infrasim")
    assert "Simulated bare-metal servers" in run(link, "--help")
    assert (source / ".environment" / "run.stamp").exists()


def test_init_writes_the_node_file_once_and_installs_nothing_again(tmp_path: Path) -> None:
    home = {"INFRASIM_HOME": str(tmp_path / "home"), "INFRASIM_LOG_DIR": str(tmp_path / "log")}
    launcher = CLONE / "bin" / "infrasim"
    assert "everything infrasim drives is installed" in run(launcher, "init", **home)
    node_file = tmp_path / "home" / ".node_map" / "default.yml"
    before = node_file.read_bytes()
    assert "stays as it is" in run(launcher, "init", **home)
    assert node_file.read_bytes() == before


def test_download_only_makes_a_folder_for_a_lab_without_internet(tmp_path: Path) -> None:
    launcher = CLONE / "bin" / "infrasim"
    run(launcher, "init", "--download-only", INFRASIM_HOME=str(tmp_path))
    folder = tmp_path / ".cache" / "packages"
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    names = {line.split()[1].partition("_")[0] for line in sums}
    assert {"qemu-system-x86", "qemu-utils", "openipmi", "socat", "ipmitool", "libc6"} <= names
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert checked.returncode == 0
