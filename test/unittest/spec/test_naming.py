"""Exchanging the name of a node file leaves every other byte alone."""

from __future__ import annotations

import pytest

from infrasim.errors import InvalidNodeFile
from infrasim.spec.document import load_document
from infrasim.spec.naming import with_name


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("name: a\n", "name: b\n"),
        ("# name: a\r\nname:   'a'  # mine\r\ntype: x\r\n", "# name: a\r\nname:   b  # mine\r\ntype: x\r\n"),
        ("type: x\nx: {name: a}\n'name': a", "type: x\nx: {name: a}\n'name': b"),
        ("{name: a, type: x}", "{name: b, type: x}"),
        ("name: &n a\nserial: *n\n", None),
        ("name: b\n", "name: b\n"),
        ("type: x\n", "type: x\n"),
        ("name:\ntype: x\n", "name:\ntype: x\n"),
        ("name: 5\n", "name: 5\n"),
        ("name: [a]\n", "name: [a]\n"),
    ],
)
def test_with_name(text: str, changed: str | None) -> None:
    if changed is None:
        with pytest.raises(InvalidNodeFile, match=r"n.yml:1:7: name: cannot be changed to 'b' here"):
            with_name(text, "b", file="n.yml")
    else:
        assert with_name(text, "b", file="n.yml") == changed


@pytest.mark.parametrize(
    "text", ["name: |\n  a\ntype: x\n", "name: >-\n  a\n  b\ntype: x\n", "name: a\n  c\ntype: x\n"]
)
def test_a_name_over_several_lines_is_exchanged_or_refused(text: str) -> None:
    try:
        changed = with_name(text, "b", file="n.yml")
    except InvalidNodeFile as exc:
        assert "cannot be changed to 'b' here (write 'name: b')" in str(exc)
    else:
        assert load_document(changed, file="n").values == {"name": "b", "type": "x"}


def test_a_name_that_looks_like_a_number_is_quoted() -> None:
    assert with_name("name: a\n", "12", file="n.yml") == 'name: "12"\n'


def test_no_yaml() -> None:
    with pytest.raises(InvalidNodeFile, match="the file is a list"):
        with_name("- a", "b", file="n.yml")
