"""bin/infrasim and bin/environment.sh on machines made of stub programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("process")

CLONE = Path(__file__).resolve().parents[2]
TOOLS = (
    "sh",
    "cat",
    "chmod",
    "cp",
    "dirname",
    "flock",
    "grep",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sleep",
    "tail",
    "tr",
)

# What a Python answers to the launcher. ANSWER is what the probe prints; empty means too old.
STUB_PYTHON = """#!/bin/sh
case "$*" in
    "-I -c "*) echo "${0##*/} probe" >>LOG ;;
    *) echo "${0##*/} $*" >>LOG ;;
esac
case "$*" in
    "-I -c "*) [ -n "ANSWER" ] && echo "ANSWER" ;;
    "-I -m venv --clear "*) mkdir -p "$5/bin" && cp "$0" "$5/bin/python" ;;
    "-c import pip") ;;
    "-m pip install"*) PIP ;;
    "-m infrasim"*) shift 2; echo "ran: $*" ;;
    *) echo "stub python: unexpected: $*" >&2; exit 99 ;;
esac
"""


@dataclass
class Machine:
    """A clone, a PATH that holds only what is put there, and a log of what was started."""

    root: Path

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    @property
    def stamp(self) -> Path:
        return self.clone / ".environment" / "run.stamp"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def program(self, name: str, body: str) -> Path:
        """Put a shell script on PATH."""
        path = self.root / "path" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def python(self, name: str, answer: str, *, pip: str = "true") -> Path:
        """Put a Python on PATH that answers ``answer`` to the probe; @ stands for its path."""
        path = self.root / "path" / name
        path.write_text(self.python_text(name, answer, pip))
        path.chmod(0o755)
        return path

    def python_text(self, name: str, answer: str, pip: str = "true") -> str:
        answer = answer.replace("@", str(self.root / "path" / name))
        text = STUB_PYTHON.replace("ANSWER", answer)
        return text.replace("LOG", str(self.log)).replace("PIP", pip)

    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.root / "path"), "HOME": str(self.root / "home")}

    def run(self, *words: str, clone: Path | None = None) -> subprocess.CompletedProcess[str]:
        launcher = (clone or self.clone) / "bin" / "infrasim"
        return subprocess.run(
            [str(launcher), *words], env=self.environment(), capture_output=True, text=True, check=False
        )

    def started(self) -> list[str]:
        """What was started since this was called last."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.replace(str(self.root), "") for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a shell, no Python and no package manager, where we are root."""
    (tmp_path / "path").mkdir()
    (tmp_path / "home").mkdir()
    made = Machine(tmp_path)
    (made.clone / "bin").mkdir(parents=True)
    for name in ("infrasim", "environment.sh"):
        shutil.copy(CLONE / "bin" / name, made.clone / "bin" / name)
    (made.clone / "requirements.txt").write_text("# a comment\npyyaml>=6.0\nclick>=8.1")
    for name in TOOLS:
        found = shutil.which(name)
        assert found, f"{name} is missing on this machine"
        (tmp_path / "path" / name).symlink_to(found)
    made.program("id", "echo 0")
    return made


def apt(machine: Machine, *, offers: str, gives: str, listed: bool = True) -> None:
    """An apt that offers packages, and whose installation puts the Python ``gives`` on PATH."""
    known = machine.root / "lists"
    known.write_text(offers if listed else "")
    machine.program(
        "apt-cache",
        f'grep -q "^$2\\$" {known} || exit 0; printf "Installed: (none)\\nCandidate: 3.1-1\\n"',
    )
    version = gives.removeprefix("python")
    text = machine.python_text(gives, "venv @")
    (machine.root / "python-to-be").write_text(text)
    machine.program(
        "apt-get",
        f"""printf 'apt-get %s\\n' "$*" >>{machine.log}
case "$*" in
    *update) printf '{offers}' >{known} ;;
    *install*python{version}-venv)
        cp {machine.root}/python-to-be {machine.root}/path/{gives}; chmod +x {machine.root}/path/{gives} ;;
esac""",
    )


