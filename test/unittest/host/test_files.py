"""Atomic writes, locks and safe removal, also when the disk is full or somebody interferes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from infrasim.errors import DeadlineError, HostError
from infrasim.host.files import (
    append_line,
    hold_lock,
    last_lines,
    locked,
    make_dir,
    overwrite,
    release_lock,
    remove_tree,
    sha256_file,
    write_atomic,
    write_if_changed,
)

NO_PERMISSION_HINT = "run with sudo, or point INFRASIM_HOME and INFRASIM_LOG_DIR at folders of your own"


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock file; there may be none."""
    try:
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- folders


def test_make_dir_gives_each_new_folder_the_mode(tmp_path: Path) -> None:
    make_dir(tmp_path / "a" / "b")
    make_dir(tmp_path / "a" / "b" / "c", mode=0o750)
    assert [mode_of(tmp_path / place) for place in ("a", "a/b", "a/b/c")] == [0o700, 0o700, 0o750]
    make_dir(tmp_path / "a", mode=0o755)
    assert mode_of(tmp_path / "a") == 0o700, "an old folder stays as it is"


def test_make_dir_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(HostError) as caught:
            make_dir(path)
        assert caught.value.message == f"cannot make folder {path}: Not a directory"


@pytest.mark.parametrize("refused", ["mkdir", "stat"])
def test_make_dir_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    real = getattr(os, refused)

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, refused, refuse)
    with pytest.raises(HostError) as caught:
        make_dir(tmp_path / "closed")
    assert caught.value.message == f"cannot make folder {tmp_path / 'closed'}: Permission denied"
    assert caught.value.hint == NO_PERMISSION_HINT


# --- atomic writes


def test_write_atomic_replaces_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "é")
    assert (path.read_bytes(), mode_of(path)) == ("é".encode(), 0o600)
    before = path.stat().st_ino
    write_atomic(path, b"new", mode=0o700, durable=True)
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o700)
    assert path.stat().st_ino != before, "a reader that has it open keeps the old content"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_obeys_no_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_atomic(tmp_path / "file", "x", mode=0o644)
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "file") == 0o644


@pytest.mark.parametrize(
    ("function", "number", "message", "hint"),
    [
        ("fsync", errno.ENOSPC, "No space left on device", ""),
        ("fchmod", errno.EIO, "Input/output error", ""),
        ("rename", errno.EXDEV, "Invalid cross-device link", ""),
        ("replace", errno.ENOSPC, "No space left on device", ""),
        ("open", errno.EROFS, "Read-only file system", ""),
        ("open", errno.EACCES, "Permission denied", NO_PERMISSION_HINT),
    ],
)
def test_write_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, message: str, hint: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    called = []

    def fail(*arguments: object, **_: object) -> None:
        called.append(arguments)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        if function == "rename":
            patch.setattr(os, "replace", fail)
        with pytest.raises(HostError) as caught:
            write_atomic(path, "new", durable=True)
    assert called
    assert caught.value.message == f"cannot write {path}: {message}"
    assert caught.value.hint == hint
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("file", "old")]


def test_full_disk_while_writing(tmp_path: Path) -> None:
    # /dev/full refuses every byte, as a full disk does when the buffer is flushed.
    path = tmp_path / "file"
    temporary = path.with_name(f".file.{os.getpid()}.tmp")
    temporary.symlink_to("/dev/full")
    with pytest.raises(HostError) as caught:
        write_atomic(path, "x" * 10, mode=0o666)
    assert caught.value.message == f"cannot write {path}: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_write_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        write_atomic(tmp_path / "none" / "file", "x")
    assert caught.value.message == f"cannot write {tmp_path}/none/file: No such file or directory"


def test_write_if_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_if_changed(path, "one")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not write_if_changed(path, b"one")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write_if_changed(path, "one", mode=0o700), "another mode"
    assert write_if_changed(path, "two", mode=0o700)
    assert path.read_text() == "two"


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


# --- locks


def test_lock_excludes_and_goes_when_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = hold_lock(path)
    assert held is not None
    assert hold_lock(path) is None
    assert is_locked(path)
    release_lock(path, held)
    assert not path.exists()
    assert not is_locked(path)
    again = hold_lock(path)
    assert again is not None
    release_lock(path, again)


def test_lock_file_that_nobody_holds_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert not is_locked(path)
    held = hold_lock(path)
    assert held is not None
    release_lock(path, held)


