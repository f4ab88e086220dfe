"""Processors of this machine: which there are, and which of them a program may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from infrasim.host.facts import Core
from infrasim.units import numbers_of

_SYSFS = Path("/sys")


def usable_cores(sysfs: Path = _SYSFS) -> tuple[Core, ...]:
    """The processors that this process may use, in the order of their numbers.

    Source: Linux Documentation/ABI/stable/sysfs-devices-system-cpu and sysfs-devices-node.
    """
    nodes = {
        number: int(folder.name.removeprefix("node"))
        for folder in (sysfs / "devices/system/node").glob("node[0-9]*")
        for number in _list(folder / "cpulist")
    }
    found = []
    for number in sorted(os.sched_getaffinity(0)):
        topology = sysfs / f"devices/system/cpu/cpu{number}/topology"
        siblings = _list(topology / "thread_siblings_list") or (number,)
        package = next(iter(_list(topology / "physical_package_id")), 0)
        found.append(Core(number, nodes.get(number, 0), package, siblings[0]))
    return tuple(found)


def pin_process(pid: int, cores: Iterable[int]) -> None:
    """Let every thread that a process has now run on these processors only.

    Raises:
        OSError: the process is gone, or the processors are.
    """
    wanted = set(cores)
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # A thread that ended meanwhile needs none.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), wanted)


def pin_thread(thread: int, cores: Iterable[int]) -> None:
    """Let one thread run on these processors only.

    Raises:
        OSError: the thread is gone, or the processors are.
    """
    os.sched_setaffinity(thread, set(cores))


def _list(path: Path) -> tuple[int, ...]:
    try:
        return numbers_of(path.read_text().strip())
    except (OSError, ValueError):
        return ()
