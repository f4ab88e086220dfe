"""The commands of platform event filtering and alerting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core import sel
from infrasim.bmc_core.alerts import AlertStatus
from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.events import NO_RECORD
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.parameters import answer_read
from infrasim.bmc_core.pef_config import FILTERS, SUPPORTED_ACTIONS
from infrasim.bmc_core.pet import PlatformEvent

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

_PEF_VERSION = 0x51

# Command-specific completion code of Alert Immediate. Source: IPMI 2.0 section 30.7.
_ALERT_IN_PROGRESS = 0x81


def get_capabilities(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.1."""
    request.need(0)
    return bytes([_PEF_VERSION, SUPPORTED_ACTIONS, FILTERS])


def arm_postpone_timer(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.2."""
    return bytes([bmc.events.postpone(request.need(1)[0])])


def set_configuration(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.3."""
    data = request.need(1, 64)
    if data[0] & 0x80:
        raise Refused(Completion.INVALID_FIELD)
    bmc.pef_parameters.write(data[0], data[1:])
    return b""


def get_configuration(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.4."""
    data = request.need(3)
    return answer_read(bmc.pef_parameters, request, data[0] & 0x7F, at=1)


def set_last_processed_event(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.5."""
    data = request.need(3)
    number = int.from_bytes(data[1:3], "little")
    if data[0] & 0x01:
        bmc.state.pef.last_by_bmc = number
    else:
        bmc.state.pef.last_by_software = number
    bmc.changed()
    return b""


async def get_last_processed_event(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.6."""
    request.need(0)
    info = bmc.sel.info(await bmc.engine.ask(NetFn.STORAGE, sel.GET_INFO))
    try:
        newest = await bmc.engine.ask(NetFn.STORAGE, sel.GET_ENTRY, b"\0\0\xff\xff\0\xff")
        last = int.from_bytes(newest[2:4], "little") if len(newest) >= 4 else NO_RECORD
    except Refused:
        last = NO_RECORD
    state = bmc.state.pef
    numbers = (last, state.last_by_software, state.last_by_bmc)
    return info[5:9].ljust(4, b"\xff") + b"".join(each.to_bytes(2, "little") for each in numbers)


def alert_immediate(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.7."""
    data = request.need(3, 11)
    if len(data) not in (3, 11):
        raise Refused(Completion.LENGTH_INVALID)
    lan = bmc.lans.named(request, data[0])
    match data[1] >> 6:
        case 0:
            _send_now(bmc, data, is_connected=lan is bmc.lan)
            return b""
        case 1:
            return bytes([bmc.alerts.immediate])
        case 2:
            if bmc.alerts.immediate != AlertStatus.IN_PROGRESS:
                bmc.alerts.immediate = AlertStatus.NONE
            return b""
        case _:
            raise Refused(Completion.INVALID_FIELD)


def _send_now(bmc: Bmc, data: bytes, *, is_connected: bool) -> None:
    if bmc.alerts.immediate == AlertStatus.IN_PROGRESS:
        raise Refused(_ALERT_IN_PROGRESS)
    text = bmc.pef_parameters.alert_string(data[2] & 0x7F) if data[2] & 0x80 else b""
    message = data[3:] if len(data) > 3 else bytes(8)
    event = PlatformEvent(
        generator=message[0], sensor_type=message[2], sensor=message[3], event=message[4], data=message[5:8]
    )

    def done(status: AlertStatus) -> None:
        bmc.alerts.immediate = status

    if not is_connected:
        done(AlertStatus.RETRIES_FAILED)
        return
    bmc.alerts.immediate = AlertStatus.IN_PROGRESS
    bmc.alerts.send(data[1] & 0x0F, event, text, done)


def pet_acknowledge(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 30.8. The cookie, as sent in the trap, comes least significant byte first."""
    data = request.need(12)
    bmc.alerts.acknowledge(int.from_bytes(data[:2], "little"))
    return b""


_USER, _OPERATOR, _ADMINISTRATOR = Privilege.USER, Privilege.OPERATOR, Privilege.ADMINISTRATOR
_PEF = NetFn.SENSOR

COMMANDS = (
    Command(_PEF, 0x10, "Get PEF Capabilities", _USER, "30.1", get_capabilities),
    Command(_PEF, 0x11, "Arm PEF Postpone Timer", _ADMINISTRATOR, "30.2", arm_postpone_timer),
    Command(_PEF, 0x12, "Set PEF Configuration Parameters", _ADMINISTRATOR, "30.3", set_configuration),
    Command(_PEF, 0x13, "Get PEF Configuration Parameters", _OPERATOR, "30.4", get_configuration),
    Command(_PEF, 0x14, "Set Last Processed Event ID", _ADMINISTRATOR, "30.5", set_last_processed_event),
    Command(_PEF, 0x15, "Get Last Processed Event ID", _ADMINISTRATOR, "30.6", get_last_processed_event),
    Command(_PEF, 0x16, "Alert Immediate", _ADMINISTRATOR, "30.7", alert_immediate),
    Command(_PEF, 0x17, "PET Acknowledge", Privilege.NONE, "30.8", pet_acknowledge),
)
