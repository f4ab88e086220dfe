"""A plan as JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infrasim.errors import HostError
from infrasim.host.facts import Accelerator, Socket
from infrasim.plan.model import (
    PLAN_FORMAT,
    BmcPlan,
    DiskSpec,
    FileSpec,
    HostPlan,
    InputSpec,
    Kept,
    NodePlan,
    PortSpec,
    ProcessSpec,
    ReadyCheck,
    read_kept,
    read_plan,
    require_plan,
)
from infrasim.qemu.boot import BootClass, BootDevice

PLAN = NodePlan(
    name="node-0",
    server_type="quanta_d51",
    product="Quanta D51",
    uuid="3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21",
    serial_number="IS1",
    workspace=Path("/home/lab/.infrasim/node-0"),
    log_dir=Path("/var/log/infrasim/node-0"),
    bmc=BmcPlan("127.0.0.1", 623, ("127.0.0.1", "::1"), "127.64.1.1", 9002),
    vnc_address="127.0.0.1",
    vnc_display=1,
    serial_over_lan=True,
    host=HostPlan(Accelerator.TCG, "no KVM", 60.0, 5.0, (BootDevice("nic0", BootClass.NETWORK, 1),), 2),
    processes=(
        ProcessSpec("ipmi_sim", ("/usr/bin/ipmi_sim", "-n"), Path("/l"), ReadyCheck.VM_CHANNEL, "a 1", 30.0),
    ),
    ports=(PortSpec("BMC", "udp", "127.0.0.1", 623),),
    disks=(DiskSpec(Path("/d.qcow2"), "qcow2", 8, True, "compute.storage_backend[0].drives[0].file"),),
    inputs=(InputSpec(Path("/boot/vmlinuz"), "compute.kernel"),),
    files=(FileSpec(Path("/vbmc.conf"), b'password "secret"', 0o600),),
)


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_plan_survives_json_but_for_its_files(tmp_path: Path) -> None:
    path = written(tmp_path / "plan.json", PLAN.as_json())
    assert read_plan(path) == dataclasses.replace(PLAN, files=())
    assert require_plan(path) == read_plan(path)


def test_json_says_what_a_file_is_and_not_what_it_holds() -> None:
    data = PLAN.as_json()
    assert data["format"] == PLAN_FORMAT
    assert data["files"] == [
        {
            "path": "/vbmc.conf",
            "mode": "0600",
            "size_bytes": 17,
            "sha256": "9fde9dc85f7642b98015de5c3bc362af5c14c5df0345dbc84eef7d8590be3853",
        }
    ]
    assert "secret" not in json.dumps(data)
    assert "secret" not in repr(PLAN)


def test_ports_and_processes_by_name() -> None:
    assert PLAN.vnc_port == 5901
    assert PLAN.process("ipmi_sim") is PLAN.processes[0]


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data = PLAN.as_json()
    change(data)
    return data


DAMAGED: dict[str, object] = {
    "a list": [],
    "a number": 5,
    "null": None,
    "no plan": {},
    "of another format": broken(lambda data: data.update(format=PLAN_FORMAT + 1)),
    "a key is missing": broken(lambda data: data.pop("bmc")),
    "a key below is missing": broken(lambda data: data["bmc"].pop("port")),
    "a number for an object": broken(lambda data: data.update(bmc=5)),
    "a number for a list": broken(lambda data: data.update(processes=5)),
    "a text for a number": broken(lambda data: data.update(vnc_display="1")),
    "a number for a text": broken(lambda data: data.update(name=1)),
    "a text for true": broken(lambda data: data.update(serial_over_lan="yes")),
    "a text for a number of seconds": broken(lambda data: data["host"].update(kill_wait_s="5")),
    "null for a text": broken(lambda data: data.update(uuid=None)),
    "an unknown accelerator": broken(lambda data: data["host"].update(accelerator="xen")),
    "a number for a path": broken(lambda data: data.update(workspace=5)),
}


@pytest.mark.parametrize("value", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_plan_is_none(tmp_path: Path, value: object) -> None:
    path = written(tmp_path / "plan.json", value)
    assert read_plan(path) is None
    with pytest.raises(HostError) as caught:
        require_plan(path)
    assert caught.value.message == f"{path} is missing or damaged"
    assert caught.value.hint == "run: infrasim node start"


def test_missing_plan_and_plan_that_is_a_folder(tmp_path: Path) -> None:
    assert read_plan(tmp_path / "none.json") is None
    assert read_plan(tmp_path) is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2000), flip=st.binary(max_size=3))
def test_plan_cut_anywhere_never_raises(tmp_path: Path, cut: int, flip: bytes) -> None:
    path = tmp_path / "plan.json"
    whole = json.dumps(PLAN.as_json()).encode()
    path.write_bytes(whole[:cut] + flip)
    # What stands at the end has defaults, for the plans of an infrasim that did not have it.
    assert read_plan(path) is None or cut >= whole.index(b', "links": ')


def test_what_was_given_is_read_from_a_plan_of_any_format(tmp_path: Path) -> None:
    path = written(tmp_path / "plan.json", PLAN.as_json())
    assert read_kept(path) == PLAN.kept
    older = {**PLAN.as_json(), "format": 1, "host": "as it was once", "processes": None}
    assert read_plan(written(path, older)) is None
    assert read_kept(path) == PLAN.kept
    assert PLAN.kept.sockets == {
        Socket("127.0.0.1", 623),
        Socket("::1", 623),
        Socket("127.64.1.1", 9002),
    }


def test_the_channel_had_another_name_once(tmp_path: Path) -> None:
    older = PLAN.as_json()
    older["bmc"]["kcs_port"] = older["bmc"].pop("channel_port")
    assert read_kept(written(tmp_path / "plan.json", older)) == PLAN.kept


@pytest.mark.parametrize("value", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_damaged_is_not_known(tmp_path: Path, value: object) -> None:
    kept = read_kept(written(tmp_path / "plan.json", value))
    assert kept is not None
    assert kept.address in (None, "127.0.0.1")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"bmc": {"address": "127.0.0.1; rm", "port": True, "listen": "127.0.0.1"}}, Kept()),
        ({"bmc": {"address": "", "listen": ["", 5, "::1"]}, "vnc_display": "7"}, Kept(listen=("::1",))),
        ({"bmc": [], "disks": [5, {}, {"path": 1}, {"path": "/d"}]}, Kept(disks=(Path("/d"),))),
        ({"vnc_display": 7}, Kept(vnc_display=7)),
    ],
)
def test_only_what_may_be_right_is_kept(tmp_path: Path, data: object, expected: Kept) -> None:
    assert read_kept(written(tmp_path / "plan.json", data)) == expected
    assert expected.sockets == frozenset()


def test_nothing_was_given_without_a_plan(tmp_path: Path) -> None:
    assert read_kept(tmp_path / "none.json") is None
    (tmp_path / "plan.json").write_text("{")
    assert read_kept(tmp_path / "plan.json") is None
