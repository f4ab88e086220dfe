"""What parts of a node file add to the host, joined."""

from __future__ import annotations

from infrasim.plan.part import HostPart, boot_devices
from infrasim.qemu.boot import BootClass, BootDevice
from infrasim.qemu.element import Device

CARD = Device("e1000", "nic0", "k", {"netdev": "net0"}, BootClass.NETWORK)
DISK = Device("ide-hd", "sata0-0", "k", boot_class=BootClass.DISK, boot_index=7)
NETWORKS = HostPart((("-netdev", "user,id=net0"), CARD))
STORAGE = HostPart((Device("ich9-ahci", "sata0", "k"), DISK))


def test_devices_of_every_part_share_one_order_of_boot() -> None:
    assert boot_devices([STORAGE, NETWORKS], "ncd") == (
        BootDevice("sata0-0", BootClass.DISK, 7),
        BootDevice("nic0", BootClass.NETWORK, 8),
    )


def test_arguments_keep_their_order_and_only_what_boots_has_an_index() -> None:
    assert NETWORKS.argv({"nic0": 1}) == (
        *("-netdev", "user,id=net0"),
        *("-device", "e1000,id=nic0,netdev=net0,bootindex=1"),
    )
    assert STORAGE.argv({"sata0-0": 7})[:2] == ("-device", "ich9-ahci,id=sata0")
