"""The BMC's clock: what Set SEL Time sets, kept as a difference to the machine's clock.

ipmi_sim's clock begins at zero whenever it starts; :func:`set_engine_clock` sets it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

_SET_SDR_TIME, _SET_SEL_TIME = 0x29, 0x49
# ipmi_sim keeps one time for its events and one for its records.
SET_TIME_COMMANDS = (_SET_SDR_TIME, _SET_SEL_TIME)

# Source: IPMI 2.0 section 31.11a.
_UNSPECIFIED_OFFSET = 0x07FF
_MOST_OFFSET_MIN = 1440


@dataclass
class ClockState:
    """``offset_s`` is the BMC's time less the machine's; ``utc_offset_min`` None means unspecified."""

    offset_s: float = 0.0
    utc_offset_min: int | None = None


def bmc_time_s(bmc: Bmc) -> float:
    """The BMC's time, in seconds since 1970."""
    return bmc.clock.unix_s() + bmc.state.clock.offset_s


async def set_engine_clock(bmc: Bmc) -> None:
    """Give ipmi_sim the BMC's time, for its events and for its records. To be called after it started.

    Raises:
        Refused: by ipmi_sim.
    """
    data = (int(bmc_time_s(bmc)) & 0xFFFFFFFF).to_bytes(4, "little")
    for command in SET_TIME_COMMANDS:
        await bmc.engine.ask(NetFn.STORAGE, command, data)


async def _set_time(bmc: Bmc, request: Request) -> bytes:
    given_s = int.from_bytes(request.need(4), "little")
    before_s = bmc.state.clock.offset_s
    bmc.state.clock.offset_s = given_s - bmc.clock.unix_s()
    try:
        await set_engine_clock(bmc)
    except Refused:
        bmc.state.clock.offset_s = before_s
        raise
    bmc.changed()
    return b""


async def set_sel_time(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 31.11."""
    return await _set_time(bmc, request)


async def set_sdr_repository_time(bmc: Bmc, request: Request) -> bytes:
    """The BMC has one clock for both. Source: IPMI 2.0 section 33.18."""
    return await _set_time(bmc, request)


def get_utc_offset(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 31.11a (Get SEL Time UTC Offset)."""
    request.need(0)
    minutes = bmc.state.clock.utc_offset_min
    if minutes is None:
        return _UNSPECIFIED_OFFSET.to_bytes(2, "little")
    return minutes.to_bytes(2, "little", signed=True)


def set_utc_offset(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 31.11b (Set SEL Time UTC Offset)."""
    minutes = int.from_bytes(request.need(2), "little", signed=True)
    if minutes != _UNSPECIFIED_OFFSET and abs(minutes) > _MOST_OFFSET_MIN:
        raise Refused(Completion.OUT_OF_RANGE)
    bmc.state.clock.utc_offset_min = None if minutes == _UNSPECIFIED_OFFSET else minutes
    bmc.changed()
    return b""


_STORAGE = NetFn.STORAGE
COMMANDS = (
    Command(
        _STORAGE,
        _SET_SDR_TIME,
        "Set SDR Repository Time",
        Privilege.OPERATOR,
        "33.18",
        set_sdr_repository_time,
    ),
    Command(_STORAGE, _SET_SEL_TIME, "Set SEL Time", Privilege.OPERATOR, "31.11", set_sel_time),
    Command(_STORAGE, 0x5C, "Get SEL Time UTC Offset", Privilege.USER, "31.11a", get_utc_offset),
    Command(_STORAGE, 0x5D, "Set SEL Time UTC Offset", Privilege.OPERATOR, "31.11b", set_utc_offset),
)
