"""A BMC that answers the racadm shell what a test says."""

from __future__ import annotations

from infrasim.racadm.ports import BmcRefusal, Session

NAMES = {1: b"", 2: b"root", 3: b"watcher", 4: b"old"}
# enabled, access byte
ACCESS = {1: (False, 0x0F), 2: (True, 0x34), 3: (True, 0x12), 4: (False, 0x34)}
LAN = {3: bytes([192, 0, 2, 9]), 4: b"\1", 5: bytes.fromhex("525400aabbcc"), 6: bytes([255, 255, 255, 0])}
TEXTS = {2: b"web-1.lab.example.org", 4: b"Debian"}


class FakeBmc:
    """Answers as a BMC would; what it was ordered is in ``orders``. ``away``: it does not answer."""

    def __init__(self, records: tuple[bytes, ...]) -> None:
        self.on = True
        self.lit = False
        self.away = False
        self.may_order = True
        self.log: list[bytes] = []
        self.boot = {3: b"\0", 5: bytes(5)}
        self.readings: dict[int, bytes] = {}
        self.orders: list[bytes] = []
        self.lan_channel = 1
        self._records = records

    def ask(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        if self.away:
            raise BmcRefusal("The management controller does not answer.")
        match net_fn, command:
            case 0x00, 0x01:
                return bytes([int(self.on), 0, 0x20 if self.lit else 0, 0])
            case 0x00, 0x09:
                return bytes([1, data[0]]) + self.boot[data[0]]
            case 0x04, 0x2D:
                return self.readings.get(data[0], bytes([0x20, 0xC0, 0x01, 0x80]))
            case 0x04, 0x27:
                return bytes([0x12, 0, 0x10, 0, 0, 0x60, 0])
            case 0x06, 0x01:
                return bytes([0x20, 0x81, 0x02, 0x30])
            case 0x06, 0x25:
                return bytes([0, 0x03, 0, 0, *(4800).to_bytes(2, "little"), *(4760).to_bytes(2, "little")])
            case 0x06, 0x44:
                assert data[0] == self.lan_channel
                enabled, access = ACCESS.get(data[1], (False, 0x0F))
                return bytes([15, 0x40 if enabled else 0x80, 1, access])
            case 0x06, 0x46:
                return NAMES.get(data[0], b"").ljust(16, b"\0")
            case 0x06, 0x59:
                whole = bytes([0, len(TEXTS[data[1]])]) + TEXTS[data[1]]
                return bytes([0x11, data[2]]) + whole[data[2] * 16 :][:16].ljust(16, b"\0")
            case 0x0A, 0x40:
                return bytes([0x51, *len(self.log).to_bytes(2, "little"), *bytes(11)])
            case 0x0A, 0x42:
                return b"\7\0"
            case 0x0A, 0x43:
                place = int.from_bytes(data[2:4], "little")
                following = place + 1 if place + 1 < len(self.log) else 0xFFFF
                return following.to_bytes(2, "little") + self.log[place]
            case 0x0A, 0x48:
                return (1_790_000_000).to_bytes(4, "little")
            case 0x0C, 0x02:
                assert data[0] == self.lan_channel
                return b"\x11" + LAN.get(data[1], bytes(4))
        raise BmcRefusal("completion code 0xc1", 0xC1)

    def order(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        if not self.may_order:
            raise BmcRefusal("completion code 0xd4", 0xD4)
        self.orders.append(bytes([net_fn, command]) + data)
        match net_fn, command:
            case 0x00, 0x02:
                if not self.on and data[0] > 1:
                    raise BmcRefusal("completion code 0xd5", 0xD5)
                self.on = {0: False, 1: True}.get(data[0], self.on)
                return b""
            case 0x00, 0x04:
                self.lit = data != b"\0"
                return b""
            case 0x00, 0x08:
                self.boot[data[0]] = data[1:]
                return b""
            case 0x06, 0x02:
                return b""
            case 0x0A, 0x47:
                assert data == b"\7\0CLR\xaa"
                self.log.clear()
                return b"\1"
        return self.ask(net_fn, command, data)

    def records(self) -> tuple[bytes, ...]:
        if self.away:
            raise BmcRefusal("The management controller does not answer.")
        return self._records


def bmc_of(session: Session) -> FakeBmc:
    """The session's BMC, as the test made it."""
    assert isinstance(session.bmc, FakeBmc)
    return session.bmc
