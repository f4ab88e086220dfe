"""The text of ipmi_sim's commands: read from a capture, written for stock ipmi_sim.

Source: ipmi_sim_cmd(5) of OpenIPMI 2.0.33, and its behaviour as measured. Values are set with the event flag
0 and after thresholds and event support, so that loading writes nothing into the event log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from infrasim.frozen import Frozen
from infrasim.personality import names
from infrasim.personality.fru import Fru, decode_fru
from infrasim.personality.layout import DataError
from infrasim.personality.model import (
    USUAL_LOG,
    Controller,
    Entry,
    EventLog,
    Events,
    SensorState,
    Thresholds,
    comparison_bits,
    default_state,
    sensor_key,
)
from infrasim.personality.sdr import FullSensor, Record, Sensor, decode_record

_BYTES_PER_LINE = 16
_BYTE_WORDS = tuple(f"{byte:#04x}" for byte in range(256))
_LAST_STATE = 14


class Emulation(Frozen, kw_only=True):
    """What a file of ipmi_sim commands sets up. ``bmc`` is the address of the main controller."""

    bmc: int = 0x20
    controllers: tuple[Controller, ...] = ()
    event_log: EventLog = USUAL_LOG
    entries: tuple[Entry, ...] = ()
    hidden_sensors: tuple[SensorState, ...] = ()
    frus: tuple[Fru, ...] = ()


# ---------------------------------------------------------------- writing


def emu_text(emulation: Emulation, *, title: str) -> str:
    """The commands, ready for ``ipmi_sim -f``.

    Raises:
        DataError: naming the record, FRU or field that cannot be encoded.
    """
    lines = [f"# {title}", f"mc_setbmc {emulation.bmc:#04x}"]
    for controller in emulation.controllers:
        lines += _controller_lines(controller)
    lines.append(
        f"sel_enable {emulation.bmc:#04x} {emulation.event_log.entries} {emulation.event_log.flags:#04x}"
    )
    for fru in emulation.frus:
        lines += _fru_lines(fru)
    for number, entry in enumerate(emulation.entries, 1):
        lines += _entry_lines(entry, emulation.bmc, entry.record.record_id or number)
    for state in emulation.hidden_sensors:
        lines += ["", *_sensor_add(state), *_sensor_lines(state)]
    return "\n".join(lines) + "\n"


def _controller_lines(controller: Controller) -> list[str]:
    words = [
        f"mc_add {controller.address:#04x} {controller.device_id}",
        "has-device-sdrs" if controller.has_device_sdrs else "no-device-sdrs",
        f"{controller.device_revision:#x} {controller.firmware_major} {controller.firmware_minor}",
        f"{controller.support:#04x} {controller.manufacturer:#x} {controller.product:#x}",
    ]
    if controller.has_dynamic_sensors:
        words.append("dynsens")
    return [" ".join(words), f"mc_enable {controller.address:#04x}"]


def _fru_lines(fru: Fru) -> list[str]:
    head = f"mc_add_fru_data {fru.controller:#04x} {fru.fru_id:#04x} {fru.size:#x} data \\"
    return ["", head, *_byte_lines(fru.encode())]


def _byte_lines(data: bytes) -> list[str]:
    words = [_BYTE_WORDS[byte] for byte in data]
    rows = range(0, len(words), _BYTES_PER_LINE)
    lines = [" ".join(words[start : start + _BYTES_PER_LINE]) for start in rows]
    return [*(f"{line} \\" for line in lines[:-1]), *lines[-1:]]


def _entry_lines(entry: Entry, bmc: int, record_id: int) -> list[str]:
    state = entry.state
    lines = ["", f"# {entry.record.name}" if entry.record.name.isprintable() else "#"]
    if state:
        lines += _sensor_add(state)
    lines += [f"main_sdr_add {bmc:#04x} \\", *_byte_lines(entry.record.encode(record_id))]
    if state and not state.is_event_only:
        lines += _sensor_lines(state)
    return lines


def _place(state: SensorState) -> str:
    return f"{state.owner:#04x} {state.lun} {state.number:#04x}"


def _sensor_add(state: SensorState) -> list[str]:
    tail = " event-only" if state.is_event_only else ""
    return [f"sensor_add {_place(state)} {state.sensor_type:#04x} {state.event_type:#04x}{tail}"]


def _sensor_lines(state: SensorState) -> Iterator[str]:
    place = _place(state)
    if state.thresholds:
        values = " ".join(f"{value:#04x}" for value in reversed(state.thresholds.values))
        access = names.number(names.THRESHOLD_ACCESS, state.thresholds.access)
        mask = f"{state.thresholds.mask:06b}"
        yield f"sensor_set_threshold {place} {names.THRESHOLD_ACCESS[access]} {mask} {values}"
    if state.hysteresis:
        access = names.number(names.HYSTERESIS_ACCESS, state.hysteresis[0])
        yield f"sensor_set_hysteresis {place} {access} {state.hysteresis[1]:#04x} {state.hysteresis[2]:#04x}"
    if state.events:
        yield f"sensor_set_event_support {place} {_events_words(state.events)}"
    if state.value is not None:
        yield f"sensor_set_value {place} {state.value:#04x} 0"
    crossed = comparison_bits(state)
    for bit in sorted(state.bits ^ crossed):
        yield f"sensor_set_bit {place} {bit} {int(bit in state.bits)} 0"


_CONTROL_WORDS = ("per-state", "entire-sensor", "global", "none")


def _events_words(events: Events) -> str:
    control = names.number(names.EVENT_CONTROL, events.control)
    masks = (events.assertion, events.deassertion, events.assertion_enabled, events.deassertion_enabled)
    words = ["enable" if events.enabled else "disable", "scanning" if events.scanning else "no-scanning"]
    return " ".join([*words, _CONTROL_WORDS[control], *(f"{mask:015b}" for mask in masks)])


# ---------------------------------------------------------------- reading


@dataclass
class _Reading:
    """What has been read so far; sensors by key, in the order they were added."""

    bmc: int = 0x20
    controllers: list[Controller] = field(default_factory=list)
    event_log: EventLog = field(default_factory=EventLog)
    records: list[Record] = field(default_factory=list)
    sensors: dict[tuple[int, int, int], SensorState] = field(default_factory=dict)
    frus: list[Fru] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)


def parse_emu(text: str, *, source: str = "emu") -> Emulation:
    """What the commands in ``text`` set up; ``source`` names the text in errors.

    A sensor that has an SDR becomes the state of that record's entry.

    Raises:
        DataError: with source and line, for a command that is not known or an argument that does not fit.
    """
    reading = _Reading()
    for line, words in _commands(text):
        command = _COMMANDS.get(words[0])
        if command is None:
            raise DataError(
                f"{source}:{line}: unknown command {words[0]!r}", hint="known: " + ", ".join(_COMMANDS)
            )
        try:
            command(reading, _Words(words[1:], reading.definitions))
        except (DataError, ValueError, KeyError) as exc:
            raise DataError(f"{source}:{line}: {words[0]}: {exc}") from exc
    entries = []
    left = dict(reading.sensors)
    for record in reading.records:
        key = sensor_key(record)
        entries.append(Entry(record, left.pop(key, None) if key else None))
    return Emulation(
        bmc=reading.bmc,
        controllers=tuple(reading.controllers),
        event_log=reading.event_log,
        entries=tuple(entries),
        hidden_sensors=tuple(left.values()),
        frus=tuple(reading.frus),
    )


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and words of each command; continued lines are joined."""
    pending: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not pending:
            if not stripped or stripped.startswith("#"):
                continue
            first = number
        continued = stripped.endswith("\\")
        pending += stripped.rstrip("\\").split()
        if not continued:
            if pending:
                yield first, pending
            pending = []
    if pending:
        yield first, pending


