"""Whole sequences of the node's machine, with a clock and timers of the test's own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import assert_never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrasim.plan.model import IPMI_SIM, QEMU, RACADM, SOCAT, SWTPM
from infrasim.qemu.boot import BootSelector
from infrasim.runtime.machine import (
    DEATHS_ALLOWED,
    DEATHS_WINDOW_S,
    Action,
    Begin,
    Event,
    Exited,
    Finished,
    HostBroken,
    HostReset,
    HostRestarted,
    HostWaits,
    LetHostGo,
    NodeMachine,
    NodeUp,
    OpenFirmwareMenu,
    OrderRefused,
    OverrideUsed,
    Power,
    PowerOrder,
    PressPowerButton,
    QuitHost,
    Ready,
    Report,
    ResetHost,
    SendSignal,
    SerialLogLost,
    SetBootOrder,
    SetOverride,
    Spawn,
    StartFailed,
    StartTimer,
    Stop,
    StopTimer,
    TimerFired,
)
from infrasim.runtime.state import ChildState, Phase

READY_S = {SOCAT: 10.0, SWTPM: 10.0, IPMI_SIM: 30.0, QEMU: 60.0, RACADM: 60.0}
ON, OFF, RESET, SOFT = (
    Power(order) for order in (PowerOrder.ON, PowerOrder.OFF, PowerOrder.RESET, PowerOrder.SOFT)
)
PXE, DISK, BIOS = BootSelector.PXE, BootSelector.DISK, BootSelector.BIOS


class Node:
    """A machine whose actions are performed on nothing but a set of living children and timers."""

    def __init__(self, *, sol: bool = True, tpm: bool = False, racadm: bool = False) -> None:
        left_out = {name for name, there in ((SOCAT, sol), (SWTPM, tpm), (RACADM, racadm)) if not there}
        children = [(name, READY_S[name]) for name in READY_S if name not in left_out]
        self.machine = NodeMachine(
            children,
            poweroff_wait_s=45.0,
            kill_wait_s=5.0,
            ending_with_host=(SWTPM,) if tpm else (),
            standing_alone=(RACADM,) if racadm else (),
        )
        self.now_s = 0.0
        self.timers: dict[str, float] = {}
        self.living: set[str] = set()
        self.seen: list[Action] = []

    def do(self, event: Event) -> list[str]:
        """Give the machine an event; what it did about it, in words."""
        if isinstance(event, Begin):
            self.living |= set(event.adopted)
        if isinstance(event, Exited):
            self.living.remove(event.name)
        actions = self.machine.step(event, self.now_s)
        self.seen += actions
        return [word for action in actions if (word := self._perform(action))]

    def fire(self, key: str) -> list[str]:
        """Let a running timer run out."""
        self.now_s = max(self.now_s, self.timers.pop(key))
        return self.do(TimerFired(key))

    @property
    def phase(self) -> str:
        return self.machine.phase.value

    def states(self) -> str:
        return " ".join(f"{child.name}={child.state.name}" for child in self.machine.children.values())

    def up(self, *, power: bool = True) -> Node:
        """Bring the node up, with its host unless there is no ``power``."""
        self.do(Begin(power))
        for child in self.machine.children.values():
            if child.state is ChildState.STARTING:
                self.do(Ready(child.name))
        assert self.machine.phase is Phase.UP
        return self

    def off(self) -> Node:
        """Bring the node up with its host off."""
        return self.up(power=False)

    def _perform(self, action: Action) -> str:
        """The action in words; empty for one without effect."""
        match action:
            case Spawn(name):
                assert name not in self.living, f"{name} spawned twice"
                self.living.add(name)
                return f"spawn {name}"
            case LetHostGo():
                return "let host go"
            case SendSignal(name, number):
                return f"{number.name} {name}"
            case StartTimer(key, delay_s):
                self.timers[key] = self.now_s + delay_s
                return f"timer {key} {delay_s:g}s"
            case StopTimer(key):
                return f"cancel {key}" if self.timers.pop(key, None) is not None else ""
            case QuitHost():
                return "quit host"
            case PressPowerButton():
                return "press power button"
            case ResetHost():
                return "reset host"
            case SetBootOrder(selector):
                return f"boot order {selector.value if selector else 'plain'}"
            case OverrideUsed():
                return "override used"
            case HostRestarted(by_guest):
                return "host restarted" + (" by guest" if by_guest else "")
            case OpenFirmwareMenu():
                return "open menu"
            case Report(event, details):
                return " ".join([f"report {event}", *(f"{key}={value}" for key, value in details.items())])
            case NodeUp():
                return "NODE UP"
            case StartFailed(name, code, timed_out):
                return f"START FAILED {name} code={code} timed_out={timed_out}"
            case Finished():
                return "FINISHED"
            case _:
                assert_never(action)


def end_all(node: Node) -> list[str]:
    """Let every child that was asked to end do so; all that happened."""
    told = []
    while node.machine.phase is not Phase.STOPPED:
        name = next(
            child.name for child in node.machine.children.values() if child.state is ChildState.STOPPING
        )
        told += node.do(Exited(name, 0))
    return told


# --- starting


def test_children_start_behind_socat_and_the_host_runs_when_all_are_ready() -> None:
    node = Node()
    assert node.do(Begin(True)) == ["spawn socat", "timer ready:socat 10s"]
    assert node.do(Ready(SOCAT)) == [
        "cancel ready:socat",
        "report ready process=socat",
        "spawn ipmi_sim",
        "timer ready:ipmi_sim 30s",
        "spawn qemu",
        "timer ready:qemu 60s",
    ]
    assert node.do(HostWaits()) == ["cancel ready:qemu"]
    assert node.do(Ready(IPMI_SIM)) == [
        "cancel ready:ipmi_sim",
        "report ready process=ipmi_sim",
        "let host go",
        "timer ready:qemu 60s",
    ]
    assert node.phase == "starting"
    assert node.do(Ready(QEMU)) == [
        "cancel ready:qemu",
        "report ready process=qemu",
        "report node-up",
        "NODE UP",
    ]
    assert node.phase == "up"
    assert node.timers == {}
    assert node.machine.power
    assert not node.machine.degraded


def test_a_host_that_is_slower_than_ipmi_sim_is_let_go_at_once() -> None:
    node = Node()
    node.do(Begin(True))
    node.do(Ready(SOCAT))
    node.do(Ready(IPMI_SIM))
    assert node.do(HostWaits()) == ["cancel ready:qemu", "let host go", "timer ready:qemu 60s"]
    assert node.do(Ready(QEMU))[-1] == "NODE UP"
    assert node.do(HostWaits()) == [], "it runs"


def test_a_waiting_host_is_held_until_a_dead_ipmi_sim_is_back() -> None:
    node = Node().off()
    die_and_come_back(node, IPMI_SIM)
    node.do(Exited(IPMI_SIM, 1))
    assert node.do(ON) == ["report power-on"], "no host behind one that is being restarted"
    assert node.fire("restart:ipmi_sim") == [
        "spawn ipmi_sim",
        "timer ready:ipmi_sim 30s",
        "spawn qemu",
        "timer ready:qemu 60s",
    ]
    node.do(HostWaits())
    node.do(Exited(IPMI_SIM, 1))
    assert node.do(Exited(QEMU, 1))[-1] == "timer restart:qemu 0.2s"
    node.fire("restart:ipmi_sim")
    node.fire("restart:qemu")
    assert "let host go" not in node.do(Ready(IPMI_SIM)), "the one that waited is gone"
    assert "let host go" in node.do(HostWaits())


def test_without_sol_there_is_no_socat() -> None:
    node = Node(sol=False)
    assert node.do(Begin(True))[::2] == ["spawn ipmi_sim", "spawn qemu"]
    node.do(HostWaits())
    assert "let host go" in node.do(Ready(IPMI_SIM))
    assert "NODE UP" in node.do(Ready(QEMU))


def test_a_begin_without_power_leaves_the_host_off() -> None:
    node = Node()
    node.do(Begin(power=False))
    node.do(Ready(SOCAT))
    assert node.do(Ready(IPMI_SIM))[-2:] == ["report node-up", "NODE UP"]
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=DOWN"
    assert not node.machine.power
    assert not node.machine.degraded


def test_adopted_children_are_not_started_again() -> None:
    node = Node()
    adopted = {SOCAT: 0, IPMI_SIM: 3, QEMU: 1}
    assert node.do(Begin(True, adopted, override=PXE)) == ["boot order pxe", "report node-up", "NODE UP"]
    assert node.machine.power
    assert [child.restarts for child in node.machine.children.values()] == [0, 3, 1]
    assert node.do(HostReset())[2] == "report boot-override-used device=pxe"


def test_adopted_children_keep_running_behind_a_new_terminal() -> None:
    node = Node()
    assert node.do(Begin(True, {IPMI_SIM: 0, QEMU: 0}))[:2] == ["boot order plain", "spawn socat"]
    assert node.do(Ready(SOCAT))[2:] == ["report node-up", "NODE UP"]


def test_an_adopted_host_has_power_until_it_is_gone() -> None:
    node = Node()
    node.do(Begin(False, {SOCAT: 0, IPMI_SIM: 0, QEMU: 0}))
    assert node.machine.power
    node.do(Exited(QEMU, 0, guest_off=True))
    assert not node.machine.power


def test_a_removed_serial_log_begins_anew_before_the_host_comes_and_is_no_death() -> None:
    node = Node().off()
    assert node.do(SerialLogLost()) == ["report serial-log-lost", "SIGTERM socat", "timer kill:socat 2s"]
    assert node.do(SerialLogLost()) == []
    assert node.do(ON) == ["report power-on"], "the host waits for its serial line"
    assert node.do(Exited(SOCAT, 0))[-2:] == ["spawn socat", "timer ready:socat 10s"]
    assert node.do(Ready(SOCAT))[2:] == ["spawn qemu", "timer ready:qemu 60s"]
    assert [child.restarts for child in node.machine.children.values()] == [0, 0, 0]
    assert not any(isinstance(action, Report) and action.event == "died" for action in node.seen)


def test_a_removed_serial_log_is_nothing_to_a_node_without_socat_or_on_its_way() -> None:
    assert Node(sol=False).off().do(SerialLogLost()) == []
    node = Node()
    node.do(Begin(True))
    assert node.do(SerialLogLost()) == []
    node.do(Ready(SOCAT))
    assert node.do(SerialLogLost()) == []


@pytest.mark.parametrize("power", [True, False])
def test_child_that_dies_during_the_start_fails_it_and_ends_everything(power: bool) -> None:
    node = Node()
    node.do(Begin(power))
    node.do(Ready(SOCAT))
    node.do(HostWaits())
    told = node.do(Exited(IPMI_SIM, 1))
    assert told[:4] == [
        "cancel ready:ipmi_sim",
        "report died process=ipmi_sim exit_code=1",
        "START FAILED ipmi_sim code=1 timed_out=False",
        "report node-stopping",
    ]
    if power:
        assert told[4:] == ["quit host", "timer term:qemu 1s"]
        told = node.do(Exited(QEMU, 0))
    assert told[-2:] == ["SIGTERM socat", "timer kill:socat 2s"]
    assert node.do(Exited(SOCAT, -15)) == [
        "cancel kill:socat",
        "report ended process=socat exit_code=-15",
        "report node-down",
        "FINISHED",
    ]
    assert node.living == set()
    assert node.timers == {}


def test_running_child_that_dies_during_the_start_fails_it_too() -> None:
    node = Node()
    node.do(Begin(True))
    node.do(Ready(SOCAT))
    assert "START FAILED socat code=0 timed_out=False" in node.do(Exited(SOCAT, 0))
    assert node.states() == "socat=DOWN ipmi_sim=STARTING qemu=STOPPING"


def test_host_that_dies_before_ipmi_sim_is_ready_fails_the_start() -> None:
    node = Node()
    node.do(Begin(True))
    node.do(Ready(SOCAT))
    assert "START FAILED qemu code=1 timed_out=False" in node.do(Exited(QEMU, 1))
    assert end_all(node)[-1] == "FINISHED"


def test_first_child_that_dies_at_once_leaves_nothing_to_end() -> None:
    node = Node()
    node.do(Begin(True))
    assert node.do(Exited(SOCAT, None))[-2:] == ["report node-down", "FINISHED"]


def test_child_that_is_not_ready_in_time_fails_the_start() -> None:
    node = Node()
    node.do(Begin(True))
    node.do(Ready(SOCAT))
    node.do(HostWaits())
    assert node.fire("ready:ipmi_sim") == [
        "report not-ready process=ipmi_sim waited_s=30.0",
        "START FAILED ipmi_sim code=None timed_out=True",
        "report node-stopping",
        "quit host",
        "timer term:qemu 1s",
    ]
    assert node.do(Exited(QEMU, 0))[2:] == ["SIGTERM ipmi_sim", "timer kill:ipmi_sim 2s"]
    assert node.do(Exited(IPMI_SIM, 0))[2:] == ["SIGTERM socat", "timer kill:socat 2s"]
    assert node.do(Exited(SOCAT, 0))[-1] == "FINISHED"


def test_guest_that_switches_off_during_the_start_is_no_failure() -> None:
    node = Node()
    node.do(Begin(True))
    node.do(Ready(SOCAT))
    node.do(Ready(IPMI_SIM))
    assert node.do(Exited(QEMU, 0, guest_off=True)) == [
        "cancel ready:qemu",
        "report guest-powered-off",
        "report node-up",
        "NODE UP",
    ]
    assert not node.machine.power


# --- restarts


def die_and_come_back(node: Node, name: str) -> str:
    """Let a child die and become ready again; what was said about its restart."""
    told = node.do(Exited(name, 1))
    restart = next(word for word in told if word.startswith(("report restart", "report gave-up")))
    if f"restart:{name}" in node.timers:
        assert node.fire(f"restart:{name}")[0] == f"spawn {name}"
        node.do(Ready(name))
    return restart


def test_back_off_doubles_and_gives_up() -> None:
    node = Node().up()
    said = [die_and_come_back(node, IPMI_SIM) for _ in range(DEATHS_ALLOWED + 1)]
    assert said == [
        *(f"report restart process=ipmi_sim delay_s={delay_s}" for delay_s in (0.2, 0.4, 0.8, 1.6, 3.2)),
        "report gave-up process=ipmi_sim deaths=6",
    ]
    assert node.states() == "socat=RUNNING ipmi_sim=FAILED qemu=RUNNING"
    assert node.machine.degraded
    assert node.machine.children[IPMI_SIM].restarts == DEATHS_ALLOWED
    assert node.timers == {}


def test_deaths_before_the_window_are_forgotten() -> None:
    node = Node().up()
    for _ in range(DEATHS_ALLOWED):
        die_and_come_back(node, IPMI_SIM)
    node.now_s += DEATHS_WINDOW_S
    assert die_and_come_back(node, IPMI_SIM) == "report restart process=ipmi_sim delay_s=0.2"


def test_deaths_within_the_window_count() -> None:
    node = Node().up()
    for _ in range(DEATHS_ALLOWED):
        die_and_come_back(node, IPMI_SIM)
    # The first death was at 0 s, the last at 3 s.
    node.now_s = DEATHS_WINDOW_S - 0.1
    assert die_and_come_back(node, IPMI_SIM) == "report gave-up process=ipmi_sim deaths=6"


def test_degraded_while_a_child_waits_for_its_restart_and_until_it_is_ready() -> None:
    node = Node().up()
    node.do(Exited(IPMI_SIM, 1))
    assert node.machine.degraded
    node.fire("restart:ipmi_sim")
    assert node.machine.degraded
    node.do(Ready(IPMI_SIM))
    assert not node.machine.degraded


def test_new_terminal_leaves_ipmi_sim_alone() -> None:
    node = Node().up()
    assert node.do(Exited(SOCAT, 1))[1:] == [
        "report restart process=socat delay_s=0.2",
        "timer restart:socat 0.2s",
    ]
    assert node.fire("restart:socat") == ["spawn socat", "timer ready:socat 10s"]
    assert node.do(Ready(SOCAT)) == ["cancel ready:socat", "report ready process=socat"]
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=RUNNING"
    assert [child.restarts for child in node.machine.children.values()] == [1, 0, 0]


def test_new_terminal_leaves_an_ipmi_sim_that_is_still_starting_alone() -> None:
    node = Node().up()
    node.do(Exited(IPMI_SIM, 1))
    node.fire("restart:ipmi_sim")
    node.do(Exited(SOCAT, 1))
    node.fire("restart:socat")
    assert node.do(Ready(SOCAT)) == ["cancel ready:socat", "report ready process=socat"]
    assert node.do(Ready(IPMI_SIM)) == ["cancel ready:ipmi_sim", "report ready process=ipmi_sim"]


def test_ipmi_sim_waits_for_a_terminal_that_is_being_restarted() -> None:
    node = Node().up()
    node.do(Exited(SOCAT, 1))
    node.do(Exited(IPMI_SIM, 1))
    node.fire("restart:socat")
    assert node.fire("restart:ipmi_sim") == []
    assert node.do(Ready(SOCAT))[2:] == ["spawn ipmi_sim", "timer ready:ipmi_sim 30s"]


def test_restarted_child_that_is_not_ready_in_time_is_killed_and_restarted() -> None:
    node = Node().up()
    node.do(Exited(IPMI_SIM, 1))
    node.fire("restart:ipmi_sim")
    assert node.fire("ready:ipmi_sim") == [
        "report not-ready process=ipmi_sim waited_s=30.0",
        "SIGKILL ipmi_sim",
    ]
    assert node.do(Exited(IPMI_SIM, -9)) == [
        "report died process=ipmi_sim exit_code=-9",
        "report restart process=ipmi_sim delay_s=0.4",
        "timer restart:ipmi_sim 0.4s",
    ]


def test_host_does_not_wait_for_a_child_that_was_given_up() -> None:
    node = Node().off()
    for _ in range(DEATHS_ALLOWED):
        die_and_come_back(node, IPMI_SIM)
    node.do(Exited(IPMI_SIM, 1))
    assert node.machine.children[IPMI_SIM].state is ChildState.FAILED
    assert node.do(ON)[1:] == ["spawn qemu", "timer ready:qemu 60s"]


def test_host_that_waits_for_a_child_runs_when_that_is_given_up() -> None:
    node = Node().off()
    for _ in range(DEATHS_ALLOWED - 1):
        die_and_come_back(node, IPMI_SIM)
    node.do(Exited(IPMI_SIM, 1))
    assert node.do(ON) == ["report power-on"]
    node.fire("restart:ipmi_sim")
    node.do(HostWaits())
    assert node.do(Exited(IPMI_SIM, 1))[1:] == [
        "report died process=ipmi_sim exit_code=1",
        "report gave-up process=ipmi_sim deaths=6",
        "let host go",
        "timer ready:qemu 60s",
    ]


def test_host_that_crashes_is_restarted_and_its_power_stays_on() -> None:
    node = Node().up()
    assert node.do(Exited(QEMU, -11)) == [
        "report died process=qemu exit_code=-11",
        "report restart process=qemu delay_s=0.2",
        "timer restart:qemu 0.2s",
    ]
    assert node.machine.power
    assert node.machine.degraded
    assert node.fire("restart:qemu") == ["spawn qemu", "timer ready:qemu 60s"]
    node.do(Ready(QEMU))
    assert not node.machine.degraded


def test_host_that_was_given_up_is_off_and_a_power_on_tries_anew() -> None:
    node = Node().up()
    for _ in range(DEATHS_ALLOWED + 1):
        die_and_come_back(node, QEMU)
    assert node.machine.host.state is ChildState.FAILED
    assert not node.machine.power
    assert node.machine.degraded
    assert node.do(ON) == ["report power-on", "spawn qemu", "timer ready:qemu 60s"]
    assert node.do(Exited(QEMU, 1))[2] == "report restart process=qemu delay_s=0.2"


def test_power_off_of_a_host_that_was_given_up_ends_the_trouble() -> None:
    node = Node().up()
    for _ in range(DEATHS_ALLOWED + 1):
        die_and_come_back(node, QEMU)
    assert node.do(OFF) == ["report power-off"]
    assert not node.machine.degraded


def test_guest_power_off_is_chassis_power_off() -> None:
    node = Node().up()
    assert node.do(Exited(QEMU, 0, guest_off=True)) == ["report guest-powered-off"]
    assert not node.machine.power
    assert not node.machine.degraded
    assert node.machine.host.restarts == 0


def test_broken_host_is_killed_and_restarted() -> None:
    node = Node().up()
    assert node.do(HostBroken("QEMU's run state is internal-error")) == [
        "report host-broken reason=QEMU's run state is internal-error",
        "SIGKILL qemu",
    ]
    assert node.do(Exited(QEMU, -9))[-1] == "timer restart:qemu 0.2s"


def test_broken_host_that_is_gone_is_left_alone() -> None:
    node = Node().up()
    node.do(Exited(QEMU, -11))
    assert node.do(HostBroken("late news")) == []


# --- chassis power


def test_power_on_starts_the_host() -> None:
    node = Node().off()
    assert node.do(ON) == ["report power-on", "spawn qemu", "timer ready:qemu 60s"]
    assert node.machine.power
    assert node.do(ON) == ["report power-on"]
    node.do(Ready(QEMU))
    assert node.do(ON) == ["report power-on"]


def test_power_on_during_back_off_does_not_hurry_it() -> None:
    node = Node().up()
    node.do(Exited(QEMU, 1))
    assert node.do(ON) == ["report power-on"]
    assert "spawn qemu" in node.fire("restart:qemu")


def test_power_off_ends_the_host_and_nothing_else() -> None:
    node = Node().up()
    assert node.do(OFF) == ["report power-off", "quit host", "timer term:qemu 1s"]
    assert node.machine.power, "power is on until the host is gone"
    assert node.do(OFF) == ["report power-off"]
    assert node.do(Exited(QEMU, 0)) == ["cancel term:qemu", "report ended process=qemu exit_code=0"]
    assert not node.machine.power
    assert not node.machine.degraded
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=DOWN"
    assert node.do(OFF) == ["report power-off"]


def test_power_off_while_the_host_starts() -> None:
    node = Node().off()
    node.do(ON)
    assert node.do(OFF) == ["report power-off", "quit host", "timer term:qemu 1s"]
    assert node.do(Ready(QEMU)) == [], "too late"
    assert "ready:qemu" in node.timers
    assert node.fire("ready:qemu") == []
    assert node.do(Exited(QEMU, 0))[-1] == "report ended process=qemu exit_code=0"
    assert node.timers == {}


def test_power_off_during_back_off() -> None:
    node = Node().up()
    node.do(Exited(QEMU, 1))
    assert node.do(OFF) == ["report power-off", "cancel restart:qemu"]
    assert not node.machine.power
    assert not node.machine.degraded


def test_power_cycle_starts_the_host_anew_once_the_old_one_is_gone() -> None:
    node = Node().up()
    node.do(OFF)
    assert node.do(ON) == ["report power-on"]
    assert node.do(Exited(QEMU, 0))[1:] == [
        "report ended process=qemu exit_code=0",
        "spawn qemu",
        "timer ready:qemu 60s",
    ]


def test_power_cycle_is_no_trouble() -> None:
    node = Node().up()
    steps: list[Callable[[], list[str]]] = [
        lambda: node.do(OFF),
        lambda: node.do(ON),
        lambda: node.do(Exited(QEMU, 0)),
        lambda: node.do(Ready(QEMU)),
    ]
    for step in steps:
        step()
        assert not node.machine.degraded, node.states()


def test_host_that_does_not_quit_gets_harder_means() -> None:
    node = Node().up()
    node.do(OFF)
    assert node.fire("term:qemu") == ["SIGTERM qemu", "timer kill:qemu 5s"]
    assert node.fire("kill:qemu") == ["SIGKILL qemu"]
    assert node.now_s == 6.0
    assert node.do(Exited(QEMU, -9)) == ["report ended process=qemu exit_code=-9"]


def test_reset_keeps_the_process() -> None:
    node = Node().up()
    assert node.do(RESET) == ["report power-reset", "reset host"]
    assert node.do(HostReset()) == ["timer firmware:qemu 3s", "host restarted"]
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=RUNNING"


def test_a_host_is_starting_from_the_order_until_it_is_ready() -> None:
    node = Node().off()
    assert not node.machine.is_starting_host
    node.do(ON)
    assert node.machine.is_starting_host
    node.do(Ready(QEMU))
    assert not node.machine.is_starting_host
    node.do(OFF)
    assert not node.machine.is_starting_host


@pytest.mark.parametrize("order", [RESET, SOFT])
def test_no_reset_or_soft_without_power(order: Power) -> None:
    node = Node().off()
    with pytest.raises(OrderRefused, match=r"^the chassis is off$"):
        node.do(order)
    node.do(ON)
    node.do(Ready(QEMU))
    node.do(OFF)
    with pytest.raises(OrderRefused, match=r"^the chassis is off$"):
        node.do(order)


def test_no_soft_without_a_running_host() -> None:
    node = Node().off()
    node.do(ON)
    with pytest.raises(OrderRefused, match=r"^the chassis is off$"):
        node.do(SOFT)
    node.do(Exited(QEMU, 1))
    with pytest.raises(OrderRefused, match=r"^the chassis is off$"):
        node.do(SOFT)
    assert node.timers.keys() == {"restart:qemu"}


def test_a_reset_of_a_host_that_has_not_begun_is_its_beginning() -> None:
    """Whoever switches on and sees that it is on may reset at once, however long QEMU takes."""
    node = Node().off()
    node.do(ON)
    assert node.do(RESET) == ["report power-reset"]
    node.do(Ready(QEMU))
    node.do(OFF)
    node.do(ON)
    assert node.do(RESET) == ["report power-reset"], "the one before is still going"
    assert "spawn qemu" in node.do(Exited(QEMU, 0))
    node.do(Exited(QEMU, 1))
    assert node.do(RESET) == ["report power-reset"]
    assert node.timers.keys() == {"restart:qemu"}


@pytest.mark.parametrize("order", [ON, OFF, RESET, SOFT])
def test_no_power_order_while_the_node_starts_or_stops(order: Power) -> None:
    node = Node()
    node.do(Begin(True))
    with pytest.raises(OrderRefused, match=r"^the node is starting$"):
        node.do(order)
    node.do(Stop())
    with pytest.raises(OrderRefused, match=r"^the node is stopping$"):
        node.do(order)
    node.do(Exited(SOCAT, 0))
    with pytest.raises(OrderRefused, match=r"^the node is stopped$"):
        node.do(order)


def test_soft_asks_the_operating_system() -> None:
    node = Node().up()
    assert node.do(SOFT) == ["report power-soft", "press power button", "timer soft:qemu 45s"]
    assert node.do(Exited(QEMU, 0, guest_off=True)) == ["cancel soft:qemu", "report guest-powered-off"]


def test_host_that_dies_while_it_was_to_go_off_stays_off() -> None:
    node = Node().up()
    node.do(SOFT)
    assert node.do(Exited(QEMU, -11)) == ["cancel soft:qemu", "report died process=qemu exit_code=-11"]
    assert not node.machine.power
    node.do(ON)
    node.do(Ready(QEMU))
    assert node.do(Exited(QEMU, -11))[-1].startswith("timer restart:qemu"), "the next death is a crash"


def test_soft_without_an_operating_system_is_power_off() -> None:
    node = Node().up()
    assert node.do(Power(PowerOrder.SOFT, os_listens=False)) == [
        "report power-soft",
        "quit host",
        "timer term:qemu 1s",
    ]


def test_soft_has_a_deadline() -> None:
    node = Node().up()
    node.do(SOFT)
    assert node.fire("soft:qemu") == [
        "report soft-power-off-timed-out waited_s=45.0",
        "quit host",
        "timer term:qemu 1s",
    ]
    assert node.now_s == 45.0


def test_power_off_does_not_wait_for_soft() -> None:
    node = Node().up()
    node.do(SOFT)
    assert node.do(OFF) == ["report power-off", "cancel soft:qemu", "quit host", "timer term:qemu 1s"]


def test_reset_takes_a_soft_power_off_back() -> None:
    node = Node().up()
    node.do(SOFT)
    assert node.do(RESET) == ["report power-reset", "cancel soft:qemu", "reset host"]


# --- boot override


SETTLES = "timer firmware:qemu 3s"


@pytest.mark.parametrize(("by_guest", "said"), [(True, "host restarted by guest"), (False, "host restarted")])
def test_a_reset_is_told_once_the_host_begins_anew(by_guest: bool, said: str) -> None:
    node = Node().up()
    assert node.do(HostReset(by_guest)) == [SETTLES, said]
    assert node.fire("firmware:qemu") == ["boot order plain"]
    assert node.do(HostReset(by_guest)) == [SETTLES, said]


def test_the_second_reset_of_the_firmware_belongs_to_the_first() -> None:
    node = Node().up()
    node.do(SetOverride(PXE))
    assert "report boot-override-used device=pxe" in node.do(HostReset())
    assert node.do(HostReset(by_guest=True)) == [SETTLES]
    assert node.fire("firmware:qemu") == ["boot order plain"]


def test_a_reset_that_is_ordered_while_the_firmware_settles_is_a_boot_of_its_own() -> None:
    node = Node().up()
    node.do(SetOverride(PXE))
    node.do(HostReset())
    assert node.do(SetOverride(DISK)) == ["report boot-override device=disk"]
    assert node.do(RESET) == ["report power-reset", "boot order disk", "reset host"]
    assert node.do(HostReset())[1:] == [
        "host restarted",
        "report boot-override-used device=disk",
        "override used",
    ]
    assert node.fire("firmware:qemu") == ["boot order plain"]


def test_override_waits_for_the_next_reset_and_is_then_gone() -> None:
    node = Node().up()
    assert node.do(SetOverride(PXE)) == ["report boot-override device=pxe", "boot order pxe"]
    assert node.machine.override is PXE
    assert node.do(RESET) == ["report power-reset", "reset host"]
    assert node.machine.override is PXE
    assert node.do(HostReset()) == [
        SETTLES,
        "host restarted",
        "report boot-override-used device=pxe",
        "override used",
    ]
    assert node.machine.override is None
    assert node.fire("firmware:qemu") == ["boot order plain"]
    assert node.do(HostReset()) == [SETTLES, "host restarted"]


def test_reset_by_the_guest_uses_the_override_too() -> None:
    node = Node().up()
    node.do(SetOverride(DISK))
    assert node.do(HostReset(by_guest=True))[1:] == [
        "host restarted by guest",
        "report boot-override-used device=disk",
        "override used",
    ]


def test_override_of_a_host_that_is_off_is_used_by_its_power_on() -> None:
    node = Node().off()
    assert node.do(SetOverride(PXE)) == ["report boot-override device=pxe"]
    node.do(ON)
    assert node.do(HostReset()) == [], "the reset that bring_up makes itself"
    assert node.do(Ready(QEMU, booted_with=PXE)) == [
        "cancel ready:qemu",
        "report ready process=qemu",
        "report boot-override-used device=pxe",
        "override used",
        "boot order plain",
    ]
    assert node.machine.override is None


def test_kept_override_is_used_by_every_boot_and_never_spent() -> None:
    node = Node().off()
    assert node.do(SetOverride(PXE, keep=True)) == ["report boot-override device=pxe"]
    node.do(ON)
    assert node.do(Ready(QEMU, booted_with=PXE))[2:] == [
        "report boot-override-used device=pxe",
        "boot order pxe",
    ]
    for by_guest in (False, True):
        assert node.do(HostReset(by_guest))[-1] == "report boot-override-used device=pxe"
        assert node.fire("firmware:qemu") == ["boot order pxe"]
    node.do(OFF)
    node.do(Exited(QEMU, 0))
    node.do(ON)
    node.do(Ready(QEMU, booted_with=PXE))
    assert node.machine.override is PXE
    assert OverrideUsed() not in node.seen


def test_kept_override_outlives_the_supervisor() -> None:
    node = Node()
    node.do(Begin(True, {SOCAT: 0, IPMI_SIM: 0, QEMU: 0}, PXE, keep=True))
    node.do(HostReset())
    assert node.machine.override is PXE
    assert OverrideUsed() not in node.seen


def test_one_shot_override_replaces_a_kept_one() -> None:
    node = Node().up()
    node.do(SetOverride(PXE, keep=True))
    node.do(SetOverride(PXE))
    assert node.do(HostReset())[-1] == "override used"
    assert node.machine.override is None


def test_override_can_be_replaced_and_taken_back_while_it_waits() -> None:
    node = Node().up()
    node.do(SetOverride(PXE))
    assert node.do(SetOverride(DISK)) == ["report boot-override device=disk", "boot order disk"]
    assert node.do(SetOverride(None)) == ["report boot-override device=none", "boot order plain"]
    assert node.do(HostReset()) == [SETTLES, "host restarted"]


def test_override_replaced_while_the_host_starts_with_the_old_one_stays() -> None:
    node = Node().off()
    node.do(SetOverride(PXE))
    node.do(ON)
    assert node.do(SetOverride(DISK)) == ["report boot-override device=disk"]
    assert node.do(Ready(QEMU, booted_with=PXE))[2:] == [
        "report boot-override-used device=pxe",
        "boot order disk",
    ]
    assert node.machine.override is DISK
    assert OverrideUsed() not in node.seen


def test_override_set_while_the_host_starts_without_one_is_given_to_it() -> None:
    node = Node().off()
    node.do(ON)
    assert node.do(SetOverride(PXE)) == ["report boot-override device=pxe"]
    assert node.do(Ready(QEMU, booted_with=None))[2:] == ["boot order pxe"]
    assert node.do(HostReset())[2] == "report boot-override-used device=pxe"


def test_override_set_while_the_firmware_settles_is_given_to_it_afterwards() -> None:
    node = Node().up()
    node.do(SetOverride(PXE))
    node.do(HostReset())
    assert node.do(SetOverride(DISK)) == ["report boot-override device=disk"]
    assert node.fire("firmware:qemu") == ["boot order disk"]
    assert node.machine.override is DISK


def test_host_that_goes_while_the_firmware_settles_comes_back_settled() -> None:
    node = Node().up()
    node.do(HostReset())
    node.do(OFF)
    assert "cancel firmware:qemu" in node.do(Exited(QEMU, 0))
    node.do(ON)
    node.do(Ready(QEMU))
    assert node.do(HostReset(by_guest=True))[1:] == ["host restarted by guest"]


def test_late_end_of_the_firmware_orders_nothing_of_a_host_that_ends() -> None:
    node = Node().up()
    node.do(HostReset())
    node.do(OFF)
    assert node.fire("firmware:qemu") == []


def test_bios_opens_the_firmware_menu() -> None:
    node = Node().up()
    node.do(SetOverride(BIOS))
    assert node.do(HostReset())[2:] == [
        "report boot-override-used device=bios",
        "override used",
        "open menu",
    ]
    node.do(SetOverride(BIOS))
    node.do(OFF)
    node.do(Exited(QEMU, 0))
    node.do(ON)
    assert node.do(Ready(QEMU, booted_with=BIOS))[-1] == "open menu"


def test_override_outlives_a_crash_and_a_guest_power_off() -> None:
    node = Node().up()
    node.do(SetOverride(PXE))
    node.do(Exited(QEMU, -11))
    node.fire("restart:qemu")
    node.do(Ready(QEMU, booted_with=PXE))
    assert node.machine.override is None
    node.do(SetOverride(PXE))
    node.do(Exited(QEMU, 0, guest_off=True))
    assert node.machine.override is PXE


# --- stopping


def test_stop_ends_the_host_first_and_socat_last() -> None:
    node = Node().up()
    assert node.do(Stop()) == ["report node-stopping", "quit host", "timer term:qemu 1s"]
    assert node.do(Stop()) == []
    assert node.do(Exited(QEMU, 0)) == [
        "cancel term:qemu",
        "report ended process=qemu exit_code=0",
        "SIGTERM ipmi_sim",
        "timer kill:ipmi_sim 2s",
    ]
    assert node.do(Exited(IPMI_SIM, 0)) == [
        "cancel kill:ipmi_sim",
        "report ended process=ipmi_sim exit_code=0",
        "SIGTERM socat",
        "timer kill:socat 2s",
    ]
    assert node.do(Exited(SOCAT, 0)) == [
        "cancel kill:socat",
        "report ended process=socat exit_code=0",
        "report node-down",
        "FINISHED",
    ]
    assert node.do(Stop()) == []
    assert not node.machine.power
    assert node.timers == {}


def test_stop_uses_harder_means_for_each_child() -> None:
    node = Node().up()
    node.do(Stop())
    assert node.fire("term:qemu") == ["SIGTERM qemu", "timer kill:qemu 5s"]
    assert node.fire("kill:qemu") == ["SIGKILL qemu"]
    node.do(Exited(QEMU, -9))
    assert node.fire("kill:ipmi_sim") == ["SIGKILL ipmi_sim"]
    node.do(Exited(IPMI_SIM, -9))
    assert node.fire("kill:socat") == ["SIGKILL socat"]
    assert node.do(Exited(SOCAT, -9))[-1] == "FINISHED"


def test_stop_before_the_begin() -> None:
    assert Node().do(Stop()) == ["report node-stopping", "report node-down", "FINISHED"]


def test_stop_while_starting_starts_nothing_more() -> None:
    node = Node()
    node.do(Begin(True))
    assert node.do(Stop()) == ["report node-stopping", "SIGTERM socat", "timer kill:socat 2s"]
    assert node.do(Ready(SOCAT)) == []
    assert node.do(Exited(SOCAT, 0))[-1] == "FINISHED"
    assert node.timers == {}


def test_stop_during_back_off() -> None:
    node = Node().up()
    node.do(Exited(IPMI_SIM, 1))
    node.do(Exited(QEMU, 1))
    assert node.do(Stop()) == [
        "cancel restart:ipmi_sim",
        "cancel restart:qemu",
        "report node-stopping",
        "SIGTERM socat",
        "timer kill:socat 2s",
    ]
    assert node.do(Exited(SOCAT, 0))[-1] == "FINISHED"


def test_stop_while_the_host_is_being_switched_off_waits_for_it() -> None:
    node = Node().up()
    node.do(OFF)
    assert node.do(Stop()) == ["report node-stopping"]
    assert node.do(Exited(QEMU, 0))[2:] == ["SIGTERM ipmi_sim", "timer kill:ipmi_sim 2s"]
    assert end_all(node)[-1] == "FINISHED"


def test_stop_while_socat_ends_on_purpose() -> None:
    node = Node().off()
    node.do(SerialLogLost())
    assert node.do(Stop()) == ["report node-stopping", "SIGTERM ipmi_sim", "timer kill:ipmi_sim 2s"]
    assert node.do(Exited(SOCAT, 0)) == ["cancel kill:socat", "report ended process=socat exit_code=0"]
    assert node.do(Exited(IPMI_SIM, 0))[-1] == "FINISHED"


def test_stop_during_soft_power_off() -> None:
    node = Node().up()
    node.do(SOFT)
    assert node.do(Stop()) == ["report node-stopping", "quit host", "timer term:qemu 1s"]
    node.do(Exited(QEMU, 0, guest_off=True))
    assert end_all(node)[-1] == "FINISHED"
    assert node.timers == {}


def test_stop_after_a_child_was_given_up() -> None:
    node = Node().up()
    for _ in range(DEATHS_ALLOWED + 1):
        die_and_come_back(node, SOCAT)
    assert node.machine.children[SOCAT].state is ChildState.FAILED
    node.do(Stop())
    assert end_all(node)[-1] == "FINISHED"


# --- late news


@pytest.mark.parametrize("name", [SOCAT, IPMI_SIM, QEMU])
@pytest.mark.parametrize("kind", ["ready", "restart", "term", "kill"])
def test_late_timer_harms_no_running_child(kind: str, name: str) -> None:
    node = Node().up()
    assert node.do(TimerFired(f"{kind}:{name}")) == []
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=RUNNING"


def test_late_ready_is_ignored() -> None:
    node = Node().up()
    assert node.do(Ready(IPMI_SIM)) == []
    node.do(Exited(IPMI_SIM, 1))
    assert node.do(Ready(IPMI_SIM)) == []
    assert node.machine.children[IPMI_SIM].state is ChildState.BACKOFF


def test_second_exit_of_one_child_is_ignored() -> None:
    node = Node().up()
    node.do(Exited(IPMI_SIM, 1))
    assert node.machine.step(Exited(IPMI_SIM, 1), 0.0) == []
    assert node.machine.children[IPMI_SIM].restarts == 1


# --- any order

selectors = st.sampled_from([None, *BootSelector])
events: st.SearchStrategy[Event | str] = st.one_of(
    st.builds(Power, st.sampled_from(PowerOrder), st.booleans()),
    st.builds(SetOverride, selectors, st.booleans()),
    st.builds(HostReset, st.booleans()),
    st.just(SerialLogLost()),
    st.builds(HostBroken, st.just("reason")),
    st.just(Stop()),
    # these are turned into what can happen at that moment
    st.sampled_from(["timer", "host waits", "ready", "exit", "crash", "guest off"]),
)


def possible(node: Node, wish: Event | str, choice: int) -> Event | None:
    """An event that a real supervisor could feed now; None if that cannot happen."""
    living = sorted(node.living)
    match wish:
        case "timer":
            due = sorted(node.timers, key=lambda key: node.timers[key])
            if not due:
                return None
            node.now_s = max(node.now_s, node.timers.pop(due[0]))
            return TimerFired(due[0])
        case "ready":
            return Ready(living[choice % len(living)], node.machine.override) if living else None
        case "host waits":
            return HostWaits() if QEMU in node.living else None
        case "exit" | "crash":
            name = living[choice % len(living)] if living else None
            return Exited(name, 0 if wish == "exit" else -11) if name else None
        case "guest off":
            return Exited(QEMU, 0, guest_off=True) if QEMU in node.living else None
        case str():
            raise AssertionError(wish)
        case _:
            return wish


@settings(max_examples=250)
@given(
    sol=st.booleans(),
    power=st.booleans(),
    adopted=st.sets(st.sampled_from([IPMI_SIM, QEMU])),
    override=selectors,
    keep=st.booleans(),
    story=st.lists(st.tuples(events, st.integers(0, 5)), max_size=60),
)
def test_any_order_of_events(
    sol: bool,
    power: bool,
    adopted: set[str],
    override: BootSelector | None,
    keep: bool,
    story: list[tuple[Event | str, int]],
) -> None:
    node = Node(sol=sol)
    node.do(Begin(power, dict.fromkeys(adopted, 0), override, keep))
    for wish, choice in story:
        event = possible(node, wish, choice)
        if event is None:
            continue
        try:
            node.do(event)  # asserts that nothing is spawned twice
        except OrderRefused:
            assert isinstance(event, Power)
        check(node)
    node.do(Stop())
    # Timers run out and children end, each as late as it can: only when it was killed.
    for _ in range(20):
        check(node)
        ending = [
            child.name for child in node.machine.children.values() if child.state is ChildState.STOPPING
        ]
        if not ending:
            break
        while node.timers:
            node.fire(min(node.timers, key=lambda key: node.timers[key]))
        assert SendSignal(ending[0], signal.SIGKILL) in node.seen
        node.do(Exited(ending[0], -9))
    assert node.machine.phase is Phase.STOPPED
    assert node.living == set()
    assert node.timers == {}
    assert sum(isinstance(action, Finished) for action in node.seen) == 1
    assert sum(isinstance(action, NodeUp | StartFailed) for action in node.seen) <= 1


def check(node: Node) -> None:
    """What holds at any time: the machine's idea of who lives is right, and every wait has an end."""
    machine = node.machine
    alive = {ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING}
    assert {child.name for child in machine.children.values() if child.state in alive} == node.living
    for child in machine.children.values():
        if child.state is ChildState.BACKOFF:
            assert f"restart:{child.name}" in node.timers
    finished = sum(isinstance(action, Finished) for action in node.seen)
    assert finished == (machine.phase is Phase.STOPPED)


