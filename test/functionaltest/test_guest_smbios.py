"""What Linux on a node of each server type finds as its SMBIOS, compared byte by byte with what was compiled.

Each type is booted once, through ``infrasim node start``, into a guest that does nothing but print the table
the kernel found (``guest/dmi``). The whole table is compared, structure by structure and in its order, with
what ``compile_personality`` makes for the node's own serial number, UUID and memory; so is what dmidecode
prints.

Not from the type, and listed here, are QEMU's own: type 32 (system boot), if the type has none, and the entry
point, which says where the table is. The end-of-table structure is QEMU's too, with a handle of its choosing.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from guest.build import Guest
from lab import NODE, Lab, execute, wait_for

from infrasim.paths import shipped_types
from infrasim.personality.compiler import compile_personality
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.smbios import dump_bytes

BOOT_S = 240
MEMORY_MIB = 256
# Nothing the table has to do with, and each of these takes an emulated processor seconds.
CMDLINE = "quiet nosmp acpi=off pci=off mitigations=off nokaslr cryptomgr.notests"
BOOT_INFORMATION, END_OF_TABLE = 32, 127


@dataclass(frozen=True)
class Shown:
    """What the guest printed."""

    entry_point: bytes
    table: bytes


def block(text: str, name: str) -> bytes | None:
    """The first whole copy of a file that the guest printed; None if there is none yet."""
    for packed in re.findall(rf"begin {name}\n(.*?)end {name}\n", text, re.DOTALL):
        try:
            return gzip.decompress(base64.b64decode(packed))
        except (binascii.Error, zlib.error, EOFError, OSError):
            continue
    return None


def structures(table: bytes) -> list[bytes]:
    """A table's structures, each with its strings and their end. Source: DSP0134 section 6.1."""
    found = []
    while table:
        end = table.index(b"\0\0", table[1]) + 2
        found.append(table[:end])
        table = table[end:]
    return found


def boot(home: Lab, guest: Guest, name: str) -> Shown:
    compute = {"kernel": str(guest.kernel), "initrd": str(guest.dmi_initrd), "cmdline": CMDLINE}
    home.start(type=name, compute={**compute, "memory": {"size": MEMORY_MIB}})

    def shown(file: str) -> bytes | None:
        return block(home.serial().replace("\r", ""), file)

    # Each may come garbled, and is printed again and again.
    wait_for(
        lambda: shown("DMI") and shown("smbios_entry_point"),
        timeout_s=BOOT_S,
        what="the table on the serial port",
    )
    entry_point, table = shown("smbios_entry_point"), shown("DMI")
    assert entry_point and table
    return Shown(entry_point, table)


def expected(home: Lab, name: str) -> list[bytes]:
    """The structures of the type for the node that runs."""
    node = json.loads(home.must("node", "info", NODE, "--json"))
    identity = NodeIdentity(UUID(node["uuid"]), node["serial_number"], memory_mib=MEMORY_MIB)
    return list(compile_personality(load_type(name, [shipped_types()]), identity).smbios)


def dmidecode(found: list[bytes], path: Path) -> str:
    path.write_bytes(dump_bytes(tuple(found)))
    ran = execute("dmidecode", "--from-dump", str(path))
    assert (ran.code, ran.err) == (0, "")
    return ran.out.partition("\n\n")[2]


@pytest.mark.parametrize("name", type_names([shipped_types()]))
def test_linux_finds_the_table_of_the_type(scratch: Lab, guest: Guest, tmp_path: Path, name: str) -> None:
    shown = boot(scratch, guest, name)
    wanted = expected(scratch, name)
    *found, last = structures(shown.table)
    assert last[0] == END_OF_TABLE
    if BOOT_INFORMATION not in {data[0] for data in wanted}:
        found = [data for data in found if data[0] != BOOT_INFORMATION]
    assert found == wanted
    assert shown.entry_point[:4] in (b"_SM_", b"_SM3")
    text = dmidecode(found, tmp_path / "found")
    assert text == dmidecode(wanted, tmp_path / "wanted")
    # dump_bytes() writes an end of its own.
    assert len(re.findall(r"^Handle 0x", text, re.MULTILINE)) == len(wanted) + 1


def test_a_table_that_differs_in_one_byte_is_seen(tmp_path: Path) -> None:
    wanted = list(
        compile_personality(
            load_type("vnode", [shipped_types()]), NodeIdentity(UUID(int=1), "NODE-1", memory_mib=MEMORY_MIB)
        ).smbios
    )
    assert structures(b"".join(wanted)) == wanted
    changed = [data.replace(b"NIC 2", b"NIC 3") for data in wanted]
    assert structures(b"".join(changed)) != wanted
    assert dmidecode(changed, tmp_path / "a") != dmidecode(wanted, tmp_path / "b")


def test_a_garbled_copy_is_not_taken() -> None:
    packed = base64.b64encode(gzip.compress(bytes(range(200)), mtime=0)).decode()
    garbled = packed[:40] + packed[39] + packed[40:]
    text = f"begin DMI\n{garbled}\nend DMI\n"
    assert block(text, "DMI") is None
    assert block(text + f"begin DMI\n{packed[:64]}\n{packed[64:]}\nend DMI\nbegin DM", "DMI") == bytes(
        range(200)
    )
    assert block(f"begin DMI\n{packed}\n", "DMI") is None
