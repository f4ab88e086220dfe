"""Builds the small Linux guest of the functional tests from distribution packages.

The kernel and busybox are downloaded and unpacked, never installed; ipmitool and dmidecode are
this machine's own, with their libraries. What ``root/`` holds is the rest of the guest. The
result is cached by the digest of everything that goes into it.

By hand: ``python3 test/functionaltest/guest/build.py [CACHE]`` prints where kernel and initrd are.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT_CACHE = HERE.parent / ".cache"

UNUSED_S = 7 * 24 * 3600

# The shell's prompt on the first serial port, which says that the guest is up; root/etc/profile sets it.
PROMPT = "test-guest# "
# The console has only what ends the system: a kernel that finds the machine too slow would say so amid the
# answers that are read there.
# It does not test its ciphers, which takes an emulated processor seconds: on a busy machine that test held
# the boot up for good ("soft lockup - CPU#1 stuck for 864s! [cryptomgr_test]").
CMDLINE = "console=ttyS0,115200 loglevel=1 cryptomgr.notests"

# The flavours that have IPMI drivers: Debian's, Ubuntu's.
KERNEL_META_PACKAGES = ("linux-image-amd64", "linux-image-generic")
KERNEL_PACKAGE = re.compile(r"linux-(image|modules|modules-extra)-[0-9]")
HOST_PROGRAMS = ("ipmitool", "dmidecode")
# What only the tools' initrd has: programs of this machine, and drivers that bin/coldplug loads as needed.
TOOL_PROGRAMS = ("lsblk", "lspci", "nvme", "free")
TOOL_MODULES = (
    *("ata_piix", "mptspi", "mpt3sas", "sym53c8xx", "vmw_pvscsi", "am53c974"),
    *("igb", "8139cp", "8139too", "ne2k_pci", "pcnet32", "tulip", "e100"),
    *("tpm_tis", "tpm_crb", "efivarfs", "isofs", "vfat", "nls_cp437", "nls_ascii", "qemu_fw_cfg"),
)
# Loaded at boot by root/init; the others by "modprobe NAME" in the guest.
BOOT_MODULES = ("button", "evdev", "ipmi_si", "ipmi_devintf")
MODULES = (
    *BOOT_MODULES,
    *(
        "ahci",
        "sd_mod",
        "sr_mod",
        "nvme",
        "megaraid_sas",
        "mptsas",
        "sym53c8xx",
        "vmw_pvscsi",
        "ata_piix",
        "virtio_blk",
        "virtio_scsi",
        "virtio_pci",
    ),
    *("e1000", "e1000e", "vmxnet3", "virtio_net"),
)
APPLETS = (
    "sh",
    "init",
    "mount",
    "modprobe",
    "ip",
    "hostname",
    "acpid",
    "usleep",
    "poweroff",
    "reboot",
    "udhcpc",
    "stty",
    "ping",
    "cat",
)
# What the initrd that runs a program of this machine has, beside its init.
IOMMU_MODULES = (
    *("virtio_pci", "9pnet_virtio", "9p", "vfio_pci", "vfio_iommu_type1"),
    *("e1000", "e1000e"),
)
IOMMU_APPLETS = ("sh", "mkdir", "mount", "modprobe", "chroot", "poweroff")
TOOL_APPLETS = (
    "cat",
    "find",
    "grep",
    "sed",
    "sort",
    "xargs",
    "od",
    "tr",
    "cut",
    "umount",
    "dd",
    "sync",
    "ls",
    "mkdir",
)


@dataclass(frozen=True)
class Guest:
    """A bootable guest: ``-kernel``, ``-initrd`` and ``-append`` of QEMU; ``prompt`` says it is up.

    ``dmi_initrd`` is a second, small one, which prints the SMBIOS table on the serial port over and over.
    ``iommu_initrd`` runs a program of this machine: ``run`` in the command line, on its whole file system.
    ``tools_initrd`` is the first one with more programs and drivers, to look at all kinds of hardware.
    """

    kernel: Path
    initrd: Path
    dmi_initrd: Path
    tools_initrd: Path
    iommu_initrd: Path
    cmdline: str = CMDLINE
    prompt: str = PROMPT


@dataclass(frozen=True)
class Package:
    """A package of the distribution in one version."""

    name: str
    version: str


class GuestBuildError(Exception):
    """The guest cannot be built; says which step failed and how."""


def build_guest(cache: Path = DEFAULT_CACHE) -> Guest:
    """Return the guest, made first if ``cache`` does not hold it; safe when called twice at once.

    Raises:
        GuestBuildError: a package is missing, cannot be downloaded or lacks a file.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        packages = guest_packages()
        folder = cache / f"guest-{build_key(packages)}"
        if not folder.is_dir():
            make_guest(folder, packages, downloads=cache / "packages")
        os.utime(folder)
        remove_unused(cache)
    initrd, dmi, tools, iommu = (folder / f"{name}.gz" for name in ("initrd", "dmi", "tools", "iommu"))
    return Guest(folder / "vmlinuz", initrd, dmi, tools, iommu)


