"""DCMI's measurements: power with its limit, temperatures with theirs.

An active power limit slows the host's processors down, by the line between load and power. A limit that they
cannot be held to, because it is too low or this machine does not allow it, has the consequence that was set
once it was passed for its time; so have limits of temperatures. Source: DCMI 1.5 sections 6.5 to 6.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core.chassis import ControlAction, RestartCause
from infrasim.bmc_core.clock import bmc_time_s
from infrasim.bmc_core.codes import BMC_ADDRESS, Completion, Privilege
from infrasim.bmc_core.dcmi import AVERAGING_PERIODS, PowerLimit, command
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.power_meter import PowerMeter
from infrasim.bmc_core.sensors import TEMPERATURE, Sensor

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Entities that DCMI tells temperatures of, under IPMI's numbers and its own: inlet, processor, board.
_PLACES = ((0x37, 0x40), (0x03, 0x41), (0x07, 0x42))
_INLET = _PLACES[0]
_MOST_AT_ONCE = 8

_MEASURING = 0x40
_MODE_NORMAL, _MODE_AVERAGING = 1, 2

# Completion codes of power limits. Source: DCMI 1.5 sections 6.6.2 and 6.6.3.
_NO_LIMIT, _LIMIT_OUT_OF_RANGE, _CORRECTION_OUT_OF_RANGE = 0x80, 0x84, 0x85
_ACTION_NONE, _ACTION_OFF, _ACTION_LOG = 0x00, 0x01, 0x11

# Bits of a thermal limit's actions. Source: DCMI 1.5 section 6.7.1.
_THERMAL_KEPT, _THERMAL_OFF, _THERMAL_LOG = 0x80, 0x40, 0x20

# Processors cannot be slowed down further: the host has to go on.
_LEAST_PART = 0.1

# "Limit exceeded", of a sensor in other units. Source: IPMI 2.0 tables 42-2 (type 05h) and 42-3 (type 0Bh).
_OTHER_UNITS, _LIMIT_EVENT, _EXCEEDED = 0x0B, 0x05, 0x01


class DcmiMonitor:
    """Measures, and watches the limits."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self.meter = PowerMeter(bmc, self._measured, self.held_w)
        self._power_passed_s: float | None = None
        self._hot_since_s: dict[str, float] = {}

    def limit_changed(self) -> None:
        """A new power limit counts from now on."""
        self._power_passed_s = None
        self.held_w()

    def held_w(self) -> int | None:
        """Hold the host to the power limit, and return that; None if there is none, or it cannot be held."""
        limit, meter, load = self._bmc.state.dcmi.limit, self.meter, self._bmc.load
        if not limit.is_active or not self._bmc.chassis.power_is_on():
            load.limit_load(None)
            return None
        watts = meter.busy_w if limit.watts is None else limit.watts
        part = (watts - meter.idle_w) / (meter.busy_w - meter.idle_w)
        if part >= 1:
            load.limit_load(None)
            return None
        is_held = load.limit_load(max(part, _LEAST_PART))
        return watts if is_held and part >= _LEAST_PART else None

    def _measured(self, watts: int) -> None:
        limit = self._bmc.state.dcmi.limit
        if limit.is_active and limit.watts is not None and watts > limit.watts:
            self._above_limit(limit)
        else:
            self._power_passed_s = None
        if self._bmc.state.dcmi.thermal_limits:
            self._bmc.defer(self._watch_temperatures())

    def _above_limit(self, limit: PowerLimit) -> None:
        now_s = self._bmc.clock.now_s()
        if self._power_passed_s is None:
            self._power_passed_s = now_s
        if now_s - self._power_passed_s < limit.correction_ms / 1000:
            return
        self._power_passed_s = float("inf")
        if limit.action != _ACTION_NONE:
            self._log(_OTHER_UNITS)
        if limit.action == _ACTION_OFF:
            self._switch_off()

    async def _watch_temperatures(self) -> None:
        limits = self._bmc.state.dcmi.thermal_limits
        try:
            sensors = await temperature_sensors(self._bmc, _INLET[0])
            values = {instance: await self._bmc.sensors.value(sensor) for instance, sensor in sensors}
        except Refused:
            return
        for key, (actions, most, *time) in list(limits.items()):
            value = values.get(int(key.partition(".")[2]))
            if not actions or value is None or value <= most:
                self._hot_since_s.pop(key, None)
                continue
            now_s = self._bmc.clock.now_s()
            if now_s - self._hot_since_s.setdefault(key, now_s) >= int.from_bytes(bytes(time), "little"):
                self._hot_since_s[key] = float("inf")
                if actions & _THERMAL_LOG:
                    self._log(TEMPERATURE)
                if actions & _THERMAL_OFF:
                    self._switch_off()

    def _log(self, sensor_type: int) -> None:
        self._bmc.log_event(
            generator=BMC_ADDRESS,
            sensor_type=sensor_type,
            sensor=0,
            event_type=_LIMIT_EVENT,
            data=bytes([_EXCEEDED, 0xFF, 0xFF]),
        )

    def _switch_off(self) -> None:
        if self._bmc.chassis.power_is_on():
            self._bmc.chassis_control.act(ControlAction.POWER_DOWN, RestartCause.UNKNOWN)


