"""What the BMC does when the host or ipmi_sim begins anew; the runtime calls these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core import clock, engine_commands, events, fru, system_info

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc


def host_started(bmc: Bmc) -> None:
    """The host was switched on or reset, by whomever."""
    bmc.boot.host_started()
    for lan in bmc.lans.all:
        lan.parameters.host_started()
    bmc.pef_parameters.host_started()
    system_info.host_started(bmc)
    bmc.events.host_started()


async def engine_started(bmc: Bmc) -> None:
    """ipmi_sim was started: it tells of events, says who it is, and gets back what it does not keep.

    Raises:
        Refused: by ipmi_sim.
    """
    await events.set_engine_enables(bmc)
    await engine_commands.learn_device_id(bmc)
    await clock.set_engine_clock(bmc)
    await events.restore_event_receiver(bmc)
    await fru.restore(bmc)
