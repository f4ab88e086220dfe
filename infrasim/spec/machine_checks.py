"""Checks of what a node file says of the machine itself, for the models of ``spec.machine``."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from infrasim.spec.checks import Conflict, Conflicts
from infrasim.units import numbers_of

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


def core_list(given: object) -> object:
    """Processors as Linux lists them; a number alone is one of them."""
    text = str(given) if type(given) is int else given
    if isinstance(text, str):
        numbers_of(text)
    return text


def nothing_by_hand(mode: str | None, places: Mapping[str, object]) -> None:
    """What is chosen is not given."""
    given = [key for key, place in places.items() if place is not None]
    if mode == "auto" and given:
        hint = "leave 'mode' out, or this"
        raise Conflicts(Conflict((key,), "says where, and 'mode: auto' chooses", hint) for key in given)
