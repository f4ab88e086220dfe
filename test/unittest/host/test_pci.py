"""PCI devices of a kernel that lies in a folder: seen, needed, taken and given back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fake_kernel import FakeKernel

from infrasim.errors import HostError
from infrasim.host import image_lock
from infrasim.host.facts import PciDevice
from infrasim.host.pci import VFIO, Had, goes_along, is_needed_bridge
from infrasim.host.pci_uses import uses

CARD = "0000:03:00.0"
DISK = "0000:04:00.0"


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path)


def test_a_device_is_what_its_files_say(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="e1000e", group=7)
    kernel.add("0000:00:01.0", driver="pcieport", group=7, kind=0x060400, header=1)
    assert kernel.pci.device(CARD) == PciDevice(CARD, 0x8086, 0x10D3, 0x020000, "e1000e", 7)
    assert kernel.pci.device("0000:00:09.0") is None
    assert [each.address for each in kernel.pci.group(7)] == ["0000:00:01.0", CARD]
    assert kernel.pci.addresses() == ("0000:00:01.0", CARD)
    assert (kernel.pci.has_iommu(), kernel.pci.has_vfio()) == (True, True)


def test_a_machine_without_an_iommu_has_no_groups(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="e1000e")
    found = kernel.pci.device(CARD)
    assert found is not None and found.group is None
    kernel.modules.clear()
    assert (kernel.pci.has_iommu(), kernel.pci.has_vfio()) == (False, False)
    with pytest.raises(Exception, match="not found"):
        kernel.pci.load_vfio()


@pytest.mark.parametrize(
    ("kind", "header", "driver", "goes", "is_needed"),
    [
        (0x020000, 0, "e1000e", True, False),
        (0x020000, 0, None, True, False),
        (0x060400, 1, "pcieport", False, False),
        (0x060000, 0, None, False, False),
        (0x060100, 0, "lpc_ich", True, True),
        (0x060100, 0, VFIO, True, False),
    ],
)
def test_which_of_a_group_go_along(
    kernel: FakeKernel, kind: int, header: int, driver: str | None, goes: bool, is_needed: bool
) -> None:
    kernel.add(CARD, driver=driver, group=1, kind=kind, header=header)
    (found,) = kernel.pci.group(1)
    assert (goes_along(found), is_needed_bridge(found)) == (goes, is_needed)


# --- needed


def test_a_device_nobody_needs_has_no_uses(kernel: FakeKernel) -> None:
    kernel.add_disk("nvme0n1", "259:0", kernel.add(DISK, driver="nvme"))
    kernel.mount("0:21", "proc", "/proc")
    kernel.mount("8:1", "/dev/sda1", "/")
    assert list(uses(kernel.pci, DISK)) == []


def test_a_mounted_partition_is_of_its_disk_s_device(kernel: FakeKernel) -> None:
    disk = kernel.add_disk("nvme0n1", "259:0", kernel.add(DISK, driver="nvme"))
    kernel.add(CARD)
    partition = disk / "nvme0n1p2"
    partition.mkdir()
    (partition / "partition").write_text("2\n")
    (kernel.root / "sys/dev/block/259:2").symlink_to(partition)
    (kernel.root / "sys/class/block/nvme0n1p2").symlink_to(partition)
    kernel.mount("259:2", "/dev/nvme0n1p2", r"/my\040files")
    assert list(uses(kernel.pci, DISK)) == ["/my files is mounted from it"]
    assert list(uses(kernel.pci, CARD)) == []


def test_a_volume_leads_to_the_disks_it_is_made_of(kernel: FakeKernel) -> None:
    disk = kernel.add_disk("sda", "8:0", kernel.add(DISK, driver="ahci"))
    volume = kernel.add_disk("dm-0", "253:0", kernel.root / "sys/devices/virtual")
    (volume / "slaves").mkdir()
    (volume / "slaves" / "sda").symlink_to(disk)
    (kernel.root / "dev/mapper").mkdir()
    (kernel.root / "dev/mapper/vg-root").symlink_to("../dm-0")
    # A file system with a number of its own.
    kernel.mount("0:33", "/dev/mapper/vg-root", "/")
    assert list(uses(kernel.pci, DISK)) == ["/ is mounted from it"]


def test_a_disk_of_several_nvme_controllers_leads_to_each(kernel: FakeKernel) -> None:
    controller = kernel.add(DISK, driver="nvme") / "nvme" / "nvme0"
    controller.mkdir(parents=True)
    subsystem = kernel.root / "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    disk = subsystem / "nvme0n1"
    disk.mkdir(parents=True)
    (subsystem / "nvme0").symlink_to(controller)
    (kernel.root / "sys/dev/block/259:1").symlink_to(disk)
    (kernel.root / "sys/class/block/nvme0n1").symlink_to(disk)
    kernel.mount("259:1", "/dev/nvme0n1", "/srv")
    assert list(uses(kernel.pci, DISK)) == ["/srv is mounted from it"]


def test_swap_space_is_a_use(kernel: FakeKernel) -> None:
    kernel.add_disk("sda", "8:0", kernel.add(DISK, driver="ahci"))
    (kernel.root / "proc/swaps").write_text(
        "Filename Type Size Used Priority\n/swapfile file 1 0 -2\n/dev/sda partition 1 0 -2\n"
    )
    assert list(uses(kernel.pci, DISK)) == ["it has swap space (sda)"]


@pytest.mark.parametrize("version", [4, 6])
def test_the_default_route_leads_through_a_bridge_to_its_cards(kernel: FakeKernel, version: int) -> None:
    card = kernel.add_card("eth1", kernel.add(CARD, driver="e1000e"))
    bridge = kernel.add_card("br0", kernel.root / "sys/devices/virtual")
    (bridge / "lower_eth1").symlink_to(card)
    route, route6 = kernel.root / "proc/net/route", kernel.root / "proc/net/ipv6_route"
    if version == 4:
        route.write_text(
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
            "eth9 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
            "br0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        )
    else:
        zero, rest = "0" * 32, "00000400 00000002 00000000 00000003"
        route6.write_text(
            f"{zero} 00 {zero} 00 {'fd':0<32} {rest} br0\n{zero} 00 {zero} 00 {zero} {rest} lo\n"
            f"{'fe80':0<32} 40 {zero} 00 {zero} {rest} eth9\n"
        )
    assert list(uses(kernel.pci, CARD)) == ["this machine's default route leads by it (br0)"]


# --- who has it


def test_a_claim_is_one_s_alone_and_says_whose_it_is(kernel: FakeKernel) -> None:
    place = kernel.add(CARD)
    first = kernel.pci.claim(CARD)
    assert first is not None
    assert kernel.pci.claim(CARD) is None
    status = place.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    lines = f"1: POSIX  ADVISORY  WRITE 12 {device} 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 {device} 0 EOF\n"
    (kernel.root / "proc/locks").write_text(lines)
    assert kernel.pci.claimant(CARD) == 4711
    os.close(first)
    again = kernel.pci.claim(CARD)
    assert again is not None
    os.close(again)
    with pytest.raises(HostError, match=r"cannot open the PCI device 0000:09:00\.0"):
        kernel.pci.claim("0000:09:00.0")


def test_a_group_that_a_program_has_open_is_its(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.pci.user_of(7) is None
    place = kernel.root / "dev/vfio/7"
    place.touch()
    assert kernel.pci.user_of(7) is None
    opened = os.open

    def busy(path: Path, flags: int) -> int:
        if path == place:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", busy)
    monkeypatch.setattr(image_lock, "holders", lambda path: iter([(4711, ["qemu"])]))
    assert kernel.pci.user_of(7) == 4711
    monkeypatch.setattr(image_lock, "holders", lambda path: iter(()))
    assert kernel.pci.user_of(7) == 0


# --- taken and given back


def had(kernel: FakeKernel, address: str) -> Had:
    device = kernel.pci.device(address)
    assert device is not None
    return kernel.pci.had(device)


@pytest.mark.parametrize("driver", ["e1000e", None])
@pytest.mark.parametrize("override", ["(null)", "e1000e", VFIO])
def test_a_device_gets_back_what_it_had(kernel: FakeKernel, driver: str | None, override: str) -> None:
    kernel.add(CARD, driver=driver, usual="igb", override=override)
    before = had(kernel, CARD)
    kernel.pci.load_vfio()
    kernel.pci.take(CARD)
    assert (kernel.drivers, kernel.overrides) == ({CARD: VFIO}, {CARD: VFIO})
    kernel.pci.give_back(before)
    assert had(kernel, CARD) == before == Had(CARD, driver, None if override == "(null)" else override)


def test_the_writes_are_those_that_linux_documents(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="e1000e")
    before = had(kernel, CARD)
    kernel.pci.load_vfio()
    kernel.pci.take(CARD)
    kernel.pci.give_back(before)
    assert kernel.written == [
        (f"{CARD}/driver_override", VFIO),
        ("e1000e/unbind", CARD),
        ("pci/drivers_probe", CARD),
        # A driver that is demanded binds a device of any kind, such as one it was told of by new_id.
        (f"{CARD}/driver_override", "e1000e"),
        (f"{VFIO}/unbind", CARD),
        ("e1000e/bind", CARD),
        (f"{CARD}/driver_override", "\n"),
    ]


def test_a_driver_that_is_gone_is_looked_for_again(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="e1000e", usual="igb")
    kernel.add_driver("igb")
    before = had(kernel, CARD)
    kernel.pci.load_vfio()
    kernel.pci.take(CARD)
    (kernel.root / "sys/bus/pci/drivers/e1000e").rmdir()
    kernel.pci.give_back(before)
    assert (kernel.drivers, kernel.overrides) == ({CARD: "igb"}, {})
    kernel.pci.take(CARD)
    (kernel.root / "sys/bus/pci/drivers/igb").rmdir()
    with pytest.raises(HostError, match="has no driver now, and had e1000e"):
        kernel.pci.give_back(before)


def test_what_somebody_else_did_to_a_device_stays(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="mine", override="mine")
    kernel.pci.give_back(Had(CARD, "e1000e", None))
    kernel.pci.give_back(Had("0000:09:00.0", "e1000e", None))
    assert (kernel.drivers, kernel.overrides, kernel.written) == ({CARD: "mine"}, {CARD: "mine"}, [])


def test_a_device_that_vfio_refuses_is_told(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="e1000e")
    kernel.pci.load_vfio()
    kernel.refusing.add(VFIO)
    with pytest.raises(HostError, match="was not taken by vfio-pci; it has no driver now") as caught:
        kernel.pci.take(CARD)
    assert "dmesg" in caught.value.hint


def test_a_write_that_fails_says_what_it_was_for(kernel: FakeKernel) -> None:
    kernel.add(CARD, driver="e1000e")

    def refuse(number: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    kernel.before = refuse
    with pytest.raises(HostError, match=r"cannot set the driver of 0000:03:00\.0: .*Permission") as caught:
        kernel.pci.take(CARD)
    assert caught.value.hint == "run infrasim as root"
