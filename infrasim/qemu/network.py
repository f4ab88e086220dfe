"""What network cards are connected to."""

from __future__ import annotations

from collections.abc import Iterable

from infrasim.frozen import Frozen
from infrasim.qemu.element import Value, escape, option


class Forward(Frozen):
    """A port of this machine, at ``address``, that leads to the port ``inside`` of the host."""

    protocol: str
    address: str
    outside: int
    inside: int

    def rule(self) -> str:
        """As QEMU reads it."""
        return f"{self.protocol}:{self.address}:{self.outside}-:{self.inside}"


def nat(netdev_id: str, forwards: Iterable[Forward], **properties: Value) -> tuple[str, ...]:
    """QEMU's own network with a way out; ``properties`` are those of ``-netdev user``."""
    flag, text = option("-netdev", "user", id=netdev_id, **properties)
    rules = [f"hostfwd={escape(forward.rule())}" for forward in forwards]
    return (flag, ",".join([text, *rules]))


def multicast(netdev_id: str, group: str) -> tuple[str, ...]:
    """A network that every QEMU on this machine's loopback can join; ``group`` is ADDRESS:PORT."""
    return option("-netdev", "socket", id=netdev_id, mcast=group, localaddr="127.0.0.1")


def tap(netdev_id: str, name: str) -> tuple[str, ...]:
    """A tap device of this machine that exists already."""
    return option("-netdev", "tap", id=netdev_id, ifname=name, script="no", downscript="no")


def tap_descriptor(netdev_id: str, descriptor: int) -> tuple[str, ...]:
    """A tap device that QEMU is given open."""
    return option("-netdev", "tap", id=netdev_id, fd=descriptor)


def bridge(netdev_id: str, name: str) -> tuple[str, ...]:
    """A tap that QEMU's helper makes and puts into a bridge, as far as /etc/qemu/bridge.conf allows."""
    return option("-netdev", "bridge", id=netdev_id, br=name)
