"""The SDR repository: it begins with the records that ipmi_sim was given, and is the BMC's own from then on.

ipmi_sim's own repository cannot be handed out: a read near a record's end returns what lies behind it in
memory, Delete SDR deletes any record but the one that was named, Partial Add is not there, and the question
how far an erasure is erases everything under ipmi_sim's feet and ends it. Source: measured with 2.0.33.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.clock import bmc_time_s
from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, Handler
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.reservation import Reservation

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

HEADER_SIZE = 5
FIRST, LAST = 0x0000, 0xFFFF

_GET_SDR = 0x23
_PIECE_SIZE = 16
_MOST_RECORDS = 4096

# More in one answer does not fit the messages of every channel; clients then ask for less.
_MOST_AT_ONCE = 33

_VERSION = 0x51
# What the repository takes, in units; so much has a real BMC's. Source: IPMI 2.0 table 33-4.
_UNIT_SIZE, _UNITS = 16, 4096
_MOST_SPACE = 0xFFFE
_MOST_RECORD_UNITS = -(-(HEADER_SIZE + 0xFF) // _UNIT_SIZE)
# Allocation info, reservation, partial add and delete are there; it can be changed at any time.
# Source: IPMI 2.0 table 33-3, byte 15.
_OPERATIONS = 0x2F

# Of Add and Partial Add SDR: the header tells another length than came. Source: IPMI 2.0 table 33-7.
_LENGTH_MISMATCH = 0x80
_PARTIAL, _COMPLETE = 0, 1
_ERASED = 0x01


@dataclass
class SdrState:
    """What the repository keeps. ``records`` is None while nobody has changed what the server came with.

    ``origin`` tells which records those were; with others the changes are void. ``added_s`` and ``erased_s``
    are by the BMC's clock.
    """

    origin: str = ""
    records: list[bytes] | None = None
    added_s: int = 0
    erased_s: int = 0


class SdrRepository:
    """Reads ipmi_sim's records once. ``generation`` rises with each change."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._records: dict[int, bytes] | None = None
        self.reservation = Reservation()
        self._partial = bytearray()
        self._partial_size = 0
        self.generation = 0

    @property
    def is_loaded(self) -> bool:
        """Whether the records are at hand."""
        return self._records is not None

    @property
    def records(self) -> dict[int, bytes]:
        """The records by number, in their order; the repository must be loaded."""
        assert self._records is not None
        return self._records

    async def load(self) -> None:
        """Take over ipmi_sim's records, or what has been made of them.

        Raises:
            Refused: by ipmi_sim.
        """
        if self._records is not None:
            return
        found = await self._walk()
        if self._records is not None:
            # Another request was faster, and may have changed them since.
            return
        origin = hashlib.sha256(b"".join(found)).hexdigest()
        state = self._bmc.state.sdr
        if state.origin != origin:
            state.origin, state.records = origin, None
            state.added_s, state.erased_s = self._now_s(), 0
            self._bmc.changed()
        self._records = {_number(each): each for each in (found if state.records is None else state.records)}
        self.generation += 1

    def find(self, number: int) -> tuple[int, bytes]:
        """The number of the next record, and the one that was asked for.

        Raises:
            Refused: there is none.
        """
        numbers = list(self.records)
        if numbers and number in (FIRST, LAST):
            number = numbers[0 if number == FIRST else -1]
        if number not in self.records:
            raise Refused(Completion.NOT_PRESENT)
        place = numbers.index(number) + 1
        return (numbers[place] if place < len(numbers) else LAST), self.records[number]

    @property
    def free_units(self) -> int:
        """How much more it takes."""
        return max(0, _UNITS - sum(_units(each) for each in self.records.values()))

    def reserve(self) -> int:
        """A new reservation; the one before is void."""
        self._partial.clear()
        return self.reservation.take()

    def add(self, record: bytes) -> int:
        """Put a record behind the others and return the number it got.

        Raises:
            Refused: it is not as long as it says, or does not fit.
        """
        if len(record) < HEADER_SIZE or len(record) != HEADER_SIZE + record[4]:
            raise Refused(_LENGTH_MISMATCH)
        if _units(record) > self.free_units:
            raise Refused(Completion.OUT_OF_SPACE)
        number = max(self.records, default=0) + 1
        if number >= LAST:
            number = next(each for each in range(1, LAST) if each not in self.records)
        self.records[number] = number.to_bytes(2, "little") + record[2:]
        self._bmc.state.sdr.added_s = self._now_s()
        self._keep()
        return number

    def add_part(self, data: bytes) -> int:
        """Take a part of a new record; the last one adds it. Source: IPMI 2.0 section 33.14."""
        offset, progress, part = data[4], data[5], data[6:]
        if progress & 0x0F not in (_PARTIAL, _COMPLETE):
            raise Refused(Completion.INVALID_FIELD)
        if offset == 0:
            if len(part) < HEADER_SIZE:
                raise Refused(Completion.LENGTH_INVALID)
            self._partial[:] = b""
            self._partial_size = HEADER_SIZE + part[4]
        if offset != len(self._partial):
            raise Refused(Completion.OUT_OF_RANGE)
        if offset + len(part) > self._partial_size:
            raise Refused(_LENGTH_MISMATCH)
        self._partial += part
        if progress & 0x0F == _COMPLETE:
            record = bytes(self._partial)
            self._partial.clear()
            return self.add(record)
        # The number that it is going to have.
        return max(self.records, default=0) + 1

    def delete(self, number: int) -> int:
        """Take a record out and return its number."""
        _following, record = self.find(number)
        del self.records[_number(record)]
        self._bmc.state.sdr.erased_s = self._now_s()
        self._keep()
        return _number(record)

    def clear(self) -> None:
        """Take every record out."""
        self.records.clear()
        self._bmc.state.sdr.erased_s = self._now_s()
        self._keep()

    def _keep(self) -> None:
        # Numbers may have got another meaning.
        self.reservation.void()
        self.generation += 1
        self._bmc.state.sdr.records = list(self.records.values())
        self._bmc.changed()

    def _now_s(self) -> int:
        return int(bmc_time_s(self._bmc)) & 0xFFFFFFFF

    async def _walk(self) -> list[bytes]:
        found: list[bytes] = []
        wanted = FIRST
        while len(found) < _MOST_RECORDS:
            try:
                following, record = await self._read(wanted)
            except Refused as refusal:
                if refusal.code == Completion.NOT_PRESENT:
                    break
                raise
            found.append(record)
            if following in (LAST, wanted):
                break
            wanted = following
        return found

    async def _read(self, number: int) -> tuple[int, bytes]:
        """The number of the next record, and this one, as long as it says it is."""
        try:
            following, record = await self._read_piece(number, 0, 0xFF)
        except Refused as refusal:
            if refusal.code != Completion.CANNOT_RETURN_SO_MUCH:
                raise
        else:
            return following, _clipped(record)
        following, record = await self._read_piece(number, 0, HEADER_SIZE)
        size = HEADER_SIZE + (record[4] if len(record) >= HEADER_SIZE else 0)
        while len(record) < size:
            count = min(_PIECE_SIZE, size - len(record))
            _next, piece = await self._read_piece(number, len(record), count)
            if not piece:
                break
            record += piece
        return following, _clipped(record)

    async def _read_piece(self, number: int, offset: int, count: int) -> tuple[int, bytes]:
        # ipmi_sim wants no reservation where the number of one is 0.
        data = b"\0\0" + number.to_bytes(2, "little") + bytes([offset, count])
        answer = await self._bmc.engine.ask(NetFn.STORAGE, _GET_SDR, data)
        return int.from_bytes(answer[:2].ljust(2, b"\xff"), "little"), answer[2:]


