"""What ipmi_sim answers of sensors and of the controller itself."""

from __future__ import annotations

import functools
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import BMC_ADDRESS, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, ask_engine, cured, sized
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

_USER, _OPERATOR = Privilege.USER, Privilege.OPERATOR

# Of Get Sensor Type and Get Sensor Reading.
_GET_SENSOR_TYPE, _GET_SENSOR_READING = 0x2F, 0x2D
_THRESHOLD = 0x01
# Of Set Sensor Reading And Event Status: these bits are not settable. Source: IPMI 2.0 table 35-22.
_NOT_SETTABLE = 0x80
# The events "going low" of the three lower thresholds, and "going high" of the three upper ones, in the order
# of the status bits in a reading. Source: IPMI 2.0 tables 35-15 and 35-13.
_THRESHOLD_EVENTS = (0, 2, 4, 7, 9, 11)

_GET_DEVICE_ID = 0x01

# Of Get Device ID: there is a device SDR repository. Source: IPMI 2.0 table 20-2.
_HAS_DEVICE_SDRS = 0x80
# Of Set Sensor Event Enable: what is to happen to the single events. Source: IPMI 2.0 table 35-10.
_SET_EVENT_ENABLE, _GET_EVENT_ENABLE = 0x28, 0x29
_SELECTION = 0x30

# (command, name, privilege, section), least and most bytes of a request. Privileges: IPMI 2.0 appendix G.
_DEVICE_SDR = (
    ((0x20, "Get Device SDR Info", _USER, "35.2"), (0, 1)),
    ((0x21, "Get Device SDR", _USER, "35.3"), (6, 6)),
    ((0x22, "Reserve Device SDR Repository", _USER, "35.4"), (0, 0)),
)
# Those that only do something, then those that tell.
_SENSOR_ORDERS = (
    ((0x24, "Set Sensor Hysteresis", _OPERATOR, "35.6"), (4, 4)),
    ((0x26, "Set Sensor Thresholds", _OPERATOR, "35.8"), (8, 8)),
    ((_SET_EVENT_ENABLE, "Set Sensor Event Enable", _OPERATOR, "35.10"), (2, 6)),
    ((0x2A, "Re-arm Sensor Events", _OPERATOR, "35.12"), (2, 6)),
)
_SENSOR_QUESTIONS = (
    ((0x25, "Get Sensor Hysteresis", _USER, "35.7"), (2, 2)),
    ((0x27, "Get Sensor Thresholds", _USER, "35.9"), (1, 1)),
    ((_GET_EVENT_ENABLE, "Get Sensor Event Enable", _USER, "35.11"), (1, 1)),
    ((0x2D, "Get Sensor Reading", _USER, "35.14"), (1, 1)),
    ((0x2F, "Get Sensor Type", _USER, "35.16"), (1, 1)),
)


async def learn_device_id(bmc: Bmc) -> None:
    """Ask ipmi_sim for what it says of itself; as long as it runs this stays the same.

    Raises:
        Refused: by ipmi_sim.
    """
    bmc.device_id = await bmc.engine.ask(NetFn.APP, _GET_DEVICE_ID)
    if not int.from_bytes(bmc.device_id[1:2]) & _HAS_DEVICE_SDRS:
        # ipmi_sim does not answer them, so there are no such commands.
        for (number, *_rest), _sizes in _DEVICE_SDR:
            bmc.commands.pop((NetFn.SENSOR, number), None)


