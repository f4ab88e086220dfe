"""The command itself: finding sub-commands, printing errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from infrasim.cli import main
from infrasim.cli.main import COMMANDS, run
from infrasim.errors import (
    DeadlineError,
    HostError,
    InfrasimError,
    InvalidNodeFile,
    NotRunningError,
    Problem,
    ProgramError,
    UsageError,
)

Said = pytest.CaptureFixture[str]
PROBLEM = Problem("/n.yml", 3, 7, "compute.cpu", "is odd", "2")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFRASIM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("INFRASIM_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.delenv("INFRASIM_DEBUG", raising=False)
    return tmp_path / "home"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """A function that puts a body in the place of ``infrasim doctor``."""

    def put(body: Callable[[], object]) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def doctor(as_json: bool) -> object:
            return body()

        monkeypatch.setattr("infrasim.cli.doctor.doctor", doctor)

    return put


def raises(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InfrasimError("odd"), 1, "infrasim: odd\n"),
        (UsageError("no", hint="try"), 2, "infrasim: no\nhint: try\n"),
        (InvalidNodeFile([PROBLEM, PROBLEM]), 2, f"{PROBLEM}\n{PROBLEM}\n"),
        (NotRunningError("off"), 3, "infrasim: off\n"),
        (HostError("full"), 4, "infrasim: full\n"),
        (ProgramError("died"), 5, "infrasim: died\n"),
        (DeadlineError("late"), 6, "infrasim: late\n"),
    ],
)
def test_errors(
    command: Callable[[Callable[[], object]], None],
    capsys: Said,
    error: InfrasimError,
    code: int,
    said: str,
) -> None:
    command(raises(error))
    assert run(["doctor"]) == code
    assert capsys.readouterr() == ("", said)
    assert run(["doctor", "--json"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == error.as_json()
    assert json.loads(err)["exit_code"] == code


def test_problems_of_a_node_file_as_json(
    command: Callable[[Callable[[], object]], None], capsys: Said
) -> None:
    command(raises(InvalidNodeFile([PROBLEM])))
    run(["doctor", "--json"])
    assert json.loads(capsys.readouterr().err)["problems"] == [
        {"file": "/n.yml", "line": 3, "column": 7, "path": "compute.cpu", "message": "is odd", "hint": "2"}
    ]


def test_bug_shows_a_traceback(command: Callable[[Callable[[], object]], None], capsys: Said) -> None:
    command(raises(ZeroDivisionError("oops")))
    assert run(["doctor"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith(
        "ZeroDivisionError: oops\ninfrasim: this is a bug; please report it with the traceback above\n"
    )


def test_no_permission_is_no_bug(command: Callable[[Callable[[], object]], None], capsys: Said) -> None:
    command(raises(PermissionError(13, "Permission denied", "/root/.infrasim")))
    assert run(["doctor"]) == 4
    assert capsys.readouterr().err == (
        "infrasim: /root/.infrasim: Permission denied\n"
        "hint: run with sudo, or point INFRASIM_HOME and INFRASIM_LOG_DIR at folders of your own\n"
    )


def test_full_disk_is_no_bug(command: Callable[[Callable[[], object]], None], capsys: Said) -> None:
    command(raises(OSError(28, "No space left on device", "/root/.infrasim/x")))
    assert run(["doctor"]) == 4
    assert capsys.readouterr().err == "infrasim: /root/.infrasim/x: No space left on device\n"


@pytest.mark.allow("process")
def test_output_that_cannot_be_written_is_no_bug() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "infrasim", "--help"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (4, b"infrasim: output: No space left on device\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(
    command: Callable[[Callable[[], object]], None], capsys: Said, error: BaseException
) -> None:
    command(raises(error))
    assert run(["doctor"]) == 130
    assert capsys.readouterr().err.lstrip("\n") == "infrasim: interrupted\n"


def test_debug_shows_where_an_error_came_from(
    command: Callable[[Callable[[], object]], None], capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFRASIM_DEBUG", "")
    command(raises(HostError("full")))
    assert run(["--debug", "doctor"]) == 4
    err = capsys.readouterr().err
    assert err.startswith("infrasim: full\nTraceback")


def test_result_of_a_command_is_the_exit_code(command: Callable[[Callable[[], object]], None]) -> None:
    command(lambda: None)
    assert run(["doctor"]) == 0
    command(lambda: click.get_current_context().exit(3))
    assert run(["doctor"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nod"], "No such command 'nod'. Did you mean 'node'?"),
        (["xyzzy"], "No such command 'xyzzy'."),
        (["node", "status", "a", "b"], "Got unexpected extra argument (b)"),
    ],
)
def test_wrong_usage(capsys: Said, words: list[str], message: str) -> None:
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == f"Error: {message}"
    assert run([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err) == {"error": message, "hint": "", "exit_code": 2}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frob"], "No such option"),
        (["node", "logs", "-n", "x"], "Invalid value for '-n' / '--lines': 'x' is not a valid integer."),
    ],
)
def test_wrong_option(capsys: Said, words: list[str], said: str) -> None:
    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_unknown_command_of_a_group(capsys: Said) -> None:
    assert run(["node", "strat"]) == 2
    assert "No such command 'strat'." in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_lists_every_command_without_importing_any(
    capsys: Said, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"imported {name}")

    monkeypatch.setattr(main.importlib, "import_module", refuse)  # type: ignore[attr-defined]
    assert run(words) == 0
    said = capsys.readouterr().out
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in said
        assert text.split(".", maxsplit=1)[0] in said


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(capsys: Said, name: str) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: infrasim {name}")


def test_reader_that_goes_away_is_no_fault(
    command: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "stdout").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        command(raises(BrokenPipeError(32, "Broken pipe")))
        assert run(["doctor"]) == 0
        stdout.write("lost")
    assert (tmp_path / "stdout").read_text() == ""
