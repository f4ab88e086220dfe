"""What IPMI tools see on the LAN: ipmitool with its default options, FreeIPMI, IPv4 and IPv6."""

from __future__ import annotations

import os
import re
import socket
import time

import pytest
from lab import COMMAND_TIMEOUT_S, IPMITOOL_WAITS_S, NODE, Lab, execute, free_port

# Add SEL Entry: record id, type 2, time, generator, revision, sensor type and number, event data.
ADD_AN_EVENT = "0x0a 0x44 0 0 2 0 0 0 0 0x20 0 4 1 0x30 1 0x59 0 0"


def test_default_options_answer_at_once(running: Lab) -> None:
    """Without the front, ipmitool asks for the cipher suites again and again and then does without them."""
    patience_s = 60
    begin = time.monotonic()
    ran = running.ipmitool("mc", "info", options=("-I", "lanplus", "-N", str(patience_s)))
    assert time.monotonic() - begin < patience_s, "each of its questions is answered at the first time"
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == running.ipmi("mc", "info", options=("-I", "lanplus", "-C", "3"))


def test_the_controller_is_a_quantas(running: Lab) -> None:
    said = running.ipmi("mc", "info")
    assert re.search(r"Device ID +: 32\n", said)
    assert re.search(r"Manufacturer ID +: 7244\n", said)
    assert re.search(r"Product ID +: 12866 ", said)


def test_sensors_of_several_kinds_have_readings_and_thresholds(running: Lab) -> None:
    rows = [line.split("|") for line in running.ipmi("sensor", "list").splitlines()]
    units = {row[2].strip() for row in rows}
    assert {"degrees C", "Volts", "RPM", "discrete"} <= units
    readings = [row for row in rows if re.fullmatch(r"[\d.]+", row[1].strip())]
    assert len(readings) >= 12
    with_thresholds = [row for row in readings if any(cell.strip() not in ("na", "") for cell in row[4:10])]
    assert len(with_thresholds) >= 6
    assert len(running.ipmi("sdr", "list").splitlines()) >= 12


def test_fru_and_smbios_and_node_tell_one_serial_number(running: Lab) -> None:
    import json

    serial = json.loads(running.must("node", "info", NODE, "--json"))["serial_number"]
    fru = running.ipmi("fru", "print", "0")
    assert re.search(r"Product Manufacturer +: Quanta", fru)
    assert re.search(rf"Product Serial +: {serial}\n", fru)
    structures = (running.home / NODE / "data" / "smbios").glob("*.bin")
    assert [path for path in structures if path.read_bytes()[0] == 1 and serial.encode() in path.read_bytes()]


def test_event_log_is_empty_after_a_first_start_and_the_clock_is_right(running: Lab) -> None:
    listed = running.ipmitool("sel", "list")
    assert "SEL has no entries" in listed.out + listed.err
    said = running.ipmi("sel", "time", "get").strip()
    year = time.gmtime().tm_year
    assert f"/{year % 100:02d} " in said or str(year) in said, said


def test_lan_parameters_and_users(running: Lab) -> None:
    lan = running.ipmi("lan", "print", "1")
    assert re.search(rf"IP Address +: {re.escape(running.address)}\n", lan)
    assert re.search(r"MAC Address +: 52:54:00(:[0-9a-f]{2}){3}\n", lan)
    users = running.ipmi("user", "list", "1")
    assert re.search(r"^2 +admin .* ADMINISTRATOR", users, re.MULTILINE)


def test_lan_set_is_remembered_and_never_touches_this_machine(running: Lab) -> None:
    # Other interfaces and their addresses are other tests', which may run at the same time.
    loopback = ("ip", "-json", "address", "show", "dev", "lo")
    before = execute(*loopback).out
    assert "127.0.0.1" in before
    running.ipmi("lan", "set", "1", "ipaddr", "10.99.99.9")
    try:
        assert re.search(r"IP Address +: 10\.99\.99\.9\n", running.ipmi("lan", "print", "1"))
        assert execute(*loopback).out == before
        everything = execute("cat", "/proc/net/fib_trie").out
        assert "127.0.0.1\n" in everything
        assert "10.99.99.9\n" not in everything
    finally:
        running.ipmi("lan", "set", "1", "ipaddr", running.address)


def test_wrong_password_wrong_user_and_cipher_suite_zero_are_refused(running: Lab) -> None:
    for user, password, options in (
        ("admin", "wrong", ("-C", "3")),
        ("nobody", "admin", ("-C", "3")),
        ("admin", "wrong", ("-C", "0")),
        ("admin", "admin", ("-C", "0")),
    ):
        login = ("-I", "lanplus", *options, "-H", running.address, "-U", user, "-P", password)
        ran = execute("ipmitool", *login, "-N", "1", "-R", "1", "mc", "info")
        assert ran.code != 0, f"{user} {password} {options} got in"
        assert "Device ID" not in ran.out
    refused = running.ipmitool("-C", "0", "mc", "info").err
    assert "no matching cipher suite" in refused