def test_a_python_that_has_everything_is_used_as_it_is(machine: Machine) -> None:
    machine.python("python3", f"met @|{machine.root}/site")
    (machine.root / "site").mkdir()
    os.utime(machine.root / "site", (1, 1))
    done = machine.run("node", "status")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran: node status\n", "")
    assert not (machine.clone / ".environment" / "run").exists()
    assert machine.started() == ["python3 probe", "python3 -m infrasim node status"]
    machine.run("version")
    assert machine.started() == ["python3 -m infrasim version"], "the second call looks at the stamp alone"


def test_a_python_of_others_is_looked_at_again_when_its_packages_changed(machine: Machine) -> None:
    machine.python("python3", f"met @|{machine.root}/site")
    (machine.root / "site").mkdir()
    os.utime(machine.root / "site", (1, 1))
    machine.run("version")
    machine.started()
    os.utime(machine.root / "site", (4e9, 4e9))
    machine.run("version")
    assert machine.started() == ["python3 probe", "python3 -m infrasim version"]


def test_an_environment_is_made_once(machine: Machine) -> None:
    machine.python("python3.12", "venv @")
    done = machine.run("version")
    assert (done.returncode, done.stdout) == (0, "ran: version\n")
    assert done.stderr.startswith("infrasim: making a private Python environment in ")
    assert machine.started() == [
        "python3.12 probe",
        "python3.12 -I -m venv --clear /clone/.environment/run",
        "python -m pip install --disable-pip-version-check -r /clone/requirements.txt",
        "python -m infrasim version",
    ]
    again = machine.run("version")
    assert (again.stdout, again.stderr) == ("ran: version\n", "")
    assert machine.started() == ["python -m infrasim version"]
    assert machine.stamp.read_text().splitlines()[0] == f"{machine.clone}/.environment/run/bin/python"


@pytest.mark.parametrize(
    "changed",
    ["# a comment\npyyaml>=6.0\nclick>=8.2", "# a comment\npyyaml>=6.0", "pyyaml>=6.0\nx>=1\ny>=1\n"],
)
def test_changed_requirements_complete_the_environment_in_place(machine: Machine, changed: str) -> None:
    machine.python("python3.12", "venv @")
    machine.run("version")
    machine.started()
    (machine.clone / "requirements.txt").write_text(changed)
    assert "completing" in machine.run("version").stderr
    started = machine.started()
    assert any("-m pip install" in line for line in started)
    assert not any("venv --clear" in line for line in started), "nodes may be running from it"
    assert machine.run("version").stderr == ""


def test_an_environment_whose_python_is_gone_is_made_anew(machine: Machine) -> None:
    machine.python("python3.12", "venv @")
    machine.run("version")
    (machine.clone / ".environment/run/bin/python").unlink()
    assert "making a private" in machine.run("version").stderr


def test_the_newest_usable_python_is_chosen(machine: Machine) -> None:
    machine.python("python3.13", "bare 3.13")
    machine.python("python3.12", "venv @")
    machine.python("python3.11", "venv @")
    machine.python("python3", "")
    assert machine.run("version").returncode == 0
    assert "python3.12 -I -m venv" in "\n".join(machine.started())


def test_one_that_has_everything_is_better_than_a_newer_one(machine: Machine) -> None:
    machine.python("python3.13", "venv @")
    machine.python("python3.11", "met @")
    machine.run("version")
    assert machine.started()[-1] == "python3.11 -m infrasim version"


