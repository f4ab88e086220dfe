"""Real short-lived children: who they are, how they end, what is said about it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infrasim.errors import DeadlineError, HostError, ProgramEndedError, ProgramError
from infrasim.host import process
from infrasim.host.process import (
    Conversation,
    Identity,
    alive,
    command_line,
    describe_exit,
    early_death,
    find_program,
    identify,
    raise_descriptor_limit,
    run,
    send_signal,
    spawn,
    stop,
    suspended,
    wait_gone,
)

pytestmark = pytest.mark.allow("process")

Shell = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A function that spawns sh; what still lives at the end is killed."""
    children = []

    def start(script: str) -> subprocess.Popen[bytes]:
        child = spawn(["/bin/sh", "-c", script], output=tmp_path / "log", cwd=tmp_path)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


def who(child: subprocess.Popen[bytes]) -> Identity:
    identity = identify(child.pid)
    assert identity is not None
    return identity


def wait_for_line(log: Path, line: str) -> None:
    deadline = time.monotonic() + 60
    while line not in (log.read_text().splitlines() if log.exists() else ()):
        assert time.monotonic() < deadline, f"no {line!r} in {log}"
        time.sleep(0.002)


# --- identity


def test_identity_of_a_living_process(shell: Shell) -> None:
    identity = who(shell("exec sleep 30"))
    assert alive(identity)
    assert identity == identify(identity.pid)
    assert identity.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert identity.start_ticks > 0


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "of another boot"}, {"pid": 2**22 + 1}])
def test_pid_of_another_process_is_not_taken_for_it(shell: Shell, change: dict[str, int | str]) -> None:
    identity = who(shell("exec sleep 30"))
    other = Identity(**{**dataclasses.asdict(identity), **change})
    assert not alive(other)
    assert not send_signal(other, signal.SIGKILL)
    assert wait_gone(other, 0)
    assert stop(other, term_wait_s=0)
    assert alive(identity)


def test_zombie_is_not_alive(shell: Shell) -> None:
    child = shell("exec sleep 30")
    identity = who(child)
    child.send_signal(signal.SIGKILL)
    assert wait_gone(identity, 60)
    assert identify(child.pid) is None, "not reaped, but dead"
    assert not alive(identity)
    assert not send_signal(identity, signal.SIGTERM)
    child.wait()
    assert identify(child.pid) is None


