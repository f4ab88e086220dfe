"""LAN parameters: each one set and read back; destinations, statistics. None touches this machine."""

from __future__ import annotations

import re

import pytest
from lab import NODE, Lab, execute, wait_for

# What is typed, what ``lan print`` then says, what undoes it.
SETTINGS = {
    "ipaddr 10.99.99.9": r"IP Address +: 10\.99\.99\.9",
    "netmask 255.255.240.0": r"Subnet Mask +: 255\.255\.240\.0",
    "macaddr 52:54:00:11:22:33": r"MAC Address +: 52:54:00:11:22:33",
    "defgw ipaddr 10.99.99.1": r"Default Gateway IP +: 10\.99\.99\.1",
    "defgw macaddr 52:54:00:11:22:01": r"Default Gateway MAC +: 52:54:00:11:22:01",
    "bakgw ipaddr 10.99.99.2": r"Backup Gateway IP +: 10\.99\.99\.2",
    "bakgw macaddr 52:54:00:11:22:02": r"Backup Gateway MAC +: 52:54:00:11:22:02",
    "snmp neighbours": r"SNMP Community String +: neighbours",
    "arp respond off": r"BMC ARP Control +: ARP Responses Disabled",
    "arp generate on": r"BMC ARP Control +: .*Gratuitous ARP Enabled",
    "arp interval 4": r"Gratituous ARP Intrvl +: 4\.0 seconds",
    "vlan id 77": r"802\.1q VLAN ID +: 77",
    "vlan priority 5": r"802\.1q VLAN Priority +: 5",
    "ipsrc dhcp": r"IP Address Source +: DHCP Address",
    "auth OPERATOR MD5": r"Operator : MD5 *\n",
    "bad_pass_thresh 5 1 30 60": r"Bad Password Threshold +: 5",
}


def printed(home: Lab) -> str:
    """``lan print``."""
    return home.ipmi("lan", "print", "1")


@pytest.mark.parametrize("words", SETTINGS)
def test_a_parameter_is_set_and_printed(running: Lab, words: str) -> None:
    pattern = re.compile(SETTINGS[words])
    assert not pattern.search(printed(running)), "it would prove nothing"
    running.ipmi("lan", "set", "1", *words.split())
    assert pattern.search(printed(running))


def test_all_of_it_outlives_the_node_and_ends_with_destroy(running: Lab) -> None:
    """After the test above: the file has them, a restart keeps them."""
    before = printed(running)
    assert "neighbours" in before
    wait_for(lambda: running.kept()["lans"]["1"]["parameters"]["values"], what="the parameters on disk")
    running.must("node", "restart", NODE)
    assert printed(running) == before
    running.must("node", "destroy", NODE)
    running.must("node", "start", NODE)
    for pattern in SETTINGS.values():
        assert not re.search(pattern, printed(running))


# The same for ``sol set`` and ``sol info``.
SOL_SETTINGS = {
    "enabled false": r"Enabled +: false",
    "force-encryption true": r"Force Encryption +: true",
    "force-authentication true": r"Force Authentication +: true",
    "privilege-level admin": r"Privilege Level +: ADMINISTRATOR",
    "character-accumulate-level 10": r"Character Accumulate Level \(ms\) +: 50",
    "character-send-threshold 100": r"Character Send Threshold +: 100",
    "retry-count 3": r"Retry Count +: 3",
    "retry-interval 20": r"Retry Interval \(ms\) +: 200",
    "volatile-bit-rate 57.6": r"Volatile Bit Rate \(kbps\) +: 57\.6",
    "non-volatile-bit-rate 19.2": r"Non-Volatile Bit Rate \(kbps\) +: 19\.2",
}
SOL_DEFAULTS = (
    *("enabled true", "force-encryption false", "force-authentication false"),
    *("privilege-level operator", "character-accumulate-level 2", "character-send-threshold 64"),
    *("retry-count 7", "retry-interval 50", "volatile-bit-rate 115.2", "non-volatile-bit-rate 115.2"),
)


def test_every_parameter_of_sol_is_set_and_printed_by_each_door(running: Lab) -> None:
    before = running.ipmi("sol", "info", "1")
    for words, line in SOL_SETTINGS.items():
        assert not re.search(line, before), "it would prove nothing"
        running.ipmi("sol", "set", *words.split(), "1", options=("-I", "lan"))
    for options in (("-I", "lan"), ("-I", "lanplus", "-C", "3"), ("-I", "lanplus", "-C", "17")):
        told = running.ipmi("sol", "info", "1", options=options)
        assert [line for line in SOL_SETTINGS.values() if not re.search(line, told)] == []
    login = ("-D", "LAN_2_0", "-h", running.address, "-u", "admin", "-p", "admin")
    checked_out = execute("ipmi-config", "-o", "--category", "core", "-S", "SOL_Conf", *login).out
    assert re.search(r"Enable_SOL +No\n", checked_out)
    assert re.search(r"SOL_Privilege_Level +Administrator\n", checked_out)
    wait_for(lambda: running.kept()["lans"]["1"]["sol"]["bit_rate"] == 7, what="the bit rate on disk")
    # What they do: no console at all, and then for administrators alone.
    disabled = running.ipmitool("sol", "activate")
    assert "SOL payload disabled" in disabled.out + disabled.err
    running.ipmi("sol", "set", "enabled", "true", "1")
    operator = running.ipmitool("sol", "activate", options=("-I", "lanplus", "-L", "OPERATOR"))
    assert "nsufficient privilege" in operator.out + operator.err
    for words in SOL_DEFAULTS:
        running.ipmi("sol", "set", *words.split(), "1")
    assert running.ipmi("sol", "info", "1") == before
    # Who sets something says so first, and nobody else can meanwhile.
    running.ipmi("sol", "set", "set-in-progress", "set-in-progress", "1")
    assert re.search(r"Set in progress +: set-in-progress\n", running.ipmi("sol", "info", "1"))
    refused = running.ipmitool("sol", "set", "retry-count", "5", "1")
    assert "when not in set-complete state" in refused.out + refused.err
    running.ipmi("sol", "set", "set-in-progress", "set-complete", "1")
    assert running.ipmi("sol", "info", "1") == before


