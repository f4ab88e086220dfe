"""One option of QEMU's command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.qemu.element import Value, escape, option


@pytest.mark.parametrize(
    ("first", "properties", "text"),
    [
        ("", {"base": "utc"}, "base=utc"),
        ("q35", {}, "q35"),
        ("q35", {"graphics": False, "sata": True}, "q35,graphics=off,sata=on"),
        ("socket", {"path": Path("/a,b/c"), "wait": False}, "socket,path=/a,,b/c,wait=off"),
        ("ide-hd", {"serial": None, "bootindex": 0}, "ide-hd,bootindex=0"),
        (
            "",
            {"splash_time": 300, "file__driver": "file", "if_": "none"},
            "splash-time=300,file.driver=file,if=none",
        ),
        ("a,b", {}, "a,,b"),
        ("", {"z": 1, "a": 2}, "z=1,a=2"),
        ("", {"model": ""}, "model="),
    ],
)
def test_option(first: str, properties: dict[str, Value], text: str) -> None:
    assert option("-flag", first, **properties) == ("-flag", text)


@given(st.text(alphabet="a,=", max_size=12))
def test_escaped_value_reads_back(text: str) -> None:
    # QEMU's reader: a doubled comma is one comma, a single one ends the value.
    assert escape(text).replace(",,", "\0").count(",") == 0
    assert escape(text).replace(",,", ",") == text
