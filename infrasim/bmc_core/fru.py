"""FRU devices: ipmi_sim has them in its memory; what clients write is kept here, as an EEPROM would.

What is written counts for the inventory it was written over. When ipmi_sim begins with another one, because
the node file or the server type says so, that is the newer word, and what was written to the old one is void.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, cured
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.serial_history import SerialHistory

_GET_INFO, _READ, _WRITE = 0x10, 0x11, 0x12
# As many bytes as ipmi_sim gives and takes at a time at every door.
_PIECE_SIZE = 16


@dataclass
class FruContent:
    """What a FRU device holds since it was written to; ``origin`` tells what it held before."""

    origin: str
    content: bytes


async def restore(bmc: Bmc) -> None:
    """Write into an ipmi_sim that was started what it has forgotten, where it has the inventory of then.

    Raises:
        Refused: by ipmi_sim.
    """
    kept_of = bmc.state.frus
    for device, kept in list(kept_of.items()):
        found = await _whole(bmc, device)
        if found == kept.content:
            continue
        if _digest(found) != kept.origin:
            del kept_of[device]
            bmc.changed()
            continue
        for at in range(0, len(found), _PIECE_SIZE):
            piece = kept.content[at : at + _PIECE_SIZE]
            if piece != found[at : at + _PIECE_SIZE]:
                await bmc.engine.ask(NetFn.STORAGE, _WRITE, _place(device, at) + piece)


async def _whole(bmc: Bmc, device: int) -> bytes:
    """All that a FRU device holds; nothing if it is not there."""
    try:
        info = await bmc.engine.ask(NetFn.STORAGE, _GET_INFO, bytes([device]))
    except Refused as refusal:
        if refusal.code != Completion.INVALID_FIELD:
            raise
        return b""
    size = int.from_bytes(info[:2], "little")
    found = b""
    while len(found) < size:
        count = min(_PIECE_SIZE, size - len(found))
        piece = await bmc.engine.ask(NetFn.STORAGE, _READ, _place(device, len(found)) + bytes([count]))
        if len(piece) < 2:
            break
        found += piece[1:]
    return found


def _place(device: int, offset: int) -> bytes:
    return bytes([device]) + offset.to_bytes(2, "little")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _history(bmc: Bmc, request: Request) -> SerialHistory | None:
    """What the host printed, if that is the FRU device that is asked for."""
    return bmc.serial_history if request.data[:1] == bmc.history_fru else None


async def _about_the_device(refusal: Refused) -> Refused:
    """A FRU device that is not there is a wrong field to ipmi_sim, and nothing else is."""
    missing = refusal.code == Completion.INVALID_FIELD
    return Refused(Completion.NOT_PRESENT) if missing else refusal


def get_info(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.1."""
    request.need(1)
    history = _history(bmc, request)
    return cured(bmc, request, _about_the_device) if history is None else history.area_info(request)


def read(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.2.

    To a read of more than fits a message ipmi_sim says "request data field length limit exceeded", which is
    about requests. Clients then give up; after "cannot return number of requested data bytes" they read less.
    """

    async def about_the_answer(refusal: Refused) -> Refused:
        too_long = refusal.code == Completion.TOO_LONG
        return Refused(Completion.CANNOT_RETURN_SO_MUCH) if too_long else await _about_the_device(refusal)

    request.need(4)
    history = _history(bmc, request)
    return cured(bmc, request, about_the_answer) if history is None else history.read(request)


def write(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.3."""
    request.need(3, 0xFF)
    history = _history(bmc, request)
    return _write(bmc, request) if history is None else history.write()


async def _write(bmc: Bmc, request: Request) -> bytes:
    device, offset, data = request.data[0], int.from_bytes(request.data[1:3], "little"), request.data[3:]
    kept = bmc.state.frus.get(device)
    if kept is None:
        before = await _whole(bmc, device)
        if not before:
            raise Refused(Completion.NOT_PRESENT)
        # Nobody writes before this is done, so of two who do it at once both have read the same.
        kept = bmc.state.frus.setdefault(device, FruContent(_digest(before), before))
    answer = await bmc.engine.ask(NetFn.STORAGE, _WRITE, request.data)
    kept.content = kept.content[:offset] + data + kept.content[offset + len(data) :]
    bmc.changed()
    return answer


_STORAGE = NetFn.STORAGE

# Privileges: IPMI 2.0 appendix G.
COMMANDS = (
    Command(_STORAGE, _GET_INFO, "Get FRU Inventory Area Info", Privilege.USER, "34.1", get_info),
    Command(_STORAGE, _READ, "Read FRU Data", Privilege.USER, "34.2", read),
    Command(_STORAGE, _WRITE, "Write FRU Data", Privilege.OPERATOR, "34.3", write),
)