def remove_unused(cache: Path) -> None:
    """Remove what nobody used for a week; younger ones may be running."""
    for folder in cache.glob("guest-*"):
        if folder.stat().st_mtime < time.time() - UNUSED_S:
            shutil.rmtree(folder)


def make_guest(folder: Path, packages: Sequence[Package], *, downloads: Path) -> None:
    """Build into a temporary folder, renamed to ``folder`` when whole."""
    debs = [download(package, downloads) for package in packages]
    with tempfile.TemporaryDirectory(prefix="guest-", dir=folder.parent) as made:
        unpacked, result = Path(made) / "unpacked", Path(made) / "result"
        result.mkdir()
        for deb in debs:
            command("dpkg", "-x", str(deb), str(unpacked))
        kernels = sorted((unpacked / "boot").glob("vmlinuz-*"))
        if len(kernels) != 1:
            raise GuestBuildError(
                f"expected one kernel in {', '.join(deb.name for deb in debs)}, got {kernels}"
            )
        release = kernels[0].name.removeprefix("vmlinuz-")
        shutil.copy(kernels[0], result / "vmlinuz")
        content = guest_files(unpacked, release)
        # Little compression: unpacking is part of every boot, and QEMU emulates the processor.
        archives = {"initrd.gz": content, "dmi.gz": dmi_files(unpacked)}
        archives["iommu.gz"] = iommu_files(unpacked, release)
        archives["tools.gz"] = {**content, **tool_files(unpacked, release)}
        for name, files in archives.items():
            (result / name).write_bytes(gzip.compress(cpio_archive(files), compresslevel=1, mtime=0))
        result.rename(folder)


# packages


def guest_packages() -> tuple[Package, ...]:
    """The kernel's packages and busybox, in the versions that apt would install."""
    meta = kernel_meta_package()
    if not meta:
        command("apt-get", "update", "-q", timeout_s=600)
        meta = kernel_meta_package()
    if not meta:
        raise GuestBuildError(f"apt offers no busybox-static or none of {', '.join(KERNEL_META_PACKAGES)}")
    return tuple(candidates(*sorted(kernel_packages(meta)), "busybox-static"))


def kernel_meta_package() -> str:
    """The package that depends on the newest kernel; empty if apt does not know all we need."""
    known = [package.name for package in candidates(*KERNEL_META_PACKAGES, "busybox-static")]
    return known[0] if len(known) > 1 and "busybox-static" in known else ""


def candidates(*names: str) -> list[Package]:
    """The packages apt knows, each in the version it would install."""
    policy = command("apt-cache", "policy", *names)
    found = re.findall(r"^(\S+):\n.*\n  Candidate: (?!\(none\))(\S+)", policy, re.MULTILINE)
    return [Package(name, version) for name, version in found]


def kernel_packages(meta: str) -> set[str]:
    """The packages below ``meta``, in any depth, that hold a kernel or its modules."""
    found: set[str] = set()
    new = {meta}
    while new:
        depends = command("apt-cache", "depends", *sorted(new))
        names = re.findall(r"^ *\|?Depends: (\S+)", depends, re.MULTILINE)
        new = {
            name for name in names if KERNEL_PACKAGE.match(name) and not name.endswith("-unsigned")
        } - found
        found |= new
    return found