# --- a child that ends with the host


def test_a_tpm_is_ready_before_the_host_begins() -> None:
    node = Node(tpm=True)
    node.do(Begin(True))
    assert node.do(Ready(SOCAT))[2:] == ["spawn swtpm", "timer ready:swtpm 10s"]
    assert node.do(Ready(SWTPM))[2::2] == ["spawn ipmi_sim", "spawn qemu"]


def test_a_tpm_that_ends_with_its_host_waits_for_the_next_one_without_counting_as_dead() -> None:
    node = Node(tpm=True).up()
    for _ in range(2 * DEATHS_ALLOWED):
        node.do(OFF)
        assert node.do(Exited(SWTPM, 0)) == [
            "report ended process=swtpm exit_code=0",
            "spawn swtpm",
            "timer ready:swtpm 10s",
        ]
        assert not node.machine.degraded
        node.do(Exited(QEMU, 0))
        assert node.do(ON) == ["report power-on"], "it waits for its TPM"
        assert "spawn qemu" in node.do(Ready(SWTPM))
        node.do(HostWaits())
        node.do(Ready(QEMU))
    assert node.states() == "socat=RUNNING swtpm=RUNNING ipmi_sim=RUNNING qemu=RUNNING"
    assert node.machine.children[SWTPM].restarts == 0


