"""Type/length strings, as SDR names and FRU fields hold them.

Source: IPMI 2.0 section 43.15, FRU storage definition section 13. The top two bits of the type/length
byte say the encoding, the rest the length in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from infrasim.frozen import Frozen
from infrasim.personality.layout import DataError

_BCD = "0123456789 -.:,_"


class Encoding(StrEnum):
    """How the bytes of a string are to be read, in the order of their type codes."""

    BINARY = "binary"  # in an SDR, type 0 is Unicode; kept as bytes alike
    BCD = "bcd"
    SIX_BIT = "six_bit"
    TEXT = "text"

    @property
    def code(self) -> int:
        """The two bits that say so."""
        return _CODES[self]


_CODES = {encoding: code for code, encoding in enumerate(Encoding)}


class IdString(Frozen):
    """A string and how it is stored; ``text`` is hexadecimal digits for a binary one.

    8-bit text shorter than ``size`` is filled up with zero bytes.
    """

    text: str
    encoding: Encoding = Encoding.TEXT
    size: int = 0

    def encode(self) -> bytes:
        """Type/length byte and content.

        Raises:
            DataError: if a character has no place in the encoding or the string is too long.
        """
        try:
            content = _ENCODERS[self.encoding](self.text)
        except (ValueError, UnicodeError) as exc:
            raise DataError(f"{self.text!r} cannot be stored as {self.encoding}: {exc}") from exc
        content = content.ljust(self.size, b"\0")
        if len(content) > 63:
            raise DataError(f"{self.text!r} takes {len(content)} bytes; the format allows 63")
        return bytes([self.encoding.code << 6 | len(content)]) + content


def decode_idstring(data: bytes, offset: int, *, what: str) -> IdString:
    """The string at ``offset``; its size in ``data`` is that of ``encode()``.

    Raises:
        DataError: if ``data`` ends before the string does, or the content is not of its encoding.
    """
    if offset >= len(data):
        raise DataError(
            f"{what}: type/length byte at offset {offset:#x} lies beyond the end, {len(data)} bytes"
        )
    length = data[offset] & 0x3F
    content = data[offset + 1 : offset + 1 + length]
    if len(content) < length:
        raise DataError(f"{what}: string at offset {offset:#x} wants {length} bytes, {len(content)} are left")
    encoding = list(Encoding)[data[offset] >> 6]
    size = 0
    if encoding is Encoding.TEXT and content.endswith(b"\0"):
        content, size = content.rstrip(b"\0"), length
    string = IdString(_DECODERS[encoding](content), encoding, size)
    if string.encode()[1:] != content.ljust(size, b"\0"):
        raise DataError(f"{what}: string at offset {offset:#x} is not {encoding}: {content.hex()}")
    return string


def _pack_bcd(text: str) -> bytes:
    codes = [_BCD.index(char) if char in _BCD else _refuse(char) for char in text]
    if len(codes) % 2:
        codes.append(_BCD.index(" "))
    return bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))


def _unpack_bcd(data: bytes) -> str:
    return "".join(_BCD[byte >> 4] + _BCD[byte & 15] for byte in data)


def _pack_six_bit(text: str) -> bytes:
    number = 0
    for position, char in enumerate(text):
        code = ord(char) - 0x20
        number |= (code if 0 <= code < 64 else _refuse(char)) << 6 * position
    return number.to_bytes((len(text) * 6 + 7) // 8, "little")


def _unpack_six_bit(data: bytes) -> str:
    number = int.from_bytes(data, "little")
    return "".join(chr((number >> 6 * position & 63) + 0x20) for position in range(len(data) * 8 // 6))


def _refuse(char: str) -> int:
    raise ValueError(f"{char!r} has no code there")


_ENCODERS: dict[Encoding, Callable[[str], bytes]] = {
    Encoding.BINARY: bytes.fromhex,
    Encoding.BCD: _pack_bcd,
    Encoding.SIX_BIT: _pack_six_bit,
    Encoding.TEXT: lambda text: text.encode("latin-1"),
}
_DECODERS: dict[Encoding, Callable[[bytes], str]] = {
    Encoding.BINARY: bytes.hex,
    Encoding.BCD: _unpack_bcd,
    Encoding.SIX_BIT: _unpack_six_bit,
    Encoding.TEXT: lambda data: data.decode("latin-1"),
}
