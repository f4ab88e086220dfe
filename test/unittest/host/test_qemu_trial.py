"""Whether a QEMU makes a machine: tried, and kept when it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_qemu import FakeQemu

from infrasim.errors import HostError
from infrasim.host.qemu_trial import qemu_refusal


@pytest.mark.allow("process")
def test_what_it_makes_is_made_once(tmp_path: Path) -> None:
    fake = FakeQemu(tmp_path, devices="", properties={})
    words = ("-device", "lsisas3008,id=trial")
    assert qemu_refusal(str(fake.program), tmp_path / "cache", words) == ""
    started = (tmp_path / "asked").read_text()
    assert "-machine q35" in started
    assert "-device lsisas3008,id=trial" in started
    assert qemu_refusal(str(fake.program), tmp_path / "cache", words) == ""
    assert (tmp_path / "asked").read_text() == started
    qemu_refusal(str(fake.program), tmp_path / "cache", ("-device", "pmc"))
    assert (tmp_path / "asked").read_text() != started


@pytest.mark.allow("process")
def test_what_it_refuses_is_in_its_words_and_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\necho x >>\"$0.ran\"\necho 'bad scsi device id: 63' >&2\nexit 1\n")
    program.chmod(0o755)
    for times in (1, 2):
        assert qemu_refusal(str(program), tmp_path / "cache", ("-S",)) == "bad scsi device id: 63"
        assert len((tmp_path / "qemu.ran").read_text().split()) == times


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot read"):
        qemu_refusal(str(tmp_path / "none"), tmp_path, ())
