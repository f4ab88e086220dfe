"""Typed, frozen models of what a file says: every fault at once, each with its place and kind.

The names, and what they mean, are pydantic's as far as they are here: ``Field``, ``AfterValidator``,
``model_validate``. To import pydantic and to let it make the models takes longer than a whole node file may
take (docs/design.md, "Node files"), and a node file needs little of it: what is written is text, number,
true or false, list or mapping, and is taken as it is written or not at all. Types are looked at when a file
first has such a key.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

Path: TypeAlias = tuple["str | int", ...]
FaultKind: TypeAlias = Literal[
    "missing",
    "unknown_key",
    "given_twice",
    "wrong_key",
    "wrong_value",
    "wrong_choice",
    "wrong_range",
    "not_text",
    "not_whole",
    "not_number",
    "not_bool",
    "not_list",
    "not_mapping",
]
# What of a value is asked for, when a value of another type was given.
OF_TYPE: Mapping[type, FaultKind] = {
    str: "not_text",
    int: "not_whole",
    float: "not_number",
    bool: "not_bool",
    tuple: "not_list",
    dict: "not_mapping",
}

_Model = typing.TypeVar("_Model", bound="Model")
_Function = typing.TypeVar("_Function")


class Fault(NamedTuple):
    """One thing that is wrong: where, with which value, and for ``wrong_value`` what the check said."""

    kind: FaultKind
    path: Path
    given: object
    error: ValueError | None = None


class ValidationError(ValueError):
    """Values that are no model; ``faults`` has everything that is wrong with them."""

    def __init__(self, model: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        words = (f"{'.'.join(map(str, each.path))}: {each.error or each.kind}" for each in self.faults)
        super().__init__(f"no {model}: {'; '.join(words)}")


class WrongType(ValueError):
    """Raised by a validator for a value that is of none of the types it takes."""

    def __init__(self, wanted: type) -> None:
        super().__init__(OF_TYPE[wanted])
        self.kind: FaultKind = OF_TYPE[wanted]


class AfterValidator(NamedTuple):
    """Gives a value of the right type to a function, and keeps what that returns."""

    func: Callable[[Any], Any]


class BeforeValidator(NamedTuple):
    """Gives what stands in the file to a function, and looks at what that returns."""

    func: Callable[[Any], Any]


class AliasChoices:
    """Spellings of a key; the first is how it is written."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices


class Rare:
    """Beside ``Any``: the value is of a model in another module, imported when a file has the key."""

    def __init__(self, name: str, module: str = "infrasim.spec.identity") -> None:
        self.name = name
        self.module = module

    @property
    def model(self) -> type[Model]:
        """The model itself."""
        import importlib

        model: type[Model] = getattr(importlib.import_module(self.module), self.name)
        return model


class _Nothing:
    """Stands for what there is none of: a default, or the value of something faulty."""


_NOTHING = _Nothing()

# Takes a value, where it stands, and the faults so far, to which it adds; returns the value to keep.
_Reader: TypeAlias = Callable[[Any, Path, "list[Fault]"], Any]
_Limits: TypeAlias = tuple["int | float | None", "int | float | None"]
_NO_LIMITS: _Limits = (None, None)


