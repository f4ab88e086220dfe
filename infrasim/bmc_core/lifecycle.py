"""What the BMC does when it, the host or ipmi_sim begins anew; the runtime calls these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core import clock, engine_commands, events, fru, system_info

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.parameters import ParameterStore


def ac_came(bmc: Bmc) -> bool:
    """The BMC begins because AC has come; whether the host gets power."""
    bmc.watchdog.stop()
    bmc.boot.ac_came()
    return bmc.chassis_control.on_at_ac()


def timers_go_on(bmc: Bmc) -> None:
    """The BMC follows one that came to a sudden end: what that waited for still comes."""
    bmc.boot.go_on()
    bmc.watchdog.go_on()


def host_started(bmc: Bmc) -> None:
    """The host was switched on or reset, by whomever."""
    bmc.boot.host_started()
    _end_settings(bmc)
    system_info.host_started(bmc)
    bmc.events.host_started()


def host_stopped(bmc: Bmc) -> None:
    """The host lost power, for whatever reason."""
    _end_settings(bmc)
    bmc.events.end_postponement()


def controller_reset(bmc: Bmc, *, cold: bool) -> None:
    """The BMC was told to begin anew."""
    _end_settings(bmc)
    bmc.boot.controller_reset()
    if cold:
        bmc.acpi = system_info.AcpiState()
        for store in _stores(bmc):
            store.forget_volatile()


def _end_settings(bmc: Bmc) -> None:
    """Who was setting parameters is not heard of any more.

    Source: IPMI 2.0 tables 23-4, 26-5, 28-14 and 30-5, parameter 0: a reset or power-down means set complete.
    """
    bmc.boot.set_complete()
    for store in _stores(bmc):
        store.set_complete()
    for lan in bmc.lans.all:
        lan.sol.is_being_set = False


def _stores(bmc: Bmc) -> tuple[ParameterStore, ...]:
    return (*(lan.parameters for lan in bmc.lans.all), bmc.pef_parameters, bmc.system_info)


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
