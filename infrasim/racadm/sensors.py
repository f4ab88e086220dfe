"""``getsensorinfo``: the sensors of the BMC with their readings, by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from infrasim.frozen import Frozen
from infrasim.personality import sdr
from infrasim.personality.layout import DataError
from infrasim.racadm.events import BMC_ADDRESS, full_name, state_text
from infrasim.racadm.layout import table
from infrasim.racadm.ports import Bmc, BmcRefusal

_SENSOR = 0x04
# Of a reading. Source: IPMI 2.0 section 35.14.
_UNAVAILABLE = 0x20
_SCANNING = 0x40
# Bits of a threshold sensor's state, and of the mask of readable thresholds: lnc lc lnr unc uc unr.
_LNC, _LC, _LNR, _UNC, _UC, _UNR = range(6)
_WARNING = 1 << _LNC | 1 << _UNC
_CRITICAL = 1 << _LC | 1 << _LNR | 1 << _UC | 1 << _UNR
_UNITS = {"degrees_c": "C", "rpm": "RPM", "volts": "V", "amps": "Amps", "watts": "Watts"}
_NOTHING = "N/A"
_OWN_STATES = "sensor_specific"


class Reading(Frozen):
    """A sensor as it is now. ``value`` is in its units; ``states`` are bits; None where it does not tell.

    ``group`` says what the states mean: the kind of event, or ``kind`` if they are the sensor's own.
    """

    name: str
    kind: str
    group: str
    unit: str
    is_threshold: bool
    value: float | int | None
    states: int | None
    thresholds: tuple[float | int | None, ...] = (None,) * 6

    @property
    def status(self) -> str:
        """How it is, in a word."""
        if self.states is None or (self.is_threshold and self.value is None):
            return _NOTHING
        if not self.is_threshold:
            return "Ok"
        if self.states & _CRITICAL:
            return "Critical"
        return "Warning" if self.states & _WARNING else "Ok"

    @property
    def text(self) -> str:
        """The value with its unit."""
        return self.in_units(self.value)

    def in_units(self, value: float | int | None) -> str:
        """A value with the sensor's unit."""
        return "NA" if value is None else f"{value:.10g}{self.unit}"


# Kinds in their order: heading, whose sensors, what the columns are.
_KINDS: tuple[tuple[str, str], ...] = (
    ("POWER", "power_supply"),
    ("TEMPERATURE", "temperature"),
    ("FAN", "fan"),
    ("VOLTAGE", "voltage"),
    ("CURRENT", "current"),
    ("PROCESSOR", "processor"),
    ("MEMORY", "memory"),
    ("BATTERY", "battery"),
    ("INTRUSION", "physical_security"),
    ("SYSTEM PERFORMANCE", "other_units"),
)


def readings(bmc: Bmc) -> tuple[Reading, ...]:
    """Every sensor of the BMC itself.

    Raises:
        BmcRefusal: the BMC does not answer.
    """
    return tuple(found for record in bmc.records() if (found := _reading(bmc, record)) is not None)


def sensor_info(bmc: Bmc) -> str:
    """All kinds that the server has sensors of."""
    found = readings(bmc)
    return "\n\n".join(
        text
        for heading, kind in _KINDS
        if (text := _section(heading, [each for each in found if each.kind == kind]))
    )


def _section(heading: str, found: list[Reading]) -> str:
    analogue = [each for each in found if each.is_threshold]
    own = [each for each in found if not each.is_threshold and heading in _STATES and each.group == each.kind]
    others = [each for each in found if not each.is_threshold and each not in own]
    tables = []
    if analogue:
        limits = ("Sensor Name", "Status", "Reading", "lc", "uc", "lnc", "unc")
        tables.append(table(limits, map(_threshold_row, analogue)))
    if own:
        heads, row = _STATES[heading]
        tables.append(table(heads, map(row, own)))
    if others:
        tables.append(table(("Sensor Name", "Status", "State"), map(_state_row, others)))
    return "\n".join([f"Sensor Type : {heading}", *tables]) if tables else ""


def _threshold_row(each: Reading) -> tuple[str, ...]:
    limits = (each.in_units(each.thresholds[bit]) for bit in (_LC, _UC, _LNC, _UNC))
    return (each.name, each.status, each.text, *limits)


def _state_row(each: Reading) -> tuple[str, ...]:
    if each.states is None:
        return (each.name, each.status, _NOTHING)
    named = [state_text(each.group, bit) for bit in range(15) if each.states >> bit & 1]
    return (each.name, each.status, ", ".join(named) or "None")


def _power_row(each: Reading) -> tuple[str, ...]:
    # Bit 0 is presence. Source: IPMI 2.0 table 42-3.
    state = _NOTHING if each.states is None else "Present" if each.states & 1 else "Absent"
    return (each.name, state, "AC")


def _intrusion_row(each: Reading) -> tuple[str, ...]:
    # Bit 0 is chassis intrusion. Source: as above.
    state = _NOTHING if each.states is None else "Open" if each.states & 1 else "Closed"
    return (each.name, state, each.status)


_Row = Callable[[Reading], tuple[str, ...]]
# Columns of their own. Source: public transcripts of iDRAC 7 to 9.
_STATES: dict[str, tuple[tuple[str, str, str], _Row]] = {
    "POWER": (("Sensor Name", "Status", "Type"), _power_row),
    "INTRUSION": (("Sensor Name", "Intrusion", "Status"), _intrusion_row),
}


def _reading(bmc: Bmc, data: bytes) -> Reading | None:
    """The sensor that a record describes as it is now; None for other records."""
    try:
        record = sdr.decode_record(data)
    except DataError:
        return None
    if not isinstance(record, sdr.Sensor) or record.owner != BMC_ADDRESS:
        return None
    try:
        answer = bmc.ask(_SENSOR, 0x2D, bytes([record.number]))
    except BmcRefusal:
        answer = b"\0" + bytes([_UNAVAILABLE])
    tells = bool(answer[1] & _SCANNING) and not answer[1] & _UNAVAILABLE
    states = int.from_bytes(answer[2:4], "little") if tells else None
    to_units = record.conversion.to_units
    return Reading(
        name=full_name(record),
        kind=str(record.sensor_type),
        group=str(record.sensor_type if record.event_type == _OWN_STATES else record.event_type),
        unit="%" if record.percentage else _UNITS.get(str(record.unit), ""),
        is_threshold=record.is_threshold,
        value=to_units(answer[0]) if tells and record.is_threshold else None,
        states=states,
        thresholds=tuple(_thresholds(bmc, record)) if record.is_threshold else (None,) * 6,
    )


def _thresholds(bmc: Bmc, record: sdr.Sensor) -> Iterator[float | int | None]:
    """The thresholds that can be read, in the order of their bits. Source: IPMI 2.0 section 35.9."""
    try:
        answer = bmc.ask(_SENSOR, 0x27, bytes([record.number]))
    except BmcRefusal:
        answer = bytes(7)
    for bit, raw in enumerate(answer[1:7]):
        yield record.conversion.to_units(raw) if answer[0] >> bit & 1 else None