def download(package: Package, folder: Path) -> Path:
    """The package's file in ``folder``; apt checks its digest against the signed lists."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{package.name}_{package.version.replace(':', '%3a')}_*.deb"
    if not list(folder.glob(pattern)):
        for old in folder.glob(f"{package.name}_*.deb"):
            old.unlink()
        argv = ("apt-get", "download", "-q", f"{package.name}={package.version}")
        # What is interrupted leaves half a file, which is not to be taken for the package.
        with tempfile.TemporaryDirectory(prefix="new-", dir=folder) as made:
            command(*argv, cwd=Path(made), timeout_s=900)
            for new in Path(made).glob(pattern):
                new.rename(folder / new.name)
    found = list(folder.glob(pattern))
    if not found:
        raise GuestBuildError(f"apt-get download left no {pattern} in {folder}")
    return found[0]


def build_key(packages: Sequence[Package]) -> str:
    """Digest of everything the guest is made of; names its folder in the cache."""
    digest = hashlib.sha256("\n".join(f"{package.name}={package.version}" for package in packages).encode())
    sources = sorted(path for path in (HERE / "root").rglob("*") if path.is_file())
    sources += (path for path in (HERE / "tools").rglob("*") if path.is_file())
    programs = (host_program(name) for name in (*HOST_PROGRAMS, *TOOL_PROGRAMS))
    for path in (HERE / "build.py", HERE / "dmi", HERE / "iommu", *sources, *programs):
        digest.update(f"\n{os.path.relpath(path, HERE)}\n".encode())
        digest.update(path.read_bytes())
    kernel = next(package for package in packages if package.name.startswith("linux-image"))
    return f"{kernel.name.removeprefix('linux-image-')}-{digest.hexdigest()[:12]}"


# content


def guest_files(unpacked: Path, release: str) -> dict[str, bytes | Path | str]:
    """The guest's files: path without the leading slash -> content, file to copy, or link's target."""
    files: dict[str, bytes | Path | str] = {
        str(path.relative_to(HERE / "root")): path for path in (HERE / "root").rglob("*") if path.is_file()
    }
    files["bin/busybox"] = unpacked / "bin" / "busybox"
    files |= {f"bin/{name}": "busybox" for name in APPLETS}
    files |= {f"sbin/{name}": "../bin/busybox" for name in ("init", "modprobe")}
    files |= program_files(HOST_PROGRAMS)
    files |= module_files(unpacked / "lib" / "modules" / release, f"lib/modules/{release}", MODULES)
    return files


def tool_files(unpacked: Path, release: str) -> dict[str, bytes | Path | str]:
    """What the tools' initrd has beside, or in place of, the guest's files."""
    files: dict[str, bytes | Path | str] = {
        str(path.relative_to(HERE / "tools")): path for path in (HERE / "tools").rglob("*") if path.is_file()
    }
    files |= {f"bin/{name}": "busybox" for name in TOOL_APPLETS}
    files |= program_files(TOOL_PROGRAMS)
    modules = (*MODULES, *TOOL_MODULES)
    files |= module_files(unpacked / "lib" / "modules" / release, f"lib/modules/{release}", modules)
    return files


def program_files(names: Sequence[str]) -> dict[str, bytes | Path | str]:
    """Programs of this machine with their libraries."""
    files: dict[str, bytes | Path | str] = {}
    for name in names:
        program = host_program(name)
        files[f"usr/bin/{name}"] = program
        files |= {str(library).lstrip("/"): library.resolve() for library in libraries(program)}
    return files


def dmi_files(unpacked: Path) -> dict[str, bytes | Path | str]:
    """The files of the initrd that only prints the SMBIOS table."""
    return {
        "init": HERE / "dmi",
        "bin/busybox": unpacked / "bin" / "busybox",
        **{f"bin/{name}": "busybox" for name in ("sh", "mount", "gzip", "base64", "usleep")},
    }


def iommu_files(unpacked: Path, release: str) -> dict[str, bytes | Path | str]:
    """The files of the initrd that runs a program of this machine."""
    return {
        "init": HERE / "iommu",
        "bin/busybox": unpacked / "bin" / "busybox",
        **{f"bin/{name}": "busybox" for name in IOMMU_APPLETS},
        **module_files(unpacked / "lib" / "modules" / release, f"lib/modules/{release}", IOMMU_MODULES),
    }


def host_program(name: str) -> Path:
    """A program of this machine.

    Raises:
        GuestBuildError: it is not installed.
    """
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
    if found is None:
        raise GuestBuildError(f"{name} is not installed on this machine: apt-get install {name}")
    return Path(found).resolve()


def libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader a program needs, as the loader names them."""
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", command("ldd", str(program)))]


