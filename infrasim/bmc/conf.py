"""ipmi_sim's configuration and the scripts it runs, as text."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from infrasim.errors import UsageError
from infrasim.paths import NodePaths, template_dir

# Source: ipmi_sim's "addr" line and the LAN parameters its lan_config_program is asked for (measured).
_UNSET_ADDRESS = "0.0.0.0"
_UNSET_MAC = "00:00:00:00:00:00"


@dataclass(frozen=True)
class BmcSettings:
    """What the BMC of one node is made of. ``mac`` and ``netmask`` are what ``lan print`` shows."""

    private_address: str
    port: int
    kcs_port: int
    guid: str
    username: str
    password: str
    serial_over_lan: bool
    lan_address: str
    lan_netmask: str
    lan_mac: str
    socat_program: str


def vbmc_conf(paths: NodePaths, settings: BmcSettings) -> str:
    """The text of vbmc.conf. Source: ipmi_lan(5), ipmi_sim(1)."""
    return _render(
        "vbmc.conf.j2",
        node=paths.name,
        private_address=settings.private_address,
        port=settings.port,
        kcs_port=settings.kcs_port,
        guid=settings.guid,
        username=settings.username,
        password=settings.password,
        sol_device=str(paths.pty) if settings.serial_over_lan else "",
        chassiscontrol=paths.chassiscontrol,
        lancontrol=paths.lancontrol,
    )


def chassiscontrol(paths: NodePaths, settings: BmcSettings) -> str:
    """The script that answers for the chassis."""
    return _render(
        "chassiscontrol.j2",
        answers=paths.chassis,
        socat=settings.socat_program,
        control=f"UNIX-CONNECT:{socat_quote(paths.control_socket)}",
    )


def lancontrol(paths: NodePaths, settings: BmcSettings) -> str:
    """The script that answers for the LAN parameters."""
    return _render("lancontrol.j2", values=paths.lan, defaults=lan_defaults(settings))


def lan_defaults(settings: BmcSettings) -> Mapping[str, str]:
    """The LAN parameters before anybody set one, by the names ipmi_sim asks for."""
    is_ipv4 = ":" not in settings.lan_address
    return {
        "ip_addr": settings.lan_address if is_ipv4 else _UNSET_ADDRESS,
        "ip_addr_src": "static",
        "mac_addr": settings.lan_mac,
        "subnet_mask": settings.lan_netmask if is_ipv4 else _UNSET_ADDRESS,
        "default_gw_ip_addr": _UNSET_ADDRESS,
        "default_gw_mac_addr": _UNSET_MAC,
        "backup_gw_ip_addr": _UNSET_ADDRESS,
        "backup_gw_mac_addr": _UNSET_MAC,
    }


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
        autoescape=False,  # noqa: S701 - conf files and sh, not HTML; the filters below guard them
    )
    environment.filters["conf"] = _conf_value
    environment.filters["shell"] = _shell_value
    return environment


def _conf_value(value: object) -> str:
    """A value inside ipmi_sim's double quotes, which know no escape."""
    text = str(value)
    if any(letter in '"\\\n\r\0' for letter in text):
        raise UsageError(
            f"{text!r} cannot stand in ipmi_sim's configuration: it holds a quote, backslash or line break"
        )
    return text


def _shell_value(value: object) -> str:
    """One word of sh; single quotes are refused because ipmi_sim's quoting cannot carry their escape."""
    text = str(value)
    if "'" in text or "\n" in text:
        raise UsageError(f"{text!r} cannot be passed to a script: it holds a quote or line break")
    return shlex.quote(text)
