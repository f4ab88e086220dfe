"""Which processors this machine has, from a tree like that of Linux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infrasim.host.cores import pin_process, pin_thread, usable_cores
from infrasim.host.facts import Core
from infrasim.units import WrongValue, numbers_of


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_nodes_packages_and_siblings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 3})
    write(tmp_path / "devices/system/node/node0/cpulist", "0-1")
    write(tmp_path / "devices/system/node/node1/cpulist", "2-3")
    for number, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        topology = tmp_path / f"devices/system/cpu/cpu{number}/topology"
        write(topology / "thread_siblings_list", siblings)
        write(topology / "physical_package_id", str(number // 2))
    assert usable_cores(tmp_path) == (Core(0, 0, 0, 0), Core(2, 1, 1, 2), Core(3, 1, 1, 2))


def test_a_machine_that_says_nothing_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert usable_cores(tmp_path) == (Core(0, 0, 0, 0), Core(1, 0, 0, 1))


def test_this_machine() -> None:
    assert {core.number for core in usable_cores()} == os.sched_getaffinity(0)


def test_every_thread_of_a_process_is_pinned() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    try:
        pin_process(os.getpid(), (one,))
        assert os.sched_getaffinity(0) == {one}
        pin_thread(os.getpid(), before)
        assert os.sched_getaffinity(0) == before
    finally:
        pin_process(os.getpid(), before)


def test_processors_that_are_not_there_are_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        pin_thread(os.getpid(), (4000,))


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", (0,)), ("0-3,8", (0, 1, 2, 3, 8)), ("5,1-2,2", (5, 1, 2)), ("7-7", (7,))]
)
def test_lists_of_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert numbers_of(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1 2", "3-2", "1-2-3", "999999"])
def test_what_is_no_list_of_numbers(text: str) -> None:
    with pytest.raises(WrongValue):
        numbers_of(text)