def test_ipmi_1_5_works(running: Lab) -> None:
    assert "Chassis Power is on" in running.ipmitool("power", "status", options=("-I", "lan")).out


def test_clients_at_the_same_time_do_not_mix(running: Lab) -> None:
    import subprocess

    patience = ("-N", str(IPMITOOL_WAITS_S))
    login = ["ipmitool", "-I", "lanplus", *patience, "-H", running.address, "-U", "admin", "-P", "admin"]
    words = [
        ["mc", "info"],
        ["sdr", "list"],
        ["fru", "print"],
        ["lan", "print", "1"],
        ["power", "status"],
    ] * 3
    alone = {tuple(word): execute(*login, *word).out for word in words[:5]}
    clients = [subprocess.Popen([*login, *word], stdout=subprocess.PIPE, text=True) for word in words]
    for word, client in zip(words, clients, strict=True):
        # Whoever reads records reserves them, which ends the reservation of another: that waits and retries.
        out, _ = client.communicate(timeout=COMMAND_TIMEOUT_S)
        assert client.returncode == 0
        assert out == alone[tuple(word)]


@pytest.mark.parametrize("tool", ["ipmi-sensors", "ipmi-fru"])
def test_freeipmi_reads_every_record_without_a_warning(running: Lab, tool: str) -> None:
    login = ("-h", running.address, "-D", "LAN_2_0", "-u", "admin", "-p", "admin")
    # Its cache of records goes with the lab: another node may have had this address.
    ran = execute(tool, *login, "--quiet-cache", env={**os.environ, "HOME": str(running.root)})
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) >= 8
    assert "error" not in ran.err.lower(), ran.err


def test_freeipmi_switches_power(running: Lab) -> None:
    login = ("-h", running.address, "-D", "LAN_2_0", "-u", "admin", "-p", "admin")
    assert execute("ipmipower", *login, "--stat").out.strip() == f"{running.address}: on"
    # Its answer comes when the host is gone, or a moment later.
    assert execute("ipmipower", *login, "--off", "--wait-until-off").out.strip() == f"{running.address}: ok"
    assert execute("ipmipower", *login, "--stat").out.strip() == f"{running.address}: off"
    assert execute("ipmipower", *login, "--on").out.strip() == f"{running.address}: ok"
    assert running.status()["host"]["power"] == "on"


@pytest.mark.parametrize(("everywhere", "places"), [("0.0.0.0", ["127.0.0.1"]), ("::", ["127.0.0.1", "::1"])])
def test_a_bmc_on_every_address(scratch: Lab, everywhere: str, places: list[str]) -> None:
    port = free_port(socket.SOCK_DGRAM, "0.0.0.0")
    scratch.start(bmc={"address": everywhere, "ipmi_over_lan_port": port})
    for place in places:
        login = ("-H", place, "-p", str(port), "-U", "admin", "-P", "admin")
        ran = execute("ipmitool", "-I", "lanplus", *login, "mc", "info")
        assert ran.code == 0, (place, ran.err)


def test_a_bmc_on_an_interface(scratch: Lab) -> None:
    port = free_port(socket.SOCK_DGRAM, "0.0.0.0")
    scratch.register(bmc={"interface": "lo", "ipmi_over_lan_port": port, "address": None})
    scratch.must("node", "start", NODE)
    assert scratch.status()["bmc"] == {"address": "127.0.0.1", "port": port}


def test_a_bmc_on_an_ipv6_address(scratch: Lab) -> None:
    port = free_port(socket.SOCK_DGRAM, "0.0.0.0")
    scratch.start(bmc={"address": "::1", "ipmi_over_lan_port": port})
    login = ("-H", "::1", "-p", str(port), "-U", "admin", "-P", "admin")
    ran = execute("ipmitool", "-I", "lanplus", *login, "mc", "info")
    assert ran.code == 0, ran.err
    assert scratch.status()["bmc"] == {"address": "::1", "port": port}


def test_users_and_events_outlive_a_restart_and_end_with_destroy(scratch: Lab) -> None:
    scratch.start()
    for words in (
        ("user", "set", "name", "3", "bob"),
        ("user", "set", "password", "3", "bobs"),
        ("user", "priv", "3", "4", "1"),
        ("user", "enable", "3"),
        ("channel", "setaccess", "1", "3", "callin=on", "ipmi=on", "link=on", "privilege=4"),
        ("raw", *ADD_AN_EVENT.split()),
    ):
        scratch.ipmi(*words)
    bob = ("-I", "lanplus", "-H", scratch.address, "-U", "bob", "-P", "bobs")
    assert execute("ipmitool", *bob, "mc", "info").code == 0
    entries = scratch.ipmi("sel", "list")
    scratch.must("node", "restart", NODE)
    assert execute("ipmitool", *bob, "mc", "info").code == 0
    assert scratch.ipmi("sel", "list") == entries
    scratch.must("node", "destroy", NODE)
    scratch.must("node", "start", NODE)
    assert execute("ipmitool", *bob, "-N", "1", "-R", "1", "mc", "info").code != 0