def test_a_tpm_that_outlives_its_host_is_ended_before_the_next_one_finds_it() -> None:
    node = Node(tpm=True).up()
    for _ in range(2 * DEATHS_ALLOWED):
        node.do(OFF)
        assert node.do(Exited(QEMU, 0))[-3:-1] == ["SIGTERM swtpm", "timer kill:swtpm 2s"]
        assert not node.machine.degraded
        assert node.do(ON) == ["report power-on"], "it waits for its TPM"
        assert node.do(Exited(SWTPM, -15)) == [
            "cancel kill:swtpm",
            "report ended process=swtpm exit_code=-15",
            "spawn swtpm",
            "timer ready:swtpm 10s",
        ]
        assert "spawn qemu" in node.do(Ready(SWTPM))
        node.do(HostWaits())
        node.do(Ready(QEMU))
    assert node.machine.children[SWTPM].restarts == 0


def test_a_tpm_that_is_there_for_the_next_host_stays() -> None:
    node = Node(tpm=True).up()
    node.do(OFF)
    node.do(Exited(SWTPM, 0))
    node.do(Ready(SWTPM))
    assert node.do(Exited(QEMU, 0))[-1] == "report ended process=qemu exit_code=0"
    assert "spawn qemu" in node.do(ON)


def test_a_host_that_dies_takes_its_tpm_with_it() -> None:
    node = Node(tpm=True)
    node.do(Begin(True, {SOCAT: 0, SWTPM: 0, IPMI_SIM: 0, QEMU: 0}))
    assert "SIGTERM swtpm" in node.do(Exited(QEMU, -9))
    assert node.do(TimerFired("restart:qemu")) == []
    node.do(Exited(SWTPM, 0))
    assert "spawn qemu" in node.do(Ready(SWTPM))