def get_device_id(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 20.1. Clients ask it all the time, to see whether their session lives."""
    request.need(0)
    return ask_engine(bmc, request) if bmc.device_id is None else bmc.device_id


def ask_sensor(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """A question about a sensor. Source: IPMI 2.0 section 35.

    What a sensor does not have is an invalid command to ipmi_sim, a sensor that is not there a wrong field.
    """
    return cured(bmc, request, functools.partial(_about_the_sensor, bmc, request))


def order_sensor(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """An order to a sensor, as ``ask_sensor``."""
    if request.command == _SET_EVENT_ENABLE and not request.data[1] & _SELECTION:
        return _switch_sensor(bmc, request)
    refuse = functools.partial(_about_the_sensor, bmc, request)
    return cured(bmc, request, refuse, lambda _answer: b"")


async def _switch_sensor(bmc: Bmc, request: Request) -> bytes:
    """Set Sensor Event Enable that leaves the single events as they are. Source: IPMI 2.0 section 35.10.

    ipmi_sim obeys and forgets to answer: what comes is its answer to whatever was asked before. Its own
    question about the same setting tells whether the sensor has it.
    """
    with suppress(Refused):
        await bmc.engine.ask(request.netfn, request.command, request.data, lun=request.lun)
    try:
        await bmc.engine.ask(request.netfn, _GET_EVENT_ENABLE, request.data[:1], lun=request.lun)
    except Refused as refusal:
        raise await _about_the_sensor(bmc, request, refusal) from None
    return b""


async def _about_the_sensor(bmc: Bmc, request: Request, refusal: Refused) -> Refused:
    if refusal.code == Completion.INVALID_COMMAND:
        return Refused(Completion.ILLEGAL_FOR_SENSOR)
    if refusal.code != Completion.INVALID_FIELD:
        return refusal
    # A field, or is it the sensor that is not there?
    try:
        await sensor_type(bmc, request)
    except Refused as reason:
        return reason
    return refusal


async def sensor_type(bmc: Bmc, request: Request) -> tuple[int, int]:
    """Sensor type and event type of the sensor that a request is about.

    Raises:
        Refused: there is no such sensor, or by ipmi_sim.
    """
    try:
        found = await bmc.engine.ask(NetFn.SENSOR, _GET_SENSOR_TYPE, request.data[:1], lun=request.lun)
    except Refused as refusal:
        if refusal.code == Completion.INVALID_FIELD:
            raise Refused(Completion.NOT_PRESENT) from None
        raise
    return found[0], found[1] & 0x7F


async def get_reading_factors(bmc: Bmc, request: Request) -> bytes:
    """The same for all readings: no sensor needs others for each. Source: IPMI 2.0 section 35.5."""
    number, reading = request.need(2)
    await sensor_type(bmc, request)
    for each in await bmc.sensors.all():
        if (each.owner, each.lun, each.number) == (BMC_ADDRESS, request.lun, number) and each.factors:
            return bytes([min(reading + 1, 0xFF)]) + each.factors
    raise Refused(Completion.ILLEGAL_FOR_SENSOR)


async def get_event_status(bmc: Bmc, request: Request) -> bytes:
    """What is asserted now; events of these sensors end with their cause. Source: IPMI 2.0 section 35.13."""
    request.need(1)
    _type, event_type = await sensor_type(bmc, request)
    reading = await bmc.engine.ask(NetFn.SENSOR, _GET_SENSOR_READING, request.data, lun=request.lun)
    states = int.from_bytes(reading[2:4], "little")
    if event_type == _THRESHOLD:
        states = sum(1 << event for place, event in enumerate(_THRESHOLD_EVENTS) if states >> place & 1)
    return reading[1:2] + (states & 0x7FFF).to_bytes(2, "little") + bytes(2)


async def set_reading(bmc: Bmc, request: Request) -> bytes:
    """No sensor of a server lets software set its reading. Source: IPMI 2.0 section 35.17."""
    request.need(2, 10)
    await sensor_type(bmc, request)
    raise Refused(_NOT_SETTABLE)


COMMANDS = (
    Command(NetFn.APP, _GET_DEVICE_ID, "Get Device ID", _USER, "20.1", get_device_id),
    *(Command(NetFn.SENSOR, *entry, sized(ask_engine, *sizes)) for entry, sizes in _DEVICE_SDR),
    *(Command(NetFn.SENSOR, *entry, sized(order_sensor, *sizes)) for entry, sizes in _SENSOR_ORDERS),
    *(Command(NetFn.SENSOR, *entry, sized(ask_sensor, *sizes)) for entry, sizes in _SENSOR_QUESTIONS),
    Command(NetFn.SENSOR, 0x23, "Get Sensor Reading Factors", _USER, "35.5", get_reading_factors),
    Command(NetFn.SENSOR, 0x2B, "Get Sensor Event Status", _USER, "35.13", get_event_status),
    Command(NetFn.SENSOR, 0x30, "Set Sensor Reading And Event Status", _OPERATOR, "35.17", set_reading),
)
