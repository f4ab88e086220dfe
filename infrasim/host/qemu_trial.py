"""Does a QEMU make a machine with these arguments? Tried where it cannot be asked: it makes one and ends.

That it does is kept in the home's cache by the SHA-256 of the program; what it refuses is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infrasim.errors import ProgramEndedError
from infrasim.host.cache import read_cache, write_cache
from infrasim.host.qemu_abilities import program_digest
from infrasim.host.qmp_stdio import qmp_talk

# The board ``none`` has no bus to put a device on.
_MACHINE = ("-machine", "q35", "-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-S")


def qemu_refusal(program: str, cache: Path, words: Sequence[str]) -> str:
    """What ``program`` says to a machine with ``words`` that it does not make; empty if it makes it.

    Raises:
        HostError: it cannot be run or read.
        DeadlineError: it says nothing in time.
    """
    place = cache / "qemu" / f"{program_digest(program, cache)}-made.json"
    tried = " ".join(words)
    kept = read_cache(place)
    if kept.get(tried) is True:
        return ""
    try:
        with qmp_talk((program, *_MACHINE, *words)):
            pass
    except ProgramEndedError as exc:
        return exc.lines[-1] if exc.lines else exc.message
    write_cache(place, {**kept, tried: True})
    return ""