@pytest.mark.parametrize(
    ("offers", "gives", "found"),
    [
        ("python3.11-venv\\npython3.10-venv\\n", "python3.11", {"python3": ""}),  # Ubuntu 22.04
        ("python3.12-venv\\n", "python3.12", {"python3.12": "bare 3.12", "python3": "bare 3.12"}),  # 24.04
        ("python3.11-venv\\n", "python3.11", {}),  # Debian 12, minimal
        ("python3.13-venv\\n", "python3.13", {}),  # Debian 13, minimal
    ],
    ids=["ubuntu-22.04", "ubuntu-24.04", "debian-12", "debian-13"],
)
@pytest.mark.parametrize("listed", [True, False], ids=["lists-there", "no-lists"])
def test_python_is_installed(
    machine: Machine, offers: str, gives: str, found: dict[str, str], *, listed: bool
) -> None:
    for name, answer in found.items():
        machine.python(name, answer)
    apt(machine, offers=offers.replace("\\n", "\n"), gives=gives, listed=listed)
    done = machine.run("version")
    assert (done.returncode, done.stdout) == (0, "ran: version\n"), done.stderr
    asked = [line for line in machine.started() if line.startswith("apt-get")]
    assert [line for line in asked if line.endswith(f"install -y --no-install-recommends {gives}-venv")]
    assert any(line.endswith("update") for line in asked) is not listed


def test_lists_that_are_too_old_are_read_again(machine: Machine) -> None:
    apt(machine, offers="python3.11-venv\n", gives="python3.11")
    fails_once = machine.root / "failed"
    working = (machine.root / "path" / "apt-get").read_text()
    machine.program(
        "apt-get",
        f'case "$*" in *install*) [ -e {fails_once} ] || {{ : >{fails_once}; exit 100; }} ;; esac\n{working}',
    )
    assert machine.run("version").returncode == 0


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda m: None, "no Python 3.11 or newer on PATH\nhint: install Python 3.11 or newer"),
        (lambda m: m.python("python3", "bare 3.12"), "Python 3.12 has no module venv or ensurepip\nhint: "),
        (
            lambda m: (m.program("id", "echo 1000"), m.program("apt-get", "exit 1")),
            "and only root can install it\nhint: as root: apt-get install python3-venv",
        ),
        (
            lambda m: (m.program("apt-cache", "exit 0"), m.program("apt-get", "echo E: oh no; exit 100")),
            "and apt-get update failed\nhint: is there a network?",
        ),
        (
            lambda m: (m.program("apt-cache", "exit 0"), m.program("apt-get", "exit 0")),
            "this machine's apt sources offer none\nhint: install Python 3.11 or newer by hand; on Ubuntu",
        ),
        (
            lambda m: (
                m.program("apt-cache", 'printf "Candidate: 3.1\\n"'),
                m.program("apt-get", '[ "$*" = "${*%install*}" ]'),
            ),
            "and apt-get install python3.14-venv failed",
        ),
        (
            lambda m: (m.program("apt-cache", 'printf "Candidate: 3.1\\n"'), m.program("apt-get", "exit 0")),
            "installed Python, yet found none that is 3.11 or newer",
        ),
        (
            lambda m: m.python("python3", "venv @", pip="echo NewConnectionError; exit 1"),
            "pip install failed: the Python package index cannot be reached\nhint: the whole log is ",
        ),
        (
            lambda m: m.python("python3", "venv @", pip="echo 'No space left on device'; exit 1"),
            "/clone/.environment is full\n",
        ),
        (
            lambda m: m.python("python3", "venv @", pip="echo '[SSL: CERTIFICATE_VERIFY_FAILED]'; exit 1"),
            "the certificate of the Python package index is not trusted\nhint: behind an",
        ),
        (
            lambda m: m.python("python3", "venv @", pip="echo oops; exit 1"),
            "oops\ninfrasim: pip install failed\n",
        ),
    ],
    ids=[
        "no-python-no-apt",
        "bare-no-apt",
        "not-root",
        "no-network",
        "not-offered",
        "install-fails",
        "install-in-vain",
        "no-index",
        "disk-full",
        "certificate",
        "pip-fails",
    ],
)
def test_what_is_missing_is_said_and_nothing_is_half_made(
    machine: Machine, prepare: Callable[[Machine], object], message: str
) -> None:
    prepare(machine)
    done = machine.run("version")
    assert (done.returncode, done.stdout) == (4, "")
    assert message in done.stderr
    assert not machine.stamp.exists()


