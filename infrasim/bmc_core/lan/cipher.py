"""Cipher suites of RMCP+ and their keys; what a session needs for each packet comes from ``cryptography``."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from os import urandom


class Authentication(IntEnum):
    """RAKP authentication algorithms. Source: IPMI 2.0 table 13-17."""

    NONE = 0
    HMAC_SHA1 = 1
    HMAC_MD5 = 2
    HMAC_SHA256 = 3


class Integrity(IntEnum):
    """Integrity algorithms. Source: IPMI 2.0 table 13-18."""

    NONE = 0
    HMAC_SHA1_96 = 1
    HMAC_MD5_128 = 2
    HMAC_SHA256_128 = 4


class Confidentiality(IntEnum):
    """Encryption algorithms. Source: IPMI 2.0 table 13-19."""

    NONE = 0
    AES_CBC_128 = 1


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite; ``number`` is its id."""

    number: int
    authentication: Authentication
    integrity: Integrity
    confidentiality: Confidentiality

    @property
    def algorithms(self) -> tuple[int, int, int]:
        """All three, in the order of the proposals."""
        return self.authentication, self.integrity, self.confidentiality


_A, _I, _C = Authentication, Integrity, Confidentiality
# Source: IPMI 2.0 table 22-20; 15 to 17 from the errata. Those with RC4 or keyed MD5 are not offered.
SUITES: Mapping[int, Suite] = {
    each.number: each
    for each in (
        Suite(0, _A.NONE, _I.NONE, _C.NONE),
        Suite(1, _A.HMAC_SHA1, _I.NONE, _C.NONE),
        Suite(2, _A.HMAC_SHA1, _I.HMAC_SHA1_96, _C.NONE),
        Suite(3, _A.HMAC_SHA1, _I.HMAC_SHA1_96, _C.AES_CBC_128),
        Suite(6, _A.HMAC_MD5, _I.NONE, _C.NONE),
        Suite(7, _A.HMAC_MD5, _I.HMAC_MD5_128, _C.NONE),
        Suite(8, _A.HMAC_MD5, _I.HMAC_MD5_128, _C.AES_CBC_128),
        Suite(15, _A.HMAC_SHA256, _I.NONE, _C.NONE),
        Suite(16, _A.HMAC_SHA256, _I.HMAC_SHA256_128, _C.NONE),
        Suite(17, _A.HMAC_SHA256, _I.HMAC_SHA256_128, _C.AES_CBC_128),
    )
}

# Hash, and how much of it the integrity value of RAKP 4 keeps. Source: IPMI 2.0 section 13.28.1.
_AUTHENTICATION_HASH = {
    Authentication.HMAC_SHA1: ("sha1", 12),
    Authentication.HMAC_MD5: ("md5", 16),
    Authentication.HMAC_SHA256: ("sha256", 16),
}
# Hash, and length of the code behind each packet. Source: IPMI 2.0 section 13.28.4.
_INTEGRITY_HASH = {
    Integrity.HMAC_SHA1_96: ("sha1", 12),
    Integrity.HMAC_MD5_128: ("md5", 16),
    Integrity.HMAC_SHA256_128: ("sha256", 16),
}
# What K1 and K2 are made from. Source: IPMI 2.0 section 13.32.
_CONSTANT_1, _CONSTANT_2 = b"\x01" * 20, b"\x02" * 20

_BLOCK = 16
# The confidentiality trailer for each length modulo 16: 1, 2, ... and their number. Source: IPMI 2.0 13.29.
_TRAILERS = tuple(
    bytes(range(1, pad + 1)) + bytes([pad]) for pad in (-(length + 1) % _BLOCK for length in range(_BLOCK))
)
# Integrity pad to a multiple of four, its length, and the next header. Source: IPMI 2.0 table 13-8.
_NEXT_HEADER = 0x07
_SIGNATURE_PADS = tuple(
    b"\xff" * pad + bytes([pad, _NEXT_HEADER]) for pad in (-(length + 2) % 4 for length in range(4))
)