def test_lock_taken_on_a_file_that_was_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our open and our flock the holder removes the file and a third makes a new one."""
    path = tmp_path / "lock"
    real = fcntl.flock
    others: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not others:
            path.unlink()
            others.append(os.open(path, os.O_RDWR | os.O_CREAT))
            real(others[0], operation)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert hold_lock(path) is None, "the third has the lock of the file that is there"
    os.close(others[0])
    held = hold_lock(path)
    assert held is not None
    assert os.fstat(held).st_ino == path.stat().st_ino
    release_lock(path, held)


def test_lock_on_a_removed_file_leaks_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    real = fcntl.flock
    removed: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if len(removed) < 3:
            removed.append(descriptor)
            path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    held = hold_lock(path)
    assert held is not None
    assert len(removed) == 3
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    release_lock(path, held)


def test_many_threads_hold_one_lock_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside: list[int] = []
    most: list[int] = []
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(40):
                while (held := hold_lock(path)) is None:
                    time.sleep(0)
                inside.append(number)
                most.append(len(inside))
                time.sleep(0)
                inside.remove(number)
                release_lock(path, held)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(most) == 160
    assert set(most) == {1}
    assert not path.exists()


def test_locked_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = hold_lock(path)
    assert held is not None
    timer = threading.Timer(0.05, release_lock, (path, held))
    timer.start()
    with locked(path, timeout_s=60, what="work"):
        assert is_locked(path)
    timer.join()
    assert not path.exists()


def test_locked_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, timeout_s=60, what="work"):
        with pytest.raises(DeadlineError) as caught, locked(path, timeout_s=0.01, what="stop of node a"):
            pytest.fail("held twice")
        assert is_locked(path)
    assert caught.value.message == (
        f"stop of node a: another command has been working on it for 0.01 s (lock {path})"
    )
    assert caught.value.hint == "wait for it to end, then try again"


def test_locked_is_released_by_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with contextlib.suppress(KeyError), locked(path, timeout_s=1, what="work"):
        raise KeyError
    assert not path.exists()


def test_lock_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        hold_lock(tmp_path / "none" / "lock")
    assert caught.value.message == f"cannot make lock file {tmp_path}/none/lock: No such file or directory"


# --- removal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a node, beside something precious."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "home" / "node" / "deep").mkdir(parents=True)
    (tmp_path / "home" / "node" / "deep" / "file").touch()
    return tmp_path / "home"


def test_remove_tree(home: Path) -> None:
    remove_tree(home / "node", inside=home)
    assert list(home.iterdir()) == []
    remove_tree(home / "node", inside=home)


@pytest.mark.parametrize("place", ["../precious", "node/../../precious", "node/deep", "..", "node/..", ""])
def test_remove_tree_refuses_what_is_not_directly_inside(home: Path, place: str) -> None:
    path = home / place
    with pytest.raises(HostError) as caught:
        remove_tree(path, inside=home)
    assert caught.value.message == f"refusing to remove {path}: it is not directly inside {home}"
    assert (home.parent / "precious" / "file").exists()
    assert (home / "node" / "deep" / "file").exists()


def test_remove_tree_follows_no_link(home: Path) -> None:
    precious = home.parent / "precious"
    (home / "node" / "link").symlink_to(precious)
    (home / "dangling").symlink_to(home / "nothing")
    (home / "linked").symlink_to(precious)
    for name in ("node", "dangling", "linked"):
        remove_tree(home / name, inside=home)
    assert list(home.iterdir()) == []
    assert (precious / "file").exists()


def test_remove_tree_of_a_home_that_is_a_link(home: Path) -> None:
    link = home.parent / "link"
    link.symlink_to(home)
    remove_tree(link / "node", inside=link)
    assert list(home.iterdir()) == []


def test_remove_tree_that_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(HostError) as caught:
        remove_tree(home / "node", inside=home)
    assert caught.value.message == f"cannot remove {home / 'node'}: Operation not permitted"
    assert caught.value.hint == NO_PERMISSION_HINT


# --- logs


def test_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path) == ()
    path.write_bytes(b"one\ntwo\xff\nthree")
    assert last_lines(path, 2) == ("two�", "three")
    assert last_lines(path) == ("one", "two�", "three")
    assert last_lines(path, 0) == ()
    assert last_lines(path, 1, end=4) == ("one",)
    path.write_text("".join(f"{number:07}\n" for number in range(20_000)))
    assert last_lines(path, 1) == ("0019999",)
    assert len(last_lines(path, 100_000)) == 65536 // 8


# --- in place


@pytest.mark.parametrize("new", ["", "shorter", "a text that is quite a bit longer"])
def test_overwrite_needs_no_new_file(tmp_path: Path, new: str) -> None:
    path = tmp_path / "f"
    path.write_text("as long as this")
    inode = path.stat().st_ino
    assert overwrite(path, new)
    assert path.read_text() == new
    assert path.stat().st_ino == inode


def test_overwrite_does_not_grow_a_file_into_a_new_block(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    assert not overwrite(path, "x" * 1_000_000)
    assert path.read_text() == "old"


def test_overwrite_of_what_is_not_there(tmp_path: Path) -> None:
    assert not overwrite(tmp_path / "none", "new")
    assert not overwrite(tmp_path, "new")
    assert list(tmp_path.iterdir()) == []


def test_append_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert append_line(path, "one")
    assert append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"
    assert not append_line(tmp_path / "no" / "log", "x")


@pytest.mark.parametrize("room", [0, 3])
def test_append_line_leaves_no_part_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:room])

    monkeypatch.setattr(os, "write", full)
    assert not append_line(path, "another")
    assert path.read_text() == "one\n"
