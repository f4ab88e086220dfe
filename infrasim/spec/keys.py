"""Every key of the node file as one table, drawn from the models of ``spec.node``.

Paths are dotted, with ``[]`` for the entries of a list and ``fruN`` for any FRU device:
``compute.networks[].mac``, ``bmc.fruN.board``.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable, Iterator

from infrasim.frozen import Frozen
from infrasim.spec.modelling import FieldInfo, Model, Rare, written
from infrasim.spec.node import NodeSpec
from infrasim.spec.part import Becomes, Known, Only, Unusual, notes


class Key(Frozen):
    """One key: ``model`` is what its value (or each entry of its list) is made of, if not a scalar.

    ``owner`` is the model that has the key.
    """

    path: str
    field: FieldInfo
    model: type[Model] | None
    is_list: bool
    owner: type[Model] = NodeSpec

    @property
    def name(self) -> str:
        """The key as it is written."""
        return self.path.rpartition(".")[2]

    @property
    def section(self) -> str:
        """The path of the mapping it stands in; empty at the top level."""
        return self.path.rpartition(".")[0]

    @property
    def bounds(self) -> tuple[int | float | None, int | float | None]:
        """Smallest and largest number, None where there is no limit."""
        for said in (self.field, *notes(self.field, FieldInfo)):
            if said.ge is not None or said.le is not None:
                return said.ge, said.le
        return None, None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values to choose from; empty if any value of the type will do."""
        return tuple(_choices(self.field.annotation))

    @property
    def known(self) -> tuple[str, ...]:
        """Values that are known of a text that may be another one too."""
        return next((note.values for note in notes(self.field, Known)), ())

    @property
    def is_unusual(self) -> bool:
        """Whether it is for a QEMU that can more than those of distributions."""
        return any(notes(self.field, Unusual))

    @property
    def only(self) -> Only | None:
        """For which kinds the key is; None for all."""
        return next(notes(self.field, Only), None)

    @property
    def becomes(self) -> str:
        """What its value turns into, in Markdown; empty where that is not told."""
        return next((note.what for note in notes(self.field, Becomes)), "")

    @property
    def scalar(self) -> type:
        """``str``, ``int``, ``float`` or ``bool``; of a list: of its entries. ``object`` for mappings."""
        return next(
            (kind for kind in _kinds(self.field.annotation) if kind in (str, bool, int, float)), object
        )


@functools.cache
def node_keys() -> dict[str, Key]:
    """Every key by its path, in the order of the models."""
    return {key.path: key for key in _keys(NodeSpec, "")}


def section_keys(section: str) -> tuple[str, ...]:
    """The keys of one mapping, given by its path."""
    return tuple(key.name for key in node_keys().values() if key.section == section)


def _keys(model: type[Model], section: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = f"{section}.{written(name, field)}" if section else written(name, field)
        kinds = tuple(_kinds(field.annotation))
        below = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Model)), None)
        is_list = tuple in kinds
        yield Key(path, field, below, is_list, model)
        if below is not None:
            yield from _keys(below, path + "[]" if is_list else path)


def _choices(annotation: object) -> Iterator[str]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    elif typing.get_origin(annotation) in (tuple, typing.Union, types.UnionType, typing.Annotated):
        for argument in typing.get_args(annotation):
            yield from _choices(argument)


def _kinds(annotation: object) -> Iterator[type]:
    """The classes an annotation is made of, outermost first."""
    origin = typing.get_origin(annotation)
    if origin is tuple:
        yield tuple
    if origin is typing.Literal:
        yield str
    elif origin is typing.Annotated:
        yield from _rare(typing.get_args(annotation)[1:])
        yield from _kinds(typing.get_args(annotation)[0])
    elif origin is dict:
        yield from _kinds(typing.get_args(annotation)[1])
    elif origin in (tuple, typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from _kinds(argument)
    elif isinstance(annotation, type):
        yield annotation


def _rare(metadata: Iterable[object]) -> Iterator[type]:
    return (entry.model for entry in metadata if isinstance(entry, Rare))
