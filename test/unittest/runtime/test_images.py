"""Disk images as they are: in use by somebody else, and of another size than was asked for."""

from __future__ import annotations

import dataclasses
import fcntl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infrasim.host import image_lock
from infrasim.paths import Home
from infrasim.plan.model import DiskSpec, InputSpec, NodePlan
from infrasim.runtime.images import image_faults, size_doubts

MakePlan = Callable[[Home, str, str], NodePlan]
USED_TO_WRITE, WRITING_NOT_SHARED = 101, 201
KEY = "compute.storage_backend[0].drives[0].file"


@contextmanager
def locked(path: Path, *offsets: int) -> Iterator[None]:
    """Lock bytes of a file as a QEMU does that has it open; such locks also exclude this process itself."""
    with path.open("r+b") as stream:
        for offset in offsets:
            lock = struct.pack("hh4xqqi4x", fcntl.F_RDLCK, 0, offset, 1, 0)
            fcntl.fcntl(stream, fcntl.F_OFD_SETLK, lock)
        yield


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "logs")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    path.write_bytes(b"\0" * 4096)
    return path


def plan_with(plan: NodePlan, image: Path, *, is_shared: bool = False) -> NodePlan:
    disk = DiskSpec(image, "raw", 8, create=False, key=KEY, is_shared=is_shared)
    return dataclasses.replace(plan, disks=(disk,), inputs=())


def faults(home: Home, plan: NodePlan) -> list[str]:
    return [fault[0] for _, fault in image_faults(plan, home.node(plan.name)) if fault]


@pytest.mark.parametrize(
    ("offsets", "writes", "shares", "is_held"),
    [
        ((), True, False, False),
        ((USED_TO_WRITE, WRITING_NOT_SHARED), True, False, True),
        ((USED_TO_WRITE, WRITING_NOT_SHARED), True, True, True),
        ((USED_TO_WRITE,), True, True, False),
        ((USED_TO_WRITE,), True, False, True),
        ((WRITING_NOT_SHARED,), False, False, False),
        ((USED_TO_WRITE,), False, False, True),
    ],
)
def test_locks_of_qemu(
    image: Path, offsets: tuple[int, ...], writes: bool, shares: bool, is_held: bool
) -> None:
    with locked(image, *offsets):
        assert image_lock.is_held(image, writes=writes, shares=shares) is is_held
    assert not image_lock.is_held(image, writes=writes, shares=shares)


@pytest.mark.parametrize(
    ("words", "holder"),
    [
        (["/usr/bin/qemu-system-x86_64", "-name", "web-node", "-S"], "node web (process 4711)"),
        (["/usr/bin/qemu-nbd", "/x"], "qemu-nbd (process 4711)"),
        ([""], "process 4711"),
    ],
)
def test_who_holds_an_image_is_named(
    home: Home,
    make_plan: MakePlan,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    holder: str,
) -> None:
    plan = plan_with(make_plan(home, "a", "{}"), image)
    assert faults(home, plan) == []
    monkeypatch.setattr(image_lock, "holders", lambda path: iter([(4711, words)]))
    with locked(image, USED_TO_WRITE, WRITING_NOT_SHARED):
        assert faults(home, plan) == [f"{image} is in use by {holder}"]


