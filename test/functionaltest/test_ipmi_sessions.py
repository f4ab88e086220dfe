"""Sessions and channels: every way in, what a session tells, channel access, keys, ciphers, raw requests.

Who may log in is in test_ipmi_users.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pexpect
import pytest
from lab import IPMITOOL_WAITS_S, NODE, Lab, wait_for

DOORS = {
    "as-it-comes": (),
    "lan": ("-I", "lan"),
    "lanplus": ("-I", "lanplus"),
    "suite-3": ("-I", "lanplus", "-C", "3"),
    "suite-17": ("-I", "lanplus", "-C", "17"),
}
# What each area of commands has of its own, with what must be in its output.
WORDS = {
    "power status": "Chassis Power is",
    "chassis status": "Power Restore Policy",
    "chassis bootparam get 5": "Boot Device Selector",
    "mc info": "Manufacturer ID           : 7244",
    "mc guid": "System GUID",
    "mc guid ipmi": "System GUID",
    "mc guid rfc4122": "GUID Encoding : SMBIOS",
    "mc guid dump": "System GUID",
    "mc selftest": "passed",
    "mc getenables": "System Event Logging",
    "mc getsysinfo system_fw_version": "S2B_",
    "chassis policy list": "previous",
    "chassis poh": "POH Counter",
    "chassis restart_cause": "System restart cause",
    "chassis bootmbox get": "Block",
    "sdr type list": "Temperature",
    "sdr entity 7": "ok",
    "sdr get Temp_Ambient_FP": "Air Inlet",
    "sensor get Temp_Ambient_FP": "Upper Critical",
    "user summary 1": "Maximum IDs",
    "channel authcap 1 4": "MD5 PASSWORD",
    "channel getaccess 1 2": "ADMINISTRATOR",
    "channel getciphers sol 1": "hmac_sha256",
    "lan alert print 1 1": "PET Trap",
    "sol payload status 1 2": "enabled",
    "dcmi discover": "Power management available",
    "dcmi sensors": "Inlet",
    "dcmi asset_tag": "Asset tag",
    "dcmi get_mc_id_string": "DCMI",
    "dcmi get_conf_param": "Initial timeout interval",
    "dcmi power get_limit": "Power Limit",
    "pef filter list": "enabled",
    "pef policy list": "PET",
    "pef status": "PEF",
    "mc watchdog get": "Watchdog Timer Is",
    "sel info": "Entries",
    "sdr info": "Record Count",
    "sdr list": "Temp_Ambient_FP",
    "sensor reading Temp_Ambient_FP": "25",
    "fru print 0": "Board Serial",
    "lan print 1": "MAC Address",
    "user list 1": "admin",
    "channel info 1": "802.3 LAN",
    "channel getciphers ipmi 1": "hmac_sha256",
    "session info active": "user id                       : 2",
    "sol info 1": "Payload Port                    : 623",
    "pef info": "Alert",
    "raw 6 1": " 20 01",
}


@pytest.fixture
def client(running: Lab) -> Iterator[pexpect.spawn[str]]:
    """A session that stays: ipmitool's shell."""
    patience = ("-N", str(IPMITOOL_WAITS_S))
    login = ["-I", "lanplus", *patience, "-H", running.address, "-U", "admin", "-P", "admin"]
    shell = pexpect.spawn("ipmitool", [*login, "shell"], timeout=180, encoding="latin-1")
    shell.expect_exact("ipmitool> ")
    try:
        yield shell
    finally:
        shell.close(force=True)


def active(home: Lab) -> int:
    """How many sessions there are."""
    found = re.search(r"Active Session Count +: (\d+)\n", home.ipmi("channel", "info", "1"))
    assert found
    return int(found.group(1))


@pytest.fixture(scope="module")
def by_lanplus(running: Lab) -> dict[str, str]:
    """What everything says over the usual door."""
    return {words: running.ipmi(*words.split()) for words in WORDS}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_shows_the_same(running: Lab, by_lanplus: dict[str, str], door: str) -> None:
    for words, wanted in WORDS.items():
        said = running.ipmi(*words.split(), options=DOORS[door])
        assert wanted in said, words
        if words not in ("session info active", "sel info", "channel info 1"):
            assert said == by_lanplus[words], words


