"""The fast start: which command lines it takes, when it does not fit, and what its moves are."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infrasim.bmc_core.boot import BootState
from infrasim.bmc_core.chassis import ChassisState, RestorePolicy
from infrasim.bmc_core.clock import ClockState
from infrasim.bmc_core.state import BmcState
from infrasim.errors import HostError, InvalidNodeFile
from infrasim.host import bare, probe
from infrasim.host.facts import HostFacts, KvmVerdict, Socket
from infrasim.host.process import Identity
from infrasim.host.reservation import reserve
from infrasim.jsonform import as_json
from infrasim.paths import Home
from infrasim.plan.model import HostDeviceSpec, LinkKind, LinkSpec
from infrasim.runtime import book, node, opening, planning
from infrasim.runtime.state import read_state
from infrasim.runtime.workspace import write_workspace
from infrasim.spec.setting import parse_settings


def chosen_port(protocol: str, first: int, last: int) -> int:
    """A port of this machine that is free; other processes of the tests begin to look elsewhere."""
    taken = {each.port for each in probe.bound_sockets(protocol)}
    ports = range(first, last + 1)
    return next(
        port
        for port in (ports[(os.getpid() + step) % len(ports)] for step in range(len(ports)))
        if port not in taken
    )


NO_KVM = KvmVerdict(False, "/dev/kvm does not exist")
# Nodes that run beside the tests have screens too: this node is left one that is free.
SCREEN = chosen_port("tcp", 5910, 6899)
SCREENS = frozenset(Socket("0.0.0.0", port) for port in range(5900, 6900) if port != SCREEN)
FACTS = HostFacts("/q", (7,), "/i", "/s", NO_KVM, tcp_in_use=SCREENS, machine_id="m")
# Nodes that run beside the tests have 623; these are below the ports that are given out by chance.
PORT = chosen_port("udp", 20000, 31999)
CLONE = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", tmp_path / "logs")
    made.node_map.mkdir(parents=True)
    monkeypatch.setenv("INFRASIM_HOME", str(made.root))
    monkeypatch.setenv("INFRASIM_LOG_DIR", str(made.log_root))
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: FACTS)
    monkeypatch.setattr(
        "infrasim.runtime.workspace.create_disk", lambda disk: disk.path.write_bytes(b"QFI\xfb")
    )
    return made


def remember(home: Home) -> None:
    """Leave node a as a start leaves it."""
    planned = planning.plan(home, "a")
    paths = home.node("a")
    write_workspace(planned, paths)
    paths.core_state.write_text(json.dumps(as_json(BmcState())))
    (paths.bmc_state / "ipmi_sim" / "a").mkdir(parents=True)
    book.remember(home, planned, "told\n")


@pytest.fixture
def remembered(home: Home) -> Home:
    """Node a as its last start left it."""
    home.map_file("a").write_text(f"bmc: {{address: 127.9.9.9, ipmi_over_lan_port: {PORT}}}\n")
    remember(home)
    assert home.node("a").opening.exists()
    return home


def fits(home: Home) -> bool:
    """Whether node a would be started by its opening."""
    record = marshal.loads(home.node("a").opening.read_bytes())
    try:
        opening._compare(record)
    except (opening._Deviation, OSError):
        return False
    return bool(record["who"] == opening.who_asks())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("node start", "default"),
        ("node start a", "a"),
        ("node start a-1_B --no-install", "a-1_B"),
        ("node start --no-install", "default"),
        ("node start a b", None),
        ("node start --json", None),
        ("node start -h", None),
        ("node start ../a", None),
        ("node start -a", None),
        ("node stop a", None),
        ("node", None),
        ("", None),
    ],
)
def test_only_plain_starts_are_taken(words: str, name: str | None) -> None:
    assert opening.node_of(words.split()) == name


def test_a_node_nobody_touched_fits(remembered: Home) -> None:
    assert fits(remembered)


def test_another_build_of_the_nodes_own_qemu_is_noticed(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        probe, "with_qemu", lambda facts, cache, program: dataclasses.replace(facts, qemu_program=program)
    )
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\n")
    qemu.chmod(0o755)
    bmc = f"bmc: {{address: 127.9.9.9, ipmi_over_lan_port: {PORT}}}\n"
    home.map_file("a").write_text(f"compute: {{qemu_bin: {qemu}}}\n{bmc}")
    remember(home)
    assert fits(home)
    assert planning.last_plan(home, "a") is not None
    qemu.write_text("#!/bin/sh\n# another\n")
    assert not fits(home)
    assert planning.last_plan(home, "a") is None


def test_a_qemu_that_is_not_there(home: Home) -> None:
    home.map_file("a").write_text("compute:\n  qemu_bin: /nowhere/qemu\n")
    with pytest.raises(InvalidNodeFile) as caught:
        planning.plan(home, "a")
    (problem,) = caught.value.problems
    assert (problem.line, problem.path, problem.message) == (
        2,
        "compute.qemu_bin",
        "there is no program /nowhere/qemu",
    )


def _other_node(home: Home) -> None:
    (home.root / "b").mkdir()
    (home.root / "b" / "plan.json").write_text("{}")


@pytest.mark.parametrize(
    "change",
    [
        lambda home: home.map_file("a").write_text("bmc: {address: 127.9.9.8}\n"),
        lambda home: home.map_file("a").unlink(),
        lambda home: home.node("a").vbmc_conf.write_text("mine"),
        lambda home: home.node("a").bmc_settings.chmod(0o400),
        lambda home: home.node("a").log_owner.write_text("another"),
        lambda home: next(home.node("a").smbios_dir.iterdir()).unlink(),
        lambda home: (home.node("a").smbios_dir / "999.bin").write_bytes(b""),
        lambda home: home.node("a").plan.write_text("{}"),
        lambda home: home.node("a").state.write_text("{}"),
        lambda home: next(home.node("a").disks.iterdir()).unlink(),
        lambda home: next(home.node("a").disks.iterdir()).write_bytes(b"raw"),
        lambda home: home.node("a").run.rmdir(),
        lambda home: home.node("a").qmp_socket.write_text(""),
        lambda home: home.node("a").pty.symlink_to("/dev/null"),
        lambda home: (home.node("a").log_dir / "qemu.log").write_bytes(bytes(5 << 20)),
        _other_node,
    ],
)
def test_what_changed_is_noticed(remembered: Home, change: Callable[[Home], object]) -> None:
    change(remembered)
    assert not fits(remembered)


def test_another_environment_is_noticed(remembered: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/elsewhere")
    assert not fits(remembered)


@pytest.mark.allow("socket")
@pytest.mark.parametrize(
    ("kind", "address", "port"),
    [
        (socket.SOCK_DGRAM, "127.9.9.9", PORT),
        (socket.SOCK_DGRAM, "0.0.0.0", PORT),
        (socket.SOCK_STREAM, None, 9002),
    ],
)
def test_a_taken_address_is_noticed(remembered: Home, kind: int, address: str | None, port: int) -> None:
    decided = planning.plan(remembered, "a").plan
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((address or decided.bmc.private_address, port))
        assert fits(remembered) or kind == socket.SOCK_DGRAM
        if kind == socket.SOCK_STREAM:
            taken.listen()
        assert not fits(remembered)


@pytest.mark.allow("socket")
def test_a_port_that_another_node_has_is_noticed(remembered: Home) -> None:
    decided = planning.plan(remembered, "a").plan
    with contextlib.ExitStack() as had:
        for port, fit in ((decided.vnc_port * 10, True), (decided.vnc_port, False)):
            mark = reserve("tcp", Socket(decided.vnc_address, port))
            assert mark is not None
            had.enter_context(mark)
            assert fits(remembered) is fit


def test_without_an_opening_nothing_is_touched(remembered: Home) -> None:
    remembered.node("a").opening.unlink()
    assert opening.start(["node", "start", "a"]) is None
    remembered.node("a").opening.write_bytes(b"damaged")
    assert opening.start(["node", "start", "a"]) is None
    assert not remembered.node("a").verb_lock.exists()


def test_a_held_lock_leaves_it_to_the_ordinary_start(remembered: Home) -> None:
    lock = str(remembered.node("a").verb_lock)
    held = bare.hold_lock(lock)
    assert held is not None
    assert opening.start(["node", "start", "a"]) is None
    bare.release_lock(lock, held)


def test_a_node_that_needs_more_is_not_remembered(home: Home) -> None:
    home.map_file("a").write_text(f"bmc: {{address: 127.9.9.9, ipmi_over_lan_port: {PORT}}}\n")
    planned = planning.plan(home, "a")
    write_workspace(planned, home.node("a"))
    book.remember(home, dataclasses.replace(planned, made_from="something else"), "")
    assert not home.node("a").opening.exists()
    link = LinkSpec(LinkKind.TAP, "t0", "compute.networks[0].network_name")
    host = dataclasses.replace(planned.plan.host, unplugged=("nic0",))
    devices = (HostDeviceSpec("0000:03:00.0", "compute.pcie-passthrough[0].host"),)
    more: tuple[dict[str, Any], ...] = (
        *({"links": (link,)}, {"namespace": "rack7"}, {"host": host}),
        {"passthrough": devices},
    )
    for change in more:
        decided = dataclasses.replace(planned.plan, **change)
        book.remember(home, dataclasses.replace(planned, plan=decided), "")
        assert not home.node("a").opening.exists(), change
    book.remember(home, dataclasses.replace(planned, names_interface=True), "")
    assert not home.node("a").opening.exists()


def test_a_plan_is_made_anew_only_if_an_interface_is_named(remembered: Home) -> None:
    file = remembered.map_file("a")
    file.write_text(f"{file.read_text()}# interface: eth0\n")
    write_workspace(planning.plan(remembered, "a"), remembered.node("a"))
    assert planning.last_plan(remembered, "a") is not None
    write_workspace(
        dataclasses.replace(planning.plan(remembered, "a"), names_interface=True), remembered.node("a")
    )
    assert planning.last_plan(remembered, "a") is None


def test_the_commented_file_that_init_writes_is_remembered(home: Home) -> None:
    home.map_file("a").write_text(
        f"bmc: {{address: 127.9.9.9, ipmi_over_lan_port: {PORT}}}\n# interface: e\n"
    )
    planned = planning.plan(home, "a")
    write_workspace(planned, home.node("a"))
    book.remember(home, planned, "")
    assert home.node("a").opening.exists()


def test_the_moves_are_the_machines(remembered: Home) -> None:
    record = marshal.loads(remembered.node("a").opening.read_bytes())
    bmc = (
        ("spawn", "socat"),
        ("await", "socat"),
        ("report", "ready", (("process", "socat"),)),
        ("spawn", "ipmi_sim"),
    )
    ready = (("await", "ipmi_sim"), ("report", "ready", (("process", "ipmi_sim"),)))
    host = (("await", "qemu"), ("report", "ready", (("process", "qemu"),)))
    up = (("report", "node-up", ()),)
    assert record["moves"] == {
        True: (*bmc, ("spawn", "qemu"), *ready, *host, *up),
        False: (*bmc, *ready, *up),
    }


def _bmc(home: Home, state: BmcState) -> opening._Bmc:
    paths = home.node("a")
    paths.core_state.write_text(json.dumps(as_json(state)))
    return opening._Bmc(marshal.loads(paths.opening.read_bytes()))


@pytest.mark.parametrize(
    ("policy", "was_on", "power"),
    [
        (None, False, True),
        (RestorePolicy.ALWAYS_OFF, True, False),
        (RestorePolicy.ALWAYS_ON, False, True),
        (RestorePolicy.PREVIOUS, True, True),
        (RestorePolicy.PREVIOUS, False, False),
    ],
)
def test_power_and_clock_are_as_the_bmc_kept_them(
    remembered: Home, policy: RestorePolicy | None, was_on: bool, power: bool
) -> None:
    chassis = ChassisState(restore_policy=policy, was_on=was_on)
    bmc = _bmc(remembered, BmcState(chassis=chassis, clock=ClockState(offset_s=-2.5)))
    assert (bmc.power, bmc.clock_offset_s) == (power, -2.5)


def test_a_pending_boot_override_takes_the_ordinary_way(remembered: Home) -> None:
    with pytest.raises(opening._Deviation):
        _bmc(remembered, BmcState(boot=BootState(flags=bytes([0x80, 0x04, 0, 0, 0]))))
    _bmc(remembered, BmcState(boot=BootState(flags=bytes([0x00, 0x04, 0, 0, 0]))))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"boot": 1}', "{} {}"])
def test_a_damaged_state_of_the_bmc_takes_the_ordinary_way(remembered: Home, text: str) -> None:
    remembered.node("a").core_state.write_text(text)
    assert opening.start(["node", "start", "a"]) is None


def test_state_and_events_read_as_the_supervisors(remembered: Home) -> None:
    record = marshal.loads(remembered.node("a").opening.read_bytes())
    game = opening._Game(record, _bmc(remembered, BmcState()))
    game._running["socat"] = (4711, 12)
    game._states["socat"] = "running"
    game._show("up")
    state = read_state(remembered.node("a").state)
    assert state is not None
    assert (state.phase, state.power, state.degraded, state.supervisor.pid) == (
        "up",
        True,
        False,
        os.getpid(),
    )
    assert state.processes[0].identity == Identity(4711, 12, record["who"][-1])
    assert state.processes[1].identity is None
    game._report("started", (("process", "socat"), ("pid", 1)))
    said = json.loads(game._events[0])
    assert (said["event"], said["process"], said["pid"]) == ("started", "socat", 1)


def test_a_failure_with_a_taken_address_is_tried_in_full(
    remembered: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.dumps({"ok": False, **HostError("no").as_json()}).encode()
    monkeypatch.setattr(node, "port_holder", lambda plan: None)
    error = book.failure(["node", "start", "a"], said)
    assert isinstance(error, HostError)
    monkeypatch.setattr(node, "port_holder", lambda plan: (plan.ports[0], "somebody"))
    assert book.failure(["node", "start", "a"], said) is None
    silent = book.failure(["node", "start", "a"], b"")
    assert silent is not None
    assert "without a word" in silent.message


@pytest.mark.allow("process")
def test_it_imports_only_what_is_built_in() -> None:
    code = (
        "import sys; before = set(sys.modules); "
        "import infrasim.runtime.opening, infrasim.bmc_core.vm_frame; "
        "print(*sorted(set(sys.modules) - before))"
    )
    env = {**os.environ, "PYTHONPATH": str(CLONE)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    others = {name for name in ran.stdout.split() if not name.startswith("infrasim")}
    assert others <= {"__future__", "_socket", "fcntl", "marshal", "select"}


def test_the_ordinary_launch_says_the_same_of_success() -> None:
    assert json.loads(opening.STARTED) == {"ok": True}


def remember_including(home: Home) -> Path:
    """Node a, which includes a file; its last start is remembered."""
    included = home.included("a") / "bmc.yml"
    included.parent.mkdir()
    included.write_text(f"{{address: 127.9.9.9, ipmi_over_lan_port: {PORT}}}\n")
    home.map_file("a").write_text("bmc: !include a.include/bmc.yml\n")
    remember(home)
    return included


def test_an_included_file_that_changed_is_noticed(home: Home) -> None:
    included = remember_including(home)
    assert fits(home)
    assert planning.last_plan(home, "a") is not None
    included.write_text(f"{{address: 127.9.9.8, ipmi_over_lan_port: {PORT}}}\n")
    assert not fits(home)
    assert planning.last_plan(home, "a") is None
    assert planning.plan(home, "a").plan.bmc.address == "127.9.9.8"
    included.unlink()
    assert planning.last_plan(home, "a") is None


def test_an_included_file_that_changes_meanwhile_is_not_remembered(home: Home) -> None:
    included = remember_including(home)
    planned = planning.plan(home, "a")
    included.write_text(f"{{address: 127.9.9.8, ipmi_over_lan_port: {PORT}}}\n")
    book.remember(home, planned, "told\n")
    assert not home.node("a").opening.exists()


def test_a_start_with_settings_is_not_remembered(remembered: Home) -> None:
    settings = parse_settings(["compute.memory.size=2048", "bmc.password=s3cret"])
    planned = planning.plan(remembered, "a", settings)
    paths = remembered.node("a")
    assert "2048" in planned.plan.process("qemu").argv
    write_workspace(planned, paths)
    assert not fits(remembered), "the files of another plan lie there"
    book.remember(remembered, planned, "told\n")
    assert not paths.opening.exists()
    assert planning.last_plan(remembered, "a") is None, "a start without settings is another one"
    assert planning.last_plan(remembered, "a", settings) is not None
    assert paths.node_file.read_text().splitlines()[:2] == [
        '# --set "compute.memory.size=2048"',
        '# --set "bmc.password=s3cret"',
    ]
    kept = paths.plan.read_text()
    assert json.loads(kept)["set"] == ["compute.memory.size", "bmc.password"]
    assert "s3cret" not in kept
