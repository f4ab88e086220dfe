"""What Quanta adds: the platform, which ipmitool asks for before it describes an event of memory.

The reference system's OpenIPMI had two more, 0x77 for a lamp and 0x7D for a node id. No public source tells
what they are asked and answer, so they are not here.

Source: ipmitool 1.8.19, ``sel list`` of a Quanta server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

MANUFACTURER = 7244

_NETFN = 0x36
# What the request has to begin with.
_SIGNATURE = bytes([0x4C, 0x1C, 0x00, 0x02])
# Intel's platform of Xeon E5 v3 and v4, which the shipped Quanta types have.
_GRANTLEY = 1


def get_platform(bmc: Bmc, request: Request) -> bytes:
    """Which platform the board belongs to."""
    if request.need(len(_SIGNATURE)) != _SIGNATURE:
        raise Refused(Completion.INVALID_FIELD)
    return bytes([_GRANTLEY])


COMMANDS = (Command(_NETFN, 0x65, "Get Platform", Privilege.USER, "ipmitool sel list", get_platform),)