def _number(record: bytes) -> int:
    return int.from_bytes(record[:2], "little")


def _units(record: bytes) -> int:
    return -(-len(record) // _UNIT_SIZE)


def _clipped(record: bytes) -> bytes:
    return record[: HEADER_SIZE + record[4]] if len(record) >= HEADER_SIZE else record


def _loaded(run: Callable[[Bmc, Request], bytes]) -> Handler:
    """The handler that has ``run`` answer once the records are there."""

    def handle(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
        return run(bmc, request) if bmc.sdr_repository.is_loaded else load_first(bmc, request)

    async def load_first(bmc: Bmc, request: Request) -> bytes:
        await bmc.sdr_repository.load()
        return run(bmc, request)

    return handle


def get_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.9."""
    request.need(0)
    repository, state = bmc.sdr_repository, bmc.state.sdr
    return b"".join(
        (
            bytes([_VERSION]),
            len(repository.records).to_bytes(2, "little"),
            min(repository.free_units * _UNIT_SIZE, _MOST_SPACE).to_bytes(2, "little"),
            state.added_s.to_bytes(4, "little"),
            state.erased_s.to_bytes(4, "little"),
            bytes([_OPERATIONS]),
        )
    )


def get_allocation_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.10."""
    request.need(0)
    free = bmc.sdr_repository.free_units
    numbers = (_UNITS, _UNIT_SIZE, free, free)
    return b"".join(each.to_bytes(2, "little") for each in numbers) + bytes([_MOST_RECORD_UNITS])


def reserve(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.11."""
    request.need(0)
    return bmc.sdr_repository.reserve().to_bytes(2, "little")


def get_sdr(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.12."""
    data = request.need(6)
    offset, count = data[4], data[5]
    bmc.sdr_repository.reservation.need(data, optional=not offset)
    following, record = bmc.sdr_repository.find(int.from_bytes(data[2:4], "little"))
    if offset >= len(record):
        raise Refused(Completion.OUT_OF_RANGE)
    piece = record[offset : offset + count]
    if len(piece) > _MOST_AT_ONCE:
        raise Refused(Completion.CANNOT_RETURN_SO_MUCH)
    return following.to_bytes(2, "little") + piece


def add_sdr(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.13."""
    return bmc.sdr_repository.add(request.data).to_bytes(2, "little")


def partial_add_sdr(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.14."""
    data = request.need(7, 0xFF)
    bmc.sdr_repository.reservation.need(data)
    return bmc.sdr_repository.add_part(data).to_bytes(2, "little")


def delete_sdr(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 33.15."""
    data = request.need(4)
    bmc.sdr_repository.reservation.need(data)
    return bmc.sdr_repository.delete(int.from_bytes(data[2:], "little")).to_bytes(2, "little")


def clear_repository(bmc: Bmc, request: Request) -> bytes:
    """It is empty at once: who asks how far that is needs no reservation. Source: IPMI 2.0 section 33.16."""
    data = request.need(6)
    if bmc.sdr_repository.reservation.allows_clear(data):
        bmc.sdr_repository.clear()
    return bytes([_ERASED])


def get_time(bmc: Bmc, request: Request) -> bytes:
    """The BMC has one clock. Source: IPMI 2.0 section 33.17."""
    request.need(0)
    return (int(bmc_time_s(bmc)) & 0xFFFFFFFF).to_bytes(4, "little")


_USER, _OPERATOR = Privilege.USER, Privilege.OPERATOR
_STORAGE = NetFn.STORAGE

COMMANDS = (
    Command(_STORAGE, 0x20, "Get SDR Repository Info", _USER, "33.9", _loaded(get_info)),
    Command(
        _STORAGE, 0x21, "Get SDR Repository Allocation Info", _USER, "33.10", _loaded(get_allocation_info)
    ),
    Command(_STORAGE, 0x22, "Reserve SDR Repository", _USER, "33.11", _loaded(reserve)),
    Command(_STORAGE, 0x23, "Get SDR", _USER, "33.12", _loaded(get_sdr)),
    Command(_STORAGE, 0x24, "Add SDR", _OPERATOR, "33.13", _loaded(add_sdr)),
    Command(_STORAGE, 0x25, "Partial Add SDR", _OPERATOR, "33.14", _loaded(partial_add_sdr)),
    Command(_STORAGE, 0x26, "Delete SDR", _OPERATOR, "33.15", _loaded(delete_sdr)),
    Command(_STORAGE, 0x27, "Clear SDR Repository", _OPERATOR, "33.16", _loaded(clear_repository)),
    Command(_STORAGE, 0x28, "Get SDR Repository Time", _USER, "33.17", get_time),
)
