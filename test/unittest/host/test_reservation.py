"""Ports that nodes have without being bound to them, on real sockets of the abstract namespace."""

from __future__ import annotations

import os
import socket

import psutil
import pytest

from infrasim.host import probe
from infrasim.host.facts import Socket
from infrasim.host.reservation import reserve, reserved

pytestmark = pytest.mark.allow("socket")

# No host has this address: other nodes of this machine are not in the way.
PLACE = Socket("192.0.2.77", os.getpid() % 60000 + 1)


@pytest.mark.parametrize("place", [PLACE, Socket("2001:db8::7", PLACE.port)])
def test_a_reserved_port_is_in_use_until_it_is_given_up(place: Socket) -> None:
    mark = reserve("tcp", place)
    assert mark
    assert place in probe.bound_sockets("tcp")
    assert place not in probe.bound_sockets("udp")
    assert reserve("tcp", place) is None
    mark.close()
    assert place not in probe.bound_sockets("tcp")


def test_who_reserved_a_port_is_named() -> None:
    mark = reserve("tcp", PLACE)
    assert mark
    with mark:
        assert (
            probe.holder_of("tcp", PLACE.address, PLACE.port)
            == f"{psutil.Process().name()} (pid {os.getpid()})"
        )
    assert probe.holder_of("tcp", PLACE.address, PLACE.port) == "another process"


@pytest.mark.parametrize("tail", ["", "x", "127.0.0.1/", "127.0.0.1/5901x", "127.0.0.1/-1"])
def test_any_name_of_a_socket_is_borne(tail: str) -> None:
    before = set(reserved("tcp"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as strange:
        strange.bind(f"\0infrasim/port/tcp/{os.getpid()}{tail}")
        assert set(reserved("tcp")) - before <= {Socket(f"{os.getpid()}127.0.0.1", 5901)}
