"""LAN configuration: the parameters of a LAN channel, its statistics and ARPs.

All are the BMC's own values: they begin as the node has them and never touch the machine's interfaces. What
takes effect elsewhere is read by functions: :func:`suite_privileges`, :func:`auth_types`, :func:`lockout`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Request
from infrasim.bmc_core.parameters import Parameter, ParameterState, ParameterStore, answer_read, fixed
from infrasim.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from infrasim.bmc_core.core import Bmc

# Destination 0 is volatile, the others are kept. Source: IPMI 2.0 table 23-4, parameters 17 to 19.
DESTINATIONS = 4
_DESTINATIONS = range(DESTINATIONS + 1)
_VOLATILE = range(1)
_STATIC_ADDRESSES = range(3)

# Bits of authentication types. Source: IPMI 2.0 section 22.13.
_NONE, _MD5, _PASSWORD = 0x01, 0x04, 0x10

# Numbers of parameters that are read here. Source: IPMI 2.0 table 23-4.
_AUTH_ENABLES, _IP, _IP_SOURCE, _MAC, _ARP_CONTROL, _COMMUNITY = 2, 3, 4, 5, 10, 16
_DESTINATION_TYPE, _DESTINATION_ADDRESS, _PRIVILEGES, _BAD_PASSWORDS = 18, 19, 24, 26


# The suites of parameters 22 to 24. Tools take the place of a level for the number of its suite, so every
# number up to 14 has its place, used or not. Source: ipmitool and FreeIPMI, lan set cipher_privs.
_SUITE_ENTRIES = (*range(15), 17)
_LAST_PLACE = len(_SUITE_ENTRIES) - 1
_LAST_LEVEL = "24.last"
_NO_LIMIT = bytes([Privilege.ADMINISTRATOR])


@dataclass
class LanStatistics:
    """Counters of the LAN door, in the order of Get IP/UDP/RMCP Statistics. Source: IPMI 2.0 section 23.4."""

    ip_packets_received: int = 0
    ip_header_errors: int = 0
    ip_address_errors: int = 0
    ip_fragments_received: int = 0
    ip_packets_sent: int = 0
    udp_packets_received: int = 0
    rmcp_packets_received: int = 0
    udp_proxy_packets_received: int = 0
    udp_proxy_packets_dropped: int = 0

    def clear(self) -> None:
        """Set every counter to 0."""
        for each in fields(self):
            setattr(self, each.name, 0)


@dataclass
class SuspendedArps:
    """Which ARPs of the BMC software has suspended. Source: IPMI 2.0 section 23.3."""

    responses: bool = False
    gratuitous: bool = False


class Lockout(Frozen):
    """The bad password threshold: ``failures`` 0 means none; ``lockout_s`` 0 until an administrator's act.

    ``reset_s`` is the time without a failure after which they are counted anew, 0 for never. ``audit`` asks
    for a Session Audit event when a user is locked out. Source: IPMI 2.0 table 23-4, parameter 26.
    """

    failures: int
    reset_s: int
    lockout_s: int
    audit: bool


class AlertDestination(Frozen):
    """Where alerts go and how often. ``address`` is empty if none was set. Source: parameters 18 and 19."""

    address: str
    acknowledged: bool
    timeout_s: int
    retries: int


def suite_privileges(parameters: LanStore) -> tuple[tuple[int, Privilege], ...]:
    """The cipher suites that may be used, lowest first, each with the most that its sessions may have.

    Source: IPMI 2.0 table 23-4, parameter 24: level 0 leaves a suite unused.
    """
    settings = parameters.settings
    return _suite_privileges(settings.cipher_suites, settings.insecure, *parameters.suite_levels())


# Every login asks, and what it is made from hardly ever changes.
@lru_cache(maxsize=8)
def _suite_privileges(
    suites: tuple[int, ...], insecure: bool, levels: bytes, last_level: int
) -> tuple[tuple[int, Privilege], ...]:
    by_suite = {suite: _level(levels, place) for place, suite in enumerate(_SUITE_ENTRIES)}
    by_suite[_SUITE_ENTRIES[_LAST_PLACE]] = last_level
    # Where the parameters have no place for it, there is no limit.
    found = (
        (suite, Privilege(by_suite.get(suite, Privilege.ADMINISTRATOR)))
        for suite in sorted(_suites(suites, insecure=insecure))
    )
    return tuple((suite, level) for suite, level in found if level)


def _level(levels: bytes, entry: int) -> int:
    pair = levels[1 + entry // 2]
    return pair >> 4 if entry % 2 else pair & 0x0F


def auth_types(parameters: LanStore, privilege: Privilege) -> int:
    """The IPMI 1.5 authentication types that sessions of this level may use, as bits (1 << type)."""
    if not Privilege.CALLBACK <= privilege <= Privilege.OEM:
        return 0
    return parameters.value(_AUTH_ENABLES)[privilege - 1] & _auth_support(parameters.settings)


def lockout(bmc: Bmc) -> Lockout:
    """The bad password threshold in effect."""
    value = bmc.lan.parameters.value(_BAD_PASSWORDS)
    return Lockout(
        failures=value[1],
        reset_s=int.from_bytes(value[2:4], "little") * 10,
        lockout_s=int.from_bytes(value[4:6], "little") * 10,
        audit=bool(value[0] & 0x01),
    )


def community(bmc: Bmc) -> bytes:
    """The community string of SNMP traps."""
    return bmc.lan.parameters.value(_COMMUNITY).rstrip(b"\0")


def own_address(bmc: Bmc) -> str:
    """The IPv4 address that the BMC says it has."""
    return str(ipaddress.IPv4Address(bmc.lan.parameters.value(_IP)))


def alert_destination(bmc: Bmc, selector: int) -> AlertDestination | None:
    """The destination of that number; None if there is none, or not for SNMP traps."""
    if selector not in _DESTINATIONS:
        return None
    kind, timeout, retries = bmc.lan.parameters.value(_DESTINATION_TYPE, selector)
    address = bmc.lan.parameters.value(_DESTINATION_ADDRESS, selector)
    if kind & 0x07:
        return None
    ip = ipaddress.ip_address(address[1:17] if address[0] >> 4 else address[2:6])
    return AlertDestination(
        address="" if ip.is_unspecified else str(ip),
        acknowledged=bool(kind & 0x80),
        timeout_s=timeout + 1,
        retries=retries & 0x07,
    )


def lan_parameters(settings: CoreSettings, state: ParameterState, *, changed: Callable[[], None]) -> LanStore:
    """The parameters of a LAN channel, beginning as in ``settings``. Source: IPMI 2.0 table 23-4."""
    return LanStore(settings, state, changed=changed)


class LanStore(ParameterStore):
    """The LAN parameters, with the level of the last suite beside them.

    ipmitool's ``lan set cipher_privs`` has letters for fifteen suites only, writes 0 for the sixteenth place,
    which is suite 17's, the one that clients prefer, and wants to read back what it wrote. So 0 there leaves
    the level of the suite as it was; to be without it is the node file's. Source: ipmitool 1.8.19.
    """

    def __init__(self, settings: CoreSettings, state: ParameterState, *, changed: Callable[[], None]) -> None:
        self.settings = settings
        table = (*_ipv4(settings), *_alerting(), *_rmcp_plus(settings), *_ipv6(settings))
        super().__init__(table, state, changed=changed)

    def put(self, number: int, value: bytes, selector: int = 0, block: int = 0) -> None:
        """Set a parameter in the table, whether clients may or not."""
        if number == _PRIVILEGES and (level := _level(value, _LAST_PLACE)):
            self._kept[_LAST_LEVEL] = bytes([level])
        super().put(number, value, selector, block)

    def suite_levels(self) -> tuple[bytes, int]:
        """The list as it is set, and the level of its last place."""
        levels = self.value(_PRIVILEGES)
        last = _level(levels, _LAST_PLACE) or self._kept.get(_LAST_LEVEL, _NO_LIMIT)[0]
        return levels, last


def _suites(suites: tuple[int, ...], *, insecure: bool) -> bytes:
    """The suites there are, of those that are configured; number 0 only where that is wanted."""
    return bytes(each for each in suites if each or insecure)


def _auth_support(settings: CoreSettings) -> int:
    return _MD5 | _PASSWORD | (_NONE if settings.insecure else 0)


def _ipv4(settings: CoreSettings) -> tuple[Parameter, ...]:
    support = _auth_support(settings)
    zero = fixed(bytes(4))
    return (
        Parameter(1, "Authentication Type Support", 1, fixed(bytes([support])), writable=False),
        Parameter(
            _AUTH_ENABLES,
            "Authentication Type Enables",
            5,
            fixed(bytes([support] * 4 + [0])),
            valid=lambda value: all(each & ~support == 0 for each in value),
        ),
        Parameter(_IP, "IP Address", 4, fixed(_ipv4_bytes(settings.lan_address))),
        Parameter(_IP_SOURCE, "IP Address Source", 1, fixed(b"\1"), valid=lambda value: value[0] <= 4),
        Parameter(_MAC, "MAC Address", 6, fixed(_mac_bytes(settings.lan_mac)), valid=_is_station),
        Parameter(6, "Subnet Mask", 4, fixed(_ipv4_bytes(settings.lan_netmask))),
        Parameter(7, "IPv4 Header Parameters", 3, fixed(b"\x40\x40\x10")),
        Parameter(8, "Primary RMCP Port", 2, fixed(settings.lan_port.to_bytes(2, "little"))),
        Parameter(9, "Secondary RMCP Port", 2, fixed((0x298).to_bytes(2, "little"))),
        Parameter(
            _ARP_CONTROL, "BMC-generated ARP Control", 1, fixed(b"\2"), valid=lambda value: value[0] <= 3
        ),
        Parameter(11, "Gratuitous ARP Interval", 1, fixed(b"\3")),
        Parameter(12, "Default Gateway Address", 4, fixed(_ipv4_bytes(settings.lan_gateway))),
        Parameter(13, "Default Gateway MAC Address", 6, fixed(bytes(6))),
        Parameter(14, "Backup Gateway Address", 4, zero),
        Parameter(15, "Backup Gateway MAC Address", 6, fixed(bytes(6))),
        Parameter(20, "802.1q VLAN ID", 2, fixed(bytes(2)), valid=_is_vlan),
        Parameter(21, "802.1q VLAN Priority", 1, fixed(b"\0"), valid=lambda value: value[0] <= 7),
    )


def _alerting() -> tuple[Parameter, ...]:
    return (
        Parameter(_COMMUNITY, "Community String", 18, fixed(b"public".ljust(18, b"\0"))),
        Parameter(17, "Number of Destinations", 1, fixed(bytes([DESTINATIONS])), writable=False),
        Parameter(
            _DESTINATION_TYPE,
            "Destination Type",
            3,
            fixed(bytes(3)),
            valid=lambda value: value[0] & 0x07 in (0, 6, 7),
            sets=_DESTINATIONS,
            volatile=_VOLATILE,
            set_mask=0x0F,
        ),
        Parameter(
            _DESTINATION_ADDRESS,
            "Destination Addresses",
            12,
            fixed(bytes(12)),
            valid=_is_destination,
            sizes=(17,),
            sets=_DESTINATIONS,
            volatile=_VOLATILE,
            set_mask=0x0F,
        ),
        Parameter(
            25,
            "Destination Address VLAN TAGs",
            3,
            fixed(bytes(3)),
            valid=lambda value: value[0] >> 4 <= 1,
            sets=_DESTINATIONS,
            volatile=_VOLATILE,
            set_mask=0x0F,
        ),
    )


def _rmcp_plus(settings: CoreSettings) -> tuple[Parameter, ...]:
    failures = min(settings.lockout_failures, 0xFF)
    tens = min(round(settings.lockout_s / 10), 0xFFFF).to_bytes(2, "little")
    return (
        Parameter(22, "Cipher Suite Entry Support", 1, fixed(bytes([len(_SUITE_ENTRIES)])), writable=False),
        Parameter(23, "Cipher Suite Entries", 17, fixed(b"\0" + bytes(_SUITE_ENTRIES)), writable=False),
        Parameter(
            _PRIVILEGES,
            "Cipher Suite Privilege Levels",
            9,
            fixed(_levels(settings)),
            valid=lambda value: _are_levels(value, settings),
        ),
        Parameter(
            _BAD_PASSWORDS,
            "Bad Password Threshold",
            6,
            fixed(bytes([0, failures]) + tens + tens if failures else bytes(6)),
            valid=lambda value: value[0] <= 1,
        ),
    )


def _ipv6(settings: CoreSettings) -> tuple[Parameter, ...]:
    """IPv6 with static addresses and routers; no DHCPv6, no SLAAC. Source: table 23-4, from 50 to 80."""
    return (
        # Both protocols at once, and alerts to IPv6 destinations.
        Parameter(50, "IPv6/IPv4 Support", 1, fixed(b"\6"), writable=False),
        Parameter(
            51,
            "IPv6/IPv4 Addressing Enables",
            1,
            fixed(b"\2" if settings.lan_address6 else b"\0"),
            valid=lambda value: value[0] in (0, 2),
        ),
        Parameter(52, "IPv6 Header Traffic Class", 1, fixed(b"\0")),
        Parameter(53, "IPv6 Header Hop Limit", 1, fixed(b"\x40")),
        Parameter(54, "IPv6 Header Flow Label", 3, fixed(bytes(3)), valid=lambda value: value[0] <= 0x0F),
        Parameter(55, "IPv6 Status", 3, fixed(bytes([len(_STATIC_ADDRESSES), 0, 0])), writable=False),
        Parameter(
            56,
            "IPv6 Static Addresses",
            19,
            lambda selector: _static_address(settings, selector),
            sets=_STATIC_ADDRESSES,
            valid=lambda value: value[0] & 0x0F == 0 and value[17] <= 128,
            least=18,
        ),
        Parameter(
            64,
            "IPv6 Router Address Configuration Control",
            1,
            fixed(b"\0"),
            valid=lambda value: value[0] <= 1,
        ),
        *(
            Parameter(
                65 + 4 * router + part, f"IPv6 Static Router {router + 1} {name}", size, fixed(bytes(size))
            )
            for router in range(2)
            for part, (name, size) in enumerate(
                (("IP Address", 16), ("MAC Address", 6), ("Prefix Length", 1), ("Prefix Value", 16))
            )
        ),
        Parameter(73, "IPv6 Number of Dynamic Router Info Sets", 1, fixed(b"\0"), writable=False),
    )


def _static_address(settings: CoreSettings, selector: int) -> bytes:
    """Enabled and source, address, prefix length, status (0 active, 1 disabled)."""
    if selector or not settings.lan_address6:
        return b"\0" + bytes(17) + b"\1"
    return b"\x80" + ipaddress.IPv6Address(settings.lan_address6).packed + b"\x80\0"


def _ipv4_bytes(text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        return bytes(4)


def _mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


def _are_levels(value: bytes, settings: CoreSettings) -> bool:
    """Whether these can be the suites' levels: one that this BMC does not have stays unused."""
    suites = _suites(settings.cipher_suites, insecure=settings.insecure)
    levels = [_level(value, entry) for entry in range(len(_SUITE_ENTRIES))]
    return all(
        level <= Privilege.OEM and (not level or suite in suites)
        for suite, level in zip(_SUITE_ENTRIES, levels, strict=True)
    )


