"""Reservations: whoever changes the event log or the SDR repository learns whether others have, too."""

from __future__ import annotations

from infrasim.bmc_core.codes import Completion
from infrasim.bmc_core.message import Refused

_MOST = 0xFFFF
# What Clear is to do. Source: IPMI 2.0 sections 31.9 and 33.16.
_ERASE, _ERASE_STATUS = 0xAA, 0x00


class Reservation:
    """One that is given to whoever asks last, until it is void. Source: IPMI 2.0 sections 31.4 and 33.11."""

    def __init__(self) -> None:
        self._last = 0
        self._is_valid = False

    def take(self) -> int:
        """A new one; the one before is void."""
        self._last = self._last % _MOST + 1
        self._is_valid = True
        return self._last

    def void(self) -> None:
        """From now on nobody has one."""
        self._is_valid = False

    def need(self, data: bytes, *, optional: bool = False) -> None:
        """Compare what a request begins with; ``optional``: 0 stands for none, and that will do.

        Raises:
            Refused: reservation cancelled, or never given.
        """
        number = int.from_bytes(data[:2], "little")
        if optional and not number:
            return
        if not self._is_valid or number != self._last:
            raise Refused(Completion.RESERVATION_LOST)

    def allows_clear(self, data: bytes) -> bool:
        """Whether a request clears everything; False if it only asks how far that is, which needs none.

        Raises:
            Refused: it is no such request, or as of ``need``.
        """
        if data[2:5] != b"CLR" or data[5] not in (_ERASE, _ERASE_STATUS):
            raise Refused(Completion.INVALID_FIELD)
        if data[5] == _ERASE_STATUS:
            return False
        self.need(data)
        return True
