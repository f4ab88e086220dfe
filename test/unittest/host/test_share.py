"""A process's share of processor time, by control groups of both versions as the kernel lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrasim.host.share import ProcessorShare

PID = 77


class Machine:
    """The files of a machine's control groups below ``root``; a group is whatever folder has them."""

    def __init__(self, root: Path, *, version: int, group: str = "/work") -> None:
        self.proc = root / "proc"
        self.mount = root / "cgroup"
        self.group = self.mount / group.lstrip("/")
        (self.proc / "self").mkdir(parents=True)
        (self.proc / str(PID)).mkdir()
        self.group.mkdir(parents=True)
        mounted = {
            1: f"26 32 0:23 / {self.mount} rw,relatime shared:4 - cgroup cgroup rw,cpuacct,cpu",
            2: f"30 23 0:27 / {self.mount} rw - cgroup2 cgroup2 rw,nsdelegate",
        }
        lines = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw", mounted[version]]
        (self.proc / "self" / "mountinfo").write_text("\n".join(lines))
        named = {1: f"9:name=systemd:/\n4:cpuacct,cpu:{group}\n", 2: f"0::{group}\n"}
        (self.proc / str(PID) / "cgroup").write_text(named[version])

    def hand_on(self, folder: Path, controllers: str = "cpu memory") -> None:
        (folder / "cgroup.subtree_control").write_text(controllers)

    def share(self) -> ProcessorShare:
        return ProcessorShare("infrasim-1", proc=self.proc)

    def written(self, folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_version_1(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version=1)
    share = machine.share()
    share.limit(PID, 0.5)
    group = machine.group / "infrasim-1"
    expected = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000", "cgroup.procs": "77"}
    assert machine.written(group) == expected
    share.limit(PID, 0.001)
    assert machine.written(group)["cpu.cfs_quota_us"] == "1000", "the kernel takes no less"
    share.release()
    share.release()
    assert machine.written(machine.group) == {"cgroup.procs": "77"}, "back where it was"


def test_version_2_takes_the_nearest_group_that_hands_processor_time_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version=2, group="/system.slice/infrasim.service")
    machine.hand_on(machine.group, "memory")
    machine.hand_on(machine.mount / "system.slice")
    machine.hand_on(machine.mount)
    machine.share().limit(PID, 1.5)
    group = machine.mount / "system.slice" / "infrasim-1"
    assert machine.written(group) == {"cpu.max": "150000 100000", "cgroup.procs": "77"}


def test_a_process_that_an_earlier_keeper_left_in_the_group(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version=1, group="/work/infrasim-1")
    share = machine.share()
    share.limit(PID, 2)
    assert machine.written(machine.group)["cpu.cfs_quota_us"] == "200000"
    assert not (machine.group / "infrasim-1").exists()
    share.release()
    assert machine.written(machine.mount / "work") == {"cgroup.procs": "77"}


def test_a_container_sees_its_own_part_of_the_hierarchy(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version=1)
    info = machine.proc / "self" / "mountinfo"
    info.write_text(info.read_text().replace(" 0:23 / ", " 0:23 /docker/1 "))
    (machine.proc / str(PID) / "cgroup").write_text("4:cpu:/docker/1/work\n")
    machine.share().limit(PID, 1)
    assert (machine.group / "infrasim-1" / "cgroup.procs").read_text() == "77"


def test_where_there_are_none(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version=2)
    with pytest.raises(OSError, match="hands processor time on"):
        machine.share().limit(PID, 1)
    (machine.proc / str(PID) / "cgroup").write_text("1:name=systemd:/\n")
    with pytest.raises(OSError, match="in no control group"):
        machine.share().limit(PID, 1)
    (machine.proc / "self" / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw")
    with pytest.raises(OSError, match="no control groups"):
        machine.share().limit(PID, 1)


def test_a_group_that_cannot_be_filled_is_not_left(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version=2)
    machine.hand_on(machine.mount)
    group = machine.mount / "infrasim-1"
    (group / "cgroup.procs").mkdir(parents=True)
    share = machine.share()
    with pytest.raises(OSError):
        share.limit(PID, 1)
    share.release()