class _Words:
    """The arguments of a command, taken from the left."""

    def __init__(self, words: Iterable[str], definitions: dict[str, str]) -> None:
        self._words = [definitions.get(word[1:], word) if word.startswith("$") else word for word in words]
        self._next = 0

    def __bool__(self) -> bool:
        return self._next < len(self._words)

    def word(self, what: str) -> str:
        if not self:
            raise ValueError(f"{what} is missing")
        self._next += 1
        return self._words[self._next - 1]

    def number(self, what: str, high: int = 0xFF) -> int:
        word = self.word(what)
        try:
            value = int(word, 0) if not word.isdigit() else int(word)
        except ValueError as exc:
            raise ValueError(f"{what} (word {self._next}): got {word!r}, wanted a number") from exc
        if not 0 <= value <= high:
            raise ValueError(f"{what} (word {self._next}): got {value:#x}, wanted 0 to {high:#x}")
        return value

    def rest(self, what: str) -> bytes:
        values = bytearray()
        while self:
            values.append(self.number(f"{what} byte {len(values):#x}"))
        return bytes(values)

    def choice(self, what: str, table: dict[int, str], words: tuple[str, ...]) -> str | int:
        """The name in ``table`` of a word in ``words`` or of a number."""
        word = self.word(what)
        code = words.index(word) if word in words else int(word, 0) if word[:1].isdigit() else -1
        if code not in table:
            raise ValueError(f"{what}: got {word!r}, wanted one of: {', '.join(words)}")
        return table[code]

    def mask(self, what: str) -> int:
        word = self.word(what)
        if not word or set(word) - {"0", "1"} or len(word) > 15:
            raise ValueError(f"{what}: got {word!r}, wanted up to 15 digits 0 and 1")
        return int(word, 2)

    def is_on(self, what: str, word_on: str) -> bool:
        word = self.word(what)
        return word == word_on or word in ("1", "0x1", "0x01")

    def key(self) -> tuple[int, int, int]:
        return (self.number("controller"), self.number("LUN", 3), self.number("sensor"))


