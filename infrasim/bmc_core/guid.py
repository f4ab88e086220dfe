"""The identity of the BMC as it goes over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc


def guid_bytes(bmc: Bmc) -> bytes:
    """The node's UUID in the byte order of SMBIOS."""
    return UUID(bmc.settings.guid).bytes_le
