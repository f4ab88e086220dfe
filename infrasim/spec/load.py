"""A node file's text -> a checked ``NodeSpec`` and the warnings about it. Opens nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path as FilePath

from infrasim.errors import InvalidNodeFile, Problem
from infrasim.frozen import Frozen
from infrasim.spec import legacy
from infrasim.spec.checks import type_name
from infrasim.spec.document import Document, Includer, Path, Setting, Value, load_document
from infrasim.spec.modelling import ValidationError
from infrasim.spec.node import NodeSpec
from infrasim.spec.storage_kinds import SCSI, SCSI_VERSION_SEEN
from infrasim.units import WrongValue

_NOWHERE: Mapping[str, Value] = {}


class LoadedNode(Frozen):
    """A node file that can be used; ``warnings`` are in file order."""

    spec: NodeSpec
    warnings: tuple[Problem, ...]
    document: Document


def load_node(
    path: FilePath,
    text: str | bytes,
    *,
    name: str | None = None,
    known_types: Collection[str] = (),
    include: Includer | None = None,
    settings: Sequence[Setting] = (),
) -> LoadedNode:
    """Read and check the text of one node file.

    ``path`` is only shown in messages. ``name`` is the name the node is known by: used if the file
    has none, and an error if it has another; without it, a file without a name is called after
    its file name. ``known_types``, if there are any, are the server types to choose from. ``include``
    finds the files that the text includes, and ``settings`` go before what it says.

    Raises:
        InvalidNodeFile: with every problem found, in file order.
    """
    document = read_document(path, text, include=include, settings=settings)
    values, moved, warnings = _modernized(document)
    if values.get("name") is None:
        values["name"] = path.stem if name is None else name
    found = [*_name_problems(document, name), *_type_problems(document, known_types)]
    spec = None
    try:
        spec = NodeSpec.model_validate(values)
    except ValidationError as exc:
        from infrasim.spec.problems import node_file_problems  # only a wrong file pays for it

        found += node_file_problems(exc, document, moved)
    if spec is None or found:
        raise InvalidNodeFile(document.in_order(found))
    warnings += _risks(document, spec)
    return LoadedNode(spec, tuple(document.in_order(warnings)), document)


def read_document(
    path: FilePath, text: str | bytes, *, include: Includer | None = None, settings: Sequence[Setting] = ()
) -> Document:
    """The values of one node file, settings included; what they mean is not looked at.

    Raises:
        InvalidNodeFile: it is no YAML mapping, or a setting leads nowhere.
    """
    document = load_document(text, file=str(path), include=include)
    if settings:
        from infrasim.spec.setting import with_settings  # late: few starts have any

        document = with_settings(document, settings)
    return document


def _name_problems(document: Document, name: str | None) -> Iterator[Problem]:
    given = document.values.get("name")
    if name is not None and isinstance(given, str) and given != name:
        mark = document.value_mark(("name",))
        message = f"is {given!r}, but this is the file of node {name!r}"
        yield document.problem(mark, ("name",), message, "change it back, or remove the line")


def _type_problems(document: Document, known_types: Collection[str]) -> Iterator[Problem]:
    given = document.values.get("type")
    if not known_types or not isinstance(given, str) or given in known_types:
        return
    try:
        type_name(given)
    except WrongValue:
        return  # said by the models
    message, hint = legacy.type_refusal(given)
    if not message:
        from difflib import get_close_matches  # late: only a wrong file pays for it

        close = get_close_matches(given, known_types, n=1)
        message = f"there is no server type {given!r}"
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known_types))}"
    yield document.problem(document.value_mark(("type",)), ("type",), message, hint)


def _risks(document: Document, spec: NodeSpec) -> Iterator[Problem]:
    if spec.bmc.insecure:
        mark = document.value_mark(("bmc", "insecure"))
        message = "lets anybody who reaches this BMC in, without a password"
        hint = "for tests of tools that look for that"
        yield document.problem(mark, ("bmc", "insecure"), message, hint)
    for number, controller in enumerate(spec.compute.storage_backend):
        for slot, drive in enumerate(controller.drives if controller.type in SCSI else ()):
            if len(drive.version or "") > SCSI_VERSION_SEEN:
                path: Path = ("compute", "storage_backend", number, "drives", slot, "version")
                seen = (drive.version or "")[:SCSI_VERSION_SEEN]
                message = f"is longer than the {SCSI_VERSION_SEEN} characters of a SCSI disk"
                yield document.problem(document.value_mark(path), path, message, f"the host sees {seen!r}")


def _modernized(document: Document) -> tuple[dict[str, Value], dict[Path, Path], list[Problem]]:
    """The values under today's keys, where moved ones came from, and a warning for each old key."""
    warnings: list[Problem] = []

    def warn(path: Path, message: str, hint: str = "") -> None:
        warnings.append(document.problem(document.key_mark(path), path, message, hint))

    values = dict(document.values)
    moved: dict[Path, Path] = {}
    for old_path, new_path in legacy.MOVED.items():
        section, key, new = str(old_path[0]), str(old_path[1]), str(new_path[0])
        old = values.get(section)
        if isinstance(old, dict) and key in old and new not in values:
            values[section] = {name: value for name, value in old.items() if name != key}
            values[new] = old[key]
            moved[(new,)] = (section, key)
            warn((section, key), "stands at the top level now", f"move it: '{new}'")
    for now, value, ignored in _old_keys(values):
        path = (*moved[now[:1]], *now[1:]) if now[:1] in moved else now
        if ignored:
            warn(path, "is ignored", ignored)
        elif new_value := legacy.renamed_value(now, value):
            warn(path, f"{value!r} is an old spelling", f"it is {new_value!r}")
        else:
            warn(path, "is an old spelling", f"the key is {legacy.RENAMED[legacy.pattern(now)]!r}")
    kept = _modern(values, document)
    assert isinstance(kept, dict)
    return kept, moved, warnings


def _old_keys(
    value: Value, path: Path = (), above: Mapping[str, Value] = _NOWHERE
) -> Iterator[tuple[Path, Value, str]]:
    """Where an old key or value stands, what the value is, and for one that is read over the reason.

    ``above`` is the mapping that the list stands in whose entry ``value`` is.
    """
    if isinstance(value, dict):
        entries: Iterator[tuple[str | int, Value]] = iter(value.items())
    elif isinstance(value, list):
        entries = iter(enumerate(value))
    else:
        return
    beside = value if isinstance(value, dict) else above
    for step, below in entries:
        here = (*path, step)
        ignored = legacy.ignored(here, beside, above)
        if ignored or legacy.pattern(here) in legacy.RENAMED or legacy.renamed_value(here, below):
            yield here, below, ignored
        yield from _old_keys(below, here, beside)


def _modern(
    value: Value, document: Document, path: Path = (), above: Mapping[str, Value] = _NOWHERE
) -> Value:
    """A value without what is ignored, and with today's spellings of values."""
    if isinstance(value, dict):
        return {
            key: _modern(below, document, (*path, key), value)
            for key, below in value.items()
            if not legacy.ignored((*path, key), value, above)
        }
    if isinstance(value, list):
        return [_modern(below, document, (*path, number), above) for number, below in enumerate(value)]
    if type(value) is int and path[-1] == "addr":
        # As a number 0x10 is what 16 is too, and QEMU reads both as hexadecimal digits.
        written = document.source(path)
        return written if written.startswith("0x") else value
    return legacy.renamed_value(path, value) or value
