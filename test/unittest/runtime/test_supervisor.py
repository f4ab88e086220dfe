"""What a supervisor shows of itself when the disk does not take it. No child is started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infrasim.errors import HostError, ProgramError
from infrasim.host.process import Identity
from infrasim.paths import Home
from infrasim.plan.model import QEMU, NodePlan, ProcessSpec
from infrasim.runtime import supervisor as module
from infrasim.runtime.machine import Begin
from infrasim.runtime.state import ChildState, NodeState, read_state, write_state
from infrasim.runtime.supervisor import Supervisor

MakePlan = Callable[[Home, str, str], NodePlan]
Scene = Callable[[Supervisor], Awaitable[None]]


class Disk:
    """Writes the state, or refuses as a full disk does."""

    def __init__(self) -> None:
        self.full = False

    def write(self, path: Path, state: NodeState) -> None:
        """As ``write_state``."""
        if self.full:
            raise HostError(f"cannot write {path}: No space left on device")
        write_state(path, state)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(module, "write_state", made.write)
    monkeypatch.setattr(module, "_SHOW_AGAIN_S", 0.01)
    return made


@pytest.fixture
def play(tmp_path: Path, make_plan: MakePlan) -> Callable[[Scene], None]:
    """A function that plays a scene with a supervisor whose children are none."""
    home = Home(tmp_path / "h", tmp_path / "l")

    def played(scene: Scene) -> None:
        async def whole() -> None:
            paths = home.node("a")
            paths.chassis.mkdir(parents=True)
            paths.log_dir.mkdir(parents=True)
            supervisor = Supervisor(make_plan(home, "a", "{}"), paths)
            try:
                await asyncio.wait_for(scene(supervisor), 5)
            finally:
                await supervisor.close()

        asyncio.run(whole())

    return played


def shown(supervisor: Supervisor) -> NodeState:
    state = read_state(supervisor.paths.state)
    assert state is not None
    return state


def test_a_full_disk_is_an_error_of_the_node_and_its_state_stays_true(
    play: Callable[[Scene], None], disk: Disk
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        supervisor.show()
        assert shown(supervisor).power
        before = supervisor.paths.state.stat().st_ino
        disk.full = True
        supervisor.machine.power_wanted = False
        for _ in range(3):
            supervisor.show()
        assert not shown(supervisor).power
        assert (supervisor.paths.chassis / "power").read_text() == "0\n"
        assert supervisor.paths.state.stat().st_ino == before, "written in the room there was"
        (error,) = shown(supervisor).errors
        assert error.endswith(f"cannot write {supervisor.paths.state}: No space left on device")
        supervisor.machine.power_wanted = True
        disk.full = False
        while supervisor.paths.state.stat().st_ino == before:
            await asyncio.sleep(0.005)
        assert shown(supervisor).power

    play(scene)


def test_an_order_is_followed_although_it_cannot_be_shown(play: Callable[[Scene], None], disk: Disk) -> None:
    async def scene(supervisor: Supervisor) -> None:
        disk.full = True
        supervisor.light_identify_lamp(10)
        assert supervisor.state().identify
        assert not supervisor.paths.state.exists()
        disk.full = False
        while not supervisor.paths.state.exists():
            await asyncio.sleep(0.005)
        assert shown(supervisor).identify

    play(scene)


def test_nothing_is_started_before_the_state_can_be_written(
    play: Callable[[Scene], None], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        monkeypatch.setattr(supervisor._front, "open", lambda: None)
        monkeypatch.setattr(supervisor._ports, "hold", lambda: ())
        disk.full = True
        with pytest.raises(HostError, match="No space left on device"):
            await supervisor.start(None)
        assert all(process.state == "down" for process in supervisor.state().processes)

    play(scene)


async def refused() -> None:
    """An order to a QEMU that has closed its monitor."""
    raise ProgramError("QEMU, qom-set: Disconnected")


@pytest.mark.parametrize("case", ["stopping", "ends a moment later", "lives"])
def test_an_order_to_a_host_that_ends_is_no_trouble(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    host = Identity(1, 1, "boot")
    running = {QEMU: host}
    monkeypatch.setattr(module, "_ENDS_WITHIN_S", 0.05)

    async def scene(supervisor: Supervisor) -> None:
        monkeypatch.setattr(supervisor._children, "identity", running.get)
        supervisor.machine.host.state = ChildState.STOPPING if case == "stopping" else ChildState.RUNNING
        supervisor._order_host(refused())
        for _ in range(3):
            await asyncio.sleep(0)
        if case == "ends a moment later":
            running.clear()
            supervisor.show()
        while supervisor._tasks:
            await asyncio.sleep(0.005)
        errors = supervisor.state().errors
        assert [error.partition(" ")[2] for error in errors] == (
            ["error: message=QEMU, qom-set: Disconnected"] if case == "lives" else []
        )

    play(scene)


def test_a_child_that_cannot_be_started_fails_the_start_with_the_reason(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = HostError("cannot start /usr/bin/socat: Too many open files")

    def start(spec: ProcessSpec) -> None:
        raise reason

    async def scene(supervisor: Supervisor) -> None:
        monkeypatch.setattr(supervisor._front, "open", lambda: None)
        monkeypatch.setattr(supervisor._ports, "hold", lambda: ())
        monkeypatch.setattr(supervisor._children, "start", start)
        supervisor.feed(Begin())
        assert await supervisor.outcome is reason

    play(scene)


def test_what_the_event_loop_complains_of_again_and_again_is_said_once(play: Callable[[Scene], None]) -> None:
    async def scene(supervisor: Supervisor) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            loop.call_exception_handler(
                {"message": "cannot accept", "exception": OSError(24, "Too many open files")}
            )
        (error,) = supervisor.state().errors
        assert error.endswith("error: message=cannot accept: [Errno 24] Too many open files")

    play(scene)
