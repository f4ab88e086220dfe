"""Addresses of interfaces as the kernel tells them."""

from __future__ import annotations

import socket
import struct

from infrasim.host import interfaces

GLOBAL, LINK, HOST = 0, 253, 254


def message(kind: int, content: bytes) -> bytes:
    padded = content + bytes(-len(content) % 4)
    return struct.pack("=IHHII", 16 + len(content), kind, 2, 1, 0) + padded


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def told(family: int, scope: int, index: int, **attributes: str) -> bytes:
    numbers = {"address": 1, "local": 2}
    packed = (attribute(numbers[name], socket.inet_pton(family, text)) for name, text in attributes.items())
    # The label comes between them and is no multiple of four bytes long.
    return struct.pack("=BBBBI", family, 24, 0, scope, index) + attribute(3, b"eth0\0").join((b"", *packed))


def test_an_address_and_its_interface() -> None:
    said = told(socket.AF_INET, GLOBAL, 2, address="192.0.2.1")
    assert interfaces.address_of(said) == (2, "192.0.2.1")
    assert interfaces.address_of(told(socket.AF_INET6, HOST, 1, address="::1")) == (1, "::1")


def test_of_a_link_to_one_peer_it_is_ours() -> None:
    said = told(socket.AF_INET, GLOBAL, 7, address="10.0.0.2", local="10.0.0.1")
    assert interfaces.address_of(said) == (7, "10.0.0.1")


def test_what_is_no_address_to_listen_on_is_left_out() -> None:
    assert interfaces.address_of(told(socket.AF_INET6, LINK, 2, address="fe80::1")) is None
    assert interfaces.address_of(struct.pack("=BBBBI", socket.AF_PACKET, 0, 0, 0, 2)) is None
    assert interfaces.address_of(struct.pack("=BBBBI", socket.AF_INET, 24, 0, GLOBAL, 2)) is None


def test_an_answer_has_several_messages() -> None:
    data = message(20, b"abcde") + message(3, b"") + b"\0\0"
    assert list(interfaces.messages(data)) == [(20, b"abcde"), (3, b"")]
    # A length that cannot be is no reason to turn in a circle.
    assert list(interfaces.messages(bytes(16))) == [(0, b"")]


def test_this_machine_has_a_loopback() -> None:
    found = interfaces.interface_addresses()
    assert list(found) == [name for _, name in socket.if_nameindex()]
    assert "127.0.0.1" in found["lo"]
