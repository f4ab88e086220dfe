"""What manufacturers add: Dell's by every subcommand of ``ipmitool delloem``, Quanta's by the event log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from lab import Lab, execute, lab, wait_for


@pytest.fixture(scope="module")
def dell(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A home whose node ``n`` is a Dell with two network cards."""
    before = request.session.testsfailed
    card = {"device": "e1000", "network_mode": "nat"}
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(type="dell_r730", compute={"memory": {"size": 256}, "networks": [card, card]})
        yield home


def oem(home: Lab, *words: str) -> str:
    """Run ``ipmitool delloem``, which must succeed."""
    return home.ipmi("delloem", *words)


def refused(home: Lab, *words: str) -> str:
    """What ``ipmitool delloem`` says against something."""
    ran = home.ipmitool("delloem", *words)
    return ran.out + ran.err


def twice_the_same(home: Lab, *words: str) -> str:
    """What it says when nothing changes between two times."""
    said = ["", oem(home, *words)]

    def is_stable() -> bool:
        said[:] = said[1], oem(home, *words)
        return said[0] == said[1]

    wait_for(is_stable, what=f"the same twice: {words}")
    return said[1]


def moment(data: bytes) -> int:
    """A time, which comes least significant byte first."""
    return int.from_bytes(data, "little")


def test_the_display(dell: Lab) -> None:
    assert re.search(r"Setting:Model name\n +Line 1: +PowerEdge R730\n", oem(dell, "lcd", "info"))
    text = "rack 7, node 3: a text that needs more than one block of sixteen"[:62]
    oem(dell, "lcd", "set", "mode", "userdefined", text)
    assert re.search(rf"Setting: User defined\n +Text: +{text}\n", oem(dell, "lcd", "info"))
    for mode, shown in (
        ("none", "none"),
        ("ipv4address", "IPV4 Address"),
        ("macaddress", "MAC Address"),
        ("systemname", "OS System Name"),
        ("servicetag", "System Tag"),
        ("ipv6address", "IPV6 Address"),
        ("systemwatt", "System Watts"),
        ("assettag", "Asset Tag"),
        ("ambienttemp", "Ambient Temp"),
    ):
        oem(dell, "lcd", "set", "mode", mode)
        assert re.search(rf"Setting: +{shown}\n", oem(dell, "lcd", "info"))
    oem(dell, "lcd", "set", "lcdqualifier", "fahrenheit")
    assert re.search(r"Unit: +F\n", oem(dell, "lcd", "info"))
    oem(dell, "lcd", "set", "errordisplay", "simple")
    assert re.search(r"Error Display: +Simple\n", oem(dell, "lcd", "info"))


def test_the_displays_status(dell: Lab) -> None:
    assert "KVM Status :Inactive" in oem(dell, "lcd", "status")
    oem(dell, "lcd", "set", "vkvm", "active")
    oem(dell, "lcd", "set", "frontpanelaccess", "viewonly")
    told = oem(dell, "lcd", "status")
    assert "KVM Status :Active" in told
    assert "lock Status :View only" in told


def test_macs_are_those_of_the_nodes_cards(dell: Lab) -> None:
    plan = dell.must("node", "plan", "n")
    cards = re.findall(r"mac=([0-9a-f:]{17})", plan)
    assert len(cards) == 2
    bmc = re.search(r"MAC Address +: (\S+)\n", dell.ipmi("lan", "print", "1"))
    assert bmc
    told = oem(dell, "mac", "list")
    assert re.findall(r"^(\d)\s+(\S+)\s+Enabled", told, re.MULTILINE) == list(zip("01", cards, strict=True))
    assert f"iDRAC8 MAC Address {bmc.group(1)}\n" in told
    assert cards[1] in oem(dell, "mac", "get", "1")
    assert cards[0] not in oem(dell, "mac", "get", "1")
    assert bmc.group(1) in oem(dell, "mac", "get", "8")


def test_the_bmcs_network_card(dell: Lab) -> None:
    assert oem(dell, "lan", "get").strip() == "dedicated"
    assert oem(dell, "lan", "get", "active").strip() == "dedicated"
    oem(dell, "lan", "set", "shared", "with", "lom2")
    assert re.search(r"shared with lom2\nFailover LOM : +None", oem(dell, "lan", "get"))
    assert oem(dell, "lan", "get", "active").strip() == "LOM2"
    oem(dell, "lan", "set", "shared", "with", "failover", "lom1")
    assert re.search(r"Failover LOM : +shared with failover lom1", oem(dell, "lan", "get"))
    oem(dell, "lan", "set", "shared", "with", "failover", "all", "loms")
    assert re.search(r"Failover LOM : +shared with failover all loms", oem(dell, "lan", "get"))
    assert "Invalid data field" in refused(dell, "lan", "set", "shared", "with", "lom4"), "it has two"
    assert dell.raw(0x30, 0x25) == b"\x03", "as older tools ask"
    oem(dell, "lan", "set", "dedicated")
    wait_for(lambda: dell.kept()["oem"]["dell.nic"] == "0100", what="the choice on disk")
    assert dell.raw(0x30, 0x25) == b"\x02"


