"""Devices that a node has, on a kernel in a folder: every way a start and a stop can go."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_kernel import FakeKernel, Killed

from infrasim.errors import HostError, InfrasimError, InvalidNodeFile
from infrasim.host.pci import VFIO, Had, Pci
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan
from infrasim.runtime import passthrough
from infrasim.runtime.passthrough import check_devices, devices_of, give_back, read_record, require_rights
from infrasim.runtime.status import node_status

MakePlan = Callable[[Home, str, str], NodePlan]
FIRST, SECOND, THIRD, NVME, OWN = (
    *("0000:03:00.0", "0000:03:00.1", "0000:03:00.2"),
    *("0000:04:00.0", "0000:05:00.0"),
)
BRIDGE = "0000:00:01.0"
GROUP = (FIRST, SECOND, THIRD)
TAKEN = dict.fromkeys((*GROUP, NVME), VFIO)
FILE = """
compute:
  pcie-passthrough:
    - {host: "03:00.0"}
    - {host: "0000:04:00.0"}
    - {host: "0000:05:00.0"}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "logs")


@pytest.fixture
def paths(home: Home) -> NodePaths:
    return home.node("n")


@pytest.fixture
def plan(make_plan: MakePlan, home: Home) -> NodePlan:
    return make_plan(home, "n", FILE)


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    """A card with three functions, one without a driver, behind a bridge; an NVMe drive; one that is free."""
    made = FakeKernel(tmp_path / "kernel")
    made.add(BRIDGE, driver="pcieport", group=7, kind=0x060400, header=1)
    made.add(FIRST, driver="e1000e", group=7)
    made.add(SECOND, driver="e1000e", group=7, override="e1000e")
    made.add(THIRD, group=7)
    made.add(NVME, driver="nvme", group=8, kind=0x010802, usual="other")
    made.add(OWN, driver=VFIO, group=9, override=VFIO)
    return made


def having(kernel: FakeKernel) -> tuple[dict[str, str | None], dict[str, str]]:
    return kernel.drivers, kernel.overrides


def fails_at(
    number: int, *, still: bool = False, error: BaseException | None = None
) -> Callable[[int], None]:
    """What happens at that write, and at those behind it too if it goes on."""

    def happen(now: int) -> None:
        if now == number or (still and now > number):
            raise error or OSError(errno.EIO, "Input/output error")

    return happen


def writes_of(plan: NodePlan, paths: NodePaths, kernel: FakeKernel) -> int:
    """How many writes a start makes; the whole ends as it began."""
    before = having(kernel)
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        count = len(kernel.written)
    assert having(kernel) == before
    kernel.written.clear()
    return count


# --- in good order


