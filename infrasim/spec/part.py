"""What the models of the node file are made of: their base, the types of values, and what they say of a key.

Beside its type and limits an annotation of a key can carry

- ``Only("megasas", "megasas-gen2")``: the key is for some kinds only; enforced here, and told by the
  reference and the JSON Schema;
- ``Becomes("-m")``: what the value turns into, for the reference;
- ``Known("ahci", "nvme")``: values that are known of a text that may be another one too;
- ``UNUSUAL``: the key is for a QEMU that can more than those of distributions;
- ``Rare("Smbios")``: the model is in a module that is imported when a file has the key.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Annotated, TypeAlias

from infrasim.frozen import Frozen
from infrasim.spec import checks, pci_checks, words
from infrasim.spec.modelling import (
    AfterValidator,
    BeforeValidator,
    Field,
    FieldInfo,
    Model,
    Rare,
    model_validator,
    written,
)

__all__ = ["Rare", "written"]

Switch: TypeAlias = Annotated[bool, BeforeValidator(words.switch)]
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
QemuId: TypeAlias = Annotated[str, AfterValidator(pci_checks.qemu_id)]
PciAddress: TypeAlias = Annotated[
    str, BeforeValidator(pci_checks.as_digits), AfterValidator(pci_checks.pci_address)
]

_Note = typing.TypeVar("_Note")


class Only:
    """The key is for some kinds only: where the key ``of`` beside it has one of these values.

    A key of a list's entry may depend on the mapping that the list stands in, as a drive's do on the
    ``type`` of its controller: ``of`` is looked for there if the entry itself has no such key.
    With ``known``, all kinds that are known, it is for every kind that is not among these, too.
    """

    def __init__(self, *kinds: str, of: str = "type", known: tuple[str, ...] = ()) -> None:
        self.kinds = kinds
        self.of = of
        self.others = tuple(kind for kind in known if kind not in kinds)

    def words(self, quote: str = "") -> str:
        """For which kinds the key is, in the shorter way."""
        listed = self.others if self._is_for_most else self.kinds
        kinds = " or ".join(f"{quote}{kind}{quote}" for kind in listed)
        return f"{'Not' if self._is_for_most else 'Only'} for {quote}{self.of}{quote} {kinds}."

    def refusal(self, kind: object) -> str:
        """Why a key is refused where the kind is one that it is not for."""
        is_only = f"is only for {self.of} {' or '.join(self.kinds)}, not for {kind}"
        return f"is not for {self.of} {kind}" if self._is_for_most else is_only

    @property
    def _is_for_most(self) -> bool:
        return bool(self.others) and len(self.others) < len(self.kinds)

    def allows(self, kind: object) -> bool:
        """Whether the key is for that kind."""
        return kind not in self.others if self.others else kind in self.kinds


class Known:
    """Values that are known of a text that may be another one too."""

    def __init__(self, *values: str) -> None:
        self.values = values


class Unusual:
    """The key is for a QEMU that can more than those of distributions.

    It is taken all the same: what the QEMU in use lacks is said when a plan is made.
    """


UNUSUAL = Unusual()


class Becomes(Frozen):
    """What a value turns into, in Markdown: an argument of QEMU, a file, what a command prints."""

    what: str


class Part(Model):
    """A mapping of the node file, and what is said of its keys beside their types."""

    @model_validator(mode="after")
    def _only_where_it_applies(self) -> None:
        checks.nothing_misplaced(_misplaced(self))


def notes(field: FieldInfo, kind: type[_Note]) -> Iterator[_Note]:
    """What is said of a key that is of one kind."""
    return (note for note in field.notes if isinstance(note, kind))


def conditions(model: type[Model]) -> Iterator[tuple[str, Only]]:
    """The fields of a model that are for some kinds only."""
    yield from ((name, only) for name, field in model.model_fields.items() for only in notes(field, Only))


def _misplaced(part: Part) -> Iterator[checks.Misplaced]:
    yield from _refused(part, part, ())
    for name, value in part:
        for number, below in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(below, Part):
                yield from _refused(below, part, (name, number))


def _refused(part: Part, judge: Part, place: tuple[str | int, ...]) -> Iterator[checks.Misplaced]:
    """The keys of ``part`` that are not for the kind that ``judge`` is."""
    own = type(part).model_fields
    for name in (name for name in own if name in part.model_fields_set):
        for only in notes(own[name], Only):
            is_judged = only.of in type(judge).model_fields and (part is judge or only.of not in own)
            # What is dumped and loaded again has empty lists.
            if is_judged and getattr(part, name) not in (None, ()):
                kind = getattr(judge, only.of)
                if not only.allows(kind):
                    yield checks.Misplaced((*place, written(name, own[name])), only.of, only.refusal(kind))