def test_a_tpm_that_crashes_is_a_death() -> None:
    node = Node(tpm=True).up()
    assert node.do(Exited(SWTPM, -11))[-1] == "timer restart:swtpm 0.2s"
    assert node.machine.degraded


def test_a_tpm_that_ends_before_it_is_ready_fails_the_start() -> None:
    node = Node(tpm=True)
    node.do(Begin(True))
    node.do(Ready(SOCAT))
    assert "START FAILED swtpm code=0 timed_out=False" in node.do(Exited(SWTPM, 0))


def test_an_adopted_tpm_that_ends_is_started_again() -> None:
    node = Node(tpm=True)
    node.do(Begin(True, {SOCAT: 0, SWTPM: 0, IPMI_SIM: 0, QEMU: 0}))
    node.do(OFF)
    assert "spawn swtpm" in node.do(Exited(SWTPM, None))


def test_a_stop_ends_a_tpm_behind_its_host() -> None:
    node = Node(tpm=True).up()
    node.do(Stop())
    assert node.do(Exited(SWTPM, 0)) == ["report ended process=swtpm exit_code=0"]
    assert node.do(Exited(QEMU, 0))[2:] == ["SIGTERM ipmi_sim", "timer kill:ipmi_sim 2s"]
    assert node.do(Exited(IPMI_SIM, 0))[2:] == ["SIGTERM socat", "timer kill:socat 2s"]


