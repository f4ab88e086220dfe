"""Every server type on the real ipmi_sim, read by the real tools, and its SMBIOS accepted by the real QEMU.

The files under ``golden/types`` are what the same tools print of ipmi_sim with the captures the types
were made from, but for serial numbers; ``INFRASIM_REFRESH_GOLDEN=1`` writes them anew.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from lab import IPMITOOL_WAITS_S, Ran, execute, free_address, wait_for

from infrasim.paths import shipped_types
from infrasim.personality.compiler import CompiledPersonality, compile_personality
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.sdr import Sensor
from infrasim.personality.smbios import dump_bytes

GOLDEN = Path(__file__).parent / "golden" / "types"
PORT = 9623
RMCP_PING = bytes.fromhex("0600ff06000011be80000000")
IDENTITY = NodeIdentity(UUID("3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"), "NODE-0001", memory_mib=3000)
CONFIGURATION = """
name "types"
set_working_mc 0x20
startlan 1
addr {address} {port}
priv_limit admin
allowed_auths_admin none md2 md5 straight
guid a123456789abcdefa123456789abcdef
endlan
user 2 true "admin" "admin" admin 10 none md2 md5 straight
"""
LISTINGS = {
    "sdr": ("sdr", "elist", "all"),
    "sensor": ("sensor", "list"),
    "event": ("sdr", "list", "event"),
    "fru": ("fru", "print"),
    "controller": ("mc", "info"),
}


def compiled(name: str) -> CompiledPersonality:
    return compile_personality(load_type(name, [shipped_types()]), IDENTITY)


def answers(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ping:
        ping.settimeout(0.2)
        ping.connect((address, PORT))
        try:
            ping.send(RMCP_PING)
            return bool(ping.recv(64))
        except OSError:
            return False


class Simulator:
    """ipmi_sim with one server type; its state outlives a stop."""

    def __init__(self, folder: Path, emu: str) -> None:
        self.folder = folder
        self.address = free_address(PORT)
        (folder / "state").mkdir()
        (folder / "t.emu").write_text(emu)
        (folder / "t.conf").write_text(CONFIGURATION.format(address=self.address, port=PORT))
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["ipmi_sim", "-c", str(self.folder / "t.conf"), "-f", str(self.folder / "t.emu")]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(
                [*words, "-s", str(self.folder / "state"), "-n"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: answers(self.address), timeout_s=180, what="ipmi_sim answers")

    def stop(self) -> None:
        if self.child is not None:
            self.child.terminate()
            self.child.wait()
            self.child = None

    def ipmitool(self, *words: str) -> str:
        options = (
            "-I",
            "lanplus",
            "-C",
            "3",
            "-N",
            str(IPMITOOL_WAITS_S),
            "-H",
            self.address,
            "-p",
            str(PORT),
            "-U",
            "admin",
            "-P",
            "admin",
        )
        ran = execute("ipmitool", *options, *words)
        assert ran.code == 0, ran
        return ran.out

    def freeipmi(self, program: str, *words: str) -> Ran:
        options = ("-h", f"{self.address}:{PORT}", "-u", "admin", "-p", "admin", "-D", "LAN_2_0", "-I", "3")
        cache = f"--sdr-cache-directory={self.folder / 'state'}"
        ran = execute(program, *options, "-W", "opensesspriv", "-l", "admin", cache, "-Q", *words)
        assert ran.code == 0, ran
        return ran


@pytest.fixture(scope="module", params=type_names([shipped_types()]))
def server_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def simulator(server_type: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    found = Simulator(tmp_path_factory.mktemp(server_type), compiled(server_type).emu)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def test_ipmi_sim_takes_every_command(simulator: Simulator) -> None:
    assert (simulator.folder / "log").read_text() == ""


@pytest.mark.parametrize("listing", LISTINGS)
def test_ipmitool_shows_what_it_shows_of_the_capture(
    simulator: Simulator, server_type: str, listing: str
) -> None:
    text = simulator.ipmitool(*LISTINGS[listing])
    path = GOLDEN / server_type / listing
    if os.environ.get("INFRASIM_REFRESH_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_freeipmi_reads_every_record_without_complaint(simulator: Simulator, server_type: str) -> None:
    # With -vv FreeIPMI 1.6.10 ends silently at records with events above 11, of a capture and of ours alike.
    sensors = simulator.freeipmi("ipmi-sensors", "-v")
    assert sensors.err == ""
    entries = load_type(server_type, [shipped_types()]).sdrs
    records = [entry.record for entry in entries if isinstance(entry.record, Sensor)]
    assert len(set(re.findall(r"^Record ID: (\d+)$", sensors.out, re.MULTILINE))) == len(records)
    inventory = simulator.freeipmi("ipmi-fru")
    assert inventory.err == ""
    assert "FRU Error" not in inventory.out


def test_the_event_log_stays_empty_over_starts(simulator: Simulator) -> None:
    listed = simulator.ipmitool("sdr", "elist", "all")
    for _ in range(2):
        assert simulator.ipmitool("sdr", "elist", "all") == listed
        assert re.search(r"Entries +: 0\n", simulator.ipmitool("sel", "info"))
        simulator.stop()
        simulator.start()


def test_serial_number_by_ipmi(simulator: Simulator) -> None:
    assert re.search(r"Product Serial +: NODE-0001\n", simulator.ipmitool("fru", "print", "0"))


def test_dmidecode_reads_the_tables(server_type: str, tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(dump_bytes(compiled(server_type).smbios))
    ran = execute("dmidecode", "--from-dump", str(tmp_path / "dump"))
    assert ran.code == 0
    assert ran.err == ""
    assert re.search(r"Serial Number: NODE-0001\n", ran.out)
    assert "UUID: 3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21\n" in ran.out
    sizes = re.findall(r"\n\tSize: (\d+) (MB|GB)\n", ran.out)
    assert sum(int(size) * (1024 if unit == "GB" else 1) for size, unit in sizes) == 3000


def test_qemu_accepts_the_structures(server_type: str, tmp_path: Path) -> None:
    found = compiled(server_type)
    words = ["qemu-system-x86_64", "-S", "-machine", "q35", "-accel", "tcg", "-m", "3000", "-nodefaults"]
    words += ["-smp", f"cpus={found.sockets},sockets={found.sockets}", "-display", "none", "-qmp", "stdio"]
    words += [
        "-device",
        "ipmi-bmc-sim,id=bmc",
        "-device",
        f"isa-ipmi-kcs,bmc=bmc,ioport={found.interface.io_port},irq={found.interface.irq}",
    ]
    for number, data in enumerate(found.smbios):
        (tmp_path / f"{number}.bin").write_bytes(data)
        words += ["-smbios", f"file={tmp_path / f'{number}.bin'}"]
    commands = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'
    ran = subprocess.run(words, input=commands, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