def test_the_words_of_lan_set_about_the_first_user(running: Lab) -> None:
    running.ipmi("lan", "set", "1", "password", "sesame")
    assert "Success" in running.ipmi("user", "test", "1", "16", "sesame")
    running.ipmi("lan", "set", "1", "user")
    assert re.search(r"Privilege Level +: ADMINISTRATOR\n", running.ipmi("channel", "getaccess", "1", "1"))
    running.ipmi("user", "priv", "1", "15", "1")
    running.ipmi("user", "disable", "1")


@pytest.mark.parametrize(
    "data",
    [(3, 10, 0, 0), (5, 1, 0, 0x5E, 0, 0, 1), (20, 0, 0x80), (21, 8), (4, 9), (1, 0), (99, 0), (22, 1)],
    ids=[
        "short",
        "multicast-mac",
        "vlan-0",
        "priority-8",
        "source-9",
        "read-only",
        "unknown",
        "read-only-too",
    ],
)
def test_what_cannot_be_is_refused(running: Lab, data: tuple[int, ...]) -> None:
    before = printed(running)
    assert running.ipmitool("raw", "0x0c", "1", "1", *map(str, data)).code != 0
    assert printed(running) == before


def test_setting_in_progress(running: Lab) -> None:
    running.raw(0x0C, 1, 1, 0, 1)
    assert re.search(r"Set in Progress +: Set In Progress", printed(running))
    ran = running.ipmitool("raw", "0x0c", "1", "1", "0", "1")
    assert "rsp=0x81" in ran.err
    running.raw(0x0C, 1, 1, 0, 0)
    assert re.search(r"Set in Progress +: Set Complete", printed(running))


def test_alert_destinations(running: Lab) -> None:
    for words in (
        "ipaddr 10.1.2.3",
        "macaddr 52:54:00:00:00:07",
        "type pet",
        "ack on",
        "time 9",
        "retry 3",
        "gateway backup",
    ):
        running.ipmi("lan", "alert", "set", "1", "2", *words.split())
    told = running.ipmi("lan", "alert", "print", "1", "2")
    for line in (
        r"Alert Acknowledge +: Acknowledged",
        r"Destination Type +: PET Trap",
        r"Acknowledge Timeout +: 9",
        r"Number of Retries +: 3",
        r"Alert Gateway +: Backup",
        r"Alert IP Address +: 10\.1\.2\.3",
        r"Alert MAC Address +: 52:54:00:00:00:07",
    ):
        assert re.search(line, told), line
    assert "10.1.2.3" not in running.ipmi("lan", "alert", "print", "1", "3")


def test_statistics_count_and_are_cleared(running: Lab) -> None:
    before = running.packets_received()
    assert running.packets_received() > before > 0
    # ipmitool shows the two bytes of a number the other way round, which is nothing to compare.
    assert re.search(r"UDP Rx Packet +: \d+\n", running.ipmi("lan", "stats", "get", "1"))
    running.ipmi("lan", "stats", "clear", "1")
    assert running.packets_received() < before


def test_the_channel_can_be_read_as_any_and_no_other(running: Lab) -> None:
    assert running.raw(0x0C, 2, 0x0E, 3, 0, 0) == running.raw(0x0C, 2, 1, 3, 0, 0)
    for channel in ("0", "5", "15"):
        assert running.ipmitool("raw", "0x0c", "2", channel, "3", "0", "0").code != 0
    assert running.raw(0x0C, 2, 0x81, 3, 0, 0) == b"\x11", "only the revision"


def test_arps_can_be_suspended(running: Lab) -> None:
    assert running.raw(0x0C, 3, 1, 3) == b"\0"
    assert running.raw(0x0C, 3, 1, 0) == b"\x02"


def test_ipv6_parameters_are_there(running: Lab) -> None:
    assert running.raw(0x0C, 2, 1, 50, 0, 0)[1] & 0x02
    address = bytes.fromhex("fd0000000000000000000000000000aa")
    running.raw(0x0C, 1, 1, 51, 2)
    running.raw(0x0C, 1, 1, 56, 0, 0x80, *address, 64)
    assert address in running.raw(0x0C, 2, 1, 56, 0, 0)


def test_a_cipher_suites_privilege_is_printed(running: Lab) -> None:
    suite_3 = ("-I", "lanplus", "-C", "3")
    assert "Cipher Suite Priv Max   : XXXaXXXXXXXXXXX\n" in printed(running)
    running.ipmi("lan", "set", "1", "cipher_privs", "XXXoXXXXXXXXXXX")
    operator = ("-I", "lanplus", "-C", "3", "-L", "OPERATOR")
    assert "XXXoXXXXXXXXXXX\n" in running.ipmi("lan", "print", "1", options=operator)
    assert running.ipmitool("mc", "guid", options=suite_3).code != 0
    # By IPMI 1.5, which has no suites; ipmitool's fifteen leave suite 17 out, so by number.
    back = map(str, (0x0C, 1, 1, 24, 0, 0, 0x40, 0, 0, 0, 0, 0, 0x40))
    running.ipmi("raw", *back, options=("-I", "lan"))
    assert running.ipmitool("mc", "guid", options=suite_3).code == 0
