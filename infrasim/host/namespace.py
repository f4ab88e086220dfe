"""Network namespaces of this machine: be inside one, for good or for a while.

Source: ip-netns(8), setns(2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from infrasim.errors import HostError

_FOLDER = Path("/run/netns")
_OWN = Path("/proc/self/ns/net")
# Source: Linux include/uapi/linux/sched.h.
_CLONE_NEWNET = 0x40000000


def names() -> tuple[str, ...]:
    """Every namespace that has a name, sorted."""
    try:
        return tuple(sorted(entry.name for entry in _FOLDER.iterdir()))
    except OSError:
        return ()


def enter(name: str) -> None:
    """Move this process there, which must have one thread only; its children follow.

    Raises:
        HostError: there is no such namespace, or this user may not.
    """
    try:
        place = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        known = ", ".join(names()) or "none"
        raise HostError(
            f"there is no network namespace {name!r}",
            hint=f"there are: {known}; make one with: ip netns add {name}",
        ) from None
    except OSError as exc:
        raise HostError(f"cannot enter the network namespace {name!r}: {exc.strerror}") from exc
    try:
        _set(place)
    except OSError as exc:
        raise HostError(
            f"cannot enter the network namespace {name!r}: {exc.strerror}", hint="run infrasim as root"
        ) from exc
    finally:
        os.close(place)


@contextlib.contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Be there for a while; None stays where this process is.

    Raises:
        HostError: as ``enter``.
    """
    if name is None:
        yield
        return
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            _set(home)
    finally:
        os.close(home)


def _set(descriptor: int) -> None:
    """setns(2), which Python has since 3.12."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
