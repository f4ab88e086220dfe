"""What a command is: its numbers, who may give it, where the specification has it, who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.message import Refused, Request
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
    """Ask ipmi_sim, which owns SEL, sensors and FRU. It takes requests of any length: see :func:`sized`."""
    return bmc.engine.ask_at_once(request.netfn, request.command, request.data, lun=request.lun)


def sized(run: Handler, least: int, most: int | None = None) -> Handler:
    """The handler that has ``run`` answer requests of ``least`` to ``most`` bytes, as in ``Request.need``."""

    def handle(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
        request.need(least, most)
        return run(bmc, request)

    return handle


def answered(found: bytes | Awaitable[bytes], change: Callable[[bytes], bytes]) -> bytes | Awaitable[bytes]:
    """``change`` of an answer, now if it is there already."""

    async def later(found: Awaitable[bytes]) -> bytes:
        return change(await found)

    return change(found) if isinstance(found, bytes) else later(found)


def cured(
    bmc: Bmc,
    request: Request,
    refuse: Callable[[Refused], Awaitable[Refused]],
    answer: Callable[[bytes], bytes] = bytes,
) -> bytes | Awaitable[bytes]:
    """Ask ipmi_sim, and tell its answer or refusal as IPMI has it."""

    async def finish(found: Awaitable[bytes] | Refused) -> bytes:
        try:
            if isinstance(found, Refused):
                raise found
            return answer(await found)
        except Refused as refusal:
            raise await refuse(refusal) from None

    try:
        found = ask_engine(bmc, request)
    except Refused as refusal:
        return finish(refusal)
    return answer(found) if isinstance(found, bytes) else finish(found)