@pytest.mark.parametrize("door", DOORS)
def test_what_is_set_by_one_door_is_seen_by_the_others(running: Lab, door: str) -> None:
    options = DOORS[door]
    running.ipmi("chassis", "bootdev", "cdrom", options=options)
    assert running.status()["host"]["boot_override"] == "cdrom"
    running.ipmi("user", "set", "name", "9", f"by-{door}"[:16], options=options)
    running.ipmi("lan", "set", "1", "snmp", door, options=options)
    running.ipmi("sol", "set", "retry-count", "3", "1", options=options)
    for other in DOORS.values():
        assert f"by-{door}"[:16] in running.ipmi("user", "list", "1", options=other)
        assert re.search(
            rf"SNMP Community String +: {door}\n", running.ipmi("lan", "print", "1", options=other)
        )
        assert "CD/DVD" in running.ipmi("chassis", "bootparam", "get", "5", options=other)
        assert re.search(r"Retry Count +: 3\n", running.ipmi("sol", "info", "1", options=other))
    running.ipmi("chassis", "bootdev", "none", options=options)
    assert running.status()["host"]["boot_override"] is None
    running.ipmi("lan", "set", "1", "snmp", "public", options=options)
    running.ipmi("sol", "set", "retry-count", "7", "1", options=options)


@pytest.mark.parametrize("door", DOORS)
def test_session_info_tells_of_the_session(running: Lab, door: str) -> None:
    told = running.ipmi("session", "info", "active", options=DOORS[door])
    kind = "IPMIv1.5" if DOORS[door] in ((), ("-I", "lan")) else "IPMIv2/RMCP+"
    assert re.search(r"user id +: 2\n", told)
    assert re.search(r"privilege level +: ADMINISTRATOR\n", told)
    assert re.search(rf"session type +: {re.escape(kind)}\n", told)
    assert re.search(r"channel number +: 0x01\n", told)
    assert re.search(r"console ip +: 127\.", told)
    assert "USER\n" in running.ipmi("session", "info", "active", options=(*DOORS[door], "-L", "USER"))


def test_sessions_are_counted_listed_and_named(running: Lab, client: pexpect.spawn[str]) -> None:
    everything = running.ipmi("session", "info", "all")
    handles = [int(found) for found in re.findall(r"session handle +: ([1-9]\d*)\n", everything)]
    assert len(handles) == len(set(handles)) >= 2
    count = int(re.findall(r"active sessions +: (\d+)\n", everything)[0])
    assert count == len(handles) == active(running)
    first = running.ipmi("session", "info", "handle", hex(handles[0]))
    assert re.search(rf"session handle +: {handles[0]}\n", first)
    assert running.ipmitool("session", "info", "id", "0x12345678").code != 0
    client.sendline("exit")
    client.expect(pexpect.EOF)
    wait_for(lambda: active(running) == count - 1, what="the session's end")


def test_an_administrator_can_close_the_session_of_another(running: Lab, client: pexpect.spawn[str]) -> None:
    client.sendline("session info active")
    client.expect_exact("session handle")
    client.expect_exact("\r\n")
    handle = str(client.before).strip(" :")
    close = ("raw", "6", "0x3c", "0", "0", "0", "0", handle)
    refused = running.ipmitool(*close, options=("-I", "lanplus", "-L", "USER"))
    assert "nsufficient privilege" in refused.err
    with_it = active(running)
    running.ipmi(*close)
    assert active(running) == with_it - 1


def test_channels_are_what_they_are(running: Lab) -> None:
    for number, medium, protocol in (
        ("0", "IPMB", "IPMB-1.0"),
        ("1", "802.3 LAN", "IPMB-1.0"),
        ("15", "System Interface", "KCS"),
    ):
        told = running.ipmi("channel", "info", number)
        assert re.search(rf"Channel Medium Type +: {re.escape(medium)}", told)
        assert re.search(rf"Channel Protocol Type +: {protocol}\n", told)
    assert running.ipmi("channel", "info", "14").startswith("Channel 0x1 info:"), "the one it came through"
    assert running.ipmitool("channel", "info", "5").code != 0


def test_authentication_capabilities(running: Lab) -> None:
    told = running.ipmi("channel", "authcap", "1", "4")
    for line in (
        r"IPMI v1.5  auth types      : MD5 PASSWORD",
        r"KG status                  : default \(all zeroes\)",
        r"Anonymous login enabled    : no",
        r"Channel supports IPMI v2.0 : yes",
    ):
        assert re.search(line, told)
    running.ipmi("lan", "set", "1", "auth", "USER", "MD5")
    try:
        assert "types      : MD5 \n" in running.ipmi("channel", "authcap", "1", "2")
        assert (
            running.ipmitool(
                "mc", "guid", options=("-I", "lan", "-A", "PASSWORD", "-L", "USER", "-R", "1")
            ).code
            != 0
        )
        assert running.ipmitool("mc", "guid", options=("-I", "lan", "-A", "MD5", "-L", "USER")).code == 0
    finally:
        running.ipmi("lan", "set", "1", "auth", "USER", "MD5,PASSWORD")