def module_files(source: Path, target: str, names: Sequence[str]) -> dict[str, bytes | Path | str]:
    """Drivers with what they depend on, and the indexes that modprobe reads."""
    available = {module_name(path): path for path in source.rglob("*.ko*")}
    builtin = {module_name(Path(line)) for line in (source / "modules.builtin").read_text().split()}
    files: dict[str, bytes | Path | str] = {}
    depends: dict[str, list[str]] = {}
    aliases: list[str] = []
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in depends or name in builtin:
            continue
        if name not in available:
            raise GuestBuildError(f"the kernel in {source} has no driver {name}")
        content = module_content(available[name])
        files[f"{target}/{name}.ko"] = content
        depends[name] = module_depends(content)
        aliases += (f"alias {alias} {name}\n" for alias in module_words(content, "alias"))
        waiting += depends[name]
    files[f"{target}/modules.dep"] = "".join(
        f"{name}.ko:{''.join(f' {other}.ko' for other in all_below(name, depends))}\n"
        for name in sorted(depends)
    ).encode()
    files[f"{target}/modules.alias"] = "".join(sorted(aliases)).encode()
    return files


def module_name(path: Path) -> str:
    """A driver's name as the kernel spells it."""
    return path.name.partition(".ko")[0].replace("-", "_")


def module_content(path: Path) -> bytes:
    """A driver, uncompressed, because busybox loads no other."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout
    return path.read_bytes()


def module_depends(content: bytes) -> list[str]:
    """What a driver says it needs."""
    names = ",".join(module_words(content, "depends")).split(",")
    return [name.replace("-", "_") for name in names if name]


def module_words(content: bytes, key: str) -> list[str]:
    """What a driver says of itself. Source: the .modinfo section that modpost writes."""
    return [word.decode() for word in re.findall(rb"(?<=\0)%s=([^\0]*)(?=\0)" % key.encode(), content)]


def all_below(name: str, depends: dict[str, list[str]]) -> list[str]:
    """Everything ``name`` needs, nearest first, as modules.dep lists it."""
    found: list[str] = []
    waiting = list(depends[name])
    while waiting:
        other = waiting.pop(0)
        if other in depends:
            if other in found:
                found.remove(other)
            found.append(other)
            waiting += depends[other]
    return found


# archive


def cpio_archive(files: dict[str, bytes | Path | str]) -> bytes:
    """An initramfs: ``files`` with their folders and a console. Source: kernel, buffer-format.rst."""
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    folders |= {"dev", "proc", "sys", "root", "tmp", "run", "etc"}
    entries = [cpio_entry(name, stat.S_IFDIR | 0o755, b"") for name in sorted(folders)]
    # Before devtmpfs is mounted, the first process needs a console to talk to: character device 5, 1.
    entries.append(cpio_entry("dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1)))
    for name, content in sorted(files.items()):
        if isinstance(content, str):
            entries.append(cpio_entry(name, stat.S_IFLNK | 0o777, content.encode()))
        elif isinstance(content, Path):
            entries.append(
                cpio_entry(name, stat.S_IFREG | content.stat().st_mode & 0o777, content.read_bytes())
            )
        else:
            entries.append(cpio_entry(name, stat.S_IFREG | 0o644, content))
    return b"".join([*entries, cpio_entry("TRAILER!!!", 0, b"")])


def cpio_entry(name: str, mode: int, content: bytes, *, device: tuple[int, int] = (0, 0)) -> bytes:
    """One member of a "newc" archive, padded to four bytes."""
    inode, owner, group, links, changed, checksum = 0, 0, 0, 1, 0, 0
    encoded = name.encode() + b"\0"
    numbers = (inode, mode, owner, group, links, changed, len(content), 0, 0, *device, len(encoded), checksum)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
    return padded(head) + padded(content)


def padded(data: bytes) -> bytes:
    """``data`` with zero bytes up to a multiple of four."""
    return data + bytes(-len(data) % 4)


# running things


def command(*argv: str, cwd: Path | None = None, timeout_s: float = 120) -> str:
    """What a program prints on standard output.

    Raises:
        GuestBuildError: it failed; with what it said.
    """
    done = subprocess.run(
        argv,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        raise GuestBuildError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Build, and say where."""
    guest = build_guest(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_CACHE)
    sys.stdout.write(f"kernel {guest.kernel}\ninitrd {guest.initrd}\nappend {guest.cmdline}\n")


if __name__ == "__main__":
    main()
