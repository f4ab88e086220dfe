"""A node with texts of its own: BMC, files and guest tell the same, and what cannot be is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from guest.build import Guest
from inside import answer, console
from lab import NODE, Lab

from infrasim.personality.smbios import (
    Baseboard,
    Chassis,
    IpmiDevice,
    MemoryDevice,
    Processor,
    Structure,
    System,
    decode_structure,
)

UUID = "3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"
PROCESSOR = {
    "version": "Test CPU @ 2.40GHz",
    "max_speed": 3300,
    "speed": 2400,
    "sn": "CPU-1",
    "asset_tag": "CPU-TAG",
    "part_number": "CPU-PART",
    "cores": 14,
}
SMBIOS = {
    "type1": {"uuid": UUID, "sn": "SYSTEM-1", "sku_number": "SKU-1"},
    "type2": {"location": "Left Half"},
    "type4": PROCESSOR,
    "type17": [
        {"locator": "DIMM_A0", "size": 128, "manufactuer": "Hynix", "sn": "D-1", "part_number": "DIMM-PART"},
        {"locator": "DIMM_H2", "size": 384, "manufacturer": "Samsung", "asset_tag": "DIMM-TAG"},
    ],
}
BMC = {
    "chassis_pn": "CHASSIS-PART",
    "chassis_sn": "CHASSIS-1",
    "fru0": {"board": {"sn": "BOARD-1", "pn": "BOARD-PART"}, "product": {"version": "A01", "name": "P" * 63}},
    "fru1": {
        "chassis": {"sn": "CHASSIS-2"},
        "product": {"manufacturer": "Front Panels Inc", "sn": "PANEL-1"},
    },
}
OWN: dict[str, Any] = {"serial_number": "MACHINE-1", "asset_tag": "RACK7-U12", "bmc": BMC}


@pytest.fixture(scope="module")
def own(running: Lab, guest: Guest) -> Lab:
    """A node with an identity of its own, on which Linux starts."""
    kernel = {"kernel": str(guest.kernel), "initrd": str(guest.initrd), "cmdline": guest.cmdline}
    running.register(**{**OWN, "compute": {**kernel, "memory": {"size": 512}, "smbios": SMBIOS}})
    running.must("node", "restart", NODE)
    return running


def fru(home: Lab, fru_id: int) -> dict[str, str]:
    """What ``ipmitool fru print`` says of one device."""
    rows = (line.partition(" : ") for line in home.ipmi("fru", "print", str(fru_id)).splitlines())
    return {label.strip(): text.strip() for label, _, text in rows}


def structures(home: Lab) -> Iterator[Structure]:
    """The SMBIOS files of the node."""
    for path in sorted((home.home / NODE / "data" / "smbios").glob("*.bin")):
        yield decode_structure(path.read_bytes())


def test_the_bmc_tells_it(own: Lab) -> None:
    server, panel = fru(own, 0), fru(own, 1)
    wanted = {
        "Chassis Part Number": "CHASSIS-PART",
        "Chassis Serial": "CHASSIS-1",
        "Board Serial": "BOARD-1",
        "Board Part Number": "BOARD-PART",
        "Product Name": "P" * 63,
        "Product Version": "A01",
        "Product Serial": "MACHINE-1",
        "Product Asset Tag": "RACK7-U12",
    }
    assert {label: server.get(label) for label in wanted} == wanted
    assert server["Product Manufacturer"].startswith("Quanta")
    wanted = {
        "Chassis Part Number": "CHASSIS-PART",
        "Chassis Serial": "CHASSIS-2",
        "Product Manufacturer": "Front Panels Inc",
        "Product Serial": "PANEL-1",
    }
    assert {label: panel.get(label) for label in wanted} == wanted


def test_the_files_tell_it(own: Lab) -> None:
    found = list(structures(own))
    (system,) = (item for item in found if isinstance(item, System))
    assert (system.serial_number, system.uuid, system.sku_number) == ("SYSTEM-1", UUID, "SKU-1")
    (board,) = (item for item in found if isinstance(item, Baseboard))
    assert (board.serial_number, board.asset_tag, board.location) == ("MACHINE-1", "RACK7-U12", "Left Half")
    (chassis,) = (item for item in found if isinstance(item, Chassis))
    assert (chassis.serial_number, chassis.asset_tag) == ("CHASSIS-1", "RACK7-U12")
    for cpu in (item for item in found if isinstance(item, Processor)):
        assert (cpu.version, cpu.serial_number, cpu.core_count) == ("Test CPU @ 2.40GHz", "CPU-1", 14)
    modules = [item for item in found if isinstance(item, MemoryDevice) and item.size_mib]
    assert [(item.locator, item.size_mib, item.manufacturer) for item in modules] == [
        ("DIMM_A0", 128, "Hynix"),
        ("DIMM_H2", 384, "Samsung"),
    ]


def test_the_command_tells_it(own: Lab) -> None:
    told = own.must("node", "info", NODE)
    assert "SYSTEM-1" in told
    assert UUID in told
    checked = own.infrasim("config", "check", NODE)
    assert checked.code == 0
    assert (
        "compute.smbios.type17[0].manufactuer: is an old spelling (the key is 'manufacturer')" in checked.err
    )


def blocks(said: str) -> list[dict[str, str]]:
    """The structures that dmidecode prints."""
    return [
        dict(re.findall(r"^\s+([^:\n]+): (.*?)\s*$", block, re.MULTILINE))
        for block in said.split("Handle 0x")[1:]
    ]


def test_the_guest_sees_it(own: Lab, guest: Guest) -> None:
    own.ipmi("power", "on")
    with console(own, guest) as terminal:
        found = {
            number: blocks(answer(terminal, f"dmidecode -t {number}")) for number in (1, 2, 3, 4, 17, 38)
        }
        rows = [line for line in answer(terminal, "ipmitool sdr list").splitlines() if "|" in line]
        messages = answer(terminal, "dmesg | grep ipmi_si")
    (system,), (board,), (chassis,) = found[1], found[2], found[3]
    assert (system["Serial Number"], system["UUID"], system["SKU Number"]) == ("SYSTEM-1", UUID, "SKU-1")
    assert (board["Serial Number"], board["Asset Tag"]) == ("MACHINE-1", "RACK7-U12")
    assert board["Location In Chassis"] == "Left Half"
    assert (chassis["Serial Number"], chassis["Asset Tag"]) == ("CHASSIS-1", "RACK7-U12")
    assert len(found[4]) == 2
    for cpu in found[4]:
        said = [cpu[label] for label in ("Version", "Max Speed", "Current Speed", "Serial Number")]
        assert said == ["Test CPU @ 2.40GHz", "3300 MHz", "2400 MHz", "CPU-1"]
        said = [cpu[label] for label in ("Asset Tag", "Part Number", "Core Count", "Core Enabled")]
        assert said == ["CPU-TAG", "CPU-PART", "14", "14"]
        assert int(cpu["Thread Count"]) % 14 == 0
    modules = {block["Locator"]: block for block in found[17] if "MB" in block["Size"]}
    assert {locator: module["Size"] for locator, module in modules.items()} == {
        "DIMM_A0": "128 MB",
        "DIMM_H2": "384 MB",
    }
    first, last = modules["DIMM_A0"], modules["DIMM_H2"]
    assert (first["Manufacturer"], first["Serial Number"], first["Part Number"]) == (
        "Hynix",
        "D-1",
        "DIMM-PART",
    )
    assert (last["Manufacturer"], last["Asset Tag"]) == ("Samsung", "DIMM-TAG")
    # The interface to the BMC: SMBIOS, QEMU's ACPI table and the machine agree that there is no interrupt.
    assert all("Interrupt Number" not in block for block in found[38])
    assert [item.has_interrupt for item in structures(own) if isinstance(item, IpmiDevice)] == [False]
    assert "Using irq" not in messages
    assert rows == [line for line in own.ipmi("sdr", "list").splitlines() if "|" in line]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            "bmc:\n  fru7:\n    board:\n      sn: BOARD-7\n",
            "4:11: bmc.fru7.board.sn: this server has no FRU 7 (it has: 0, 1)",
        ),
        (
            f"name: {NODE}\nserial_number: {'S' * 64}\n",
            f"2:16: serial_number: FRU 0: '{'S' * 64}' takes 64 bytes; the format allows 63",
        ),
        (
            "compute:\n  smbios:\n    type17:\n      - locator: DIMM_Z9\n        size: 1024\n",
            "4:18: compute.smbios.type17[0].locator: this server has no memory slot 'DIMM_Z9' "
            "(it has: DIMM_A0, DIMM_A1, DIMM_A2, DIMM_B0, ",
        ),
        (
            "type: dell_r730\ncompute:\n  smbios:\n    type2:\n      location: left\n",
            "5:17: compute.smbios.type2.location: the baseboard in this server's SMBIOS has no location",
        ),
        (
            "bmc: {fru_0: {}}\n",
            "1:7: bmc.fru_0: unknown key 'fru_0' (did you mean 'fru0'?)",
        ),
    ],
)
def test_what_the_server_cannot_have(scratch: Lab, settings: str, problem: str) -> None:
    file = scratch.root / f"{NODE}.yml"
    file.write_text(settings)
    ran = scratch.infrasim("config", "add", NODE, str(file))
    if ran.code == 0:
        file = scratch.home / ".node_map" / f"{NODE}.yml"
        ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert f"{file}:{problem}" in ran.err
    assert "Traceback" not in ran.err
    assert not scratch.processes()
