"""What a QEMU says that it can do: how it is asked, understood and kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_qemu import FakeQemu

from infrasim.errors import HostError, ProgramError
from infrasim.host.facts import QemuDevice
from infrasim.host.qemu_abilities import ask, parse_devices, qemu_abilities

DEVICES = """\
Controller/Bridge/Hub devices:
name "pcie-root-port", bus PCI, desc "PCI Express Root Port"

Storage devices:
name "ich9-ahci", bus PCI, alias "ahci"
name "lsisas3008", bus PCI
name "nvme-subsys"
name "nvdimm", desc "DIMM, with a battery"

Network devices:
name "e1000", bus PCI, alias "e1000-82540em", desc "Intel Gigabit Ethernet"
name "usb-net", bus usb-bus

Misc devices:
name "gone", bus PCI
name "nvme-subsys"
name "mch", bus PCI, desc "Host bridge", no-user

CPU devices:
name "Haswell-x86_64-cpu"
"""
PROPERTIES = {
    "lsisas3008": ["addr", "sas_address"],
    "e1000": ["netdev", "mac"],
    "max-x86_64-cpu": ["vmx", "sse4.1"],
}
MACHINE = ("graphics", "sata", "vmport", "usb")


@pytest.fixture
def fake(tmp_path: Path) -> FakeQemu:
    """A QEMU with a controller that none of a distribution has."""
    return FakeQemu(tmp_path, devices=DEVICES, properties=PROPERTIES)


def test_devices_are_read_from_the_list_that_people_get() -> None:
    devices, aliases = parse_devices(DEVICES)
    assert devices["ich9-ahci"] == QemuDevice("ich9-ahci", "PCI", "Storage")
    assert devices["pcie-root-port"].category == "Controller/Bridge/Hub"
    assert devices["nvme-subsys"] == QemuDevice("nvme-subsys", "", "Storage")
    assert devices["nvdimm"].bus == ""
    assert "mch" not in devices
    assert aliases == {"ahci": "ich9-ahci", "e1000-82540em": "e1000"}


@pytest.mark.allow("process")
def test_a_qemu_is_asked_what_it_can_do(fake: FakeQemu) -> None:
    found = ask(str(fake.program))
    assert found.version == "9.1.2"
    assert found.has_device("ahci")
    assert found.has_device("lsisas3008")
    assert not found.has_device("megasas")
    assert found.devices["lsisas3008"].properties == frozenset(PROPERTIES["lsisas3008"])
    assert found.devices_on("PCI", "Network") == ("e1000",)
    assert found.devices_on("PCI", "Storage") == ("ich9-ahci", "lsisas3008")
    assert found.machines["q35"] == found.machines["pc-q35-9.1"] == frozenset(MACHINE)
    assert set(found.machines) == {"q35", "pc-q35-9.1", "pc-i440fx-9.1"}
    assert found.cpus == {"max", "Haswell"}
    assert found.cpu_features == {"vmx", "sse4.1"}
    assert found.objects == {"iothread", "secret"}
    assert found.netdevs == {"user", "tap"}


@pytest.mark.allow("process")
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_qemu_that_ends_when_it_is_asked_about_a_device_is_asked_about_the_others(
    fake: FakeQemu, lost: int
) -> None:
    fake.can["crashes"], fake.can["lost"] = ["gone"], lost
    fake.say()
    found = ask(str(fake.program))
    assert found.devices["gone"].properties is None
    # Not those that were asked before it, of which the answers are lost.
    assert [
        each.name for each in found.devices.values() if each.properties is None and each.category != "CPU"
    ] == ["gone"]
    assert found.devices["e1000"].properties == frozenset(PROPERTIES["e1000"])
    assert found.cpu_features == {"vmx", "sse4.1"}


@pytest.mark.allow("process")
def test_answers_are_kept_until_the_program_changes(fake: FakeQemu, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = qemu_abilities(str(fake.program), cache)
    started = fake.asked
    assert started > 0
    assert qemu_abilities(str(fake.program), cache) == first
    assert fake.asked == started
    fake.can["version"] = "10.0.0"
    fake.say()
    # The same program under another time: its digest says that it is the same.
    os.utime(fake.program, (1, 1))
    assert qemu_abilities(str(fake.program), cache).version == "9.1.2"
    with fake.program.open("a") as stream:
        stream.write("# another build\n")
    assert qemu_abilities(str(fake.program), cache).version == "10.0.0"


@pytest.mark.allow("process")
def test_it_is_asked_again_when_somebody_misses_something(fake: FakeQemu, tmp_path: Path) -> None:
    qemu_abilities(str(fake.program), tmp_path / "cache")
    fake.can["devices"] += 'name "lsisas2308", bus PCI\n'
    fake.say()
    assert not qemu_abilities(str(fake.program), tmp_path / "cache").has_device("lsisas2308")
    assert qemu_abilities(str(fake.program), tmp_path / "cache", again=True).has_device("lsisas2308")
    assert qemu_abilities(str(fake.program), tmp_path / "cache").has_device("lsisas2308")


@pytest.mark.allow("process")
def test_what_cannot_be_read_is_asked_anew(fake: FakeQemu, tmp_path: Path) -> None:
    qemu_abilities(str(fake.program), tmp_path)
    for kept in (tmp_path / "qemu").iterdir():
        kept.write_text("{")
    assert qemu_abilities(str(fake.program), tmp_path).has_device("lsisas3008")


@pytest.mark.allow("process")
def test_a_program_that_is_no_qemu_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="/bin/true"):
        ask("/bin/true")
    with pytest.raises(HostError, match="cannot read"):
        qemu_abilities(str(tmp_path / "none"), tmp_path)
