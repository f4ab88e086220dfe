"""The commands that ipmi_sim answers: SEL, sensors, FRU and what describes the controller."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import BMC_ADDRESS, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, ask_engine
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.serial_history import SerialHistory

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

# (command, name, privilege, section). Privileges: IPMI 2.0 appendix G.
_STORAGE = (
    (0x40, "Get SEL Info", _USER, "31.2"),
    (0x42, "Reserve SEL", _USER, "31.4"),
    (0x43, "Get SEL Entry", _USER, "31.5"),
    (0x44, "Add SEL Entry", _OPERATOR, "31.6"),
    (0x46, "Delete SEL Entry", _OPERATOR, "31.8"),
    (0x47, "Clear SEL", _OPERATOR, "31.9"),
    (0x48, "Get SEL Time", _USER, "31.10"),
)
_DEVICE_SDR = (
    (0x20, "Get Device SDR Info", _USER, "35.2"),
    (0x21, "Get Device SDR", _USER, "35.3"),
    (0x22, "Reserve Device SDR Repository", _USER, "35.4"),
)
# Those that only do something, then those that tell.
_SENSOR_ORDERS = (
    (0x24, "Set Sensor Hysteresis", _OPERATOR, "35.6"),
    (0x26, "Set Sensor Thresholds", _OPERATOR, "35.8"),
    (0x28, "Set Sensor Event Enable", _OPERATOR, "35.10"),
    (0x2A, "Re-arm Sensor Events", _OPERATOR, "35.12"),
)
_SENSOR_QUESTIONS = (
    (0x25, "Get Sensor Hysteresis", _USER, "35.7"),
    (0x27, "Get Sensor Thresholds", _USER, "35.9"),
    (0x29, "Get Sensor Event Enable", _USER, "35.11"),
    (0x2D, "Get Sensor Reading", _USER, "35.14"),
    (0x2F, "Get Sensor Type", _USER, "35.16"),
)


def _cured(
    bmc: Bmc,
    request: Request,
    refuse: Callable[[Refused], Awaitable[Refused]],
    answer: Callable[[bytes], bytes] = bytes,
) -> bytes | Awaitable[bytes]:
    """Ask ipmi_sim, and tell its answer or refusal as IPMI has it."""

    async def finish(found: Awaitable[bytes] | Refused) -> bytes:
        try:
            if isinstance(found, Refused):
                raise found
            return answer(await found)
        except Refused as refusal:
            raise await refuse(refusal) from None

    try:
        found = ask_engine(bmc, request)
    except Refused as refusal:
        return finish(refusal)
    return answer(found) if isinstance(found, bytes) else finish(found)


async def learn_device_id(bmc: Bmc) -> None:
    """Ask ipmi_sim for what it says of itself; as long as it runs this stays the same.

    Raises:
        Refused: by ipmi_sim.
    """
    bmc.device_id = await bmc.engine.ask(NetFn.APP, _GET_DEVICE_ID)


def get_device_id(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 20.1. Clients ask it all the time, to see whether their session lives."""
    return ask_engine(bmc, request) if bmc.device_id is None else bmc.device_id


def _history(bmc: Bmc, request: Request) -> SerialHistory | None:
    """What the host printed, if that is the FRU device that is asked for."""
    return bmc.serial_history if request.data[:1] == bmc.history_fru else None


def get_fru_info(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.1."""
    history = _history(bmc, request)
    return ask_engine(bmc, request) if history is None else history.area_info(request)


def write_fru_data(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.3."""
    history = _history(bmc, request)
    return ask_engine(bmc, request) if history is None else history.write()


def read_fru_data(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """Source: IPMI 2.0 section 34.2.

    To a read of more than fits a message ipmi_sim says "request data field length limit exceeded", which is
    about requests. Clients then give up; after "cannot return number of requested data bytes" they read less.
    """

    async def about_the_answer(refusal: Refused) -> Refused:
        too_long = refusal.code == Completion.TOO_LONG
        return Refused(Completion.CANNOT_RETURN_SO_MUCH) if too_long else refusal

    history = _history(bmc, request)
    return _cured(bmc, request, about_the_answer) if history is None else history.read(request)


def ask_sensor(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """A question about a sensor. Source: IPMI 2.0 section 35.

    What a sensor does not have is an invalid command to ipmi_sim, a sensor that is not there a wrong field.
    """
    return _cured(bmc, request, functools.partial(_about_the_sensor, bmc, request))


def order_sensor(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
    """An order to a sensor, as ``ask_sensor``.

    After Set Sensor Event Enable ipmi_sim may answer with what its memory holds; nothing is to be told.
    """
    refuse = functools.partial(_about_the_sensor, bmc, request)
    return _cured(bmc, request, refuse, lambda _answer: b"")


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
    *(Command(NetFn.SENSOR, *entry, ask_engine) for entry in _DEVICE_SDR),
    *(Command(NetFn.SENSOR, *entry, order_sensor) for entry in _SENSOR_ORDERS),
    *(Command(NetFn.SENSOR, *entry, ask_sensor) for entry in _SENSOR_QUESTIONS),
    Command(NetFn.SENSOR, 0x23, "Get Sensor Reading Factors", _USER, "35.5", get_reading_factors),
    Command(NetFn.SENSOR, 0x2B, "Get Sensor Event Status", _USER, "35.13", get_event_status),
    Command(NetFn.SENSOR, 0x30, "Set Sensor Reading And Event Status", _OPERATOR, "35.17", set_reading),
    *(Command(NetFn.STORAGE, *entry, ask_engine) for entry in _STORAGE),
    Command(NetFn.STORAGE, 0x10, "Get FRU Inventory Area Info", _USER, "34.1", get_fru_info),
    Command(NetFn.STORAGE, 0x11, "Read FRU Data", _USER, "34.2", read_fru_data),
    Command(NetFn.STORAGE, 0x12, "Write FRU Data", _OPERATOR, "34.3", write_fru_data),
)