class FieldInfo:
    """One key of a model."""

    def __init__(
        self,
        default: Any = _NOTHING,
        *,
        default_factory: Callable[[], Any] | None = None,
        description: str = "",
        examples: list[Any] | None = None,
        ge: int | float | None = None,
        le: int | float | None = None,
        alias: str | None = None,
        validation_alias: str | AliasChoices | None = None,
        repr: bool = True,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.description = description
        self.examples = examples
        self.ge = ge
        self.le = le
        self.alias = alias
        self.validation_alias = validation_alias
        self.repr = repr
        # What a model says of a key beside its annotation.
        self.metadata: tuple[object, ...] = ()
        self._annotation: Any = None
        self._module = ""
        self._notes: tuple[object, ...] | None = None
        self._reader: _Reader | None = None

    def named(self, annotation: object, module: str) -> Self:
        """The same for the key of a class in that module that has this annotation, evaluated or not."""
        self._annotation = annotation
        self._module = module
        return self

    def with_note(self, note: object) -> FieldInfo:
        """A copy that says one thing more."""
        found = FieldInfo.__new__(FieldInfo)
        found.__dict__.update(self.__dict__)
        found.metadata = (note, *self.metadata)
        found._notes = None
        return found

    @property
    def annotation(self) -> Any:
        """The type of the key, with all that is said of it."""
        if isinstance(self._annotation, str):
            self._annotation = eval(self._annotation, vars(sys.modules[self._module]))
        return self._annotation

    @property
    def notes(self) -> tuple[object, ...]:
        """All that is said of the key beside its types, wherever in its annotation that stands."""
        if self._notes is None:
            self._notes = (*self.metadata, *_notes(self.annotation))
        return self._notes

    @property
    def spellings(self) -> tuple[str, ...]:
        """The keys it is found under; empty for the field's own name."""
        if isinstance(self.validation_alias, AliasChoices):
            return self.validation_alias.choices
        alias = self.validation_alias or self.alias
        return (alias,) if alias else ()

    def is_required(self) -> bool:
        """Whether a file must have the key."""
        return self.default is _NOTHING and self.default_factory is None

    def get_default(self, *, call_default_factory: bool = True) -> Any:
        """The value of a key that is left out; None if it must not be."""
        if self.default_factory is not None:
            return self.default_factory() if call_default_factory else None
        return None if self.default is _NOTHING else self.default

    def read(self, given: Any, path: Path, faults: list[Fault]) -> Any:
        """The value that ``given`` stands for."""
        if self._reader is None:
            self._reader = _reader(self.annotation, (self.ge, self.le))
        return self._reader(given, path, faults)


def Field(default: Any = _NOTHING, **about: Any) -> Any:
    """What is said of a key: see ``FieldInfo``."""
    return FieldInfo(default, **about)


def model_validator(*, mode: Literal["before", "after"]) -> Callable[[_Function], _Function]:
    """Lets a method look at the whole: ``before`` its keys are read, or ``after``.

    ``before`` is a class method that gets what stands in the file and returns what is to be read.
    """

    def marked(function: _Function) -> _Function:
        function.runs = mode  # type: ignore[attr-defined]
        return function

    return marked


class Model:
    """A mapping of a file: no key but the ones listed, no value of another type.

    A key without a value is as if it were not there.
    """

    __slots__ = ("__dict__", "model_fields_set")

    model_fields: typing.ClassVar[dict[str, FieldInfo]] = {}
    model_fields_set: frozenset[str]
    _by_key: typing.ClassVar[dict[str, str]] = {}
    _before: typing.ClassVar[tuple[str, ...]] = ()
    _after: typing.ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__dict__
        fields: dict[str, FieldInfo] = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update(getattr(base, "model_fields", {}))
        for name, annotation in own.get("__annotations__", {}).items():
            if name.startswith("_") or "ClassVar" in str(annotation):
                continue
            said = own.get(name, _NOTHING)
            field = said if isinstance(said, FieldInfo) else FieldInfo(said)
            fields[name] = field.named(annotation, cls.__module__)
            if name in own:
                delattr(cls, name)
        cls.model_fields = fields
        cls._by_key = {key: name for name, field in fields.items() for key in field.spellings or (name,)}
        cls._before = _validators(cls, "before")
        cls._after = _validators(cls, "after")

    def __init__(self, **given: Any) -> None:
        made = self.model_validate(given)
        self.__dict__.update(made.__dict__)
        object.__setattr__(self, "model_fields_set", made.model_fields_set)

    @classmethod
    def model_validate(cls, given: Any) -> Self:
        """The model of a mapping, as it stands in a file.

        Raises:
            ValidationError: with everything that is wrong.
        """
        faults: list[Fault] = []
        made: Self = cls.model_read(given, (), faults)
        if faults:
            raise ValidationError(cls.__name__, faults)
        return made

    @classmethod
    def model_construct(cls, **values: Any) -> Self:
        """A model of values that nobody looks at."""
        made = cls.__new__(cls)
        made.__dict__.update(
            (name, values[name] if name in values else field.get_default())
            for name, field in cls.model_fields.items()
        )
        object.__setattr__(made, "model_fields_set", frozenset(values))
        return made

    @classmethod
    def model_read(cls, given: Any, path: Path, faults: list[Fault]) -> Any:
        """The model that ``given`` stands for; what is wrong is added to ``faults``."""
        if isinstance(given, cls):
            return given
        before = len(faults)
        try:
            # A subclass sees what stands in the file before its base does.
            for name in reversed(cls._before):
                given = getattr(cls, name)(given)
        except ValueError as exc:
            faults.append(_fault(exc, path, given))
            return _NOTHING
        if not isinstance(given, dict):
            faults.append(Fault("not_mapping", path, given))
            return _NOTHING
        values: dict[str, Any] = {}
        for key, value in given.items():
            name = cls._by_key.get(key, "")
            if not name:
                faults.append(Fault("unknown_key", (*path, key), value))
            elif name in values:
                faults.append(Fault("given_twice", (*path, key), value))
            elif value is not None:
                values[name] = cls.model_fields[name].read(value, (*path, key), faults)
        for name, field in cls.model_fields.items():
            if name not in values and field.is_required():
                faults.append(Fault("missing", (*path, written(name, field)), given))
        if len(faults) > before:
            return _NOTHING
        made = cls.model_construct(**values)
        try:
            for name in cls._after:
                getattr(made, name)()
        except ValueError as exc:
            faults.append(_fault(exc, path, given))
        return made

    def model_dump(self, *, by_alias: bool = False, exclude_unset: bool = False) -> dict[str, Any]:
        """The values as JSON has them; ``by_alias``: under the keys as they are written."""
        return {
            written(name, field) if by_alias else name: _dumped(
                self.__dict__[name], by_alias=by_alias, exclude_unset=exclude_unset
            )
            for name, field in self.model_fields.items()
            if not exclude_unset or name in self.model_fields_set
        }

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.__dict__.items())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self if self.model_fields[name].repr)
        return f"{type(self).__name__}({', '.join(shown)})"


