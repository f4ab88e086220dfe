"""A file with the reference system's keys: what is served is taken, the rest refused with its reason."""

from __future__ import annotations

from pathlib import Path

import yaml

from infrasim.errors import InvalidNodeFile
from infrasim.spec import legacy
from infrasim.spec.document import Path as KeyPath
from infrasim.spec.document import Value, load_document, undotted
from infrasim.spec.load import load_node

FILE = Path(__file__).with_name("reference_node.yml")


def refused(text: str) -> list[KeyPath]:
    """Keys of the file that are refused; each is known, or has a value that is, with a reason."""
    try:
        load_node(FILE, text)
    except InvalidNodeFile as exc:
        found = []
        for problem in exc.problems:
            path = undotted(problem.path)
            value: Value = load_document(text, file="n").values
            for step in path:
                value = value[step]  # type: ignore[index]
            if path[:2] == ("compute", "storage_backend") and _is_of_refused_kind(text, path):
                path = (*path[:3], "type")
            else:
                assert legacy.refusal(path) or legacy.value_refusal(path, value), str(problem)
            found.append(path)
        return found
    return []


def _is_of_refused_kind(text: str, path: KeyPath) -> bool:
    """Whether a controller is of a kind that is refused as a whole."""
    kind: Value = load_document(text, file="n").values
    for step in (*path[:3], "type"):
        kind = kind[step]  # type: ignore[index]
    return bool(legacy.value_refusal((*path[:3], "type"), kind))


def without(text: str, paths: list[KeyPath]) -> str:
    """The file without these keys; of a refused value of a list's entry the whole entry goes."""
    values = load_document(text, file="n").values
    # A refused key goes, and an entry whose kind is refused as a whole.
    for place in {path if legacy.refusal(path) else path[:-1] for path in paths}:
        container: Value = values
        for step in place[:-1]:
            container = container[step] if container else None  # type: ignore[index]
        if isinstance(container, dict):
            container.pop(str(place[-1]), None)
        elif isinstance(container, list):
            container[int(place[-1])] = None
    return yaml.safe_dump(_compact(values), allow_unicode=True)


def _compact(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _compact(below) for key, below in value.items()}
    return [_compact(entry) for entry in value if entry is not None] if isinstance(value, list) else value


def test_what_is_served_is_taken_and_the_rest_is_refused_with_its_reason() -> None:
    text = FILE.read_text(encoding="utf-8")
    for _ in range(4):
        # A fault may hide others behind it.
        if not (paths := refused(text)):
            break
        text = without(text, paths)
    loaded = load_node(FILE, text)
    assert loaded.spec.serial_number == "infrasim123"
    assert loaded.spec.compute.storage_backend[0].drives[0].serial == "20160518AA851134100"
    assert loaded.spec.compute.networks[0].port_forward[0].outside == 8022


def test_warnings_are_for_keys_that_never_did_anything_and_for_old_spellings() -> None:
    text = FILE.read_text(encoding="utf-8")
    for _ in range(4):
        text = without(text, refused(text))
    warned = {legacy.pattern(undotted(each.path)) for each in load_node(FILE, text).warnings}
    old = {legacy.pattern(path) for path in legacy.MOVED} | {*legacy.RENAMED, *legacy.IGNORED}
    # Of a SCSI disk's version the host saw four characters there too.
    old |= {*legacy.RENAMED_VALUES, "compute.storage_backend[].drives[].version"}
    assert warned <= old
    assert {"compute.serial_number", "compute.boot.checking_time"} <= warned
