"""The node file as a JSON Schema, for editors: ``infrasim config schema``.

Made from the models. Which kinds of values a key takes is found by giving the model one of each, so that
shorthands (a text in place of a mapping) need no second description. What a schema cannot say, such as that
two drives differ, is left to ``infrasim config check``; it refuses nothing that the models take.

Source: JSON Schema draft 2020-12, core and validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from infrasim.spec import checks, legacy, network_checks, racadm_checks, storage_checks, words
from infrasim.spec.document import Path
from infrasim.spec.keys import Key, node_keys
from infrasim.spec.modelling import (
    OF_TYPE,
    AfterValidator,
    BeforeValidator,
    FaultKind,
    Model,
    ValidationError,
)
from infrasim.spec.node import NodeSpec
from infrasim.spec.part import Only, notes

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_SAMPLES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 7.5,
    "string": "x",
    "array": [],
    "object": {},
}
# The faults of a value of the wrong kind; "missing" is what becomes of an empty key.
_WRONG_KIND: frozenset[FaultKind] = frozenset({"missing", "wrong_choice", *OF_TYPE.values()})
_FRU_KEY = "^fru(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-4])$"
_ONE_LINE = r"^[^\u0000-\u001f\u007f]*$"


def _printable(at_most: int) -> Schema:
    return {"pattern": "^[ -~]+$", "maxLength": at_most}


# What the checks of ``spec.checks`` demand, as far as a schema can say it, by their names.
_LIMITS: dict[str, Schema] = {
    "node_name": {"pattern": r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
    "type_name": {"pattern": r"^(?!.*\.\.)[a-z0-9][a-z0-9_.-]{0,62}$"},
    "absolute_path": {"pattern": r"^/[^\u0000-\u001f\u007f]*$"},
    "one_line": {"pattern": _ONE_LINE},
    "kernel_words": {"pattern": _ONE_LINE, "maxLength": checks.CMDLINE_MAX_BYTES},
    "device": {"pattern": r"^[^\u0000-\u001f\u007f-][^\u0000-\u001f\u007f]*$"},
    "parse_mac": {"pattern": "^[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(\\1[0-9A-Fa-f]{2}){4}$"},
    "parse_uuid": {"pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"},
    "interface": {"pattern": r"^[^\s/:\u0000-\u001f\u007f]+$", "maxLength": checks.INTERFACE_MAX},
    "cpu_type": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_.+-]*$"},
    "machine_type": {"pattern": r"^(q35|pc|pc-(q35|i440fx)-\d+\.\d+)$"},
    "boot_order": {"pattern": r"^(?!.*(.).*\1)[ncd]+$"},
    "drive_serial": _printable(storage_checks.SERIAL_MAX),
    "drive_model": _printable(storage_checks.MODEL_MAX),
    "drive_version": _printable(storage_checks.VERSION_MAX),
    "drive_vendor": _printable(storage_checks.VENDOR_MAX),
    "drive_product": _printable(storage_checks.PRODUCT_MAX),
    "ssh_word": _printable(racadm_checks.WORD_MAX),
    "racadm_folder": {"pattern": r"^(auto|/[^\u0000-\u001f\u007f]*)$"},
    "controller_type": {"pattern": "^(?!disk_array$)[A-Za-z0-9][A-Za-z0-9._-]*$"},
    "subsystem": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,191}$"},
    # An empty key is as if it were not there.
    "power_of_two": {"enum": [None, *(2**exponent for exponent in range(17))]},
    "qemu_id": {"pattern": "^[A-Za-z][A-Za-z0-9._-]*$"},
    "pci_address": {"pattern": r"^(0x)?[01]?[0-9a-fA-F](\.(0x)?[0-7])?$"},
    "host_device": {"pattern": r"^([0-9a-fA-F]{1,4}:)?[0-9a-fA-F]{1,2}:[01]?[0-9a-fA-F]\.[0-7]$"},
    "network_device": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
    "card_properties": {"pattern": r"^,*[A-Za-z][A-Za-z0-9._-]*=[^,]*(,+[A-Za-z][A-Za-z0-9._-]*=[^,]*)*,*$"},
    "ipv4": {"format": "ipv4", "pattern": "^[0-9]{1,3}([.][0-9]{1,3}){3}$"},
    "ipv4_network": {"pattern": "^[0-9]{1,3}([.][0-9]{1,3}){3}(/([4-9]|1[0-9]|2[0-8]))$"},
    "host_name": {"pattern": "^[A-Za-z0-9][A-Za-z0-9.-]*$", "maxLength": 255},
    "boot_file": {"pattern": r"^[^\u0000-\u001f\u007f]+$", "maxLength": network_checks.BOOT_FILE_MAX},
    "multicast": {"pattern": "^2(2[4-9]|3[0-9])([.][0-9]{1,3}){3}:[0-9]{1,5}$"},
    "namespace": {"pattern": "^[!-.0-~]{1,255}$"},
    "smbios_text": _printable(checks.SMBIOS_TEXT_MAX),
    "fru_text": _printable(checks.FRU_TEXT_MAX),
    "ipmi_username": _printable(checks.IPMI_USERNAME_MAX_BYTES),
    "ipmi_password": _printable(checks.IPMI_PASSWORD_MAX_BYTES),
    "cipher_suite": {"enum": list(checks.CIPHER_SUITES)},
}
_LIST_LIMITS: dict[str, Schema] = {"cipher_suites": {"minItems": 1, "uniqueItems": True}}


def node_file_schema() -> Schema:
    """The whole schema."""
    return {
        "$schema": DIALECT,
        "title": "Node file of infrasim",
        "description": "One simulated server: https://github.com/infrasim, `infrasim config check FILE`.",
        **_mapping(NodeSpec, ""),
        "type": "object",
    }


def _mapping(model: type[Model], section: str) -> Schema:
    keys = [key for key in node_keys().values() if key.section == section]
    properties = {key.name: _value(key) for key in keys if key.name != "fruN"}
    old = dict(_old_keys(section, properties))
    found: Schema = {"properties": {**properties, **old}, "additionalProperties": False}
    if (fru := node_keys().get(f"{section}.fruN")) is not None:
        found["patternProperties"] = {_FRU_KEY: _value(fru)}
    required = [key.name for key in keys if key.field.is_required() and section]
    if required:
        found["required"] = required
    if conditions := list(_conditions(keys)):
        found["allOf"] = conditions
    return found


def _value(key: Key) -> Schema:
    """What may stand behind one key."""
    types = _types(key, wrapped=False)
    found: Schema = {"description": _words(key)}
    entry: Schema = {}
    if key.is_list:
        entry = {"type": _types(key, wrapped=True)}
        found["items"] = entry
    place = entry if key.is_list else found
    if key.model is not None:
        place.update(_mapping(key.model, f"{key.path}[]" if key.is_list else key.path))
        place.update(_shorthand_limits(key, wrapped=key.is_list))
    place.update(_limits(key))
    found.update(_named_limits(key, _LIST_LIMITS))
    if words := _switch_words(key):
        found["anyOf"] = [{"type": [name for name in types if name != "string"]}, {"enum": words}]
        return {**found, **_told(key)}
    if key.choices and not key.is_list and key.model is None:
        others = [name for name in types if name != "string"]
        choice = {"enum": [*key.choices, *legacy.RENAMED_VALUES.get(key.path, ())]}
        found.update({"anyOf": [choice, {"type": others}]} if others else choice)
        return {**found, **_told(key)}
    if key.known:
        # Editors offer what is known; any other name is right as well.
        found["anyOf"] = [{"enum": list(key.known)}, {"type": types}]
        return {**found, **_told(key)}
    return {"type": types, **found, **_told(key)}


def _switch_words(key: Key) -> list[str]:
    """The texts that stand for true and false, and a key's further choices."""
    ways = {note.func for note in notes(key.field, BeforeValidator)}
    is_switch = bool(ways & {words.switch, words.on_or_off})
    return [*dict.fromkeys((*key.choices, *words.SWITCHES))] if is_switch else []