def _read_setbmc(reading: _Reading, words: _Words) -> None:
    reading.bmc = words.number("controller")


def _read_mc_add(reading: _Reading, words: _Words) -> None:
    address = words.number("controller")
    device_id = words.number("device id")
    has_sdrs = words.is_on("device SDRs", "has-device-sdrs")
    controller = Controller(
        address=address,
        device_id=device_id,
        has_device_sdrs=has_sdrs,
        device_revision=words.number("device revision"),
        firmware_major=words.number("firmware major"),
        firmware_minor=words.number("firmware minor"),
        support=words.number("device support"),
        manufacturer=words.number("manufacturer", 0xFFFFFF),
        product=words.number("product", 0xFFFF),
        has_dynamic_sensors=bool(words) and words.word("flag") == "dynsens",
    )
    reading.controllers.append(controller)


def _read_sel_enable(reading: _Reading, words: _Words) -> None:
    words.number("controller")
    reading.event_log = EventLog(words.number("entries", 0xFFFF), words.number("flags"))


def _read_fru(reading: _Reading, words: _Words) -> None:
    controller, fru_id = words.number("controller"), words.number("FRU id")
    size = words.number("size", 0x10000)
    source = words.word("data")
    if source != "data":
        raise ValueError(f"got {source!r}: only FRU bytes in the text itself can be read, wanted 'data'")
    data = words.rest("FRU")
    if len(data) > size:
        raise ValueError(f"FRU {fru_id}: {len(data)} bytes follow, the size is {size}")
    reading.frus.append(decode_fru(fru_id, data.ljust(size, b"\0"), controller=controller))


def _read_sdr(reading: _Reading, words: _Words) -> None:
    words.number("controller")
    reading.records.append(decode_record(words.rest("SDR")))


def _read_sensor_add(reading: _Reading, words: _Words) -> None:
    owner, lun, number = words.key()
    state = SensorState(
        owner=owner,
        lun=lun,
        number=number,
        sensor_type=words.number("sensor type"),
        event_type=words.number("event type"),
        is_event_only=bool(words) and words.word("option") == "event-only",
    )
    if state.key in reading.sensors:
        raise ValueError(f"sensor {number:#04x} of controller {owner:#04x} was added before")
    known = next((record for record in reading.records if sensor_key(record) == state.key), None)
    reading.sensors[state.key] = _initialised(state, known) if isinstance(known, Sensor) else state


def _initialised(state: SensorState, record: Sensor) -> SensorState:
    """A sensor whose record is there already is set up by it, as far as its initialization flags say.

    Source: measured with ipmi_sim 2.0.33. Which thresholds there are follows from the comparison bits.
    """
    usual = default_state(record)
    flags = record.initialization
    if usual is None or usual.events is None:
        return state
    changes: dict[str, Any] = {
        "events": dataclasses.replace(
            usual.events,
            enabled=usual.events.enabled and "init_events" in flags,
            scanning=usual.events.scanning and "init_scanning" in flags,
        )
    }
    if "init_hysteresis" in flags and isinstance(record, FullSensor):
        changes["hysteresis"] = (
            record.hysteresis_access,
            record.hysteresis_positive,
            record.hysteresis_negative,
        )
    if "init_thresholds" in flags and isinstance(record, FullSensor):
        mask = record.assertion_mask >> 12 & 7 | (record.deassertion_mask >> 12 & 7) << 3
        values = record.thresholds if record.threshold_access == "settable" else (0,) * 6
        changes["thresholds"] = Thresholds(record.threshold_access, mask, values)
    return dataclasses.replace(state, **changes)


