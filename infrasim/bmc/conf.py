"""ipmi_sim's configuration as text, and socat's arguments."""

from __future__ import annotations

from pathlib import Path

from infrasim.errors import UsageError
from infrasim.paths import NodePaths


def vbmc_conf(
    paths: NodePaths, *, private_address: str, channel_port: int, console_port: int | None = None
) -> str:
    """The text of vbmc.conf: ipmi_sim alone, with its VM channel. Source: ipmi_lan(5), ipmi_sim(1).

    At ``console_port`` of this machine's loopback it takes commands, if there is one.
    """
    node = _conf_value(paths.name)
    lines = [
        f"# Rendered at each start of node {node}; edit the node file instead.",
        "# Sessions, users, chassis and serial-over-LAN belong to the node's supervisor, "
        "the only client of this channel.",
        f'name "{node}"',
        "set_working_mc 0x20",
        f"serial kcs {_conf_value(private_address)} {channel_port} codec VM ipmb 0x20",
    ]
    if console_port is not None:
        lines.append(f"console 127.0.0.1 {console_port}")
    return "".join(f"{line}\n" for line in lines)


def serial_line_argv(program: str, pty: Path, socket: Path, log: Path) -> tuple[str, ...]:
    """socat's argv: a terminal at ``pty`` joined to whoever connects to ``socket``.

    It listens again after each QEMU, and the terminal stays while the host is off. What comes from
    QEMU is appended to ``log``; QEMU's own log of a socket repeats a byte each time the socket is
    full. Source: socat(1), -R; QEMU 7.2, measured.
    """
    terminal = f"PTY,link={socat_quote(pty)},rawer,unlink-close=0"
    listener = f"UNIX-LISTEN:{socat_quote(socket)},fork,unlink-early,mode=0600"
    # -t 0: when QEMU goes, its end of the line goes at once.
    return (program, "-t", "0", "-R", str(log), terminal, listener)


def socat_quote(path: Path) -> str:
    """A path inside a socat address, its special characters behind a backslash. Source: socat(1)."""
    return "".join(f"\\{letter}" if letter in "\\,:!\"'()[]{}" else letter for letter in str(path))


def _conf_value(text: str) -> str:
    """A text inside ipmi_sim's double quotes, which know no escape."""
    if any(letter in '"\\\n\r\0' for letter in text):
        raise UsageError(
            f"{text!r} cannot stand in ipmi_sim's configuration: it holds a quote, backslash or line break"
        )
    return text
