"""Frozen dataclasses that are quick to define.

``@dataclass(frozen=True)`` writes and compiles the methods of each class while it is imported. That takes
0.5 ms for a class of six fields, fourteen times as long as what is done here, and a start of a node imports a
hundred of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar, dataclass_transform

F = TypeVar("F", bound="Frozen")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Frozen:
    """Base of classes that are frozen dataclasses: ``class Point(Frozen)`` with annotated fields.

    ``class Point(Frozen, kw_only=True)`` is made with its values by name only.
    ``dataclasses.replace``, ``fields`` and ``field`` do with them what they do with any.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    _names: ClassVar[tuple[str, ...]]
    _needed: ClassVar[tuple[str, ...]]
    _usual: ClassVar[dict[str, Any]]
    _made: ClassVar[dict[str, Any]]
    _is_checked: ClassVar[bool]
    _by_name_only: ClassVar[bool]

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        fields = dataclasses.fields(dataclasses.dataclass(init=False, repr=False, eq=False)(cls))
        missing = dataclasses.MISSING
        cls._names = tuple(field.name for field in fields)
        cls._usual = {field.name: field.default for field in fields if field.default is not missing}
        cls._made = {
            field.name: field.default_factory for field in fields if field.default_factory is not missing
        }
        cls._by_name_only = kw_only
        cls._is_checked = cls.__post_init__ is not Frozen.__post_init__
        cls._needed = tuple(name for name in cls._names if name not in cls._usual and name not in cls._made)

    def __init__(self, *given: Any, **named: Any) -> None:
        names, values = self._names, self.__dict__
        values.update(self._usual)
        if self._made:
            values.update((name, make()) for name, make in self._made.items() if name not in named)
        if given:
            values.update(zip(names, given, strict=False))
            if (
                self._by_name_only
                or len(given) > len(names)
                or (named and not named.keys().isdisjoint(names[: len(given)]))
            ):
                raise TypeError(self._complaint(given, named))
        values.update(named)
        # What is needed comes first, so it is there if so many were given by their place.
        lacks = len(given) < len(self._needed) and any(name not in values for name in self._needed)
        if lacks or len(values) != len(names):
            raise TypeError(self._complaint(given, named))
        if self._is_checked:
            self.__post_init__()

    def __post_init__(self) -> None:
        """What is done with the values when all are there."""

    def _complaint(self, given: tuple[Any, ...], named: dict[str, Any]) -> str:
        """What is wrong with the arguments."""
        what = f"{type(self).__name__}()"
        if given and self._by_name_only:
            return f"{what} takes values by their names only"
        if len(given) > len(self._names):
            return f"{what} takes {len(self._names)} values, got {len(given)}"
        if unknown := named.keys() - set(self._names):
            return f"{what} has no field {', '.join(sorted(unknown))}"
        if twice := named.keys() & set(self._names[: len(given)]):
            return f"{what} was given {', '.join(sorted(twice))} twice"
        return f"{what} lacks {', '.join(name for name in self._names if name not in self.__dict__)}"

    def _values(self) -> tuple[Any, ...]:
        return tuple([self.__dict__[name] for name in self._names])

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, others = self.__dict__, other.__dict__
        return mine == others or all(mine[name] == others[name] for name in self._names)

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (
            f"{field.name}={self.__dict__[field.name]!r}" for field in dataclasses.fields(self) if field.repr
        )
        return f"{type(self).__qualname__}({', '.join(shown)})"


def replaced(record: F, **changes: Any) -> F:
    """As ``dataclasses.replace``, which looks at each field and is slow where there are hundreds."""
    made = record.__new__(type(record))
    values = made.__dict__
    values.update((name, record.__dict__[name]) for name in record._names)
    values.update(changes)
    if len(values) != len(record._names):
        unknown = changes.keys() - set(record._names)
        raise TypeError(f"{type(record).__name__} has no field {', '.join(sorted(unknown))}")
    made.__post_init__()
    return made