def _notes(annotation: Any) -> Iterator[object]:
    if typing.get_origin(annotation) is Annotated:
        yield from typing.get_args(annotation)[1:]
    if typing.get_origin(annotation) is not Literal:
        for argument in typing.get_args(annotation):
            yield from _notes(argument)


def _validators(model: type[Model], mode: str) -> tuple[str, ...]:
    """The methods that look at the whole, those of a base first."""
    found: dict[str, None] = {}
    for base in reversed(model.__mro__[1:]):
        found.update(dict.fromkeys(getattr(base, f"_{mode}", ())))
    found.update((name, None) for name, value in vars(model).items() if getattr(value, "runs", "") == mode)
    return tuple(found)


def written(name: str, field: FieldInfo) -> str:
    """The key of a field as it is written in a file."""
    return next(iter(field.spellings), name)


def _dumped(value: Any, *, by_alias: bool, exclude_unset: bool) -> Any:
    if isinstance(value, Model):
        return value.model_dump(by_alias=by_alias, exclude_unset=exclude_unset)
    if isinstance(value, tuple):
        return [_dumped(entry, by_alias=by_alias, exclude_unset=exclude_unset) for entry in value]
    if isinstance(value, dict):
        return {
            key: _dumped(entry, by_alias=by_alias, exclude_unset=exclude_unset)
            for key, entry in value.items()
        }
    return value


def _fault(error: ValueError, path: Path, given: object) -> Fault:
    return Fault(error.kind if isinstance(error, WrongType) else "wrong_value", path, given, error)


# --- readers, by types


