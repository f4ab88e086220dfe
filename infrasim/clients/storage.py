"""SDR repository and FRU devices of a BMC, read piece by piece.

BMCs differ in how much they give at a time, so a piece that is refused as too large is asked for in smaller
ones, and what one command learnt holds for the next.

Source: IPMI 2.0 sections 33.11-33.12 (SDR repository), 35.2-35.4 (device SDRs) and 34.1-34.2 (FRU).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from infrasim.clients.ipmitool import BMC, Bmc, Refused, Target

# Completion codes that ask for less at a time. Source: IPMI 2.0 table 5-2: request length invalid, length
# limit exceeded, cannot return so many bytes, unspecified error (which some BMCs give instead).
_TOO_MUCH = frozenset({0xC7, 0xC8, 0xCA, 0xFF})
_RESERVATION_LOST = 0xC5
_MOST_BYTES, _LEAST_BYTES = 64, 8
_HEADER_BYTES = 5
_LAST_RECORD = 0xFFFF
_RESERVATIONS = 5
_STORAGE, _SENSOR = 0x0A, 0x04
_INFO, _RESERVE, _READ = (_STORAGE, 0x20), (_STORAGE, 0x22), (_STORAGE, 0x23)
_DEVICE_INFO, _DEVICE_RESERVE, _DEVICE_READ = (_SENSOR, 0x20), (_SENSOR, 0x22), (_SENSOR, 0x21)
_FRU_INFO, _FRU_READ = (_STORAGE, 0x10), (_STORAGE, 0x11)

# Told what could not be read and why.
Note = Callable[[str, str], None]


class Pieces:
    """How many bytes a BMC gives at a time, as far as known."""

    def __init__(self) -> None:
        self._most = _MOST_BYTES

    def read(self, ask: Callable[[int, int], bytes], start: int, end: int) -> tuple[bytes, Refused | None]:
        """What ``ask(offset, count)`` gives from ``start`` up to ``end``, and why that is not all."""
        data = bytearray()
        while start + len(data) < end:
            count = min(self._most, end - start - len(data))
            try:
                got = ask(start + len(data), count)[:count]
            except Refused as exc:
                if exc.code not in _TOO_MUCH or count <= _LEAST_BYTES:
                    return bytes(data), exc
                self._most = max(_LEAST_BYTES, count // 2)
                continue
            if not got:
                return bytes(data), Refused("", code=None, reason="there is less than it says")
            data += got
        return bytes(data), None


class SdrRepository:
    """The SDRs of a BMC: its repository, or its own device SDRs if it has none."""

    def __init__(self, bmc: Bmc, *, is_device: bool, note: Note) -> None:
        self._bmc = bmc
        self._note = note
        self._info, self._reserve, self._read = (
            (_DEVICE_INFO, _DEVICE_RESERVE, _DEVICE_READ) if is_device else (_INFO, _RESERVE, _READ)
        )
        self._is_device = is_device
        self._pieces = Pieces()
        self._reservation = b"\0\0"

    def count(self) -> int:
        """How many records there are, 0 if it does not say."""
        try:
            info = self._bmc.ask(*self._info, b"\1" if self._is_device else b"")
        except Refused:
            return 0
        return info[0] if self._is_device and info else int.from_bytes(info[1:3], "little")

    def __iter__(self) -> Iterator[bytes]:
        """Each record, header included. One that cannot be read is left out and noted."""
        record_id, seen = 0, set[int]()
        self._renew()
        while record_id != _LAST_RECORD:
            if record_id in seen:
                self._note(f"SDRs behind {record_id:#06x}", "the repository goes round in circles")
                return
            seen.add(record_id)
            next_id, record, refused = self._record(record_id)
            if refused is not None:
                last = next_id is None
                self._note(f"SDR {record_id:#06x}" + (" and those behind it" if last else ""), refused.reason)
            if record:
                yield record
            record_id = _LAST_RECORD if next_id is None else next_id

    def _renew(self) -> None:
        """Reserve the repository; one that knows no reservations is read without."""
        try:
            self._reservation = self._bmc.ask(*self._reserve)[:2]
        except Refused:
            self._reservation = b"\0\0"

    def _record(self, record_id: int) -> tuple[int | None, bytes, Refused | None]:
        """The id of the next record, this one if it could be read, and why not.

        A reservation is lost when sensors come and go; then the record is read anew.
        """
        for attempt in range(_RESERVATIONS):
            next_id, record, refused = self._try_record(record_id)
            if refused is None or refused.code != _RESERVATION_LOST or attempt == _RESERVATIONS - 1:
                break
            self._renew()
        return next_id, record, refused

    def _try_record(self, record_id: int) -> tuple[int | None, bytes, Refused | None]:
        next_id: int | None = None

        def ask(offset: int, count: int) -> bytes:
            nonlocal next_id
            place = record_id.to_bytes(2, "little") + bytes((offset, count))
            answer = self._bmc.ask(*self._read, self._reservation + place)
            next_id = int.from_bytes(answer[:2], "little")
            return answer[2:]

        header, refused = self._pieces.read(ask, 0, _HEADER_BYTES)
        if refused is not None:
            return next_id, b"", refused
        end = _HEADER_BYTES + header[4]
        content, refused = self._pieces.read(ask, _HEADER_BYTES, end)
        return next_id, b"" if refused else header + content, refused


def fru_data(bmc: Bmc, fru_id: int, *, target: Target = BMC, note: Note) -> bytes:
    """The bytes of a FRU device; those from the first one on that cannot be read are zero, and noted.

    Raises:
        Refused: there is no such device.
    """
    info = bmc.ask(*_FRU_INFO, bytes((fru_id,)), target=target)
    # Access by words counts everything in pairs of bytes. Source: IPMI 2.0 section 34.1.
    unit = 2 if len(info) > 2 and info[2] & 1 else 1
    size = int.from_bytes(info[:2], "little")

    def ask(offset: int, count: int) -> bytes:
        place = (offset // unit).to_bytes(2, "little")
        answer = bmc.ask(*_FRU_READ, bytes((fru_id, *place, max(1, count // unit))), target=target)
        return answer[1 : 1 + answer[0] * unit] if answer else b""

    data, refused = Pieces().read(ask, 0, size)
    if refused is not None:
        note(f"bytes {len(data):#x} to {size:#x} of FRU {fru_id}", refused.reason)
    return data.ljust(size, b"\0")
