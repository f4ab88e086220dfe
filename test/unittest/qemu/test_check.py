"""What a command line asks for that a QEMU does not have, and where in the node file that was asked."""

from __future__ import annotations

import pytest

from infrasim.host.facts import QemuAbilities, QemuDevice
from infrasim.qemu.check import is_ordinary, lacks

QEMU = QemuAbilities(
    program="/usr/bin/qemu",
    version="7.2.22",
    devices={
        device.name: device
        for device in (
            QemuDevice("megasas-gen2", "PCI", "Storage", frozenset({"addr", "sas_address"})),
            QemuDevice("mptsas1068", "PCI", "Storage", frozenset({"addr"})),
            QemuDevice("scsi-hd", "SCSI", "Storage", frozenset({"drive", "serial", "rotation_rate"})),
            QemuDevice("ich9-ahci", "PCI", "Storage", frozenset({"addr"})),
            QemuDevice("virtio-vga-gl", "PCI", "Display"),
            QemuDevice("e1000", "PCI", "Network", frozenset({"netdev", "mac"})),
            QemuDevice("rocker", "PCI", "Network", frozenset({"name"})),
            QemuDevice("usb-net", "usb-bus", "Network", frozenset({"netdev", "mac"})),
            QemuDevice("virtio-net-device", "virtio-bus", "Network", frozenset({"netdev", "mac"})),
            QemuDevice("usb-tablet", "usb-bus", "Input", frozenset()),
            QemuDevice("qemu-xhci", "PCI", "USB", frozenset()),
            QemuDevice("sdhci-pci", "PCI", "Storage", frozenset()),
        )
    },
    aliases={"ahci": "ich9-ahci"},
    machines={"q35": frozenset({"graphics", "mem-merge", "usb"}), "pc-q35-7.2": frozenset(), "microvm": None},
    cpus=frozenset({"max", "Haswell", "Haswell-v4"}),
    cpu_features=frozenset({"vmx", "sse4.1", "tsc-adjust"}),
    objects=frozenset({"iothread"}),
    netdevs=frozenset({"user", "tap"}),
)
KEYS = {
    "scsi0": "compute.storage_backend[0]",
    "disk0": "compute.storage_backend[0].drives[0]",
    "nic0.": "compute.networks[0].device",
    "disk0.page_file": "compute.storage_backend[0].drives[0].page-file",
    "-machine": "compute.machine",
    "-cpu.type": "compute.cpu.type",
}
LACK = "which QEMU 7.2.22 (/usr/bin/qemu) does not have"


def said(*argv: str) -> list[tuple[str, str, str]]:
    return [(lack.key, lack.message, lack.hint) for lack in lacks(argv, KEYS, QEMU)]


@pytest.mark.parametrize(
    "argv",
    [
        ("-device", "ahci,id=x,bus=pcie.0,addr=05.0,bootindex=3"),
        ("-device", "megasas-gen2,id=scsi0,sas_address=1"),
        ("-device", "virtio-vga-gl,whatever=1"),
        ("-machine", "q35,graphics=off,accel=kvm,kernel-irqchip=split"),
        ("-machine", "microvm,whatever=on"),
        ("-cpu", "Haswell,+vmx,-sse4_1,tsc_adjust=on"),
        ("-netdev", "tap,id=net0"),
        ("-object", "iothread,id=io0"),
        ("-name", "-device,lsisas3008"),
        ("-device", "scsi-hd,drive=a,,page_file=b"),
        ("-device", "qemu-xhci", "-device", "usb-net,id=nic0,netdev=net0,mac=1"),
        ("-machine", "q35,usb=on", "-device", "usb-net,id=nic0,netdev=net0,mac=1"),
    ],
)
def test_what_is_there_is_accepted(argv: tuple[str, ...]) -> None:
    assert said(*argv) == []


