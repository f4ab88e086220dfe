"""Values written as YAML are read back the same; parts know where they come from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.conversion import Raw
from infrasim.personality.yamlform import Hex, Part, block, flow, items, raw_value, scalar, wrapped
from infrasim.spec.document import load_document

printable = st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=20)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**12), 10**12),
        st.floats(allow_nan=False, allow_infinity=False, width=32),
        printable,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4)
    ),
    max_leaves=20,
)


def read(text: str) -> dict[str, Any]:
    return load_document(text, file="f").values


@given(values)
def test_flow_comes_back(value: Any) -> None:
    assert read(f"a: {flow(value)}\n") == {"a": value}


@given(st.dictionaries(st.sampled_from("abcdef"), values, min_size=1, max_size=4), st.integers(1, 3))
def test_blocks_come_back(table: dict[str, Any], nested: int) -> None:
    assert read("\n".join(block(table, nested=nested))) == table


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), values, max_size=4), min_size=1, max_size=4))
def test_lists_of_items_come_back(rows: list[dict[str, Any]]) -> None:
    assert read("\n".join(items("rows", rows))) == {"rows": rows}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain text", "plain text"),
        ("0351", "0351"),
        ("351", '"351"'),
        ("on", "on"),
        ("true", '"true"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        (" x", '" x"'),
        ("x ", '"x "'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("\x00é\u2028", '"\\x00é\\u2028"'),
        (2.0, "2"),
        (5.025, "5.025"),
        (5e-05, "5.0e-05"),
        (1.5e-07, "1.5e-07"),
        (Hex(0xCA2), "0xca2"),
        (Raw(31), "raw 0x1f"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_how_values_are_written(value: Any, text: str) -> None:
    assert scalar(value) == text


def test_raw_bytes_are_told_from_text() -> None:
    assert raw_value("raw 0x1f") == Raw(31)
    assert isinstance(raw_value("raw 0x1f"), Raw)
    assert raw_value("raw 31") == "raw 31"
    assert raw_value(31) == 31


def test_long_lines_are_broken_between_items() -> None:
    row = {f"key_{number}": ["value"] * 3 for number in range(9)}
    lines = list(wrapped("- ", row, 4))
    assert max(map(len, lines)) <= 110
    assert all(line.endswith(("]", "],", "]}")) for line in lines)


def test_runs_of_items_get_a_heading() -> None:
    rows = [{"k": 1}, {"k": 2}, {"k": 2}, {"k": 2}, {"k": 3}, {"k": 3}]
    lines = list(items("rows", rows, heading=lambda row: f"kind {row['k']}"))
    assert [line for line in lines if line.startswith("#")] == ["# kind 2"]


def test_a_part_says_where_a_problem_is() -> None:
    base = load_document("rows:\n- {a: 1, b: 2}\n", file="base.yml")
    over = load_document("rows:\n- c: 3\n  b: 4\n", file="over.yml")
    inherited = Part(base.values["rows"][0], base, ("rows", 0), usual={"z": 9})  # type: ignore[index, arg-type]
    part = Part(over.values["rows"][0], over, ("rows", 0), base=inherited)  # type: ignore[index, arg-type]
    assert part.merged() == {"z": 9, "a": 1, "b": 4, "c": 3}
    assert str(part.problem("b", "wrong")) == "over.yml:3:3: rows[0].b: wrong"
    assert str(part.problem("a", "wrong")).startswith("base.yml:2:4: rows[0].a: wrong")
    assert str(part.problem("", "wrong")).startswith("over.yml:2:")
