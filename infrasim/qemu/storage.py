"""Disk images, and what QEMU's disk controllers can take."""

from __future__ import annotations

from pathlib import Path

from infrasim.qemu.element import option

# ide-hd and ide-cd sit alone on each port of an ich9-ahci, which has six. Source: QEMU hw/ide/ich.
AHCI_PORTS = 6


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
