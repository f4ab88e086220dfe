"""What is done before anything is imported agrees with the modules that do the same with comfort."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infrasim.host import bare, files
from infrasim.host.process import OwnChild, identify


def test_a_lock_is_the_same_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    held = bare.hold_lock(str(lock))
    assert held is not None
    assert files.hold_lock(lock) is None
    assert bare.hold_lock(str(lock)) is None
    bare.release_lock(str(lock), held)
    assert not lock.exists()
    again = files.hold_lock(lock)
    assert again is not None
    assert bare.hold_lock(str(lock)) is None
    files.release_lock(lock, again)


def test_replace_and_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    bare.replace(path, b"old")
    bare.replace(path, b"new")
    assert bare.read(path) == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert Path(path).stat().st_mode & 0o7777 == 0o600


def test_a_signature_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert bare.signature(str(path)) is None
    path.write_text("one")
    first = bare.signature(str(path))
    path.write_text("two")
    os.utime(path, ns=(0, first[0] if first else 0))
    assert bare.signature(str(path)) not in (None, first)


def test_a_moment_is_now() -> None:
    before = datetime.now(UTC)
    said = datetime.fromisoformat(bare.moment())
    assert before - timedelta(milliseconds=1) < said <= datetime.now(UTC)
    assert len(bare.moment()) == len("2026-11-22T14:59:13.377+00:00")


@pytest.mark.allow("process")
def test_a_child_leads_a_session_and_writes_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os; os.write(1, b'%d' % (os.getsid(0) == os.getpid())); os.write(2, b'err'); os._exit(3)"
    pid = bare.spawn((sys.executable, "-c", code), str(log))
    assert OwnChild(pid).wait() == 3
    assert log.read_text() == "1err"
    assert log.stat().st_mode & 0o777 in (0o640, 0o600)


@pytest.mark.allow("process")
def test_ticks_are_those_of_the_identity() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    found = identify(child.pid)
    assert found is not None
    assert bare.start_ticks(child.pid) == found.start_ticks
    bare.end_group(child.pid)
    assert identify(child.pid) is None
    bare.end_group(child.pid)
    child.wait()


def test_json_is_read_as_json_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"a": [1, -2.5, None, True, "é\n"], "b": {"c": {}}}
    path.write_text(json.dumps(value, indent=1) + "\n")
    assert bare.read_json(str(path)) == value


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', "[]", "{} x", "\udcff"])
def test_what_is_no_object_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError):
        bare.read_json(str(path))
