"""Disk images as they are: whether a host can use them, and how large they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from infrasim.errors import Problem
from infrasim.host import image_lock
from infrasim.host.files import write_atomic
from infrasim.host.image_format import QCOW2_MAGIC, image_format
from infrasim.paths import NodePaths
from infrasim.plan.model import DiskSpec, Needs, NodePlan
from infrasim.runtime.boot_files import content_fault
from infrasim.runtime.strays import role

# Source: QEMU docs/interop/qcow2, header.
_QCOW2_SIZE = slice(24, 32)
# Formats whose size can be told.
_SIZED = ("qcow2", "raw")

Fault = tuple[str, str]


def image_faults(plan: NodePlan | Needs, paths: NodePaths) -> Iterator[tuple[str, Fault | None]]:
    """For each image and other file of the user's what is wrong with it: message and hint.

    With each goes its key in the node file.
    """
    overlays = [disk for disk in plan.disks if disk.backing is not None]
    for disk in plan.disks:
        yield (
            disk.key,
            _disk_fault(disk) or _backing_fault(disk) or _held(disk.path, paths, shares=disk.is_shared),
        )
        yield _size_key(disk), _truncation(disk)
    for given in plan.inputs:
        fault = file_fault(given.path, may_be_folder=given.may_be_folder)
        behind = [disk for disk in overlays if disk.backing == given.path]
        if fault is None and behind:
            changed = filter(None, map(_base_fault, behind))
            fault = next(changed, None) or _held(given.path, paths, shares=False, writes=False)
            fault = fault or _gone_below(given.path)
        yield given.key, fault or content_fault(given.key, given.path)


def size_doubts(plan: NodePlan) -> Iterator[Problem]:
    """Images that exist and are of another size than the node file says; the problems carry no line yet."""
    for disk in plan.disks:
        size_bytes = image_size(disk.path) if disk.is_sized and disk.format in _SIZED else None
        if size_bytes is not None and disk.size_gib is not None and size_bytes != disk.size_gib << 30:
            has = f"{size_bytes / 2**30:.4g} GiB"
            message = f"says {disk.size_gib} GiB, but {disk.path} exists and has {has}"
            hint = "an image that exists keeps its size; qemu-img resize changes it"
            yield Problem("", 0, 0, _size_key(disk), message, hint)


def _size_key(disk: DiskSpec) -> str:
    return f"{disk.key.removesuffix('.file')}.size"


def _truncation(disk: DiskSpec) -> Fault | None:
    """What is lost of the larger image that a disk begins as; a disk that exists is past that."""
    if disk.backing is None or disk.size_gib is None or disk.path.exists():
        return None
    format_ = disk.backing_format or (image_format(disk.backing) if disk.backing.is_file() else "")
    size_bytes = image_size(disk.backing) if format_ in _SIZED else None
    if size_bytes is None or size_bytes <= disk.size_gib << 30:
        return None
    least = -(-size_bytes >> 30)
    has = f"{disk.backing}, its beginning, has {size_bytes / 2**30:.4g}"
    hint = f"leave it out to have a disk of the same size, or say {least} or more"
    return f"is {disk.size_gib} GiB, but {has}", hint


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
    found = image_format(disk.path)
    if found == disk.format == "qcow2" and not disk.create:
        return _gone_below(disk.path)
    if found == disk.format or (disk.format == "raw" and found != "qcow2"):
        # A raw disk begins with whatever its host has written there.
        return None
    hint = "say format: raw, if it is a raw one" if found == "raw" else f"say format: {found}"
    if disk.format == "raw":
        return f"{disk.path} is a qcow2 image, not a raw one", hint
    return f"{disk.path} is not a {disk.format} image", hint


def _backing_fault(disk: DiskSpec) -> Fault | None:
    """What is wrong with what a disk begins as; that it is missing is said of it as of every input."""
    if disk.backing is None or not disk.backing.is_file() or file_fault(disk.backing):
        return None
    found = image_format(disk.backing)
    # A raw image begins with anything, but what begins as qcow2 would show the host its inside.
    if disk.backing_format not in ("", found) and (disk.backing_format != "raw" or found == "qcow2"):
        hint = "leave 'backing_format' out, or say what it is"
        return f"{disk.backing} is not a {disk.backing_format} image", hint
    # An overlay holds what differs from the image it was made for, and from no other.
    made_for = _backing_of(disk.path) if disk.create and disk.path.exists() else disk.backing
    if made_for != disk.backing:
        message = f"{disk.path} was made for another image, {made_for or 'none'}, not for {disk.backing}"
        return message, "change it back, or run 'infrasim node destroy' to begin anew"
    return None


def note_base(disk: DiskSpec) -> None:
    """Keep what the backing file of a disk is like, if that is not kept yet.

    Raises:
        HostError: the place cannot be written.
    """
    record = NodePaths.base_record(disk.path)
    if disk.backing is not None and disk.backing.is_file() and not record.exists():
        write_atomic(record, json.dumps(_likeness(disk.backing)))


def _base_fault(disk: DiskSpec) -> Fault | None:
    """A disk holds what differs from its backing file; so one that has changed since is another disk."""
    record = NodePaths.base_record(disk.path)
    if disk.backing is None or not disk.path.exists():
        return None
    try:
        kept, now = json.loads(record.read_bytes()), _likeness(disk.backing)
        was, size_bytes = datetime.fromtimestamp(kept["mtime_ns"] / 1e9, UTC), kept["size"]
    except (OSError, ValueError, KeyError, TypeError):
        # It was made before there were records, or somebody says by removing it that the image is right.
        return None
    if kept == now:
        return None
    message = f"{disk.backing} has changed since {disk.path} was made, which holds what differs from it"
    return message, (
        f"put back the one of {was:%Y-%m-%d %H:%M:%S} UTC with {size_bytes} bytes; or, if it holds the same, "
        f"remove {record}; or begin anew with 'infrasim node destroy'"
    )


def _likeness(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _backing_of(image: Path) -> Path | None:
    """The backing file that a qcow2 image names. Source: QEMU docs/interop/qcow2, header bytes 8 to 19."""
    with image.open("rb") as stream:
        head = stream.read(20)
        place, length = int.from_bytes(head[8:16], "big"), int.from_bytes(head[16:20], "big")
        stream.seek(place)
        return Path(stream.read(length).decode(errors="surrogateescape")) if place else None


def _gone_below(image: Path) -> Fault | None:
    """What is wrong with an image that a qcow2 one begins as, or with what that begins as, and so on."""
    seen: set[Path] = set()
    while image not in seen and image_format(image) == "qcow2" and (named := _backing_of(image)):
        if ":" in str(named).partition("/")[0]:
            return None  # no file, but what QEMU reaches by some protocol
        seen.add(image)
        above, image = image, image.parent / named
        if fault := file_fault(image):
            return (
                f"{above} begins as another image: {fault[0]}",
                "put it there, or name another: qemu-img rebase",
            )
    return None


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
