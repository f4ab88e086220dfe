"""Faults of a node file that show only when more than the file is known."""

from __future__ import annotations

from infrasim.errors import InvalidNodeFile, Problem


def problem(path: str, message: str, hint: str) -> InvalidNodeFile:
    """A fault at a dotted place of the node file; the caller puts it on the user's line."""
    return InvalidNodeFile([Problem("", 0, 0, path, message, hint)])
