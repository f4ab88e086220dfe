"""The commands that ipmi_sim answers: SDRs, SEL, sensors, FRU and what describes the controller."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, ask_engine
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

_USER, _OPERATOR, _ADMINISTRATOR = Privilege.USER, Privilege.OPERATOR, Privilege.ADMINISTRATOR

# (command, name, privilege, section). Privileges: IPMI 2.0 appendix G.
_SENSOR = (
    (0x20, "Get Device SDR Info", _USER, "35.2"),
    (0x21, "Get Device SDR", _USER, "35.3"),
    (0x22, "Reserve Device SDR Repository", _USER, "35.4"),
    (0x23, "Get Sensor Reading Factors", _USER, "35.5"),
    (0x24, "Set Sensor Hysteresis", _OPERATOR, "35.6"),
    (0x25, "Get Sensor Hysteresis", _USER, "35.7"),
    (0x26, "Set Sensor Thresholds", _OPERATOR, "35.8"),
    (0x27, "Get Sensor Thresholds", _USER, "35.9"),
    (0x28, "Set Sensor Event Enable", _OPERATOR, "35.10"),
    (0x29, "Get Sensor Event Enable", _USER, "35.11"),
    (0x2A, "Re-arm Sensor Events", _OPERATOR, "35.12"),
    (0x2B, "Get Sensor Event Status", _USER, "35.13"),
    (0x2D, "Get Sensor Reading", _USER, "35.14"),
    (0x2E, "Set Sensor Type", _OPERATOR, "35.15"),
    (0x2F, "Get Sensor Type", _USER, "35.16"),
    (0x30, "Set Sensor Reading And Event Status", _OPERATOR, "35.17"),
)
_STORAGE = (
    (0x10, "Get FRU Inventory Area Info", _USER, "34.1"),
    (0x12, "Write FRU Data", _OPERATOR, "34.3"),
    (0x20, "Get SDR Repository Info", _USER, "33.9"),
    (0x21, "Get SDR Repository Allocation Info", _USER, "33.10"),
    (0x22, "Reserve SDR Repository", _USER, "33.11"),
    (0x23, "Get SDR", _USER, "33.12"),
    (0x24, "Add SDR", _OPERATOR, "33.13"),
    (0x25, "Partial Add SDR", _OPERATOR, "33.14"),
    (0x26, "Delete SDR", _OPERATOR, "33.15"),
    (0x27, "Clear SDR Repository", _OPERATOR, "33.16"),
    (0x28, "Get SDR Repository Time", _USER, "33.17"),
    (0x2A, "Enter SDR Repository Update Mode", _OPERATOR, "33.19"),
    (0x2B, "Exit SDR Repository Update Mode", _OPERATOR, "33.20"),
    (0x40, "Get SEL Info", _USER, "31.2"),
    (0x41, "Get SEL Allocation Info", _USER, "31.3"),
    (0x42, "Reserve SEL", _USER, "31.4"),
    (0x43, "Get SEL Entry", _USER, "31.5"),
    (0x44, "Add SEL Entry", _OPERATOR, "31.6"),
    (0x46, "Delete SEL Entry", _OPERATOR, "31.8"),
    (0x47, "Clear SEL", _OPERATOR, "31.9"),
    (0x48, "Get SEL Time", _USER, "31.10"),
)


def read_fru_data(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.2.

    To a read of more than fits a message ipmi_sim says "request data field length limit exceeded", which is
    about requests. Clients then give up; after "cannot return number of requested data bytes" they read less.
    """
    try:
        found = ask_engine(bmc, request)
    except Refused as refusal:
        raise _about_the_answer(refusal) from None
    return found if isinstance(found, bytes) else _fru_data(found)


async def _fru_data(found: Awaitable[bytes]) -> bytes:
    try:
        return await found
    except Refused as refusal:
        raise _about_the_answer(refusal) from None


def _about_the_answer(refusal: Refused) -> Refused:
    too_long = refusal.code == Completion.TOO_LONG
    return Refused(Completion.CANNOT_RETURN_SO_MUCH) if too_long else refusal


COMMANDS = (
    Command(NetFn.APP, 0x01, "Get Device ID", _USER, "20.1", ask_engine),
    *(Command(NetFn.SENSOR, *entry, ask_engine) for entry in _SENSOR),
    *(Command(NetFn.STORAGE, *entry, ask_engine) for entry in _STORAGE),
    Command(NetFn.STORAGE, 0x11, "Read FRU Data", _USER, "34.2", read_fru_data),
)