def _change(reading: _Reading, key: tuple[int, int, int], **values: Any) -> None:
    if key not in reading.sensors:
        raise ValueError(
            f"sensor {key[2]:#04x} of controller {key[0]:#04x}, LUN {key[1]}, was not added before"
        )
    reading.sensors[key] = dataclasses.replace(reading.sensors[key], **values)


def _read_value(reading: _Reading, words: _Words) -> None:
    key = words.key()
    _change(reading, key, value=words.number("value"))
    state = reading.sensors[key]
    compared = {bit for bit in range(6) if state.thresholds and state.thresholds.mask >> bit & 1}
    _change(reading, key, bits=state.bits - compared | comparison_bits(state))


def _read_bit(reading: _Reading, words: _Words) -> None:
    key, bit = words.key(), words.number("bit", _LAST_STATE)
    _change(reading, key)
    bits = reading.sensors[key].bits
    _change(reading, key, bits=bits | {bit} if words.number("bit value", 1) else bits - {bit})


def _read_bit_alone(reading: _Reading, words: _Words) -> None:
    key, bit = words.key(), words.number("bit", _LAST_STATE)
    _change(reading, key, bits=frozenset({bit}), value=bit)


def _read_threshold(reading: _Reading, words: _Words) -> None:
    key = words.key()
    access = words.choice("threshold support", names.THRESHOLD_ACCESS, tuple(names.THRESHOLD_ACCESS.values()))
    mask = words.mask("thresholds enabled")
    values = tuple(reversed(words.rest("threshold"))) or (0,) * 6
    if len(values) != 6:
        raise ValueError(f"{len(values)} threshold values, wanted 6")
    _change(reading, key, thresholds=Thresholds(access, mask, values))


def _read_hysteresis(reading: _Reading, words: _Words) -> None:
    key = words.key()
    access = words.choice(
        "hysteresis support", names.HYSTERESIS_ACCESS, tuple(names.HYSTERESIS_ACCESS.values())
    )
    _change(reading, key, hysteresis=(access, words.number("positive"), words.number("negative")))


def _read_events(reading: _Reading, words: _Words) -> None:
    key = words.key()
    events = Events(
        enabled=words.is_on("events", "enable"),
        scanning=words.is_on("scanning", "scanning"),
        control=words.choice("event support", names.EVENT_CONTROL, _CONTROL_WORDS),
        assertion=words.mask("assertion support"),
        deassertion=words.mask("deassertion support"),
        assertion_enabled=words.mask("assertion enabled"),
        deassertion_enabled=words.mask("deassertion enabled"),
    )
    _change(reading, key, events=events)


def _read_define(reading: _Reading, words: _Words) -> None:
    name = words.word("name")
    reading.definitions[name] = words.word("value").strip('"')


def _read_nothing(reading: _Reading, words: _Words) -> None:
    """A command that says nothing about what the server is."""


_COMMANDS: dict[str, Callable[[_Reading, _Words], None]] = {
    "mc_setbmc": _read_setbmc,
    "mc_add": _read_mc_add,
    "mc_enable": _read_nothing,
    "mc_set_guid": _read_nothing,
    "mc_set_power": _read_nothing,
    "sel_enable": _read_sel_enable,
    "sel_add": _read_nothing,
    "mc_add_fru_data": _read_fru,
    "main_sdr_add": _read_sdr,
    "sensor_add": _read_sensor_add,
    "sensor_set_value": _read_value,
    "sensor_set_bit": _read_bit,
    "sensor_set_bit_clr_rest": _read_bit_alone,
    "sensor_set_threshold": _read_threshold,
    "sensor_set_hysteresis": _read_hysteresis,
    "sensor_set_event_support": _read_events,
    "define": _read_define,
    "mc_disable": _read_nothing,
    "sleep": _read_nothing,
    "debug": _read_nothing,
    "persist": _read_nothing,
}
