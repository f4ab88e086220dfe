"""The serial log: begun anew, and cut under a writer that never waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrasim.host.process import group_is_suspended
from infrasim.runtime.serial_log import SerialLog, unread

# Appends numbered lines as fast as it can, as socat appends what the host prints, until it is told to end.
_WRITER = """
import os, signal, sys
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
number = 0
while not told:
    os.write(log, b"%09d\\n" % number)
    number += 1
"""
_CUTS = 5


@pytest.fixture
def log(tmp_path: Path) -> SerialLog:
    return SerialLog(tmp_path / "serial.log", most_bytes=100_000)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "serial.log")]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_host_begins_anew_and_the_one_before_is_kept(log: SerialLog, tmp_path: Path) -> None:
    log.begin()
    (tmp_path / "serial.log").write_text("first")
    log.begin()
    assert (tmp_path / "serial.log").read_text() == ""
    assert log.older.read_text() == "first"


def test_it_is_long_when_it_is(log: SerialLog, tmp_path: Path) -> None:
    assert not log.is_long()
    (tmp_path / "serial.log").write_bytes(bytes(99_999))
    assert not log.is_long()
    (tmp_path / "serial.log").write_bytes(bytes(100_000))
    assert log.is_long()


@pytest.mark.allow("process")
def test_no_byte_is_lost_however_often_it_is_cut(
    log: SerialLog, writer: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """What a reader finds that reads on where it was, through every cut."""
    path = tmp_path / "serial.log"
    found, offset, cuts = b"", 0, 0

    def read_on() -> None:
        nonlocal found, offset
        size = path.stat().st_size if path.exists() else 0
        if size < offset:
            found, offset = found + unread(path, offset), 0
        if size > offset:
            with path.open("rb") as stream:
                stream.seek(offset)
                more = stream.read()
            found, offset = found + more, offset + len(more)

    async def run() -> None:
        nonlocal cuts
        told = False
        while writer.poll() is None:
            if log.is_long():
                read_on()
                cuts += await log.cut(
                    lambda: os.killpg(writer.pid, signal.SIGSTOP),
                    lambda: group_is_suspended(writer.pid),
                    lambda: os.killpg(writer.pid, signal.SIGCONT),
                )
                read_on()
            if cuts >= _CUTS and not told:
                # Once: a Python that is ending has no handler any more.
                told = True
                writer.terminate()
            await asyncio.sleep(0)

    asyncio.run(run())
    read_on()
    assert writer.returncode == 0
    assert len(found) > _CUTS * 100_000
    assert found == b"".join(b"%09d\n" % number for number in range(len(found) // 10))


def test_a_writer_that_cannot_be_suspended_keeps_its_log(
    log: SerialLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrasim.runtime.serial_log._SUSPENDED_WITHIN_S", 0.01)
    path = tmp_path / "serial.log"
    path.write_text("text")
    told: list[str] = []
    done = asyncio.run(log.cut(lambda: told.append("stop"), lambda: False, lambda: told.append("go")))
    assert not done
    assert told == ["stop", "go"]
    assert path.read_text() == "text"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["serial.log"]


def test_no_room_for_the_copy_leaves_all_as_it_was(log: SerialLog, tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    path.write_text("text")
    (tmp_path / ".serial.log.1.new").mkdir()
    with pytest.raises(OSError):
        asyncio.run(log.cut(lambda: None, lambda: True, lambda: None))
    assert path.read_text() == "text"


def test_what_was_not_read_yet(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    assert unread(path, 3) == b""
    (tmp_path / "serial.log.1").write_text("before")
    assert unread(path, 2) == b"fore"
