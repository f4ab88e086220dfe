"""What racadm says of two servers, whole, in golden files; and that it agrees with what it is made from."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from racadm_bench import bmc_of

from infrasim.personality.smbios import MemoryDevice, Processor, System
from infrasim.racadm.parts import of_kind
from infrasim.racadm.ports import Session
from infrasim.racadm.shell import run

MakeSession = Callable[..., Session]
Golden = Callable[[str, str], None]

MORE = """
asset_tag: RACK7-U12
compute:
  memory: {size: 8192}
  firmware: uefi
  secure_boot: true
  tpm: "2.0"
  networks:
    - {device: e1000e}
    - {device: virtio-net-pci, network_mode: none}
    - {device: igb, network_mode: none}
  storage_backend:
    - type: megasas-gen2
      drives:
        - {size: 4, vendor: SEAGATE, product: ST600MM0006, version: LS08, serial: S0M1A2B3,
           rotation_rate: 10500, wwn: 0x5000c50015ea71ac}
        - {size: 2, rotation_rate: 1, scsi-id: 5, lun: 3}
    - {type: nvme, serial: NV0001, size: 1}
    - type: ahci
      drives: [{size: 3, model: SATADOM, serial: SD7}]
  cdrom: /srv/a.iso
"""
COMMANDS = (
    "getsysinfo",
    "getsysinfo -s",
    "getversion",
    "getniccfg",
    "getsvctag",
    "getractime",
    "getled",
    "get BIOS",
    "get BIOS.SysInformation",
    "get BIOS.MemSettings",
    "get BIOS.ProcSettings",
    "get BIOS.BiosBootSettings",
    "get BIOS.SysSecurity",
    "get IDRAC",
    "get iDRAC.Info",
    "get iDRAC.IPv4",
    "get iDRAC.NIC.1",
    "get iDRAC.Users.2",
    "get iDRAC.Users.3",
    "get iDRAC.Users.4.Enable",
    "get iDRAC.ServerBoot",
    "get LifeCycleController",
    "get LifeCycleController.LCAttributes",
    "hwinventory",
    "hwinventory nic",
    "hwinventory nic.Integrated.1-2-1",
    "hwinventory NIC.Integrated.1-9-1",
    "storage get pdisks",
    "storage get pdisks -o",
    "raid get pdisks -o -p size,SerialNumber",
    "storage get controllers -o",
    "storage get vdisks",
    "getsensorinfo",
    "getsel",
    "getsel -i",
    "getsel -s 2 -c 1 -o",
    "serveraction powerstatus",
    "help",
    "help storage",
)


@pytest.mark.parametrize(("server_type", "more"), [("dell_r730", MORE), ("dell_c6320", "")])
def test_every_answer(server_type: str, more: str, make_session: MakeSession, golden: Golden) -> None:
    session = make_session(server_type, more)
    # A fan went low, and somebody cleared the log before.
    bmc_of(session).log = [
        bytes.fromhex("0100 02 80a5b06a 2000 04 10 72 6f 02ffff".replace(" ", "")),
        bytes.fromhex("0200 02 90a5b06a 2000 04 04 30 01 52 10 20".replace(" ", "")),
        bytes.fromhex("0300 c0 a0a5b06a a20200 010203040506".replace(" ", "")),
    ]
    said = []
    for command in COMMANDS:
        found = run(session, f"racadm {command}")
        said.append(f"### {command} -> {found.code}\n{found.text}\n")
    golden(f"racadm/{server_type}.txt", "\n".join(said))


def pairs(text: str) -> dict[str, str]:
    """Every ``Key = Value`` of an answer."""
    found = re.findall(r"^ *(\S.*?) *= ?(.*)$", text, re.MULTILINE)
    return dict(found)


def ask(session: Session, command: str) -> str:
    answer = run(session, f"racadm {command}")
    assert answer.code == 0, answer.text
    return answer.text


@pytest.mark.parametrize("server_type", ["dell_r630", "dell_r730", "dell_r730xd", "dell_c6320"])
def test_the_server_is_the_one_that_smbios_describes(server_type: str, make_session: MakeSession) -> None:
    session = make_session(server_type)
    structures = session.server.structures
    (system,) = of_kind(structures, System)
    said = pairs(ask(session, "getsysinfo"))
    assert said["Service Tag"] == system.serial_number == ask(session, "getsvctag") == "HG2H8D2"
    assert said["Express Svc Code"] == "37976921750"
    assert said["System Model"] == session.server.hardware.product
    inventory = ask(session, "hwinventory")
    assert inventory.count("Device Type = CPU\n") == sum(
        processor.is_populated for processor in of_kind(structures, Processor)
    )
    installed = [module for module in of_kind(structures, MemoryDevice) if module.size_mib]
    assert inventory.count("Device Type = Memory\n") == len(installed)
    assert sum(map(int, re.findall(r"^Size = (\d+) MB$", inventory, re.MULTILINE))) == sum(
        module.size_mib for module in installed
    )


def test_names_are_unique_and_every_part_has_one(make_session: MakeSession) -> None:
    session = make_session("dell_r730", MORE)
    names = re.findall(r"^\[InstanceID: (.*)\]$", ask(session, "hwinventory"), re.MULTILINE)
    assert len(set(names)) == len(names)
    disks = ask(session, "storage get pdisks").splitlines()
    assert set(disks) <= set(names)
    hardware = session.server.hardware
    assert len(disks) == sum(
        drive.kind == "disk" for controller in hardware.controllers for drive in controller.drives
    )
    for card in hardware.cards:
        assert card.mac.upper() in ask(session, "hwinventory nic")


def test_several_units_of_one_target_have_bays_of_their_own(make_session: MakeSession) -> None:
    drives = "[{size: 1, scsi-id: 1, lun: 0}, {size: 1, scsi-id: 1, lun: 1}]"
    session = make_session(
        "dell_r730", f"compute: {{storage_backend: [{{type: megasas, drives: {drives}}}]}}"
    )
    assert ask(session, "storage get pdisks").splitlines() == [
        "Disk.Bay.0:Enclosure.Internal.0-1:RAID.Integrated.1-1",
        "Disk.Bay.1:Enclosure.Internal.0-1:RAID.Integrated.1-1",
    ]


def test_a_server_without_disks_and_cards_has_none(make_session: MakeSession) -> None:
    session = make_session("dell_r730", "compute: {storage_backend: [], networks: []}")
    assert ask(session, "storage get pdisks") == ""
    assert ask(session, "hwinventory nic") == ""
    assert ask(session, "getsysinfo -s").endswith("Embedded NIC MAC Addresses:")


@pytest.mark.parametrize(
    ("states", "status"),
    [(0x00, "Ok"), (0x01, "Warning"), (0x08, "Warning"), (0x02, "Critical"), (0x20, "Critical")],
)
def test_a_sensor_across_its_thresholds(session: Session, states: int, status: str) -> None:
    fan = next(
        line for line in ask(session, "getsensorinfo").splitlines() if line.startswith("System Board Fan1 ")
    )
    assert re.split(r" {2,}", fan)[1] == "Warning", "as the BMC of this test has it for all"
    bmc_of(session).readings = {number: bytes([0x20, 0xC0, states, 0]) for number in range(256)}
    fan = next(
        line for line in ask(session, "getsensorinfo").splitlines() if line.startswith("System Board Fan1 ")
    )
    assert re.split(r" {2,}", fan)[1] == status


def test_a_sensor_that_does_not_tell_is_said_to(session: Session) -> None:
    bmc_of(session).readings = {number: bytes([0, 0x20, 0, 0]) for number in range(256)}
    fan = next(
        line for line in ask(session, "getsensorinfo").splitlines() if line.startswith("System Board Fan1 ")
    )
    assert re.split(r" {2,}", fan)[1:3] == ["N/A", "NA"]


def test_an_event_log_that_goes_round_in_circles_ends(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infrasim.racadm import events

    monkeypatch.setattr(events, "_RECORDS_MOST", 7)
    bmc = bmc_of(session)
    entry = bytes.fromhex("010002") + bytes(13)
    bmc.log = [entry]
    answer = bmc.ask
    monkeypatch.setattr(
        bmc, "ask", lambda *words: b"\0\0" + entry if words[:2] == (0x0A, 0x43) else answer(*words)
    )
    assert ask(session, "getsel").count("Record:") == 7
