"""Values that more than one layer reads and writes: MAC addresses, UUIDs, network addresses.

Each parser takes text in any usual spelling and returns the one spelling used everywhere else.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

# QEMU's own prefix, locally administered. Source: QEMU docs, qdev default MAC.
MAC_PREFIX = bytes((0x52, 0x54, 0x00))

_NUMBERS = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*\Z")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}\Z")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")


class WrongValue(ValueError):
    """A value that cannot be; ``hint`` says what could."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_mac(text: str) -> str:
    """A MAC address of one network card, in lower case with colons.

    Raises:
        WrongValue: it is no MAC address, or is one of a group.
    """
    if not _MAC.match(text):
        raise WrongValue(
            f"{text!r} is not a MAC address", hint="six fields of two hex digits: 52:54:00:12:34:56"
        )
    mac = text.lower().replace("-", ":")
    if int(mac[:2], 16) & 1:
        raise WrongValue(
            f"{text!r} is the address of a group", hint="the first field must be even, such as 52"
        )
    if mac == "00:00:00:00:00:00":
        raise WrongValue(f"{text!r} is no card's address", hint="such as 52:54:00:12:34:56")
    return mac


def format_mac(octets: bytes) -> str:
    """Six bytes as a MAC address."""
    return ":".join(f"{octet:02x}" for octet in octets)


def parse_uuid(text: str) -> str:
    """A UUID in lower case.

    Raises:
        WrongValue: it is not 8-4-4-4-12 hex digits.
    """
    if not _UUID.match(text):
        raise WrongValue(f"{text!r} is not a UUID", hint="such as 3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21")
    return text.lower()


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """An IPv4 or IPv6 address that a server can listen on.

    Raises:
        WrongValue: it is a name, has a port or prefix length, or is a multicast address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise WrongValue(
            f"{text!r} is not an IPv4 or IPv6 address", hint="such as 127.0.0.1 or ::1, without a port"
        ) from None
    if address.is_multicast:
        raise WrongValue(
            f"{text!r} is a multicast address", hint="nothing can listen there; use a host's address"
        )
    return address


def numbers_of(text: str) -> tuple[int, ...]:
    """Numbers written as Linux writes lists of processors, such as ``0-3,8``, in their order, each once.

    Raises:
        WrongValue: it is no such list.
    """
    if not _NUMBERS.match(text):
        raise WrongValue(f"{text!r} is not a list of numbers", hint="such as 0-3,8")
    found: dict[int, None] = {}
    for part in text.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise WrongValue(f"{part!r} runs backwards", hint=f"write {last}-{first}")
        found.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
    return tuple(found)
