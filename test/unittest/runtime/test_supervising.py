"""What a supervisor's process has for the life of its node, whichever way that goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_kernel import FakeKernel

from infrasim.errors import HostError, ProgramError
from infrasim.host.files import hold_lock
from infrasim.host.pci import VFIO
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.runtime import passthrough, supervising

MakePlan = Callable[[Home, str, str], NodePlan]
CARD = "0000:03:00.0"
FILE = f"compute: {{pcie-passthrough: [{{host: '{CARD}'}}]}}"


@pytest.mark.parametrize("end", [0, 5, HostError("no port"), ProgramError("QEMU died"), ZeroDivisionError()])
def test_devices_are_the_node_s_until_it_ends_however_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_plan: MakePlan, end: int | Exception
) -> None:
    home = Home(tmp_path / "h", tmp_path / "l")
    paths, plan = home.node("n"), make_plan(home, "n", FILE)
    kernel = FakeKernel(tmp_path / "kernel")
    kernel.add(CARD, driver="igb", group=1)
    seen: list[str | None] = []

    async def run(*_: object) -> int:
        seen.append(kernel.drivers[CARD])
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(passthrough, "Pci", lambda: kernel.pci)
    monkeypatch.setattr(supervising, "require_plan", lambda path: plan)
    monkeypatch.setattr(supervising, "_run", run)
    monkeypatch.setattr(supervising, "adopt_orphans", lambda: None)
    monkeypatch.setattr(supervising, "raise_descriptor_limit", lambda: None)
    paths.workspace.mkdir(parents=True)
    lock = hold_lock(paths.supervisor_lock)
    assert lock is not None

    def supervise() -> int:
        return supervising._supervise_under(paths, lock, notify=None, begun=None)

    if isinstance(end, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            supervise()
    else:
        assert supervise() == (int(end.exit_code) if isinstance(end, (HostError, ProgramError)) else end)
    assert seen == [VFIO]
    assert (kernel.drivers[CARD], kernel.overrides) == ("igb", {})
    assert not paths.taken_devices.exists()
    assert not paths.supervisor_lock.exists()


def test_a_node_whose_devices_cannot_be_had_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_plan: MakePlan, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "h", tmp_path / "l")
    paths, plan = home.node("n"), make_plan(home, "n", FILE)
    kernel = FakeKernel(tmp_path / "kernel")
    kernel.add(CARD, driver="igb", group=1)
    kernel.refusing.add(VFIO)
    monkeypatch.setattr(passthrough, "Pci", lambda: kernel.pci)
    monkeypatch.setattr(supervising, "require_plan", lambda path: plan)
    monkeypatch.setattr(supervising, "_run", lambda *_: pytest.fail("begun"))
    monkeypatch.setattr(supervising, "adopt_orphans", lambda: None)
    monkeypatch.setattr(supervising, "raise_descriptor_limit", lambda: None)
    paths.workspace.mkdir(parents=True)
    lock = hold_lock(paths.supervisor_lock)
    assert lock is not None
    assert supervising._supervise_under(paths, lock, notify=None, begun=None) == 4
    assert f"the PCI device {CARD} was not taken by vfio-pci" in capsys.readouterr().err
    assert kernel.drivers == {CARD: "igb"}


@pytest.mark.parametrize(
    ("end", "tries_left", "again"),
    [
        (HostError("BMC address 127.0.0.1: Address already in use"), 3, True),
        (HostError("BMC address 127.0.0.1: Address already in use"), 0, False),
        (HostError("no port"), 3, False),
        (ProgramError("Address already in use"), 3, False),
    ],
)
def test_a_run_in_the_foreground_that_lost_an_address_is_planned_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_plan: MakePlan,
    end: HostError | ProgramError,
    tries_left: int,
    again: bool,
) -> None:
    home = Home(tmp_path / "h", tmp_path / "l")
    paths, plan = home.node("n"), make_plan(home, "n", "{}")
    called: list[object] = []

    async def run(*_: object) -> int:
        raise end

    def call_again(*given: object) -> int:
        assert not paths.supervisor_lock.exists()
        called.append(given)
        return 0

    monkeypatch.setattr(supervising, "require_plan", lambda path: plan)
    monkeypatch.setattr(supervising, "_run", run)
    monkeypatch.setattr(supervising, "call_again", call_again)
    monkeypatch.setattr(supervising, "adopt_orphans", lambda: None)
    monkeypatch.setattr(supervising, "raise_descriptor_limit", lambda: None)
    paths.workspace.mkdir(parents=True)
    words = ["n", str(paths.workspace), str(paths.log_dir), "foreground", str(tries_left), "-m", "infrasim"]
    code = supervising.main(words)
    assert called == ([(tries_left, ["-m", "infrasim"])] if again else [])
    assert again or code == int(end.exit_code)
