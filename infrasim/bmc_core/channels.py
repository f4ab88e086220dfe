"""The channels of the BMC: what they are, how they may be used, the keys of LAN channels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Set and Get Channel Access: not for a channel without sessions; no such access mode.
# Source: IPMI 2.0 tables 22-27 and 22-28.
_NO_SESSIONS, _NO_SUCH_MODE = 0x82, 0x83
# Set Channel Security Keys. Source: IPMI 2.0 table 22-32.
_KEY_LOCKED, _NOT_ENOUGH_BYTES, _TOO_MANY_BYTES = 0x80, 0x81, 0x82
_KEY_LENGTH = 20

# Source: IPMI 2.0 table 6-3 (medium), 6-2 (protocol), 22-29 (session support, and the IPMI vendor number).
_IPMI_VENDOR = (7154).to_bytes(3, "little")
_MULTIPLE_SESSIONS = 0x80
_LAN_MEDIUM = (0x04, 0x01)
_OTHER_MEDIA = {Channel.IPMB: (0x01, 0x01), Channel.SYSTEM_INTERFACE: (0x0C, 0x05)}
# No interrupt is told for the system interface and the event buffer. Source: IPMI 2.0 table 22-29.
_NO_INTERRUPTS = b"\xff\xff"
# Get System Interface Capabilities: KCS, in its first version, takes messages of any length that IPMI has.
# Source: IPMI 2.0 table 22-11.
_KCS_TYPE, _KCS = 0x01, bytes([0x00, 0x00, 0xFF])


class AccessMode(IntEnum):
    """When a channel may be used. Source: IPMI 2.0 table 6-4."""

    DISABLED = 0
    PRE_BOOT = 1
    ALWAYS = 2
    SHARED = 3


@dataclass
class ChannelAccess:
    """How a LAN channel may be used; ``*_off`` as in Set Channel Access. Source: IPMI 2.0 table 22-27."""

    mode: AccessMode = AccessMode.ALWAYS
    alerting_off: bool = False
    per_message_off: bool = False
    user_level_off: bool = False
    limit: Privilege = Privilege.ADMINISTRATOR

    @property
    def bits(self) -> int:
        """The first byte, as Get Channel Access tells it."""
        return self.alerting_off << 5 | self.per_message_off << 4 | self.user_level_off << 3 | int(self.mode)


@dataclass
class ChannelState:
    """A LAN channel: its access now and after a reset, and its keys (IPMI 2.0 section 6.13.3)."""

    volatile: ChannelAccess = field(default_factory=ChannelAccess)
    nonvolatile: ChannelAccess = field(default_factory=ChannelAccess)
    random_key: bytes = bytes(_KEY_LENGTH)
    bmc_key: bytes = bytes(_KEY_LENGTH)
    random_key_locked: bool = False
    bmc_key_locked: bool = False

    @property
    def has_bmc_key(self) -> bool:
        """Whether logins need K_G besides the password."""
        return any(self.bmc_key)


def restart(bmc: Bmc) -> None:
    """What a reset of the BMC does: the volatile settings are as the lasting ones again."""
    for lan in bmc.lans.all:
        lan.access.volatile = replace(lan.access.nonvolatile)


def is_open(bmc: Bmc) -> bool:
    """Whether the main channel takes IPMI messages now; "pre-boot" means while the host is off."""
    mode = bmc.lan.access.volatile.mode
    if mode is AccessMode.PRE_BOOT:
        return not bmc.chassis.power_is_on()
    return mode is not AccessMode.DISABLED


def all_channels(bmc: Bmc) -> frozenset[int]:
    """The numbers of the channels that there are."""
    return bmc.lans.numbers | frozenset(Channel)


def _with_sessions(bmc: Bmc, request: Request, number: int) -> ChannelState:
    """The access and the keys of a channel that has sessions."""
    if request.channel(number) in _OTHER_MEDIA:
        raise Refused(_NO_SESSIONS)
    return bmc.lans.named(request, number).access


def set_channel_access(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.22."""
    data = request.need(3)
    channels = _with_sessions(bmc, request, data[0])
    scopes = {1: channels.nonvolatile, 2: channels.volatile}
    access, limit = data[1] >> 6, data[2] >> 6
    if data[1] & 0x07 > AccessMode.SHARED and access:
        raise Refused(_NO_SUCH_MODE)
    if 3 in (access, limit) or (limit and not Privilege.CALLBACK <= data[2] & 0x0F <= Privilege.OEM):
        raise Refused(Completion.INVALID_FIELD)
    if access:
        scope = scopes[access]
        scope.mode = AccessMode(data[1] & 0x07)
        scope.alerting_off = bool(data[1] & 0x20)
        scope.per_message_off = bool(data[1] & 0x10)
        scope.user_level_off = bool(data[1] & 0x08)
    if limit:
        scopes[limit].limit = Privilege(data[2] & 0x0F)
    bmc.changed()
    return b""


