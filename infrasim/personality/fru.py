"""FRU inventory: areas, fields and multi-records, to bytes and back.

Source: Platform Management FRU Information Storage Definition 1.0. An image that does not follow it, such as
uninitialised memory, is kept as plain bytes.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from infrasim.frozen import Frozen
from infrasim.personality.idstring import Encoding, IdString, decode_idstring
from infrasim.personality.layout import DataError, Fielded

HEADER_BYTES = 8
_END = 0xC1
_EPOCH = datetime.datetime(1996, 1, 1)  # Source: section 11, "mfg. date / time"
# A field whose type/length byte is 00h: nothing is stored.
ABSENT = IdString("", Encoding.BINARY)


class Area(Fielded):
    """One area. ``offset`` 0 means right after the one before, ``length`` 0 as short as can be; in bytes."""

    KIND: ClassVar[str]
    # Place of the area's offset in the common header. Source: section 8.
    HEADER_AT: ClassVar[int]

    offset: int = 0
    length: int = 0

    def encode(self) -> bytes:
        """The area's bytes; a multiple of 8 unless it is internal use or multi-record."""
        raise NotImplementedError


class BytesArea(Area):
    """An area that is not taken apart: ``data``, continued with ``fill`` up to ``length``."""

    data: bytes = b""
    fill: int = 0

    def encode(self) -> bytes:
        """See :meth:`Area.encode`."""
        return self.data.ljust(self.length, bytes([self.fill]))


class InternalArea(BytesArea):
    """Internal use area: bytes only its owner understands. Source: section 9."""

    KIND: ClassVar[str] = "internal"
    HEADER_AT: ClassVar[int] = 1


class OpaqueArea(BytesArea):
    """An area whose content does not follow its own format; ``header_at`` says which one it is."""

    KIND: ClassVar[str] = "opaque"
    HEADER_AT: ClassVar[int] = 0

    header_at: int = 1