# --- a child that stands alone


def test_who_stands_alone_begins_at_once_and_keeps_nobody_waiting() -> None:
    node = Node(racadm=True)
    assert node.do(Begin(True))[::2] == ["spawn socat", "spawn racadm"]
    assert node.do(Ready(SOCAT))[2::2] == ["spawn ipmi_sim", "spawn qemu"]
    node.do(HostWaits())
    assert "let host go" in node.do(Ready(IPMI_SIM))
    node.do(Ready(QEMU))
    assert node.phase == "starting", "the start is complete when it is there too"
    assert node.do(Ready(RACADM))[-1] == "NODE UP"


def test_who_stands_alone_does_not_follow_the_power_of_the_host() -> None:
    node = Node(racadm=True).off()
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=DOWN racadm=RUNNING"
    node.do(ON)
    node.do(HostWaits())
    node.do(Ready(QEMU))
    node.do(OFF)
    node.do(Exited(QEMU, 0))
    assert node.states() == "socat=RUNNING ipmi_sim=RUNNING qemu=DOWN racadm=RUNNING"


def test_who_stands_alone_and_dies_is_started_again_and_given_up_in_the_end() -> None:
    node = Node(racadm=True).up()
    for _ in range(DEATHS_ALLOWED):
        assert "report died process=racadm exit_code=1" in node.do(Exited(RACADM, 1))
        assert node.machine.degraded
        assert node.fire("restart:racadm")[0] == "spawn racadm"
        node.do(Ready(RACADM))
    assert not node.machine.degraded
    assert "report gave-up process=racadm deaths=6" in node.do(Exited(RACADM, 1))
    assert node.machine.degraded
    assert node.machine.host.state is ChildState.RUNNING


def test_who_stands_alone_and_cannot_begin_fails_the_start() -> None:
    node = Node(racadm=True)
    node.do(Begin(False))
    assert "START FAILED racadm code=4 timed_out=False" in node.do(Exited(RACADM, 4))


def test_who_stands_alone_ends_first() -> None:
    node = Node(racadm=True).up()
    assert node.do(Stop())[-2:] == ["SIGTERM racadm", "timer kill:racadm 2s"]
    assert "quit host" in node.do(Exited(RACADM, 0))
