"""A server type's folder: ``type.yml``, ``sensors.yml``, ``fru.yml`` and ``smbios.yml``, read and written.

Every file but ``type.yml`` may be left out. A type that ``extends`` another says only how it differs: a
record, FRU or structure with the key of an inherited one is laid over it, ``remove`` drops some, others are
added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infrasim.errors import InvalidNodeFile, Problem, UsageError
from infrasim.personality import inventory, sensors, tables
from infrasim.personality.fields import common_values, unknown_key, without_common
from infrasim.personality.fru import Fru
from infrasim.personality.model import (
    USUAL_LOG,
    Controller,
    DefaultController,
    DefaultDrive,
    DefaultNic,
    Entry,
    EventLog,
    Personality,
    SensorState,
)
from infrasim.personality.smbios import Structure
from infrasim.personality.yamlform import Hex, InvalidType, Part, block, items
from infrasim.spec.document import load_document

TYPE_FILE = "type.yml"
SENSOR_FILE = "sensors.yml"
FRU_FILE = "fru.yml"
SMBIOS_FILE = "smbios.yml"

_TYPE_KEYS = (
    "extends",
    "manufacturer",
    "product_name",
    "summary",
    "storage",
    "nics",
    "controllers",
    "event_log",
)
Finder = Callable[[str], Path]


@dataclass
class _Sources:
    """The parts of one type, those it extends merged in."""

    about: Part
    controllers: list[Part] = field(default_factory=list)
    records: list[Part] = field(default_factory=list)
    frus: list[Part] = field(default_factory=list)
    structures: list[Part] = field(default_factory=list)
    hidden: list[Part] = field(default_factory=list)
    record_common: dict[str, dict[str, Any]] = field(default_factory=dict)
    structure_common: dict[str, dict[str, Any]] = field(default_factory=dict)


# ---------------------------------------------------------------- reading


def read_folder(folder: Path, *, find: Finder | None = None) -> Personality:
    """The type in ``folder``; ``find`` gives the folder of a type it extends.

    Raises:
        InvalidType: with every problem on its own line.
        UsageError: if there is no ``type.yml``.
    """
    problems: list[Problem] = []
    sources = _read_sources(folder, find, problems, seen=())
    personality = _personality(folder.name, sources, problems)
    if problems:
        raise InvalidType(problems)
    return personality


def _load(path: Path) -> Part | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        document = load_document(text, file=str(path))
    except InvalidNodeFile as exc:
        raise InvalidType(exc.problems) from exc
    return Part(document.values, document, ())


def _read_sources(
    folder: Path, find: Finder | None, problems: list[Problem], *, seen: tuple[Path, ...]
) -> _Sources:
    about = _load(folder / TYPE_FILE)
    if about is None:
        raise UsageError(f"{folder} is not a server type: it has no {TYPE_FILE}")
    sources = _Sources(about)
    extends = about.values.get("extends")
    if extends is not None:
        base_folder = find(str(extends)) if find else folder.parent / str(extends)
        if base_folder in (folder, *seen):
            raise InvalidType([about.problem("extends", f"{extends!r} extends this type itself")])
        sources = _read_sources(base_folder, find, problems, seen=(*seen, folder))
        sources.about = Part(about.values, about.document, (), base=sources.about)
    sources.controllers = _overlay(sources.controllers, _parts(about, "controllers", problems), _address)
    if part := _load(folder / SENSOR_FILE):
        _check_keys(part, ("defaults", "records", "hidden_sensors", "remove"), problems)
        sources.record_common |= _common(part, problems)
        kept = _without(sources.records, part, _record_name)
        sources.records = _overlay(kept, _parts(part, "records", problems), _record_key)
        sources.hidden += _parts(part, "hidden_sensors", problems)
    if part := _load(folder / FRU_FILE):
        _check_keys(part, ("frus", "remove"), problems)
        kept = _without(sources.frus, part, _fru_key)
        sources.frus = _overlay(kept, _parts(part, "frus", problems), _fru_key)
    if part := _load(folder / SMBIOS_FILE):
        _check_keys(part, ("defaults", "structures", "remove"), problems)
        sources.structure_common |= _common(part, problems)
        kept = _without(sources.structures, part, _handle)
        sources.structures = _overlay(kept, _parts(part, "structures", problems), _handle)
    return sources


def _check_keys(part: Part, known: tuple[str, ...], problems: list[Problem]) -> None:
    problems += [unknown_key(part, key, known) for key in part.values if key not in known]


def _parts(part: Part, key: str, problems: list[Problem]) -> list[Part]:
    """The mappings in the list ``key``."""
    value = part.values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        problems.append(part.problem(key, "wanted a list of mappings"))
        return []
    return [Part(item, part.document, (*part.path, key, number)) for number, item in enumerate(value)]


def _common(part: Part, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    value = part.values.get("defaults", {})
    if isinstance(value, dict) and all(isinstance(item, dict) for item in value.values()):
        return value
    problems.append(part.problem("defaults", "wanted a mapping of mappings, one for each kind"))
    return {}


def _address(part: Part) -> Any:
    return part.values.get("address")


def _record_key(part: Part) -> Any:
    values = part.merged()
    if "number" in values:
        return ("sensor", values.get("owner"), values.get("lun"), values["number"])
    return (sensors.kind_of(values), _record_name(part), values.get("fru_id"), values.get("trailing"))


def _record_name(part: Part) -> Any:
    values = part.merged()
    name = values.get(sensors.kind_of(values))
    return repr(name) if isinstance(name, dict) else name


def _fru_key(part: Part) -> Any:
    values = part.merged()
    return (values.get("id"), values["controller"]) if "controller" in values else values.get("id")


def _handle(part: Part) -> Any:
    values = part.merged()
    return values.get(tables.kind_of(values))


def _without(parts: list[Part], part: Part, key: Callable[[Part], Any]) -> list[Part]:
    removed = part.values.get("remove", [])
    return [item for item in parts if key(item) not in removed]


def _overlay(base: list[Part], added: list[Part], key: Callable[[Part], Any]) -> list[Part]:
    """``base`` with ``added`` laid over parts with the same key, the others at the end."""
    if not base:
        return added
    places = {repr(key(part)): number for number, part in enumerate(base)}
    merged = list(base)
    for part in added:
        place = places.get(repr(key(part)))
        if place is None:
            merged.append(part)
        else:
            merged[place] = Part(part.values, part.document, part.path, base=merged[place])
    return merged


def _personality(name: str, sources: _Sources, problems: list[Problem]) -> Personality:
    about = sources.about
    values = about.merged()
    problems += [unknown_key(about, key, _TYPE_KEYS) for key in values if key not in _TYPE_KEYS]
    entries: list[Entry | None] = []
    for part in sources.records:
        common = sources.record_common.get(sensors.kind_of(part.merged()), {})
        entries.append(sensors.read_entry(part, common, problems))
    structures: list[Structure | None] = []
    for part in sources.structures:
        common = sources.structure_common.get(tables.kind_of(part.merged()), {})
        structures.append(tables.read_structure(part, common, problems))
    frus = [inventory.read_fru(part, problems) for part in sources.frus]
    return Personality(
        name=name,
        manufacturer=_text(about, "manufacturer", problems),
        product_name=_text(about, "product_name", problems),
        summary=_text(about, "summary", problems),
        storage=tuple(_storage(about, problems)),
        nics=tuple(_nics(about, problems)),
        controllers=tuple(_controller(part, problems) for part in sources.controllers),
        event_log=_event_log(about, problems),
        sdrs=tuple(entry for entry in entries if entry),
        hidden_sensors=tuple(_hidden(part, problems) for part in sources.hidden),
        frus=tuple(fru for fru in frus if fru),
        smbios=tuple(structure for structure in structures if structure),
    )


def _text(part: Part, key: str, problems: list[Problem]) -> str:
    value = part.merged().get(key, "")
    if not isinstance(value, str):
        problems.append(part.problem(key, f"got {value!r}, wanted text"))
        return ""
    return value


def _whole(part: Part, key: str, high: int, problems: list[Problem], *, usual: int | None = None) -> int:
    value = part.merged().get(key, usual)
    if type(value) is int and 0 <= value <= high:
        return value
    got = "nothing" if value is None else repr(value)
    problems.append(part.problem(key, f"got {got}, wanted a whole number from 0 to {high}"))
    return 0


def _nested(part: Part, key: str, problems: list[Problem]) -> list[Part]:
    """The mappings in the list ``key``, of the type itself or of the one it extends."""
    if key not in part.values and part.base:
        return _nested(part.base, key, problems)
    return _parts(part, key, problems)


def _storage(about: Part, problems: list[Problem]) -> Iterator[DefaultController]:
    for part in _nested(about, "storage", problems):
        _check_keys(part, ("model", "drives"), problems)
        drives = []
        for drive in _parts(part, "drives", problems):
            _check_keys(drive, ("size_gib", "model", "vendor"), problems)
            size = _whole(drive, "size_gib", 1 << 20, problems)
            drives.append(
                DefaultDrive(size, _text(drive, "model", problems), _text(drive, "vendor", problems))
            )
        yield DefaultController(_text(part, "model", problems), tuple(drives))


def _nics(about: Part, problems: list[Problem]) -> Iterator[DefaultNic]:
    for part in _nested(about, "nics", problems):
        _check_keys(part, ("model", "count"), problems)
        yield DefaultNic(_text(part, "model", problems), _whole(part, "count", 64, problems, usual=1))


def _event_log(about: Part, problems: list[Problem]) -> EventLog:
    value = about.merged().get("event_log", {})
    if not isinstance(value, dict):
        problems.append(about.problem("event_log", f"got {value!r}, wanted a mapping"))
        return EventLog()
    part = Part(value, about.document, ("event_log",))
    _check_keys(part, ("entries", "flags"), problems)
    entries = _whole(part, "entries", 0xFFFF, problems, usual=EventLog.entries)
    return EventLog(entries, _whole(part, "flags", 0xFF, problems, usual=EventLog.flags))


_CONTROLLER_KEYS = {
    "address": 0xFF,
    "device_id": 0xFF,
    "device_revision": 0xFF,
    "support": 0xFF,
    "manufacturer": 0xFFFFFF,
    "product": 0xFFFF,
}
_CONTROLLER_SWITCHES = {"has_device_sdrs": False, "has_dynamic_sensors": True}


def _controller(part: Part, problems: list[Problem]) -> Controller:
    values = part.merged()
    usual = Controller(address=0, device_id=0)
    known = (*_CONTROLLER_KEYS, "firmware", *_CONTROLLER_SWITCHES)
    problems += [unknown_key(part, key, known) for key in values if key not in known]
    numbers: dict[str, Any] = {
        key: _whole(
            part, key, high, problems, usual=None if key in ("address", "device_id") else getattr(usual, key)
        )
        for key, high in _CONTROLLER_KEYS.items()
    }
    major, minor = _firmware(part, values.get("firmware", "0.00"), problems)
    switches = {}
    for key, default in _CONTROLLER_SWITCHES.items():
        switches[key] = values.get(key, default)
        if type(switches[key]) is not bool:
            problems.append(part.problem(key, f"got {switches[key]!r}, wanted true or false"))
    return Controller(firmware_major=major, firmware_minor=minor, **numbers, **switches)


def _firmware(part: Part, value: Any, problems: list[Problem]) -> tuple[int, int]:
    """``"3.38"``: a decimal number and two BCD digits. Source: IPMI 2.0 section 20.1, bytes 4 and 5."""
    major, _, minor = str(value).partition(".") if isinstance(value, str) else ("", "", "")
    try:
        numbers = int(major), int(minor, 16)
    except ValueError:
        numbers = -1, -1
    if not (0 <= numbers[0] <= 0x7F and 0 <= numbers[1] <= 0xFF and len(minor) == 2):
        problems.append(
            part.problem("firmware", f'got {value!r}, wanted text like "3.38": 0 to 127, two digits')
        )
        return 0, 0
    return numbers


def _hidden(part: Part, problems: list[Problem]) -> SensorState:
    keys = ("owner", "lun", "number", "sensor_type", "event_type")
    _check_keys(part, (*keys, "value", "state", "is_event_only"), problems)
    numbers: dict[str, Any] = {key: _whole(part, key, 0xFF, problems) for key in keys}
    value = part.values.get("value")
    mask = sensors.read_bits(part, "state", part.values.get("state", []), {}, problems)
    return SensorState(
        **numbers,
        is_event_only=part.values.get("is_event_only") is True,
        value=value if type(value) is int and 0 <= value <= 0xFF else None,
        bits=frozenset(bit for bit in range(15) if mask >> bit & 1),
    )


# ---------------------------------------------------------------- writing


def folder_files(personality: Personality) -> dict[str, str]:
    """The files of a type's folder, name to text; :func:`read_folder` gives the same personality back."""
    files = {
        TYPE_FILE: _type_text(personality),
        SENSOR_FILE: _sensor_text(personality),
        FRU_FILE: _fru_text(personality.frus),
        SMBIOS_FILE: _smbios_text(personality.smbios),
    }
    return {name: text for name, text in files.items() if text}