def _limits(key: Key) -> Schema:
    low, high = key.bounds
    limits = (("minimum", low), ("maximum", high))
    found: Schema = {name: value for name, value in limits if value is not None}
    if key.choices and key.is_list and key.model is None:
        found["enum"] = list(key.choices)
    return {**found, **_named_limits(key, _LIMITS)}


def _named_limits(key: Key, known: dict[str, Schema]) -> Schema:
    found: Schema = {}
    for note in notes(key.field, AfterValidator):
        found.update(known.get(getattr(note.func, "__name__", ""), {}))
    return found


def _types(key: Key, *, wrapped: bool) -> list[str]:
    """The JSON types that the key takes; ``wrapped``: that an entry of its list may be."""
    # A node without a name has the one it is registered under.
    nameless = ["null"] if key.path == "name" else []
    return [*nameless, *(name for name, sample in _SAMPLES.items() if _takes(key, sample, wrapped=wrapped))]


def _shorthand_limits(key: Key, *, wrapped: bool) -> Schema:
    """What a text in place of a mapping must be: what the key that it becomes demands."""
    section = f"{key.path}[]" if key.is_list else key.path
    faults = _faults(key, _SAMPLES["string"], wrapped=wrapped)
    below = {str(place[-1]) for place, _ in faults if len(place) > 1}
    return _named_limits(node_keys()[f"{section}.{below.pop()}"], _LIMITS) if len(below) == 1 else {}