def test_after_a_failure_the_environment_is_made_from_scratch(machine: Machine) -> None:
    machine.python("python3", "venv @", pip="exit 1")
    assert machine.run("version").returncode == 4
    machine.python("python3", "venv @")
    machine.started()
    assert machine.run("version").returncode == 0
    assert any("venv --clear" in line for line in machine.started())


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    logs = [machine.root / "first", machine.root / "second"]
    # Whoever is first takes until the other one waits.
    both_are_there = f"grep -q 'waiting for another call' {logs[0]} {logs[1]}"
    machine.python("python3", "venv @", pip=f"until {both_are_there}; do sleep 0.05; done")
    both = []
    for log in logs:
        with log.open("wb") as said:
            words = [str(machine.clone / "bin" / "infrasim"), "version"]
            env = machine.environment()
            both.append(subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=said, text=True))
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs == ["ran: version\n"] * 2
    assert sum("venv --clear" in line for line in machine.started()) == 1
    assert sum("waiting for another call" in log.read_text() for log in logs) == 1


def test_a_clone_that_cannot_be_written_keeps_its_environment_in_the_cache(machine: Machine) -> None:
    machine.python("python3", "venv @")
    (machine.clone / ".environment").write_text("in the way\n")
    assert machine.run("version").returncode == 0
    stamp = Path(f"{machine.root}/home/.cache/infrasim/environment{machine.clone}/run.stamp")
    assert stamp.exists()
    machine.started()
    assert machine.run("version").stderr == ""
    assert machine.started() == ["python -m infrasim version"]


def test_nowhere_to_write(machine: Machine) -> None:
    machine.python("python3", "venv @")
    (machine.clone / ".environment").write_text("in the way\n")
    (machine.root / "home/.cache").write_text("in the way\n")
    done = machine.run("version")
    assert done.returncode == 4
    assert "can be written" in done.stderr


def test_the_launcher_may_be_called_through_a_link(machine: Machine) -> None:
    machine.python("python3", "met @")
    link = machine.root / "path" / "infrasim"
    link.symlink_to(machine.clone / "bin" / "infrasim")
    done = subprocess.run(
        ["infrasim", "x y"], env=machine.environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "ran: x y\n"


def test_modules_in_the_current_folder_do_not_shadow_ours(machine: Machine, tmp_path: Path) -> None:
    (machine.root / "path" / "python3").symlink_to(sys.executable)
    (machine.clone / "requirements.txt").write_text("# nothing\n")
    (machine.clone / "infrasim").mkdir()
    (machine.clone / "infrasim" / "__main__.py").write_text("import json\nprint('the clone')\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "infrasim.py").write_text("print('the folder')\n")
    (elsewhere / "json.py").write_text("raise SystemExit('the folder')\n")
    done = subprocess.run(
        [str(machine.clone / "bin" / "infrasim")],
        env=machine.environment(),
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("the clone\n", "", 0)


def probe(requirements: Path) -> str:
    """What the real probe says of the Python that runs the tests."""
    script = f'. {CLONE}/bin/environment.sh; probe_python "$@"'
    argv = ["sh", "-c", script, "sh", sys.executable, str(requirements)]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def test_probe_of_a_python_that_has_everything() -> None:
    answer = probe(CLONE / "requirements.txt")
    assert answer.startswith(f"met {sys.executable}|/")
    assert all(Path(folder).is_dir() for folder in answer.strip().split("|")[1:])


@pytest.mark.parametrize("line", ["pyyaml>=999", "no-such-distribution>=1"])
def test_probe_of_a_python_that_lacks_something(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"click>=8\n{line}\n")
    assert probe(tmp_path / "requirements.txt").split()[0] in ("venv", "bare")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_requirements_have_the_one_form_the_launcher_understands(name: str) -> None:
    lines = [line.partition("#")[0].strip() for line in (CLONE / name).read_text().splitlines()]
    wrong = [line for line in lines if line and not re.fullmatch(r"[A-Za-z0-9._-]+>=[0-9.]+", line)]
    assert not wrong
