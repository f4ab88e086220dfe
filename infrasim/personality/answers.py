"""What a BMC answers, as parts of a server type: the bytes of IPMI commands to model values.

Which commands are asked, and of whom, is left to ``runtime.capture``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from infrasim.frozen import Frozen
from infrasim.personality.layout import DataError
from infrasim.personality.model import (
    Controller,
    EventLog,
    Events,
    SensorState,
    Thresholds,
    comparison_bits,
    default_state,
)
from infrasim.personality.sdr import FullSensor, Record, Sensor

_SEL_ENTRY_BYTES = 16
# Reservation, partial addition and deletion. Source: IPMI 2.0 table 31-2.
_SEL_OPERATIONS = 0x0E


class SensorAnswers(Frozen, kw_only=True):
    """What a BMC answers about one sensor; None for a command it refuses or was not asked.

    Source: IPMI 2.0 sections 35.14 (reading), 35.11 (event enable), 35.9 (thresholds), 35.7 (hysteresis) and
    35.16 (type); all without the completion code.
    """

    reading: bytes | None = None
    events: bytes | None = None
    thresholds: bytes | None = None
    hysteresis: bytes | None = None
    sensor_type: bytes | None = None


def controller(address: int, device_id: bytes, sdr_info: bytes | None) -> Controller:
    """A controller by its answers to Get Device ID and, if it has sensors of its own, Get Device SDR Info.

    Source: IPMI 2.0 sections 20.1 and 35.2.

    Raises:
        DataError: the first answer is too short.
    """
    if len(device_id) < 11:
        raise DataError(
            f"Get Device ID of controller {address:#04x}: {len(device_id)} bytes, wanted 11 or more"
        )
    return Controller(
        address=address,
        device_id=device_id[0],
        device_revision=device_id[1] & 0x0F,
        has_device_sdrs=bool(device_id[1] & 0x80),
        firmware_major=device_id[2] & 0x7F,
        firmware_minor=device_id[3],
        support=device_id[5],
        manufacturer=int.from_bytes(device_id[6:9], "little") & 0x0FFFFF,
        product=int.from_bytes(device_id[9:11], "little"),
        has_dynamic_sensors=True if sdr_info is None or len(sdr_info) < 2 else bool(sdr_info[1] & 0x80),
    )


def event_log(info: bytes) -> EventLog:
    """The event log by the answer to Get SEL Info; how many entries fit follows from what is used and free.

    That it tells its allocation is said of every node's log, and no matter of a type.
    Source: IPMI 2.0 section 31.2.

    Raises:
        DataError: the answer is too short.
    """
    if len(info) < 14:
        raise DataError(f"Get SEL Info: {len(info)} bytes, wanted 14")
    used, free = int.from_bytes(info[1:3], "little"), int.from_bytes(info[3:5], "little")
    return EventLog(min(used + free // _SEL_ENTRY_BYTES, 0xFFFF), info[13] & _SEL_OPERATIONS)


def sensor_state(record: Record, answers: SensorAnswers) -> SensorState | None:
    """The sensor of ``record`` as it answers; None for one that does not."""
    usual = default_state(record)
    if usual is None or not isinstance(record, Sensor):
        return usual
    if answers.reading is None and answers.sensor_type is None:
        return None
    state = replace(usual, is_event_only=answers.reading is None)
    if answers.sensor_type and len(answers.sensor_type) >= 2:
        state = replace(state, sensor_type=answers.sensor_type[0], event_type=answers.sensor_type[1] & 0x7F)
    if answers.reading is None:
        return state
    changes: dict[str, Any] = {
        "thresholds": _thresholds(record, answers.thresholds),
        "hysteresis": _hysteresis(record, answers.hysteresis),
        "events": _events(usual.events, answers),
    }
    return _with_reading(replace(state, **changes), usual, answers.reading)


def _thresholds(record: Sensor, answer: bytes | None) -> Thresholds | None:
    if answer is None or len(answer) < 7:
        return None
    # A sensor that answers has thresholds, whatever its record says.
    access = record.threshold_access
    return Thresholds("readable" if access == "none" else access, answer[0] & 0x3F, tuple(answer[1:7]))


def _hysteresis(record: Sensor, answer: bytes | None) -> tuple[str | int, int, int] | None:
    if answer is None or len(answer) < 2 or not isinstance(record, FullSensor):
        return None
    return (record.hysteresis_access, answer[0], answer[1])


def _events(usual: Events | None, answers: SensorAnswers) -> Events | None:
    """Which events are on. Without an answer about events the reading says whether any are."""
    reading, answer = answers.reading or b"", answers.events or b""
    flags = answer[:1] or reading[1:2]
    if usual is None or not flags:
        return usual
    changes: dict[str, Any] = {"enabled": bool(flags[0] & 0x80), "scanning": bool(flags[0] & 0x40)}
    # Only if there are events to switch one by one does the answer go on.
    if len(answer) >= 5:
        asserts, deasserts = (int.from_bytes(answer[at : at + 2], "little") & 0x7FFF for at in (1, 3))
        changes |= {"assertion_enabled": asserts, "deassertion_enabled": deasserts}
        # An event that is on can happen, whatever the record says.
        changes["assertion"] = usual.assertion | asserts
        changes["deassertion"] = usual.deassertion | deasserts
    return replace(usual, **changes)


def _with_reading(state: SensorState, usual: SensorState, reading: bytes) -> SensorState:
    """``state`` with value and states; those of a sensor that says it has none are the usual ones."""
    flags = reading[1] if len(reading) > 1 else 0
    if not reading or flags & 0x20:
        return replace(state, value=usual.value)
    state = replace(state, value=reading[0])
    if len(reading) < 3:
        return replace(state, bits=comparison_bits(state))
    mask = int.from_bytes(reading[2:4], "little") & 0x7FFF
    return replace(state, bits=frozenset(bit for bit in range(15) if mask >> bit & 1))
