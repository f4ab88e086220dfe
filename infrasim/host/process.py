"""Processes: run, spawn, identify, stop. The only module of infrasim that starts any.

A process is known by pid, start time and boot, so a pid that was given to another process is
never taken for the old one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from infrasim.errors import DeadlineError, HostError, ProgramEndedError, ProgramError
from infrasim.frozen import Frozen
from infrasim.host.files import last_lines

# Every command imports this module, and most start nothing: what only starting needs is imported there.
if TYPE_CHECKING:
    import subprocess

    # A child that ``spawn`` started, for whoever keeps it: ``pid`` and ``wait()``.
    Spawned = subprocess.Popen[bytes]

# Source: subprocess.DEVNULL.
_DEVNULL = -3

# Source: Linux include/uapi/linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36


# Enough for every client a node serves; a limit of millions makes some programs slow.
_DESCRIPTORS_WANTED = 4096


class Identity(Frozen):
    """Who a process is: ``start_ticks`` is field 22 of /proc/PID/stat, in clock ticks since boot."""

    pid: int
    start_ticks: int
    boot_id: str


class OwnChild(Frozen):
    """A child of this process that ``bare.spawn`` started."""

    pid: int

    def wait(self) -> int:
        """Its exit code once it ends; negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Finished(Frozen):
    """What a program that ran to its end left: exit code and both outputs as text."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


def command_line(argv: Sequence[str]) -> str:
    """``argv`` ready to paste into a shell."""
    import shlex

    return shlex.join(argv)


def _note(what: str, argv: Sequence[str]) -> None:
    """Log a command for ``--debug``, which has imported logging."""
    if "logging" in sys.modules:
        import logging

        logging.getLogger(__name__).debug("%s: %s", what, command_line(argv))


def find_program(name: str) -> str | None:
    """The path of a program by its name or path, also when /usr/sbin is not on PATH; None if there is none.

    As ``shutil.which``, but to import ``shutil`` and what it packs with takes as long as a dozen searches.
    """
    folders = [*os.environ.get("PATH", os.defpath).split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    for path in [name] if "/" in name else [f"{folder}/{name}" for folder in folders if folder]:
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113
            return path
    return None


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Finished:
    """Run a program to its end and return what it said.

    Raises:
        HostError: the program does not exist.
        ProgramError: it ended with another code than 0 and ``check`` is set.
        DeadlineError: it took longer than ``timeout_s`` and was killed.
    """
    import subprocess

    _note("run", argv)
    feed: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=None if env is None else dict(env),
            cwd=cwd,
            **feed,  # type: ignore[call-overload]
        )
    except (FileNotFoundError, PermissionError) as exc:
        raise HostError(f"cannot run {argv[0]}: {exc.strerror}", hint="run: infrasim init") from exc
    except subprocess.TimeoutExpired as exc:
        raise DeadlineError(f"{command_line(argv)}: not done after {timeout_s:g} s") from exc
    finished = Finished(tuple(argv), done.returncode, done.stdout, done.stderr)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "it said nothing"
        raise ProgramError(f"{command_line(argv)}: {describe_exit(done.returncode)}: {said}")
    return finished


def run_interactive(argv: Sequence[str]) -> int:
    """Run a program on the user's own terminal, such as an editor, and return its exit code.

    Raises:
        HostError: the program does not exist.
    """
    import subprocess

    try:
        return subprocess.run(list(argv), check=False).returncode
    except (FileNotFoundError, PermissionError) as exc:
        raise HostError(f"cannot run {argv[0]}: {exc.strerror}") from exc


def replace_by(argv: Sequence[str]) -> NoReturn:
    """Become another program; this process keeps its pid and terminal.

    Raises:
        HostError: the program does not exist.
    """
    try:
        os.execv(argv[0], list(argv))
    except OSError as exc:
        raise HostError(f"cannot run {argv[0]}: {exc.strerror}") from exc


class Conversation:
    """A program that is told lines and answers with lines, until it is closed.

    Both its outputs are one terminal, so that it holds nothing back and errors stand where they belong.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]) -> None:
        """Start the program.

        Raises:
            HostError: the program does not exist.
        """
        import subprocess
        import tty

        _note("talk to", argv)
        self._argv = tuple(argv)
        self._heard = b""
        self._terminal, theirs = os.openpty()
        try:
            tty.setraw(theirs)
            self._child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                env=dict(env),
            )
        except OSError as exc:
            os.close(self._terminal)
            raise HostError(f"cannot run {argv[0]}: {exc.strerror}", hint="run: infrasim init") from exc
        finally:
            os.close(theirs)

    def ask(self, text: str, *, until: str, timeout_s: float) -> list[str]:
        """Send ``text`` and return the lines that come before the line ``until``.

        Raises:
            ProgramEndedError: it ended instead; carries the lines it said.
            DeadlineError: the line did not come within ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        stream = self._child.stdin
        assert stream is not None
        # That the program is gone is seen at its output, which says why.
        with contextlib.suppress(BrokenPipeError):
            stream.write(text.encode())
            stream.flush()
        lines: list[str] = []
        while (line := self._line(deadline)) is not None:
            if line == until:
                return lines
            lines.append(line)
        code = self._child.wait()
        said = "\n".join(lines).strip() or "it said nothing"
        raise ProgramEndedError(
            f"{command_line(self._argv)}: {describe_exit(code)}: {said}", lines=tuple(lines)
        )

    def _line(self, deadline: float) -> str | None:
        """The next line without trailing blanks; None once the program has ended."""
        while b"\n" not in self._heard:
            poll = select.poll()
            poll.register(self._terminal, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise DeadlineError(f"{command_line(self._argv)}: no answer in time")
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                # Linux answers EIO once nobody has the terminal's other end.
                data = b""
            if not data:
                rest, self._heard = self._heard, b""
                return rest.decode(errors="replace").rstrip() if rest else None
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace").rstrip()

    def close(self, *, wait_s: float = 3.0) -> None:
        """End the program: no more input, and SIGKILL after ``wait_s``."""
        import subprocess

        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        # So that a program with much to say can end.
        os.close(self._terminal)
        try:
            self._child.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C not end what has to be finished, for it takes but a moment and what was wanted is done."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that it can be reaped here.

    PID 1 reaps slowly or never in containers and small machines. Source: prctl(2), measured.
    """
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def raise_descriptor_limit() -> None:
    """Let this process open more files than the usual soft limit says, as far as it may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spawn(
    argv: Sequence[str],
    *,
    output: Path | int,
    cwd: Path,
    stdin: int = _DEVNULL,
    keep_open: Sequence[int] = (),
) -> Spawned:
    """Start a long-running child in a session of its own.

    ``output`` is a log to append both outputs to, or an open descriptor for them; ``stdin`` is a
    descriptor, by default /dev/null. The child inherits ``keep_open`` and no other descriptor.

    Raises:
        HostError: the program does not exist or the log cannot be written.
    """
    import subprocess

    _note("spawn", argv)
    try:
        with contextlib.ExitStack() as opened:
            if isinstance(output, Path):
                descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
                opened.callback(os.close, descriptor)
            else:
                descriptor = output
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=descriptor,
                stderr=descriptor,
                cwd=cwd,
                start_new_session=True,
                pass_fds=tuple(keep_open),
            )
    except OSError as exc:
        place = f": {exc.filename}" if exc.filename else ""
        raise HostError(f"cannot start {argv[0]}: {exc.strerror}{place}") from exc


def describe_exit(code: int | None) -> str:
    """An exit as people say it: ``exit code 2`` or ``killed by SIGKILL``."""
    if code is None:
        return "ended; its exit code went to a supervisor that is gone"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return f"exit code {code}"


def early_death(name: str, argv: Sequence[str], code: int | None, log: Path) -> ProgramError:
    """The error of a child that died: its argv to paste, how it ended, its last 20 log lines."""
    lines = "\n".join(f"    {line}" for line in last_lines(log, 20)) or "    (nothing was logged)"
    return ProgramError(
        f"{name} did not stay up: {describe_exit(code)}\n"
        f"  command: {command_line(argv)}\n"
        f"  last lines of {log}:\n{lines}"
    )


@functools.cache
def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """The identity of a living process; None if it is gone or a zombie."""
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return Identity(pid, int(fields[19]), boot_id())


def alive(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identify(identity.pid) == identity


def cpu_seconds(identity: Identity) -> float | None:
    """The processor time that very process has used, its threads included; None if it is gone."""
    fields = _stat(identity.pid)
    if fields is None or int(fields[19]) != identity.start_ticks:
        return None
    # utime and stime. Source: proc(5).
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def suspended(identity: Identity) -> bool:
    """Whether that very process was stopped by a signal and waits to be continued. Source: proc(5)."""
    fields = _stat(identity.pid)
    return fields is not None and fields[0] == "T" and int(fields[19]) == identity.start_ticks


def send_signal(identity: Identity, number: signal.Signals) -> bool:
    """Signal that very process, through a pid descriptor so that no other can be hit; False if gone."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return False
    try:
        if not alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(identity: Identity, timeout_s: float) -> bool:
    """Wait until that very process is gone or a zombie; False if it outlives ``timeout_s``."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return True
    try:
        if not alive(identity):
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


def stop(identity: Identity, *, term_wait_s: float, kill_wait_s: float = 5.0) -> bool:
    """End that very process: SIGTERM, after ``term_wait_s`` SIGKILL. True once it is gone."""
    if not send_signal(identity, signal.SIGTERM):
        return True
    if wait_gone(identity, term_wait_s):
        return True
    send_signal(identity, signal.SIGKILL)
    return wait_gone(identity, kill_wait_s)


def group_is_suspended(leader: int) -> bool:
    """Whether every process of a group was stopped by a signal. Source: proc(5): state and process group."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields is not None and int(fields[2]) == leader and fields[0] not in "TXZ":
                return False
    return True


def _stat(pid: int) -> list[str] | None:
    """Fields 3 and on of /proc/PID/stat; the command name before them may hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
