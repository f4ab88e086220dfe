"""Reservations: whoever changes the event log or the SDR repository learns whether others have, too."""

from __future__ import annotations

from infrasim.bmc_core.codes import Completion
from infrasim.bmc_core.message import Refused

_MOST = 0xFFFF


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
