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
from infrasim.frozen import Frozen, replaced
from infrasim.personality import inventory, sensors, tables
from infrasim.personality.extending import Difference, Matching, difference, overlay, without
from infrasim.personality.fields import common_values, unknown_key, without_common
from infrasim.personality.model import (
    USUAL_LOG,
    Controller,
    DefaultController,
    DefaultDrive,
    DefaultNic,
    Entry,
    EventLog,
    Personality,
)
from infrasim.personality.registry import TYPE_FILE
from infrasim.personality.sdr import FruLocator
from infrasim.personality.smbios import Structure
from infrasim.personality.yamlform import Hex, InvalidType, Part, block, items, wrapped
from infrasim.spec.document import load_document

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


_RECORDS = Matching(
    sensors.kind_of,
    ("number", "owner", "lun", "fru_id", "address", "trailing"),
    sensors.groups,
    usual={"owner": 0x20, "lun": 0},
)
_STRUCTURES = Matching(tables.kind_of, (), tables.groups)
_FRUS = Matching(lambda _: "", ("id", "controller"), usual={"controller": 0x20}, is_ordered=True)


class Form(Frozen):
    """How a list of mappings is written: to which groups a mapping belongs, and what those can share."""

    groups: Callable[[Mapping[str, Any]], tuple[str, ...]]
    levels: int
    unshared: tuple[str, ...]
    builtin: Callable[[str], dict[str, Any]]


_SENSOR_FORM = Form(sensors.groups, 2, sensors.UNSHARED, sensors.builtin_values)
_SMBIOS_FORM = Form(tables.groups, 1, tables.UNSHARED, tables.builtin_values)


def _usual(common: Mapping[str, Mapping[str, Any]], groups: Iterable[str]) -> dict[str, Any]:
    """What is usual in ``groups``; what a later one says counts."""
    values: dict[str, Any] = {}
    for group in groups:
        values.update(common.get(group, {}))
    return values


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
    if "controllers" in about.values:
        sources.controllers = _parts(about, "controllers", problems)
    if part := _load(folder / SENSOR_FILE):
        _check_keys(part, ("defaults", "records", "hidden_sensors", "remove"), problems)
        sources.records = _laid_over(sources.records, part, "records", _RECORDS, problems)
        if "hidden_sensors" in part.values:
            sources.hidden = _parts(part, "hidden_sensors", problems)
    if part := _load(folder / FRU_FILE):
        _check_keys(part, ("frus", "remove"), problems)
        sources.frus = _laid_over(sources.frus, part, "frus", _FRUS, problems)
    if part := _load(folder / SMBIOS_FILE):
        _check_keys(part, ("defaults", "structures", "remove"), problems)
        sources.structures = _laid_over(sources.structures, part, "structures", _STRUCTURES, problems)
    return sources


def _laid_over(
    base: list[Part], part: Part, key: str, matching: Matching, problems: list[Problem]
) -> list[Part]:
    added = _parts(part, key, problems)
    if matching.groups is not None:
        common = _common(part, problems)
        added = [replaced(item, usual=_usual(common, matching.groups(item.values))) for item in added]
    return overlay(without(base, part, matching, problems), added, matching, problems)


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


def _personality(name: str, sources: _Sources, problems: list[Problem]) -> Personality:
    about = sources.about
    values = about.merged()
    problems += [unknown_key(about, key, _TYPE_KEYS) for key in values if key not in _TYPE_KEYS]
    entries: list[Entry | None] = []
    structures: list[Structure | None] = []
    for part in sources.records:
        entries.append(sensors.read_entry(part, problems))
    for part in sources.structures:
        structures.append(tables.read_structure(part, problems))
    frus = [inventory.read_fru(part, problems) for part in sources.frus]
    hidden = [sensors.read_hidden(part, problems) for part in sources.hidden]
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
        hidden_sensors=tuple(state for state in hidden if state),
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


# ---------------------------------------------------------------- writing


def folder_files(personality: Personality, *, base: Personality | None = None) -> dict[str, str]:
    """The files of a type's folder, name to text; :func:`read_folder` gives the same personality back.

    With ``base`` they say only how the type differs from that one.
    """
    files = {
        TYPE_FILE: _type_text(personality, base),
        SENSOR_FILE: _sensor_text(personality, base),
        FRU_FILE: _fru_text(personality, base),
        SMBIOS_FILE: _smbios_text(personality, base),
    }
    return {name: text for name, text in files.items() if text}


