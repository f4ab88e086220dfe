"""Finding real processes by their words."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from infrasim.host import table
from infrasim.host.process import identify
from infrasim.host.table import find_processes, has_open

pytestmark = pytest.mark.allow("process")

# Other runs of these tests may go on at the same time.
WORD = f"infrasim-test-table-{secrets.token_hex(8)}"


def judge(argv: Sequence[str]) -> str | None:
    return "mine" if WORD in argv else None


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    script = "import sys, time; print('up', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", script, "", WORD], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    return child


def test_a_process_is_found_while_it_lives(sleeper: subprocess.Popen[bytes]) -> None:
    with sleeper:
        (found,) = find_processes(judge)
        assert found.what == "mine"
        assert found.identity == identify(sleeper.pid)
        assert found.group == os.getpgid(sleeper.pid)
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        assert list(find_processes(judge)) == [], "a zombie holds nothing"


def test_empty_words_are_words(sleeper: subprocess.Popen[bytes]) -> None:
    seen = []
    with sleeper:
        list(find_processes(lambda argv: seen.append(tuple(argv))))
        sleeper.kill()
    (argv,) = (argv for argv in seen if WORD in argv)
    assert argv[-2:] == ("", WORD)


def test_this_process_is_not_found() -> None:
    here = sys.argv[0]
    assert not [each for each in find_processes(lambda _: here) if each.identity.pid == os.getpid()]


def test_whether_a_file_is_open_is_about_the_file_and_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert not has_open(os.getpid(), path)
    with path.open("a"):
        assert has_open(os.getpid(), path)
        path.unlink()
        assert not has_open(os.getpid(), path)
        path.touch()
        assert not has_open(os.getpid(), path)
    assert has_open(2**22 + 1, path), "nobody can tell"


def test_processes_of_another_mount_namespace_are_not_found(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_mounts", lambda number: "here" if number == "self" else "a container's")
    with sleeper:
        assert list(find_processes(judge)) == []
        sleeper.kill()