def test_name_with_blanks_and_brackets_confuses_nobody(shell: Shell, tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = spawn([str(odd), "30"], output=tmp_path / "log", cwd=tmp_path)
    try:
        assert alive(who(child))
        assert abs(who(child).start_ticks - who(shell("exec sleep 30")).start_ticks) < 1000
    finally:
        child.kill()
        child.wait()


# --- ending


def test_stop_is_polite_first(shell: Shell, tmp_path: Path) -> None:
    child = shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done")
    identity = who(child)
    wait_for_line(tmp_path / "log", "up")
    assert stop(identity, term_wait_s=60)
    assert child.wait() == 3
    assert (tmp_path / "log").read_text() == "up\nbye\n"


def test_stop_kills_what_does_not_listen(shell: Shell, tmp_path: Path) -> None:
    child = shell("trap '' TERM; echo up; while :; do sleep 0.01; done")
    identity = who(child)
    wait_for_line(tmp_path / "log", "up")
    assert stop(identity, term_wait_s=0.05)
    assert child.wait() == -signal.SIGKILL


def test_stop_says_when_nothing_helps(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = who(shell("exec sleep 30"))
    sent = []

    def lose(_: Identity, number: signal.Signals) -> bool:
        sent.append(number)
        return True

    monkeypatch.setattr(process, "send_signal", lose)
    assert not stop(identity, term_wait_s=0.01, kill_wait_s=0.01)
    assert sent == [signal.SIGTERM, signal.SIGKILL]


def test_wait_gone_has_a_deadline(shell: Shell) -> None:
    quick, slow = who(shell("exec sleep 0.02")), who(shell("exec sleep 30"))
    assert not wait_gone(slow, 0.01)
    assert wait_gone(quick, 60)
    assert wait_gone(quick, 0)


# --- spawn


def test_spawned_child_has_its_own_session_and_no_input(shell: Shell, tmp_path: Path) -> None:
    child = shell("read line; echo read=$?; echo error >&2; pwd; exit 7")
    assert child.wait() == 7
    assert (tmp_path / "log").read_text() == f"read=1\nerror\n{tmp_path}\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640
    other = shell("exec sleep 30")
    assert os.getsid(other.pid) == other.pid


def test_spawned_child_appends_to_its_log(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    shell("echo after").wait()
    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_spawned_child_inherits_only_what_it_should(tmp_path: Path) -> None:
    kept, other = os.pipe()
    os.set_inheritable(other, True)
    has = "[ -e /proc/$$/fd/{0} ] && echo {0}"
    script = f"{has.format(kept)}; {has.format(other)}; true"
    spawn(["/bin/sh", "-c", script], output=tmp_path / "log", cwd=tmp_path, keep_open=[kept]).wait()
    assert (tmp_path / "log").read_text() == f"{kept}\n"
    os.close(kept)
    os.close(other)


def test_spawn_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        spawn(["/no/such"], output=tmp_path / "log", cwd=tmp_path)
    assert caught.value.message == "cannot start /no/such: No such file or directory: /no/such"
    log = tmp_path / "none" / "log"
    with pytest.raises(HostError) as caught:
        spawn(["/bin/true"], output=log, cwd=tmp_path)
    assert caught.value.message == f"cannot start /bin/true: No such file or directory: {log}"


# --- run


def test_run_returns_both_outputs(tmp_path: Path) -> None:
    done = run(["/bin/sh", "-c", "pwd; echo $X >&2"], timeout_s=60, env={"X": "env"}, cwd=tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{tmp_path}\n", "env\n")
    assert run(["/bin/cat"], timeout_s=60, stdin="fed").stdout == "fed"
    assert run(["/bin/cat"], timeout_s=60).stdout == "", "stdin is empty"
    assert run(["printf", "\\377"], timeout_s=60).stdout == "�"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo out; echo bad >&2; exit 3", "exit code 3: bad"),
        ("echo out; exit 3", "exit code 3: out"),
        ("exit 3", "exit code 3: it said nothing"),
        ("kill -SEGV $$", "killed by SIGSEGV: it said nothing"),
    ],
)
def test_run_that_fails(script: str, message: str) -> None:
    argv = ["/bin/sh", "-c", script]
    with pytest.raises(ProgramError) as caught:
        run(argv, timeout_s=60)
    assert caught.value.message == f"{command_line(argv)}: {message}"
    assert run(argv, timeout_s=60, check=False).exit_code != 0


def test_run_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        run(["/no/such"], timeout_s=60)
    assert (caught.value.message, caught.value.hint) == (
        "cannot run /no/such: No such file or directory",
        "run: infrasim init",
    )
    with pytest.raises(HostError, match=r"^cannot run .*: Permission denied$"):
        run([str(tmp_path)], timeout_s=60)


def test_run_too_long() -> None:
    with pytest.raises(DeadlineError) as caught:
        run(["/bin/sleep", "30"], timeout_s=0.02)
    assert caught.value.message == "/bin/sleep 30: not done after 0.02 s"


# --- words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (2, "exit code 2"),
        (-9, "killed by SIGKILL"),
        (-63, "killed by signal 63"),
        (None, "ended; its exit code went to a supervisor that is gone"),
    ],
)
def test_describe_exit(code: int | None, words: str) -> None:
    assert describe_exit(code) == words


def test_early_death_says_how_to_try_it_and_what_was_logged(tmp_path: Path) -> None:
    log = tmp_path / "qemu.log"
    log.write_text("".join(f"line {number}\n" for number in range(30)))
    error = early_death("qemu", ["/usr/bin/qemu", "-name", "a b"], 1, log)
    lines = "\n".join(f"    line {number}" for number in range(10, 30))
    assert error.message == (
        "qemu did not stay up: exit code 1\n"
        "  command: /usr/bin/qemu -name 'a b'\n"
        f"  last lines of {log}:\n{lines}"
    )


def test_early_death_without_a_log(tmp_path: Path) -> None:
    error = early_death("socat", ["socat"], -11, tmp_path / "none.log")
    assert error.message == (
        "socat did not stay up: killed by SIGSEGV\n"
        "  command: socat\n"
        f"  last lines of {tmp_path}/none.log:\n    (nothing was logged)"
    )


