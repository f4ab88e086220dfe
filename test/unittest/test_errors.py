"""Every exception of the package is in the tree that errors.py draws, or is named there as internal."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import infrasim
from infrasim import errors
from infrasim.errors import InfrasimError

# asyncssh looks for libraries, with ldconfig, when it is imported.
pytestmark = pytest.mark.allow("process")

_BRANCH = re.compile(r"^(?P<indent>[│ ]*)[├└]── (?P<name>\w+) +(?P<code>\d)  ", re.MULTILINE)


def exceptions() -> dict[str, type[BaseException]]:
    """Every exception class the package defines."""
    found = {}
    for info in pkgutil.walk_packages(infrasim.__path__, "infrasim."):
        if info.name.rpartition(".")[2] == "__main__":
            continue
        module = importlib.import_module(info.name)
        for name, value in inspect.getmembers(module, inspect.isclass):
            if issubclass(value, BaseException) and value.__module__ == module.__name__:
                found[name] = value
    return found


def drawn(text: str) -> Iterator[tuple[str, str, int]]:
    """Name, parent and exit code of everything in a drawn tree below its root."""
    above = {-1: "InfrasimError"}
    for line in _BRANCH.finditer(text):
        depth = len(line["indent"]) // 4
        above[depth] = line["name"]
        yield line["name"], above[depth - 1], int(line["code"])


def strays(found: dict[str, type[BaseException]], text: str) -> list[str]:
    """The exceptions that are neither in the tree nor named as internal."""
    named = {name for name, _, _ in drawn(text)} | set(re.findall(r"``(\w+)``", text)) | {"InfrasimError"}
    return [name for name in found if not name.startswith("_") and name not in named]


TEXT = re.sub(r"^ {4}", "", errors.__doc__ or "", flags=re.MULTILINE)


def test_every_exception_is_known() -> None:
    found = exceptions()
    assert len(found) > 10
    assert strays(found, TEXT) == []


def test_the_tree_is_as_drawn() -> None:
    found = exceptions()
    branches = list(drawn(TEXT))
    for name, parent, code in branches:
        error = found[name]
        assert issubclass(error, InfrasimError)
        assert error.__bases__ == (found[parent],), name
        assert int(error.exit_code) == code, name
    assert {name for name, error in found.items() if issubclass(error, InfrasimError)} == {
        "InfrasimError",
        *(name for name, _, _ in branches),
    }


def test_what_is_missing_is_found() -> None:
    class LostError(Exception):
        pass

    assert strays({"LostError": LostError, "_Mine": LostError}, TEXT) == ["LostError"]


@pytest.mark.parametrize("text", ["├── A  2  x\n│   └── B  2  y\n└── C  3  z\n"])
def test_how_a_tree_is_read(text: str) -> None:
    assert list(drawn(text)) == [("A", "InfrasimError", 2), ("B", "A", 2), ("C", "InfrasimError", 3)]