def _takes(key: Key, sample: Any, *, wrapped: bool) -> bool:
    if key.model is not None and isinstance(sample, dict) and wrapped is key.is_list:
        return True
    faults = _faults(key, sample, wrapped=wrapped)
    if key.model is not None and isinstance(sample, str):
        # A shorthand becomes a mapping, whose keys are then at fault; one that is refused is itself.
        return all(len(place) > 1 for place, _ in faults)
    said = {kind for place, kind in faults if len(place) == 1}
    return not (said and said <= _WRONG_KIND) or (isinstance(sample, str) and "wrong_choice" in said)


def _faults(key: Key, sample: Any, *, wrapped: bool) -> set[tuple[Path, FaultKind]]:
    """What the models say of a value of the key: the kinds of faults and their places, the value's first."""
    place: Path = (key.name,)
    given: dict[str, Any] = {key.name: [sample] if wrapped else sample}
    if key.name == "fruN":
        place, given = (key.name, "fru0"), {"fru0": sample}
    if wrapped:
        place = (*place, 0)
    try:
        key.owner.model_validate(given)
    except ValidationError as exc:
        return {
            (fault.path[len(place) - 1 :], fault.kind)
            for fault in exc.faults
            if fault.path[: len(place)] == place
        }
    return set()


def _words(key: Key) -> str:
    words = [(key.field.description or "").replace("`", "")]
    if key.only is not None:
        words.append(key.only.words())
    if key.becomes:
        words.append(f"Becomes {key.becomes.replace('`', '')}.")
    return " ".join(words)


def _told(key: Key) -> Schema:
    found: Schema = {}
    if not key.field.is_required() and key.model is None and key.field.default is not None:
        default = key.field.get_default(call_default_factory=True)
        if isinstance(default, bool | int | float | str | tuple):
            found["default"] = list(default) if isinstance(default, tuple) else default
    if key.field.examples:
        found["examples"] = list(key.field.examples)
    return found


def _old_keys(section: str, properties: Schema) -> Iterator[tuple[str, Schema]]:
    for path, new in legacy.RENAMED.items():
        where, _, old = path.rpartition(".")
        if where == section and new in properties:
            yield old, {**properties[new], "deprecated": True, "description": f"Old spelling of {new}."}
    for moved, now in legacy.MOVED.items():
        if legacy.pattern(moved[:-1]) == section:
            words = f"Its place is {legacy.pattern(now)} now."
            as_now = _value(node_keys()[legacy.pattern(now)])
            yield str(moved[-1]), {**as_now, "deprecated": True, "description": words}
    for path, why in legacy.IGNORED.items():
        where, _, old = path.rpartition(".")
        if where == section:
            yield old, {"deprecated": True, "description": f"Ignored: {why}."}


def _conditions(keys: Iterable[Key]) -> Iterator[Schema]:
    """``Only``: what is for some kinds only is nothing for others."""
    beside = {key.name: key for key in keys}
    for key in beside.values():
        if key.only is not None and key.only.of in beside and key.path not in legacy.IDLE:
            yield _only(beside[key.only.of], key.only, {"properties": {key.name: _absent(key)}})
        if key.is_list and key.model is not None:
            for below in node_keys().values():
                is_ours = below.section == f"{key.path}[]" and below.only is not None
                if is_ours and below.only and below.only.of in beside and not _has(key.model, below.only.of):
                    entry = {"properties": {below.name: _absent(below)}}
                    yield _only(
                        beside[below.only.of], below.only, {"properties": {key.name: {"items": entry}}}
                    )


def _absent(key: Key) -> Schema:
    """The values that say nothing."""
    return {"enum": [None, []]} if key.is_list else {"const": None}


def _has(model: type[Model], name: str) -> bool:
    return name in model.model_fields


def _only(judge: Key, only: Only, otherwise: Schema) -> Schema:
    renamed = legacy.RENAMED_VALUES.get(judge.path, {}).items()
    kinds = [*only.kinds, *(old for old, new in renamed if new in only.kinds)]
    if only.others:
        # For every kind but those; left out it is the default, which is one of them or not.
        is_other: Schema = {"properties": {only.of: {"enum": list(only.others)}}, "required": [only.of]}
        if judge.field.default in only.others:
            is_other = {"properties": {only.of: {"enum": [*only.others, None]}}}
        return {"if": is_other, "then": otherwise}
    is_kind: Schema = {"properties": {only.of: {"enum": kinds}}}
    default = judge.field.get_default(call_default_factory=True) if not judge.field.is_required() else None
    if default in only.kinds:
        is_kind["properties"][only.of]["enum"].append(None)
    else:
        is_kind["required"] = [only.of]
    return {"if": is_kind, "else": otherwise}
