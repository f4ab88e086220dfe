"""Commands about sessions and what a client has to know before it opens one."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.guid import device_guid, system_guid
from infrasim.bmc_core.lan import challenge
from infrasim.bmc_core.lan.login import allowed_suites, may_be_null, user_limit
from infrasim.bmc_core.lan.session import Peer, Session
from infrasim.bmc_core.lan.sessions import SESSIONS_MOST
from infrasim.bmc_core.lan_config import auth_types
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.users import NAME_LENGTH

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Get Session Info: how a session is named. Source: IPMI 2.0 table 22-25.
_BY_HANDLE, _BY_ID = 0xFE, 0xFF
# Source: IPMI 2.0 tables 22-23 (Set Session Privilege Level) and 22-24 (Close Session).
_LEVEL_NOT_AVAILABLE, _LEVEL_TOO_HIGH = 0x80, 0x81
_INVALID_SESSION_ID, _INVALID_SESSION_HANDLE = 0x87, 0x88
# Get Channel Cipher Suites: records and tags. Source: IPMI 2.0 table 22-18 and 22-19.
_START_OF_SUITE, _INTEGRITY_TAG, _CONFIDENTIALITY_TAG = 0xC0, 0x40, 0x80
_PAGE = 16


def get_channel_authentication_capabilities(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.13."""
    data = request.need(2)
    lan = bmc.lans.named(request, data[0])
    if not Privilege.CALLBACK <= data[1] & 0x0F <= Privilege.OEM:
        raise Refused(Completion.INVALID_FIELD)
    extended = bool(data[0] & 0x80)
    types = auth_types(lan.parameters, Privilege(data[1] & 0x0F))
    access = lan.access.volatile
    named, nameless, anonymous = may_be_null(bmc, lan)
    status = access.per_message_off << 4 | access.user_level_off << 3 | named << 2 | nameless << 1 | anonymous
    if extended:
        types |= 0x80
        status |= lan.access.has_bmc_key << 5
    # IPMI 1.5 and 2.0 connections; no OEM number, no OEM data.
    return bytes([lan.number, types, status, 0x03 if extended else 0]) + bytes(4)


