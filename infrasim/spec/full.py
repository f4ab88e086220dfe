"""A node file with every key: ``template/node.full.yml``, made from the models and their examples.

Keys are tried one after the other. One that cannot stand beside those before it goes into another entry of
its list, of another kind if need be; where there is no list it stands in a comment.
"""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Iterator
from typing import Any

from infrasim.spec import legacy
from infrasim.spec.document import Path
from infrasim.spec.keys import Key, node_keys
from infrasim.spec.modelling import Model, ValidationError
from infrasim.spec.node import NodeSpec
from infrasim.spec.part import Only, conditions
from infrasim.spec.reference import yaml_of

_WIDTH = 100
_HEAD = """\
# Every key that a node file can have, with a value for each. Made from the models, so it is no machine that
# anybody needs: begin with what 'infrasim init' writes, and take from here what you want to change.
# docs/node-file.md has the same as tables. A key in a comment cannot stand beside those around it.
"""
# Where an example does not go with the others, one that does.
_VALUES: dict[str, Any] = {
    "compute.smbios.type17[].size": 4096,
    "bmc.insecure": False,
    "compute.kvm_enabled": False,
    # No two devices in one place.
    "compute.networks[].addr": "0a.0",
    "compute.pcie_topology.root_bus[].addr": "0b.0",
    "compute.pcie_topology.root_port[].addr": "0c.0",
    "compute.pcie_topology.switch[].upstream[].addr": "00.0",
    "compute.pcie_topology.switch[].downstream[].slot": 4,
    "compute.pcie-passthrough[].bus": "downstream1",
    "compute.pcie-passthrough[].addr": "00.0",
}

Tree = dict[str, Any]


def full_node_text() -> str:
    """The whole file."""
    tree, left_out = _grown()
    return "\n".join([_HEAD, *_lines(tree, "", left_out, 0, set())]) + "\n"


def _grown() -> tuple[Tree, frozenset[str]]:
    """A tree with all keys that go together, and the paths of those that do not."""
    tree: Tree = {}
    left_out = set()
    for path, key in node_keys().items():
        if key.model is not None:
            continue
        if _is_unusual(path):
            left_out.add(path)
            continue
        for grown in _attempts(tree, path):
            if _holds(grown):
                tree = grown
                break
        else:
            left_out.add(path)
    return tree, frozenset(left_out)


def _is_unusual(path: str) -> bool:
    """Whether the key, or one that it stands below, is for a QEMU that few have."""
    steps = path.split(".")
    above = (".".join(steps[:length]).removesuffix("[]") for length in range(1, len(steps) + 1))
    return any(each in node_keys() and node_keys()[each].is_unusual for each in above)


def _attempts(tree: Tree, path: str) -> Iterator[Tree]:
    """The tree with one key more, at every place where it could be."""
    steps = path.replace("fruN", "fru0").split(".")
    for value in _values(path):
        for place in _places(tree, steps, ()):
            grown = copy.deepcopy(tree)
            _put(grown, place, value)
            yield grown


def _values(path: str) -> Iterator[Any]:
    if path in _VALUES:
        yield _VALUES[path]
        return
    field = node_keys()[path].field
    yield from (list(each) if isinstance(each, tuple) else each for each in field.examples or ())


def _places(value: Any, steps: list[str], done: Path) -> Iterator[tuple[Path, Tree]]:
    """Where a key can go, existing entries of lists first; with what else a new entry needs."""
    if not steps:
        yield done, {}
        return
    name = steps[0].removesuffix("[]")
    path = (*done, name)
    below = value.get(name) if isinstance(value, dict) else None
    if not steps[0].endswith("[]") or len(steps) == 1:
        yield from _places(below, steps[1:], path)
        return
    entries = below if isinstance(below, list) else []
    for number, entry in enumerate(entries):
        yield from _places(entry, steps[1:], (*path, number))
    model = node_keys()[legacy.pattern(path)].model
    assert model is not None
    for fresh in _fresh_entries(model, legacy.pattern(path), steps[1:]):
        for place, more in _places(fresh, steps[1:], (*path, len(entries))):
            yield place, {**more, (*path, len(entries)): fresh}  # type: ignore[dict-item]


