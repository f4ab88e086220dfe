"""Clients other than ipmitool, as they are: FreeIPMI without workarounds, pyghmi, python-ipmi, OpenIPMI's."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pexpect
import pyghmi.ipmi.command  # type: ignore[import-untyped]
import pyipmi  # type: ignore[import-untyped]
import pyipmi.interfaces  # type: ignore[import-untyped]
import pytest
from lab import Lab, Ran, execute, free_port, wait_for

DRIVERS = ("LAN_2_0", "LAN")
PATIENCE_S = 180
WORKAROUND = re.compile(r"workaround|invalid|error|unsupported|timeout", re.IGNORECASE)


def freeipmi(home: Lab, program: str, *words: str, driver: str = "LAN_2_0") -> Ran:
    """Run one of FreeIPMI's programs with the node's user; its caches go with the lab."""
    login = ("-D", driver, "-h", home.address, "-u", "admin", "-p", "admin")
    return execute(program, *login, *words, env={**os.environ, "HOME": str(home.root)})


def must(home: Lab, program: str, *words: str, driver: str = "LAN_2_0") -> str:
    """As ``freeipmi``; it must succeed and have nothing to complain of."""
    ran = freeipmi(home, program, *words, driver=driver)
    assert ran.code == 0, f"{program} {words}: exit {ran.code}\n{ran.out}{ran.err}"
    assert not WORKAROUND.search(ran.err), ran.err
    return ran.out


def happened_since(home: Lab, event: str, before: int) -> bool:
    """Whether something happened again."""
    return home.count(event) > before


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """IPMI 2.0 and 1.5."""
    return str(request.param)


# --- FreeIPMI


def test_ipmipower(running: Lab, driver: str) -> None:
    def power(word: str) -> str:
        return must(running, "ipmipower", word, driver=driver).strip().partition(": ")[2]

    def power_is(state: str) -> bool:
        return power("--stat") == state

    for word, expected in (("--off", "off"), ("--on", "on")):
        assert power(word) == "ok"
        # The answer waits until the host is gone, but not for long.
        wait_for(functools.partial(power_is, expected), what=f"power {expected}")
        assert running.status()["host"]["power"] == expected
    wait_for(running.host_runs, what="the host")
    ready = running.count("ready")
    for word, event in (("--reset", "power-reset"), ("--pulse", "nmi"), ("--cycle", "power-off")):
        before = running.count(event)
        assert power(word) == "ok"
        wait_for(functools.partial(happened_since, running, event, before), what=event)
    # The status is "on" until the host has gone as well.
    wait_for(functools.partial(happened_since, running, "ready", ready), what="the end of the cycle")
    wait_for(running.host_runs, what="the next host")
    assert power("--stat") == "on"
    assert power("--soft") == "ok"
    wait_for(functools.partial(power_is, "off"), what="the power off")
    assert power("--on") == "ok"
    wait_for(running.host_runs, what="the host")


def test_ipmipower_asks_for_the_privilege_it_needs(running: Lab) -> None:
    ran = freeipmi(running, "ipmipower", "--off", "-l", "USER")
    assert "operator privilege" in ran.err
    assert running.status()["host"]["power"] == "on"
    assert (
        "password invalid"
        in execute(
            "ipmipower", "-D", "LAN_2_0", "-h", running.address, "-u", "admin", "-p", "wrong", "--stat"
        ).out
    )
    assert (
        "username invalid"
        in execute(
            "ipmipower", "-D", "LAN_2_0", "-h", running.address, "-u", "nobody", "-p", "admin", "--stat"
        ).out
    )


def test_ipmi_sensors(running: Lab, driver: str) -> None:
    said = must(running, "ipmi-sensors", "--sdr-cache-recreate", "--quiet-cache", driver=driver)
    rows = [[cell.strip() for cell in line.split("|")] for line in said.splitlines()[1:]]
    by_name = {row[1]: row for row in rows}
    assert by_name["Temp_Ambient_FP"][2:4] == ["Temperature", "25.00"]
    names = {line.split("|")[0].strip() for line in running.ipmi("sdr", "list").splitlines()}
    assert {name for name in names if name} <= set(by_name)


def test_ipmi_sel(running: Lab, driver: str) -> None:
    running.ipmi("sel", "clear")
    running.ipmi("event", "1")
    said = must(running, "ipmi-sel", "--quiet-cache", driver=driver)
    assert "Upper Critical - going high" in said
    assert re.search(
        r"Number of log entries +: 1\n", must(running, "ipmi-sel", "--info", "--quiet-cache", driver=driver)
    )
    must(running, "ipmi-sel", "--clear", "--quiet-cache", driver=driver)
    ran = running.ipmitool("sel", "list")
    assert "SEL has no entries" in ran.out + ran.err


def test_ipmi_fru(running: Lab, driver: str) -> None:
    serial = re.search(r"Board Serial +: (\S+)", running.ipmi("fru", "print", "0"))
    assert serial
    assert f"FRU Board Serial Number: {serial.group(1)}\n" in must(
        running, "ipmi-fru", "--quiet-cache", driver=driver
    )


def test_bmc_info(running: Lab, driver: str) -> None:
    said = must(running, "bmc-info", driver=driver)
    node = running.must("node", "info", "n", "--json")
    assert re.search(r"Manufacturer ID +: Quanta Computer Inc\. \(7244\)\n", said)
    found = re.search(r"Device GUID : (\S+)\n", said)
    assert found and found.group(1) in node
    assert re.search(r"Channel Number +: 1\nMedium Type +: 802\.3 LAN\n", said)


def test_bmc_device(running: Lab, driver: str) -> None:
    assert "No Error" in must(running, "bmc-device", "--get-self-test-results", driver=driver)
    assert "SEL Time" in must(running, "bmc-device", "--get-sel-time", driver=driver)
    assert re.search(
        r"IP Packets Received +: [1-9]", must(running, "bmc-device", "--get-lan-statistics", driver=driver)
    )
    assert "S0/G0" in must(running, "bmc-device", "--get-acpi-power-state", driver=driver)
    must(running, "bmc-device", "--platform-event", "04 01 30 01 assertion 59 01 02", driver=driver)
    assert "Upper Critical" in running.ipmi("sel", "list")
    running.ipmi("sel", "clear")


def test_ipmi_chassis(running: Lab, driver: str) -> None:
    running.ipmi("power", "on")
    wait_for(running.host_runs, what="the host")
    said = must(running, "ipmi-chassis", "--get-chassis-status", driver=driver)
    assert re.search(r"System Power +: on\n", said)
    must(running, "ipmi-chassis", "--chassis-identify=FORCE", driver=driver)
    assert running.status()["host"]["identify"] is True
    must(running, "ipmi-chassis", "--chassis-identify=TURN-OFF", driver=driver)
    assert running.status()["host"]["identify"] is False
    must(
        running,
        "ipmi-chassis",
        "--set-power-restore-policy=RESTORE",
        driver=driver,
    )
    assert re.search(r"Power Restore Policy : previous\n", running.ipmi("chassis", "status"))
    must(running, "ipmi-chassis", "--set-power-restore-policy=ALWAYS-ON", driver=driver)
    wait_for(running.firmware_is_through, what="the firmware")
    boots = running.serial().count("SeaBIOS (")
    must(running, "ipmi-chassis", "--chassis-control=HARD-RESET", driver=driver)
    wait_for(lambda: running.serial().count("SeaBIOS (") > boots, what="the boot")
    wait_for(running.firmware_is_through, what="the firmware's end of it")
    assert "Chassis control command" in must(
        running, "ipmi-chassis", "--get-system-restart-cause", driver=driver
    )
    assert "Hours" in must(running, "ipmi-chassis", "--get-power-on-hours-counter", driver=driver)


# What ipmi-config cannot check out: there is no serial channel, and suite 15 is no suite of this BMC. It then
# exits with 1. FreeIPMI 1.6.10 exits with 0 for a BMC with a serial channel and suites 0 to 15 alone.
NOT_THERE = re.compile(
    r"User\d+:Serial_\w+|Serial_(Channel|Conf):\w+|Rmcpplus_Conf_Privilege:Maximum_Privilege_Cipher_Suite_Id_15"
)


# With -vv it says what it does not check out, and which sensor records are of no interest.
CHECKOUTS = {"core": "-vvo", **dict.fromkeys(("chassis", "sensors", "pef", "dcmi"), "-o")}


def test_ipmi_config_checkout(running: Lab, driver: str) -> None:
    must(running, "ipmi-sensors", "--sdr-cache-recreate", "--quiet-cache", driver=driver)
    checked_out = {
        category: freeipmi(running, "ipmi-config", how, "--category", category, driver=driver)
        for category, how in CHECKOUTS.items()
    }
    for category, ran in checked_out.items():
        refused = re.findall(r"## Unable to checkout (\S+)", ran.out)
        assert [each for each in refused if not NOT_THERE.fullmatch(each)] == []
        assert ran.code == bool(refused), f"{category}: exit {ran.code}"
        assert bool(refused) is (category == "core")
        assert ran.err == ""
        assert ran.out.count("\nSection ") + ran.out.startswith("Section ") == ran.out.count("EndSection\n")
    said = {category: ran.out for category, ran in checked_out.items()}
    assert re.search(r"Username +admin\n", said["core"])
    assert re.search(rf"IP_Address +{re.escape(running.address)}\n", said["core"])
    assert "Enable_SOL" in said["core"]
    assert re.search(r"Maximum_Privilege_Cipher_Suite_Id_3 +Administrator\n", said["core"])
    assert re.search(r"Boot_Device +NO-OVERRIDE\n", said["chassis"])
    assert re.search(r"Enable_PEF +Yes\n", said["pef"])
    assert re.search(r"Section \d+_Temp_Ambient_FP\n", said["sensors"])
    assert "Section DCMI_Conf" in said["dcmi"]


def test_ipmi_config_commit(running: Lab, driver: str) -> None:
    """What is committed there is true here; ipmi-config reads it back itself with --diff."""
    pair = "Chassis_Boot_Flags:Boot_Device"
    must(running, "ipmi-config", "--commit", "--category=chassis", "-e", f"{pair}=PXE", driver=driver)
    assert running.status()["host"]["boot_override"] == "pxe"
    must(running, "ipmi-config", "--diff", "--category=chassis", "-e", f"{pair}=PXE", driver=driver)
    must(running, "ipmi-config", "--commit", "--category=chassis", "-e", f"{pair}=NO-OVERRIDE", driver=driver)
    assert running.status()["host"]["boot_override"] is None


def test_ipmi_raw(running: Lab, driver: str) -> None:
    said = must(running, "ipmi-raw", "0", "6", "1", driver=driver)
    assert bytes.fromhex(said.partition("rcvd:")[2])[2:] == running.raw(6, 1)


def test_ipmi_dcmi(running: Lab, driver: str) -> None:
    assert re.search(
        r"Power Management / Monitoring Support +: Available",
        must(running, "ipmi-dcmi", "--get-dcmi-capability-info", driver=driver),
    )
    must(running, "ipmi-dcmi", "--set-asset-tag=rack 7", driver=driver)
    assert "rack 7" in must(running, "ipmi-dcmi", "--get-asset-tag", driver=driver)
    assert "rack 7" in running.ipmi("dcmi", "asset_tag")
    assert re.search(
        r"Current Power +: \d+ Watts",
        must(running, "ipmi-dcmi", "--get-system-power-statistics", driver=driver),
    )


def test_pings(running: Lab) -> None:
    for program in ("rmcpping", "ipmiping"):
        ran = execute(program, "-c", "2", running.address)
        assert ran.code == 0
        assert "0.0% packet loss" in ran.out


def test_ipmidetect(running: Lab) -> None:
    """Its daemon asks the hosts of a file; ipmidetect asks the daemon."""
    daemon = shutil.which("ipmidetectd")
    assert daemon, "install freeipmi-ipmidetect"
    config = running.root / "ipmidetectd.conf"
    port = free_port(address="0.0.0.0")
    config.write_text(
        f"host {running.address}\nhost 127.250.250.250\nipmidetectd_server_port {port}\nipmiping_period 100\n"
    )
    server = pexpect.spawn(daemon, ["-d", "-c", str(config)], timeout=30)
    try:

        def detected() -> bool:
            ran = execute("ipmidetect", "-h", "127.0.0.1", "-p", str(port), "-d")
            return running.address in ran.out and "127.250.250.250" not in ran.out

        wait_for(detected, what="the node to be detected")
    finally:
        server.close(force=True)


def test_ipmiconsole(running: Lab) -> None:
    running.power_off()
    login = ["-h", running.address, "-u", "admin", "-p", "admin"]
    console = pexpect.spawn("ipmiconsole", login, timeout=PATIENCE_S, encoding="latin-1")
    try:
        console.expect_exact("[SOL established]")
        running.ipmi("power", "on")
        console.expect_exact("SeaBIOS")
        console.send("&.")
        console.expect_exact("closing the connection")
        console.expect(pexpect.EOF)
    finally:
        console.close(force=True)


# --- pyghmi


@pytest.fixture(scope="module")
def pyghmi_(running: Lab) -> Iterator[Any]:
    """One pyghmi session."""
    command = pyghmi.ipmi.command.Command(bmc=running.address, userid="admin", password="admin")
    yield command
    command.ipmi_session.logout()


def test_pyghmi_switches_power(running: Lab, pyghmi_: Any) -> None:
    for word, state in (("off", "off"), ("on", "on")):
        pyghmi_.set_power(word, wait=30)
        assert pyghmi_.get_power() == {"powerstate": state}
        assert running.status()["host"]["power"] == state
    # A reset of one that has not begun would be no more than its begin.
    wait_for(lambda: running.host_runs() and "SeaBIOS (" in running.serial(), what="the firmware")
    boots = running.serial().count("SeaBIOS (")
    resets = running.count("power-reset")
    pyghmi_.set_power("boot")
    wait_for(lambda: running.count("power-reset") > resets, what="the reset")

    def is_booted() -> bool:
        # The BMC ends a session that says nothing for a minute.
        pyghmi_.get_power()
        return running.serial().count("SeaBIOS (") > boots and running.firmware_is_through()

    wait_for(is_booted, what="the boot")


@pytest.mark.parametrize(
    ("name", "told"), [("network", "pxe"), ("hd", "disk"), ("optical", "cdrom"), ("setup", "bios")]
)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("uefi", [False, True])
def test_pyghmi_sets_boot_devices(
    running: Lab, pyghmi_: Any, name: str, told: str, persistent: bool, uefi: bool
) -> None:
    pyghmi_.set_bootdev(name, persist=persistent, uefiboot=uefi)
    assert pyghmi_.get_bootdev() == {"bootdev": name, "persistent": persistent, "uefimode": uefi}
    assert running.status()["host"]["boot_override"] == told
    pyghmi_.set_bootdev("default")
    assert running.status()["host"]["boot_override"] is None


def test_pyghmi_reads_sensors_and_inventory(running: Lab, pyghmi_: Any) -> None:
    readings = {reading.name: reading for reading in pyghmi_.get_sensor_data()}
    assert readings["Temp_Ambient_FP"].value == 25.0
    assert readings["CPU_0"].states == ["Present"]
    inventory = dict(pyghmi_.get_inventory())
    assert inventory["System"]["Manufacturer"] == "Quanta Computer Inc"
    assert inventory["System"]["Serial Number"] in running.ipmi("fru", "print", "0")
    uuid = inventory["System"]["UUID"].lower()
    assert uuid in running.must("node", "info", "n", "--json")


def test_pyghmi_reads_and_clears_the_log(running: Lab, pyghmi_: Any) -> None:
    pyghmi_.get_event_log(clear=True)
    running.ipmi("event", "1")
    [event] = list(pyghmi_.get_event_log(clear=True))
    assert event["component_type"] == "Temperature"
    assert event["event"] == "Upper critical"
    assert list(pyghmi_.get_event_log()) == []


def test_pyghmi_makes_users(running: Lab, pyghmi_: Any) -> None:
    pyghmi_.create_user(7, "eve", "evespassword", channel=1, privilege_level="operator")
    assert pyghmi_.get_user(7)["access"]["privilege_level"] == "operator"
    entered = running.ipmitool(
        "mc", "guid", user="eve", password="evespassword", options=("-I", "lanplus", "-L", "OPERATOR")
    )
    assert entered.code == 0
    assert "eve" in {user["name"] for user in pyghmi_.get_users().values()}
    pyghmi_.user_delete(7)
    entered = running.ipmitool(
        "mc", "guid", user="eve", password="evespassword", options=("-I", "lanplus", "-L", "OPERATOR")
    )
    assert entered.code != 0


def test_pyghmi_reads_the_network_and_the_identity(running: Lab, pyghmi_: Any) -> None:
    network = pyghmi_.get_net_configuration()
    assert network["ipv4_address"] == f"{running.address}/8"
    assert network["mac_address"] in running.ipmi("lan", "print", "1")
    pyghmi_.set_identify(on=True)
    assert running.status()["host"]["identify"] is True
    pyghmi_.set_identify(on=False)
    assert running.status()["host"]["identify"] is False
    assert pyghmi_.raw_command(netfn=0, command=1)["data"][0] & 1


# Its event loop wants a process to itself. Its own pyghmicons ends at the first output: the console gives
# bytes, and it knows text only.
PYGHMI_CONSOLE = """
import os, sys
from pyghmi.ipmi.console import Console
def show(data):
    os.write(1, data if isinstance(data, bytes) else repr(data).encode())
