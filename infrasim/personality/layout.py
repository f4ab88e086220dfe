"""Binary records described by their fields: the one engine behind SDR, FRU and SMBIOS codecs.

A record is a frozen dataclass whose fields are made by :func:`slot`, which says where in the record
the field lies (byte offset, width, bits) and what it means (its kind: number, choice, flags, switch,
text). Decoding, encoding, range checks and the YAML form all follow from that single description.
What the records are is left to ``sdr``, ``fru`` and ``smbios``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from infrasim.errors import UsageError
from infrasim.frozen import Frozen

SLOT = "slot"


class DataError(UsageError):
    """Bytes or values that do not fit the format; the message carries offset and field."""


class Kind:
    """What the bits of a field mean; subclasses translate both ways."""

    def decode(self, raw: int, bits: int) -> Any:
        """The value of ``raw``, an unsigned number of ``bits`` bits."""
        raise NotImplementedError

    def encode(self, value: Any, bits: int) -> int:
        """The unsigned number that holds ``value``.

        Raises:
            ValueError: saying what was wanted.
        """
        raise NotImplementedError


class Number(Frozen, Kind):
    """A whole number. ``hexadecimal`` is how it is written in YAML."""

    signed: bool = False
    hexadecimal: bool = False

    def decode(self, raw: int, bits: int) -> int:
        """See :meth:`Kind.decode`."""
        return raw - (1 << bits) if self.signed and raw >> (bits - 1) else raw

    def encode(self, value: Any, bits: int) -> int:
        """See :meth:`Kind.encode`."""
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"wanted a whole number from {low} to {high}")
        return value & ((1 << bits) - 1)


class Switch(Kind):
    """True or false."""

    def decode(self, raw: int, bits: int) -> bool:
        """See :meth:`Kind.decode`."""
        return raw != 0

    def encode(self, value: Any, bits: int) -> int:
        """See :meth:`Kind.encode`."""
        if value is not True and value is not False:
            raise ValueError("wanted true or false")
        return int(value)


class Choice(Kind):
    """One of a list of names; a number stands for a value that has none."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = dict(names)
        self.numbers = {name: number for number, name in self.names.items()}

    def decode(self, raw: int, bits: int) -> str | int:
        """See :meth:`Kind.decode`."""
        return self.names.get(raw, raw)

    def encode(self, value: Any, bits: int) -> int:
        """See :meth:`Kind.encode`."""
        if isinstance(value, str):
            number = self.numbers.get(value)
            if number is None:
                raise ValueError(f"wanted a number or one of: {', '.join(self.numbers)}")
            return number
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise ValueError(f"wanted a name or a number from 0 to {(1 << bits) - 1}")
        return value


class Flags(Kind):
    """A set of bits, each with a name; a bit without one is written as its number."""

    def __init__(self, *names: str | None) -> None:
        self.names: dict[int, str] = {bit: name for bit, name in enumerate(names) if name}
        self.bits = {name: bit for bit, name in self.names.items()}

    def decode(self, raw: int, bits: int) -> tuple[str | int, ...]:
        """See :meth:`Kind.decode`."""
        return tuple(self.names.get(bit, bit) for bit in range(bits) if raw >> bit & 1)

    def encode(self, value: Any, bits: int) -> int:
        """See :meth:`Kind.encode`."""
        if not isinstance(value, (list, tuple)):
            raise ValueError("wanted a list")
        raw = 0
        for item in value:
            bit = self.bits.get(item) if isinstance(item, str) else item
            if type(bit) is not int or not 0 <= bit < bits:
                raise ValueError(f"wanted bit numbers below {bits} or names of: {', '.join(self.bits)}")
            raw |= 1 << bit
        return raw


NUMBER = Number()
SIGNED = Number(signed=True)
HEX = Number(hexadecimal=True)
SWITCH = Switch()


