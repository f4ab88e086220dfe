"""Disk images as they are: whether a host can use them, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from infrasim.errors import Problem
from infrasim.host import image_lock
from infrasim.paths import NodePaths
from infrasim.plan.model import DiskSpec, NodePlan
from infrasim.runtime.strays import role

# Source: QEMU docs/interop/qcow2, header.
QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_SIZE = slice(24, 32)
# Formats whose size can be told.
_SIZED = ("qcow2", "raw")

Fault = tuple[str, str]


def image_faults(plan: NodePlan, paths: NodePaths) -> Iterator[tuple[str, Fault | None]]:
    """For each image and other file of the user's what is wrong with it: message and hint.

    With each goes its key in the node file.
    """
    backings = {disk.backing for disk in plan.disks if disk.backing is not None}
    for disk in plan.disks:
        yield (
            disk.key,
            _disk_fault(disk) or _backing_fault(disk) or _held(disk.path, paths, shares=disk.is_shared),
        )
    for given in plan.inputs:
        fault = file_fault(given.path, may_be_folder=given.may_be_folder)
        if fault is None and given.path in backings:
            fault = _held(given.path, paths, shares=False, writes=False)
        yield given.key, fault


def size_doubts(plan: NodePlan) -> Iterator[Problem]:
    """Images that exist and are of another size than the node file says; the problems carry no line yet."""
    for disk in plan.disks:
        size_bytes = image_size(disk.path) if disk.is_sized and disk.format in _SIZED else None
        if size_bytes is not None and disk.size_gib is not None and size_bytes != disk.size_gib << 30:
            has = f"{size_bytes / 2**30:.4g} GiB"
            message = f"says {disk.size_gib} GiB, but {disk.path} exists and has {has}"
            hint = "an image that exists keeps its size; qemu-img resize changes it"
            yield Problem("", 0, 0, f"{disk.key.removesuffix('.file')}.size", message, hint)


def image_size(path: Path) -> int | None:
    """Bytes of the disk in an image or of a block device; None when it cannot be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_QCOW2_SIZE.stop)
            if head.startswith(QCOW2_MAGIC):
                return int.from_bytes(head[_QCOW2_SIZE], "big")
            return stream.seek(0, 2)
    except OSError:
        return None


def _disk_fault(disk: DiskSpec) -> Fault | None:
    """What is wrong with a disk image; None when it can be used or made."""
    if not disk.path.exists():
        hint = "leave the key out to have a disk made in the workspace"
        return None if disk.create else (f"{disk.path} does not exist", hint)
    if disk.path.is_relative_to("/dev"):
        return None
    fault = file_fault(disk.path)
    if fault:
        return fault
    with disk.path.open("rb") as stream:
        is_qcow2 = stream.read(len(QCOW2_MAGIC)) == QCOW2_MAGIC
    if disk.format == "qcow2" and not is_qcow2:
        return f"{disk.path} is not a qcow2 image", "say format: raw, if it is a raw one"
    if disk.format != "qcow2" and is_qcow2:
        return f"{disk.path} is a qcow2 image, not a {disk.format} one", "say format: qcow2"
    return None


def _backing_fault(disk: DiskSpec) -> Fault | None:
    """What is wrong with what a disk begins as; that it is missing is said of it as of every input."""
    if disk.backing is None or not disk.backing.is_file() or file_fault(disk.backing):
        return None
    with disk.backing.open("rb") as stream:
        is_qcow2 = stream.read(len(QCOW2_MAGIC)) == QCOW2_MAGIC
    if disk.backing_format == "qcow2" and not is_qcow2:
        return (
            f"{disk.backing} is not a qcow2 image",
            "say its 'backing_format' beside 'backing_file'",
        )
    # An overlay holds what differs from the image it was made for, and from no other.
    made_for = _backing_of(disk.path) if disk.create and disk.path.exists() else disk.backing
    if made_for != disk.backing:
        message = f"{disk.path} was made for another image, {made_for or 'none'}, not for {disk.backing}"
        return message, "change it back, or run 'infrasim node destroy' to begin anew"
    return None


def _backing_of(image: Path) -> Path | None:
    """The backing file that a qcow2 image names. Source: QEMU docs/interop/qcow2, header bytes 8 to 19."""
    with image.open("rb") as stream:
        head = stream.read(20)
        place, length = int.from_bytes(head[8:16], "big"), int.from_bytes(head[16:20], "big")
        stream.seek(place)
        return Path(stream.read(length).decode(errors="surrogateescape")) if place else None


def file_fault(path: Path, *, may_be_folder: bool = False) -> Fault | None:
    """Why a file cannot be read; None if it can."""
    if path.is_dir():
        return None if may_be_folder else (f"{path} is a directory, not a file", "")
    try:
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return f"{path} does not exist", ""
    except OSError as exc:
        return f"{path} cannot be read: {exc.strerror}", ""


def _held(path: Path, paths: NodePaths, *, shares: bool, writes: bool = True) -> Fault | None:
    """Who else has an image open so that QEMU would refuse it; None if nobody has."""
    try:
        if not image_lock.is_held(path, writes=writes, shares=shares):
            return None
        found = list(image_lock.holders(path))
    except OSError:
        # It is not there yet, or QEMU will say what is wrong with it.
        return None
    others = [_holder(pid, words) for pid, words in found if role(words, paths) is None]
    if found and not others:
        return None  # it is the node itself that runs
    who = " and ".join(others) or "another program"
    hint = "two machines that write one image destroy it; stop the other one"
    return f"{path} is in use by {who}", hint


def _holder(pid: int, words: Sequence[str]) -> str:
    """A process in words; of a node's QEMU the node."""
    for flag, name in pairwise(words):
        if flag == "-name" and name.endswith("-node"):
            return f"node {name.removesuffix('-node')} (process {pid})"
    return f"{Path(words[0]).name} (process {pid})" if words and words[0] else f"process {pid}"
