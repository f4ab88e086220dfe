"""The BMC's two doors show one BMC: what Linux sets over KCS is true on the LAN, and the other way round.

One boot of the guest serves the module; what ends its system comes last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from guest.build import Guest
from inside import Inside, guest_settings, order, shell
from lab import NODE, Lab, wait_for

RESET_S = 1


@pytest.fixture(scope="module")
def inside(running: Lab, guest: Guest) -> Iterator[Inside]:
    """A shell in the guest of the shared node."""
    running.register(compute=guest_settings(guest), bmc={"reset_time": RESET_S})
    running.must("node", "restart", NODE)
    with shell(running, guest) as found:
        # Not even what the kernel thinks of an NMI is to stand in the middle of an answer; dmesg has it.
        found.run("echo 0 >/proc/sys/kernel/printk")
        yield found


def stable(text: str) -> str:
    """Without what changes from one moment to the next."""
    return re.sub(r"(Active Session Count|active sessions) +: \d+", "", text)


SAME = (
    "mc info",
    "mc guid",
    "mc getsysinfo system_fw_version",
    "chassis status",
    "chassis policy list",
    "chassis poh",
    "chassis restart_cause",
    "chassis bootparam get 5",
    "user list 1",
    "user summary 1",
    "channel info 0",
    "channel info 1",
    "channel info 15",
    "channel getaccess 1 2",
    "lan print 1",
    "lan alert print 1",
    "sol info 1",
    "sol payload status 1 2",
    "sel info",
    "sdr info",
    "sdr list all",
    "sdr elist",
    "sdr type Temperature",
    "sdr entity 7",
    "sensor get Temp_Ambient_FP",
    "fru print",
    "pef info",
    "pef filter list",
    "pef policy list",
    "raw 0x0a 0x23 0 0 1 0 0 12",
)


@pytest.mark.parametrize("words", SAME)
def test_both_doors_show_the_same(running: Lab, inside: Inside, words: str) -> None:
    said = inside.ipmi(words)
    assert said.strip()
    assert stable(said) == stable(running.ipmi(*words.split()))


def test_a_user_made_in_the_guest_logs_in_over_the_lan_at_once(running: Lab, inside: Inside) -> None:
    inside.ipmi("user set name 3 inmate")
    inside.ipmi("user set password 3 letmein")
    inside.ipmi("channel setaccess 1 3 callin=on link=on ipmi=on privilege=3")
    inside.ipmi("user enable 3")
    for options in (("-I", "lan"), ("-I", "lanplus", "-C", "3"), ("-I", "lanplus", "-C", "17")):
        ran = running.ipmitool(
            "mc", "guid", options=(*options, "-L", "OPERATOR"), user="inmate", password="letmein"
        )
        assert ran.code == 0, ran
    inside.ipmi("user set password 3 0123456789abcdefghij 20")
    ran = running.ipmitool(
        "mc",
        "guid",
        options=("-I", "lanplus", "-L", "OPERATOR"),
        user="inmate",
        password="0123456789abcdefghij",
    )
    assert ran.code == 0, ran
    inside.ipmi("user disable 3")
    ran = running.ipmitool(
        "mc",
        "guid",
        options=("-I", "lanplus", "-L", "OPERATOR"),
        user="inmate",
        password="0123456789abcdefghij",
    )
    assert ran.code != 0


def test_boot_flags_are_one(running: Lab, inside: Inside) -> None:
    inside.ipmi("chassis bootdev cdrom options=persistent,efiboot")
    assert "Boot parameter data: e014000000" in running.ipmi("chassis", "bootparam", "get", "5")
    assert running.status()["host"]["boot_override"] == "cdrom"
    running.ipmi("chassis", "bootdev", "bios")
    assert "Boot parameter data: 8018000000" in inside.ipmi("chassis bootparam get 5")
    inside.ipmi("chassis bootmbox set text 7244 greetings")
    assert "greetings" in running.ipmi("chassis", "bootmbox", "get", "text")
    inside.ipmi("chassis bootdev none")
    assert running.status()["host"]["boot_override"] is None


def test_policy_identify_and_names_are_one(running: Lab, inside: Inside) -> None:
    inside.ipmi("chassis policy previous")
    assert "previous" in running.ipmi("chassis", "status")
    running.ipmi("chassis", "policy", "always-on")
    assert "always-on" in inside.ipmi("chassis status")
    inside.ipmi("chassis identify force")
    assert running.status()["host"]["identify"] is True
    inside.ipmi("chassis identify 0")
    assert running.status()["host"]["identify"] is False
    for name in ("primary_os_name", "os_name", "system_name"):
        inside.ipmi(f"mc setsysinfo {name} Guest-{name}")
        assert f"Guest-{name}" in running.ipmi("mc", "getsysinfo", name)
    running.ipmi("mc", "setsysinfo", "system_fw_version", "9.9")
    assert "9.9" in inside.ipmi("mc getsysinfo system_fw_version")


def test_lan_and_sol_settings_are_one(running: Lab, inside: Inside) -> None:
    inside.ipmi("lan set 1 snmp from-inside")
    inside.ipmi("lan set 1 defgw ipaddr 10.0.0.254")
    printed = running.ipmi("lan", "print", "1")
    assert re.search(r"SNMP Community String +: from-inside\n", printed)
    assert re.search(r"Default Gateway IP +: 10\.0\.0\.254\n", printed)
    running.ipmi("lan", "set", "1", "snmp", "public")
    assert re.search(r"SNMP Community String +: public\n", inside.ipmi("lan print 1"))
    inside.ipmi("sol set retry-interval 30 1")
    assert re.search(r"Retry Interval \(ms\) +: 300\n", running.ipmi("sol", "info", "1"))


def test_the_guest_can_close_the_lan_and_open_it_again(running: Lab, inside: Inside) -> None:
    inside.ipmi("lan set 1 access off")
    assert running.ipmitool("mc", "guid", options=("-I", "lanplus", "-N", "1", "-R", "1")).code != 0
    inside.ipmi("lan set 1 access on")
    assert running.ipmitool("mc", "guid").code == 0


def test_events_are_one(running: Lab, inside: Inside) -> None:
    inside.ipmi("sel clear")
    inside.ipmi("event 1")
    running.ipmi("event", "2")
    inside.ipmi("event 3")
    seen = inside.ipmi("sel elist")
    assert seen.count(" | ") >= 3 * 4
    assert [line for line in seen.splitlines() if "|" in line] == [
        line for line in running.ipmi("sel", "elist").splitlines() if "|" in line
    ]
    running.ipmi("sel", "delete", "2")
    assert "Voltage" not in inside.ipmi("sel elist")
    running.ipmi("sel", "time", "set", "01/02/30 03:04:05")
    assert "01/02/30 03:0" in inside.ipmi("sel time get")
    inside.ipmi("sel time set now")
    running.ipmi("sel", "clear")
    assert "no entries" in inside.run("ipmitool sel list").out


def test_thresholds_and_a_field_of_the_fru_are_one(running: Lab, inside: Inside) -> None:
    running.ipmi("sensor", "thresh", "Temp_Ambient_FP", "unc", "31")
    assert re.search(
        r"Upper non-critical +: 31\.000", inside.ipmi("sensor get Temp_Ambient_FP"), re.IGNORECASE
    )
    inside.ipmi("sensor thresh Temp_Ambient_FP unc 32")
    seen = running.ipmi("sensor", "get", "Temp_Ambient_FP")
    assert re.search(r"Upper non-critical +: 32\.000", seen, re.IGNORECASE)
    before = re.search(r"Board Part Number +: (\S+)\n", running.ipmi("fru", "print", "0"))
    assert before
    changed = before.group(1)[::-1]
    inside.run(f"ipmitool fru edit 0 field b 3 {changed}")
    assert re.search(rf"Board Part Number +: {changed}\n", running.ipmi("fru", "print", "0"))


def test_the_event_buffer_and_the_global_enables(running: Lab, inside: Inside) -> None:
    """Switched on by the guest; ipmitool 1.8.19 passes over options of setenables, so by number.

    The interrupt and event buffer bits (0 to 2) are Linux's own: its driver sets them again when it finds
    them changed, so only the others are compared once they were.
    """
    inside.raw(6, 0x2E, 0x4C)
    told = running.ipmi("mc", "getenables")
    for name in ("Event Message Buffer", "System Event Logging", "OEM 1"):
        assert re.search(rf"^{name} +: enabled$", told, re.MULTILINE)
    running.ipmi("sel", "clear")
    inside.raw(6, 0x2E, 0x40)
    running.ipmi("event", "1")
    running.ipmi("sensor", "thresh", "Temp_Ambient_FP", "unc", "20")
    running.ipmi("sensor", "thresh", "Temp_Ambient_FP", "unc", "41")
    assert re.search(r"Entries +: 0\n", running.ipmi("sel", "info")), "the guest wants no log"
    inside.raw(6, 0x2E, 0x08)
    assert running.raw(6, 0x2F)[0] & ~0x07 == 0x08
    running.ipmi("event", "1")
    assert re.search(r"Entries +: 1\n", running.ipmi("sel", "info"))
    refused = running.ipmitool("raw", "6", "0x2e", "0x0e")
    assert refused.code != 0, "enables belong to the system interface"


def test_the_guest_reaches_satellites(running: Lab, inside: Inside) -> None:
    assert inside.ipmi("-t 0x2c mc info") == running.ipmi("-t", "0x2c", "mc", "info")


def test_the_guest_has_no_session(inside: Inside) -> None:
    assert inside.run("ipmitool raw 6 0x3b 4").code != 0
    assert inside.raw(6, 0x42, 0x0E)[0] == 0x0F, "this channel is the system interface"


def test_a_diagnostic_interrupt_reaches_the_guests_kernel(running: Lab, inside: Inside) -> None:
    inside.run("dmesg -c >/dev/null")
    running.ipmi("chassis", "power", "diag")
    wait_for(lambda: "NMI" in inside.run("dmesg").out, what="the kernel's word about the NMI")


def test_the_watchdogs_warning_reaches_the_guest(running: Lab, inside: Inside) -> None:
    running.ipmi("sel", "clear")
    # SMS/OS, power off with a warning by NMI, four minutes each: the warning comes at once.
    inside.run("dmesg -c >/dev/null")
    inside.raw(6, 0x24, 4, 0x22, 240, 0, 0x60, 0x09)
    inside.raw(6, 0x22)
    wait_for(lambda: "NMI" in inside.run("dmesg").out, what="the kernel's word about the NMI")
    inside.ipmi("mc watchdog off")
    assert "Timer interrupt" in running.ipmi("sel", "elist")
    # A warning by message: the flag that the driver reads, before anybody takes it.
    inside.raw(6, 0x24, 4, 0x30, 240, 0, 0x60, 0x09)
    inside.raw(6, 0x22)
    wait_for(lambda: running.ipmi("sel", "elist").count("Timer interrupt") == 2, what="the second warning")
    assert "Started/Running" in running.ipmi("mc", "watchdog", "get")
    inside.ipmi("mc watchdog off")
    assert "Stopped" in running.ipmi("mc", "watchdog", "get")


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_a_reset_of_the_bmc_takes_every_door_away_and_brings_all_back(
    running: Lab, inside: Inside, kind: str
) -> None:
    running.ipmi("lan", "set", "1", "snmp", kind)
    running.ipmi("chassis", "bootdev", "pxe", "options=persistent")
    running.ipmi("user", "set", "name", "5", f"kept-{kind}")
    pid = running.pid("qemu")
    backs = running.count("bmc-back")
    inside.ipmi("mc reset", kind)

    def is_away() -> bool:
        # A guest that is quick asks before the BMC goes, a slow one when it is back again.
        return inside.run("ipmitool raw 6 1").code != 0 or running.count("bmc-back") > backs

    wait_for(is_away, what="the BMC's leaving")
    wait_for(lambda: running.count("bmc-back") > backs, what="the BMC's return")
    wait_for(lambda: inside.run("ipmitool raw 6 1").code == 0, what="KCS again")
    for said in (inside.ipmi("lan print 1"), running.ipmi("lan", "print", "1")):
        assert re.search(rf"SNMP Community String +: {kind}\n", said)
    assert "Boot parameter data: c004000000" in inside.ipmi("chassis bootparam get 5")
    assert f"kept-{kind}" in running.ipmi("user", "list", "1")
    assert running.pid("qemu") == pid, "the host goes on"
    running.ipmi("lan", "set", "1", "snmp", "public")
    running.ipmi("chassis", "bootdev", "none")


def test_a_killed_supervisor_comes_back_to_the_guest(running: Lab, inside: Inside) -> None:
    running.ipmi("user", "set", "name", "6", "survivor")
    inside.ipmi("chassis bootdev disk options=persistent")
    wait_for(lambda: "7375727669766f72" in str(running.kept()["users"]), what="the user on disk")
    wait_for(lambda: running.kept()["boot"]["flags"].startswith("c0"), what="the flags on disk")
    running.kill("supervisor")
    assert running.status()["state"] == "degraded"
    assert inside.run("ipmitool raw 6 1").code != 0, "nobody is behind KCS"
    running.must("node", "start", NODE)
    wait_for(lambda: inside.run("ipmitool raw 6 1").code == 0, what="KCS again")
    assert "survivor" in inside.ipmi("user list 1")
    assert "Boot parameter data: c008000000" in running.ipmi("chassis", "bootparam", "get", "5")
    inside.ipmi("chassis bootdev none")


def test_a_reset_by_the_watchdog_that_the_guest_set(running: Lab, inside: Inside, guest: Guest) -> None:
    """Last: the guest's system ends."""
    running.ipmi("sel", "clear")
    boots = running.serial().count("SeaBIOS (")
    inside.raw(6, 0x24, 4, 0x01, 0, 0x10, 10, 0)
    order(inside.terminal, "ipmitool raw 6 0x22")
    wait_for(lambda: running.serial().count("SeaBIOS (") > boots, what="another boot")
    assert "Hard reset" in running.ipmi("sel", "elist")
    assert "watchdog" in running.ipmi("chassis", "restart_cause")