class InfoArea(Area):
    """An area of strings: what the chassis, board and product areas share. Source: sections 10-12.

    ``checksum`` None means the right one; ``padding`` holds what follows the end mark, if not zeros.
    """

    FIELDS: ClassVar[tuple[str, ...]]
    # bytes between the length byte and the first string
    FIXED: ClassVar[int]

    version: int = 1
    custom: tuple[IdString, ...] = ()
    padding: bytes = b""
    checksum: int | None = None

    def fixed(self) -> bytes:
        """The bytes between the length byte and the first string."""
        raise NotImplementedError

    def strings(self) -> tuple[IdString, ...]:
        """All strings in their order."""
        return tuple(getattr(self, name) for name in self.FIELDS) + self.custom

    def encode(self) -> bytes:
        """See :meth:`Area.encode`."""
        content = bytearray([self.version, 0]) + self.fixed()
        for string in self.strings():
            encoded = string.encode()
            if encoded[0] == _END:
                raise DataError(
                    f"{self.KIND} area: {string.text!r} is one character long, which marks the end of an area"
                )
            content += encoded
        content.append(_END)
        content += self.padding
        size = max(self.length, (len(content) + 1 + 7) // 8 * 8)
        if size > 255 * 8:
            raise DataError(f"{self.KIND} area: {size} bytes; the length byte counts at most {255 * 8}")
        content[1] = size // 8
        content += bytes(size - 1 - len(content))
        content.append(-sum(content) & 0xFF if self.checksum is None else self.checksum)
        return bytes(content)


class ChassisArea(InfoArea):
    """Chassis information. ``chassis_type`` as in SMBIOS type 3. Source: section 10."""

    KIND: ClassVar[str] = "chassis"
    HEADER_AT: ClassVar[int] = 2
    FIELDS: ClassVar[tuple[str, ...]] = ("part_number", "serial_number")
    FIXED: ClassVar[int] = 1

    chassis_type: int = 0x17
    part_number: IdString = ABSENT
    serial_number: IdString = ABSENT

    def fixed(self) -> bytes:
        """See :meth:`InfoArea.fixed`."""
        return bytes([self.chassis_type])


class BoardArea(InfoArea):
    """Board information; ``minutes`` is the date of making, since 1996, 0 unknown. Source: section 11."""

    KIND: ClassVar[str] = "board"
    HEADER_AT: ClassVar[int] = 3
    FIELDS: ClassVar[tuple[str, ...]] = (
        "manufacturer",
        "product_name",
        "serial_number",
        "part_number",
        "fru_file",
    )
    FIXED: ClassVar[int] = 4

    language: int = 0
    minutes: int = 0
    manufacturer: IdString = ABSENT
    product_name: IdString = ABSENT
    serial_number: IdString = ABSENT
    part_number: IdString = ABSENT
    fru_file: IdString = ABSENT

    def fixed(self) -> bytes:
        """See :meth:`InfoArea.fixed`."""
        return bytes([self.language]) + self.minutes.to_bytes(3, "little")


class ProductArea(InfoArea):
    """Product information. Source: section 12."""

    KIND: ClassVar[str] = "product"
    HEADER_AT: ClassVar[int] = 4
    FIELDS: ClassVar[tuple[str, ...]] = (
        "manufacturer",
        "product_name",
        "part_number",
        "product_version",
        "serial_number",
        "asset_tag",
        "fru_file",
    )
    FIXED: ClassVar[int] = 1

    language: int = 0
    manufacturer: IdString = ABSENT
    product_name: IdString = ABSENT
    part_number: IdString = ABSENT
    product_version: IdString = ABSENT
    serial_number: IdString = ABSENT
    asset_tag: IdString = ABSENT
    fru_file: IdString = ABSENT

    def fixed(self) -> bytes:
        """See :meth:`InfoArea.fixed`."""
        return bytes([self.language])


class MultiRecord(Frozen):
    """One multi-record: type, format version and content. Source: section 16."""

    record_type: int
    data: bytes
    version: int = 2

    def encode(self, *, is_last: bool) -> bytes:
        """Header with both checksums, then the content."""
        if len(self.data) > 255:
            raise DataError(f"multi-record {self.record_type:#04x}: {len(self.data)} bytes; at most 255 fit")
        head = bytes(
            [
                self.record_type,
                self.version | (0x80 if is_last else 0),
                len(self.data),
                -sum(self.data) & 0xFF,
            ]
        )
        return head + bytes([-sum(head) & 0xFF]) + self.data


class MultiArea(Area):
    """The multi-record area. Source: section 16."""

    KIND: ClassVar[str] = "multi"
    HEADER_AT: ClassVar[int] = 5

    records: tuple[MultiRecord, ...] = ()

    def encode(self) -> bytes:
        """See :meth:`Area.encode`."""
        last = len(self.records) - 1
        return b"".join(record.encode(is_last=number == last) for number, record in enumerate(self.records))


INFO_AREAS: tuple[type[InfoArea], ...] = (ChassisArea, BoardArea, ProductArea)
_ALL_AREAS: tuple[type[Area], ...] = (InternalArea, *INFO_AREAS, MultiArea, OpaqueArea)
AREAS: dict[str, type[Area]] = {area.KIND: area for area in _ALL_AREAS}


class Fru(Fielded):
    """One FRU device: its image of ``size`` bytes is the common header, the areas, and ``fill`` elsewhere.

    ``patches`` are the bytes that nothing else explains, by offset. With ``raw`` there are no areas and the
    image is ``raw`` followed by ``fill``.
    """

    fru_id: int
    size: int
    controller: int = 0x20
    fill: int = 0
    areas: tuple[Area, ...] = ()
    patches: tuple[tuple[int, bytes], ...] = ()
    raw: bytes = b""

    def area(self, kind: type[Area]) -> Area | None:
        """The first area of a kind, if there is one."""
        return next((area for area in self.areas if isinstance(area, kind)), None)

    def places(self) -> Iterator[tuple[int, int, Area, bytes]]:
        """Start and end of each area in the image, the area, and its bytes."""
        end = HEADER_BYTES
        for area in self.areas:
            content = area.encode()
            start = max(area.offset, (end + 7) // 8 * 8)
            end = start + len(content)
            yield start, end, area, content

    def with_areas(self, areas: tuple[Area, ...]) -> Fru:
        """The device with other areas, larger by blocks of 256 bytes if they need it.

        Patches where an area is now that was not there before give way to it, and so does ``raw``.
        """
        changed = dataclasses.replace(self, areas=areas, raw=b"")
        before = {(start, area) for start, _, area, _ in self.places()}
        places = list(changed.places())
        end = max((end for _, end, _, _ in places), default=0)
        moved = [(start, end) for start, end, area, _ in places if (start, area) not in before]
        patches = tuple(
            (offset, data)
            for offset, data in self.patches
            if not any(offset < end and start < offset + len(data) for start, end in moved)
        )
        size = self.size if end <= self.size else -(-end // 256) * 256
        return dataclasses.replace(changed, patches=patches, size=size)

    def encode(self) -> bytes:
        """The image.

        Raises:
            DataError: naming the area that does not fit.
        """
        what = f"FRU {self.fru_id}"
        if self.raw:
            if len(self.raw) > self.size:
                raise DataError(f"{what}: {len(self.raw)} bytes of data do not fit in {self.size}")
            return self.raw.ljust(self.size, bytes([self.fill]))
        image = bytearray([self.fill]) * self.size
        header = bytearray(HEADER_BYTES)
        header[0] = 1
        for start, end, area, content in self.places():
            if end > self.size:
                raise DataError(
                    f"{what}: the {area.KIND} area ends at {end:#x}, the device at {self.size:#x}"
                )
            if start > 255 * 8:
                raise DataError(
                    f"{what}: the {area.KIND} area starts at {start:#x}; the header reaches up to 0x7f8"
                )
            image[start:end] = content
            header[area.header_at if isinstance(area, OpaqueArea) else area.HEADER_AT] = start // 8
        header[7] = -sum(header) & 0xFF
        image[:HEADER_BYTES] = header
        for offset, data in self.patches:
            image[offset : offset + len(data)] = data
        return bytes(image[: self.size])


def date_text(minutes: int) -> str:
    """A board's date as it is written, ``2014-11-07 12:30``; empty for an unknown one."""
    return (_EPOCH + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M") if minutes else ""


def date_minutes(text: str) -> int:
    """The opposite of :func:`date_text`.

    Raises:
        ValueError: if it is no such date, or not one of 1996 to 2027.
    """
    if not text:
        return 0
    wrong = ValueError(f"got {text!r}; a date is written as 2014-11-07 12:30")
    try:
        # Not by strptime, which takes longer to import than a server type's dates to be read.
        moment = datetime.datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise wrong from None
    minutes = int((moment - _EPOCH).total_seconds()) // 60
    if not 0 < minutes < 1 << 24:
        raise ValueError("a board's date lies between 1996-01-01 00:01 and 2027-11-24 20:15")
    if date_text(minutes) != text:
        raise wrong
    return minutes


def decode_fru(fru_id: int, data: bytes, *, controller: int = 0x20) -> Fru:
    """The FRU that ``data`` is the image of; ``encode()`` gives the same bytes back.

    Anything can be decoded: what does not follow the format stays bytes.
    """
    size = len(data)
    if size < HEADER_BYTES or sum(data[:HEADER_BYTES]) & 0xFF or data[0] & 0x0F != 1 or data[6]:
        return _raw_fru(fru_id, data, controller)
    starts = {place: data[place] * 8 for place in range(1, 6) if data[place]}
    order = sorted(starts, key=lambda place: starts[place])
    if len(set(starts.values())) < len(starts) or any(start >= size for start in starts.values()):
        return _raw_fru(fru_id, data, controller)
    areas: list[Area] = []
    end = HEADER_BYTES
    for place, follower in itertools.zip_longest(order, order[1:]):
        limit = starts[follower] if follower else size
        area = _decode_area(place, data[: max(limit, starts[place])], starts[place])
        canonical = starts[place] == (end + 7) // 8 * 8
        end = starts[place] + len(area.encode())
        areas.append(area if canonical else dataclasses.replace(area, offset=starts[place]))
    tail = data[end:]
    fill = max(set(tail), key=tail.count) if tail else 0
    fru = Fru(fru_id=fru_id, size=size, controller=controller, fill=fill, areas=tuple(areas))
    patches = tuple(_differences(fru.encode(), data))
    fru = dataclasses.replace(fru, patches=patches)
    return fru if fru.encode() == data else _raw_fru(fru_id, data, controller)


def _raw_fru(fru_id: int, data: bytes, controller: int) -> Fru:
    fill = data[-1] if data else 0
    content = data.rstrip(bytes([fill])) or data[:1]
    return Fru(fru_id=fru_id, size=len(data), controller=controller, fill=fill, raw=content)


def _differences(ours: bytes, wanted: bytes) -> Iterable[tuple[int, bytes]]:
    """Runs of bytes where ``wanted`` is not ``ours``."""
    start = None
    for offset in range(len(wanted) + 1):
        same = offset == len(wanted) or ours[offset] == wanted[offset]
        if same and start is not None:
            yield start, wanted[start:offset]
            start = None
        elif not same and start is None:
            start = offset


def _decode_area(place: int, data: bytes, start: int) -> Area:
    """The area at ``start``; ``data`` ends where it must end at the latest."""
    if place == InternalArea.HEADER_AT:
        return InternalArea(**_trimmed(data[start:]))
    if place == MultiArea.HEADER_AT:
        return _decode_multi(data, start)
    kind = next(kind for kind in INFO_AREAS if place == kind.HEADER_AT)
    try:
        return _decode_info(kind, data, start)
    except DataError:
        return OpaqueArea(header_at=place, **_trimmed(data[start:]))


def _trimmed(data: bytes) -> dict[str, Any]:
    """``data`` as the fields of a :class:`BytesArea`, a long run at its end left out."""
    content = data.rstrip(data[-1:])
    if len(data) - len(content) < 8:
        return {"data": data}
    return {"data": content, "length": len(data), "fill": data[-1]}


def _decode_info(kind: type[InfoArea], data: bytes, start: int) -> InfoArea:
    what = f"{kind.KIND} area at {start:#x}"
    size = data[start + 1] * 8 if start + 1 < len(data) else 0
    if not size or start + size > len(data):
        raise DataError(f"{what}: the length byte says {size} bytes, {len(data) - start} are there")
    content = data[start : start + size]
    values: dict[str, Any] = {"version": content[0]}
    if kind is ChassisArea:
        values["chassis_type"] = content[2]
    else:
        values["language"] = content[2]
    if kind is BoardArea:
        values["minutes"] = int.from_bytes(content[3:6], "little")
    strings, end = _decode_strings(content, 2 + kind.FIXED, what=what)
    if len(strings) < len(kind.FIELDS):
        raise DataError(f"{what}: {len(strings)} strings, wanted at least {len(kind.FIELDS)}")
    values |= dict(zip(kind.FIELDS, strings, strict=False))
    area = kind(**values, custom=tuple(strings[len(kind.FIELDS) :]))
    padding = content[end:-1]
    if any(padding):
        area = dataclasses.replace(area, padding=padding.rstrip(b"\0"))
    if sum(content) & 0xFF:
        area = dataclasses.replace(area, checksum=content[-1])
    return area if area.encode() == content else dataclasses.replace(area, length=size)


def _decode_strings(content: bytes, offset: int, *, what: str) -> tuple[list[IdString], int]:
    """All strings up to the end mark, and the offset after it."""
    strings = []
    while offset < len(content) - 1 and content[offset] != _END:
        string = decode_idstring(content[:-1], offset, what=what)
        strings.append(string)
        offset += len(string.encode())
    if offset >= len(content) - 1:
        raise DataError(f"{what}: no end mark (C1h)")
    return strings, offset + 1


def _decode_multi(data: bytes, start: int) -> Area:
    records = []
    offset = start
    while offset + 5 <= len(data):
        record_type, version, length, data_sum, _ = data[offset : offset + 5]
        content = data[offset + 5 : offset + 5 + length]
        if sum(data[offset : offset + 5]) & 0xFF or (sum(content) + data_sum) & 0xFF or len(content) < length:
            break
        records.append(MultiRecord(record_type, content, version & 0x7F))
        offset += 5 + length
        if version & 0x80:
            return MultiArea(records=tuple(records))
    return OpaqueArea(header_at=MultiArea.HEADER_AT, **_trimmed(data[start:]))
