"""Frozen dataclasses without generated code: they do what those with it do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from functools import cached_property
from typing import Any, Generic, TypeVar

import pytest

from infrasim.frozen import Frozen, replaced
from infrasim.jsonform import as_json, from_json

T = TypeVar("T")


class Point(Frozen):
    """A place."""

    x: int
    y: int = 2
    words: list[str] = dataclasses.field(default_factory=list, repr=False)

    @cached_property
    def sum(self) -> int:
        return self.x + self.y


class Spot(Point):
    """A place with a name."""

    name: str = ""


class Named(Frozen, kw_only=True):
    """What is needed stands behind what is not."""

    x: int = 1
    y: int


class Even(Frozen):
    """A number that is looked at."""

    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


class Box(Frozen, Generic[T]):
    """Whatever it is."""

    content: T


@dataclasses.dataclass(frozen=True)
class Usual:
    """The same with generated code."""

    x: int
    y: int = 2
    words: list[str] = dataclasses.field(default_factory=list, repr=False)


def test_values_are_given_by_place_and_by_name() -> None:
    assert (Point(1).x, Point(1).y, Point(1).words) == (1, 2, [])
    assert Point(1, y=3) == Point(x=1, y=3, words=[]) == Point(1, 3)
    assert Point(1).words is not Point(1).words
    assert Spot(1, 2, ["a"], "s").name == "s"
    assert Box("a").content == "a"


@pytest.mark.parametrize(
    ("given", "named", "complaint"),
    [
        ((), {}, "Point() lacks x"),
        ((1, 2, [], 4), {}, "Point() takes 3 values, got 4"),
        ((1,), {"x": 2}, "Point() was given x twice"),
        ((), {"y": 2}, "Point() lacks x"),
        ((1,), {"z": 2, "a": 1}, "Point() has no field a, z"),
        ((), {"z": 2}, "Point() has no field z"),
    ],
)
def test_what_does_not_fit_is_refused(given: tuple[Any, ...], named: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        Point(*given, **named)
    assert str(caught.value) == complaint
    with pytest.raises(TypeError):
        Usual(*given, **named)


def test_values_may_have_to_be_named() -> None:
    assert (Named(y=3).x, Named(y=3, x=2)) == (1, Named(x=2, y=3))
    with pytest.raises(TypeError, match="by their names only"):
        Named(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="lacks y"):
        Named(x=1)  # type: ignore[call-arg]


def test_values_are_looked_at_when_all_are_there() -> None:
    assert Even(2).number == 2
    with pytest.raises(ValueError, match="odd"):
        Even(number=3)
    with pytest.raises(ValueError, match="odd"):
        dataclasses.replace(Even(2), number=3)


def test_it_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x


def test_it_is_equal_to_its_like_alone() -> None:
    assert Point(1) != Spot(1)
    assert Point(1) != Usual(1)
    assert Box(1) != 1
    assert Box((1, 2)) == Box((1, 2)) and hash(Box((1, 2))) == hash(Box((1, 2)))
    assert hash(Box(1)) != hash(Box(2))
    known = Point(1)
    assert known.sum == 3
    # What was worked out is no part of it.
    assert known == Point(1)


def test_it_is_shown_as_a_dataclass_is() -> None:
    assert repr(Point(1, words=["a"])) == repr(Usual(1)).replace("Usual", "Point") == "Point(x=1, y=2)"


def test_what_is_done_with_dataclasses_is_done_with_it() -> None:
    spot = Spot(1, 2, ["a"], "s")
    assert dataclasses.replace(spot, y=5) == Spot(1, 5, ["a"], "s")
    assert [field.name for field in dataclasses.fields(spot)] == ["x", "y", "words", "name"]
    assert dataclasses.asdict(spot) == {"x": 1, "y": 2, "words": ["a"], "name": "s"}
    assert from_json(Spot, as_json(spot)) == spot
    assert copy.deepcopy(spot) == spot == pickle.loads(pickle.dumps(spot))
    match spot:
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_replaced_is_replace() -> None:
    spot = Spot(1, 2, ["a"], "s")
    assert spot.sum == 3
    changed = replaced(spot, y=5, name="t")
    assert changed == dataclasses.replace(spot, y=5, name="t")
    assert (changed.sum, spot.y) == (6, 2)
    assert replaced(spot) == spot
    with pytest.raises(TypeError, match="Spot has no field z"):
        replaced(spot, z=1)
    with pytest.raises(ValueError, match="odd"):
        replaced(Even(2), number=3)