def test_a_group_is_taken_but_for_its_bridge_and_given_back(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    before = having(kernel)
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        assert kernel.drivers == {BRIDGE: "pcieport", OWN: VFIO, **TAKEN}
        assert read_record(paths) == (
            Had(FIRST, "e1000e", None),
            Had(SECOND, "e1000e", "e1000e"),
            Had(THIRD, None, None),
            Had(NVME, "nvme", None),
        )
    assert having(kernel) == before
    assert not paths.taken_devices.exists()


def test_what_had_the_driver_already_is_not_touched(
    make_plan: MakePlan, home: Home, paths: NodePaths, kernel: FakeKernel
) -> None:
    plan = make_plan(home, "n", f"compute: {{pcie-passthrough: [{{host: '{OWN}'}}]}}")
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        assert (kernel.written, read_record(paths)) == ([], ())
    assert kernel.written == []
    assert not paths.taken_devices.exists()


def test_everything_is_on_record_before_anything_is_changed(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    seen: list[int] = []
    kernel.before = lambda number: seen.append(len(read_record(paths)))
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        assert set(seen) == {4}


def test_a_record_that_cannot_be_written_changes_nothing(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    paths.workspace.parent.mkdir(parents=True)
    paths.workspace.touch()
    with pytest.raises(HostError), devices_of(plan, paths, are_there=False, pci=kernel.pci):
        raise AssertionError
    assert kernel.written == []


# --- a start that fails


def test_a_start_that_fails_anywhere_takes_nothing(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    before = having(kernel)
    count = writes_of(plan, paths, kernel)
    assert count == 11
    for number in range(count):
        kernel.written.clear()
        kernel.before = fails_at(number)
        with pytest.raises(HostError, match="Input/output"), contextlib.ExitStack() as stack:
            stack.enter_context(devices_of(plan, paths, are_there=False, pci=kernel.pci))
        assert having(kernel) == before, number
        assert not paths.taken_devices.exists()


def test_what_cannot_be_undone_stays_on_record_for_the_next_stop(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    before = having(kernel)
    count = writes_of(plan, paths, kernel)
    for number in range(1, count):
        kernel.written.clear()
        kernel.before = fails_at(number, still=True)
        with pytest.raises(HostError, match="; and then: "), contextlib.ExitStack() as stack:
            stack.enter_context(devices_of(plan, paths, are_there=False, pci=kernel.pci))
        assert read_record(paths), number
        kernel.before = fails_at(-1)
        assert give_back(paths, kernel.pci) is True
        assert having(kernel) == before, number
    assert give_back(paths, kernel.pci) is False


def test_a_driver_that_cannot_be_loaded_changes_nothing(
    plan: NodePlan, paths: NodePaths, tmp_path: Path
) -> None:
    kernel = FakeKernel(tmp_path / "another")
    for address, group in ((FIRST, 7), (NVME, 8), (OWN, 9)):
        kernel.add(address, driver="e1000e", group=group)
    kernel.modules.clear()
    with pytest.raises(InfrasimError, match="not found"), contextlib.ExitStack() as stack:
        stack.enter_context(devices_of(plan, paths, are_there=False, pci=kernel.pci))
    assert kernel.written == []
    assert not paths.taken_devices.exists()


def test_a_node_that_does_not_come_up_gives_back(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    before = having(kernel)
    with pytest.raises(ZeroDivisionError), devices_of(plan, paths, are_there=False, pci=kernel.pci):
        raise ZeroDivisionError
    assert having(kernel) == before


# --- a supervisor that is killed


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("cleans_up", [True, False])
def test_a_start_that_is_killed_anywhere_loses_nothing(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel, moment: str, cleans_up: bool
) -> None:
    before = having(kernel)
    count = writes_of(plan, paths, kernel)
    for number in range(count):
        kernel.written.clear()
        setattr(kernel, moment, fails_at(number, error=Killed()))
        with pytest.raises(Killed), contextlib.ExitStack() as stack:
            stack.enter_context(devices_of(plan, paths, are_there=False, pci=kernel.pci))
        setattr(kernel, moment, fails_at(-1))
        if cleans_up:
            assert give_back(paths, kernel.pci) is True
            assert having(kernel) == before, number
        with devices_of(plan, paths, are_there=False, pci=kernel.pci):
            assert kernel.drivers == {BRIDGE: "pcieport", OWN: VFIO, **TAKEN}, number
            assert {had.address: had.driver for had in read_record(paths)} == {
                **dict.fromkeys((FIRST, SECOND), "e1000e"),
                THIRD: None,
                NVME: "nvme",
            }
        assert having(kernel) == before, number


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_stop_that_is_killed_anywhere_is_ended_by_the_next(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel, moment: str
) -> None:
    before = having(kernel)
    first = writes_of(plan, paths, kernel)
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        pass
    count = len(kernel.written)
    assert count > first
    for number in range(first, count):
        kernel.written.clear()
        setattr(kernel, moment, fails_at(number, error=Killed()))
        with pytest.raises(Killed), devices_of(plan, paths, are_there=False, pci=kernel.pci):
            pass
        setattr(kernel, moment, fails_at(-1))
        assert give_back(paths, kernel.pci) is True
        assert having(kernel) == before, number
        assert not paths.taken_devices.exists()


def test_a_supervisor_that_takes_over_changes_nothing_until_the_end(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    before = having(kernel)
    with pytest.raises(Killed), devices_of(plan, paths, are_there=False, pci=kernel.pci):
        kernel.before = fails_at(0, still=True, error=Killed())
        raise Killed
    kernel.before = fails_at(-1)
    kernel.written.clear()
    with pytest.raises(Killed), devices_of(plan, paths, are_there=True, pci=kernel.pci):
        assert kernel.written == []
        raise Killed
    assert kernel.drivers == {BRIDGE: "pcieport", OWN: VFIO, **TAKEN}
    with devices_of(plan, paths, are_there=True, pci=kernel.pci):
        assert kernel.written == []
    assert having(kernel) == before


def test_a_record_of_an_earlier_boot_means_nothing(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed), devices_of(plan, paths, are_there=True, pci=kernel.pci):
        passthrough.take(kernel.pci.group(8), paths, kernel.pci)
        raise Killed
    monkeypatch.setattr(passthrough, "boot_id", lambda: "another")
    kernel.written.clear()
    assert read_record(paths) == ()
    assert give_back(paths, kernel.pci) is False
    assert kernel.written == []
    assert not paths.taken_devices.exists()


def test_a_device_that_somebody_moved_meanwhile_has_what_it_has_now(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    passthrough.take(kernel.pci.group(8), paths, kernel.pci)
    kernel.add_driver("other")
    kernel.write(kernel.root / f"sys/bus/pci/drivers/{VFIO}/unbind", NVME)
    kernel.write(kernel.root / f"sys/bus/pci/devices/{NVME}/driver_override", "\n")
    kernel.write(kernel.root / "sys/bus/pci/drivers_probe", NVME)
    assert kernel.drivers[NVME] == "other"
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        assert kernel.drivers[NVME] == VFIO
    assert kernel.drivers[NVME] == "other"


def test_the_status_tells_of_devices_that_a_killed_node_has_still(
    plan: NodePlan, paths: NodePaths, home: Home, kernel: FakeKernel
) -> None:
    passthrough.take(kernel.pci.group(8), paths, kernel.pci)
    kernel.written.clear()
    assert f"it still has PCI devices of this machine: {NVME}" in "\n".join(node_status(home, "n").errors)
    assert kernel.written == []
    give_back(paths, kernel.pci)
    assert node_status(home, "n").errors == ()


# --- somebody else has it


@contextlib.contextmanager
def claimed(kernel: FakeKernel, address: str) -> Iterator[None]:
    descriptor = kernel.pci.claim(address)
    assert descriptor is not None
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_group_is_of_one_node_alone(plan: NodePlan, paths: NodePaths, kernel: FakeKernel) -> None:
    with (
        claimed(kernel, SECOND),
        pytest.raises(HostError, match=rf"{SECOND} of IOMMU group 7 is in use by another process"),
        devices_of(plan, paths, are_there=False, pci=kernel.pci),
    ):
        raise AssertionError
    assert kernel.written == []
    with devices_of(plan, paths, are_there=False, pci=kernel.pci):
        assert [kernel.pci.claim(each) for each in (*GROUP, NVME, OWN)] == [None] * 5


def test_what_another_has_is_not_given_back_under_it(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel
) -> None:
    before = having(kernel)
    passthrough.take(kernel.pci.group(8), paths, kernel.pci)
    with claimed(kernel, NVME), pytest.raises(HostError, match="in use by another process"):
        give_back(paths, kernel.pci)
    assert (kernel.drivers[NVME], len(read_record(paths))) == (VFIO, 1)
    assert give_back(paths, kernel.pci) is True
    assert having(kernel) == before


def test_a_group_that_another_program_opened_is_let_be(
    plan: NodePlan, paths: NodePaths, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pci, "user_of", lambda pci, group: 0 if group == 8 else None)
    with (
        pytest.raises(HostError, match=rf"{NVME} \(IOMMU group 8\) is in use by another process"),
        devices_of(plan, paths, are_there=False, pci=kernel.pci),
    ):
        raise AssertionError
    assert kernel.written == []


# --- what is said before a start


def said(make_plan: MakePlan, home: Home, kernel: FakeKernel, *hosts: str) -> list[str]:
    """What the check says of devices; it changes nothing."""
    listed = ", ".join(f"{{host: '{host}'}}" for host in hosts)
    plan = make_plan(home, "n", f"compute: {{pcie-passthrough: [{listed}]}}")
    try:
        check_devices(plan, kernel.pci)
    except InvalidNodeFile as exc:
        return [str(each) for each in exc.problems]
    finally:
        assert kernel.written == []
    return []


def test_devices_that_can_be_had_are_not_refused(make_plan: MakePlan, home: Home, kernel: FakeKernel) -> None:
    assert said(make_plan, home, kernel, FIRST, SECOND, NVME, OWN) == []


def test_every_device_that_cannot_be_had_is_told(make_plan: MakePlan, home: Home, kernel: FakeKernel) -> None:
    kernel.add("0000:06:00.0", driver="ahci")
    found = said(make_plan, home, kernel, "0000:03:00.7", BRIDGE, "0000:06:00.0", NVME)
    assert [each.partition(" (")[0].removeprefix(": compute.pcie-passthrough") for each in found] == [
        "[0].host: this machine has no PCI device 0000:03:00.7",
        f"[1].host: {BRIDGE} is a bridge to another bus, which stays with this machine",
        "[2].host: 0000:06:00.0 is in no IOMMU group, so it cannot be passed through",
    ]
    assert "nearest: 0000:03:00.2" in found[0]


def test_a_machine_without_iommu_or_driver_is_told(make_plan: MakePlan, home: Home, tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path / "another")
    kernel.add(FIRST, driver="e1000e")
    (found,) = said(make_plan, home, kernel, FIRST)
    assert "this machine has no IOMMU in use" in found and "intel_iommu=on" in found
    kernel.add(NVME, driver="nvme", group=3)
    kernel.modules.clear()
    (found,) = said(make_plan, home, kernel, NVME)
    assert "this machine's Linux has no driver vfio-pci" in found


def test_what_this_machine_needs_stays_even_if_it_only_goes_along(
    make_plan: MakePlan, home: Home, kernel: FakeKernel
) -> None:
    kernel.add_card("eth0", kernel.root / "sys/devices/pci0000:00" / SECOND)
    (kernel.root / "proc/net/route").write_text("head\neth0 00000000 1 3 0 0 0 00000000 0 0 0\n")
    kernel.add_disk("nvme0n1", "259:0", kernel.root / "sys/devices/pci0000:00" / NVME)
    kernel.mount("259:0", "/dev/nvme0n1", "/")
    found = said(make_plan, home, kernel, FIRST, NVME)
    assert [each.removeprefix(": compute.pcie-passthrough").partition(" (a start")[0] for each in found] == [
        f"[0].host: {SECOND}, which goes along as IOMMU group 7 has both, is in use: this machine's default "
        "route leads by it (eth0)",
        f"[1].host: {NVME} is in use: / is mounted from it",
    ]


def test_a_bridge_that_this_machine_uses_keeps_its_group(
    make_plan: MakePlan, home: Home, kernel: FakeKernel
) -> None:
    kernel.add("0000:00:1f.0", driver="lpc_ich", group=8, kind=0x060100)
    (found,) = said(make_plan, home, kernel, NVME)
    assert "0000:00:1f.0, which goes along as IOMMU group 8 has both, is a bridge of this machine" in found
    kernel.write(kernel.root / "sys/bus/pci/drivers/lpc_ich/unbind", "0000:00:1f.0")
    kernel.written.clear()
    assert said(make_plan, home, kernel, NVME) == []


def test_rights_are_asked_of_the_kernel_s_file(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    require_rights(kernel.pci)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(HostError, match="only root"):
        require_rights(kernel.pci)
