"""The racadm shell of a node, with OpenSSH's client, beside ipmitool and dmidecode: all must say the same."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator

import pexpect
import psutil
import pytest
from lab import NODE, Lab, Ran, execute, free_address, lab, wait_for

from infrasim.personality.smbios import dump_bytes

PORT = 10022
# How long the BMC is away when it is reset: a busy machine is to have time for a login meanwhile.
AWAY_S = 20
STORAGE = [
    {
        "type": "megasas-gen2",
        "drives": [
            {
                "size": 1,
                "serial": "S0M1A2B3",
                "vendor": "SEAGATE",
                "product": "ST600MM0006",
                "rotation_rate": 10500,
            },
            {"size": 2, "serial": "SSD42", "rotation_rate": 1, "wwn": 0x5000C50015EA71AC},
        ],
    },
    {"type": "nvme", "size": 1, "serial": "NV0001"},
]
COMPUTE = {"memory": {"size": 512}, "storage_backend": STORAGE, "networks": [{}, {}]}


class Shell:
    """OpenSSH's client at a node's shell."""

    def __init__(
        self, at: Lab, address: str, *, port: int = PORT, user: str = "admin", password: str = "admin"
    ) -> None:
        self._where = (address, port, user)
        ask = at.root / f"ask-{abs(hash((user, password)))}"
        ask.write_text(f"#!/bin/sh\necho '{password}'\n")
        ask.chmod(0o700)
        self.env = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        self._known = at.root / "known_hosts"

    def words(self, *command: str, terminal: bool = False) -> tuple[str, ...]:
        address, port, user = self._where
        checks = ("StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={self._known}", "LogLevel=ERROR")
        options = [word for check in (*checks, "NumberOfPasswordPrompts=1") for word in ("-o", check)]
        kind = "-tt" if terminal else "-T"
        return ("ssh", "-F", "none", *options, kind, "-p", str(port), f"{user}@{address}", *command)

    def run(self, command: str) -> Ran:
        """One command line."""
        return execute(*self.words(command), env=self.env)

    def must(self, command: str) -> str:
        """One command of racadm, which must succeed, and what it printed."""
        ran = self.run(f"racadm {command}")
        assert ran.code == 0, f"racadm {command}: exit {ran.code}\n{ran.out}{ran.err}"
        return ran.out

    def piped(self, text: str | bytes) -> Ran:
        """A whole session without a terminal, with that input."""
        given = text.encode() if isinstance(text, str) else text
        done = subprocess.run(
            self.words(), input=given, capture_output=True, env=self.env, timeout=300, check=False
        )
        out, err = (said.decode(errors="replace") for said in (done.stdout, done.stderr))
        return Ran(done.returncode, out, err)


def pairs(text: str) -> dict[str, str]:
    """Every ``Key = Value`` of an answer."""
    return dict(re.findall(r"^ *(\S.*?) *= ?(.*?)\r?$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def dell(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A home whose node is a PowerEdge that runs, with a shell."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        bmc = {"address": home.address, "reset_time": AWAY_S}
        home.start(
            type="dell_r730", serial_number="HG2H8D2", asset_tag="RACK7", compute=COMPUTE, bmc=bmc, racadm={}
        )
        yield home


@pytest.fixture
def shell(dell: Lab) -> Shell:
    return Shell(dell, dell.address)


def test_status_and_plan_know_it(dell: Lab) -> None:
    status = dell.status()
    assert status["racadm"] == {"address": dell.address, "port": PORT}
    assert [entry["state"] for entry in status["processes"] if entry["name"] == "racadm"] == ["running"]
    assert f"{dell.address} {PORT}  racadm" in dell.must("node", "plan", NODE)
    assert f"ssh -p {PORT} USER@{dell.address}" in dell.must("node", "info", NODE)


def test_the_server_is_the_same_behind_every_door(dell: Lab, shell: Shell) -> None:
    said = pairs(shell.must("getsysinfo"))
    fru = dell.ipmi("fru", "print", "0")
    assert said["Service Tag"] == "HG2H8D2" == shell.must("getsvctag").strip()
    assert re.search(r"Product Serial +: HG2H8D2", fru)
    assert f": {said['System Model']}" in fru
    lan = dell.ipmi("lan", "print")
    assert said["MAC Address"].lower() in lan
    assert f": {said['Current IP Address']}\n" in lan
    assert f"Firmware Revision         : {said['Firmware Version']}\n" in dell.ipmi("mc", "info")
    hardware = json.loads(dell.must("node", "info", NODE, "--json"))["hardware"]
    macs = re.findall(
        r"^NIC\.Integrated\.1-\d-1 +Ethernet += (\S+)", shell.must("getsysinfo -s"), re.MULTILINE
    )
    assert [mac.lower() for mac in macs] == [card["mac"] for card in hardware["cards"]]


def test_smbios_says_the_same(dell: Lab, shell: Shell) -> None:
    files = sorted((dell.home / NODE / "data" / "smbios").glob("*.bin"))
    dump = dell.root / "smbios.dump"
    dump.write_bytes(dump_bytes([file.read_bytes() for file in files]))

    def dmidecode(word: str) -> str:
        ran = execute("dmidecode", "--from-dump", str(dump), "-s", word)
        assert ran.code == 0, ran.err
        return ran.out.strip()

    inventory = shell.must("hwinventory")
    system = pairs(inventory.partition("[InstanceID: iDRAC")[0])
    assert system["ServiceTag"] == dmidecode("system-serial-number")
    assert system["Model"] == dmidecode("system-product-name")
    assert system["UUID"] == dmidecode("system-uuid")
    assert system["BIOSVersionString"] == dmidecode("bios-version")
    assert system["AssetTag"] == dmidecode("chassis-asset-tag")
    models = re.findall(r"^Model = (Intel.*)$", inventory, re.MULTILINE)
    assert models == dmidecode("processor-version").splitlines()


def test_disks_are_those_of_the_host(dell: Lab, shell: Shell) -> None:
    blocks = re.split(r"^(?=Disk)", shell.must("storage get pdisks -o"), flags=re.MULTILINE)[1:]
    said = [pairs(block) for block in blocks]
    assert [
        (disk["SerialNumber"], disk["Size"], disk["MediaType"], disk["BusProtocol"]) for disk in said
    ] == [
        ("S0M1A2B3", "1.00 GB", "HDD", "SAS"),
        ("SSD42", "2.00 GB", "SSD", "SAS"),
        ("NV0001", "1.00 GB", "SSD", "PCIe"),
    ]
    assert (said[0]["Manufacturer"], said[0]["ProductId"]) == ("SEAGATE", "ST600MM0006")
    info = json.loads(dell.must("node", "info", NODE, "--json"))["hardware"]["controllers"]
    drives = [drive for controller in info for drive in controller["drives"]]
    assert [drive["serial_number"] for drive in drives] == [disk["SerialNumber"] for disk in said]
    assert [f"{drive['size_bytes'] / 2**30:.2f} GB" for drive in drives] == [disk["Size"] for disk in said]


def test_power_goes_on_and_off_for_everybody(dell: Lab, shell: Shell) -> None:
    assert shell.must("serveraction powerstatus") == "Server power status: ON\n"
    assert "successful" in shell.must("serveraction powerdown")
    wait_for(lambda: dell.ipmi("power", "status") == "Chassis Power is off\n", what="the host's end")
    assert shell.must("serveraction powerstatus") == "Server power status: OFF\n"
    refused = shell.run("racadm serveraction hardreset")
    assert (refused.code, refused.out[:6]) == (1, "ERROR:")
    assert "already powered OFF" in shell.must("serveraction powerdown")
    dell.ipmi("power", "on")
    assert shell.must("serveraction powerstatus") == "Server power status: ON\n"
    before = dell.count("power-reset")
    wait_for(lambda: dell.pid("qemu"), what="the host")
    wait_for(lambda: shell.run("racadm serveraction hardreset").code == 0, what="a reset")
    assert dell.count("power-reset") > before
    assert re.search(r"chassis power control command", dell.ipmi("chassis", "restart_cause"))


def test_the_lamp_is_one_lamp(dell: Lab, shell: Shell) -> None:
    dell.ipmi("chassis", "identify", "0")
    assert "Not-Blinking" in shell.must("getled")
    shell.must("setled -l 1")
    assert dell.status()["host"]["identify"] is True
    assert shell.must("getled") == "LED State: Blinking\n"
    dell.ipmi("chassis", "identify", "0")
    assert "Not-Blinking" in shell.must("getled")


def test_the_event_log_is_one_log(dell: Lab, shell: Shell) -> None:
    dell.ipmi("sel", "clear")
    dell.ipmi("event", "Fan1", "lcr", "assert")
    wait_for(lambda: "Total Records = 1" in shell.must("getsel -i"), what="the event")
    said = shell.must("getsel")
    assert re.search(r"^Severity: +Critical$", said, re.MULTILINE)
    assert re.search(
        r"^Description: System Board Fan1: Went low across the lower critical", said, re.MULTILINE
    )
    (clock,) = re.findall(r"^Date/Time: +\S+ (\S+)$", said, re.MULTILINE)
    assert f"| {clock} " in dell.ipmi("sel", "list", options=("-Z", "-I", "lanplus"))
    shell.must("clrsel")
    assert "Total Records = 0" in shell.must("getsel -i")
    assert "Entries          : 0" in dell.ipmi("sel", "info")


def test_sensors_read_the_same(dell: Lab, shell: Shell) -> None:
    said = {
        re.split(r" {2,}", line)[0]: re.split(r" {2,}", line)[2]
        for line in shell.must("getsensorinfo").splitlines()
        if line.count("  ") > 2 and not line.startswith(("<", "Sensor"))
    }
    readings = dict(re.findall(r"^(\S[^|]*?) +\| (\d+)(?:\.0+)? +\|", dell.ipmi("sensor"), re.MULTILINE))
    assert said["System Board Inlet Temp"] == f"{readings['Inlet Temp']}C"
    assert said["System Board Fan1"] == f"{readings['Fan1']}RPM"


def test_the_next_boot_is_the_bmcs(dell: Lab, shell: Shell) -> None:
    # A host whose firmware begins anew just now would use what is set.
    dell.power_off()
    shell.must("set iDRAC.ServerBoot.FirstBootDevice PXE")
    assert "Force PXE" in dell.ipmi("chassis", "bootparam", "get", "5")
    assert dell.status()["host"]["boot_override"] == "pxe"
    dell.ipmi("chassis", "bootdev", "none")
    assert "FirstBootDevice=Normal" in shell.must("get iDRAC.ServerBoot")
    dell.ipmi("power", "on")


def test_users_of_the_bmc_log_in_with_their_rights(dell: Lab) -> None:
    for words in (
        "set name 5 watcher",
        "set password 5 Quiet1234",
        "enable 5",
        "priv 5 2 1",
        "set name 6 longone",
        "set password 6 AVeryLongPassword20b 20",
        "priv 6 3 1",
        "enable 6",
    ):
        dell.ipmi("user", *words.split())
    for number in ("5", "6"):
        dell.ipmi("channel", "setaccess", "1", number, "ipmi=on")
    watcher = Shell(dell, dell.address, user="watcher", password="Quiet1234")
    assert "HG2H8D2" in watcher.must("getsysinfo -s")
    refused = watcher.run("racadm setled -l 1")
    assert (refused.code, refused.out) == (
        1,
        "ERROR: The user has insufficient privileges for this operation.\n",
    )
    Shell(dell, dell.address, user="longone", password="AVeryLongPassword20b").must("setled -l 0")
    assert "UserName=watcher" in watcher.must("get iDRAC.Users.5")
    dell.ipmi("user", "disable", "5")
    assert watcher.run("racadm getled").code == 255


@pytest.mark.parametrize(
    ("user", "password"),
    [("admin", "wrong"), ("nobody", "admin"), ("admin", "a" * 200), ("admin", "adm"), ("x" * 300, "admin")],
)
def test_wrong_logins_are_refused(dell: Lab, user: str, password: str) -> None:
    ran = Shell(dell, dell.address, user=user, password=password).run("racadm getled")
    assert (ran.code, ran.out) == (255, "")
    assert "Permission denied" in ran.err, "an answer, not the end of the time for a login"


def test_a_session_at_a_terminal(shell: Shell) -> None:
    ssh, *words = shell.words(terminal=True)
    with pexpect.spawn(ssh, words, env=shell.env, encoding="utf-8", timeout=180) as seen:
        for prompt, line, answer in (
            ("/admin1-> ", "racadm", ""),
            ("racadm>>", "getsvctag", "racadm getsvctag\r\nHG2H8D2\r\n"),
            ("racadm>>", "bogus", "ERROR: Invalid subcommand specified: bogus."),
            ("racadm>>", "x" * 2000, "ERROR: "),
            ("racadm>>", "exit", ""),
            ("/admin1-> ", "racadm serveraction powerstatus", "Server power status: ON\r\n"),
            ("/admin1-> ", "quit", "CLP Session terminated"),
        ):
            seen.expect_exact(prompt)
            seen.sendline(line)
            if answer:
                seen.expect_exact(answer)
        seen.expect(pexpect.EOF)
        seen.wait()
    assert seen.exitstatus == 0


def test_a_session_that_is_piped(shell: Shell) -> None:
    seen = shell.piped("racadm\ngetsvctag\nexit\nexit\n")
    assert seen.code == 0
    assert "/admin1-> racadm>>racadm getsvctag\nHG2H8D2\n" in seen.out
    assert "CLP Session terminated" in seen.out
    assert shell.piped("racadm getsvctag").out.endswith("HG2H8D2\n/admin1-> "), "a last line without an end"


def test_exit_codes_of_command_lines(shell: Shell) -> None:
    assert [
        shell.run(line).code for line in ("racadm getled", "racadm bogus", "racadm", "uname -a", "help")
    ] == [
        0,
        1,
        1,
        1,
        0,
    ]


def test_nothing_secret_is_seen(dell: Lab) -> None:
    pid = dell.pid("racadm")
    assert pid is not None
    assert not any("admin" in word for word in psutil.Process(pid).cmdline())
    workspace = dell.home / NODE
    for path in (workspace / "data" / "racadm.json", workspace / "ssh" / "host_keys"):
        assert path.stat().st_mode & 0o777 == 0o600
    log = (dell.logs / NODE / "racadm.log").read_text()
    assert "'admin' logged in" in log
    assert "Quiet1234" not in log


def test_a_reset_of_the_bmc_takes_it_away_for_a_while(dell: Lab, shell: Shell) -> None:
    before = dell.count("bmc-back")
    assert "initiated successfully" in shell.must("racreset")
    assert dell.count("bmc-reset") == 1
    # The password is right: nothing but the BMC's absence keeps it out.
    wait_for(lambda: "Permission denied" in shell.run("racadm getled").err, what="that nobody is let in")
    wait_for(lambda: dell.count("bmc-back") > before, what="the BMC's return")
    wait_for(lambda: shell.run("racadm getled").code == 0, what="a login")


def test_what_dies_comes_back(dell: Lab, shell: Shell) -> None:
    key = (dell.home / NODE / "ssh" / "host_keys").read_bytes()
    pid = dell.kill("racadm")
    wait_for(lambda: dell.pid("racadm") not in (None, pid), what="another racadm")
    wait_for(lambda: shell.run("racadm getled").code == 0, what="a login")
    assert (dell.home / NODE / "ssh" / "host_keys").read_bytes() == key


def test_it_outlives_its_supervisor(dell: Lab, shell: Shell) -> None:
    pid = dell.pid("racadm")
    assert pid is not None
    dell.kill("supervisor")
    assert shell.run("racadm getled").code == 255, "nobody can say who may come in"
    dell.must("node", "start", NODE)
    assert dell.pid("racadm") == pid
    assert shell.run("racadm getled").code == 0


# --- those who mean no good


def resident_mib(at: Lab) -> float:
    pid = at.pid("racadm")
    assert pid is not None
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)


def test_half_open_and_babbling_connections_keep_nobody_out(dell: Lab, shell: Shell) -> None:
    shell.must("getled")
    before = resident_mib(dell)
    with contextlib.ExitStack() as opened:
        for number in range(200):
            one = opened.enter_context(socket.create_connection((dell.address, PORT)))
            one.settimeout(5)
            with contextlib.suppress(OSError):
                match number % 4:
                    case 0:
                        pass
                    case 1:
                        one.sendall(b"SSH-2.0-nobody\r\n")
                    case 2:
                        one.sendall(os.urandom(20000))
                    case _:
                        one.sendall(b"SSH-2.0-x\r\n" + b"\xff" * 40000)
        assert shell.must("getsvctag") == "HG2H8D2\n"
    assert shell.must("getsvctag") == "HG2H8D2\n"
    assert resident_mib(dell) < before + 40


@pytest.mark.parametrize(
    "text",
    [
        "x" * 3_000_000 + "\nracadm getsvctag\n",
        "racadm getled " + "a" * 100_000 + " ; racadm serveraction powerdown\nracadm getsvctag\n",
        "\0\1\2\x1b[2J\x7f\n" * 50 + "racadm getsvctag\n",
        b"\xff\xfe\xfd" * 1000 + b"\nracadm getsvctag\n",
        "racadm 'unclosed\nracadm \"\nracadm getsvctag\n",
        "\n" * 2000 + "racadm getsvctag\n",
    ],
    ids=["long", "long-tail", "control", "not-text", "quotes", "empty"],
)
def test_lines_that_nobody_types(dell: Lab, shell: Shell, text: str | bytes) -> None:
    before = resident_mib(dell)
    seen = shell.piped(text)
    assert "HG2H8D2\n" in seen.out
    assert dell.ipmi("power", "status") == "Chassis Power is on\n"
    assert resident_mib(dell) < before + 40


def test_many_at_once(dell: Lab, shell: Shell) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(shell.run("racadm getsysinfo").code)) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 12


# --- other nodes


def test_one_with_a_login_and_answers_of_its_own(scratch: Lab) -> None:
    answers = scratch.root / "answers"
    answers.mkdir()
    (answers / "getled").write_text("LED State: Purple\n")
    own = {"username": "root", "password": "calvin", "data": str(answers)}
    settings = {"type": "dell_r630", "bmc": {"startnow": False}}
    scratch.start(racadm=own, **settings)
    root = Shell(scratch, scratch.address, user="root", password="calvin")
    assert root.must("getled") == "LED State: Purple\n"
    assert root.must("serveraction powerstatus") == "Server power status: OFF\n", (
        "its host is off, and it is there"
    )
    (answers / "getled").write_text("LED State: Green\n")
    assert root.must("getled") == "LED State: Green\n"
    assert Shell(scratch, scratch.address).run("racadm getled").code == 255, "the BMC's users are not asked"
    kept = (scratch.home / NODE / "ssh" / "host_keys").read_bytes()
    scratch.must("node", "restart", NODE)
    assert (scratch.home / NODE / "ssh" / "host_keys").read_bytes() == kept
    assert root.must("getled") == "LED State: Green\n"
    # A second node of the same place is refused, one that leaves the port open is given another.
    address = scratch.address
    other = {
        **settings,
        "bmc": {
            "startnow": False,
            "address": free_address(6231),
            "ipmi_over_lan_port": 6231,
            "main_channel": 8,
        },
    }
    scratch.register("m", racadm={"address": address, "port": PORT}, **other)
    refused = scratch.infrasim("node", "start", "m")
    assert refused.code == 4
    assert f"racadm: {address} port {PORT}/tcp is in use by infrasim node {NODE}" in refused.err
    scratch.start("m", racadm={"address": address}, **other)
    assert scratch.status("m")["racadm"] == {"address": address, "port": PORT + 1}
    admin = Shell(scratch, address, port=PORT + 1)
    assert admin.must("getsvctag") != root.must("getsvctag")
    scratch.must("node", "destroy", NODE)
    scratch.must("node", "destroy", "m")
    assert not (scratch.home / NODE).exists()


def test_a_server_of_somebody_else_has_none(scratch: Lab) -> None:
    file = scratch.node_file(type="quanta_d51", racadm={})
    checked = scratch.infrasim("config", "check", str(file))
    assert checked.code == 2
    assert "racadm: the server type quanta_d51 has no racadm" in checked.out + checked.err
    missing = scratch.node_file(type="dell_r730", racadm={"data": str(scratch.root / "nowhere")})
    checked = scratch.infrasim("config", "check", str(missing))
    assert checked.code == 2
    assert "racadm.data" in checked.out + checked.err
