"""What ``infrasim node`` prints, of nodes that are nothing but files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from infrasim.cli.main import run
from infrasim.cli.node import _with_extras
from infrasim.errors import MissingProgramsError
from infrasim.host import probe
from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.host.process import Identity, identify
from infrasim.packages import catalogue
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.runtime.state import NodeState, ProcessState, write_state

MakePlan = Callable[[Home, str, str], NodePlan]
Said = pytest.CaptureFixture[str]

# The keys that issue 2 promises to other programs, and those that came since.
STATUS_KEYS = {
    "name",
    "type",
    "state",
    "bmc",
    "vnc",
    "racadm",
    "host",
    "processes",
    "workspace",
    "log_dir",
    "errors",
}
HOST_KEYS = {"power", "accelerator", "accelerator_note", "boot_override", "identify"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("INFRASIM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("INFRASIM_LOG_DIR", str(tmp_path / "logs"))
    found = Home.from_environment()
    found.node_map.mkdir(parents=True)
    return found


def register(home: Home, name: str, text: str = "{}") -> None:
    home.map_file(name).write_text(text)


def me() -> Identity:
    found = identify(os.getpid())
    assert found is not None
    return found


@pytest.fixture
def started(home: Home, make_plan: MakePlan) -> Callable[..., NodePlan]:
    """A function that makes the files of a node whose every process is this one."""

    def start(name: str, *, degraded: bool = False, errors: tuple[str, ...] = ()) -> NodePlan:
        register(home, name)
        paths = home.node(name)
        paths.run.mkdir(parents=True)
        plan = make_plan(home, name, "{}")
        paths.plan.write_text(json.dumps(plan.as_json()))
        children = tuple(
            ProcessState(spec.name, me(), "running", int(spec.name == "ipmi_sim")) for spec in plan.processes
        )
        state = NodeState(me(), "up", True, "pxe", True, degraded, children, errors)
        write_state(paths.state, state)
        return plan

    return start


# --- status


def test_status_json_has_exactly_the_promised_keys(
    home: Home, started: Callable[..., NodePlan], capsys: Said
) -> None:
    started("default")
    assert run(["node", "status", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data.keys() == STATUS_KEYS
    assert data["host"].keys() == HOST_KEYS
    assert data["bmc"].keys() == data["vnc"].keys() == {"address", "port"}
    assert all(process.keys() == {"name", "pid", "state", "restarts"} for process in data["processes"])
    assert (data["name"], data["state"], data["host"]["power"]) == ("default", "running", "on")


def test_status_json_of_a_node_that_does_not_exist_has_them_too(home: Home, capsys: Said) -> None:
    assert run(["node", "status", "none", "--json"]) == 3
    data = json.loads(capsys.readouterr().out)
    assert data.keys() == STATUS_KEYS
    assert data["host"].keys() == HOST_KEYS
    assert (data["state"], data["processes"], data["errors"]) == ("absent", [], [])


def test_status_for_people(home: Home, started: Callable[..., NodePlan], capsys: Said) -> None:
    started("a")
    assert run(["node", "status", "a"]) == 0
    pid = os.getpid()
    assert capsys.readouterr().out == (
        "Node a is running.\n"
        "  chassis    on, next boot from pxe, identify lamp on\n"
        "  runs on    TCG (/dev/kvm does not exist)\n"
        "  BMC        127.0.0.1 port 623\n"
        "  screen     VNC 127.0.0.1 port 5901\n"
        f"  supervisor running   pid {pid}\n"
        f"  socat      running   pid {pid}\n"
        f"  ipmi_sim   running   pid {pid}, 1 restarts\n"
        f"  qemu       running   pid {pid}\n"
        f"  workspace  {home.node('a').workspace}\n"
        f"  logs       {home.node('a').log_dir}\n"
    )


def test_exit_codes_of_status(home: Home, started: Callable[..., NodePlan], capsys: Said) -> None:
    started("good")
    started("bad", degraded=True, errors=("ipmi_sim died",))
    register(home, "off")
    codes = {name: run(["node", "status", name]) for name in ("good", "bad", "off", "none")}
    assert codes == {"good": 0, "bad": 1, "off": 3, "none": 3}
    out = capsys.readouterr().out
    for line in (
        "Node good is running.",
        "Node bad is degraded.",
        "  problem    ipmi_sim died",
        "Node off is stopped.",
        "Node none is absent.",
    ):
        assert line in out.splitlines()


def test_status_with_a_name_that_cannot_be_one(home: Home, capsys: Said) -> None:
    assert run(["node", "status", "../x"]) == 2
    assert capsys.readouterr().err.startswith("infrasim: node name '../x' cannot be used\nhint: ")


# --- list


def test_list(home: Home, started: Callable[..., NodePlan], capsys: Said) -> None:
    started("default")
    register(home, "off")
    assert run(["node", "list"]) == 0
    assert capsys.readouterr().out == (
        "NODE     TYPE        STATE    POWER  BMC            VNC\n"
        "default  quanta_d51  running  on     127.0.0.1:623  127.0.0.1:5901\n"
        "off      -           stopped  off    -              -\n"
    )
    assert run(["node", "list", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [node["name"] for node in data] == ["default", "off"]
    assert all(node.keys() == STATUS_KEYS for node in data)


def test_list_of_nothing(home: Home, capsys: Said) -> None:
    assert run(["node", "list"]) == 0
    assert capsys.readouterr().out == "There is no node yet. Run: infrasim init\n"
    assert run(["node", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_list_of_a_home_that_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setenv("INFRASIM_HOME", str(tmp_path / "none"))
    assert run(["node", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not (tmp_path / "none").exists()


# --- plan and info


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has everything but KVM."""
    kvm = KvmVerdict(False, "/dev/kvm does not exist")
    facts = HostFacts("/usr/bin/qemu-system-x86_64", (7, 2), "/usr/bin/ipmi_sim", "/usr/bin/socat", kvm)
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: facts)


