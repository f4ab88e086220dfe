"""Makes disks that UEFI firmware boots the test guest from, by the distribution's signed boot loaders.

Microsoft's key signs shim, the distribution's key signs GRUB and the kernel. The packages are downloaded and
unpacked, never installed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from guest.build import DEFAULT_CACHE, Guest, GuestBuildError, candidates, command, download, locked

_PACKAGES = ("shim-signed", "grub-efi-amd64-signed")
_SIZE_MIB = 64
# A byte of shim's code that its signature covers.
_CODE_AT = 0x8000
# Where the signed GRUBs look for their configuration.
_VENDORS = ("debian", "ubuntu")


def boot_disk(guest: Guest, path: Path, *, is_tampered: bool = False, cache: Path = DEFAULT_CACHE) -> Path:
    """Make a raw disk at ``path`` that boots ``guest``; ``is_tampered``: its first loader was changed.

    Raises:
        GuestBuildError: a package is missing, cannot be downloaded or lacks a file.
    """
    with locked(cache / "lock"), tempfile.TemporaryDirectory(dir=cache) as folder:
        made = Path(folder)
        for package in candidates(*_PACKAGES):
            command("dpkg", "-x", str(download(package, cache / "packages")), folder)
        shim = bytearray(_only(made, "usr/lib/shim/shimx64.efi.signed*").read_bytes())
        shim[_CODE_AT] ^= is_tampered
        (made / "shim.efi").write_bytes(shim)
        (made / "grub.cfg").write_text(f"linux /vmlinuz {guest.cmdline}\ninitrd /initrd.gz\nboot\n")
        files = {
            "EFI/BOOT/BOOTX64.EFI": made / "shim.efi",
            "EFI/BOOT/grubx64.efi": _only(made, "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
            **{f"EFI/{vendor}/grub.cfg": made / "grub.cfg" for vendor in _VENDORS},
            "vmlinuz": guest.kernel,
            "initrd.gz": guest.initrd,
        }
        _write_fat(path, files)
    return path


def _only(folder: Path, pattern: str) -> Path:
    """The newest of the files of that name; Ubuntu keeps the one before too."""
    found = [each for each in folder.glob(pattern) if not each.name.endswith("previous")]
    if not found:
        raise GuestBuildError(f"{', '.join(_PACKAGES)} have no {pattern}")
    return found[0]


def _write_fat(path: Path, files: dict[str, Path]) -> None:
    path.write_bytes(b"")
    with path.open("r+b") as stream:
        stream.truncate(_SIZE_MIB * 2**20)
    command("/sbin/mkfs.vfat", "-n", "ESP", str(path))
    parents = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    command("mmd", "-i", str(path), *(f"::{folder}" for folder in sorted(parents)))
    for name, source in files.items():
        command("mcopy", "-i", str(path), str(source), f"::{name}")
