"""The table of processes: who runs with which words. Finds only; ``process`` stops what was found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from infrasim.frozen import Frozen
from infrasim.host.process import Identity, identify


class Found(Frozen):
    """A living process; ``what`` is what it was taken for, ``group`` its process group's leader."""

    what: str
    identity: Identity
    group: int


def find_processes(judge: Callable[[Sequence[str]], str | None]) -> Iterator[Found]:
    """Every other living process whose argument list ``judge`` names.

    The same path is another file in another mount namespace, such as a container's, so processes of
    those are left out, and so are those whose namespace this user may not see.
    """
    here = _mounts("self")
    for number in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names are all it takes
        what = judge(_words(number))
        pid = int(number)
        if what is None or pid == os.getpid() or _mounts(number) != here:
            continue
        identity = identify(pid)
        try:
            group = os.getpgid(pid)
        except ProcessLookupError:
            continue
        if identity is not None:
            yield Found(what, identity, group)


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has that very file open; True if it cannot be told, False if there is no file."""
    try:
        wanted = path.stat()
    except OSError:
        return False
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - names are all it takes
    except OSError:
        return True
    for number in numbers:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):  # noqa: PTH116
                return True
    return False


def _words(number: str) -> list[str]:
    """The argument list; empty for a process that is gone, a zombie or the kernel's. Source: proc(5)."""
    data = b""
    with contextlib.suppress(OSError):
        descriptor = os.open(f"/proc/{number}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := os.read(descriptor, 65536):
                data += chunk
        finally:
            os.close(descriptor)
    return os.fsdecode(data).split("\0")[:-1]


def _mounts(number: str) -> str | None:
    try:
        return os.readlink(f"/proc/{number}/ns/mnt")  # noqa: PTH115 - no path, a name of a namespace
    except OSError:
        return None
