"""Captures a running server over its BMC: asks everything a server type is made of.

What the bytes of an answer mean is ``personality.answers``' part, how they travel ``clients.ipmitool``'s. A
command that is refused never ends a capture: what could not be had becomes a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from infrasim.clients.ipmitool import BMC, BMC_ADDRESS, Bmc, Refused, Target
from infrasim.clients.storage import SdrRepository, fru_data
from infrasim.frozen import Frozen
from infrasim.personality import answers
from infrasim.personality.answers import SensorAnswers
from infrasim.personality.emu import Emulation
from infrasim.personality.fru import Fru, decode_fru
from infrasim.personality.layout import DataError
from infrasim.personality.model import USUAL_LOG, Controller, Entry, EventLog, SensorState, default_state
from infrasim.personality.sdr import FruLocator, FullSensor, McLocator, Owned, Record, Sensor, decode_record

# Network function and command. Source: IPMI 2.0 appendix G.
_GET_DEVICE_ID = (0x06, 0x01)
_GET_SEL_INFO = (0x0A, 0x40)
_GET_DEVICE_SDR_INFO = (0x04, 0x20)
_GET_HYSTERESIS = (0x04, 0x25)
_GET_THRESHOLDS = (0x04, 0x27)
_GET_EVENT_ENABLE = (0x04, 0x29)
_GET_READING = (0x04, 0x2D)
_GET_SENSOR_TYPE = (0x04, 0x2F)
# Additional device support: SDR repository. Source: IPMI 2.0 section 20.1.
_HAS_REPOSITORY = 0x02
# A warning names so many of the things it is about.
_NAMES_SHOWN = 6


class Progress(Protocol):
    """Told how far a capture is."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Of the things called ``name``, ``done`` of ``total`` are read."""


class Captured(Frozen):
    """What a BMC showed, and what it did not."""

    emulation: Emulation
    warnings: tuple[str, ...]


def capture(bmc: Bmc, *, progress: Progress) -> Captured:
    """Everything that can be had of the server behind ``bmc``.

    Raises:
        InfrasimError: there is no session, or the BMC does not even say what it is.
    """
    survey = _Survey(bmc, progress)
    main = survey.controller(BMC)
    event_log = survey.event_log()
    records = survey.records(main)
    routes = survey.routes(records)
    states = survey.states(records, routes)
    emulation = Emulation(
        bmc=BMC_ADDRESS,
        controllers=(main, *(found for found in survey.controllers if found != main)),
        event_log=event_log,
        entries=tuple(Entry(record, states.get(number)) for number, record in enumerate(records)),
        frus=survey.frus(records, routes),
    )
    return Captured(emulation, survey.warnings())


