"""Processor time: the share that one process may have, by a control group of its own.

The kernel enforces it: nothing has to run for it, and a process whose keeper dies is slow and never stopped.
Control groups of version 1 and 2 are known; without the right to make one there is no share.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from infrasim.frozen import Frozen

# The share is of each period. Source: Linux, Documentation/admin-guide/cgroup-v2.rst, cpu.max: its default.
_PERIOD_US = 100_000
# The kernel refuses less. Source: Linux, Documentation/scheduler/sched-bwc.rst.
_LEAST_QUOTA_US = 1_000

_V1, _V2 = "cgroup", "cgroup2"


class _Hierarchy(Frozen):
    """Where control groups with the ``cpu`` controller are mounted, and the group at that place."""

    kind: str
    mount: Path
    root: str

    def folder(self, group: str) -> Path:
        """The folder of a group as /proc/PID/cgroup names it."""
        inside = group.removeprefix(self.root) if self.root != "/" else group
        return self.mount / inside.lstrip("/")


class _Held(Frozen):
    """A process in its group, and where it came from."""

    pid: int
    group: Path
    before: Path
    kind: str


class ProcessorShare:
    """The share of one process at a time, in a group called ``name``."""

    def __init__(self, name: str, *, proc: Path = Path("/proc")) -> None:
        self._name = name
        self._proc = proc
        self._held: _Held | None = None

    def limit(self, pid: int, processors: float) -> None:
        """Let a process and its threads use the time of so many processors, such as 0.5 or 2.

        Raises:
            OSError: there are no control groups here, or none may be made; nothing changed.
        """
        if self._held is not None and self._held.pid != pid:
            self.release()
        if self._held is None:
            self._held = self._enter(pid, processors)
        else:
            _write_quota(self._held.group, self._held.kind, processors)

    def release(self) -> None:
        """Let the process, if it still lives, have all the time there is; harmless when it has."""
        held, self._held = self._held, None
        if held is not None:
            _leave(held)

    def _enter(self, pid: int, processors: float) -> _Held:
        found = _hierarchy((self._proc / "self" / "mountinfo").read_text())
        if found is None:
            raise OSError(errno.ENOTSUP, "no control groups for processor time are mounted")
        before = found.folder(_group_of((self._proc / str(pid) / "cgroup").read_text(), found.kind))
        if before.name == self._name:
            # A keeper before this one put it there.
            held = _Held(pid, before, before.parent, found.kind)
        else:
            held = _Held(pid, _parent(found, before) / self._name, before, found.kind)
        held.group.mkdir(exist_ok=True)
        try:
            _write_quota(held.group, found.kind, processors)
            (held.group / "cgroup.procs").write_text(str(pid))
        except OSError:
            _leave(held)
            raise
        return held


def _hierarchy(mountinfo: str) -> _Hierarchy | None:
    """Source: proc(5), /proc/PID/mountinfo."""
    found: _Hierarchy | None = None
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        kind, _source, options = back.split(" ", 2)
        root, mount = front.split(" ")[3:5]
        if kind == _V1 and "cpu" in options.split(","):
            return _Hierarchy(kind, Path(mount), root)
        if kind == _V2:
            found = _Hierarchy(kind, Path(mount), root)
    return found


def _group_of(cgroup: str, kind: str) -> str:
    """The group of a process. Source: cgroups(7), /proc/PID/cgroup: number, controllers, path."""
    for line in cgroup.splitlines():
        number, controllers, path = line.split(":", 2)
        if (kind == _V2 and number == "0") or (kind == _V1 and "cpu" in controllers.split(",")):
            return path
    raise OSError(errno.ENOTSUP, "the process is in no control group for processor time")


def _parent(hierarchy: _Hierarchy, group: Path) -> Path:
    """The nearest group that may have groups with the controller.

    In version 2 a group with processes can give nothing to groups in it, but for the root.
    """
    if hierarchy.kind == _V1:
        return group
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError):
            if "cpu" in (folder / "cgroup.subtree_control").read_text().split():
                return folder
        if folder == hierarchy.mount:
            break
    raise OSError(errno.ENOTSUP, "no control group here hands processor time on")


def _write_quota(group: Path, kind: str, processors: float) -> None:
    quota_us = max(_LEAST_QUOTA_US, round(processors * _PERIOD_US))
    if kind == _V2:
        (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))


def _leave(held: _Held) -> None:
    with contextlib.suppress(OSError):
        (held.before / "cgroup.procs").write_text(str(held.pid))
    with contextlib.suppress(OSError):
        held.group.rmdir()
