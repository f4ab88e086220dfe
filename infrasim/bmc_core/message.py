"""One IPMI request as the core sees it, and how a handler refuses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from infrasim.bmc_core.codes import THIS_CHANNEL, Channel, Completion, NetFn, Privilege

if TYPE_CHECKING:
    from infrasim.bmc_core.lan.session import Session


class Refused(Exception):
    """A handler's way to answer with a completion code; ``data`` follows the code."""

    def __init__(self, code: int, data: bytes = b"") -> None:
        super().__init__(f"completion code {code:#04x}")
        self.code = code
        self.data = data


@dataclass(frozen=True, slots=True)
class Origin:
    """Which door a request came through, and what it may do.

    ``privilege`` is the level in effect; outside a session it is NONE. ``session`` is the LAN one, if any.
    """

    channel: int
    privilege: Privilege
    session: Session | None = None


# The host's own software, over KCS, may do everything. Source: IPMI 2.0 section 6.8.
IN_BAND = Origin(Channel.SYSTEM_INTERFACE, Privilege.OEM)


class Request(NamedTuple):
    """One request. ``data`` is what follows the command byte, without checksums."""

    netfn: int
    command: int
    data: bytes
    origin: Origin
    lun: int = 0

    def channel(self, number: int) -> int:
        """The channel that the low four bits of ``number`` mean in this request."""
        wanted = number & 0x0F
        return self.origin.channel if wanted == THIS_CHANNEL else wanted

    def need(self, least: int, most: int | None = None) -> bytes:
        """The data, if it is ``least`` to ``most`` bytes long; ``most`` None means exactly ``least``.

        Raises:
            Refused: request data length invalid.
        """
        if not least <= len(self.data) <= (least if most is None else most):
            raise Refused(Completion.LENGTH_INVALID)
        return self.data


def refused(request: Request, code: int) -> bytes:
    """The answer to a request that nobody looks into.

    Where several bodies share a network function each answer, refusals too, begins with the number of the
    body that was asked. Source: IPMI 2.0 table 5-1; DCMI 1.5 section 6.
    """
    return bytes([code]) + (request.data[:1] if request.netfn == NetFn.GROUP else b"")
