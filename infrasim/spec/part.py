"""What the models of the node file are made of: their base, the types of values, and what they say of a key.

Beside pydantic's own limits an annotation of a key can carry

- ``Only("megasas", "megasas-gen2")``: the key is for some kinds only; enforced here, and told by the
  reference and the JSON Schema;
- ``Becomes("-m")``: what the value turns into, for the reference;
- ``Rare("Smbios")``: the model is made when a file has the key.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from infrasim.spec import board_checks, checks

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import CoreSchema

    Switch: TypeAlias = bool
else:
    # The reference's files say on, off and "false", which the loader reads as text.
    Switch = Annotated[Literal["on", "off", "true", "false"] | bool, AfterValidator(board_checks.switch)]

NodeName: TypeAlias = Annotated[str, AfterValidator(checks.node_name)]
TypeName: TypeAlias = Annotated[str, AfterValidator(checks.type_name)]
AbsolutePath: TypeAlias = Annotated[str, AfterValidator(checks.absolute_path)]
Mac: TypeAlias = Annotated[str, AfterValidator(checks.parse_mac)]
Uuid: TypeAlias = Annotated[str, AfterValidator(checks.parse_uuid)]
Address: TypeAlias = Annotated[str, AfterValidator(checks.address)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
CipherSuite: TypeAlias = Annotated[int, AfterValidator(checks.cipher_suite)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=3600)]
SmbiosText: TypeAlias = Annotated[str, AfterValidator(checks.smbios_text)]
FruText: TypeAlias = Annotated[str, AfterValidator(checks.fru_text)]
FruId: TypeAlias = Annotated[int, BeforeValidator(checks.fru_id)]

_Note = typing.TypeVar("_Note")


class Only:
    """The key is for some kinds only: where the key ``of`` beside it has one of these values.

    A key of a list's entry may depend on the mapping that the list stands in, as a drive's do on the
    ``type`` of its controller: ``of`` is looked for there if the entry itself has no such key.
    """

    def __init__(self, *kinds: str, of: str = "type") -> None:
        self.kinds = kinds
        self.of = of


@dataclass(frozen=True)
class Becomes:
    """What a value turns into, in Markdown: an argument of QEMU, a file, what a command prints."""

    what: str


class Part(BaseModel):
    """A mapping of the node file: no key but the ones listed, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_keys(cls, given: Any) -> Any:
        if isinstance(given, dict) and None in given.values():
            known = {written(name, field) for name, field in cls.__pydantic_fields__.items()}
            return {key: value for key, value in given.items() if value is not None or key not in known}
        return given

    @model_validator(mode="after")
    def _only_where_it_applies(self) -> typing.Self:
        checks.nothing_misplaced(_misplaced(self))
        return self


class Rare:
    """A model that few files need; only a file with such a key pays for making it.

    Measured: making those of ``spec.identity`` doubles the time that ``spec.node`` takes.
    """

    def __init__(self, name: str, module: str = "infrasim.spec.identity") -> None:
        self.name = name
        self.module = module

    @property
    def model(self) -> type[Part]:
        """The model itself."""
        import importlib

        model: type[Part] = getattr(importlib.import_module(self.module), self.name)
        return model

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        """Make pydantic check values with the model, whose faults then count as this place's."""
        from pydantic_core.core_schema import no_info_plain_validator_function

        return no_info_plain_validator_function(lambda given: self.model.model_validate(given))


def written(name: str, field: FieldInfo) -> str:
    """The key of a field as it is written in a node file."""
    return field.alias or name


def notes(field: FieldInfo, kind: type[_Note]) -> Iterator[_Note]:
    """What a key's annotation says of that kind, wherever in it that stands."""
    yield from (entry for entry in field.metadata if isinstance(entry, kind))
    yield from _notes(field.annotation, kind)


def _notes(annotation: object, kind: type[_Note]) -> Iterator[_Note]:
    if typing.get_origin(annotation) is Annotated:
        yield from (entry for entry in typing.get_args(annotation)[1:] if isinstance(entry, kind))
    for argument in typing.get_args(annotation):
        yield from _notes(argument, kind)


@functools.cache
def conditions(model: type[BaseModel]) -> tuple[tuple[str, Only], ...]:
    """The fields of a model that are for some kinds only."""
    fields = model.__pydantic_fields__.items()
    return tuple((name, only) for name, field in fields for only in notes(field, Only))


def _misplaced(part: Part) -> Iterator[checks.Misplaced]:
    known = type(part).__pydantic_fields__
    yield from _refused(part, part, (), (entry for entry in conditions(type(part)) if entry[1].of in known))
    for name, value in part:
        for number, below in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(below, Part):
                yield from _refused(below, part, (name, number), _of_parent(type(below), type(part)))


@functools.cache
def _of_parent(model: type[BaseModel], parent: type[BaseModel]) -> tuple[tuple[str, Only], ...]:
    own, above = model.__pydantic_fields__, parent.__pydantic_fields__
    return tuple(entry for entry in conditions(model) if entry[1].of not in own and entry[1].of in above)


def _refused(
    part: Part, judge: Part, place: tuple[str | int, ...], found: Iterable[tuple[str, Only]]
) -> Iterator[checks.Misplaced]:
    for name, only in found:
        kind = getattr(judge, only.of)
        # What is dumped and loaded again has empty lists.
        is_given = name in part.model_fields_set and getattr(part, name) not in (None, ())
        if is_given and kind not in only.kinds:
            key = written(name, type(part).__pydantic_fields__[name])
            yield checks.Misplaced((*place, key), only.of, kind, only.kinds)
