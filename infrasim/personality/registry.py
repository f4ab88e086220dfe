"""Which server types there are, and where: the user's own folders before the shipped one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from infrasim import paths
from infrasim.errors import UsageError
from infrasim.personality.folder import TYPE_FILE, read_folder
from infrasim.personality.model import Personality


def shipped_types() -> Path:
    """The folder of the types that come with infrasim."""
    return paths.data_dir() / "personalities"


def type_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """The names of all types in ``folders``, sorted."""
    return tuple(sorted({path.parent.name for folder in folders for path in folder.glob(f"*/{TYPE_FILE}")}))


def find_type(name: str, folders: Sequence[Path]) -> Path:
    """The folder of type ``name``: the first one in the order of ``folders``.

    Raises:
        UsageError: listing the known types, and the one ``name`` may be meant to be.
    """
    if name not in ("", ".", "..") and "/" not in name:
        for folder in folders:
            if (folder / name / TYPE_FILE).is_file():
                return folder / name
    known = type_names(folders)
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(
        f"unknown server type {name!r}", hint=f"{meant}known types: {', '.join(known) or 'none'}"
    )


def load_type(name: str, folders: Sequence[Path]) -> Personality:
    """The type ``name``.

    Raises:
        UsageError: for a name that is not known; ``InvalidType`` with every problem of its files.
    """
    return read_folder(find_type(name, folders), find=lambda base: find_type(base, folders))