def _levels(settings: CoreSettings) -> bytes:
    suites = _suites(settings.cipher_suites, insecure=settings.insecure)
    nibbles = [Privilege.ADMINISTRATOR if suite in suites else 0 for suite in _SUITE_ENTRIES]
    return b"\0" + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _is_station(mac: bytes) -> bool:
    return mac[0] & 0x01 == 0


def _is_vlan(value: bytes) -> bool:
    number = int.from_bytes(value, "little") & 0x0FFF
    return value[1] & 0x70 == 0 and (not value[1] & 0x80 or 1 <= number <= 4094)


def _is_destination(value: bytes) -> bool:
    return (value[0] >> 4, len(value)) in ((0, 12), (1, 17))


def set_lan_configuration(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 23.1."""
    data = request.need(2, 64)
    bmc.lans.named(request, data[0]).parameters.write(data[1], data[2:])
    return b""


def get_lan_configuration(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 23.2."""
    data = request.need(4)
    return answer_read(bmc.lans.named(request, data[0]).parameters, request, data[1], at=2)


def suspend_arps(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 23.3."""
    data = request.need(2)
    lan = bmc.lans.named(request, data[0])
    suspended = lan.suspended_arps
    suspended.responses, suspended.gratuitous = bool(data[1] & 0x02), bool(data[1] & 0x01)
    control = lan.parameters.value(_ARP_CONTROL)[0]
    return bytes([control & ~(suspended.responses << 1 | suspended.gratuitous) & 0x03])


def get_statistics(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 23.4. A counter stays at its end."""
    data = request.need(2)
    statistics = bmc.lans.named(request, data[0]).statistics
    if data[1] & 0x01:
        statistics.clear()
    counters = (getattr(statistics, each.name) for each in fields(statistics))
    return b"".join(min(each, 0xFFFF).to_bytes(2, "little") for each in counters)


_USER, _OPERATOR, _ADMINISTRATOR = Privilege.USER, Privilege.OPERATOR, Privilege.ADMINISTRATOR
_LAN = NetFn.TRANSPORT

COMMANDS = (
    Command(_LAN, 0x01, "Set LAN Configuration Parameters", _ADMINISTRATOR, "23.1", set_lan_configuration),
    Command(_LAN, 0x02, "Get LAN Configuration Parameters", _OPERATOR, "23.2", get_lan_configuration),
    Command(_LAN, 0x03, "Suspend BMC ARPs", _ADMINISTRATOR, "23.3", suspend_arps),
    Command(_LAN, 0x04, "Get IP/UDP/RMCP Statistics", _USER, "23.4", get_statistics),
)
