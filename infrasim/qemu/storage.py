"""Disk images, and what runs beside QEMU's disk controllers."""

from __future__ import annotations

from pathlib import Path

from infrasim.qemu.element import option

# Modes of -drive's ``cache`` in which a write is done only when the medium has it, which is then said to the
# host by the disk: ``write-cache=off``. Source: QEMU invocation, -drive cache=.
WRITE_THROUGH = ("writethrough", "directsync")


def disk_image(
    node_name: str,
    path: Path,
    image_format: str,
    *,
    cache: str = "writeback",
    read_only: bool = False,
    aio: str | None = None,
    discard: str | None = None,
    l2_cache_bytes: int | None = None,
    refcount_cache_bytes: int | None = None,
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
        discard=discard,
        l2_cache_size=l2_cache_bytes,
        refcount_cache_size=refcount_cache_bytes,
        file__driver=driver,
        file__filename=path,
        file__aio=aio,
    )


def io_thread(thread_id: str) -> tuple[str, ...]:
    """A thread for the requests of one controller."""
    return option("-object", "iothread", id=thread_id)


def nvm_subsystem(subsystem_id: str, name: str) -> tuple[str, ...]:
    """What NVMe controllers can be parts of; its qualified name ends with ``name``."""
    return option("-device", "nvme-subsys", id=subsystem_id, nqn=name)
