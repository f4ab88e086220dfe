"""What a supervisor shows of itself, and what it and its BMC tell each other. No child is started."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infrasim.bmc_core.chassis import ChassisState, RestartCause, RestorePolicy
from infrasim.bmc_core.state import BmcState
from infrasim.errors import DeadlineError, HostError, ProgramError
from infrasim.host.process import Identity
from infrasim.jsonform import as_json
from infrasim.paths import Home
from infrasim.plan.model import IPMI_SIM, QEMU, SOCAT, NodePlan, ProcessSpec
from infrasim.qemu.boot import BootSelector
from infrasim.runtime import supervisor as module
from infrasim.runtime.machine import (
    Begin,
    Exited,
    HostReset,
    Power,
    PowerOrder,
    Ready,
    SetOverride,
    Stop,
)
from infrasim.runtime.state import ChildState, NodeState, Phase, read_state, write_state
from infrasim.runtime.supervisor import Begun, Supervisor

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
            plan = make_plan(home, "a", "{}")
            for folder in (paths.run, paths.data, paths.bmc_state, paths.log_dir):
                folder.mkdir(parents=True, exist_ok=True)
            settings = next(file for file in plan.files if file.path == paths.bmc_settings)
            paths.bmc_settings.write_bytes(settings.content)
            supervisor = Supervisor(plan, paths)
            try:
                await asyncio.wait_for(scene(supervisor), 60)
            finally:
                await supervisor.close()

        asyncio.run(whole())

    return played


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[Supervisor], list[str]]:
    """A function that cuts a supervisor off from ports and processes; it returns the children it starts."""

    async def done(*arguments: object) -> None:
        """Nothing to wait for."""

    def cut_off(supervisor: Supervisor) -> list[str]:
        started: list[str] = []
        monkeypatch.setattr(supervisor.bmc, "open", done)
        monkeypatch.setattr(supervisor._control, "open", done)
        monkeypatch.setattr(supervisor._ports, "hold", lambda: ())
        monkeypatch.setattr(supervisor._ports, "reserve", lambda: None)
        monkeypatch.setattr(supervisor._children, "start", lambda spec: started.append(spec.name))
        monkeypatch.setattr(supervisor, "_become_ready", done)
        return started

    return cut_off


def bring_up(supervisor: Supervisor) -> None:
    """Let each child become ready as soon as it is asked for."""
    for name in (SOCAT, IPMI_SIM, QEMU):
        if supervisor.machine.children[name].state is ChildState.STARTING:
            supervisor.feed(Ready(name))


def left_by(supervisor: Supervisor, *, power: bool) -> NodeState:
    """What an earlier supervisor left whose children are dead too."""
    return dataclasses.replace(supervisor.state(), power=power, processes=())


def shown(supervisor: Supervisor) -> NodeState:
    state = read_state(supervisor.paths.state)
    assert state is not None
    return state


def test_a_full_disk_is_an_error_of_the_node_and_its_state_stays_true(
    play: Callable[[Scene], None], disk: Disk
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        supervisor.machine.power_wanted = True
        supervisor.show()
        assert shown(supervisor).power
        before = supervisor.paths.state.stat().st_ino
        disk.full = True
        supervisor.machine.power_wanted = False
        for _ in range(3):
            supervisor.show()
        assert not shown(supervisor).power
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
        supervisor.bmc.core.chassis_control.identify(10)
        assert supervisor.state().identify
        assert not supervisor.paths.state.exists()
        disk.full = False
        while not supervisor.paths.state.exists():
            await asyncio.sleep(0.005)
        assert shown(supervisor).identify

    play(scene)


def test_nothing_is_started_before_the_state_can_be_written(
    play: Callable[[Scene], None], disk: Disk, alone: Callable[[Supervisor], list[str]]
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        started = alone(supervisor)
        disk.full = True
        with pytest.raises(HostError, match="No space left on device"):
            await supervisor.start(None)
        assert started == []
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
    monkeypatch.setattr(module, "_ENDS_WITHIN_S", 0.05 if case == "lives" else 60.0)

    async def scene(supervisor: Supervisor) -> None:
        monkeypatch.setattr(supervisor._children, "identity", running.get)
        supervisor.machine.host.state = ChildState.STOPPING if case == "stopping" else ChildState.RUNNING
        supervisor.order_host(refused())
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
        monkeypatch.setattr(supervisor._ports, "hold", lambda: ())
        monkeypatch.setattr(supervisor._children, "start", start)
        supervisor.feed(Begin(True))
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


# --- the BMC and its host


def test_the_bmc_is_told_of_power_and_a_stop_is_no_power_off(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]]
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        started = alone(supervisor)
        chassis = supervisor.bmc.core.state.chassis
        told: list[bool] = []
        power_changed = supervisor.bmc.core.power_changed

        def note(*, on: bool) -> None:
            told.append(on)
            power_changed(on=on)

        supervisor.bmc.core.power_changed = note  # type: ignore[method-assign]
        await supervisor.start(None)
        assert started == [SOCAT]
        bring_up(supervisor)
        assert started == [SOCAT, IPMI_SIM, QEMU]
        supervisor.feed(HostReset())
        assert told == [True]
        supervisor.feed(Exited(QEMU, 0, guest_off=True))
        assert (told, chassis.was_on) == ([True, False], False)
        supervisor.feed(Power(PowerOrder.ON))
        bring_up(supervisor)
        supervisor.feed(Stop())
        supervisor.feed(Exited(QEMU, 0))
        assert not supervisor.machine.power
        assert (told, chassis.was_on) == ([True, False, True], True)

    play(scene)


def test_a_host_that_is_ordered_on_before_it_has_gone_off_was_off_for_the_bmc(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]]
) -> None:
    """What counted for the host before, such as its watchdog, does not count for the next one."""

    async def scene(supervisor: Supervisor) -> None:
        started = alone(supervisor)
        core = supervisor.bmc.core
        await supervisor.start(None)
        bring_up(supervisor)
        core.state.watchdog.countdown = 600
        core.watchdog.start()
        supervisor.feed(Power(PowerOrder.OFF))
        supervisor.feed(Power(PowerOrder.ON))
        assert supervisor.machine.power
        assert core.watchdog.is_running
        supervisor.feed(Exited(QEMU, 0))
        assert started[-2:] == [QEMU, QEMU]
        assert not core.watchdog.is_running
        assert core.state.chassis.was_on

    play(scene)


def test_a_stop_may_let_the_system_shut_down_first(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]]
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        host = dataclasses.replace(supervisor.plan.host, shuts_down=True)
        supervisor.plan = dataclasses.replace(supervisor.plan, host=host)
        pressed: list[str] = []

        async def press() -> None:
            pressed.append("button")

        async def listens() -> bool:
            return True

        supervisor.host.press_power_button = press  # type: ignore[method-assign]
        supervisor.host.os_listens = listens  # type: ignore[method-assign]
        alone(supervisor)
        await supervisor.start(None)
        bring_up(supervisor)
        supervisor.stop()
        while not pressed:
            await asyncio.sleep(0)
        assert supervisor.machine.phase is Phase.UP
        supervisor.feed(Exited(QEMU, 0, guest_off=True))
        while supervisor.machine.phase is Phase.UP:
            await asyncio.sleep(0)
        assert supervisor.machine.phase is Phase.STOPPING
        assert supervisor.bmc.core.state.chassis.was_on, "it had power when the cord was pulled"

    play(scene)


def test_who_asks_for_a_stop_again_does_not_wait_for_the_system(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]]
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        host = dataclasses.replace(supervisor.plan.host, shuts_down=True)
        supervisor.plan = dataclasses.replace(supervisor.plan, host=host)
        alone(supervisor)
        await supervisor.start(None)
        bring_up(supervisor)
        phases = []
        for _ in range(2):
            supervisor.stop()
            phases.append(supervisor.machine.phase)
        assert phases == [Phase.UP, Phase.STOPPING]

    play(scene)


@pytest.mark.parametrize("by_guest", [False, True])
def test_a_reset_that_nobody_ordered_is_noted(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]], by_guest: bool
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        alone(supervisor)
        await supervisor.start(None)
        bring_up(supervisor)
        supervisor.feed(HostReset(by_guest))
        cause = RestartCause.SOFT_RESET if by_guest else RestartCause.ALWAYS_RESTORE
        assert supervisor.bmc.core.state.chassis.restart_cause is cause

    play(scene)


@pytest.mark.parametrize(
    ("policy", "was_on", "power"),
    [
        (None, False, True),
        (RestorePolicy.ALWAYS_OFF, True, False),
        (RestorePolicy.PREVIOUS, False, False),
        (RestorePolicy.PREVIOUS, True, True),
    ],
    ids=["node file", "always off", "previous off", "previous on"],
)
def test_the_restore_policy_decides_at_a_fresh_start_and_not_at_an_adoption(
    play: Callable[[Scene], None],
    alone: Callable[[Supervisor], list[str]],
    tmp_path: Path,
    policy: RestorePolicy | None,
    was_on: bool,
    power: bool,
) -> None:
    kept = as_json(BmcState(chassis=ChassisState(restore_policy=policy, was_on=was_on)))
    core_state = Home(tmp_path / "h", tmp_path / "l").node("a").core_state
    core_state.parent.mkdir(parents=True)
    core_state.write_text(json.dumps(kept))

    async def fresh(supervisor: Supervisor) -> None:
        alone(supervisor)
        await supervisor.start(None)
        assert supervisor.machine.power is power

    async def adopting(supervisor: Supervisor) -> None:
        alone(supervisor)
        await supervisor.start(left_by(supervisor, power=not power))
        assert supervisor.machine.power is not power

    play(fresh)
    core_state.write_text(json.dumps(kept))
    play(adopting)


def test_the_bmc_of_an_opening_answers_when_it_knows_that_the_host_is_on(
    play: Callable[[Scene], None],
    alone: Callable[[Supervisor], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        alone(supervisor)
        seen: list[tuple[Phase, bool]] = []

        async def take_over(*sockets: object) -> None:
            seen.append((supervisor.machine.phase, supervisor.machine.power))

        monkeypatch.setattr(supervisor.bmc, "take_over", take_over)
        with socket.socket() as listens:
            await supervisor.start(left_by(supervisor, power=True), Begun(listens, listens, (listens,)))
        assert seen == [(Phase.UP, True)]
        assert supervisor.bmc.core.state.chassis.restart_cause is RestartCause.ALWAYS_RESTORE

    play(scene)


@pytest.mark.parametrize("keep", [False, True])
def test_an_override_of_the_bmc_is_used_up_unless_it_is_kept(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]], keep: bool
) -> None:
    flags = bytes([0xC0 if keep else 0x80, 0x04, 0, 0, 0])

    async def scene(supervisor: Supervisor) -> None:
        alone(supervisor)
        boot = supervisor.bmc.core.boot
        boot.set_flags(flags)
        assert supervisor.machine.override is BootSelector.PXE
        await supervisor.start(None)
        for name in (SOCAT, IPMI_SIM):
            supervisor.feed(Ready(name))
        supervisor.feed(Ready(QEMU, booted_with=BootSelector.PXE))
        left = BootSelector.PXE if keep else None
        assert supervisor.bmc.core.state.boot.selector is left
        assert supervisor.machine.override is left
        assert supervisor.state().boot_override == (left.value if left else None)
        assert not boot.counts_down

    play(scene)


def test_an_override_outlives_the_supervisor(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]]
) -> None:
    async def first(supervisor: Supervisor) -> None:
        alone(supervisor)
        supervisor.bmc.core.boot.choose(BootSelector.DISK)

    async def second(supervisor: Supervisor) -> None:
        alone(supervisor)
        await supervisor.start(left_by(supervisor, power=True))
        assert supervisor.machine.override is BootSelector.DISK
        supervisor.feed(SetOverride(None))
        assert supervisor.machine.override is None

    play(first)
    play(second)


@pytest.mark.parametrize("host_lives", [True, False])
def test_to_the_bmc_a_host_that_is_taken_over_does_not_begin(
    play: Callable[[Scene], None], alone: Callable[[Supervisor], list[str]], host_lives: bool
) -> None:
    # Valid for one boot, whatever that is from.
    flags = bytes([0x80, 0, 0, 0, 0])

    async def scene(supervisor: Supervisor) -> None:
        alone(supervisor)
        core = supervisor.bmc.core
        core.boot.set_flags(flags)
        adopted = (SOCAT, IPMI_SIM, QEMU) if host_lives else (SOCAT, IPMI_SIM)
        supervisor.feed(Begin(True, dict.fromkeys(adopted, 0)))
        assert core.state.chassis.was_on
        assert core.state.boot.flags == (flags if host_lives else bytes(5))

    play(scene)


@pytest.mark.parametrize("hangs", [True, False])
@pytest.mark.parametrize("lives", [True, False])
def test_a_host_that_ends_while_it_is_joined_is_not_waited_for(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch, hangs: bool, lives: bool
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        looks = iter([True])

        async def join() -> bool:
            if hangs:
                await asyncio.Event().wait()
            raise ProgramError("the monitor closed")

        monkeypatch.setattr(supervisor.host, "join", join)
        monkeypatch.setattr(module, "alive", lambda identity: lives or next(looks, False))
        if lives and hangs:
            spec = dataclasses.replace(supervisor.plan.process(QEMU), ready_timeout_s=0.01)
            supervisor.plan = dataclasses.replace(supervisor.plan, processes=(spec,))
        joining = supervisor._join_host(Identity(4711, 1, "b"))
        if lives:
            with pytest.raises(DeadlineError if hangs else ProgramError):
                await joining
        else:
            assert await joining

    play(scene)
