"""The sensors that ipmi_sim's records describe, as far as the BMC needs them: which, where, what value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import BMC_ADDRESS, Completion, NetFn
from infrasim.bmc_core.message import Refused
from infrasim.personality.conversion import Conversion

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

TEMPERATURE = 0x01

_GET_REPOSITORY_INFO, _RESERVE, _GET_SDR, _GET_READING = 0x20, 0x22, 0x23, 0x2D
_FULL, _COMPACT = 0x01, 0x02
_HEADER_SIZE = 5
_PIECE_SIZE = 16
_LAST = 0xFFFF
_MOST_RECORDS = 4096
_NO_READING, _SCANNING = 0x20, 0x40

# Source: IPMI 2.0 table 43-1, bytes 21 and 24.
_FORMATS = ("unsigned", "ones_complement", "twos_complement", "none")
_LINEARIZATIONS = (
    "linear",
    "ln",
    "log10",
    "log2",
    "e",
    "exp10",
    "exp2",
    "reciprocal",
    "square",
    "cube",
    "sqrt",
    "cube_root",
)


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
            self._bmc.sensor_entities = {
                (each.owner, each.number): (each.entity, each.instance) for each in self._sensors
            }
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
    """The sensor that a full or compact record describes. Source: IPMI 2.0 tables 43-1 and 43-2."""
    if len(record) < 23 or record[3] not in (_FULL, _COMPACT):
        return None
    is_analog = record[3] == _FULL and len(record) >= 30
    return Sensor(
        record_id=int.from_bytes(record[:2], "little"),
        owner=record[5],
        lun=record[6] & 0x03,
        number=record[7],
        entity=record[8],
        instance=record[9],
        sensor_type=record[12],
        conversion=_conversion(record) if is_analog else None,
    )


def _conversion(record: bytes) -> Conversion | None:
    analog_format, linearization = record[20] >> 6, record[23] & 0x7F
    if _FORMATS[analog_format] == "none" or linearization >= len(_LINEARIZATIONS):
        return None
    return Conversion(
        m=_signed(record[24] | (record[25] & 0xC0) << 2, 10),
        b=_signed(record[26] | (record[27] & 0xC0) << 2, 10),
        b_exp=_signed(record[29] & 0x0F, 4),
        r_exp=_signed(record[29] >> 4, 4),
        analog_format=_FORMATS[analog_format],
        linearization=_LINEARIZATIONS[linearization],
    )


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value
