"""Which server types there are, and where: the user's own folders before the shipped one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infrasim.errors import UsageError
from infrasim.frozen import Frozen
from infrasim.spec.document import load_document

if TYPE_CHECKING:
    from infrasim.personality.model import Personality

TYPE_FILE = "type.yml"
_AT_A_GLANCE = ("manufacturer", "product_name", "summary")


class TypeSummary(Frozen):
    """A server type at a glance, from its ``type.yml`` alone."""

    name: str
    manufacturer: str
    product_name: str
    summary: str
    folder: Path


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
    # Late, because listing types needs none of the codecs.
    from infrasim.personality.folder import read_folder

    return read_folder(find_type(name, folders), find=lambda base: find_type(base, folders))


def type_summaries(folders: Sequence[Path]) -> tuple[TypeSummary, ...]:
    """Every type at a glance, sorted by name.

    Raises:
        UsageError: for a ``type.yml`` that is not YAML or extends a type that is not known.
    """
    return tuple(_summary(name, folders) for name in type_names(folders))


def _summary(name: str, folders: Sequence[Path]) -> TypeSummary:
    values: dict[str, Any] = {}
    folder = place = find_type(name, folders)
    seen = set()
    while place not in seen:
        seen.add(place)
        file = place / TYPE_FILE
        said = load_document(file.read_bytes(), file=str(file)).values
        values = {**said, **values}
        if "extends" not in said:
            break
        place = find_type(str(said["extends"]), folders)
    manufacturer, product, summary = (str(values.get(key, "")) for key in _AT_A_GLANCE)
    return TypeSummary(name, manufacturer, product, summary, folder)
