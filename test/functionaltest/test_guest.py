"""The test guest by itself, without infrasim: it boots, sees a BMC over KCS, obeys the power button.

When this fails, the fault is in the guest or in the programs of the distribution.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from guest.build import Guest, build_guest
from inside import ANSWER_S, BOOT_S, answer, order
from lab import free_address

# Where QEMU finds ipmi_sim.
KCS_PORT = 9002

VBMC_CONF = """name "guest-test"
set_working_mc 0x20
  startlan 1
    addr {address} 623
    priv_limit admin
    allowed_auths_admin none md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  serial kcs {address} {kcs_port} codec VM ipmb 0x20
  user 2 true "admin" "admin" admin 10 md5
"""
EMU = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


@pytest.fixture
def bmc_address(tmp_path: Path) -> Iterator[str]:
    """A bare ipmi_sim at an address that is its own, so that nobody takes a port of it."""
    address = free_address()
    (tmp_path / "state").mkdir()
    conf, emu = tmp_path / "vbmc.conf", tmp_path / "bmc.emu"
    conf.write_text(VBMC_CONF.format(address=address, kcs_port=KCS_PORT))
    emu.write_text(EMU)
    argv = ["ipmi_sim", "-n", "-c", str(conf), "-f", str(emu), "-s", str(tmp_path / "state")]
    with (tmp_path / "ipmi_sim.log").open("wb") as log:
        bmc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield address
        assert bmc.poll() is None, (tmp_path / "ipmi_sim.log").read_text()
    finally:
        bmc.kill()
        bmc.wait()


@pytest.fixture
def console(guest: Guest, bmc_address: str, tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """The guest's serial port, at its prompt."""
    argv = [
        *("-machine", "q35", "-accel", "tcg", "-cpu", "Haswell-noTSX,-pcid", "-m", "512"),
        *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-qmp", f"unix:{tmp_path}/qmp.sock,server=on,wait=off"),
        *("-chardev", f"socket,id=ipmi0,host={bmc_address},port={KCS_PORT},reconnect=1"),
        *("-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi0", "-device", "isa-ipmi-kcs,bmc=bmc0"),
        *("-smbios", "type=1,manufacturer=Examples,product=Guest"),
        *("-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", guest.cmdline),
    ]
    terminal = pexpect.spawn("qemu-system-x86_64", argv, timeout=ANSWER_S, encoding="utf-8")
    try:
        terminal.expect_exact(guest.prompt, timeout=BOOT_S)
        yield terminal
    finally:
        terminal.close(force=True)


def press_power_button(qmp: Path) -> None:
    """Ask QEMU for ACPI power-down."""
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rw") as stream:
        connection.connect(str(qmp))
        for command in ("qmp_capabilities", "system_powerdown"):
            stream.readline()
            stream.write(json.dumps({"execute": command}) + "\n")
            stream.flush()
        stream.readline()


def test_guest_sees_its_bmc_and_its_vendor_and_obeys_the_power_button(
    console: pexpect.spawn[str], guest: Guest, tmp_path: Path
) -> None:
    device_id = answer(console, "ipmitool mc info")
    assert "Manufacturer ID           : 4753" in device_id, device_id
    assert "Product ID                : 3842" in device_id, device_id
    assert "Examples" in answer(console, "dmidecode -s system-manufacturer")
    press_power_button(tmp_path / "qmp.sock")
    console.expect(pexpect.EOF)
    console.wait()
    assert console.exitstatus == 0


def test_guest_powers_itself_off(console: pexpect.spawn[str]) -> None:
    order(console, "poweroff -f")
    console.expect(pexpect.EOF)
    console.wait()
    assert console.exitstatus == 0


def test_guest_has_drivers_for_disks_and_networks(console: pexpect.spawn[str], guest: Guest) -> None:
    loaded = answer(console, "modprobe -a ahci sd_mod nvme e1000 virtio_net && lsmod && echo all of them")
    assert loaded.rstrip().endswith("all of them"), loaded
    for driver in ("ahci", "nvme", "e1000", "virtio_net", "ipmi_si", "button"):
        assert f"\n{driver} " in loaded.replace("\r", ""), loaded


def test_second_build_is_from_the_cache_and_removes_what_nobody_used_for_a_week(
    guest: Guest, tmp_path: Path
) -> None:
    before = guest.initrd.stat().st_mtime_ns
    # A cache of its own, with the guest in it: others use the usual one meanwhile.
    made = guest.kernel.parent
    (tmp_path / made.name).symlink_to(made)
    old, young = tmp_path / "guest-0-old", tmp_path / "guest-0-young"
    for folder, age_days in ((old, 8), (young, 6)):
        folder.mkdir()
        used = time.time() - age_days * 24 * 3600
        os.utime(folder, (used, used))
    second = build_guest(tmp_path)
    assert second.kernel == tmp_path / made.name / guest.kernel.name
    assert second.initrd.stat().st_mtime_ns == before
    assert (old.exists(), young.exists()) == (False, True)
