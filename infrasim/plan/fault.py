"""Faults of a node file that show only when more than the file is known."""

from __future__ import annotations

from infrasim.errors import InvalidNodeFile, Problem


def fault(path: str, message: str, hint: str) -> Problem:
    """A fault at a dotted place of the node file; the caller puts it on the user's line."""
    return Problem("", 0, 0, path, message, hint)


def problem(path: str, message: str, hint: str) -> InvalidNodeFile:
    """The error of a single ``fault``."""
    return InvalidNodeFile([fault(path, message, hint)])
