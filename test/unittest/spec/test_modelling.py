"""Models of what a file says: what is taken, what is refused with which fault, and what a model is then."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any, Literal

import pytest

from infrasim.spec.modelling import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Fault,
    Field,
    Model,
    Rare,
    ValidationError,
    WrongType,
    model_validator,
)


def even(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def lines(given: object) -> object:
    if isinstance(given, int):
        raise WrongType(str)
    return given.splitlines() if isinstance(given, str) else given


class Wheel(Model):
    size: Annotated[int, AfterValidator(even)] = Field(description="Size.", ge=2, le=30)


class Car(Model):
    name: str
    seats: int = 4
    speed: float | None = Field(None, alias="top-speed", ge=0)
    colour: Literal["red", "blue"] = Field("red", validation_alias=AliasChoices("colour", "color"))
    sticker: str | dict[str, str] | None = None
    words: Annotated[tuple[str, ...], BeforeValidator(lines)] = ()
    wheels: tuple[Wheel, ...] = ()
    spare: Annotated[Any, Rare("Wheel", __name__)] | None = Field(None, repr=False)
    owners: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _has_room(self) -> None:
        if self.seats < len(self.owners):
            raise ValueError("has no room")


class Bus(Car):
    seats: int = 40
    lines: tuple[int, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) else given


def faults(model: type[Model], given: object) -> list[tuple[Any, ...]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(given)
    return [
        fault[:3] if fault.error is None else (*fault[:2], str(fault.error)) for fault in caught.value.faults
    ]


def test_what_is_given_and_what_is_left_out() -> None:
    car = Car.model_validate(
        {
            "name": "a",
            "top-speed": 100,
            "color": "blue",
            "sticker": {"a": "b"},
            "seats": None,
            "words": "x\ny",
            "wheels": [{"size": 4}],
            "spare": {"size": 6},
            "owners": {"me": 1},
        }
    )
    assert (car.name, car.seats, car.speed, car.colour, car.words) == ("a", 4, 100.0, "blue", ("x", "y"))
    assert (car.sticker, Car(name="a", sticker="x").sticker) == ({"a": "b"}, "x")
    assert isinstance(car.speed, float)
    assert car.wheels == (Wheel(size=4),) and car.spare == Wheel(size=6)
    assert car.model_fields_set == {
        "name",
        "speed",
        "colour",
        "sticker",
        "words",
        "wheels",
        "spare",
        "owners",
    }
    assert Car(name="a") == Car(name="a", seats=4) != Car(name="b")
    assert Car(name="a") != Wheel(size=2)
    assert Car(name="a", wheels=(Wheel(size=2),)).wheels[0].size == 2
    assert Car.model_validate({"name": "a", "owners": {}}).owners is not Car(name="b").owners


def test_a_model_says_its_values() -> None:
    car = Car.model_validate({"name": "a", "top-speed": 1.5, "wheels": [{"size": 4}], "spare": {"size": 2}})
    assert repr(Wheel(size=2)) == "Wheel(size=2)"
    assert "spare" not in repr(car)
    assert car.model_dump(exclude_unset=True) == {
        "name": "a",
        "speed": 1.5,
        "wheels": [{"size": 4}],
        "spare": {"size": 2},
    }
    dumped = car.model_dump(by_alias=True)
    assert (dumped["top-speed"], dumped["colour"], dumped["words"]) == (1.5, "red", [])
    assert Car.model_validate(dumped) == car


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (3, [("not_mapping", (), 3)]),
        ({}, [("missing", ("name",), {})]),
        ({"name": None}, [("missing", ("name",), {"name": None})]),
        ({"name": 1, "tyres": 2}, [("not_text", ("name",), 1), ("unknown_key", ("tyres",), 2)]),
        ({"name": "a", "seats": True}, [("not_whole", ("seats",), True)]),
        ({"name": "a", "seats": 1.0}, [("not_whole", ("seats",), 1.0)]),
        ({"name": "a", "speed": 1}, [("unknown_key", ("speed",), 1)]),
        ({"name": "a", "top-speed": "1"}, [("not_number", ("top-speed",), "1")]),
        ({"name": "a", "top-speed": -1}, [("wrong_range", ("top-speed",), -1)]),
        ({"name": "a", "color": "red", "colour": "red"}, [("given_twice", ("colour",), "red")]),
        ({"name": "a", "color": "green"}, [("wrong_choice", ("color",), "green")]),
        ({"name": "a", "sticker": 1}, [("not_text", ("sticker",), 1)]),
        # Of a value of the right type the fault in it is told, and no other type.
        ({"name": "a", "sticker": {"a": 1}}, [("not_text", ("sticker", "a"), 1)]),
        ({"name": "a", "colour": [1]}, [("wrong_choice", ("colour",), [1])]),
        ({"name": "a", "words": 7}, [("not_text", ("words",), "not_text")]),
        ({"name": "a", "words": ["x", None]}, [("not_text", ("words", 1), None)]),
        ({"name": "a", "wheels": {"size": 2}}, [("not_list", ("wheels",), {"size": 2})]),
        (
            {"name": "a", "wheels": [{"size": 32}, None, {"size": 3}, {}]},
            [
                ("wrong_range", ("wheels", 0, "size"), 32),
                ("not_mapping", ("wheels", 1), None),
                ("wrong_value", ("wheels", 2, "size"), "3 is odd"),
                ("missing", ("wheels", 3, "size"), {}),
            ],
        ),
        ({"name": "a", "spare": {"size": "2"}}, [("not_whole", ("spare", "size"), "2")]),
        ({"name": "a", "owners": []}, [("not_mapping", ("owners",), [])]),
        (
            {"name": "a", "owners": {1: 1, "me": 0}},
            [("wrong_key", ("owners", 1), 1), ("wrong_range", ("owners", "me"), 0)],
        ),
        ({"name": "a", "seats": 1, "owners": {"me": 1, "you": 1}}, [("wrong_value", (), "has no room")]),
    ],
)
def test_every_fault_has_its_place(given: object, wanted: list[tuple[Any, ...]]) -> None:
    assert faults(Car, given) == wanted


def test_a_subclass_has_the_keys_and_the_checks_of_its_bases() -> None:
    assert list(Bus.model_fields) == [*Car.model_fields, "lines"]
    assert (Bus(name="a").seats, Car(name="a").seats) == (40, 4)
    # What the subclass makes of it is what its base sees.
    assert Bus.model_validate(12).name == "12"
    assert faults(Bus, {"name": "a", "seats": 0, "owners": {"me": 1}}) == [("wrong_value", (), "has no room")]


def test_a_model_that_is_built_is_not_read_again_and_cannot_be_changed() -> None:
    wheel = Wheel.model_construct(size=3)
    assert Car(name="a", spare=wheel).spare is wheel
    with pytest.raises(AttributeError, match="Wheel is frozen"):
        wheel.size = 4


def test_the_error_says_all_that_is_wrong() -> None:
    error = ValidationError(
        "Car", [Fault("not_text", ("name",), 1), Fault("wrong_value", ("a", 0), 1, ValueError("x"))]
    )
    assert str(error) == "no Car: name: not_text; a.0: x"


@pytest.mark.allow("process")
def test_reading_a_node_file_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; from pathlib import Path; from infrasim.spec.load import load_node; "
        "load_node(Path('n'), 'name: n'); "
        "print(sorted({'pydantic', 'jinja2', 'psutil', 'subprocess', 'asyncio'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