def test_plan_for_people(home: Home, machine: None, capsys: Said) -> None:
    register(home, "a", "compute: {storage_backend: [{drives: [{}, {file: /srv/my disk.img, format: raw}]}]}")
    assert run(["node", "plan", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    paths = home.node("a")
    assert lines[2] == "  accelerator tcg: /dev/kvm does not exist"
    assert f"  qcow2 8 GiB  {paths.disks}/disk-sata-0-0.qcow2" in lines
    assert "  raw   8 GiB  /srv/my disk.img  (yours)" in lines
    assert "  udp 127.0.0.1 623  BMC" in lines
    assert f"  socat -> {paths.log('socat')}" in lines
    assert any(line.startswith("    /usr/bin/qemu-system-x86_64 -name a-node ") for line in lines)
    assert any(line.startswith("  0600") and line.endswith(str(paths.vbmc_conf)) for line in lines)
    assert not [line for line in lines if line.startswith("Devices")]
    register(home, "b", "compute: {pcie-passthrough: [{host: '3:0.0'}]}")
    assert run(["node", "plan", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("Devices of this machine, with what shares their IOMMU groups")
    assert lines[at + 1 : at + 3] == ["  0000:03:00.0", ""]
    assert not paths.workspace.exists()


def test_plan_json(home: Home, machine: None, capsys: Said) -> None:
    register(home, "a", "bmc: {password: s3cr3t}")
    assert run(["node", "plan", "a", "--json"]) == 0
    out = capsys.readouterr().out
    data = json.loads(out)
    assert [process["name"] for process in data["processes"]] == ["socat", "ipmi_sim", "qemu"]
    assert "s3cr3t" not in out


def test_plan_of_a_wrong_file(home: Home, machine: None, capsys: Said) -> None:
    register(home, "a", "bmc:\n  passwd: x\n")
    assert run(["node", "plan", "a"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{home.map_file('a')}:2:3: bmc.passwd: ")
    assert run(["node", "plan", "a", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["problems"][0]["path"] == "bmc.passwd"


def test_info(home: Home, machine: None, capsys: Said) -> None:
    register(home, "a", "serial_number: SN-1\nbmc: {address: 127.0.0.1, ipmi_over_lan_port: 9623}\n")
    assert run(["node", "info", "a"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "Quanta Computer Inc D51B-2U (dual 10G LoM)"
    assert "  node           a, stopped, power off\n" in out
    assert "  serial number  SN-1\n" in out
    assert "  sata0 (ich9-ahci)  0     disk  8 GiB " in out
    assert "  IPMI           ipmitool -I lanplus -H 127.0.0.1 -p 9623 -U USER -P PASSWORD …\n" in out
    assert run(["node", "info", "a", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data.keys() == STATUS_KEYS | {"product", "serial_number", "uuid", "disks", "hardware"}
    assert data["serial_number"] == data["hardware"]["serial_number"] == "SN-1"


@pytest.mark.parametrize("verb", ["info", "plan", "stop", "destroy", "logs", "console"])
def test_verbs_on_an_unknown_node(home: Home, capsys: Said, verb: str) -> None:
    register(home, "default")
    assert run(["node", verb, "default2"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"infrasim: there is no node 'default2' in {home.root}\nhint: did you mean 'default'?\n"


# --- what only some nodes need


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A machine without a TPM's emulator until it is installed; each list that was asked for."""
    asked: list[tuple[str, ...]] = []
    programs = catalogue.PROGRAMS

    def missing(wanted: Iterable[str] = programs) -> tuple[str, ...]:
        return () if asked else tuple(name for name in wanted if name not in programs)

    def install_missing(home: Home, *, install: bool, extras: Iterable[str]) -> tuple[str, ...]:
        asked.append(tuple(extras))
        return asked[-1]

    monkeypatch.setattr(catalogue, "missing_programs", missing)
    monkeypatch.setattr("infrasim.cli.init.install_missing", install_missing)
    return asked


def test_what_a_node_needs_of_its_own_is_installed_and_then_it_is_done(
    home: Home, installed: list[tuple[str, ...]]
) -> None:
    def verb() -> object:
        if not installed:
            raise MissingProgramsError(["swtpm", "/f.fd"])
        return "started"

    with pytest.raises(MissingProgramsError, match=r"swtpm, /f.fd are not installed"):
        _with_extras(home, verb, install=False)  # type: ignore[arg-type]
    assert installed == []
    assert _with_extras(home, verb, install=True) == "started"  # type: ignore[arg-type]
    assert installed == [("swtpm", "/f.fd")]


def test_a_plan_of_a_node_that_needs_more_says_so(
    home: Home, installed: list[tuple[str, ...]], machine: None, capsys: Said
) -> None:
    register(home, "a", "compute: {tpm: 2.0}")
    assert run(["node", "plan", "a"]) == 4
    assert capsys.readouterr().err == (
        "infrasim: swtpm is not installed, which this node needs\n"
        "hint: as root, infrasim node start installs that, or infrasim init --all\n"
    )


# --- stop, destroy, logs


def test_stop_and_destroy_of_what_does_not_run(home: Home, capsys: Said) -> None:
    register(home, "default")
    assert run(["node", "stop"]) == 0
    assert run(["node", "destroy"]) == 0
    assert capsys.readouterr().out == "Node default was not running.\nNode default had no workspace.\n"
    assert run(["node", "stop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "default", "stopped": False}
    assert run(["node", "destroy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "default", "destroyed": False}


def test_console_of_what_does_not_run(home: Home, capsys: Said) -> None:
    register(home, "a")
    assert run(["node", "console", "a"]) == 3
    assert capsys.readouterr().err == "infrasim: node a is stopped\nhint: run: infrasim node start a\n"


def test_logs(home: Home, capsys: Said) -> None:
    paths = home.node("a")
    paths.log_dir.mkdir(parents=True)
    paths.log("qemu").write_text("one\ntwo\n")
    assert run(["node", "logs", "a", "qemu", "-n", "1"]) == 0
    assert capsys.readouterr().out == "two\n"
    assert run(["node", "logs", "a", "kernel"]) == 2
    assert capsys.readouterr().err.startswith("infrasim: there is no log 'kernel'\n")