def _joined(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return text + "\n" if text else ""


def _type_text(personality: Personality, base: Personality | None) -> str:
    table = _type_table(personality)
    if base is not None:
        inherited = _type_table(base)
        changed = {key: value for key, value in table.items() if repr(value) != repr(inherited.get(key))}
        return _joined(block({"extends": base.name, **changed}, nested=2))
    return _joined(block({key: value for key, value in table.items() if value}, nested=2))


def _type_table(personality: Personality) -> dict[str, Any]:
    table: dict[str, Any] = {
        "manufacturer": personality.manufacturer,
        "product_name": personality.product_name,
        "summary": personality.summary,
        "storage": [_storage_value(controller) for controller in personality.storage],
        "nics": [{"model": nic.model, "count": nic.count} for nic in personality.nics],
        "controllers": [_controller_value(controller) for controller in personality.controllers],
    }
    if personality.event_log != USUAL_LOG:
        log = personality.event_log
        table["event_log"] = {"entries": log.entries, "flags": Hex(log.flags)}
    return table


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


Row = dict[str, Any]


def _shared(rows: list[Row], form: Form) -> tuple[dict[str, Row], list[Row]]:
    """What is common to the rows of each group, and the rows without it."""
    common: dict[str, Row] = {}
    for level in range(form.levels):
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if len(form.groups(row)) > level:
                groups[form.groups(row)[level]].append(row)
        for name, group in groups.items():
            base = _usual(common, form.groups(group[0])[:level])
            values = common_values(group, base, form.builtin(form.groups(group[0])[0]), form.unshared)
            if values:
                common[name] = values
    rest = []
    for row in rows:
        groups_of = form.groups(row)
        rest.append(without_common(row, _usual(common, groups_of), form.builtin(groups_of[0])))
    return common, rest


def _sensor_text(personality: Personality, base: Personality | None) -> str:
    rows = [sensors.entry_value(entry) for entry in personality.sdrs]
    old = None if base is None else [sensors.entry_value(entry) for entry in base.sdrs]
    lines = _list_lines("records", rows, old, _RECORDS, _SENSOR_FORM)
    if personality.hidden_sensors and (base is None or base.hidden_sensors != personality.hidden_sensors):
        lines += items(
            "hidden_sensors", [sensors.hidden_value(state) for state in personality.hidden_sensors]
        )
    return _joined(lines)


def _list_lines(
    key: str, rows: list[Row], old: list[Row] | None, matching: Matching, form: Form
) -> list[str]:
    """The lines that say ``rows``: over those of the extended type, unless saying all is shorter."""
    common, rest = _shared(rows, form)
    whole = [*_common_lines(common), *items(key, rest, heading=_heading)] if rows else []
    if old is None:
        return whole
    found = difference(old, rows, matching, form.builtin)
    said = _difference_lines(key, found, form)
    return said if len("".join(said)) < len("".join(whole)) else ["remove: all", *whole]


def _heading(row: Mapping[str, Any]) -> str:
    """What a run of rows is about: the type of the sensors, or the kind of record or structure."""
    kind = sensors.kind_of(row) or tables.kind_of(row)
    topic = row.get("sensor_type", kind)
    return f"OEM sensor type {topic:#04x}" if isinstance(topic, int) else topic.replace("_", " ")


def _common_lines(common: dict[str, Row]) -> list[str]:
    return [*block({"defaults": common}, nested=2), ""] if common else []


def _remove_lines(calls: list[Any]) -> Iterator[str]:
    if calls:
        yield from wrapped("remove: ", calls, 4)


def _difference_lines(key: str, found: Difference, form: Form) -> list[str]:
    lines = list(_remove_lines(found.remove))
    common, rest = _shared([row.values for row in found.rows if row.is_new], form)
    new = iter(rest)
    rows = [next(new) if row.is_new else row.values for row in found.rows]
    return [*lines, *_common_lines(common), *items(key, rows)] if rows else lines


def _fru_text(personality: Personality, base: Personality | None) -> str:
    rows = [inventory.fru_value(fru) for fru in personality.frus]
    lines: list[str] = []
    if base is not None:
        old = [inventory.fru_value(fru) for fru in base.frus]
        found = difference(old, rows, _FRUS, lambda _: inventory.BUILTIN)
        rows = [row.values for row in found.rows]
        lines = list(_remove_lines(found.remove))
    if rows:
        lines.append("frus:")
    records = [entry.record for entry in personality.sdrs]
    names = {item.fru_id: item.name for item in reversed(records) if isinstance(item, FruLocator)}
    for row in rows:
        first, *rest = block(row, indent=2, nested=2)
        name = names.get(row["id"], "")
        lines += [f"- {first.lstrip()}" + (f"  # {name}" if name.isprintable() and name else ""), *rest]
    return _joined(lines)


def _smbios_text(personality: Personality, base: Personality | None) -> str:
    rows = [tables.structure_value(structure) for structure in personality.smbios]
    old = None if base is None else [tables.structure_value(structure) for structure in base.smbios]
    return _joined(_list_lines("structures", rows, old, _STRUCTURES, _SMBIOS_FORM))
