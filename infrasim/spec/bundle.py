"""A node file that includes others, made into one that can be kept: its text and copies of what it includes.

The copies lie in one folder, named after their content, so a copied text means the same whatever becomes of
the originals, and a set of copies can be replaced without a moment in which a text leads to the wrong ones.
Only the names behind ``!include`` are exchanged; all the rest of every text stays byte for byte.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import field
from pathlib import PurePosixPath

from infrasim.errors import InvalidNodeFile, UsageError
from infrasim.frozen import Frozen
from infrasim.spec.document import INCLUDE, Document, Included, Mark, load_document

_NAME_BEHIND = re.compile(re.escape(INCLUDE) + r"(\s+)(.*)\Z", re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_DIGEST_LENGTH = 12


class Bundle(Frozen):
    """``text`` includes the files of ``copies``, by name, from the folder it was bundled for."""

    text: str
    copies: dict[str, str] = field(default_factory=dict)


def bundle(document: Document, *, folder: str) -> Bundle:
    """The text of ``document`` with everything it includes in ``folder``, beside it.

    Raises:
        InvalidNodeFile: an ``!include`` is written so that its file cannot be exchanged safely.
    """
    if not document.inclusions:
        return Bundle(document.text)
    copies: dict[str, str] = {}
    text = _rewritten(document, document.file, document.text, f"{folder}/", copies)
    if _values(text, folder, copies) != document.values:
        hint = f"write each as: {INCLUDE} FILE"
        raise InvalidNodeFile(
            [document.problem(Mark(1, 1), (), "what this file includes cannot be copied", hint)]
        )
    return Bundle(text, copies)


def _rewritten(document: Document, file: str, text: str, prefix: str, copies: dict[str, str]) -> str:
    """``text``, that of ``file``, with the names of copies; these are added to ``copies``."""
    here = {(each.start, each.end, each.file) for each in document.inclusions if each.by == file}
    for start, end, target in sorted(here, reverse=True):
        inner = _rewritten(document, target, document.included_texts[target], "", copies)
        name = _copy_name(target, inner)
        copies[name] = inner
        # A name has no characters that mean something to ``sub``.
        given = _NAME_BEHIND.sub(rf"{INCLUDE}\g<1>{prefix}{name}", text[start:end])
        text = text[:start] + given + text[end:]
    return text


def _copy_name(file: str, text: str) -> str:
    stem = _UNSAFE.sub("-", PurePosixPath(file).stem).strip("-") or "file"
    parts = stem.rpartition("-")
    # A copy of a copy keeps its name.
    if parts[0] and re.fullmatch(f"[0-9a-f]{{{_DIGEST_LENGTH}}}", parts[2]):
        stem = parts[0]
    return f"{stem[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]}.yml"


def _values(text: str, folder: str, copies: dict[str, str]) -> object:
    def include(wanted: str, *, by: str) -> Included:
        name = wanted.removeprefix(f"{folder}/")
        if name not in copies:
            raise UsageError(f"{by}: there is no copy of {wanted}")
        return Included(f"{folder}/{name}", copies[name], name)

    try:
        return load_document(text, file="copy", include=include).values
    except InvalidNodeFile:
        return None
