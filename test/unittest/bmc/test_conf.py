"""ipmi_sim's configuration and socat's arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.bmc.conf import serial_line_argv, socat_quote, vbmc_conf
from infrasim.errors import UsageError
from infrasim.paths import NodePaths

PATHS = NodePaths("node-0", Path("/home/lab/.infrasim/node-0"), Path("/var/log/infrasim/node-0"))


def test_vbmc_conf(golden: Callable[[str, str], None]) -> None:
    golden("bmc/vbmc.conf", vbmc_conf(PATHS, private_address="127.99.1.2", channel_port=9002))


def test_a_console_is_where_it_was_asked_for() -> None:
    text = vbmc_conf(PATHS, private_address="127.99.1.2", channel_port=9002, console_port=9000)
    assert text.splitlines()[-1] == "console 127.0.0.1 9000"


@pytest.mark.parametrize("letter", ['"', "\\", "\n", "\r", "\0"])
def test_what_ipmi_sim_cannot_quote_is_refused(letter: str) -> None:
    bad = f"a{letter}b"
    with pytest.raises(UsageError) as caught:
        vbmc_conf(PATHS, private_address=bad, channel_port=9002)
    assert caught.value.message == (
        f"{bad!r} cannot stand in ipmi_sim's configuration: it holds a quote, backslash or line break"
    )


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
