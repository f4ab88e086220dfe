"""Faults of a node file that show only when more than the file is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from infrasim.errors import InvalidNodeFile, Problem, UsageError

T = TypeVar("T")


def fault(path: str, message: str, hint: str) -> Problem:
    """A fault at a dotted place of the node file; the caller puts it on the user's line."""
    return Problem("", 0, 0, path, message, hint)


def problem(path: str, message: str, hint: str) -> InvalidNodeFile:
    """The error of a single ``fault``."""
    return InvalidNodeFile([fault(path, message, hint)])


class Faults:
    """What steps find that do not need each other: ``found``, each fault once, in their order.

    A step that needs what a failed one would have given is left out by the caller: what it said would not be
    the user's fault.
    """

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, problems: Iterable[Problem]) -> None:
        """Note faults."""
        self.found += [each for each in dict.fromkeys(problems) if each not in self.found]

    def tried(self, step: Callable[[], T]) -> T | None:
        """What a step gives; None, and its faults noted, if it fails for what the node file says."""
        try:
            return step()
        except InvalidNodeFile as exc:
            self.add(exc.problems)
        except UsageError as exc:
            self.add([fault("", exc.message, exc.hint)])
        return None

    def refuse(self) -> None:
        """Raise all of them in one.

        Raises:
            InvalidNodeFile: there are any.
        """
        if self.found:
            raise InvalidNodeFile(self.found)