def _reader(annotation: Any, limits: _Limits) -> _Reader:
    """Reads values of a type; ``limits`` are the least and the greatest number it may be."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _annotated(typing.get_args(annotation), limits)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(annotation), limits)
    if origin is Literal:
        return _choice(typing.get_args(annotation))
    if origin is tuple:
        return _list(_reader(typing.get_args(annotation)[0], limits))
    if origin is dict:
        key, value = typing.get_args(annotation)
        return _mapping(_reader(key, _NO_LIMITS), _reader(value, _NO_LIMITS))
    if annotation is Any:
        return _as_it_is
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation.model_read
    return _scalar(annotation, limits)


def _annotated(arguments: tuple[Any, ...], limits: _Limits) -> _Reader:
    kind, *notes = arguments
    for note in notes:
        if isinstance(note, FieldInfo):
            limits = (note.ge, note.le)
    rare = next((note for note in notes if isinstance(note, Rare)), None)
    read = _rare(rare) if rare else _reader(kind, limits)
    for note in notes:
        if isinstance(note, AfterValidator):
            read = _after(read, note.func)
        elif isinstance(note, BeforeValidator):
            read = _before(read, note.func)
    return read


def _as_it_is(given: Any, path: Path, faults: list[Fault]) -> Any:
    return given


def _rare(rare: Rare) -> _Reader:
    return lambda given, path, faults: rare.model.model_read(given, path, faults)


def _after(read: _Reader, function: Callable[[Any], Any]) -> _Reader:
    def checked(given: Any, path: Path, faults: list[Fault]) -> Any:
        count = len(faults)
        value = read(given, path, faults)
        if len(faults) > count:
            return _NOTHING
        try:
            return function(value)
        except ValueError as exc:
            faults.append(_fault(exc, path, given))
            return _NOTHING

    return checked


def _before(read: _Reader, function: Callable[[Any], Any]) -> _Reader:
    def checked(given: Any, path: Path, faults: list[Fault]) -> Any:
        try:
            given = function(given)
        except ValueError as exc:
            faults.append(_fault(exc, path, given))
            return _NOTHING
        return read(given, path, faults)

    return checked


def _one_of(kinds: tuple[Any, ...], limits: _Limits) -> _Reader:
    """The first type that takes the value; if none does, the first says what it wanted.

    None is what a key without a value has, and as an entry of a list it is no value.
    """
    readers = [_reader(kind, limits) for kind in kinds if kind is not types.NoneType]
    if len(readers) == 1:
        return readers[0]

    def chosen(given: Any, path: Path, faults: list[Fault]) -> Any:
        said: list[Fault] = []
        for read in readers:
            found: list[Fault] = []
            value = read(given, path, found)
            if not found:
                return value
            said += found
        # A fault in a value of the right type says more than that it is not of another one.
        closer = [each for each in said if each.path != path or each.kind not in OF_TYPE.values()]
        faults += closer or said[:1]
        return _NOTHING

    return chosen


def _choice(choices: tuple[Any, ...]) -> _Reader:
    def chosen(given: Any, path: Path, faults: list[Fault]) -> Any:
        if isinstance(given, str) and given in choices:
            return given
        faults.append(Fault("wrong_choice", path, given))
        return _NOTHING

    return chosen


def _list(read: _Reader) -> _Reader:
    def entries(given: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(given, list | tuple):
            faults.append(Fault("not_list", path, given))
            return _NOTHING
        return tuple(read(entry, (*path, number), faults) for number, entry in enumerate(given))

    return entries


def _mapping(read_key: _Reader, read_value: _Reader) -> _Reader:
    def entries(given: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(given, dict):
            faults.append(Fault("not_mapping", path, given))
            return _NOTHING
        found = {}
        for key, value in given.items():
            count = len(faults)
            kept = read_key(key, (*path, key), faults)
            faults[count:] = [each._replace(kind="wrong_key") for each in faults[count:]]
            found[kept] = read_value(value, (*path, key), faults)
        return found

    return entries


def _scalar(kind: type, limits: _Limits) -> _Reader:
    """A text, a number, true or false: as it is written, but that a whole number is a number too."""
    least, most = limits
    accepted = (int, float) if kind is float else (kind,)

    def scalar(given: Any, path: Path, faults: list[Fault]) -> Any:
        if type(given) not in accepted:
            faults.append(Fault(OF_TYPE[kind], path, given))
            return _NOTHING
        if (least is not None and given < least) or (most is not None and given > most):
            faults.append(Fault("wrong_range", path, given))
            return _NOTHING
        return float(given) if kind is float else given

    return scalar
