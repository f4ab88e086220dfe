"""``infrasim type capture`` from running nodes: a node of the captured type cannot be told from the first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

import pytest
from lab import NODE, Lab, free_address, lab

PASSWORD = {"IPMI_PASSWORD": "admin"}
LISTINGS = (
    ("sdr", "elist", "all"),
    ("sensor", "list"),
    ("sdr", "list", "event"),
    ("-v", "sdr", "list", "full"),
    ("fru", "print"),
    ("mc", "info"),
    ("sel", "info"),
)
# What no command tells: which events a sensor can have besides its record's and those that are on, and who
# may set its thresholds where the record says something else. Two of ipmi_sim's commands carry that.
UNSEEN_FIELDS = {"live.asserts", "live.deasserts", "live.access", "live.control"}
UNSEEN_COMMANDS = ("sensor_set_event_support", "sensor_set_threshold")
# How the log is told to ipmi_sim. A node's BMC has Get SEL Allocation Info, bit 0, also where its server does
# not say so, and a capture of it shows that.
LOG = re.compile(r"(?m)^(sel_enable .* )(0x[0-9a-f]{2})$")


@dataclass(frozen=True)
class Server:
    """A node of a type that was captured as ``again``, and what it showed and was given."""

    home: Lab
    said: str
    listings: dict[str, str]
    emu: list[str]
    smbios: dict[str, bytes]


def capture(home: Lab, name: str, *words: str) -> str:
    """Capture the home's node as ``name``; what the command had to say beside its result."""
    login = ("--host", home.address, "--user", "admin", *words)
    ran = home.infrasim("type", "capture", name, *login, env=PASSWORD)
    assert ran.code == 0, ran
    assert ran.out.startswith(f"{home.home}/types/{name}: ")
    return ran.err


def listings(home: Lab) -> dict[str, str]:
    """What ipmitool prints, without times."""
    return {
        " ".join(words): re.sub(r"(?m)^(Last (?:Add|Del) Time) .*$", r"\1", home.ipmi(*words))
        for words in LISTINGS
    }


def emu_file(home: Lab) -> str:
    (path,) = (home.home / NODE).rglob("*.emu")
    return str(path)


def emu_lines(home: Lab) -> list[str]:
    """What ipmi_sim was told, without its first line, which names the type; controllers and FRUs sorted.

    These are captured in the order of the records. Records and sensors keep the order they have.
    """
    text = Path(emu_file(home)).read_text().partition("\n")[2]
    text = LOG.sub(lambda found: found[1] + hex(int(found[2], 16) | 0x01), text)
    head, *blocks = text.split("\n\n")
    frus = sorted(block for block in blocks if block.startswith("mc_add_fru_data"))
    return "\n".join(
        [*sorted(head.splitlines()), *frus, *(block for block in blocks if block not in frus)]
    ).splitlines()


def smbios_files(home: Lab) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home.home / NODE).rglob("*.bin")}


@pytest.fixture(scope="module", params=["quanta_d51", "dell_r730", "s2600kp"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The node, captured with the SMBIOS table of its type."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(type=request.param)
        home.must("type", "render", request.param, str(home.root / "r"))
        said = capture(home, "again", "--smbios", str(home.root / "r" / "smbios.bin"))
        yield Server(home, said, listings(home), emu_lines(home), smbios_files(home))


def test_nothing_is_refused(server: Server) -> None:
    assert "not captured" not in server.said
    assert " 0 errors" in server.home.must("type", "check", "again")


def test_the_captured_type_is_the_nodes(server: Server) -> None:
    words = ("again", "--emu", emu_file(server.home), "--smbios", str(server.home.root / "r" / "smbios.bin"))
    found = json.loads(server.home.must("type", "compare", *words, "--json"))
    assert [item for item in found if item["field"] not in UNSEEN_FIELDS] == []


def test_scrubbed_it_has_no_serial_number(server: Server) -> None:
    node = json.loads(server.home.must("node", "info", NODE, "--json"))
    capture(server.home, "scrubbed", "--scrub")
    for name, there in (("again", True), ("scrubbed", False)):
        text = (server.home.home / "types" / name / "fru.yml").read_text()
        assert (node["serial_number"] in text) == there


def test_as_a_difference_from_its_type_it_says_little(server: Server) -> None:
    base = json.loads(server.home.must("node", "info", NODE, "--json"))["type"]
    capture(server.home, "little", "--extends", base)
    folder = server.home.home / "types" / "little"
    assert (folder / "type.yml").read_text().startswith(f"extends: {base}\n")
    sensors = folder / "sensors.yml"
    assert not sensors.exists() or len(sensors.read_text().splitlines()) < 20


def test_a_node_of_the_captured_type_cannot_be_told_from_the_first(server: Server) -> None:
    server.home.register(type="again")
    server.home.must("node", "restart", NODE)
    assert json.loads(server.home.must("node", "info", NODE, "--json"))["type"] == "again"
    changes = [
        line
        for line in unified_diff(server.emu, emu_lines(server.home), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@")) and not line[1:].startswith(UNSEEN_COMMANDS)
    ]
    assert changes == []
    assert smbios_files(server.home) == server.smbios
    assert listings(server.home) == server.listings


def test_wrong_password_user_and_address(running: Lab) -> None:
    def attempt(*words: str, password: str = "admin") -> tuple[int, str]:
        command = ("type", "capture", "never", *words)
        ran = running.infrasim(*command, env={"IPMI_PASSWORD": password})
        return ran.code, ran.err

    here = ("-H", running.address)
    wrong = f"infrasim: {running.address}, port 623: user '{{}}' or the password is wrong\n"
    assert attempt(*here, "-U", "admin", password="bad") == (2, wrong.format("admin"))
    assert attempt(*here, "-U", "nobody") == (2, wrong.format("nobody"))
    code, said = attempt(*here, "-U", "admin", "-C", "1")
    assert (code, said.splitlines()[-1]) == (5, "hint: -C chooses a cipher suite, -L a privilege level")
    code, said = attempt("-H", free_address(), "-U", "admin")
    assert code == 6
    assert "no BMC answers there" in said
    assert attempt("-H", "no-such-machine.invalid", "-U", "admin")[0] == 2
    assert not (running.home / "types" / "never").exists()


def test_a_user_may_capture_with_less_than_administrator(running: Lab) -> None:
    capture(running, "as-user", "-L", "USER", "-P", "admin", "-p", "623", "-C", "3")
    with pytest.raises(AssertionError, match="exists already"):
        capture(running, "as-user")
