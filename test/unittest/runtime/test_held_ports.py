"""Ports that are kept while no host listens at them, on real loopback sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.host.facts import Socket
from infrasim.host.probe import bound_sockets
from infrasim.paths import Home
from infrasim.plan.model import NodePlan, PortSpec
from infrasim.runtime.held_ports import HeldPorts, host_ports

pytestmark = pytest.mark.allow("socket")

ADDRESS = "127.7.7.8"
MakePlan = Callable[[Home, str, str], NodePlan]


def spec(protocol: str) -> PortSpec:
    """A port that is free now."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((ADDRESS, 0))
        return PortSpec("VNC screen", protocol, ADDRESS, int(probe.getsockname()[1]))


def test_the_ports_of_the_host_are_the_screen_and_what_is_forwarded(make_plan: MakePlan) -> None:
    forward = "{protocol: udp, outside: 623, inside: 623}, {outside: 2222, inside: 22}"
    text = f"compute: {{networks: [{{port_forward: [{forward}]}}]}}\nbmc: {{address: 127.0.0.9}}\n"
    text += "type: dell_r730\nracadm: {}\nipmi_console_port: 9000\n"
    plan = make_plan(Home(Path("/h"), Path("/l")), "a", text)
    assert [(port.protocol, port.port) for port in host_ports(plan)] == [
        ("tcp", 5901),
        ("udp", 623),
        ("tcp", 2222),
    ]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_held_port_is_nobody_elses_until_it_is_released(protocol: str) -> None:
    async def whole() -> None:
        port = spec(protocol)
        mine, other = HeldPorts([port]), HeldPorts([port])
        assert mine.hold() == ()
        assert mine.hold() == (), "holding twice is holding"
        place = f"{ADDRESS} port {port.port}/{protocol}"
        assert other.hold() == (f"VNC screen: {place}: Address already in use",)
        mine.release()
        assert other.hold() == ()
        other.release()
        other.release()

    asyncio.run(whole())


def test_a_reserved_port_is_taken_while_it_is_let_go_of() -> None:
    async def whole() -> None:
        port = spec("tcp")
        ports, place = HeldPorts([port]), Socket(port.address, port.port)
        ports.reserve()
        ports.hold()
        ports.release()
        assert place in bound_sockets("tcp")
        ports.give_up()
        assert place not in bound_sockets("tcp")

    asyncio.run(whole())


def test_whoever_connects_is_turned_away_at_once_and_the_port_is_free_again() -> None:
    async def whole() -> None:
        port = spec("tcp")
        held = HeldPorts([port])
        held.hold()
        for _ in range(3):
            reader, writer = await asyncio.open_connection(port.address, port.port)
            assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()
        held.release()
        with socket.socket() as host:
            # As QEMU does.
            host.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host.bind((port.address, port.port))
            host.listen()

    asyncio.run(whole())