def test_channel_access_is_volatile_or_lasting(running: Lab) -> None:
    assert running.raw(6, 0x41, 1, 0x80) == running.raw(6, 0x41, 1, 0x40) == b"\x02\x04"
    # Alerting off in the lasting setting only.
    running.raw(6, 0x40, 1, 0x40 | 0x22, 0)
    try:
        told = running.ipmi("channel", "info", "1").partition("Non-Volatile")
        assert re.search(r"Alerting +: enabled", told[0])
        assert re.search(r"Alerting +: disabled", told[2])
    finally:
        running.raw(6, 0x40, 1, 0x40 | 0x02, 0)


def test_the_channels_limit_is_everybodys_limit(running: Lab) -> None:
    running.raw(6, 0x40, 1, 0, 0x80 | 3)
    try:
        assert running.ipmitool("mc", "guid", options=("-I", "lanplus", "-L", "OPERATOR")).code == 0
        assert (
            running.ipmitool("mc", "guid", options=("-I", "lanplus", "-L", "ADMINISTRATOR", "-R", "1")).code
            != 0
        )
    finally:
        # Nobody on the LAN may undo that. A BMC that begins anew has the lasting limit.
        restart_the_supervisor(running)
    assert running.ipmitool("mc", "guid").code == 0


def restart_the_supervisor(home: Lab) -> None:
    """Another supervisor for the same host: volatile settings of the BMC begin anew."""
    home.kill("supervisor")
    assert home.status()["state"] == "degraded"
    home.must("node", "start", NODE)


def test_a_suite_can_be_limited_and_left_out(running: Lab) -> None:
    """LAN parameter 24: four bits for each suite number up to 14, then those of suite 17."""
    three, seventeen = ((*DOORS[f"suite-{number}"], "-R", "1") for number in (3, 17))

    def limit(of_17: int) -> None:
        data = (0x0C, 1, 1, 24, 0, 0, 0x40, 0, 0, 0, 0, 0, of_17 << 4)
        running.ipmi("raw", *map(str, data), options=three)

    try:
        limit(3)
        assert running.ipmitool("mc", "guid", options=seventeen).code != 0
        assert running.ipmitool("mc", "guid", options=(*seventeen, "-L", "OPERATOR")).code == 0
        limit(4)
        # ipmitool has fifteen letters, for suites 0 to 14: the one that it prefers stays.
        running.ipmi("lan", "set", "1", "cipher_privs", "X" * 15)
        assert running.ipmitool("mc", "guid", options=(*three, "-L", "USER")).code != 0
        assert running.ipmitool("mc", "guid", options=seventeen).code == 0
        ciphers = running.ipmi("channel", "getciphers", "ipmi", "1")
        assert re.findall(r"^(\d+) ", ciphers, re.MULTILINE) == ["17"]
        assert running.ipmitool("mc", "guid").code == 0, "ipmitool finds the suite that is left"
    finally:
        running.ipmi("lan", "set", "1", "cipher_privs", "XXXaXXXXXXXXXXX", options=seventeen)


def test_ciphers_are_listed_for_both_payloads(running: Lab) -> None:
    for payload in ("ipmi", "sol"):
        told = running.ipmi("channel", "getciphers", payload, "1")
        assert re.findall(r"^(\d+) ", told, re.MULTILINE) == ["3", "17"]


def test_a_bmc_key_is_needed_once_it_is_set(running: Lab) -> None:
    key = b"twenty bytes for k_g"
    with_key = ("-I", "lanplus", "-k", key.decode())
    # Set Channel Security Keys: set K_G of channel 1. ipmitool 1.8.19 has no word for it.
    running.raw(6, 0x56, 1, 1, 1, *key)
    try:
        assert "non-zero" in running.ipmi("channel", "authcap", "1", "4", options=with_key)
        assert running.ipmitool("mc", "guid", options=("-I", "lanplus", "-R", "1")).code != 0
        assert running.ipmitool("mc", "guid", options=(*with_key, "-C", "17")).code == 0
        assert running.ipmitool("mc", "guid", options=(*with_key, "-C", "3")).code == 0
        assert running.ipmitool("mc", "guid", options=("-I", "lan")).code == 0, "1.5 has no such key"
    finally:
        running.ipmi("raw", *map(str, (6, 0x56, 1, 1, 1, *bytes(20))), options=with_key)
    assert running.ipmitool("mc", "guid").code == 0