def test_an_image_of_the_running_node_itself_is_no_fault(
    home: Home, make_plan: MakePlan, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_with(make_plan(home, "a", "{}"), image)
    own = list(plan.process("qemu").argv)
    monkeypatch.setattr(image_lock, "holders", lambda path: iter([(4711, own)]))
    with locked(image, USED_TO_WRITE, WRITING_NOT_SHARED):
        assert faults(home, plan) == []


def test_shared_images_may_be_written_by_others_that_share_them(
    home: Home, make_plan: MakePlan, image: Path
) -> None:
    plan = plan_with(make_plan(home, "a", "{}"), image, is_shared=True)
    with locked(image, USED_TO_WRITE):
        assert faults(home, plan) == []
    with locked(image, WRITING_NOT_SHARED):
        assert faults(home, plan) == [f"{image} is in use by another program"]


def test_a_backing_file_that_somebody_writes_is_refused(
    home: Home, make_plan: MakePlan, image: Path, tmp_path: Path
) -> None:
    disk = DiskSpec(tmp_path / "new.qcow2", "qcow2", None, create=True, key=KEY, backing=image)
    given = InputSpec(image, "the.backing_file")
    plan = dataclasses.replace(make_plan(home, "a", "{}"), disks=(disk,), inputs=(given,))
    with locked(image, WRITING_NOT_SHARED):
        assert faults(home, plan) == []
    with locked(image, USED_TO_WRITE):
        assert faults(home, plan) == [f"{image} is in use by another program"]


@pytest.mark.parametrize(
    ("size_gib", "exists", "least"),
    [(8, False, 20), (19, False, 20), (20, False, None), (None, False, None), (8, True, None)],
)
def test_a_disk_smaller_than_what_it_begins_as_is_refused(
    home: Home, make_plan: MakePlan, tmp_path: Path, size_gib: int | None, exists: bool, least: int | None
) -> None:
    base, image = tmp_path / "base.qcow2", tmp_path / "disk.raw"
    base.write_bytes(b"QFI\xfb" + bytes(20) + ((20 << 30) - 512).to_bytes(8, "big"))
    if exists:
        image.touch()
    disk = DiskSpec(image, "raw", size_gib, create=not exists, key=KEY, is_sized=True, backing=base)
    plan = dataclasses.replace(make_plan(home, "a", "{}"), disks=(disk,), inputs=())
    found = {key: fault for key, fault in image_faults(plan, home.node("a")) if fault and key != KEY}
    message = f"is {size_gib} GiB, but {base}, its beginning, has 20"
    hint = f"leave it out to have a disk of the same size, or say {least} or more"
    assert found == ({KEY.replace("file", "size"): (message, hint)} if least else {})


@pytest.mark.parametrize("as_what", ["raw", "vmdk"])
def test_a_base_of_another_format_is_refused(
    home: Home, make_plan: MakePlan, tmp_path: Path, as_what: str
) -> None:
    base = tmp_path / "base.qcow2"
    base.write_bytes(b"QFI\xfb" + bytes(508))
    disk = DiskSpec(
        tmp_path / "new", "qcow2", None, create=True, key=KEY, backing=base, backing_format=as_what
    )
    plan = dataclasses.replace(make_plan(home, "a", "{}"), disks=(disk,), inputs=())
    assert (f"{base} is not a {as_what} image", "leave 'backing_format' out, or say what it is") in [
        fault for _, fault in image_faults(plan, home.node("a"))
    ]


@pytest.mark.parametrize(
    ("is_sized", "size_bytes", "said"),
    [(True, 8 << 30, None), (True, 5 << 29, "2.5 GiB"), (False, 5 << 29, None), (True, None, None)],
)
def test_a_size_that_an_image_does_not_have_is_doubtful(
    home: Home,
    make_plan: MakePlan,
    tmp_path: Path,
    is_sized: bool,
    size_bytes: int | None,
    said: str | None,
) -> None:
    image = tmp_path / "image.qcow2"
    if size_bytes is not None:
        image.write_bytes(b"QFI\xfb" + bytes(20) + size_bytes.to_bytes(8, "big"))
    disk = DiskSpec(image, "qcow2", 8, create=False, key=KEY, is_sized=is_sized)
    doubts = list(size_doubts(dataclasses.replace(make_plan(home, "a", "{}"), disks=(disk,))))
    message = f"says 8 GiB, but {image} exists and has {said}"
    assert [(doubt.path, doubt.message) for doubt in doubts] == (
        [(KEY.replace("file", "size"), message)] if said else []
    )