def test_energy_and_peak(dell: Lab) -> None:
    told = oem(dell, "powermonitor")
    peak = re.search(r"Peak Reading +: (\d+) W\n", told)
    assert peak and int(peak.group(1)) >= 120
    assert re.search(r"Reading +: \d+\.\d kWh\n", told)
    assert re.search(r"Peak Reading +: \d\.\d A\n", told)
    consumption = dell.raw(0x30, 0xB3, 0x0A, 0)
    now_w, amperes = (int.from_bytes(consumption[at : at + 2], "little") for at in (0, 2))
    assert 120 <= now_w <= 420
    assert amperes == round(now_w / 23)
    # A host that is off takes what it takes: no new peak.
    dell.power_off()
    before = dell.raw(0x30, 0x9C, 7, 1)
    oem(dell, "powermonitor", "clear", "cumulativepower")
    after = dell.raw(0x30, 0x9C, 7, 1)
    assert moment(after[:4]) >= moment(before[:4])
    assert after[8:] == before[8:], "the peak stays"
    oem(dell, "powermonitor", "clear", "peakpower")
    cleared = dell.raw(0x30, 0x9C, 7, 1)
    assert moment(cleared[8:12]) >= moment(before[8:12])
    assert int.from_bytes(cleared[-2:], "little") == 12, "what the BMC takes alone"
    dell.ipmi("power", "on")
    wait_for(dell.host_runs, what="the host")


def test_consumption_history(dell: Lab) -> None:
    # It asks for average, most and least one after the other, and measurements may come between. Those of a
    # host that is off are all the same.
    dell.power_off()
    told = twice_the_same(dell, "powermonitor", "powerconsumptionhistory")
    dell.ipmi("power", "on")
    average, most, least = (
        list(map(int, re.findall(r"(\d+) W", line)))
        for line in re.findall(r"^(?:Average|Max|Min) Power Consumption(.*)$", told, re.MULTILINE)
    )
    assert len(average) == len(most) == len(least) == 4
    for low, mean, high in zip(least, average, most, strict=True):
        assert 12 <= low <= mean <= high <= 420
    missing = refused(dell, "powermonitor", "powerconsumption")
    assert "System Level" in missing, "a sensor that servers of the 12th generation and later do not have"
    assert "BTU/hr" in oem(dell, "powermonitor", "powerconsumptionhistory", "btuphr")


def test_the_power_cap_is_the_power_limit(dell: Lab) -> None:
    assert "not enabled" in refused(dell, "powermonitor", "setpowerbudget", "300", "watt")
    oem(dell, "powermonitor", "enablepowercap")
    try:
        assert "Power Limit Active" in dell.ipmi("dcmi", "power", "get_limit")
        oem(dell, "powermonitor", "setpowerbudget", "300", "watt")
        assert re.search(r"Power Limit: +300 Watts", dell.ipmi("dcmi", "power", "get_limit"))
        assert re.search(r"Power cap +: 300 Watt", oem(dell, "powermonitor", "getpowerbudget"))
        oem(dell, "powermonitor", "setpowerbudget", "50", "percent")
        assert re.search(r"Power Limit: +270 Watts", dell.ipmi("dcmi", "power", "get_limit"))
        oem(dell, "powermonitor", "setpowerbudget", "1000", "btuphr")
        assert re.search(r"Power Limit: +292 Watts", dell.ipmi("dcmi", "power", "get_limit"))
        assert "out of boundary" in refused(dell, "powermonitor", "setpowerbudget", "900", "watt")
    finally:
        oem(dell, "powermonitor", "disablepowercap")
    assert "No Active Power Limit" in dell.ipmi("dcmi", "power", "get_limit")


def test_dells_names_among_the_system_infos(dell: Lab) -> None:
    for name in ("delloem_os_version", "delloem_url"):
        dell.ipmi("mc", "setsysinfo", name, f"of {name}")
        assert dell.ipmi("mc", "getsysinfo", name, options=("-I", "lan")).strip() == f"of {name}"


def test_what_the_node_does_not_have_is_said(dell: Lab) -> None:
    assert "not supported" in refused(dell, "setled", "0:3:0.0", "fault"), "there is no backplane"
    assert dell.raw(0x30, 0xA4, 0, 0)[0] == 1, "no vFlash card"


def test_freeipmi_reads_dells_commands(dell: Lab) -> None:
    def said(*words: str) -> str:
        login = ("-D", "LAN_2_0", "-h", dell.address, "-u", "admin", "-p", "admin")
        ran = execute("ipmi-oem", *login, "dell", *words, env={**os.environ, "HOME": str(dell.root)})
        assert ran.code == 0, ran.out + ran.err
        return ran.out

    assert re.search(r"Peak Watt +: \d+ W", said("get-power-consumption-data"))
    assert re.search(r"Maximum Power Consumption +: 420 W", said("get-power-capacity"))
    assert said("get-power-capacity-status").strip() == "disabled"
    assert said("get-nic-selection").strip() == "dedicated"
    assert re.search(r"Instantaneous Head Room : \d+ W", said("get-power-head-room"))
    assert re.search(r"Last Hour Average Power +: \d+ W", said("get-power-consumption-statistics", "average"))


def test_ipmitool_asks_a_quanta_for_its_platform(running: Lab) -> None:
    assert running.raw(0x36, 0x65, 0x4C, 0x1C, 0, 2) == b"\x01"
    running.ipmi("event", "3")
    ran = running.ipmitool("sel", "elist")
    running.ipmi("sel", "clear")
    assert "Correctable ECC" in ran.out
    assert "Get Platform ID" not in ran.err
    for command in ("0x77", "0x7d"):
        assert "rsp=0xc1" in running.ipmitool("raw", "0x30", command, "0").err, "nobody says what it is"
