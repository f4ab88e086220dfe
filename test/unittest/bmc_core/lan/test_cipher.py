"""Keys and ciphers, checked against known values and against plain use of the primitives."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.lan.cipher import SUITES, Encryptor, Signer, md5_code

KEY = bytes(range(20))
K2 = hmac.new(KEY, b"\x02" * 20, "sha1").digest()[:16]


def plain_decrypt(wire: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(K2), modes.CBC(wire[:16])).decryptor()
    return decryptor.update(wire[16:]) + decryptor.finalize()


@given(st.lists(st.binary(max_size=70), max_size=5))
def test_one_context_encrypts_as_a_new_one_for_each_message(payloads: list[bytes]) -> None:
    encryptor = Encryptor(SUITES[3], KEY)
    vectors = set()
    for payload in payloads:
        wire = encryptor.encrypt(payload)
        vectors.add(wire[:16])
        plain = plain_decrypt(wire)
        assert plain[-1] == len(plain) - len(payload) - 1
        assert plain == payload + bytes(range(1, plain[-1] + 1)) + plain[-1:]
    assert len(vectors) == len(payloads)


@given(st.lists(st.binary(max_size=70), max_size=5), st.binary(min_size=16, max_size=16))
def test_one_context_decrypts_any_order(payloads: list[bytes], vector: bytes) -> None:
    encryptor = Encryptor(SUITES[3], KEY)
    for payload in payloads:
        pad = -(len(payload) + 1) % 16
        plain = payload + bytes(range(1, pad + 1)) + bytes([pad])
        cipher = Cipher(algorithms.AES(K2), modes.CBC(vector)).encryptor()
        assert encryptor.decrypt(vector + cipher.update(plain)) == payload


@given(st.binary(max_size=64))
def test_rubbish_decrypts_to_nothing_or_something_but_never_raises(wire: bytes) -> None:
    encryptor = Encryptor(SUITES[3], KEY)
    encryptor.decrypt(wire)
    assert encryptor.decrypt(encryptor.encrypt(b"after it")) == b"after it"


@pytest.mark.parametrize("pad", [b"\x05", bytes(15) + b"\x10", b"\x02\x01\x02", b"\x01\x03\x02"])
def test_a_wrong_trailer_is_refused(pad: bytes) -> None:
    plain = pad.rjust(32, b"x")
    cipher = Cipher(algorithms.AES(K2), modes.CBC(bytes(16))).encryptor()
    assert Encryptor(SUITES[3], KEY).decrypt(bytes(16) + cipher.update(plain)) is None


@pytest.mark.parametrize("suite", [2, 7, 16])
@given(payload=st.binary(max_size=40))
def test_what_is_signed_is_known_as_such(suite: int, payload: bytes) -> None:
    signer = Signer(SUITES[suite], KEY)
    datagram = bytes(16) + payload
    signed = signer.sign(datagram)
    assert signer.is_signed(signed, len(datagram))
    for place in range(4, len(signed)):
        assert not signer.is_signed(
            signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :], len(datagram)
        )
    assert not signer.is_signed(signed[:-1], len(datagram))
    assert not signer.is_signed(signed + b"\0", len(datagram))
    assert not signer.is_signed(datagram, len(datagram))


def test_md5_of_ipmi_1_5() -> None:
    code = md5_code(b"secret".ljust(16, b"\0"), 0x01020304, 5, b"payload")
    assert len(code) == 16
    assert code != md5_code(b"secret".ljust(16, b"\0"), 0x01020304, 6, b"payload")