class Slot(Frozen):
    """Where a field lies: ``bits`` bits from ``shift`` up in ``width`` little-endian bytes at ``offset``.

    ``above`` gives the field's upper bits when they lie elsewhere: offset, shift, bits.
    """

    offset: int
    width: int
    shift: int
    bits: int
    kind: Kind
    above: tuple[int, int, int] | None = None

    @cached_property
    def zero(self) -> Any:
        """The value of all zero bits."""
        return self.kind.decode(0, self.bits)

    @cached_property
    def end(self) -> int:
        """The offset after the field's last byte."""
        return max(self.offset + self.width, self.above[0] + 1 if self.above else 0)

    def read(self, data: bytes) -> Any:
        """The field's value in ``data``, which must be long enough."""
        raw = int.from_bytes(data[self.offset : self.offset + self.width], "little") >> self.shift
        raw &= (1 << self.bits) - 1
        if self.above is None:
            return self.kind.decode(raw, self.bits)
        offset, shift, bits = self.above
        raw |= (data[offset] >> shift & (1 << bits) - 1) << self.bits
        return self.kind.decode(raw, self.bits + bits)

    def write(self, data: bytearray, value: Any) -> None:
        """Put ``value`` into ``data``, which must be long enough and hold zeros there.

        Raises:
            ValueError: if the value does not fit.
        """
        if value is self.zero:
            return
        total = self.bits + (self.above[2] if self.above else 0)
        raw = self.kind.encode(value, total)
        low = (raw & (1 << self.bits) - 1) << self.shift
        if self.width == 1:
            data[self.offset] |= low
        else:
            old = int.from_bytes(data[self.offset : self.offset + self.width], "little")
            data[self.offset : self.offset + self.width] = (old | low).to_bytes(self.width, "little")
        if self.above is not None:
            offset, shift, bits = self.above
            data[offset] |= (raw >> self.bits & (1 << bits) - 1) << shift


def slot(
    offset: int,
    kind: Kind = NUMBER,
    *,
    width: int = 1,
    shift: int = 0,
    bits: int = 0,
    above: tuple[int, int, int] | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field that lies at ``offset``; its usual value is the one of all zero bits."""
    place = Slot(offset, width, shift, bits or width * 8 - shift, kind, above)
    if default is dataclasses.MISSING:
        default = place.zero
    return dataclasses.field(default=default, metadata={SLOT: place})


class Fielded(Frozen):
    """Base of all record classes; what a field usually is is not shown."""

    def __repr__(self) -> str:
        values, usual = self.__dict__, self._usual
        said = (name for name in self._names if name not in usual or values[name] != usual[name])
        return f"{type(self).__name__}({', '.join(f'{name}={values[name]!r}' for name in said)})"


_SLOTS: dict[type, tuple[tuple[str, Slot], ...]] = {}


def slots(record: type) -> tuple[tuple[str, Slot], ...]:
    """Name and place of each field of a record class, in the order they are declared."""
    found = _SLOTS.get(record)
    if found is None:
        fields = dataclasses.fields(record)
        found = tuple((field.name, field.metadata[SLOT]) for field in fields if SLOT in field.metadata)
        _SLOTS[record] = found
    return found


def decode_fields(record: type, data: bytes, *, what: str) -> dict[str, Any]:
    """The values of all fields of ``record`` in ``data``.

    Raises:
        DataError: if ``data`` ends before the last field; names the first field that is missing.
    """
    values = {}
    for name, place in slots(record):
        if place.end > len(data):
            raise DataError(
                f"{what}: field {name} at offset {place.offset:#x} lies beyond the end, {len(data)} bytes"
            )
        values[name] = place.read(data)
    return values


def encode_fields(record: Any, data: bytearray, *, what: str) -> None:
    """Write all fields of ``record`` into ``data``.

    Raises:
        DataError: naming the field, its offset and what it may be.
    """
    for name, place in slots(type(record)):
        try:
            place.write(data, getattr(record, name))
        except ValueError as exc:
            raise DataError(
                f"{what}: field {name} at offset {place.offset:#x}: got {getattr(record, name)!r}, {exc}"
            ) from exc
