"""The manufacturers that add something, by their number in Get Device ID."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.oem import dell
from infrasim.bmc_core.parameters import Parameter


def no_parameters(settings: CoreSettings) -> tuple[Parameter, ...]:
    """For a manufacturer that adds commands alone."""
    return ()


@dataclass(frozen=True)
class Oem:
    """What one manufacturer adds: commands, and system info parameters from 0xC0."""

    commands: tuple[Command, ...] = ()
    parameters: Callable[[CoreSettings], tuple[Parameter, ...]] = no_parameters


# IANA enterprise numbers.
OEMS: Mapping[int, Oem] = {dell.MANUFACTURER: Oem(dell.COMMANDS, dell.parameters)}


def oem(manufacturer: int) -> Oem:
    """What that manufacturer adds; nothing if it is not known."""
    return OEMS.get(manufacturer, Oem())
