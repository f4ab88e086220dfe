"""state.json there and back, and whatever else may lie in its place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infrasim.host.process import Identity
from infrasim.runtime.state import NodeState, ProcessState, read_state, write_state

STATE = NodeState(
    supervisor=Identity(10, 100, "boot"),
    phase="up",
    power=True,
    boot_override="pxe",
    identify=False,
    degraded=True,
    processes=(
        ProcessState("socat", Identity(11, 101, "boot"), "running", 0),
        ProcessState("ipmi_sim", None, "waiting to restart", 2),
    ),
    errors=("2026-01-01T00:00:00 died: process=ipmi_sim",),
)


def test_state_survives(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, STATE)
    assert read_state(path) == STATE
    assert path.stat().st_mode & 0o777 == 0o600
    assert STATE.identities() == (Identity(11, 101, "boot"),)


def test_a_state_that_is_just_being_written_over_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    monkeypatch.setattr("infrasim.runtime.state.time.sleep", lambda _: write_state(path, STATE))
    assert read_state(path) == STATE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "null",
        '"text"',
        "{}",
        "\x00",
        json.dumps({**dataclasses.asdict(STATE), "processes": None}),
        json.dumps({**dataclasses.asdict(STATE), "processes": ["socat"]}),
        json.dumps({**dataclasses.asdict(STATE), "supervisor": {"pid": 1}}),
        json.dumps({**dataclasses.asdict(STATE), "errors": None}),
        json.dumps({key: value for key, value in dataclasses.asdict(STATE).items() if key != "power"}),
    ],
)
def test_damaged_state_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    assert read_state(path) is None


def test_missing_state_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none") is None
    assert read_state(tmp_path) is None


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), tail=st.binary(max_size=4))
def test_state_cut_anywhere_never_raises(tmp_path: Path, cut: int, tail: bytes) -> None:
    path = tmp_path / "state.json"
    whole = json.dumps(dataclasses.asdict(STATE)).encode()
    path.write_bytes(whole[:cut] + tail)
    assert read_state(path) is None or cut >= len(whole)


def test_what_a_later_infrasim_adds_is_overlooked(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({**dataclasses.asdict(STATE), "unknown": 1}))
    assert read_state(path) == STATE
