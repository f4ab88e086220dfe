"""Checks of what a node file says of the machine itself, for the models of ``spec.machine``."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from infrasim.spec.checks import Conflict, Conflicts

if TYPE_CHECKING:
    from infrasim.spec.machine import Cpu

# What ``quantities`` can be at most.
_PROCESSORS_MOST = 255


def counts_agree(cpu: Cpu) -> None:
    """Sockets, cores and threads, as far as they are given, can make the number of processors."""
    parts = {"sockets": cpu.sockets, "cores": cpu.cores, "threads": cpu.threads}
    given = {key: count for key, count in parts.items() if count is not None}
    product = prod(given.values())
    words = " x ".join(f"{count} {key}" for key, count in given.items())
    last = next(reversed(given), "")
    if product > _PROCESSORS_MOST:
        message = f"{words} are {product} processors"
        raise Conflicts([Conflict((last,), message, f"at most {_PROCESSORS_MOST}")])
    if cpu.quantities is None or not given:
        return
    if len(given) == len(parts) and product != cpu.quantities:
        message = f"{words} are {product} processors, 'quantities' says {cpu.quantities}"
        raise Conflicts([Conflict((last,), message, "leave one of them out")])
    if cpu.quantities % product:
        message = f"{cpu.quantities} processors cannot be made of {words}"
        raise Conflicts([Conflict(("quantities",), message, f"use a multiple of {product}, or leave it out")])