def _fresh_entries(model: type[Model], section: str, rest: list[str]) -> Iterator[Tree]:
    """New entries of a list: what is required, and of each kind that the key could be for."""
    needed = {
        key.name: next(_values(key.path))
        for key in node_keys().values()
        if key.section == f"{section}[]" and key.field.is_required()
    }
    yield needed
    for only in _kinds_for(model, f"{section}[]", rest):
        yield from ({**needed, only.of: kind} for kind in only.kinds)


def _kinds_for(model: type[Model], section: str, rest: list[str]) -> Iterator[Only]:
    """For which kinds of this entry the key, or one on the way to it, is."""
    own = model.model_fields
    for length in range(1, len(rest) + 1):
        path = f"{section}.{'.'.join(rest[:length])}".removesuffix("[]")
        only = node_keys()[path].only if path in node_keys() else None
        if only is not None and only.of in own:
            yield only
    if len(rest) == 1:
        yield from (only for name, only in conditions(model) if name == rest[0])


def _put(tree: Tree, place: tuple[Path, Tree], value: Any) -> None:
    path, fresh = place
    for where, entry in sorted(fresh.items(), key=lambda item: len(item[0])):
        _at(tree, where[:-1], []).append(copy.deepcopy(entry))  # type: ignore[arg-type]
    _at(tree, path[:-1], {})[path[-1]] = value


def _at(tree: Any, path: Path, default: Any) -> Any:
    """The container at ``path``, made if need be."""
    for number, step in enumerate(path):
        if isinstance(step, str) and step not in tree:
            last = number == len(path) - 1
            following = None if last else path[number + 1]
            tree[step] = default if last else [] if isinstance(following, int) else {}
        tree = tree[step]
    return tree


def _holds(tree: Tree) -> bool:
    try:
        NodeSpec.model_validate({"name": "n", **tree})
    except ValidationError:
        return False
    return True


# --- as text


def _lines(tree: Tree, section: str, left_out: frozenset[str], depth: int, told: set[str]) -> Iterator[str]:
    """The lines of one mapping, every key with its words the first time."""
    indent = "  " * depth
    for key in [each for each in node_keys().values() if each.section == section]:
        name = "fru0" if key.name == "fruN" else key.name
        if key.path in left_out and key.path not in told:
            told.add(key.path)
            yield from _words(key, indent)
            yield f"{indent}# {name}: {yaml_of(next(_values(key.path), None))}"
        if key.model is not None and key.is_unusual and key.path not in told:
            told.add(key.path)
            yield from _words(key, indent)
            yield f"{indent}# {name}: {yaml_of(_example(key))}"
        if name not in tree:
            continue
        if key.path not in told:
            told.add(key.path)
            yield from _words(key, indent)
        value = tree[name]
        if key.model is None:
            yield f"{indent}{name}: {yaml_of(value)}"
        elif key.is_list:
            yield f"{indent}{name}:"
            for entry in value:
                inner = list(_lines(entry, f"{key.path}[]", left_out, depth + 2, told))
                yield from _as_entry(inner, f"{indent}  ")
        else:
            yield f"{indent}{name}:"
            yield from _lines(value, key.path, left_out, depth + 1, told)


def _example(key: Key) -> Any:
    """A value of a mapping, or a list of one, in which all its keys stand."""
    section = f"{key.path}[]" if key.is_list else key.path
    below = {each.name: next(_values(each.path)) for each in node_keys().values() if each.section == section}
    return [below] if key.is_list else below


def _as_entry(lines: list[str], indent: str) -> Iterator[str]:
    """An entry of a list: the dash stands before its first key, behind the comments."""
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from lines[:first]
    yield f"{indent}- {lines[first].lstrip()}"
    yield from lines[first + 1 :]


def _words(key: Key, indent: str) -> Iterator[str]:
    words = (key.field.description or "").replace("`", "'")
    if key.is_unusual:
        words += " Of no QEMU of a distribution."
    if key.only is not None:
        words += f" {key.only.words()}"
    if key.choices:
        words += f" One of: {', '.join(map(str, key.choices))}."
    low, high = key.bounds
    if low is not None and high is not None:
        words += f" {low} to {high}."
    yield from textwrap.wrap(words, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
