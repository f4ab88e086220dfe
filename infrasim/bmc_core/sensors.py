"""The sensors that ipmi_sim's records describe, as far as the BMC needs them: which, where, what value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import BMC_ADDRESS, Completion, NetFn
from infrasim.bmc_core.message import Refused

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.personality.conversion import Conversion

TEMPERATURE = 0x01

_GET_REPOSITORY_INFO, _RESERVE, _GET_SDR, _GET_READING = 0x20, 0x22, 0x23, 0x2D
_HEADER_SIZE = 5
_PIECE_SIZE = 16
_LAST = 0xFFFF
_MOST_RECORDS = 4096
_NO_READING, _SCANNING = 0x20, 0x40


@dataclass(frozen=True)
class Sensor:
    """One sensor with a record. ``conversion`` is None if it has no analogue value."""

    record_id: int
    owner: int
    lun: int
    number: int
    entity: int
    instance: int
    sensor_type: int
    conversion: Conversion | None


class Sensors:
    """Reads the sensor records once, and again when the repository has changed."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._stamp = b""
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
        info = await self._bmc.engine.ask(NetFn.STORAGE, _GET_REPOSITORY_INFO)
        # Number of records, and the times of the last addition and deletion.
        stamp = info[1:3] + info[5:13]
        if stamp != self._stamp:
            self._sensors = await self._walk()
            self._stamp = stamp
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

    async def _walk(self) -> tuple[Sensor, ...]:
        found: list[Sensor] = []
        wanted = 0
        for _ in range(_MOST_RECORDS):
            following, record = await self._record(wanted)
            sensor = sensor_of_record(record)
            if sensor is not None:
                found.append(sensor)
            if following in (_LAST, wanted):
                break
            wanted = following
        return tuple(found)

    async def _record(self, number: int) -> tuple[int, bytes]:
        """The number of the next record, and this one."""
        try:
            return await self._piece(b"\0\0", number, 0, 0xFF)
        except Refused as refusal:
            if refusal.code != Completion.CANNOT_RETURN_SO_MUCH:
                raise
        reservation = (await self._bmc.engine.ask(NetFn.STORAGE, _RESERVE))[:2]
        following, record = await self._piece(reservation, number, 0, _HEADER_SIZE)
        size = _HEADER_SIZE + (record[4] if len(record) == _HEADER_SIZE else 0)
        while len(record) < size:
            count = min(_PIECE_SIZE, size - len(record))
            _next, piece = await self._piece(reservation, number, len(record), count)
            if not piece:
                break
            record += piece
        return following, record

    async def _piece(self, reservation: bytes, number: int, offset: int, count: int) -> tuple[int, bytes]:
        data = reservation + number.to_bytes(2, "little") + bytes([offset, count])
        answer = await self._bmc.engine.ask(NetFn.STORAGE, _GET_SDR, data)
        return int.from_bytes(answer[:2].ljust(2, b"\xff"), "little"), answer[2:]


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
    )