class _Survey:
    """A capture under way: asks, and keeps what was refused."""

    def __init__(self, bmc: Bmc, progress: Progress) -> None:
        self._bmc = bmc
        self._progress = progress
        self._refusals: dict[tuple[str, str], list[str]] = {}
        self.controllers: list[Controller] = []

    def warnings(self) -> tuple[str, ...]:
        """What was not had: one for each kind of thing and reason, with the names of the first few."""
        return tuple(
            f"{what} {_some(names)}: {reason}" if names[0] else f"{what}: {reason}"
            for (what, reason), names in self._refusals.items()
        )

    def _note(self, what: str, reason: str, name: str = "") -> None:
        self._refusals.setdefault((what, reason), []).append(name)

    def _answer(
        self, command: tuple[int, int], data: bytes, target: Target, *, note: str, name: str = ""
    ) -> bytes | None:
        """The answer; None if it is refused, with a warning unless ``note`` is empty."""
        try:
            return self._bmc.ask(*command, data, target=target)
        except Refused as exc:
            if note:
                self._note(note, exc.reason, name)
            return None

    # ------------------------------------------------------------ controllers

    def controller(self, target: Target) -> Controller:
        """A controller, by what it says of itself.

        Raises:
            Refused: it does not.
            DataError: it says too little.
        """
        device_id = self._bmc.ask(*_GET_DEVICE_ID, target=target)
        sdr_info = self._answer(_GET_DEVICE_SDR_INFO, b"", target, note="")
        found = answers.controller(target.address, device_id, sdr_info)
        self.controllers.append(found)
        return found

    def event_log(self) -> EventLog:
        """How large the event log is."""
        info = self._answer(_GET_SEL_INFO, b"", BMC, note="size of the event log")
        try:
            return USUAL_LOG if info is None else answers.event_log(info)
        except DataError as exc:
            self._note("size of the event log", exc.message)
            return USUAL_LOG

    def routes(self, records: Sequence[Record]) -> dict[int, Target]:
        """The way to each controller that a record names; those that do not answer are left out."""
        routes = {BMC_ADDRESS: BMC}
        wanted = _channels(records)
        for number, (address, channels) in enumerate(wanted.items(), 1):
            target = self._route(address, channels)
            if target is not None:
                routes[address] = target
            self._progress.advance("controllers", number, len(wanted))
        return routes

    def _route(self, address: int, channels: Sequence[int]) -> Target | None:
        reason = ""
        for channel in channels:
            target = Target(address, channel)
            try:
                self.controller(target)
            except Refused as exc:
                reason = exc.reason
                if exc.code is None:
                    # That nobody is there takes half a minute to learn, on each channel.
                    break
            except DataError as exc:
                reason = exc.message
                break
            else:
                return target
        self._note("controller", reason, f"{address:#04x}")
        return None

    # ------------------------------------------------------------ SDRs and sensors

    def records(self, main: Controller) -> list[Record]:
        """The BMC's SDRs in their order."""
        repository = SdrRepository(self._bmc, is_device=not main.support & _HAS_REPOSITORY, note=self._note)
        total = repository.count() or None
        records: list[Record] = []
        for number, data in enumerate(repository, 1):
            self._progress.advance("SDRs", number, total)
            try:
                records.append(decode_record(data))
            except DataError as exc:
                self._note("SDR number", exc.message, str(number))
        if not records:
            self._note("SDRs", "there are none")
        return records

    def states(self, records: Sequence[Record], routes: dict[int, Target]) -> dict[int, SensorState]:
        """How the sensors are that records describe, by the record's place."""
        # A session belongs to one controller and LUN, so those of one are asked together.
        wanted: dict[Target, list[int]] = {}
        states: dict[int, SensorState] = {}
        for number, record in enumerate(records):
            if isinstance(record, Owned) and record.owner in routes:
                route = routes[record.owner]
                wanted.setdefault(Target(route.address, route.channel, record.lun), []).append(number)
        total, done = sum(map(len, wanted.values())), 0
        for target, numbers in wanted.items():
            for number in numbers:
                state = self._state(records[number], target)
                if state is not None:
                    states[number] = state
                done += 1
                self._progress.advance("sensors", done, total)
        return states

    def _state(self, record: Record, target: Target) -> SensorState | None:
        if not isinstance(record, Sensor):
            return default_state(record)

        def ask(command: tuple[int, int], what: str, *more: int) -> bytes | None:
            data, name = bytes((record.number, *more)), record.name or f"{record.number:#04x}"
            return self._answer(command, data, target, note=f"{what} of" if what else "", name=name)

        # Get Sensor Type is optional, and the record says what a sensor does not have.
        levels = record.is_threshold
        limited = isinstance(record, FullSensor) and record.threshold_access in ("readable", "settable")
        slack = isinstance(record, FullSensor) and record.hysteresis_access in ("readable", "settable")
        return answers.sensor_state(
            record,
            SensorAnswers(
                reading=ask(_GET_READING, "reading"),
                events=ask(_GET_EVENT_ENABLE, "events" if record.event_control != "none" else ""),
                thresholds=ask(_GET_THRESHOLDS, "thresholds" if limited else "") if levels else None,
                hysteresis=ask(_GET_HYSTERESIS, "hysteresis" if slack else "", 0xFF) if levels else None,
                sensor_type=ask(_GET_SENSOR_TYPE, ""),
            ),
        )

    # ------------------------------------------------------------ FRU

    def frus(self, records: Sequence[Record], routes: dict[int, Target]) -> tuple[Fru, ...]:
        """The FRU devices: number 0 of the BMC, and those that records name."""
        wanted = {(BMC_ADDRESS, 0): True}
        for record in records:
            if isinstance(record, FruLocator) and record.access_address in routes:
                key = (record.access_address, record.fru_id)
                wanted[key] = wanted.get(key, False) or record.is_logical
        frus = []
        for number, ((address, fru_id), is_logical) in enumerate(wanted.items(), 1):
            try:
                data = fru_data(self._bmc, fru_id, target=routes[address], note=self._note)
            except Refused as exc:
                # The number of a device that is not logical is an address on a bus, but not Dell's.
                if is_logical:
                    self._note("FRU", exc.reason, str(fru_id))
            else:
                frus.append(decode_fru(fru_id, data, controller=address))
            self._progress.advance("FRU devices", number, len(wanted))
        return tuple(frus)


def _some(names: Sequence[str]) -> str:
    shown, more = ", ".join(names[:_NAMES_SHOWN]), len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _channels(records: Sequence[Record]) -> dict[int, tuple[int, ...]]:
    """Every controller but the BMC that records name, with the channels to look for it on, likeliest first.

    The primary IPMB, channel 0, is the last one: some BMCs, stock ipmi_sim among them, reach every controller
    there and none elsewhere.
    """
    found: dict[int, list[int]] = {}
    for address, channel in _mentions(records):
        if address != BMC_ADDRESS and channel not in found.setdefault(address, []):
            found[address].append(channel)
    return {address: tuple(dict.fromkeys((*channels, 0))) for address, channels in found.items()}


def _mentions(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    for record in records:
        if isinstance(record, Owned):
            yield record.owner, record.channel
        elif isinstance(record, McLocator):
            yield record.address, record.channel
        elif isinstance(record, FruLocator) and record.is_logical and record.access_address:
            yield record.access_address, record.channel
