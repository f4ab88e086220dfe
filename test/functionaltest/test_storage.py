"""Disks on every kind of controller: the firmware boots from each, Linux sees of each what the file says.

Also images that somebody else has in use, and images that infrasim makes.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from guest.build import Guest
from inside import BOOT_S, answer, console
from lab import NODE, Lab, execute, lab, wait_for

SECTOR = 512
GIB = 1 << 30
KINDS = (
    "ahci",
    "ide",
    "megasas",
    "megasas-gen2",
    "mptsas1068",
    "lsi53c895a",
    "pvscsi",
    "virtio-scsi",
    "virtio-blk",
    "nvme",
    "nvme-ns",
)
DRIVERS = (
    "ahci ata_piix megaraid_sas mptsas sym53c8xx vmw_pvscsi virtio_pci virtio_scsi virtio_blk nvme sd_mod"
)


def boot_sector(name: str) -> bytes:
    """A boot sector that says its name on the serial port and hands over to the next disk.

    It moves to 0600h, reads the first sector of the next disk of the firmware to 7C00h and jumps there.
    """
    start = bytes.fromhex(
        "31c0 8ed8 8ec0 8ed0 bc007c be007c bf0006 b90001 fc f3a5"  # registers, stack, copy
        "ea1c060000"  # jump to the copy, 061Ch
        "52 be4906 ac 84c0 7406 baf803 ee ebf5"  # print
        "5a fec2 bb007c b80102 b90100 30f6 cd13 7205 ea007c0000"  # read the next disk, jump
        "f4 ebfd"  # nothing more: halt
    )
    text = start.ljust(0x49, b"\x90") + f"<{name}>\r\n\0".encode()
    return text.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def entry(kind: str, disk: dict[str, Any]) -> dict[str, Any]:
    """A controller of that kind with one disk."""
    if kind == "nvme-ns":
        return {"type": "nvme", "namespaces": [disk]}
    return {"type": kind, **disk} if kind in ("nvme", "virtio-blk") else {"type": kind, "drives": [disk]}


def test_the_firmware_boots_from_each_kind_in_the_order_of_bootindex(scratch: Lab) -> None:
    # Another order than the one they stand in, from 0.
    order = {kind: (number * 7) % len(KINDS) for number, kind in enumerate(KINDS)}
    backends = []
    for kind in KINDS:
        image = scratch.root / f"{kind}.raw"
        image.write_bytes(boot_sector(kind))
        with image.open("r+b") as stream:
            stream.truncate(16 << 20)
        backends.append(entry(kind, {"file": str(image), "format": "raw", "bootindex": order[kind]}))
    scratch.start(compute={"storage_backend": backends, "networks": [], "cdrom": None})
    expected = sorted(KINDS, key=order.__getitem__)

    def said() -> list[str]:
        # The end of the firmware's "Booting from Hard Disk..." may stand in the middle of the first name.
        return re.findall(r"<([\w-]+)>", re.sub(r"[.\r\n]", "", scratch.serial()))

    wait_for(lambda: len(said()) >= len(KINDS), timeout_s=BOOT_S, what="a boot from every disk")
    assert said() == expected
    # An override renumbers every device; a host that boots only from disks keeps their order.
    scratch.ipmi("chassis", "bootdev", "disk")
    scratch.ipmi("power", "reset")
    wait_for(lambda: len(said()) >= 2 * len(KINDS), timeout_s=BOOT_S, what="a boot with an override")
    assert said() == expected * 2
    assert scratch.status()["host"]["boot_override"] is None
    assert not [event for event in scratch.events() if "error" in event["event"]]


# --- what Linux sees

DISKS: dict[str, dict[str, Any]] = {
    "ahci": {
        "model": "INTEL SSDSC2BB480G6",
        "version": "G2010150",
        "rotation_rate": 1,
        "wwn": 0x5000C50015EA7101,
    },
    "ide": {"model": "ST3160021A", "version": "8.01", "rotation_rate": 7200},
    "megasas": {"vendor": "SEAGATE", "product": "ST600MM0006", "version": "LS08", "wwn": 0x5000C50015EA7102},
    "megasas-gen2": {"vendor": "HITACHI", "product": "HUSMM0SSD", "version": "B1.10", "rotation_rate": 1},
    "mptsas1068": {"vendor": "FUJITSU", "product": "MBA3147RC", "version": "0103", "rotation_rate": 15000},
    "lsi53c895a": {"vendor": "IBM", "product": "DDYS-T18350N", "version": "S96H", "scsi-id": 6},
    "pvscsi": {"vendor": "VMware", "product": "Virtual disk", "version": "1.0", "scsi-id": 9},
    "virtio-scsi": {
        "vendor": "INTEL",
        "product": "SSDSC2BA200G3",
        "sector_size": 4096,
        "scsi-id": 7,
        "lun": 3,
    },
    "virtio-blk": {"physical_block_size": 4096},
    "nvme": {},
    "nvme-ns": {"sector_size": 4096, "nsid": 5},
}
FILES = (
    "size",
    "serial",
    "wwid",
    "queue/rotational",
    "queue/logical_block_size",
    "queue/physical_block_size",
    "device/vendor",
    "device/model",
    "device/rev",
    "device/wwid",
    "device/vpd_pg80",
    "device/serial",
)


@pytest.fixture(scope="module")
def seen(guest: Guest, request: pytest.FixtureRequest) -> Iterator[dict[str, dict[str, str]]]:
    """What Linux says of the disk on each kind of controller, by its size: each has one of its own."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        backends = []
        for number, kind in enumerate(KINDS):
            disk = {**DISKS[kind], "size": number + 1}
            found = entry(kind, disk)
            serial = f"SN{number:02d}-{kind}"[:20]
            (found if kind.startswith(("nvme", "virtio-blk")) else disk)["serial"] = serial
            backends.append(found)
        compute = {
            "kernel": str(guest.kernel),
            "initrd": str(guest.initrd),
            "cmdline": guest.cmdline,
            "memory": {"size": 512},
            "storage_backend": backends,
        }
        home.start(compute=compute)
        with console(home, guest) as terminal:
            terminal.timeout = BOOT_S
            answer(terminal, "modprobe -a " + DRIVERS[: DRIVERS.index(" mptsas")])
            answer(terminal, "modprobe -a " + DRIVERS[DRIVERS.index("mptsas") :])
            answer(terminal, 'r() { [ -f $1 ] && read -r v <$1; echo "=$1=$v"; v=; }')
            disks: dict[str, dict[str, str]] = {}
            deadline = time.monotonic() + BOOT_S
            # The drivers look for disks on their own time.
            while len(disks) < len(KINDS) and time.monotonic() < deadline:
                disks = {}
                for file in FILES:
                    said = answer(terminal, f"for d in /sys/block/*; do r $d/{file}; done")
                    for name, value in re.findall(rf"=/sys/block/(\w+)/{file}=(.*)", said):
                        disks.setdefault(name, {})[file] = value.strip()
                # One that came between two questions has a part of its files; all are asked again.
                disks = {name: values for name, values in disks.items() if values.get("size", "0") != "0"}
        by_size = {int(values["size"]) * SECTOR // GIB: values for values in disks.values()}
        yield {kind: by_size.get(number + 1, {}) for number, kind in enumerate(KINDS)}


@pytest.mark.parametrize("kind", KINDS)
def test_linux_sees_what_the_file_says(seen: dict[str, dict[str, str]], kind: str) -> None:
    disk, wanted = seen[kind], DISKS[kind]
    assert disk, f"no disk on {kind}: {seen}"
    serial = f"SN{KINDS.index(kind):02d}-{kind}"[:20]
    assert serial in " ".join(disk.get(name, "") for name in ("serial", "device/serial", "device/vpd_pg80"))
    if "model" in wanted:
        assert disk["device/model"].startswith(wanted["model"][:16])
    if "product" in wanted:
        assert (disk["device/vendor"], disk["device/model"]) == (wanted["vendor"], wanted["product"])
    if "version" in wanted:
        # Of the eight characters of ATA the SCSI layer shows the last four, of SCSI the first ones.
        version = wanted["version"]
        assert disk["device/rev"] == (version[-4:] if kind in ("ahci", "ide") else version[:4])
    if "wwn" in wanted:
        assert f"{wanted['wwn']:016x}" in disk["device/wwid"]
    if "nsid" in wanted:
        # Linux reads no UUID of a namespace of QEMU's (its quirk NVME_QUIRK_BOGUS_NID).
        assert disk["wwid"].endswith(f"-{wanted['nsid']:08x}")
    rotation = wanted.get("rotation_rate")
    if rotation is not None:
        assert disk["queue/rotational"] == ("0" if rotation == 1 else "1")
    sector = wanted.get("sector_size", 512)
    assert disk["queue/logical_block_size"] == str(sector)
    assert disk["queue/physical_block_size"] == str(wanted.get("physical_block_size", sector))


# --- images


@contextmanager
def stranger(image: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU that is no node's and has an image open."""
    argv = [
        *("qemu-system-x86_64", "-S", "-machine", "q35", "-nodefaults", "-display", "none", "-qmp", "stdio"),
        *("-drive", f"file={image},format=qcow2,if=none,id=d", "-device", "virtio-blk-pci,drive=d"),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # It greets before it has made its machine, and answers afterwards.
        assert b"QMP" in process.stdout.readline()
        process.stdin.write(b'{"execute": "qmp_capabilities"}\n')
        process.stdin.flush()
        assert b"return" in process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_an_image_in_use_is_refused_with_its_holder(scratch: Lab) -> None:
    image = scratch.root / "image.qcow2"
    execute("qemu-img", "create", "-q", "-f", "qcow2", str(image), "1G")
    disk = {"file": str(image)}
    compute = {"storage_backend": [{"type": "nvme", **disk}], "networks": []}
    scratch.register(compute=compute)
    with stranger(image) as holder:
        ran = scratch.infrasim("node", "start", NODE)
        assert ran.code == 2
        assert f"{image} is in use by qemu-system-x86_64 (process {holder.pid})" in ran.err
        assert "compute.storage_backend[0].file" in ran.err
        assert [process.pid for process in scratch.processes()] == [holder.pid], "nothing was started"
    scratch.must("node", "start", NODE)
    # A node that runs does not stand in its own way.
    scratch.must("config", "check", NODE)
    scratch.must("node", "restart", NODE)


def test_a_fast_start_says_who_has_an_image_too(scratch: Lab) -> None:
    scratch.start(compute={"networks": []})
    (image,) = (scratch.home / NODE / "disks").iterdir()
    scratch.must("node", "stop", NODE)
    with stranger(image) as holder:
        ran = scratch.infrasim("node", "start", NODE)
        assert ran.code == 2
        assert f"is in use by qemu-system-x86_64 (process {holder.pid})" in ran.err
    scratch.must("node", "start", NODE)


def test_images_are_made_as_the_file_says_and_never_again(scratch: Lab) -> None:
    base = scratch.root / "base, with a comma.qcow2"
    execute("qemu-img", "create", "-q", "-f", "qcow2", str(base), "3G")
    drives: list[dict[str, Any]] = [
        {"size": 2, "cluster-size": "128K", "preallocation": "metadata"},
        {"backing_file": str(base)},
        {"size": 5, "format": "raw"},
        {"size": 1, "format": "vmdk"},
        {"size": 1, "format": "vhdx"},
    ]
    backends = [{"type": "virtio-scsi", "drives": drives}]
    scratch.start(compute={"storage_backend": backends, "networks": []}, bmc={"startnow": False})
    disks = {path.name: path for path in (scratch.home / NODE / "disks").iterdir() if path.suffix != ".base"}
    about = {name: about_image(path) for name, path in disks.items()}
    assert about["disk-scsi-0-0.qcow2"]["cluster-size"] == 128 << 10
    assert about["disk-scsi-0-1.qcow2"]["full-backing-filename"] == str(base)
    sizes = [found["virtual-size"] // GIB for _, found in sorted(about.items())]
    assert sizes == [2, 3, 5, 1, 1]
    used = sum(path.stat().st_blocks * 512 for path in disks.values())
    assert used < 64 << 20, "images are sparse"
    drives[2]["size"] = 6
    digest = disks["disk-scsi-0-2.raw"].stat().st_mtime_ns
    scratch.register(compute={"storage_backend": backends, "networks": []}, bmc={"startnow": False})
    ran = scratch.infrasim("node", "restart", NODE)
    assert ran.code == 0
    assert "says 6 GiB" in ran.err
    assert "has 5 GiB" in ran.err
    assert disks["disk-scsi-0-2.raw"].stat().st_mtime_ns == digest


def about_image(path: Path) -> dict[str, Any]:
    """What qemu-img says of an image, also of one that is in use."""
    found = json.loads(execute("qemu-img", "info", "-U", "--output=json", str(path)).out)
    assert isinstance(found, dict)
    return found
