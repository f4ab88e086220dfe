"""The command table: every command of this BMC, put together from the modules that answer them."""

from __future__ import annotations

from infrasim.bmc_core import (
    boot,
    channels,
    chassis,
    clock,
    dcmi,
    dcmi_monitor,
    device,
    engine_commands,
    events,
    firewall,
    fru,
    lan_config,
    messaging,
    pef,
    sdr_repository,
    sel,
    session_commands,
    sol_commands,
    system_info,
    users,
    watchdog,
)
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.oem.catalog import oem

_STANDARD = (
    *boot.COMMANDS,
    *channels.COMMANDS,
    *chassis.COMMANDS,
    *clock.COMMANDS,
    *dcmi.COMMANDS,
    *dcmi_monitor.COMMANDS,
    *device.COMMANDS,
    *engine_commands.COMMANDS,
    *events.COMMANDS,
    *firewall.COMMANDS,
    *fru.COMMANDS,
    *lan_config.COMMANDS,
    *messaging.COMMANDS,
    *pef.COMMANDS,
    *sdr_repository.COMMANDS,
    *sel.COMMANDS,
    *session_commands.COMMANDS,
    *sol_commands.COMMANDS,
    *system_info.COMMANDS,
    *users.COMMANDS,
    *watchdog.COMMANDS,
)


def command_table(manufacturer: int) -> dict[tuple[int, int], Command]:
    """Every command by (network function, command number), those of the manufacturer too."""
    return {(each.netfn, each.number): each for each in (*_STANDARD, *oem(manufacturer).commands)}
