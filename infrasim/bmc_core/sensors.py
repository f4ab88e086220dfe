"""The sensors that the records describe, as far as the BMC needs them: which, where, what value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import BMC_ADDRESS, NetFn
from infrasim.frozen import Frozen

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.personality.conversion import Conversion

TEMPERATURE = 0x01

_GET_READING = 0x2D
_NO_READING, _SCANNING = 0x20, 0x40
# From M to the exponents, as Get Sensor Reading Factors tells them. Source: IPMI 2.0 tables 43-1 and 35-6.
_FACTORS = slice(24, 30)


class Sensor(Frozen):
    """One sensor with a record. ``conversion`` is None and ``factors`` empty if it has no analogue value."""

    record_id: int
    owner: int
    lun: int
    number: int
    entity: int
    instance: int
    sensor_type: int
    conversion: Conversion | None
    factors: bytes


class Sensors:
    """Understands the sensor records once, and again when the repository has changed."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._generation = 0
        self._sensors: tuple[Sensor, ...] = ()

    @property
    def entities(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Entity and instance by (owner, sensor number), as far as the records were read."""
        return {(each.owner, each.number): (each.entity, each.instance) for each in self._sensors}

    async def all(self) -> tuple[Sensor, ...]:
        """Every sensor, in the order of the records.

        Raises:
            Refused: by ipmi_sim.
        """
        repository = self._bmc.sdr_repository
        await repository.load()
        if repository.generation != self._generation:
            found = (sensor_of_record(each) for each in repository.records.values())
            self._sensors = tuple(each for each in found if each is not None)
            self._generation = repository.generation
        return self._sensors

    async def value(self, sensor: Sensor) -> float | None:
        """What the sensor reads now, in its unit; None if it has no reading.

        Raises:
            Refused: by ipmi_sim.
        """
        if sensor.conversion is None or sensor.owner != BMC_ADDRESS:
            return None
        answer = await self._bmc.engine.ask(
            NetFn.SENSOR, _GET_READING, bytes([sensor.number]), lun=sensor.lun
        )
        if len(answer) < 2 or answer[1] & _NO_READING or not answer[1] & _SCANNING:
            return None
        return float(sensor.conversion.to_units(answer[0]))


def sensor_of_record(record: bytes) -> Sensor | None:
    """The sensor that a full or compact record describes."""
    # Only who asks for sensors by their records, as DCMI does, pays for it.
    from infrasim.personality import names, sdr
    from infrasim.personality.layout import DataError

    try:
        found = sdr.decode_record(record)
    except DataError:
        return None
    if not isinstance(found, sdr.Sensor):
        return None
    conversion = found.conversion
    is_analog = conversion.analog_format != "none" and isinstance(conversion.linearization, str)
    return Sensor(
        record_id=found.record_id,
        owner=found.owner,
        lun=found.lun,
        number=found.number,
        entity=names.number(names.ENTITIES, found.entity),
        instance=found.instance,
        sensor_type=names.number(names.SENSOR_TYPES, found.sensor_type),
        conversion=conversion if is_analog else None,
        factors=record[_FACTORS] if found.TYPE == sdr.FullSensor.TYPE else b"",
    )
