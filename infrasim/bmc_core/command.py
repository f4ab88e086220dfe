"""What a command is: its numbers, who may give it, where the specification has it, who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.message import Request
from infrasim.frozen import Frozen

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Returns what follows the completion code 0; raises Refused for any other code.
Handler = Callable[["Bmc", Request], bytes | Awaitable[bytes]]


class Command(Frozen):
    """One entry of the command table.

    ``privilege`` is what a session needs; NONE means that no session is needed. ``section`` is of IPMI 2.0
    unless it says otherwise. ``in_band_only`` commands exist on the system interface alone.
    """

    netfn: int
    number: int
    name: str
    privilege: Privilege
    section: str
    run: Handler
    in_band_only: bool = False


def ask_engine(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """The handler of everything ipmi_sim owns: SEL, sensors, FRU."""
    return bmc.engine.ask_at_once(request.netfn, request.command, request.data, lun=request.lun)
