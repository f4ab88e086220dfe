"""Kernels, firmware and ipmi_sim's commands: a file that is none is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrasim.runtime.boot_files import content_fault

LINUX = bytes(0x202) + b"HdrS" + bytes(100)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("compute.kernel", LINUX),
        ("compute.kernel", b"\x7fELF" + bytes(60)),
        ("compute.kernel", b"MZ" + bytes(60)),
        ("compute.kernel", bytes(4096) + b"\x02\xb0\xad\x1b"),
        ("compute.bios", bytes(0x20000)),
        ("bmc.emu_file", b"# mine\n  mc_setbmc 0x20\nmc_add 0x20 0\n"),
        ("bmc.emu_file", b'include "/srv/other.emu"\n'),
        # Nobody looks into these.
        ("compute.initrd", b""),
        ("compute.cdrom", b"x"),
    ],
)
def test_what_is_taken(tmp_path: Path, key: str, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert content_fault(key, path) is None


@pytest.mark.parametrize(
    ("key", "content", "said"),
    [
        ("compute.kernel", b"root:x:0:0", "is no kernel that QEMU can load"),
        ("compute.kernel", b"", "is no kernel that QEMU can load"),
        ("compute.kernel", bytes(9000) + b"\x02\xb0\xad\x1b", "is no kernel that QEMU can load"),
        ("compute.bios", b"", "is no firmware: it has 0 bytes, not a multiple of 65536"),
        ("compute.bios", bytes(70000), "is no firmware: it has 70000 bytes, not a multiple of 65536"),
        (
            "bmc.emu_file",
            b"root:x:0:0\n# mc_setbmc 0x20\n",
            "is no file of ipmi_sim's commands: no line begins with mc_setbmc",
        ),
        ("bmc.emu_file", b"\xff\xfe", "is no file of ipmi_sim's commands: no line begins with mc_setbmc"),
    ],
)
def test_what_is_refused(tmp_path: Path, key: str, content: bytes, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    fault = content_fault(key, path)
    assert fault is not None
    assert fault[0] == f"{path} {said}"
    assert fault[1]
