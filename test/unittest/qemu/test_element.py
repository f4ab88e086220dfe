"""One option of QEMU's command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.qemu.element import Device, Value, escape, option


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


def test_device_has_the_names_of_qemu_and_a_place_in_the_order_of_boot() -> None:
    device = Device(
        "ide-hd", "sata0-1", "k", {"bus": "sata0.1", "rotation_rate": 7200, "serial": None, "wait": True}
    )
    assert device.argv() == ("-device", "ide-hd,id=sata0-1,bus=sata0.1,rotation_rate=7200,wait=on")
    assert device.argv(0)[1].endswith(",wait=on,bootindex=0")


@given(st.text(alphabet="a,=", max_size=12))
def test_escaped_value_reads_back(text: str) -> None:
    # QEMU's reader: a doubled comma is one comma, a single one ends the value.
    assert escape(text).replace(",,", "\0").count(",") == 0
    assert escape(text).replace(",,", ",") == text
