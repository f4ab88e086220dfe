"""Several LAN channels: the main one is where tools come in, each keeps what is its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from lab import NODE, Lab, execute, lab

MAIN, OTHER = "8", "1"
DOORS = {
    "lan": ("-I", "lan"),
    "suite-3": ("-I", "lanplus", "-C", "3"),
    "suite-17": ("-I", "lanplus", "-C", "17"),
}


@pytest.fixture(scope="module")
def two(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A node whose LAN channel has the number 8, with a second one."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(bmc={"startnow": False, "main_channel": 8, "channels": "1,8"})
        yield home


def printed(home: Lab, channel: str, label: str) -> str:
    """One line of ``lan print``."""
    found = re.search(rf"^{label} +: (.*?) *$", home.ipmi("lan", "print", channel), re.MULTILINE)
    assert found, label
    return found.group(1)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_is_the_main_channel(two: Lab, door: str) -> None:
    options = DOORS[door]
    assert re.search(r"channel number +: 0x08\n", two.ipmi("session", "info", "active", options=options))
    assert re.search(r"Channel number +: 8\n", two.ipmi("channel", "authcap", "14", "4", options=options))
    assert two.ipmi("channel", "info", "14", options=options).startswith("Channel 0x8 info:")
    assert "hmac_sha256" in two.ipmi("channel", "getciphers", "ipmi", MAIN, options=options)


def test_both_are_lan_channels_and_one_has_the_address(two: Lab) -> None:
    for number in (MAIN, OTHER):
        assert "802.3 LAN" in two.ipmi("channel", "info", number)
        assert "ADMINISTRATOR" in two.ipmi("user", "list", number)
    assert two.ipmitool("channel", "info", "2").code != 0
    assert printed(two, MAIN, "IP Address") == two.address
    assert printed(two, OTHER, "IP Address") == "0.0.0.0"
    assert printed(two, MAIN, "MAC Address") != printed(two, OTHER, "MAC Address")
    discovered = two.ipmi("dcmi", "discover")
    assert "Primary LAN channel number: 8 is available" in discovered
    assert "Secondary LAN channel number: 1 is available" in discovered
    said = execute("bmc-info", "-D", "LAN_2_0", "-h", two.address, "-u", "admin", "-p", "admin").out
    assert len(re.findall(r"Medium Type +: 802\.3 LAN\n", said)) == 2


def test_what_is_set_on_one_stays_there_and_outlives_the_node(two: Lab) -> None:
    main_before = two.ipmi("lan", "print", MAIN)
    for words in (
        "lan set 1 ipaddr 10.99.99.9",
        "lan set 1 snmp elsewhere",
        "lan set 1 auth USER MD5",
        "sol set retry-count 2 1",
        "sol payload disable 1 2",
        "user priv 2 2 1",
    ):
        two.ipmi(*words.split())
    # Channel 1: disabled now, with a limit; a key that the main channel does not have.
    two.raw(6, 0x40, 1, 0x80, 0x82)
    two.raw(6, 0x56, 1, 1, 1, *b"twenty bytes for k_g")

    def check() -> None:
        assert two.ipmi("lan", "print", MAIN) == main_before
        assert printed(two, OTHER, "IP Address") == "10.99.99.9"
        assert printed(two, OTHER, "SNMP Community String") == "elsewhere"
        for number, retries, payload, privilege, key in (
            (OTHER, 2, "disabled", "USER", "non-zero"),
            (MAIN, 7, "enabled", "ADMINISTRATOR", "default"),
        ):
            assert re.search(rf"Retry Count +: {retries}\n", two.ipmi("sol", "info", number))
            assert payload in two.ipmi("sol", "payload", "status", number, "2")
            assert re.search(
                rf"Privilege Level +: {privilege}\n", two.ipmi("channel", "getaccess", number, "2")
            )
            assert key in two.ipmi("channel", "authcap", number, "4")
        assert "types      : MD5 \n" in two.ipmi("channel", "authcap", OTHER, "2")

    check()
    assert two.raw(6, 0x41, 1, 0x80) == b"\0\x02"
    two.must("node", "restart", NODE)
    check()
    assert two.raw(6, 0x41, 1, 0x80) == b"\x02\x04", "the volatile setting is gone"


def test_another_main_channel_takes_its_own_settings(two: Lab) -> None:
    """Last: the channel that had the address is the other one then."""
    two.raw(6, 0x56, 1, 1, 1, *bytes(20))
    two.ipmi("user", "priv", "2", "4", OTHER)
    two.register(bmc={"startnow": False, "main_channel": 1, "channels": [1, 8]})
    two.must("node", "restart", NODE)
    assert two.ipmi("channel", "info", "14").startswith("Channel 0x1 info:")
    assert printed(two, OTHER, "SNMP Community String") == "elsewhere"
    assert printed(two, MAIN, "IP Address") == "0.0.0.0"
