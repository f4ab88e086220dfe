"""What tells one node from another of the same type."""

from __future__ import annotations

from uuid import UUID

from infrasim.frozen import Frozen
from infrasim.personality.layout import DataError


class FruText(Frozen):
    """One string of a FRU device that a node has for itself.

    ``area`` is ``chassis``, ``board`` or ``product``; ``field`` a name in that area, such as ``part_number``.
    """

    fru_id: int
    area: str
    field: str
    text: str


class SmbiosValue(Frozen):
    """One field of all SMBIOS structures of a kind that a node has for itself.

    ``kind`` and ``field`` as in ``smbios.yml``, such as ``baseboard`` and ``location``. Of the processors
    only those that are plugged in; the other counts of cores and threads follow ``core_count``.
    """

    kind: str
    field: str
    value: str | int


class Dimm(Frozen):
    """A memory module in the slot called ``locator``; empty texts mean: as the server's modules have it."""

    locator: str
    size_mib: int
    manufacturer: str = ""
    serial_number: str = ""
    asset_tag: str = ""
    part_number: str = ""


class SystemInterface(Frozen):
    """Where the host finds its BMC: ``kind`` is ``kcs`` or ``bt``; ``irq`` 0 is no interrupt."""

    kind: str
    io_port: int
    irq: int


class NodeIdentity(Frozen):
    """A node's identity as its file gives it; empty text means: as the server type has it.

    ``serial_number`` is the machine's: it appears in SMBIOS types 1, 2 and 3 and in FRU 0 alike, unless
    ``fru`` or ``smbios`` says something else of one of them. With ``dimms`` exactly these slots hold modules,
    whose sizes must add up to ``memory_mib``.
    """

    uuid: UUID
    serial_number: str
    asset_tag: str = ""
    memory_mib: int = 1024
    fru: tuple[FruText, ...] = ()
    smbios: tuple[SmbiosValue, ...] = ()
    dimms: tuple[Dimm, ...] = ()
    interface: SystemInterface | None = None


# One thing that a node has for itself; a text is the name of a field of ``NodeIdentity``.
Part = FruText | SmbiosValue | Dimm | str


class IdentityError(DataError):
    """The server cannot have ``part`` of a node's identity."""

    def __init__(self, part: Part, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.part = part
