"""One LAN session as the rest of the core sees it, and the window of its sequence numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from infrasim.bmc_core.codes import Privilege

# The host and port a datagram came from, as Python's sockets give them.
Peer = tuple[Any, ...]

_ALL = 0xFFFFFFFF


class PayloadType(IntEnum):
    """Payload types of RMCP+. Source: IPMI 2.0 table 13-16."""

    IPMI = 0x00
    SOL = 0x01
    OEM = 0x02
    OPEN_SESSION_REQUEST = 0x10
    OPEN_SESSION_RESPONSE = 0x11
    RAKP_1 = 0x12
    RAKP_2 = 0x13
    RAKP_3 = 0x14
    RAKP_4 = 0x15


@dataclass(eq=False)
class Session:
    """An active session.

    ``handle`` is the number Get Session Info knows it by, ``session_id`` the BMC's id for it.
    ``privilege`` is in effect,
    ``privilege_limit`` the most it may be. ``is_rmcp_plus`` sessions can carry other payloads.
    ``plain_payloads`` are those that the BMC sends without encryption although the session has it.
    """

    handle: int
    session_id: int
    user_id: int
    channel: int
    peer: Peer
    privilege: Privilege
    privilege_limit: Privilege
    is_rmcp_plus: bool
    is_encrypted: bool
    send_payload: Callable[[PayloadType, bytes], None]
    plain_payloads: frozenset[int] = frozenset()


class SequenceWindow:
    """Which sequence numbers are new: each is accepted once, some ahead of the highest or some behind it.

    Source: IPMI 2.0 section 6.12.13; ``size`` is 8 for IPMI 1.5, 16 for RMCP+.
    """

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, highest: int, size: int) -> None:
        self._highest = highest & _ALL
        self._size = size
        # Bit n is whether the highest less n has been seen; what is before the first counts as seen.
        self._seen = (1 << size) - 1

    def accept(self, number: int) -> bool:
        """Whether ``number`` is acceptable; it is not a second time."""
        ahead = (number - self._highest) & _ALL
        if 0 < ahead <= self._size:
            self._seen = (self._seen << ahead | 1) & ((1 << self._size) - 1)
            self._highest = number
            return True
        behind = -ahead & _ALL
        if behind >= self._size or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True
