"""The event log: ipmi_sim keeps its entries, the BMC who may change them and when that was.

To ipmi_sim a reservation of 0 is as good as one that was given, nothing ends those it gave, deleting an entry
is no erasure, and the question how far an erasure is is one. Source: measured with 2.0.33. So the reservation
is the BMC's own, and ipmi_sim sees none.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.clock import bmc_time_s
from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, answered, ask_engine, sized
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.reservation import Reservation

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

GET_INFO, GET_ENTRY, ADD_ENTRY = 0x40, 0x43, 0x44
_DELETE_ENTRY, _CLEAR = 0x46, 0x47

# Record ids of an event that is in no log: that the core makes, that ipmi_sim tells. Source: IPMI 2.0
# table 30-6; measured.
_NOT_LOGGED = (b"\0\0", b"\xff\xff")
_NO_RESERVATION = bytes(2)
_RECORD_SIZE = 16
# Of Get SEL Info: when an entry was added, and when one was erased. Source: IPMI 2.0 table 31-2.
_ADDED, _ERASED = slice(5, 9), slice(9, 13)
_ENTRIES, _FREE = slice(1, 3), slice(3, 5)
# That it has Get SEL Allocation Info.
_TELLS_ALLOCATION = 0x01
_NEVER = bytes(4)
_UNSPECIFIED_TIME = b"\xff\xff\xff\xff"
_ERASURE_COMPLETE = b"\x01"


@dataclass
class SelState:
    """What the BMC keeps of its log. ``erased_s`` is by the BMC's clock; None if nothing was erased yet."""

    erased_s: int | None = None


class EventLog:
    """Who has reserved the log, and when something was taken out of it."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self.reservation = Reservation()

    def event_happened(self, record: bytes) -> None:
        """An event happened; if it is in the log, an entry was added."""
        if record[:2] not in _NOT_LOGGED:
            self.reservation.void()

    def erased(self) -> None:
        """An entry was deleted, or all were."""
        self._bmc.state.sel.erased_s = int(bmc_time_s(self._bmc)) & 0xFFFFFFFF
        self._bmc.changed()

    def info(self, told: bytes) -> bytes:
        """Get SEL Info as IPMI has it; ``told`` is what ipmi_sim answers."""
        erased_s = self._bmc.state.sel.erased_s
        erased = told[_ERASED] if erased_s is None else erased_s.to_bytes(4, "little")
        times = (_UNSPECIFIED_TIME if each == _NEVER else each for each in (told[_ADDED], erased))
        operations = bytes(each | _TELLS_ALLOCATION for each in told[_ERASED.stop :])
        return told[: _ADDED.start] + b"".join(times) + operations


def get_info(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 31.2."""
    request.need(0)
    return answered(ask_engine(bmc, request), bmc.sel.info)


def entries(info: bytes) -> tuple[int, int]:
    """How many there are, and how many more the log has room for, by Get SEL Info."""
    used, free = (int.from_bytes(info[part], "little") for part in (_ENTRIES, _FREE))
    return used, free // _RECORD_SIZE


def get_allocation_info(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """A unit is an entry. Source: IPMI 2.0 section 31.3."""
    request.need(0)

    def units(told: bytes) -> bytes:
        used, free = entries(told)
        most = min(used + free, 0xFFFF)
        return b"".join(each.to_bytes(2, "little") for each in (most, _RECORD_SIZE, free, free)) + b"\x01"

    return answered(bmc.engine.ask_at_once(NetFn.STORAGE, GET_INFO, b""), units)


def reserve(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 31.4."""
    request.need(0)
    return bmc.sel.reservation.take().to_bytes(2, "little")


def get_entry(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 31.5."""
    data = request.need(6)
    offset = data[4]
    bmc.sel.reservation.need(data, optional=not offset)
    if offset >= _RECORD_SIZE:
        raise Refused(Completion.OUT_OF_RANGE)
    return bmc.engine.ask_at_once(NetFn.STORAGE, GET_ENTRY, _NO_RESERVATION + data[2:])


async def add_entry(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 31.6."""
    return await add_to_log(bmc, request.need(_RECORD_SIZE))


async def add_to_log(bmc: Bmc, record: bytes) -> bytes:
    """Put a record into the log and return the id that it got.

    Raises:
        Refused: by ipmi_sim.
    """
    number = await bmc.engine.ask(NetFn.STORAGE, ADD_ENTRY, record)
    bmc.sel.reservation.void()
    return number


async def delete_entry(bmc: Bmc, request: Request) -> bytes:
    """The others keep their numbers, so a reservation goes on. Source: IPMI 2.0 sections 31.4.2 and 31.8."""
    data = request.need(4)
    bmc.sel.reservation.need(data)
    number = await bmc.engine.ask(NetFn.STORAGE, _DELETE_ENTRY, _NO_RESERVATION + data[2:])
    bmc.sel.erased()
    return number


async def clear(bmc: Bmc, request: Request) -> bytes:
    """It is empty at once: who asks how far that is needs no reservation. Source: IPMI 2.0 section 31.9."""
    data = request.need(6)
    if bmc.sel.reservation.allows_clear(data):
        await bmc.engine.ask(NetFn.STORAGE, _CLEAR, _NO_RESERVATION + data[2:])
        bmc.sel.reservation.void()
        bmc.sel.erased()
    return _ERASURE_COMPLETE


_USER, _OPERATOR = Privilege.USER, Privilege.OPERATOR
_STORAGE = NetFn.STORAGE

# Privileges: IPMI 2.0 appendix G.
COMMANDS = (
    Command(_STORAGE, GET_INFO, "Get SEL Info", _USER, "31.2", get_info),
    Command(_STORAGE, 0x41, "Get SEL Allocation Info", _USER, "31.3", get_allocation_info),
    Command(_STORAGE, 0x42, "Reserve SEL", _USER, "31.4", reserve),
    Command(_STORAGE, GET_ENTRY, "Get SEL Entry", _USER, "31.5", get_entry),
    Command(_STORAGE, ADD_ENTRY, "Add SEL Entry", _OPERATOR, "31.6", add_entry),
    Command(_STORAGE, _DELETE_ENTRY, "Delete SEL Entry", _OPERATOR, "31.8", delete_entry),
    Command(_STORAGE, _CLEAR, "Clear SEL", _OPERATOR, "31.9", clear),
    Command(_STORAGE, 0x48, "Get SEL Time", _USER, "31.10", sized(ask_engine, 0)),
)
