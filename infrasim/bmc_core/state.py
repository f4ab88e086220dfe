"""The state of a BMC that outlives it: each part is owned and changed by the module it is imported from."""

from __future__ import annotations

from dataclasses import dataclass, field

from infrasim.bmc_core.chassis import ChassisState
from infrasim.bmc_core.parameters import ParameterState


@dataclass
class BmcState:
    """Everything a BMC keeps over its own restarts and AC losses; gone after destroy."""

    chassis: ChassisState = field(default_factory=ChassisState)
    lan: ParameterState = field(default_factory=ParameterState)
