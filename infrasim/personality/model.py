"""A server type as values.

``folder`` makes them of YAML, ``importer`` of a capture; ``compiler`` renders them for one node.
"""

from __future__ import annotations

from typing import Any, TypeVar

from infrasim.frozen import Frozen
from infrasim.personality import names
from infrasim.personality.fru import Fru
from infrasim.personality.layout import DataError
from infrasim.personality.sdr import EventOnly, FullSensor, Owned, Record, Sensor
from infrasim.personality.smbios import Processor, Structure

S = TypeVar("S", bound=Structure)


# Of the main controller on the bus between controllers. Source: IPMB 1.0 address allocation.
BMC_ADDRESS = 0x20


class Controller(Frozen, kw_only=True):
    """A management controller, as Get Device ID tells. Source: IPMI 2.0 section 20.1.

    ``firmware_minor`` is the byte as stored, BCD by the specification; ``support`` are the additional device
    support flags.
    """

    address: int
    device_id: int
    device_revision: int = 1
    has_device_sdrs: bool = False
    firmware_major: int = 0
    firmware_minor: int = 0
    support: int = 0
    manufacturer: int = 0
    product: int = 0
    has_dynamic_sensors: bool = True


class EventLog(Frozen):
    """The system event log. ``flags`` as in Get SEL Info, byte 15. Source: IPMI 2.0 section 31.2."""

    entries: int = 1000
    flags: int = 0x0A


USUAL_LOG = EventLog()


class Thresholds(Frozen):
    """What Get Sensor Thresholds answers; ``mask`` and raw ``values`` in ``names.THRESHOLDS``' order."""

    access: str | int
    mask: int
    values: tuple[int, ...]


class Events(Frozen):
    """What Get Sensor Event Enable answers, and which events the sensor can have."""

    enabled: bool
    scanning: bool
    control: str | int
    assertion: int
    deassertion: int
    assertion_enabled: int
    deassertion_enabled: int


class SensorState(Frozen, kw_only=True):
    """One sensor of the simulated controller, as it is when the BMC starts.

    ``value`` is raw; None means that nothing is read. ``bits`` are the states that are set: threshold
    comparison status or discrete states.
    """

    owner: int
    lun: int
    number: int
    sensor_type: int
    event_type: int
    is_event_only: bool = False
    value: int | None = None
    bits: frozenset[int] = frozenset()
    thresholds: Thresholds | None = None
    hysteresis: tuple[str | int, int, int] | None = None
    events: Events | None = None

    @property
    def key(self) -> tuple[int, int, int]:
        """Owner, LUN and number: what tells one sensor from another."""
        return (self.owner, self.lun, self.number)


class Entry(Frozen):
    """One record of the SDR repository, with the sensor it describes."""

    record: Record
    state: SensorState | None = None


class DefaultDrive(Frozen):
    """A drive the server has unless the node file says otherwise."""

    size_gib: int
    model: str = ""
    vendor: str = ""


class DefaultController(Frozen):
    """A storage controller with its drives; ``model`` is QEMU's device, such as ``ahci``."""

    model: str
    drives: tuple[DefaultDrive, ...] = ()


class DefaultNic(Frozen):
    """Network ports the server has; ``model`` is QEMU's device, such as ``e1000e``."""

    model: str
    count: int = 1


