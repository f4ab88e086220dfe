"""Whether the BMC grows: its memory after many sessions, and after many that were only half opened.

The first 2000 of each fill tables and caches; what comes after them must not add anything. What is looked at
is the supervisor's own memory, because its part of what it shares changes with every other supervisor.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path
from typing import Any

from bench_lab import node, show_ratio
from footprint import memory_mb

sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "unittest" / "bmc_core"))

from lan_client import PlusClient

WARM_UP = 2000
GROWTH_ALLOWED = 1.05


class Wire:
    """A UDP socket where the client of the unit tests expects its net."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(10.0)
        self._socket.connect((address, 623))

    def one(self, datagram: bytes, peer: object = None) -> bytes:
        """Send a datagram and return the answer."""
        self._socket.send(datagram)
        return self._socket.recv(4096)


def open_and_close(wire: Any, count: int) -> None:
    """Log in and out so often."""
    for _ in range(count):
        client = PlusClient(wire).login()
        assert client.ask(6, 0x3C, client.session.to_bytes(4, "little")) == b"\0"


def half_open(wire: Any, count: int) -> None:
    """Begin to log in so often."""
    for _ in range(count):
        PlusClient(wire).open_session()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=100_000)
    count = max(WARM_UP, parser.parse_args().sessions)
    with node() as scratch:
        scratch.must("node", "start", "n")
        pid = scratch.pid("supervisor")
        assert pid is not None
        for what, work in (("sessions", open_and_close), ("half-open sessions", half_open)):
            wire = Wire(scratch.address)
            work(wire, WARM_UP)
            before = memory_mb(pid, "Anonymous")
            began = time.monotonic()
            work(wire, count)
            rate = count / (time.monotonic() - began)
            print(f"  {rate:.0f} {what} per second, the client's time included")
            after = memory_mb(pid, "Anonymous")
            show_ratio(f"memory after {count} more {what} / before (kB)", [after], [before], GROWTH_ALLOWED)


if __name__ == "__main__":
    main()
