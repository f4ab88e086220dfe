"""The UUID of the node as it goes over the wire, which depends on the command that asks."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc


def guid_bytes(guid: str) -> bytes:
    """The bytes of a UUID in the order of its text, which is that of RFC 4122.

    By hand, because ``uuid`` takes long to import and a supervisor is waited for.
    """
    return bytes.fromhex(guid.replace("-", ""))


def system_guid(bmc: Bmc) -> bytes:
    """For Get System GUID and RAKP: in the byte order of SMBIOS.

    IPMI 2.0 table 20-10 wants the bytes of RFC 4122 backwards, but the system's GUID is that of SMBIOS, and
    Dell's and Quanta's BMCs send it as it lies there. pyghmi takes it so; ipmitool finds out which it is.
    """
    return _as_in_smbios(bmc.settings.guid)


# Every login has it.
@lru_cache(maxsize=1)
def _as_in_smbios(guid: str) -> bytes:
    plain = guid_bytes(guid)
    return plain[3::-1] + plain[5:3:-1] + plain[7:5:-1] + plain[8:]


def device_guid(bmc: Bmc) -> bytes:
    """For Get Device GUID: RFC 4122 backwards, as FreeIPMI reads it. Source: IPMI 2.0 table 20-10."""
    return guid_bytes(bmc.settings.guid)[::-1]