def test_find_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "my-program"
    mine.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("my-program") is None, "not executable"
    mine.chmod(0o755)
    assert find_program("my-program") == str(mine)
    assert find_program("ldconfig") == "/usr/sbin/ldconfig", "though /usr/sbin is not on PATH"
    assert find_program("no-such-program") is None
    assert find_program("") is None
    assert (find_program(str(mine)), find_program(f"{mine}-not")) == (str(mine), None)
    (tmp_path / "a-folder").mkdir()
    assert find_program("a-folder") is None


def test_orphans_come_to_an_adopting_process() -> None:
    """In a process of its own, because adopting cannot be taken back."""
    script = (
        "import os, subprocess, sys\n"
        "from infrasim.host.process import adopt_orphans\n"
        "adopt_orphans()\n"
        "said = subprocess.run(['sh', '-c', 'sleep 0.01 & echo $!'], capture_output=True, text=True).stdout\n"
        "print(os.waitpid(int(said), 0)[0] == int(said))\n"
    )
    root = Path(__file__).parents[3]
    done = run([sys.executable, "-c", script], timeout_s=120, env={**os.environ, "PYTHONPATH": str(root)})
    assert done.stdout == "True\n"


@contextlib.contextmanager
def conversation(script: str) -> Iterator[Conversation]:
    """A talk with a shell script."""
    talk = Conversation(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin", "SECRET": "xyzzy"})
    try:
        yield talk
    finally:
        talk.close()


def test_conversation_answers_line_by_line_errors_in_their_place() -> None:
    with conversation(
        'while read -r line; do echo "got $line"; echo wrong >&2; echo "$SECRET  "; done'
    ) as talk:
        assert talk.ask("a\n", until="xyzzy", timeout_s=60) == ["got a", "wrong"]
        assert talk.ask("b\nc\n", until="xyzzy", timeout_s=60) == ["got b", "wrong"]
        assert talk.ask("", until="xyzzy", timeout_s=60) == ["got c", "wrong"]


def test_conversation_holds_nothing_back_of_a_program_that_buffers() -> None:
    # grep writes whole blocks unless it writes to a terminal.
    with conversation("exec grep -n .") as talk:
        assert talk.ask("x\n", until="1:x", timeout_s=60) == []


def test_conversation_with_a_program_that_ends() -> None:
    with conversation("read -r line; echo first; printf last; exit 3") as talk:
        with pytest.raises(ProgramEndedError, match="exit code 3: first\nlast") as caught:
            talk.ask("x\n", until="never", timeout_s=60)
        assert caught.value.lines == ("first", "last")
        with pytest.raises(ProgramEndedError, match="it said nothing"):
            talk.ask("more\n" * 10000, until="never", timeout_s=60)


def test_conversation_has_a_deadline_and_close_kills() -> None:
    talk = Conversation(["/bin/sh", "-c", "trap '' TERM HUP; echo up; exec sleep 60"], env=dict(os.environ))
    assert talk.ask("", until="up", timeout_s=60) == []
    begin = time.monotonic()
    with pytest.raises(DeadlineError, match="no answer in time"):
        talk.ask("", until="never", timeout_s=0.1)
    talk.close(wait_s=0.1)
    assert time.monotonic() - begin < 50, "not as long as it lives"


def test_conversation_with_a_program_that_is_not_there() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(HostError, match="cannot run /no/such: No such file"):
        Conversation(["/no/such"], env={})
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_process_that_was_stopped_by_a_signal_is_suspended(shell: Shell) -> None:
    child = shell("sleep 600")
    identity = who(child)
    assert not suspended(identity)
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert suspended(identity)
    assert alive(identity)
    assert not suspended(dataclasses.replace(identity, start_ticks=1)), "another process of that pid"
    os.kill(child.pid, signal.SIGCONT)
    os.waitid(os.P_PID, child.pid, os.WCONTINUED)
    assert not suspended(identity)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((1024, 1_000_000), (4096, 1_000_000)),
        ((1024, 2048), (2048, 2048)),
        ((64, 64), None),
        ((1024, resource.RLIM_INFINITY), (4096, resource.RLIM_INFINITY)),
        ((8192, 1_000_000), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_limit_of_descriptors_is_raised_as_far_as_it_may_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], expected: tuple[int, int] | None
) -> None:
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: given.append(wanted))
    raise_descriptor_limit()
    assert given == ([expected] if expected else [])
