"""Disk controllers and what hangs on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infrasim.qemu.element import option

# ide-hd and ide-cd sit alone on each port of an ich9-ahci, which has six. Source: QEMU hw/ide/ich.
AHCI_PORTS = 6


def ahci(controller_id: str) -> tuple[str, ...]:
    """A SATA controller with six ports."""
    return option("-device", "ich9-ahci", id=controller_id)


def disk_image(
    node_name: str, path: Path, image_format: str, *, cache: str = "writeback", read_only: bool = False
) -> tuple[str, ...]:
    """A disk image as a named block node; what lies in /dev is a device. ``cache`` is a mode of -drive."""
    driver = "host_device" if path.is_relative_to("/dev") else "file"
    return option(
        "-blockdev",
        driver=image_format,
        node_name=node_name,
        read_only=read_only,
        cache__direct=cache in ("none", "directsync"),
        cache__no_flush=cache == "unsafe",
        file__driver=driver,
        file__filename=path,
    )


def sata_disk(
    device_id: str, *, bus: str, image: str, boot_index: int, attributes: Mapping[str, str | int | None]
) -> tuple[str, ...]:
    """A SATA disk on one AHCI port. ``attributes`` are more properties of QEMU's ``ide-hd``."""
    return option("-device", "ide-hd", id=device_id, bus=bus, drive=image, bootindex=boot_index, **attributes)


def sata_cdrom(device_id: str, *, bus: str, image: str, boot_index: int) -> tuple[str, ...]:
    """A SATA CD-ROM drive on one AHCI port."""
    return option("-device", "ide-cd", id=device_id, bus=bus, drive=image, bootindex=boot_index)
