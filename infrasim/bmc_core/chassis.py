"""Chassis commands: power, status, identify, restart cause, restore policy, power-on hours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc


class RestartCause(IntEnum):
    """Why the host last began. Source: IPMI 2.0 table 28-11."""

    UNKNOWN = 0x0
    CHASSIS_CONTROL = 0x1
    RESET_BUTTON = 0x2
    POWER_BUTTON = 0x3
    WATCHDOG = 0x4
    OEM = 0x5
    ALWAYS_RESTORE = 0x6
    PREVIOUS_RESTORE = 0x7
    PEF_RESET = 0x8
    PEF_POWER_CYCLE = 0x9
    SOFT_RESET = 0xA
    CLOCK_WAKE = 0xB


class RestorePolicy(IntEnum):
    """What happens when AC comes back. Source: IPMI 2.0 table 28-8."""

    ALWAYS_OFF = 0
    PREVIOUS = 1
    ALWAYS_ON = 2


@dataclass
class ChassisState:
    """``power_on_s`` counts the host's time with power; ``last_event`` is byte 2 of Get Chassis Status."""

    restore_policy: RestorePolicy = RestorePolicy.ALWAYS_OFF
    was_on: bool = False
    last_event: int = 0
    restart_cause: RestartCause = RestartCause.UNKNOWN
    restart_channel: int = 0
    power_on_s: float = 0.0


def get_chassis_status(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.2."""
    request.need(0)
    state = bmc.state.chassis
    power = int(bmc.chassis.power_is_on()) | state.restore_policy << 5
    return bytes([power, state.last_event, 0x40, 0])


def chassis_control(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 28.3."""
    raise Refused(Completion.INVALID_FIELD)


COMMANDS = (
    Command(NetFn.CHASSIS, 0x01, "Get Chassis Status", Privilege.USER, "28.2", get_chassis_status),
    Command(NetFn.CHASSIS, 0x02, "Chassis Control", Privilege.OPERATOR, "28.3", chassis_control),
)
