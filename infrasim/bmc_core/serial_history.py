"""What the host printed last, which clients read as a FRU device (``bmc.historyfru``).

As in ipmi_sim it is text and no inventory, and no record names it: who knows its number asks for it.
"""

from __future__ import annotations

from infrasim.bmc_core.codes import Completion
from infrasim.bmc_core.message import Refused, Request

HISTORY_BYTES = 4000
# What fits an answer at every door, the host's KCS among them.
_MOST_AT_ONCE = 32
_WRITE_PROTECTED = 0x80


class SerialHistory:
    """The newest output of the host's serial port, and the copy that is being read."""

    def __init__(self) -> None:
        self._newest = bytearray()
        self._copy = b""

    def add(self, data: bytes) -> None:
        """The host printed ``data``."""
        self._newest += data
        if len(self._newest) > HISTORY_BYTES:
            del self._newest[:-HISTORY_BYTES]

    def area_info(self, request: Request) -> bytes:
        """Its size, for a reader that begins: what is printed from now on does not move its text.

        Source: IPMI 2.0 section 34.1.
        """
        request.need(1)
        self._copy = bytes(self._newest)
        return len(self._copy).to_bytes(2, "little") + bytes(1)

    def read(self, request: Request) -> bytes:
        """Some of the copy, with its length before it. Source: IPMI 2.0 section 34.2."""
        data = request.need(4)
        offset = int.from_bytes(data[1:3], "little")
        if offset >= len(self._copy):
            raise Refused(Completion.OUT_OF_RANGE)
        found = self._copy[offset : offset + min(data[3], _MOST_AT_ONCE)]
        return bytes([len(found)]) + found

    def write(self) -> bytes:
        """Refuse a change of what was said. Source: IPMI 2.0 section 34.3."""
        raise Refused(_WRITE_PROTECTED)
