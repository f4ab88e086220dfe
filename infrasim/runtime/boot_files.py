"""Files that a host or its BMC begins with: whether they can be what they are named for.

Who reads them ends at once if they are not, and says little; ipmi_sim says nothing at all.
"""

from __future__ import annotations

from pathlib import Path

# What QEMU, or OVMF, begins: Linux by its boot protocol, ELF, programs of UEFI, and multiboot somewhere in
# the first bytes. Source: QEMU hw/i386/x86.c, x86_load_linux, and multiboot.c; Linux Documentation/x86/boot.
_HEAD = 8192
_LINUX = slice(0x202, 0x206), b"HdrS"
_BEGINNINGS = (b"\x7fELF", b"MZ")
_MULTIBOOT = (0x1BADB002).to_bytes(4, "little")
# One of these has to set up a controller. Source: ipmi_sim_cmd(5); measured, that ipmi_sim ends without one.
_EMU_COMMANDS = {"mc_setbmc", "include", "read_cmds"}
# Source: QEMU hw/i386/x86.c, x86_bios_rom_init.
_BIOS_UNIT = 64 * 1024


def content_fault(key: str, path: Path) -> tuple[str, str] | None:
    """What is wrong with a file that can be read, of those that are looked into: message and hint."""
    checks = {"compute.kernel": _kernel_fault, "compute.bios": _bios_fault, "bmc.emu_file": _emu_fault}
    check = checks.get(key)
    return check(path) if check else None


def _kernel_fault(path: Path) -> tuple[str, str] | None:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    place, mark = _LINUX
    if head[place] == mark or head.startswith(_BEGINNINGS) or _MULTIBOOT in head:
        return None
    return f"{path} is no kernel that QEMU can load", "such as /boot/vmlinuz of a distribution"


def _bios_fault(path: Path) -> tuple[str, str] | None:
    size_bytes = path.stat().st_size
    if size_bytes and size_bytes % _BIOS_UNIT == 0:
        return None
    message = f"{path} is no firmware: it has {size_bytes} bytes, not a multiple of {_BIOS_UNIT}"
    return message, "leave it out for SeaBIOS's own"


def _emu_fault(path: Path) -> tuple[str, str] | None:
    with path.open(encoding="utf-8", errors="replace") as lines:
        if any(_EMU_COMMANDS.intersection(line.split(maxsplit=1)[:1]) for line in lines):
            return None
    message = f"{path} is no file of ipmi_sim's commands: no line begins with mc_setbmc"
    return message, "'infrasim type render TYPE DIR' writes those of a server type"
