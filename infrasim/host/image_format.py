"""In which format a disk image is, by what stands in it; QEMU is always told, so that it never guesses.

What a host has written must not be asked: a raw disk begins with whatever it likes.
"""

from __future__ import annotations

from pathlib import Path

# Where a format's mark is, and the mark. Source: QEMU block/qcow2.h, vmdk.c, vdi.c, vhdx.h, vpc.c, qed.h.
QCOW2_MAGIC = b"QFI\xfb"
_MARKS = (
    ("qcow2", 0, QCOW2_MAGIC),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vmdk", 0, b"# Disk DescriptorFile"),
    ("vdi", 64, b"\x7f\x10\xda\xbe"),
    ("vhdx", 0, b"vhdxfile"),
    ("vpc", 0, b"conectix"),
    ("qed", 0, b"QED\0"),
)
_HEAD = 128
# A fixed image of Virtual PC has its mark at the end alone.
_VPC_FOOTER = 512


def image_format(path: Path) -> str:
    """The format, by QEMU's name; ``raw`` for all that has no mark.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        for name, place, mark in _MARKS:
            if head[place : place + len(mark)] == mark:
                return name
        if stream.seek(0, 2) > _VPC_FOOTER:
            stream.seek(-_VPC_FOOTER, 2)
            if stream.read(8) == b"conectix":
                return "vpc"
    return "raw"
