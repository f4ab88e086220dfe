"""What tells one node from another of the same type."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class NodeIdentity:
    """A node's identity as its file gives it; empty text means: as the server type has it.

    ``serial_number`` is the machine's: it appears in SMBIOS types 1, 2 and 3 and in FRU 0 alike.
    """

    uuid: UUID
    serial_number: str
    asset_tag: str = ""
    memory_mib: int = 1024