class Personality(Frozen, kw_only=True):
    """A server type. Everything a node's own file does not say comes from here."""

    name: str
    manufacturer: str
    product_name: str
    summary: str
    storage: tuple[DefaultController, ...] = ()
    nics: tuple[DefaultNic, ...] = ()
    controllers: tuple[Controller, ...]
    event_log: EventLog = USUAL_LOG
    sdrs: tuple[Entry, ...] = ()
    hidden_sensors: tuple[SensorState, ...] = ()
    frus: tuple[Fru, ...] = ()
    smbios: tuple[Structure, ...] = ()

    @property
    def bmc(self) -> Controller:
        """The main controller.

        Raises:
            DataError: the type has none.
        """
        for controller in self.controllers:
            if controller.address == BMC_ADDRESS:
                return controller
        raise DataError(f"{self.name}: no controller has the address {BMC_ADDRESS:#04x} of the main one")

    @property
    def sensors(self) -> tuple[SensorState, ...]:
        """Every sensor, those without an SDR last."""
        return tuple(entry.state for entry in self.sdrs if entry.state) + self.hidden_sensors

    def structures(self, kind: type[S]) -> tuple[S, ...]:
        """The SMBIOS structures of a kind, in their order."""
        return tuple(structure for structure in self.smbios if type(structure) is kind)

    @property
    def cpu_sockets(self) -> int:
        """Number of processor sockets: SMBIOS type 4 structures; at least 1."""
        return len(self.structures(Processor)) or 1

    @property
    def cpu_cores(self) -> int:
        """Cores per processor, from the first populated socket; 0 if not known."""
        for processor in self.structures(Processor):
            if processor.is_populated:
                return processor.core_count_2 if processor.core_count == 0xFF else processor.core_count
        return 0


def default_state(record: Record) -> SensorState | None:
    """The sensor a record describes, as the controller would initialise it from the record alone.

    Thresholds that are not readable are 0. A sensor with thresholds has no value until one is given; one with
    discrete states reads 0.
    """
    if isinstance(record, EventOnly):
        return SensorState(**_numbers(record), is_event_only=True)
    if not isinstance(record, Sensor):
        return None
    return SensorState(
        **_numbers(record),
        value=None if record.is_threshold else 0,
        thresholds=_thresholds(record),
        hysteresis=_hysteresis(record),
        events=_events(record),
    )


def _numbers(record: Sensor | EventOnly) -> dict[str, Any]:
    return {
        "owner": record.owner,
        "lun": record.lun,
        "number": record.number,
        "sensor_type": names.number(names.SENSOR_TYPES, record.sensor_type),
        "event_type": names.number(names.EVENT_TYPES, record.event_type),
    }


def _thresholds(record: Sensor) -> Thresholds | None:
    if not record.is_threshold or not isinstance(record, FullSensor):
        return None
    mask = record.reading_mask & 0x3F
    values = tuple(value if mask >> bit & 1 else 0 for bit, value in enumerate(record.thresholds))
    return Thresholds(record.threshold_access, mask, values)


def _hysteresis(record: Sensor) -> tuple[str | int, int, int] | None:
    if not isinstance(record, FullSensor) or record.hysteresis_access == "none":
        return None
    return (record.hysteresis_access, record.hysteresis_positive, record.hysteresis_negative)


def _events(record: Sensor) -> Events:
    """Source: IPMI 2.0 tables 43-1 and 43-2, bytes 11, 12, 15-18; the comparison bits are no events."""
    bits = 0x0FFF if record.is_threshold else 0x7FFF
    asserts, deasserts = record.assertion_mask & bits, record.deassertion_mask & bits
    return Events(
        enabled="events_on" in record.initialization,
        scanning="scanning_on" in record.initialization,
        control=record.event_control,
        assertion=asserts,
        deassertion=deasserts,
        assertion_enabled=asserts,
        deassertion_enabled=deasserts,
    )


def comparison_bits(state: SensorState) -> frozenset[int]:
    """Which thresholds the sensor's value has crossed; empty without a value.

    Source: IPMI 2.0 section 35.14, "present threshold comparison status"; which side counts as crossed was
    measured with ipmi_sim 2.0.33: at or below a lower threshold, at or above an upper one.
    """
    thresholds, value = state.thresholds, state.value
    if thresholds is None or value is None:
        return frozenset()
    crossed = set()
    for bit, limit in enumerate(thresholds.values):
        if thresholds.mask >> bit & 1 and (value <= limit if bit < 3 else value >= limit):
            crossed.add(bit)
    return frozenset(crossed)


def sensor_key(record: Record) -> tuple[int, int, int] | None:
    """Owner, LUN and number of the sensor a record describes; None for another kind of record."""
    return (record.owner, record.lun, record.number) if isinstance(record, Owned) else None
