"""The state of a BMC that outlives it: each part is owned and changed by the module it is imported from."""

from __future__ import annotations

from dataclasses import dataclass, field

from infrasim.bmc_core.chassis import ChassisState
from infrasim.bmc_core.clock import ClockState
from infrasim.bmc_core.events import PefState
from infrasim.bmc_core.parameters import ParameterState


@dataclass
class BmcState:
    """Everything a BMC keeps over its own restarts and AC losses; gone after destroy."""

    chassis: ChassisState = field(default_factory=ChassisState)
    clock: ClockState = field(default_factory=ClockState)
    pef: PefState = field(default_factory=PefState)
    system_info: ParameterState = field(default_factory=ParameterState)
    lan: ParameterState = field(default_factory=ParameterState)