def get_channel_cipher_suites(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.15."""
    data = request.need(3)
    lan = bmc.lans.named(request, data[0])
    suites = allowed_suites(lan)
    if data[2] & 0x80:
        records = b"".join(
            bytes(
                [
                    _START_OF_SUITE,
                    suite.number,
                    suite.authentication,
                    _INTEGRITY_TAG | suite.integrity,
                    _CONFIDENTIALITY_TAG | suite.confidentiality,
                ]
            )
            for suite in suites
        )
    else:
        records = bytes(sorted({int(suite.authentication) for suite in suites}))
        records += bytes(sorted({_INTEGRITY_TAG | suite.integrity for suite in suites}))
        records += bytes(sorted({_CONFIDENTIALITY_TAG | suite.confidentiality for suite in suites}))
    start = (data[2] & 0x3F) * _PAGE
    return bytes([lan.number]) + records[start : start + _PAGE]


def get_session_challenge(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.16."""
    data = request.need(1 + NAME_LENGTH)
    if request.origin.channel != bmc.lan.number:
        raise Refused(Completion.NOT_IN_THIS_STATE)
    return challenge.begin(bmc, data[0] & 0x0F, data[1:].partition(b"\0")[0])


def activate_session(bmc: Bmc, request: Request) -> bytes:
    """The door answers it where there was a challenge. Source: IPMI 2.0 section 22.17."""
    raise Refused(Completion.NOT_IN_THIS_STATE)


def set_session_privilege_level(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.18."""
    level = request.need(1)[0] & 0x0F
    session = request.origin.session
    if session is None:
        raise Refused(Completion.NOT_IN_THIS_STATE)
    if level == Privilege.CALLBACK or level > Privilege.OEM:
        raise Refused(Completion.INVALID_FIELD)
    if level:
        user = bmc.state.users.get(session.user_id)
        if level > user_limit(user, bmc.lan):
            raise Refused(_LEVEL_NOT_AVAILABLE)
        if level > session.privilege_limit:
            raise Refused(_LEVEL_TOO_HIGH)
        session.privilege = Privilege(level)
    return bytes([session.privilege])


def close_session(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.19. To close another's session takes Administrator."""
    data = request.need(4, 5)
    session_id = int.from_bytes(data[:4], "little")
    if session_id:
        link = bmc.sessions.link(session_id)
        session = link.session if link else None
    elif len(data) == 5:
        session = bmc.sessions.by_handle(data[4])
    else:
        session = None
    if session is None:
        raise Refused(_INVALID_SESSION_ID if session_id else _INVALID_SESSION_HANDLE)
    if session is not request.origin.session and request.origin.privilege < Privilege.ADMINISTRATOR:
        raise Refused(Completion.INSUFFICIENT_PRIVILEGE)
    bmc.sessions.close(session)
    return b""


def get_session_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.20."""
    data = request.need(1, 5)
    session = _named_session(bmc, request, data)
    counts = bytes([SESSIONS_MOST, len(bmc.sessions)])
    if session is None:
        return b"\0" + counts
    protocol = session.is_rmcp_plus << 4
    who = bytes([session.user_id, session.privilege, protocol | session.channel])
    return bytes([session.handle]) + counts + who + _wire_address(session.peer)


def _named_session(bmc: Bmc, request: Request, data: bytes) -> Session | None:
    session: Session | None
    match data[0], len(data):
        case (0, 1):
            return request.origin.session
        case (254, 2):
            session = bmc.sessions.by_handle(data[1])
        case (255, 5):
            link = bmc.sessions.link(int.from_bytes(data[1:], "little"))
            session = link.session if link else None
        case (index, 1) if index < _BY_HANDLE:
            return dict(enumerate(bmc.sessions, 1)).get(index)
        case _:
            raise Refused(Completion.LENGTH_INVALID)
    if session is None:
        raise Refused(Completion.NOT_PRESENT)
    return session


def _wire_address(peer: Peer) -> bytes:
    """IPv4 address, MAC (not known: 0) and port; zeros where the peer has no IPv4 address."""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        port = int(peer[1])
    except (ValueError, IndexError):
        return bytes(12)
    four = address if address.version == 4 else address.ipv4_mapped
    packed = four.packed if four is not None else bytes(4)
    return packed + bytes(6) + port.to_bytes(2, "little")


def get_system_guid(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.14."""
    request.need(0)
    return system_guid(bmc)


def get_device_guid(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 20.8."""
    request.need(0)
    return device_guid(bmc)


_NONE, _CALLBACK, _USER = Privilege.NONE, Privilege.CALLBACK, Privilege.USER

# Privileges: IPMI 2.0 appendix G.
COMMANDS = (
    Command(NetFn.APP, 0x08, "Get Device GUID", _USER, "20.8", get_device_guid),
    Command(NetFn.APP, 0x37, "Get System GUID", _NONE, "22.14", get_system_guid),
    Command(
        NetFn.APP,
        0x38,
        "Get Channel Authentication Capabilities",
        _NONE,
        "22.13",
        get_channel_authentication_capabilities,
    ),
    Command(NetFn.APP, 0x39, "Get Session Challenge", _NONE, "22.16", get_session_challenge),
    Command(NetFn.APP, 0x3A, "Activate Session", _NONE, "22.17", activate_session),
    Command(NetFn.APP, 0x3B, "Set Session Privilege Level", _USER, "22.18", set_session_privilege_level),
    Command(NetFn.APP, 0x3C, "Close Session", _CALLBACK, "22.19", close_session),
    Command(NetFn.APP, 0x3D, "Get Session Info", _USER, "22.20", get_session_info),
    Command(NetFn.APP, 0x54, "Get Channel Cipher Suites", _NONE, "22.15", get_channel_cipher_suites),
)