def test_raw_requests_and_their_refusals(running: Lab) -> None:
    assert running.raw(6, 1)[:2] == b"\x20\x01"
    for words, code in (
        (("6", "0xee"), "0xc1"),
        (("6", "1", "1", "2"), None),
        (("0", "2", "0x0f"), "0xcc"),
        (("6", "0x3d"), "0xc7"),
    ):
        ran = running.ipmitool("raw", *words)
        if code:
            assert f"rsp={code}" in ran.err + ran.out, words


def test_payloads_that_are_not_there(running: Lab) -> None:
    """OEM payloads, SOL Activating, which a BMC sends and does not take, and the rate of a serial channel."""
    for words, code in (
        ("6 0x48 0x20 1 0 0 0 0", "0xcc"),
        ("6 0x50 1 0x20 0 0 0 0", "0xc1"),
        ("0x0c 0x20 0 1 1 0", "0xc1"),
        ("0x0c 0x21 1 5 0", "0xcc"),
        ("6 0x55 1 1 0", "0x83"),
    ):
        assert f"rsp={code}" in running.ipmitool("raw", *words.split()).err


@pytest.mark.parametrize(
    "words",
    [
        "picmg properties",
        "hpm check",
        "fwum status",
        "vita properties",
        "nm discover",
        "ime info",
        "isol info",
        "i2c bus=0 0xa0 1",
    ],
)
def test_what_belongs_to_other_hardware_is_refused_at_once(running: Lab, words: str) -> None:
    ran = running.ipmitool(*words.split())
    assert ran.code != 0
    said = r"0xc1|returned c1|Invalid command|not supported|not found|Error getting address|failed"
    assert re.search(said, ran.out + ran.err)
    assert running.ipmitool("mc", "guid").code == 0


def test_command_discovery_tells_what_is_answered(running: Lab) -> None:
    told = running.ipmi("firewall", "info", "channel", "1", "lun", "0", "netfn", "6", "command", "1")
    assert re.search(r"LUN 0, NetFn 0x06, Command 0x01: +\| X \|   \| X \|", told)
    for verb in ("enable", "disable"):
        words = ("channel", "1", "lun", "0", "netfn", "6", "command", "1")
        assert running.ipmitool("firewall", verb, *words).err == "", "what cannot be changed stays as it is"
    assert running.ipmitool("mc", "info").code == 0
    discovered = running.raw(6, 0x0A, 1, 4, 0)
    for number in (0x2E, 0x2F):
        is_there = not discovered[number // 8] >> number % 8 & 1
        ran = running.ipmitool("raw", "4", f"{number:#x}", "0xee", "1", "1")
        assert is_there is ("rsp=0xc1" not in ran.err)


def test_ipv6_by_ipmitools_own_command(running: Lab) -> None:
    running.ipmi("lan6", "set", "1", "nolock", "enables", "both")
    running.ipmi("lan6", "set", "1", "nolock", "static_addr", "1", "enable", "fd00::6", "64")
    told = running.ipmi("lan6", "print", "1")
    assert "IPv6/IPv4 Addressing Enables: both" in told
    assert re.search(r"IPv6 Static Address 1:\n +Enabled: +yes\n +Address: +fd00::6/64", told)
    running.ipmi("lan6", "set", "1", "nolock", "static_addr", "1", "disable", "::", "0")
    running.ipmi("lan6", "set", "1", "nolock", "enables", "ipv4")
    assert "IPv6/IPv4 Addressing Enables: ipv4" in running.ipmi("lan6", "print", "1")


def test_satellites_answer_through_the_bmc(running: Lab) -> None:
    """The management engine is a controller of its own on the IPMB."""
    for options in (DOORS["lan"], DOORS["lanplus"]):
        me = running.ipmi("raw", "6", "1", options=(*options, "-t", "0x2c"))
        assert me != running.ipmi("raw", "6", "1", options=options)
        assert "Device ID                 : 1\n" in running.ipmi(
            "mc", "info", options=(*options, "-t", "0x2c")
        )
        # The BMC says that nobody is there, so nobody waits for an answer.
        patience_s = 60
        began = time.monotonic()
        patient = (*options, "-t", "0x66", "-N", str(patience_s))
        assert running.ipmitool("mc", "info", options=patient).code != 0
        assert time.monotonic() - began < patience_s
