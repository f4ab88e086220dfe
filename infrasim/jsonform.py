"""Dataclasses to JSON values and back, for what is kept in files and read again."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def as_json(value: Any) -> Any:
    """Plain values for JSON: dataclasses become objects, bytes hex digits, paths texts, enums their values.

    What has an ``as_json`` of its own is asked for it.
    """
    if (own := getattr(value, "as_json", None)) is not None:
        return own()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The value of type ``kind``; a field that is missing keeps its default.

    Raises:
        ValueError: ``value`` does not have that form.
    """
    try:
        return typing.cast(T, _decode(kind, value))
    except (TypeError, KeyError, AttributeError) as exc:
        raise ValueError(f"not a {kind.__name__}: {exc}") from exc


def _decode(kind: Any, value: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(_decode(parts[0], item) for item in value)
    if origin is list:
        return [_decode(parts[0], item) for item in value]
    if origin is dict:
        return {parts[0](key): _decode(parts[1], item) for key, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        inner = next(part for part in parts if part is not type(None))
        return None if value is None else _decode(inner, value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        known = {item.name for item in dataclasses.fields(kind)}
        return kind(**{name: _decode(hints[name], item) for name, item in value.items() if name in known})
    if kind is bytes:
        return bytes.fromhex(value)
    if isinstance(kind, type) and issubclass(kind, (Enum, Path)):
        return kind(value)
    if type(value) is not kind and (kind, type(value)) != (float, int):
        raise TypeError(f"{value!r} is not of type {kind}")
    return value
