"""The manufacturers that add something, by their number in Get Device ID."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.oem import dell, dell_power, quanta
from infrasim.bmc_core.parameters import Parameter
from infrasim.bmc_core.system_info import LiveParameter
from infrasim.frozen import Frozen


def no_parameters(settings: CoreSettings) -> tuple[Parameter, ...]:
    """For a manufacturer that adds commands alone."""
    return ()


class Oem(Frozen):
    """What one manufacturer adds: commands, and system info parameters from 0xC0.

    ``live`` are parameters that are not kept as they are but tell and change something else.
    """

    commands: tuple[Command, ...] = ()
    parameters: Callable[[CoreSettings], tuple[Parameter, ...]] = no_parameters
    live: Mapping[int, LiveParameter] = field(default_factory=dict)


# IANA enterprise numbers.
OEMS: Mapping[int, Oem] = {
    dell.MANUFACTURER: Oem(
        (*dell.COMMANDS, *dell_power.COMMANDS), dell.parameters, {**dell.LIVE, **dell_power.LIVE}
    ),
    quanta.MANUFACTURER: Oem(quanta.COMMANDS),
}


def oem(manufacturer: int) -> Oem:
    """What that manufacturer adds; nothing if it is not known."""
    return OEMS.get(manufacturer, Oem())
