"""A node's logs: whose their folder is, and all of them as one stream of lines.

Each line stands behind the name of its log when there are several.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from infrasim.errors import HostError, UsageError
from infrasim.host.files import last_lines, make_dir, write_if_changed
from infrasim.paths import LOG_VARIABLE, Home, NodePaths
from infrasim.runtime.serial_log import unread

_POLL_S = 0.2


def claim_logs(paths: NodePaths) -> None:
    """Make the log folder this node's.

    Raises:
        HostError: a node of that name of another home has it, or it cannot be written.
    """
    owner = other_owner(paths)
    if owner is not None:
        raise HostError(
            f"log folder {paths.log_dir} belongs to node {owner.name} of home {owner.parent}; "
            f"this is home {paths.workspace.parent}",
            hint=f"give each home a log folder of its own with {LOG_VARIABLE}, or destroy the other node",
        )
    make_dir(paths.log_dir, mode=0o750)
    write_if_changed(paths.log_owner, f"{paths.workspace}\n")


# Those that a system writes for a terminal.
_TERMINALS = ("serial", "guest")
_OF_SOME_NODES = ("swtpm", "racadm", "seabios", "guest")


def other_owner(paths: NodePaths) -> Path | None:
    """The workspace of another home's node that has the log folder; None if this node has or may have it."""
    with contextlib.suppress(OSError):
        owner = Path(paths.log_owner.read_text(encoding="utf-8", errors="surrogateescape").strip())
        # A node that is gone has no logs any more, and one home may have two names.
        if owner.is_dir() and owner.resolve() != paths.workspace.resolve():
            return owner
    return None


def log_files(paths: NodePaths) -> dict[str, Path]:
    """Every log by the name a user gives it; those that only some nodes have, where they are."""
    programs = {name: paths.log(name) for name in ("supervisor", "openipmi", "qemu", "socat")}
    more = {name: path for name in _OF_SOME_NODES if (path := paths.log(name)).exists()}
    return {**programs, **more, "serial": paths.serial_log, "events": paths.events}


def show_logs(home: Home, name: str, wanted: Sequence[str], *, lines: int, follow: bool) -> Iterator[str]:
    """The last ``lines`` lines of each log, then, to ``follow``, new ones for ever.

    Without a word the serial consoles are left out: they are a terminal's output, not lines.

    Raises:
        UsageError: no such node, log, or no log yet.
    """
    paths = home.node(name)
    files = log_files(paths)
    unknown = [word for word in wanted if word not in files]
    if unknown:
        raise UsageError(f"there is no log {unknown[0]!r}", hint=f"logs: {', '.join(files)}")
    if not paths.log_dir.is_dir() or other_owner(paths):
        from infrasim.runtime.status import unknown_node

        if home.map_file(name).exists():
            raise UsageError(f"node {name} has no logs yet in {paths.log_dir}")
        raise unknown_node(home, name)
    chosen = {word: files[word] for word in wanted or (word for word in files if word not in _TERMINALS)}
    return _stream(chosen, lines=lines, follow=follow)


def _stream(files: dict[str, Path], *, lines: int, follow: bool) -> Iterator[str]:
    offsets = {}
    for word, path in files.items():
        # What comes from now on is shown by following, and only there.
        end = offsets[word] = _size(path)
        for line in last_lines(path, lines, end=end):
            yield _labelled(word, line, alone=len(files) == 1)
    while follow:
        for word, path in files.items():
            for line in _new_lines(path, offsets, word):
                yield _labelled(word, line, alone=len(files) == 1)
        time.sleep(_POLL_S)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _new_lines(path: Path, offsets: dict[str, int], word: str) -> list[str]:
    """Whole lines that came since; a log that shrank was begun anew."""
    size = _size(path)
    before = b""
    if size < offsets[word]:
        before, offsets[word] = unread(path, offsets[word]), 0
    if size == offsets[word]:
        return before.decode(errors="replace").splitlines()
    data = b""
    # Somebody may just be cleaning up.
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(offsets[word])
        data = stream.read()
    whole, end, _ = data.rpartition(b"\n")
    offsets[word] += len(whole + end)
    return (before + whole).decode(errors="replace").splitlines()


def _labelled(word: str, line: str, *, alone: bool) -> str:
    return line if alone else f"{word:10} | {line}"