Console(sys.argv[1], "admin", "admin", iohandler=show, force=True).main_loop()
"""


def test_pyghmi_shows_the_console(running: Lab) -> None:
    running.power_off()
    argv = ["-c", PYGHMI_CONSOLE, running.address]
    console = pexpect.spawn(sys.executable, argv, timeout=PATIENCE_S, encoding="latin-1")
    try:
        wait_for(lambda: sol_is_active(running), what="the console")
        running.ipmi("power", "on")
        console.expect_exact("SeaBIOS")
    finally:
        console.close(force=True)
    # The BMC may have given up by itself to repeat what nobody acknowledges.
    running.ipmitool("sol", "deactivate")
    assert not sol_is_active(running)


def sol_is_active(home: Lab) -> bool:
    """Whether somebody has the serial line: Get Payload Activation Status, SOL."""
    return home.raw(6, 0x4A, 1)[1:] != b"\0\0"


# --- python-ipmi and OpenIPMI


def test_python_ipmi(running: Lab) -> None:
    running.ipmi("power", "on")
    interface = pyipmi.interfaces.create_interface(
        "rmcp", slave_address=0x81, host_target_address=0x20, keep_alive_interval=0
    )
    client = pyipmi.create_connection(interface)
    client.session.set_session_type_rmcp(running.address, 623)
    client.session.set_auth_type_user("admin", "admin")
    client.target = pyipmi.Target(ipmb_address=0x20)
    client.open()
    # It asks once.
    interface.set_timeout(float(PATIENCE_S))
    try:
        client.session.establish()
        assert client.get_device_id().manufacturer_id == 7244
        assert client.get_chassis_status().power_on is True
        client.chassis_control_power_down()
        wait_for(lambda: running.status()["host"]["power"] == "off", what="power off")
        client.chassis_control_power_up()
        wait_for(lambda: running.status()["host"]["power"] == "on", what="power on")
        assert bytes(client.get_username(2)).rstrip(b"\0") == b"admin"
        assert client.get_sensor_reading(0xEE)[0] == 25
        names = [
            sdr.device_id_string
            for sdr in client.sdr_repository_entries()
            if hasattr(sdr, "device_id_string")
        ]
        assert b"Temp_Ambient_FP" in [name if isinstance(name, bytes) else name.encode() for name in names]
        client.clear_sel()
        assert client.get_sel_entries_count() == 0
        running.ipmi("event", "1")
        assert [entry.sensor_number for entry in client.sel_entries()] == [0x30]
        fru = client.get_fru_inventory()
        assert fru.board_info_area.manufacturer.string == "Quanta Computer Inc"
        client.session.close()
    finally:
        client.close()


@pytest.mark.parametrize("words", [(), ("-A", "md5"), ("-A", "straight")])
def test_openipmicmd(running: Lab, words: tuple[str, ...]) -> None:
    """Request by request: LUN 0 of the BMC on channel 0Fh, network function, command."""
    login = ("lan", "-U", "admin", "-P", "admin", *words, running.address)
    ran = execute("openipmicmd", "-k", "0f 00 06 01", *login)
    assert ran.code == 0, ran.err
    assert bytes.fromhex(" ".join(ran.out.split()))[5:] == running.raw(6, 1), ran.out