@pytest.mark.parametrize(
    ("argv", "key", "what", "hint"),
    [
        (
            ("-device", "lsisas3008,id=scsi0"),
            "compute.storage_backend[0]",
            "the device 'lsisas3008'",
            "nearest here: megasas-gen2, mptsas1068",
        ),
        (
            ("-device", "scsi-hd,id=disk0,page_file=/p"),
            "compute.storage_backend[0].drives[0].page-file",
            "the property 'page_file' of the device 'scsi-hd'",
            "nearest: vendor, product, version, serial, wwn and rotation_rate",
        ),
        (
            ("-device", "scsi-hd,id=disk0,rotation-rate=1"),
            "compute.storage_backend[0].drives[0]",
            "the property 'rotation-rate' of the device 'scsi-hd'",
            "nearest here: rotation_rate",
        ),
        (
            ("-device", "megasas-gen2,id=nic0,netdev=net0,mac=52:54:00:00:00:01"),
            "compute.networks[0].device",
            "a network card 'megasas-gen2'",
            "nearest here: e1000",
        ),
        (
            ("-device", "rocker,id=nic0,netdev=net0,mac=52:54:00:00:00:01"),
            "compute.networks[0].device",
            "a network card 'rocker'",
            "nearest here: e1000",
        ),
        (("-device", "mptsas1086"), "compute", "the device 'mptsas1086'", "nearest here: mptsas1068"),
        (("-device", "skx_ntb"), "compute", "the device 'skx_ntb'", "which shares memory between two hosts"),
        (("-machine", "q36"), "compute.machine", "the machine 'q36'", "nearest here: q35"),
        (
            ("-machine", "q35,spid=1"),
            "compute.machine",
            "the property 'spid' of the machine 'q35'",
            "nearest: serial_number and asset_tag, which tell servers of a chassis apart",
        ),
        (
            ("-cpu", "Haswel"),
            "compute.cpu.type",
            "the CPU model 'Haswel'",
            "nearest here: Haswell, Haswell-v4",
        ),
        (("-cpu", "max,+vmxx"), "compute", "the CPU feature 'vmxx'", "nearest here: vmx"),
        (("-netdev", "tapp,id=n"), "compute", "the network backend 'tapp'", "nearest here: tap"),
        (("-object", "secret,id=s"), "compute", "the object 'secret'", ""),
    ],
)
def test_what_is_not_there(argv: tuple[str, ...], key: str, what: str, hint: str) -> None:
    assert said(*argv) == [(key, f"needs {what}, {LACK}", hint)]


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (
            ("-device", "sdhci-pci", "-device", "usb-net,id=nic0,netdev=net0,mac=1"),
            (
                "compute.networks[0].device",
                "usb-net sits on a USB bus, and this machine has none",
                "use a card on PCI, such as virtio-net-pci",
            ),
        ),
        (
            ("-machine", "q35,usb=off", "-device", "virtio-net-device,id=nic0,netdev=net0,mac=1"),
            (
                "compute.networks[0].device",
                "virtio-net-device sits on a virtio bus, and this machine has none",
                "use a card on PCI, such as virtio-net-pci",
            ),
        ),
        (
            ("-device", "usb-tablet"),
            ("compute", "usb-tablet sits on a USB bus, and this machine has none", ""),
        ),
    ],
)
def test_a_bus_that_nothing_brings(argv: tuple[str, ...], wanted: tuple[str, str, str]) -> None:
    assert said(*argv) == [wanted]


def test_everything_is_said_at_once_and_nothing_twice() -> None:
    argv = ("-device", "a,id=scsi0", "-device", "a,id=scsi0", "-device", "scsi-hd,id=disk0,x=1,page_file=2")
    assert [key for key, _, _ in said(*argv)].count("compute.storage_backend[0]") == 1
    assert len(said(*argv)) == 3


@pytest.mark.parametrize(
    ("argv", "ordinary"),
    [
        (("-device", "ich9-ahci,id=sata0", "-device", "ide-hd,bus=sata0.0,drive=d,bootindex=1"), True),
        (("-machine", "q35,graphics=off,sata=off,vmport=off", "-cpu", "max"), True),
        (("-netdev", "user,id=net0", "-device", "e1000,netdev=net0,mac=1"), True),
        (("-cpu", "max,+vmx"), False),
        (("-cpu", "Haswell"), False),
        (("-machine", "q35,usb=on"), False),
        (("-machine", "pc"), False),
        (("-device", "ide-hd,page_file=1"), False),
        (("-device", "nvme"), False),
        (("-netdev", "tap,id=x"), True),
        (("-netdev", "stream,id=x"), False),
        (("-object", "iothread,id=x"), False),
    ],
)
def test_only_what_is_out_of_the_ordinary_is_asked(argv: tuple[str, ...], ordinary: bool) -> None:
    assert is_ordinary(argv) is ordinary
