"""What the BMC says of itself and of the chassis, as plain values. Source: IPMI 2.0, by section."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from infrasim.frozen import Frozen
from infrasim.racadm.ports import Bmc, BmcRefusal

_CHASSIS, _APP, _STORAGE, _TRANSPORT = 0x00, 0x06, 0x0A, 0x0C
# LAN configuration parameters. Source: section 23.2.
_ADDRESS, _ADDRESS_SOURCE, _MAC, _NETMASK, _GATEWAY = 3, 4, 5, 6, 12
_BY_DHCP = 2
# System info parameters. Source: section 22.14b.
_HOST_NAME, _OS_NAME = 2, 4
_BLOCK = 16
# Of the first block: set selector, encoding, length.
_BLOCK_HEAD = 2
_ENABLED = 0x40
_USERS_MOST = 15
_MESSAGING = 0x10
_USER, _NO_ACCESS = 2, 15

# Timeout actions of the watchdog. Source: section 27.6.
_RECOVERIES = ("None", "Reboot", "Power Down", "Power Cycle")


class Lan(Frozen):
    """The BMC's network as it says itself."""

    address: str
    netmask: str
    gateway: str
    mac: str
    by_dhcp: bool


class Watchdog(Frozen):
    """The watchdog timer; times in seconds."""

    recovery: str
    present_s: int
    initial_s: int


class User(Frozen):
    """One user of the BMC; ``privilege`` is a level of IPMI, 15 for none, ``has_messaging`` that over LAN."""

    number: int
    name: str
    is_enabled: bool
    privilege: int
    has_messaging: bool

    @property
    def may_log_in(self) -> bool:
        """Whether sessions may be opened. Source: IPMI 2.0 section 22.26."""
        return self.is_enabled and self.has_messaging and self.privilege in range(_USER, _NO_ACCESS)


def power_is_on(bmc: Bmc) -> bool:
    """Source: section 28.2."""
    return bool(bmc.ask(_CHASSIS, 0x01)[0] & 0x01)


def lamp_is_lit(bmc: Bmc) -> bool:
    """Whether the identify lamp is lit. Source: section 28.2, misc. chassis state."""
    return bool(bmc.ask(_CHASSIS, 0x01)[2] & 0x30)


def firmware(bmc: Bmc) -> str:
    """The version of the BMC's firmware; the minor one is BCD. Source: section 20.1."""
    answer = bmc.ask(_APP, 0x01)
    return f"{answer[2] & 0x7F}.{answer[3]:02x}"


def clock(bmc: Bmc) -> datetime:
    """The BMC's time. Source: section 31.10."""
    return moment(int.from_bytes(bmc.ask(_STORAGE, 0x48)[:4], "little"))


def moment(seconds: int) -> datetime:
    """A time of the event log. Source: section 37."""
    return datetime.fromtimestamp(seconds, UTC)


def lan(bmc: Bmc) -> Lan:
    """Source: section 23.2."""

    def dotted(number: int) -> str:
        return ".".join(str(byte) for byte in _lan_parameter(bmc, number)[:4])

    return Lan(
        address=dotted(_ADDRESS),
        netmask=dotted(_NETMASK),
        gateway=dotted(_GATEWAY),
        mac=":".join(f"{byte:02X}" for byte in _lan_parameter(bmc, _MAC)[:6]),
        by_dhcp=_lan_parameter(bmc, _ADDRESS_SOURCE)[0] & 0x0F == _BY_DHCP,
    )


def _lan_parameter(bmc: Bmc, number: int) -> bytes:
    return bmc.ask(_TRANSPORT, 0x02, bytes([bmc.lan_channel, number, 0, 0]))[1:]


def watchdog(bmc: Bmc) -> Watchdog:
    """Source: section 27.7; counts are of 100 ms."""
    answer = bmc.ask(_APP, 0x25)
    action = answer[1] & 0x07
    initial, present = (int.from_bytes(answer[at : at + 2], "little") // 10 for at in (4, 6))
    return Watchdog(_RECOVERIES[action] if action < len(_RECOVERIES) else "None", present, initial)


def host_name(bmc: Bmc) -> str:
    """What the host's system told the BMC it is called; empty if it did not."""
    return _system_text(bmc, _HOST_NAME)


def os_name(bmc: Bmc) -> str:
    """What the host's system told the BMC it is; empty if it did not."""
    return _system_text(bmc, _OS_NAME)


def _system_text(bmc: Bmc, number: int) -> str:
    """A text in blocks of 16 bytes, the first of which says how long it is. Source: section 22.14b."""
    found, length, block = b"", 1, 0
    try:
        while len(found) < length:
            data = bmc.ask(_APP, 0x59, bytes([0, number, block, 0]))[2:]
            if block == 0:
                length, data = data[1], data[_BLOCK_HEAD:]
            if not data:
                break
            found += data
            block += 1
    except (BmcRefusal, IndexError):
        return ""
    shown = found[:length].decode("ascii", errors="replace").strip("\0")
    return shown if shown.isprintable() else ""


def users(bmc: Bmc) -> tuple[User, ...]:
    """Every user with a name. Source: sections 22.27 and 22.29."""
    return tuple(_user(bmc, number, name) for number, name in _names(bmc) if name)


def user_named(bmc: Bmc, name: str) -> User | None:
    """The user of that name; None if there is none, and for the null name."""
    number = next((number for number, each in _names(bmc) if name and each == name), None)
    return None if number is None else _user(bmc, number, name)


def _names(bmc: Bmc) -> Iterator[tuple[int, str]]:
    for number in range(1, _USERS_MOST + 1):
        name = bmc.ask(_APP, 0x46, bytes([number])).rstrip(b"\0")
        yield number, name.decode("ascii", errors="replace")


def _user(bmc: Bmc, number: int, name: str) -> User:
    access = bmc.ask(_APP, 0x44, bytes([bmc.lan_channel, number]))
    limit = access[3]
    return User(number, name, bool(access[1] & _ENABLED), limit & 0x0F, bool(limit & _MESSAGING))
