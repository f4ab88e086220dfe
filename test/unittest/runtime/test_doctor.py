"""What ``infrasim doctor`` says of parts of a machine that is in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_kernel import FakeKernel

from infrasim.runtime import doctor
from infrasim.runtime.doctor import Verdict


def test_an_iommu_is_in_use_when_there_are_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path)
    monkeypatch.setattr(doctor, "Pci", lambda: kernel.pci)
    kernel.add("0000:03:00.0", driver="igb")
    found = doctor._iommu()
    assert (found.verdict, found.is_fatal) == (Verdict.NOTE, False)
    assert "no device can be passed through" in found.found
    kernel.add("0000:04:00.0", driver="nvme", group=1)
    assert doctor._iommu().verdict is Verdict.GOOD
