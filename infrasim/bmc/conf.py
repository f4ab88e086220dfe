"""ipmi_sim's configuration as text, and socat's arguments."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2

from infrasim.errors import UsageError
from infrasim.paths import NodePaths, template_dir


def vbmc_conf(
    paths: NodePaths, *, private_address: str, channel_port: int, console_port: int | None = None
) -> str:
    """The text of vbmc.conf: ipmi_sim alone, with its VM channel. Source: ipmi_lan(5), ipmi_sim(1).

    At ``console_port`` of this machine's loopback it takes commands, if there is one.
    """
    return _render(
        "vbmc.conf.j2",
        node=paths.name,
        private_address=private_address,
        channel_port=channel_port,
        console_port=console_port,
    )


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


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir() / "bmc"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - conf files, not HTML; the filter below guards them
    )
    environment.filters["conf"] = _conf_value
    return environment


def _conf_value(value: object) -> str:
    """A value inside ipmi_sim's double quotes, which know no escape."""
    text = str(value)
    if any(letter in '"\\\n\r\0' for letter in text):
        raise UsageError(
            f"{text!r} cannot stand in ipmi_sim's configuration: it holds a quote, backslash or line break"
        )
    return text
