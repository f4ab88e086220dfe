"""The BMC's state on disk: what is written, when, and what is made of a file that is damaged."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from bmc_bench import SETTINGS
from vm_peer import until

from infrasim.bmc_core.state import BmcState
from infrasim.errors import HostError
from infrasim.jsonform import as_json
from infrasim.runtime.bmc import store
from infrasim.runtime.bmc.store import StateStore, read_settings, read_state


def test_what_is_written_is_read_back_by_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    state = BmcState()
    state.users.users[1].name = b"admin"
    state.boot.mailbox[3] = bytes(range(16))
    StateStore(path, state).write()
    assert read_state(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_there_is_a_new_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "core.json") == BmcState()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"users": 5}', '{"boot": {"flags": "xx"}}', "\xff"])
def test_a_damaged_state_is_an_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "core.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(HostError) as caught:
        read_state(path)
    assert caught.value.message.startswith(f"{path} is damaged: ")
    assert caught.value.hint == "remove it: the BMC then begins with the users and settings of the node file"


def test_a_state_of_an_older_or_newer_infrasim_is_taken_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    path.write_text(json.dumps({"chassis": {"was_on": True, "colour": "blue"}, "later": 1}))
    assert read_state(path).chassis.was_on


def test_settings_are_read_and_missing_ones_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bmc.json"
    path.write_text(json.dumps(as_json(SETTINGS)))
    assert read_settings(path) == SETTINGS
    for text in ("{}", "x"):
        path.write_text(text)
        with pytest.raises(HostError, match="is missing or damaged"):
            read_settings(path)
    path.unlink()
    with pytest.raises(HostError, match="is missing or damaged") as caught:
        read_settings(path)
    assert caught.value.hint == "run: infrasim node start"


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything that was written; the disk is full while it holds b"full"."""
    written: list[bytes] = []

    def write(path: Path, text: bytes) -> None:
        if b"full" in written:
            raise HostError("No space left on device")
        written.append(text)

    monkeypatch.setattr(store, "write_atomic", write)
    monkeypatch.setattr(store, "_RETRY_S", 0.02)
    return written


def test_several_changes_of_one_moment_are_one_write(tmp_path: Path, writes: list[bytes]) -> None:
    async def scene() -> None:
        state = BmcState()
        kept = StateStore(tmp_path / "x", state)
        for number in range(5):
            state.chassis.cycle_interval_s = number
            kept.changed()
        assert writes == []
        await until(lambda: writes)
        kept.changed()
        await asyncio.sleep(2 * store._SETTLE_S)
        assert len(writes) == 1, "nothing was new"
        assert json.loads(writes[0])["chassis"]["cycle_interval_s"] == 4
        kept.close()
        assert len(writes) == 1

    asyncio.run(scene())


def test_what_cannot_be_written_is_tried_again(tmp_path: Path, writes: list[bytes]) -> None:
    async def scene() -> None:
        kept = StateStore(tmp_path / "x", BmcState())
        writes.append(b"full")
        kept.changed()
        await asyncio.sleep(2 * store._SETTLE_S)
        assert writes == [b"full"]
        with pytest.raises(HostError):
            kept.write()
        writes.clear()
        await until(lambda: writes)

    asyncio.run(scene())


def test_a_change_just_before_the_end_is_written(tmp_path: Path, writes: list[bytes]) -> None:
    async def scene() -> None:
        kept = StateStore(tmp_path / "x", BmcState())
        kept.changed()
        kept.close()
        assert len(writes) == 1
        await asyncio.sleep(2 * store._SETTLE_S)
        assert len(writes) == 1
        writes.append(b"full")
        kept._state.chassis.was_on = True
        kept.close()

    asyncio.run(scene())