def get_channel_access(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.23."""
    data = request.need(2)
    channels = _with_sessions(bmc, request, data[0])
    match data[1] >> 6:
        case 1:
            access = channels.nonvolatile
        case 2:
            access = channels.volatile
        case _:
            raise Refused(Completion.INVALID_FIELD)
    return bytes([access.bits, access.limit])


def get_channel_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.24."""
    (wanted,) = request.need(1)
    channel = request.channel(wanted)
    sessions = 0
    if channel in _OTHER_MEDIA:
        medium, protocol = _OTHER_MEDIA[Channel(channel)]
    else:
        lan = bmc.lans.named(request, wanted)
        medium, protocol = _LAN_MEDIUM
        sessions = _MULTIPLE_SESSIONS | (len(bmc.sessions) if lan is bmc.lan else 0)
    auxiliary = _NO_INTERRUPTS if channel == Channel.SYSTEM_INTERFACE else bytes(2)
    return bytes([channel, medium, protocol, sessions]) + _IPMI_VENDOR + auxiliary


def get_system_interface_capabilities(bmc: Bmc, request: Request) -> bytes:
    """Of KCS, where that is the interface: there is no SSIF or SMIC, and BT is not asked for so.

    Source: IPMI 2.0 section 22.9.
    """
    (kind,) = request.need(1)
    if kind & 0x0F != _KCS_TYPE or bmc.settings.system_interface != "kcs":
        raise Refused(Completion.INVALID_FIELD)
    return _KCS


def set_channel_security_keys(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.25: read, set or lock K_R and K_G."""
    data = request.need(3, 3 + _KEY_LENGTH + 1)
    channels = _with_sessions(bmc, request, data[0])
    operation, key = data[1] & 0x03, data[2]
    if operation == 3 or key > 1:
        raise Refused(Completion.INVALID_FIELD)
    name = "bmc_key" if key else "random_key"
    locked: bool = getattr(channels, f"{name}_locked")
    value: bytes = getattr(channels, name)
    if operation == 1:
        if locked:
            raise Refused(_KEY_LOCKED)
        if len(data) != 3 + _KEY_LENGTH:
            raise Refused(_NOT_ENOUGH_BYTES if len(data) < 3 + _KEY_LENGTH else _TOO_MANY_BYTES)
        setattr(channels, name, data[3:])
        bmc.changed()
    elif operation == 2:
        setattr(channels, f"{name}_locked", True)
        bmc.changed()
    elif not locked:
        return bytes([0x01]) + value
    return bytes([0x02 if getattr(channels, f"{name}_locked") else 0x01])


_USER, _ADMINISTRATOR = Privilege.USER, Privilege.ADMINISTRATOR

# Privileges: IPMI 2.0 appendix G.
COMMANDS = (
    Command(NetFn.APP, 0x40, "Set Channel Access", _ADMINISTRATOR, "22.22", set_channel_access),
    Command(NetFn.APP, 0x41, "Get Channel Access", _USER, "22.23", get_channel_access),
    Command(NetFn.APP, 0x42, "Get Channel Info", _USER, "22.24", get_channel_info),
    Command(NetFn.APP, 0x56, "Set Channel Security Keys", _ADMINISTRATOR, "22.25", set_channel_security_keys),
    Command(
        NetFn.APP, 0x57, "Get System Interface Capabilities", _USER, "22.9", get_system_interface_capabilities
    ),
)
