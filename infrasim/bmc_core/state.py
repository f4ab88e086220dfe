"""The state of a BMC that outlives it: each part is owned and changed by the module it is imported from."""

from __future__ import annotations

from dataclasses import dataclass, field

from infrasim.bmc_core.boot import BootState
from infrasim.bmc_core.chassis import ChassisState
from infrasim.bmc_core.clock import ClockState
from infrasim.bmc_core.dcmi import DcmiState
from infrasim.bmc_core.events import PefState
from infrasim.bmc_core.faults import FaultState
from infrasim.bmc_core.fru import FruContent
from infrasim.bmc_core.lan_channel import LanChannelState
from infrasim.bmc_core.parameters import ParameterState
from infrasim.bmc_core.power_history import EnergyState
from infrasim.bmc_core.sdr_repository import SdrState
from infrasim.bmc_core.sel import SelState
from infrasim.bmc_core.users import UserState
from infrasim.bmc_core.watchdog import WatchdogState


@dataclass
class BmcState:
    """Everything a BMC keeps over its own restarts and AC losses; gone after destroy."""

    chassis: ChassisState = field(default_factory=ChassisState)
    faults: FaultState = field(default_factory=FaultState)
    boot: BootState = field(default_factory=BootState)
    watchdog: WatchdogState = field(default_factory=WatchdogState)
    users: UserState = field(default_factory=UserState)
    # By number of the channel.
    lans: dict[int, LanChannelState] = field(default_factory=dict)
    clock: ClockState = field(default_factory=ClockState)
    pef: PefState = field(default_factory=PefState)
    system_info: ParameterState = field(default_factory=ParameterState)
    dcmi: DcmiState = field(default_factory=DcmiState)
    sdr: SdrState = field(default_factory=SdrState)
    sel: SelState = field(default_factory=SelState)
    # Those that were written to, by number.
    frus: dict[int, FruContent] = field(default_factory=dict)
    energy: EnergyState = field(default_factory=EnergyState)
    # What commands of manufacturers keep, each under names of its own.
    oem: dict[str, bytes] = field(default_factory=dict)
