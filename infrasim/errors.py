"""Every error infrasim raises on purpose, and the exit code each one ends in.

The tree::

    InfrasimError                 1
    ├── UsageError                2   wrong arguments or a wrong node file
    │   ├── InvalidNodeFile       2   carries every Problem found in a document
    │   │   ├── InvalidType       2   the document is a server type's (personality.yamlform)
    │   │   └── NoPlan            2   it can be read, but no plan can be made of it (plan.planner)
    │   └── DataError             2   bytes or values that do not fit their format (personality.layout)
    │       └── IdentityError     2   a server cannot have a part of a node's identity (personality.identity)
    ├── NotRunningError           3   the node is stopped or absent
    ├── HostError                 4   the machine lacks something: a program, a port, a permission
    │   ├── MissingProgramsError  4   programs that only some nodes need; they can be installed
    │   ├── FileGoneError         4   the server does not have a package's file (packages.fetch)
    │   └── OldListsError         4   apt's lists do not name what is needed (packages.deb)
    ├── ProgramError              5   a program infrasim drives failed
    │   ├── ProgramEndedError     5   it ended while it was talked to; carries what it said
    │   └── Refused               5   a BMC does not do what it was asked (clients.ipmitool)
    └── DeadlineError             6   something was not ready in time

Internal, always caught by the caller and turned into one of these or into an answer: ``WrongValue``
(units), ``Conflicts`` (spec.checks), ``ValidationError`` and ``WrongType`` (spec.modelling),
``OrderRefused`` (runtime.machine), ``WrongPassword`` (bmc_core.lan), ``BmcRefusal`` and ``CommandError``
(racadm.ports), ``Stop`` (spec.tree), and names with an underscore.

Only ``cli`` turns an error into a process exit. A message says what happened, where, what was
found and what was wanted; ``hint`` says what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from infrasim.frozen import Frozen

# Where a value is from that was given on the command line.
SET = "--set"

NO_PERMISSION_HINT = "run with sudo, or point INFRASIM_HOME and INFRASIM_LOG_DIR at folders of your own"


class ExitCode(IntEnum):
    """What the ``infrasim`` command returns to the shell; documented in README.md."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOT_RUNNING = 3
    HOST = 4
    PROGRAM = 5
    DEADLINE = 6


class InfrasimError(Exception):
    """Base of every deliberate error: one message and, if there is one, a hint."""

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, object]:
        """The error as ``--json`` prints it."""
        return {"error": self.message, "hint": self.hint, "exit_code": int(self.exit_code)}


class UsageError(InfrasimError):
    """The user asked for something that does not exist or cannot be."""

    exit_code = ExitCode.USAGE


class Problem(Frozen):
    """One fault in a document, on the user's own line.

    ``line`` and ``column`` count from 1; 0 means the place is not known. ``path`` is the dotted
    place in the document, such as ``compute.cpu.quantities``; empty for the document itself. The
    "file" of a value that was given on the command line is ``SET``.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        if self.file == SET and self.path:
            place = f"{self.file} {self.path}"
            parts = [place, self.message]
        else:
            parts = [place, self.path, self.message] if self.path else [place, self.message]
        text = ": ".join(parts)
        return f"{text} ({self.hint})" if self.hint else text

    def as_json(self) -> dict[str, object]:
        """The problem as ``--json`` prints it."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }


class InvalidNodeFile(UsageError):
    """A document has problems; all of them are in ``problems``, one per line in the message."""

    def __init__(self, problems: Iterable[Problem], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)

    def as_json(self) -> dict[str, object]:
        """The error as ``--json`` prints it, with its problems one by one."""
        return {**super().as_json(), "problems": [problem.as_json() for problem in self.problems]}


class NotRunningError(InfrasimError):
    """The node must run for this and does not."""

    exit_code = ExitCode.NOT_RUNNING


class HostError(InfrasimError):
    """This machine lacks something: a program, a free port, space or a permission."""

    exit_code = ExitCode.HOST


class MissingProgramsError(HostError):
    """What not every node needs, but this one, is not installed; ``programs`` as in ``data/packages.yml``."""

    def __init__(self, programs: Iterable[str]) -> None:
        self.programs = tuple(programs)
        verb = "is" if len(self.programs) == 1 else "are"
        super().__init__(
            f"{', '.join(self.programs)} {verb} not installed, which this node needs",
            hint="as root, infrasim node start installs that, or infrasim init --all",
        )


class ProgramError(InfrasimError):
    """A program that infrasim drives failed or answered with an error."""

    exit_code = ExitCode.PROGRAM


class ProgramEndedError(ProgramError):
    """A program ended while it was talked to; ``lines`` are what it said instead of an answer."""

    def __init__(self, message: str, *, lines: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.lines = lines


class DeadlineError(InfrasimError):
    """Something did not become ready in time."""

    exit_code = ExitCode.DEADLINE


def error_from_json(data: Mapping[str, object]) -> InfrasimError:
    """The error that another process described with ``as_json``: same message, hint and exit code."""
    kinds = (UsageError, NotRunningError, HostError, ProgramError, DeadlineError)
    by_code = {int(kind.exit_code): kind for kind in kinds}
    kind = by_code.get(int(str(data.get("exit_code", 1))), InfrasimError)
    return kind(str(data.get("error", "")), hint=str(data.get("hint", "")))
