"""The command table: every command of this BMC, put together from the modules that answer them."""

from __future__ import annotations

from collections.abc import Mapping

from infrasim.bmc_core import chassis, clock, engine_commands, events, lan_config, pef
from infrasim.bmc_core.command import Command

_STANDARD = (
    *chassis.COMMANDS,
    *engine_commands.COMMANDS,
    *lan_config.COMMANDS,
    *clock.COMMANDS,
    *events.COMMANDS,
    *pef.COMMANDS,
)

# OEM commands by the manufacturer in Get Device ID (IANA enterprise number).
_OEM: Mapping[int, tuple[Command, ...]] = {}


def command_table(manufacturer: int) -> dict[tuple[int, int], Command]:
    """Every command by (network function, command number), those of the manufacturer too."""
    return {(each.netfn, each.number): each for each in (*_STANDARD, *_OEM.get(manufacturer, ()))}
