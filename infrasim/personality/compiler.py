"""A server type and one node's identity to what ipmi_sim and QEMU are given.

Where a real tool could tell that two sources disagree, they are made to agree here: serial number and asset
tag in FRU 0 and SMBIOS, memory in SMBIOS and machine, the IPMI interface SMBIOS names and the one QEMU has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from infrasim.personality.emu import Emulation, emu_text
from infrasim.personality.fru import Area, BoardArea, ChassisArea, Fru, InfoArea, ProductArea
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.idstring import IdString
from infrasim.personality.memory import with_memory
from infrasim.personality.model import Personality
from infrasim.personality.smbios import (
    END_OF_TABLE,
    Baseboard,
    Chassis,
    IpmiDevice,
    Processor,
    Structure,
    System,
)

BMC_ADDRESS = 0x20
# Where QEMU's isa-ipmi-kcs is unless told otherwise. Source: QEMU 7.2, measured.
KCS_IO_PORT = 0xCA2

S = TypeVar("S", bound=Structure)


@dataclass(frozen=True)
class CompiledPersonality:
    """What a server type is to the programs that play it.

    ``emu`` is for ``ipmi_sim -f``; ``smbios`` holds one structure each with its closing zeros, for one
    ``-smbios file=`` each, without the end-of-table structure; ``sockets`` is their number of type 4, which
    ``-smp sockets`` must equal (1 if there are none); ``cores`` per socket, 0 if not known; ``kcs_io_port``
    is where ``isa-ipmi-kcs`` must be (``ioport=``), without an interrupt (``irq=0``).
    """

    emu: str
    smbios: tuple[bytes, ...]
    sockets: int
    cores: int
    kcs_io_port: int


def compile_personality(personality: Personality, identity: NodeIdentity) -> CompiledPersonality:
    """Render ``personality`` for the node with ``identity``.

    Raises:
        DataError: if the identity does not fit, such as a serial number too long for its FRU.
    """
    port = kcs_io_port(personality)
    structures = with_memory(personality.smbios, identity.memory_mib)
    structures = tuple(_identified(structure, identity, port) for structure in structures)
    emulation = Emulation(
        bmc=BMC_ADDRESS,
        controllers=personality.controllers,
        event_log=personality.event_log,
        entries=personality.sdrs,
        hidden_sensors=personality.hidden_sensors,
        frus=tuple(_identified_fru(fru, identity) for fru in personality.frus),
    )
    return CompiledPersonality(
        emu=emu_text(
            emulation, title=f"{personality.name}: {personality.summary or personality.product_name}"
        ),
        smbios=tuple(item.encode() for item in structures if item.type_number != END_OF_TABLE),
        sockets=sum(isinstance(item, Processor) for item in structures) or 1,
        cores=personality.cpu_cores,
        kcs_io_port=port,
    )


def kcs_io_port(personality: Personality) -> int:
    """The I/O port of the server's IPMI interface, as its SMBIOS type 38 names it."""
    for device in personality.structures(IpmiDevice):
        if device.io_port is not None:
            return device.io_port
    return KCS_IO_PORT


# ---------------------------------------------------------------- SMBIOS


def _identified(structure: Structure, identity: NodeIdentity, port: int) -> Structure:
    serial, asset_tag = identity.serial_number, identity.asset_tag
    if isinstance(structure, System):
        return dataclasses.replace(with_texts(structure, serial_number=serial), uuid=str(identity.uuid))
    if isinstance(structure, (Baseboard, Chassis)):
        return with_texts(structure, serial_number=serial, asset_tag=asset_tag)
    if isinstance(structure, IpmiDevice):
        return dataclasses.replace(
            structure,
            interface="kcs",
            i2c_address=BMC_ADDRESS,
            base_address=port & ~1 | 1,
            low_bit=port & 1,
            spacing="byte",
            has_interrupt=False,
            active_high=False,
            level_triggered=False,
            interrupt=0,
        )
    return structure


def with_texts(structure: S, **texts: str) -> S:
    """``structure`` with some of its texts replaced; an empty text leaves the old one.

    A field beyond the structure's length stays absent. In a structure that lists its strings, the old string
    gives way to the new one unless another field uses it too.
    """
    for name, text in texts.items():
        old = getattr(structure, name)
        if not text or old == text:
            continue
        if structure.length and structure.length < structure.end_of(name):
            continue
        strings = structure.strings
        if strings:
            number = old if isinstance(old, int) else strings.index(old) + 1 if old else 0
            if number and structure.uses_of(number) == 1:
                strings = (*strings[: number - 1], text, *strings[number:])
            elif text not in strings:
                strings = (*strings, text)
        changes: dict[str, Any] = {"strings": strings, name: text}
        structure = dataclasses.replace(structure, **changes)
    return structure


# ---------------------------------------------------------------- FRU


def _identified_fru(fru: Fru, identity: NodeIdentity) -> Fru:
    if fru.fru_id or fru.controller != BMC_ADDRESS or not fru.areas:
        return fru
    return dataclasses.replace(fru, areas=tuple(_identified_areas(fru, identity)))


def _identified_areas(fru: Fru, identity: NodeIdentity) -> Iterator[Area]:
    for area in fru.areas:
        texts: dict[str, str] = {}
        if isinstance(area, (ChassisArea, BoardArea, ProductArea)):
            texts["serial_number"] = identity.serial_number
        if isinstance(area, ProductArea):
            texts["asset_tag"] = identity.asset_tag
        yield _with_strings(area, texts) if isinstance(area, InfoArea) else area


def _with_strings(area: InfoArea, texts: dict[str, str]) -> InfoArea:
    """``area`` with some of its strings replaced, as large as it was if they fit.

    An empty text leaves the old one.
    """
    strings: dict[str, Any] = {name: IdString(text) for name, text in texts.items() if text}
    if all(getattr(area, name) == string for name, string in strings.items()):
        return area
    size = len(area.encode())
    return dataclasses.replace(area, **strings, length=size, checksum=None, padding=b"")
