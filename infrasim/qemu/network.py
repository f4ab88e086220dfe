"""What network cards are connected to."""

from __future__ import annotations

from collections.abc import Iterable

from infrasim.qemu.element import escape


def nat(netdev_id: str, forwards: Iterable[tuple[str, int, int]]) -> tuple[str, ...]:
    """QEMU's own NAT. ``forwards`` are (protocol, port on this machine's loopback, port in the host)."""
    rules = [
        f"hostfwd={escape(f'{protocol}:127.0.0.1:{outside}-:{inside}')}"
        for protocol, outside, inside in forwards
    ]
    return ("-netdev", ",".join(["user", f"id={escape(netdev_id)}", *rules]))
