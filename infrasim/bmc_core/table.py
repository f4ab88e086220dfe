"""The command table: every command of this BMC, put together from the modules that answer them."""

from __future__ import annotations

from collections.abc import Mapping

from infrasim.bmc_core import (
    chassis,
    clock,
    engine_commands,
    events,
    firewall,
    lan_config,
    pef,
    system_info,
)
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.parameters import Parameter
from infrasim.bmc_core.settings import CoreSettings

_STANDARD = (
    *chassis.COMMANDS,
    *engine_commands.COMMANDS,
    *lan_config.COMMANDS,
    *clock.COMMANDS,
    *events.COMMANDS,
    *pef.COMMANDS,
    *system_info.COMMANDS,
    *firewall.COMMANDS,
)

# OEM commands by the manufacturer in Get Device ID (IANA enterprise number).
_OEM: Mapping[int, tuple[Command, ...]] = {}


def command_table(manufacturer: int) -> dict[tuple[int, int], Command]:
    """Every command by (network function, command number), those of the manufacturer too."""
    return {(each.netfn, each.number): each for each in (*_STANDARD, *_OEM.get(manufacturer, ()))}


def oem_parameters(settings: CoreSettings) -> tuple[Parameter, ...]:
    """The system info parameters that the manufacturer adds."""
    return ()
