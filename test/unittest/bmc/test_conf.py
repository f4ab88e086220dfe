"""ipmi_sim's configuration and scripts: their text, their quoting, and the scripts as sh runs them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.bmc.conf import (
    BmcSettings,
    chassiscontrol,
    lan_defaults,
    lancontrol,
    serial_line_argv,
    socat_quote,
    vbmc_conf,
)
from infrasim.errors import UsageError
from infrasim.paths import NodePaths

PATHS = NodePaths("node-0", Path("/home/lab/.infrasim/node-0"), Path("/var/log/infrasim/node-0"))
SPACED = NodePaths("node-0", Path("/home/a lab (old), $HOME/node-0"), Path("/var/log/node-0"))
SETTINGS = BmcSettings(
    private_address="127.99.1.2",
    port=623,
    kcs_port=9002,
    guid="3f1c6f2e8d7b4c559a550d5c3a1f7e21",
    username="admin",
    password="secret word",
    serial_over_lan=True,
    lan_address="192.0.2.10",
    lan_netmask="255.255.255.0",
    lan_mac="52:54:00:12:34:56",
    socat_program="/usr/bin/socat",
)
Golden = Callable[[str, str], None]


# --- text


def test_vbmc_conf(golden: Golden) -> None:
    golden("bmc/vbmc.conf", vbmc_conf(PATHS, SETTINGS))


def test_vbmc_conf_without_serial_over_lan_has_no_sol_line() -> None:
    with_sol = vbmc_conf(PATHS, SETTINGS).splitlines()
    without = vbmc_conf(PATHS, dataclasses.replace(SETTINGS, serial_over_lan=False)).splitlines()
    assert set(with_sol) - set(without) == {f'sol "{PATHS.pty}" 115200'}
    assert len(without) == len(with_sol) - 1


def test_vbmc_conf_with_blanks_in_paths(golden: Golden) -> None:
    golden("bmc/vbmc-blanks.conf", vbmc_conf(SPACED, SETTINGS))


def test_scripts(golden: Golden) -> None:
    golden("bmc/chassiscontrol", chassiscontrol(PATHS, SETTINGS))
    golden("bmc/lancontrol", lancontrol(PATHS, SETTINGS))


def with_text(key: str, text: str) -> BmcSettings:
    """The settings with one text replaced."""
    return BmcSettings(**{**dataclasses.asdict(SETTINGS), key: text})


@pytest.mark.parametrize("letter", ['"', "\\", "\n", "\r", "\0"])
@pytest.mark.parametrize("key", ["username", "password", "guid", "private_address"])
def test_what_ipmi_sim_cannot_quote_is_refused(key: str, letter: str) -> None:
    bad = f"a{letter}b"
    with pytest.raises(UsageError) as caught:
        vbmc_conf(PATHS, with_text(key, bad))
    assert caught.value.message == (
        f"{bad!r} cannot stand in ipmi_sim's configuration: it holds a quote, backslash or line break"
    )


@pytest.mark.parametrize("letter", ["'", "\n"])
@pytest.mark.parametrize("render", [chassiscontrol, lancontrol])
def test_path_that_a_script_cannot_carry_is_refused(
    render: Callable[[NodePaths, BmcSettings], str], letter: str
) -> None:
    paths = NodePaths("node-0", Path(f"/home/o{letter}brien/node-0"), Path("/var/log"))
    with pytest.raises(UsageError, match=r"cannot be passed to a script: it holds a quote or line break$"):
        render(paths, SETTINGS)


def test_socat_quote() -> None:
    assert socat_quote(Path("/a b/c")) == "/a b/c"
    assert socat_quote(Path("/x,y:z!")) == r"/x\,y\:z\!"
    assert socat_quote(Path("/\\\"'()[]{}")) == "/" + r"\\\"\'\(\)\[\]\{\}"


def test_serial_line_argv() -> None:
    line = serial_line_argv("/usr/bin/socat", Path("/n/pty-a"), Path("/n/serial,1.sock"), Path("/l,1"))
    assert line == (
        "/usr/bin/socat",
        "-t",
        "0",
        "-R",
        "/l,1",
        "PTY,link=/n/pty-a,rawer,unlink-close=0",
        r"UNIX-LISTEN:/n/serial\,1.sock,fork,unlink-early,mode=0600",
    )


def test_lan_defaults_of_an_ipv6_bmc_show_no_ipv4_address() -> None:
    ipv6 = lan_defaults(dataclasses.replace(SETTINGS, lan_address="fd00::1"))
    assert (ipv6["ip_addr"], ipv6["subnet_mask"]) == ("0.0.0.0", "0.0.0.0")
    assert lan_defaults(SETTINGS)["ip_addr"] == "192.0.2.10"


# --- the scripts, run by sh

process = pytest.mark.allow("process")


@dataclasses.dataclass
class Scripts:
    """Both scripts of a node in a folder, with a socat that writes down what it is told."""

    paths: NodePaths
    reply: Path
    request: Path

    def run(self, script: str, *words: str) -> tuple[int, str]:
        """Exit code and standard output of one call, as ipmi_sim makes it."""
        argv = ["/bin/sh", str(self.paths.scripts / script), *words]
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=10
        )
        return done.returncode, done.stdout

    def chassis(self, *words: str) -> tuple[int, str]:
        return self.run("chassiscontrol", "0x20", *words)


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    paths = NodePaths("node-0", tmp_path / "a home" / "node-0", tmp_path / "logs")
    for folder in (paths.scripts, paths.chassis, paths.lan):
        folder.mkdir(parents=True)
    reply, request = tmp_path / "reply", tmp_path / "request"
    socat = tmp_path / "fake socat"
    socat.write_text(f"#!/bin/sh\necho \"$*\" >'{request}'\ncat >>'{request}'\ncat '{reply}'\n")
    socat.chmod(0o700)
    settings = dataclasses.replace(SETTINGS, socat_program=str(socat))
    paths.chassiscontrol.write_text(chassiscontrol(paths, settings))
    paths.lancontrol.write_text(lancontrol(paths, settings))
    (paths.chassis / "power").write_text("1\n")
    (paths.chassis / "boot").write_text("pxe\n")
    return Scripts(paths, reply, request)


@process
def test_shellcheck_is_content_with_the_scripts(scripts: Scripts) -> None:
    shellcheck = str(Path(sys.executable).parent / "shellcheck")
    for script in (scripts.paths.chassiscontrol, scripts.paths.lancontrol):
        done = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


@process
def test_chassis_get_answers_from_files(scripts: Scripts) -> None:
    assert scripts.chassis("get", "power") == (0, "power:1\n")
    assert scripts.chassis("get", "boot", "power") == (0, "boot:pxe\npower:1\n")
    (scripts.paths.chassis / "power").write_text("0\n")
    assert scripts.chassis("get", "power") == (0, "power:0\n")


@process
@pytest.mark.parametrize("key", ["fan", "", "..", "../power", "p*", "power boot", "POWER", "$(id)", "-"])
def test_chassis_get_of_anything_else_fails(scripts: Scripts, key: str) -> None:
    assert scripts.chassis("get", key) == (1, "")


@process
def test_chassis_get_of_a_file_cut_short_fails(scripts: Scripts) -> None:
    (scripts.paths.chassis / "power").write_text("")
    assert scripts.chassis("get", "power") == (1, "")


@process
@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("power", "0"), '"power", "0"'),
        (("boot", "pxe"), '"boot", "pxe"'),
        (("identify", "15 0"), '"identify", "15", "0"'),
    ],
)
def test_chassis_set_passes_the_words_on(scripts: Scripts, words: tuple[str, ...], sent: str) -> None:
    scripts.reply.write_text('{"ok": true}\n')
    assert scripts.chassis("set", *words) == (0, "")
    address = f"UNIX-CONNECT:{socat_quote(scripts.paths.control_socket)}"
    assert scripts.request.read_text() == (f'-t 5 - {address}\n{{"verb": "chassis", "words": [{sent}]}}\n')


@process
@pytest.mark.parametrize("reply", ['{"ok": false, "error": "the chassis is off"}\n', "", "nonsense\n"])
def test_chassis_set_fails_when_the_supervisor_refuses_or_is_gone(scripts: Scripts, reply: str) -> None:
    scripts.reply.write_text(reply)
    assert scripts.chassis("set", "power", "0") == (1, "")


@process
@pytest.mark.parametrize("word", ['"', "$(touch hacked)", "a;b", "*", "é", "a\\", "{}", "`id`", "'"])
def test_chassis_set_passes_no_hostile_word_on(scripts: Scripts, word: str) -> None:
    scripts.reply.write_text('{"ok": true}\n')
    assert scripts.chassis("set", "power", word) == (1, "")
    assert not scripts.request.exists()


@process
@pytest.mark.parametrize("words", [("check", "power"), ("",), ("GET", "power")])
def test_chassis_knows_two_actions_only(scripts: Scripts, words: tuple[str, ...]) -> None:
    assert scripts.chassis(*words) == (1, "")


@process
def test_lan_parameters_are_the_plans_until_they_are_set(scripts: Scripts) -> None:
    keys = tuple(lan_defaults(SETTINGS))
    assert scripts.run("lancontrol", "get", *keys) == (
        0,
        "ip_addr:192.0.2.10\nip_addr_src:static\nmac_addr:52:54:00:12:34:56\nsubnet_mask:255.255.255.0\n"
        "default_gw_ip_addr:0.0.0.0\ndefault_gw_mac_addr:00:00:00:00:00:00\n"
        "backup_gw_ip_addr:0.0.0.0\nbackup_gw_mac_addr:00:00:00:00:00:00\n",
    )
    assert scripts.run("lancontrol", "check", "ip_addr", "10.0.0.9") == (0, "")
    assert scripts.run("lancontrol", "get", "ip_addr") == (0, "ip_addr:192.0.2.10\n"), "only checked"
    assert scripts.run("lancontrol", "set", "ip_addr", "10.0.0.9") == (0, "")
    assert scripts.run("lancontrol", "get", "ip_addr", "ip_addr_src") == (
        0,
        "ip_addr:10.0.0.9\nip_addr_src:static\n",
    )
    assert [path.name for path in scripts.paths.lan.iterdir()] == ["ip_addr"]


@process
@pytest.mark.parametrize(
    "words",
    [
        ("get", "hostname"),
        ("get", "../chassis/power"),
        ("get", ""),
        ("set", "hostname", "1"),
        ("set", "ip_addr"),
        ("set", "ip_addr", ""),
        ("set", "ip_addr", "1;id"),
        ("set", "ip_addr", "$(id)"),
        ("set", "../../x", "1"),
        ("check", "ip_addr", "a b"),
        ("check",),
        ("dump",),
    ],
)
def test_lan_script_refuses_everything_else(scripts: Scripts, words: tuple[str, ...]) -> None:
    assert scripts.run("lancontrol", *words) == (1, "")
    assert list(scripts.paths.lan.iterdir()) == []


@process
def test_lan_set_that_cannot_be_kept_fails(scripts: Scripts) -> None:
    scripts.paths.lan.rmdir()
    assert scripts.run("lancontrol", "set", "ip_addr", "10.0.0.9")[0] != 0