def authentication_code(algorithm: Authentication, key: bytes, data: bytes) -> bytes:
    """The whole keyed hash of RAKP messages 2 and 3; empty for RAKP-none."""
    if algorithm is Authentication.NONE:
        return b""
    return hmac.digest(key, data, _AUTHENTICATION_HASH[algorithm][0])


def final_code(algorithm: Authentication, session_key: bytes, data: bytes) -> bytes:
    """The integrity check value of RAKP message 4. Source: IPMI 2.0 section 13.23."""
    if algorithm is Authentication.NONE:
        return b""
    name, length = _AUTHENTICATION_HASH[algorithm]
    return hmac.digest(session_key, data, name)[:length]


def md5_code(password: bytes, session_id: int, sequence: int, payload: bytes) -> bytes:
    """The authentication code of an IPMI 1.5 packet. Source: IPMI 2.0 section 22.17.1.

    ``password`` is 16 bytes long.
    """
    ends = session_id.to_bytes(4, "little") + payload + sequence.to_bytes(4, "little")
    return hashlib.md5(password + ends + password, usedforsecurity=False).digest()


class Signer:
    """Signs and checks packets of one session, with a keyed hash that is begun once and copied for each."""

    __slots__ = ("_begun", "_length")

    def __init__(self, suite: Suite, session_key: bytes) -> None:
        # Late, as for the encryption below.
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.hmac import HMAC

        hashed, self._length = _INTEGRITY_HASH[suite.integrity]
        name = _AUTHENTICATION_HASH[suite.authentication][0]
        self._begun = HMAC(hmac.digest(session_key, _CONSTANT_1, name), getattr(hashes, hashed.upper())())

    def sign(self, datagram: bytes) -> bytes:
        """``datagram``, which ends with its payload, and an integrity trailer for all but the RMCP header."""
        padded = datagram + _SIGNATURE_PADS[len(datagram) & 3]
        return padded + self._code(padded[4:])

    def is_signed(self, datagram: bytes, end: int) -> bool:
        """Whether what follows the payload at ``end`` is the right trailer, and the last thing."""
        code = len(datagram) - self._length
        if code < end + 2 or datagram[code - 1] != _NEXT_HEADER or datagram[code - 2] != code - 2 - end:
            return False
        return hmac.compare_digest(self._code(datagram[4:code]), datagram[code:])

    def _code(self, data: bytes) -> bytes:
        code = self._begun.copy()
        code.update(data)
        return code.finalize()[: self._length]


class Encryptor:
    """AES-CBC-128 of one session.

    CBC goes on from one message to the next with one context, because to make a context costs twenty times
    the encryption of a message. To encrypt, a random block goes first: what it becomes is as random, and
    is what CBC uses as the initialization vector of the next block. To decrypt, the vector is decrypted
    too; what comes out is thrown away. Source of the form: IPMI 2.0 section 13.29.
    """

    __slots__ = ("_decrypt", "_encrypt")

    def __init__(self, suite: Suite, session_key: bytes) -> None:
        # At the first session: a node that starts should not wait for this import, nor keep it for nothing.
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        name = _AUTHENTICATION_HASH[suite.authentication][0]
        key = hmac.digest(session_key, _CONSTANT_2, name)[:_BLOCK]
        cipher = Cipher(algorithms.AES(key), modes.CBC(urandom(_BLOCK)))
        self._encrypt = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update

    def encrypt(self, payload: bytes) -> bytes:
        """Initialization vector and ciphertext."""
        return self._encrypt(urandom(_BLOCK) + payload + _TRAILERS[len(payload) & 15])

    def decrypt(self, payload: bytes) -> bytes | None:
        """The plain text; None if there cannot be one."""
        if len(payload) < 2 * _BLOCK or len(payload) & 15:
            return None
        plain = self._decrypt(payload)[_BLOCK:]
        pad = plain[-1]
        if pad >= _BLOCK or plain[-1 - pad : -1] != _TRAILERS[_BLOCK - 1 - pad][:-1]:
            return None
        return plain[: -1 - pad]
