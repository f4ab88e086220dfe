"""A LAN client for tests, written from the specification alone: it shares no code with the BMC core."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import struct
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from bmc_bench import SETTINGS, Bench
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.lan.door import LanDoor
from infrasim.bmc_core.state import BmcState

PEER = ("192.0.2.7", 40000)
RMCP = bytes.fromhex("0600ff07")
INSECURE = replace(SETTINGS, insecure=True, cipher_suites=(0, 1, 2, 3, 6, 7, 8, 15, 16, 17))

# (authentication, integrity, confidentiality) of each suite, hash of the first, length of its short form.
SUITES = {
    0: (0, 0, 0),
    1: (1, 0, 0),
    2: (1, 1, 0),
    3: (1, 1, 1),
    6: (2, 0, 0),
    7: (2, 2, 0),
    8: (2, 2, 1),
    15: (3, 0, 0),
    16: (3, 4, 0),
    17: (3, 4, 1),
}
HASHES = {1: ("sha1", 12), 2: ("md5", 16), 3: ("sha256", 16)}


def message(netfn: int, command: int, data: bytes = b"", *, sequence: int = 0, lun: int = 0) -> bytes:
    head = bytes([0x20, netfn << 2 | lun])
    body = bytes([0x81, sequence << 2, command]) + data
    return head + checksum(head) + body + checksum(body)


def checksum(data: bytes) -> bytes:
    return bytes([-sum(data) & 0xFF])


def answer_in(payload: bytes, netfn: int, command: int, *, sequence: int = 0) -> bytes:
    """Completion code and data of a response, after all its framing was checked."""
    assert payload[:2] == bytes([0x81, (netfn + 1) << 2])
    assert sum(payload[:3]) & 0xFF == 0
    assert sum(payload[3:]) & 0xFF == 0
    assert payload[3:6] == bytes([0x20, sequence << 2, command])
    return payload[6:-1]


def plus(kind: int, session: int, sequence: int, payload: bytes) -> bytes:
    return RMCP + struct.pack("<BBIIH", 6, kind, session, sequence, len(payload)) + payload


class Net:
    """A BMC with its LAN door, and what it sent."""

    def __init__(self, settings: CoreSettings = SETTINGS, state: BmcState | None = None) -> None:
        self.bench = Bench(settings, state)
        self.sent: list[tuple[bytes, Any]] = []
        self.deferred: list[Awaitable[None]] = []
        self.door = LanDoor(
            self.bench.bmc,
            lambda data, peer: self.sent.append((data, peer)),
            lambda work: self.deferred.append(work),
        )

    def send(self, datagram: bytes, peer: Any = PEER) -> list[bytes]:
        """What the BMC answers to a datagram, what it waits for included."""
        self.door.receive(datagram, peer)
        return self.answers(peer)

    def answers(self, peer: Any = PEER) -> list[bytes]:
        self.run_deferred()
        taken, self.sent = self.sent, []
        assert all(to == peer for _, to in taken)
        return [data for data, _ in taken]

    def run_deferred(self) -> None:
        waiting, self.deferred = self.deferred, []
        for each in waiting:
            asyncio.run(_wait(each))

    def one(self, datagram: bytes, peer: Any = PEER) -> bytes:
        [answer] = self.send(datagram, peer)
        return answer

    def ask_outside(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """Ask without a session, in the format of IPMI 1.5."""
        payload = message(netfn, command, data)
        got = self.one(RMCP + bytes(9) + bytes([len(payload)]) + payload)
        assert got[:13] == RMCP + bytes(9)
        assert got[13] == len(got) - 14
        return answer_in(got[14:], netfn, command)


async def _wait(each: Awaitable[None]) -> None:
    await each


class LoginFailed(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


class PlusClient:
    """An RMCP+ session, from its login on."""

    def __init__(
        self,
        net: Net,
        suite: int = 3,
        *,
        name: bytes = b"admin",
        password: bytes = b"admin",
        role: int = 4,
        by_name: bool = True,
        key: bytes = b"",
        peer: Any = PEER,
        console_id: int = 0xA0A1A2A3,
    ) -> None:
        self.net, self.peer, self.console_id = net, peer, console_id
        self.authentication, self.integrity, self.confidentiality = SUITES[suite]
        self.password, self.name, self.key = password, name, key
        self.role = role | (0x10 if by_name else 0)
        self.sequence = 0
        self.message = 0
        self.k1 = self.k2 = b""

    def login(self) -> PlusClient:
        self.open_session()
        self.rakp_3(self.rakp_1())
        return self

    def open_session(self) -> None:
        self.session, self.limit = self._open(
            self.role & 0x0F, (self.authentication, self.integrity, self.confidentiality)
        )

    def _open(self, role: int, algorithms: tuple[int, int, int]) -> tuple[int, int]:
        proposals = b"".join(bytes([kind, 0, 0, 8, each, 0, 0, 0]) for kind, each in enumerate(algorithms))
        body = bytes([0x33, role, 0, 0]) + struct.pack("<I", self.console_id) + proposals
        answer = self.exchange(0x10, body)
        if answer[1]:
            assert len(answer) == 8
            raise LoginFailed(answer[1])
        assert answer[:2] == b"\x33\0"
        assert answer[4:8] == struct.pack("<I", self.console_id)
        assert answer[12:] == proposals
        return struct.unpack("<I", answer[8:12])[0], answer[2]

    def exchange(self, kind: int, body: bytes) -> bytes:
        got = self.net.one(plus(kind, 0, 0, body), self.peer)
        assert got[:16] == RMCP + struct.pack("<BBIIH", 6, kind + 1, 0, 0, len(got) - 16)
        return got[16:]

    def rakp_1(self) -> bytes:
        """Send RAKP message 1; the answer."""
        self.random = bytes(range(16))
        who = bytes([self.role, 0, 0, len(self.name)]) + self.name
        body = bytes([0x44, 0, 0, 0]) + struct.pack("<I", self.session) + self.random + who
        answer = self.exchange(0x12, body)
        assert answer[0] == 0x44
        if answer[1]:
            raise LoginFailed(answer[1])
        return answer

    def rakp_3(self, rakp_2: bytes) -> None:
        body = self.rakp_3_body(rakp_2)
        answer = self.exchange(0x14, body)
        if answer[1]:
            raise LoginFailed(answer[1])
        self.check_rakp_4(answer)

    def hash(self, key: bytes, data: bytes) -> bytes:
        if not self.authentication:
            return b""
        return hmac.new(key.ljust(20, b"\0"), data, HASHES[self.authentication][0]).digest()

    def rakp_3_body(self, rakp_2: bytes) -> bytes:
        self.bmc_random, self.guid, proof = rakp_2[8:24], rakp_2[24:40], rakp_2[40:]
        console, session = struct.pack("<I", self.console_id), struct.pack("<I", self.session)
        who = bytes([self.role, len(self.name)]) + self.name
        wanted = self.hash(self.password, console + session + self.random + self.bmc_random + self.guid + who)
        self.bmc_knows_password = wanted == proof
        code = self.hash(self.password, self.bmc_random + console + who)
        self.sik = self.hash(self.key or self.password, self.random + self.bmc_random + who)
        self.k1, self.k2 = self.hash(self.sik, b"\x01" * 20), self.hash(self.sik, b"\x02" * 20)
        return bytes([0x55, 0, 0, 0]) + session + code

    def check_rakp_4(self, answer: bytes) -> None:
        wanted = self.hash(self.sik, self.random + struct.pack("<I", self.session) + self.guid)
        length = HASHES[self.authentication][1] if self.authentication else 0
        assert answer == bytes([0x55, 0, 0, 0]) + struct.pack("<I", self.console_id) + wanted[:length]

    # --- packets of the session

    def seal(self, payload: bytes, kind: int = 0, *, sequence: int | None = None) -> bytes:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        if self.confidentiality:
            kind |= 0x80
            pad = -(len(payload) + 1) % 16
            plain = payload + bytes(range(1, pad + 1)) + bytes([pad])
            vector = hashlib.md5(plain).digest()
            encryptor = Cipher(algorithms.AES(self.k2[:16]), modes.CBC(vector)).encryptor()
            payload = vector + encryptor.update(plain) + encryptor.finalize()
        if not self.integrity:
            return plus(kind, self.session, sequence, payload)
        body = plus(kind | 0x40, self.session, sequence, payload)
        pad = -(len(body) - 4 + 2) % 4
        body += b"\xff" * pad + bytes([pad, 7])
        return body + self._signature(body)

    def _signature(self, body: bytes) -> bytes:
        name, length = {1: ("sha1", 12), 2: ("md5", 16), 4: ("sha256", 16)}[self.integrity]
        return hmac.new(self.k1, body[4:], name).digest()[:length]

    def open(self, datagram: bytes, *, is_plain: bool = False) -> tuple[int, int, bytes]:
        """Payload type, sequence and payload of a packet, after all its protection was checked."""
        assert datagram[:5] == RMCP + b"\x06"
        kind, session, sequence, length = struct.unpack("<BIIH", datagram[5:16])
        assert session == self.console_id
        assert bool(kind & 0x80) == (bool(self.confidentiality) and not is_plain)
        assert bool(kind & 0x40) == bool(self.integrity)
        payload, rest = datagram[16 : 16 + length], datagram[16 + length :]
        if self.integrity:
            code = 12 if self.integrity == 1 else 16
            assert rest[-code:] == self._signature(datagram[:-code])
            trailer = rest[:-code]
            assert trailer == b"\xff" * (len(trailer) - 2) + bytes([len(trailer) - 2, 7])
            assert (16 + length + len(trailer)) % 4 == 0
        else:
            assert rest == b""
        if self.confidentiality and not is_plain:
            decryptor = Cipher(algorithms.AES(self.k2[:16]), modes.CBC(payload[:16])).decryptor()
            plain = decryptor.update(payload[16:]) + decryptor.finalize()
            pad = plain[-1]
            assert plain[-1 - pad : -1] == bytes(range(1, pad + 1))
            payload = plain[: -1 - pad]
        return kind & 0x3F, sequence, payload

    def ask(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """Completion code and data."""
        self.message = (self.message + 1) % 64
        datagram = self.seal(message(netfn, command, data, sequence=self.message))
        kind, _, payload = self.open(self.net.one(datagram, self.peer))
        assert kind == 0
        return answer_in(payload, netfn, command, sequence=self.message)


class OldClient:
    """An IPMI 1.5 session; ``kind`` is its authentication type."""

    def __init__(
        self,
        net: Net,
        kind: int = 2,
        *,
        name: bytes = b"admin",
        password: bytes = b"admin",
        role: int = 4,
        peer: Any = PEER,
    ) -> None:
        self.net, self.kind, self.name, self.role, self.peer = net, kind, name, role, peer
        self.password = password.ljust(16, b"\0")
        self.session = self.sequence = 0
        self.outbound = 0x01020304

    def code(self, kind: int, sequence: int, payload: bytes) -> bytes:
        if kind == 2:
            parts = (self.password, struct.pack("<I", self.session), payload, struct.pack("<I", sequence))
            return hashlib.md5(b"".join(parts) + self.password).digest()
        return {0: b"", 4: self.password}[kind]

    def seal(self, payload: bytes, *, kind: int | None = None, sequence: int | None = None) -> bytes:
        kind = self.kind if kind is None else kind
        sequence = self.sequence if sequence is None else sequence
        head = RMCP + struct.pack("<BII", kind, sequence, self.session)
        return head + self.code(kind, sequence, payload) + bytes([len(payload)]) + payload

    def challenge(self) -> bytes:
        request = bytes([self.kind]) + self.name.ljust(16, b"\0")
        answer = self.net.ask_outside(6, 0x39, request)
        if answer[0]:
            raise LoginFailed(answer[0])
        self.session = struct.unpack("<I", answer[1:5])[0]
        return answer[5:]

    def activation(self, challenge: bytes) -> bytes:
        body = bytes([self.kind, self.role]) + challenge + struct.pack("<I", self.outbound)
        return self.seal(message(6, 0x3A, body), sequence=0)

    def login(self) -> OldClient:
        got = self.net.one(self.activation(self.challenge()), self.peer)
        answer = answer_in(self.payload(got), 6, 0x3A)
        if answer[0]:
            raise LoginFailed(answer[0])
        assert got[5:9] == struct.pack("<I", self.outbound)
        assert answer[1] == self.kind
        self.session, self.sequence = struct.unpack("<II", answer[2:10])
        return self

    @staticmethod
    def payload(datagram: bytes) -> bytes:
        start = 13 + (16 if datagram[4] else 0)
        assert datagram[start] == len(datagram) - start - 1
        return datagram[start + 1 :]

    def ask(self, netfn: int, command: int, data: bytes = b"", *, kind: int | None = None) -> bytes:
        got = self.net.one(self.seal(message(netfn, command, data), kind=kind), self.peer)
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        outbound = struct.unpack("<I", got[5:9])[0]
        self.outbound += 1
        assert outbound == self.outbound
        payload = self.payload(got)
        used = self.kind if kind is None else kind
        assert got[4] == used
        if used:
            assert got[13:29] == self.code(used, outbound, payload)
        return answer_in(payload, netfn, command)
