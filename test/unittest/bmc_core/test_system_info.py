"""System info, ACPI state, the clock, command discovery, and what manufacturers add."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

from bmc_bench import SETTINGS, Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core import table
from infrasim.bmc_core.clock import set_engine_clock
from infrasim.bmc_core.codes import NetFn
from infrasim.bmc_core.lifecycle import host_started
from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.oem.catalog import Oem
from infrasim.bmc_core.system_info import read_string

APP, STORAGE = NetFn.APP, NetFn.STORAGE
DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_a_name_in_blocks() -> None:
    bench = Bench()
    name = b"a name of twenty-four ch"
    assert bench.ask(APP, 0x58, b"\x02\x00\x00\x18" + name[:14]) == b"\x00"
    assert bench.ask(APP, 0x58, b"\x02\x01" + name[14:]) == b"\x00"
    assert bench.ask(APP, 0x59, b"\x00\x02\x00\x00") == b"\x00\x11\x00\x00\x18" + name[:14]
    assert bench.ask(APP, 0x59, b"\x00\x02\x01\x00") == b"\x00\x11\x01" + name[14:] + bytes(6)
    assert bench.ask(APP, 0x59, b"\x00\x02\x11\x00") == b"\xc9"
    assert bench.ask(APP, 0x59, b"\x80\x02\x00\x00") == b"\x00\x11"
    assert bench.ask(APP, 0x59, b"\x00\x08\x00\x00") == b"\x80"
    assert read_string(Bench(state=bench.bmc.state).bmc.system_info, 2) == name


def test_the_firmware_version_is_the_servers() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, system_firmware="2.1.7"))
    assert bench.ask(APP, 0x59, b"\x00\x01\x00\x00") == b"\x00\x11\x00\x00\x052.1.7" + bytes(9)


def test_the_name_of_the_running_system_is_forgotten_with_it() -> None:
    bench = Bench()
    bench.ask(APP, 0x58, b"\x03\x00\x00\x05Linux")
    bench.ask(APP, 0x58, b"\x04\x00\x00\x05Linux")
    host_started(bench.bmc)
    assert read_string(bench.bmc.system_info, 3) == b"Linux"
    assert read_string(bench.bmc.system_info, 4) == b""


def test_acpi_state() -> None:
    bench = Bench()
    assert bench.ask(APP, 0x07) == b"\x00\x05\x2a"
    bench.chassis.on = True
    assert bench.ask(APP, 0x07) == b"\x00\x00\x2a"
    assert bench.ask(APP, 0x06, b"\x83\x03") == b"\x00"
    assert bench.ask(APP, 0x07) == b"\x00\x03\x2a"
    assert bench.ask(APP, 0x06, b"\xff\x81") == b"\x00"
    assert bench.ask(APP, 0x07) == b"\x00\x03\x01"
    assert bench.ask(APP, 0x06, b"\x8b\x00") == b"\xcc"
    bench.chassis.on = False
    assert bench.ask(APP, 0x07) == b"\x00\x05\x01", "software said S3, which is not off"
    assert bench.ask(APP, 0x06, b"\x8a\x00") == b"\x00"
    assert bench.ask(APP, 0x07) == b"\x00\x0a\x01", "S5 by override"
    bench.chassis.on = True
    host_started(bench.bmc)
    assert bench.ask(APP, 0x07) == b"\x00\x00\x2a"


def test_the_clock_is_kept_as_a_difference() -> None:
    bench = Bench()
    assert bench.ask(STORAGE, 0x49, (1_800_000_000).to_bytes(4, "little")) == b"\x00"
    assert [each[1] for each in bench.engine.asked] == [0x29, 0x49]
    again = Bench(state=bench.bmc.state)
    again.clock.advance(60)
    asyncio.run(set_engine_clock(again.bmc))
    assert again.engine.asked[1] == (STORAGE, 0x49, (1_800_000_060).to_bytes(4, "little"))


def test_a_clock_that_was_refused_is_not_kept() -> None:
    bench = Bench()
    bench.engine.answers[(STORAGE, 0x49)] = Refused(0xC0)
    assert bench.ask(STORAGE, 0x49, bytes(4)) == b"\xc0"
    assert bench.bmc.state.clock.offset_s == 0


def test_utc_offset() -> None:
    bench = Bench()
    assert bench.ask(STORAGE, 0x5C) == b"\x00\xff\x07"
    assert bench.ask(STORAGE, 0x5D, (-60).to_bytes(2, "little", signed=True)) == b"\x00"
    assert bench.ask(STORAGE, 0x5C) == b"\x00\xc4\xff"
    assert bench.ask(STORAGE, 0x5D, (1441).to_bytes(2, "little")) == b"\xc9"
    assert bench.ask(STORAGE, 0x5D, b"\xff\x07") == b"\x00"
    assert bench.ask(STORAGE, 0x5C) == b"\x00\xff\x07"


def test_commands_are_told_from_the_table() -> None:
    bench = Bench()
    netfns = int.from_bytes(bench.ask(APP, 0x09, b"\x0e")[2:6], "little")
    assert bench.ask(APP, 0x09, b"\x0e")[:2] == b"\x00\x01"
    assert netfns == sum({1 << (netfn >> 1) for netfn, _number in bench.bmc.commands})
    missing = int.from_bytes(bench.ask(APP, 0x0A, b"\x0e\x06\x00")[1:], "little")
    for number in range(0x80):
        assert bool(missing >> number & 1) is ((APP, number) not in bench.bmc.commands)
    assert bench.ask(APP, 0x0A, b"\x0e\x06\x01") == b"\x00" + b"\xff" * 16
    assert bench.ask(APP, 0x0A, b"\x0e\x46\x00") == b"\x00" + b"\xff" * 16
    assert bench.ask(APP, 0x0C, b"\x0e\x06\x00") == bytes(17)
    enabled = bench.ask(APP, 0x61, b"\x0e\x06\x00")[1:]
    assert bench.ask(APP, 0x60, b"\x0e\x06\x00" + enabled) == b"\x00"
    assert bench.ask(APP, 0x60, b"\x0e\x06\x00" + bytes(16)) == b"\xcc"
    assert bench.ask(APP, 0x0B, b"\x0e\x06\x00\x01") == bytes(5)
    assert bench.ask(APP, 0x0B, b"\x0e\x06\x00\x7f") == b"\xcc"
    assert bench.ask(APP, 0x62, b"\x0e\x06\x00\x01" + b"\xff" * 4) == b"\x00"
    assert bench.ask(APP, 0x62, b"\x0e\x06\x00\x01" + bytes(4)) == b"\xcc"
    assert bench.ask(APP, 0x62, b"\x0e\x06\x00\x7f" + bytes(4)) == b"\x00", "there is none, and it stays so"
    assert bench.ask(APP, 0x62, b"\x05\x06\x00\x7f" + bytes(4)) == b"\xcc"
    assert bench.ask(APP, 0x09, b"\x05") == b"\xcc"


def test_dell_has_a_display() -> None:
    bench = Bench(dataclasses.replace(SETTINGS, manufacturer=674, model="PowerEdge R730"))
    assert bench.ask(APP, 0x59, b"\x00\xdd\x02\x00")[11] == 0x20
    assert read_string(bench.bmc.system_info, 0xD1) == b"PowerEdge R730"
    assert bench.ask(APP, 0x59, b"\x00\xc2\x00\x00") == b"\x00\x11\x01" + bytes(11)
    assert bench.ask(APP, 0x58, b"\xcf" + bytes(6)) == b"\x82"
    other = Bench(dataclasses.replace(SETTINGS, manufacturer=7244))
    assert other.ask(APP, 0x59, b"\x00\xd1\x00\x00") == b"\x80"


def test_the_documented_oem_command(monkeypatch: Any) -> None:
    text = (DOCS / "bmc.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    acme: Oem = names["ACME"]
    monkeypatch.setattr(table, "oem", lambda _manufacturer: acme)
    bench = Bench()
    assert bench.ask(0x30, 0x01, b"\x0a") == b"\x00\x0a"
    assert bench.chassis.orders == ["identify 10.0"]
    assert bench.ask(0x30, 0x01, b"\xff") == b"\xc9"


@given(
    st.sampled_from(
        [
            *((APP, each) for each in (6, 7, *range(9, 14), 0x58, 0x59, 0x60, 0x61, 0x63)),
            *((STORAGE, each) for each in (0x29, 0x49, 0x5C, 0x5D)),
        ]
    ),
    st.binary(max_size=40),
)
def test_any_data_is_answered(command: tuple[int, int], data: bytes) -> None:
    assert Bench().ask(*command, data)
