"""Serial-over-LAN for long: whether a byte is lost, and how many come through per second.

So many ``--megabytes`` of numbered lines go through socat, the terminal, the BMC and ``ipmitool sol
activate`` and into the serial log, which is cut at 64 MiB on the way. A reader follows the log as
``infrasim node console`` does. The host's place is taken by this program: under emulation QEMU prints
some ten thousand bytes per second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench_lab import Lab, node
from outpour import pour, session

from infrasim.runtime.serial_log import unread

LINE = 9


def counted(chunks: Iterator[bytes]) -> int:
    """How many numbered lines come in a row, from 0, whatever stands before them."""
    number, rest, begun = 0, b"", False
    for chunk in chunks:
        rest += chunk.replace(b"\r", b"")
        if not begun:
            _before, found, after = rest.partition(b"%08x\n" % 0)
            if not found:
                continue
            begun, number, rest = True, 1, after
        whole = len(rest) // LINE
        for at in range(0, whole * LINE, LINE):
            if rest[at : at + LINE] != b"%08x\n" % number:
                return number
            number += 1
        rest = rest[whole * LINE :]
    return number


def pieces(path: Path) -> Iterator[bytes]:
    """A file, a megabyte at a time."""
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            yield chunk


def followed(log: Path, count: int) -> Iterator[bytes]:
    """What is appended to a log while it is cut now and then."""
    offset, seen = 0, 0
    while seen < count * LINE:
        size = log.stat().st_size if log.exists() else 0
        data = b""
        if size < offset:
            data, offset = unread(log, offset), 0
        if size > offset:
            with log.open("rb") as stream:
                stream.seek(offset)
                more = stream.read(size - offset)
            data, offset = data + more, offset + len(more)
        seen += len(data)
        if data:
            yield data
        else:
            time.sleep(0.02)


def run(scratch: Lab, count: int) -> None:
    """Pour, and say what came out at both ends."""
    scratch.must("node", "start", "n")
    scratch.ipmi("power", "off")
    log, said = scratch.logs / "n" / "serial.log", scratch.root / "said"
    # What the firmware said is not ours.
    log.write_bytes(b"")
    began_s = time.monotonic()
    with session(scratch, said):
        host = pour(scratch, count)
        logged = counted(followed(log, count))
        host.join()
        last = b"%08x" % (count - 1)
        while last not in said.read_bytes()[-256:]:
            time.sleep(0.5)
    seconds = time.monotonic() - began_s
    shown = counted(pieces(said))
    for what, number in (("serial-over-LAN", shown), ("the serial log", logged)):
        verdict = "all" if number == count else f"LOST after {number}"
        print(f"{what:58} {count} lines: {verdict}")
    print(f"{'kilobytes per second':58} {count * LINE / seconds / 1000:.0f}")
    print(f"{'cuts of the serial log':58} {scratch.count('serial-log-cut')}")
    if (shown, logged) != (count, count):
        sys.exit(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=150)
    count = parser.parse_args().megabytes * 1_000_000 // LINE
    with node() as scratch:
        run(scratch, count)


if __name__ == "__main__":
    main()