def get_power_reading(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.6.1."""
    mode, attribute, _reserved = request.need(3)
    window_s = None
    if mode == _MODE_AVERAGING:
        window_s = AVERAGING_PERIODS.get(attribute)
        if window_s is None:
            raise Refused(Completion.INVALID_FIELD)
    elif mode != _MODE_NORMAL:
        raise Refused(Completion.INVALID_FIELD)
    reading = bmc.dcmi.meter.reading(window_s)
    watts = (reading.now_w, reading.least_w, reading.most_w, reading.average_w)
    timestamp = int(bmc_time_s(bmc)) & 0xFFFFFFFF
    # Averages echo the period that was asked for, in its own units.
    period = attribute if window_s else min(round(reading.period_s * 1000), 0xFFFFFFFF)
    return b"".join(
        (
            *(each.to_bytes(2, "little") for each in watts),
            timestamp.to_bytes(4, "little"),
            period.to_bytes(4, "little"),
            bytes([_MEASURING]),
        )
    )


def get_power_limit(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.6.2. One that is not active is told with a code of its own."""
    request.need(2)
    limit = bmc.state.dcmi.limit
    data = b"".join(
        (
            bytes([0, 0, limit.action]),
            (bmc.dcmi.meter.busy_w if limit.watts is None else limit.watts).to_bytes(2, "little"),
            limit.correction_ms.to_bytes(4, "little"),
            bytes(2),
            limit.sampling_s.to_bytes(2, "little"),
        )
    )
    if not limit.is_active:
        raise Refused(_NO_LIMIT, data)
    return data


def set_power_limit(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.6.3. A limit below what standby takes could not be kept."""
    data = request.need(14)
    action, watts = data[3], int.from_bytes(data[4:6], "little")
    if action not in (_ACTION_NONE, _ACTION_OFF, _ACTION_LOG):
        raise Refused(Completion.INVALID_FIELD)
    if watts < bmc.dcmi.meter.idle_w:
        raise Refused(_LIMIT_OUT_OF_RANGE)
    correction_ms = int.from_bytes(data[6:10], "little")
    if correction_ms == 0:
        raise Refused(_CORRECTION_OUT_OF_RANGE)
    limit = bmc.state.dcmi.limit
    limit.action, limit.watts, limit.correction_ms = action, watts, correction_ms
    limit.sampling_s = int.from_bytes(data[12:14], "little")
    bmc.dcmi.limit_changed()
    bmc.changed()
    return b""


def activate_power_limit(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.6.4."""
    activation = request.need(3)[0]
    if activation > 1:
        raise Refused(Completion.INVALID_FIELD)
    bmc.state.dcmi.limit.is_active = bool(activation)
    bmc.dcmi.limit_changed()
    bmc.changed()
    return b""


async def temperature_sensors(bmc: Bmc, entity: int) -> list[tuple[int, Sensor]]:
    """The temperature sensors at one place, with the instance each has here: 1 and on, as their records come.

    Raises:
        Refused: DCMI knows no such place; or by ipmi_sim.
    """
    place = next((numbers for numbers in _PLACES if entity in numbers), None)
    if place is None:
        raise Refused(Completion.INVALID_FIELD)
    every = await bmc.sensors.all()
    there = [
        each
        for each in every
        if each.sensor_type == TEMPERATURE
        and each.entity in place
        and each.conversion is not None
        and each.owner == BMC_ADDRESS
    ]
    return list(enumerate(there, start=1))


async def _wanted_sensors(bmc: Bmc, request: Request) -> tuple[int, list[tuple[int, Sensor]]]:
    """How many sensors there are at the place in question, and those to tell of now."""
    sensor_type, entity, instance, start = request.need(4)
    if sensor_type != TEMPERATURE:
        raise Refused(Completion.INVALID_FIELD)
    sensors = await temperature_sensors(bmc, entity)
    if instance:
        wanted = [each for each in sensors if each[0] == instance]
        if not wanted:
            raise Refused(Completion.NOT_PRESENT)
    else:
        wanted = [each for each in sensors if each[0] >= start]
    return len(sensors), wanted[:_MOST_AT_ONCE]


async def get_sensor_info(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.5.2."""
    total, sensors = await _wanted_sensors(bmc, request)
    numbers = b"".join(sensor.record_id.to_bytes(2, "little") for _instance, sensor in sensors)
    return bytes([min(total, 0xFF), len(sensors)]) + numbers


async def get_temperatures(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.7.3. Degrees with their sign; sensors without a reading are left out."""
    total, sensors = await _wanted_sensors(bmc, request)
    pairs = b""
    for instance, sensor in sensors:
        value = await bmc.sensors.value(sensor)
        if value is not None:
            degrees = max(-127, min(127, round(value)))
            pairs += bytes([abs(degrees) | (0x80 if degrees < 0 else 0), instance])
    return bytes([min(total, 0xFF), len(pairs) // 2]) + pairs


def set_thermal_limit(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.7.1."""
    entity, instance, *limit = request.need(6)
    key = _thermal_key(entity, instance)
    if limit[0] & ~(_THERMAL_KEPT | _THERMAL_OFF | _THERMAL_LOG):
        raise Refused(Completion.INVALID_FIELD)
    bmc.state.dcmi.thermal_limits[key] = bytes(limit)
    bmc.changed()
    return b""


def get_thermal_limit(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.7.2."""
    entity, instance = request.need(2)
    return bmc.state.dcmi.thermal_limits.get(_thermal_key(entity, instance), bytes(4))


def _thermal_key(entity: int, instance: int) -> str:
    if entity not in _INLET or not instance:
        raise Refused(Completion.INVALID_FIELD)
    return f"{_INLET[0]}.{instance}"


_USER, _OPERATOR = Privilege.USER, Privilege.OPERATOR

COMMANDS = (
    command(0x02, "Get Power Reading", _USER, "6.6.1", get_power_reading),
    command(0x03, "Get Power Limit", _USER, "6.6.2", get_power_limit),
    command(0x04, "Set Power Limit", _OPERATOR, "6.6.3", set_power_limit),
    command(0x05, "Activate/Deactivate Power Limit", _OPERATOR, "6.6.4", activate_power_limit),
    command(0x07, "Get DCMI Sensor Info", _USER, "6.5.2", get_sensor_info),
    command(0x0B, "Set Thermal Limit", _OPERATOR, "6.7.1", set_thermal_limit),
    command(0x0C, "Get Thermal Limit", _USER, "6.7.2", get_thermal_limit),
    command(0x10, "Get Temperature Readings", _USER, "6.7.3", get_temperatures),
)