def _joined(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return text + "\n" if text else ""


def _type_text(personality: Personality) -> str:
    table: dict[str, Any] = {
        "manufacturer": personality.manufacturer,
        "product_name": personality.product_name,
        "summary": personality.summary,
        "storage": [_storage_value(controller) for controller in personality.storage],
        "nics": [{"model": nic.model, "count": nic.count} for nic in personality.nics],
        "controllers": [_controller_value(controller) for controller in personality.controllers],
    }
    if personality.event_log != USUAL_LOG:
        table["event_log"] = {
            "entries": personality.event_log.entries,
            "flags": Hex(personality.event_log.flags),
        }
    return _joined(block({key: value for key, value in table.items() if value}, nested=2))


def _storage_value(controller: DefaultController) -> dict[str, Any]:
    drives = []
    for drive in controller.drives:
        texts = {key: getattr(drive, key) for key in ("model", "vendor") if getattr(drive, key)}
        drives.append({"size_gib": drive.size_gib, **texts})
    return {"model": controller.model, "drives": drives}


def _controller_value(controller: Controller) -> dict[str, Any]:
    return {
        "address": Hex(controller.address),
        "device_id": controller.device_id,
        "device_revision": controller.device_revision,
        "firmware": f"{controller.firmware_major}.{controller.firmware_minor:02x}",
        "support": Hex(controller.support),
        "manufacturer": controller.manufacturer,
        "product": Hex(controller.product),
        **({"has_device_sdrs": True} if controller.has_device_sdrs else {}),
        **({} if controller.has_dynamic_sensors else {"has_dynamic_sensors": False}),
    }


Builtin = Callable[[str], dict[str, Any]]


def _shared(
    rows: list[dict[str, Any]],
    kind_of: Callable[[Mapping[str, Any]], str],
    unshared: tuple[str, ...],
    builtin: Builtin,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is common to the rows of each kind, and the rows without it."""
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_kind[kind_of(row)].append(row)
    common = {kind: common_values(group, unshared, builtin(kind)) for kind, group in by_kind.items()}
    rest = [without_common(row, common[kind_of(row)], builtin(kind_of(row))) for row in rows]
    return {kind: values for kind, values in common.items() if values}, rest


def _sensor_text(personality: Personality) -> str:
    rows = [sensors.entry_value(entry) for entry in personality.sdrs]
    common, rest = _shared(rows, sensors.kind_of, sensors.UNSHARED, sensors.builtin_values)
    lines = [*block({"defaults": common}, nested=2), ""] if common else []
    if rest:
        lines += items("records", rest)
    if personality.hidden_sensors:
        lines += items("hidden_sensors", [_hidden_value(state) for state in personality.hidden_sensors])
    return _joined(lines)


def _hidden_value(state: SensorState) -> dict[str, Any]:
    keys = ("owner", "lun", "number", "sensor_type", "event_type")
    table: dict[str, Any] = {key: Hex(getattr(state, key)) for key in keys}
    table |= {"is_event_only": True} if state.is_event_only else {}
    table |= {} if state.value is None else {"value": state.value}
    return table | ({"state": sorted(state.bits)} if state.bits else {})


def _fru_text(frus: tuple[Fru, ...]) -> str:
    lines = ["frus:"] if frus else []
    for fru in frus:
        rows = list(block(inventory.fru_value(fru), indent=2, nested=2))
        lines += ["- " + rows[0].lstrip(), *rows[1:]]
    return _joined(lines)


def _smbios_text(structures: tuple[Structure, ...]) -> str:
    rows = [tables.structure_value(structure) for structure in structures]
    common, rest = _shared(rows, tables.kind_of, tables.UNSHARED, tables.builtin_values)
    lines = [*block({"defaults": common}, nested=2), ""] if common else []
    return _joined([*lines, *items("structures", rest)] if rest else lines)
