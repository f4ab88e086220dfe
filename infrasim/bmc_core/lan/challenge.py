"""The login of IPMI 1.5: session challenge and Activate Session. Source: IPMI 2.0 sections 22.16, 22.17."""

from __future__ import annotations

from os import urandom
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, Privilege
from infrasim.bmc_core.lan.link import (
    AUTHENTICATION_MD5,
    AUTHENTICATION_NONE,
    AUTHENTICATION_PASSWORD,
    OldLink,
    is_authentic,
    lan_session,
)
from infrasim.bmc_core.lan.login import find_user, user_limit
from infrasim.bmc_core.lan.packet import OldPacket
from infrasim.bmc_core.lan.session import Peer
from infrasim.bmc_core.lan.sessions import Challenge
from infrasim.bmc_core.lan_config import auth_types
from infrasim.bmc_core.message import Refused
from infrasim.bmc_core.users import SHORT_PASSWORD

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Completion codes. Source: IPMI 2.0 tables 22-20 and 22-21.
_INVALID_NAME, _NULL_NAME_OFF = 0x81, 0x82
_NO_SLOT, _NO_SLOT_FOR_USER, _SEQUENCE_OUT_OF_RANGE = 0x81, 0x82, 0x84
_INVALID_SESSION_ID, _PRIVILEGE_TOO_HIGH = 0x85, 0x86

_CHALLENGE_LENGTH = 16
_KNOWN = (AUTHENTICATION_NONE, AUTHENTICATION_MD5, AUTHENTICATION_PASSWORD)


def _is_enabled(bmc: Bmc, authentication: int, privilege: Privilege) -> bool:
    """Whether a session of that level may use an authentication type."""
    return bool(auth_types(bmc.lan.parameters, privilege) >> authentication & 1)


class WrongPassword(Exception):
    """An Activate Session whose authentication code is wrong."""


def begin(bmc: Bmc, authentication: int, name: bytes) -> bytes:
    """The answer to Get Session Challenge: session id and challenge.

    Raises:
        Refused: nobody of that name may log in so.
    """
    if authentication not in _KNOWN or not any(_is_enabled(bmc, authentication, each) for each in Privilege):
        raise Refused(Completion.INVALID_FIELD)
    found = find_user(bmc, name)
    if found is None or found[1].long_password or bmc.sessions.lockout.is_locked(found[0]):
        raise Refused(_INVALID_NAME if name else _NULL_NAME_OFF)
    number, user = found
    challenge = Challenge(
        session_id=bmc.sessions.new_id(),
        user_id=number,
        authentication=authentication,
        text=urandom(_CHALLENGE_LENGTH),
        password=user.password.ljust(SHORT_PASSWORD, b"\0"),
        since_s=bmc.clock.now_s(),
    )
    bmc.sessions.begin_challenge(challenge)
    return challenge.session_id.to_bytes(4, "little") + challenge.text


def activate(
    bmc: Bmc, challenge: Challenge, packet: OldPacket, data: bytes, peer: Peer
) -> tuple[OldLink, bytes]:
    """Make the session active that ``data`` of an Activate Session asks for; the link and the answer's data.

    Raises:
        WrongPassword: or the authentication type is not that of the challenge.
        Refused: the session cannot be had.
    """
    if len(data) != 22:
        raise Refused(Completion.LENGTH_INVALID)
    if packet.authentication != challenge.authentication or not is_authentic(packet, challenge.password):
        bmc.sessions.drop_login(challenge.session_id)
        bmc.sessions.lockout.failed(challenge.user_id)
        raise WrongPassword
    outbound = int.from_bytes(data[18:22], "little")
    role = data[1] & 0x0F
    if data[0] & 0x0F != challenge.authentication or data[2:18] != challenge.text:
        raise Refused(_INVALID_SESSION_ID)
    if not outbound:
        raise Refused(_SEQUENCE_OUT_OF_RANGE)
    if not Privilege.CALLBACK <= role <= user_limit(bmc.state.users.get(challenge.user_id), bmc.lan):
        raise Refused(_PRIVILEGE_TOO_HIGH)
    if not _is_enabled(bmc, challenge.authentication, Privilege(role)):
        raise Refused(_PRIVILEGE_TOO_HIGH)
    if bmc.sessions.is_full(challenge.user_id):
        raise Refused(_NO_SLOT if bmc.sessions.is_full() else _NO_SLOT_FOR_USER)
    bmc.sessions.lockout.forget(challenge.user_id)
    inbound = int.from_bytes(urandom(4), "little") & 0x7FFFFFFF | 1
    session = lan_session(
        session_id=challenge.session_id,
        user_id=challenge.user_id,
        channel=bmc.lan.number,
        peer=peer,
        limit=Privilege(role),
        is_rmcp_plus=False,
        is_encrypted=False,
        handle=bmc.sessions.new_handle(),
    )
    link = OldLink(
        session,
        challenge.authentication,
        password=challenge.password,
        inbound=inbound,
        outbound=outbound,
        now_s=bmc.clock.now_s(),
    )
    bmc.sessions.add(link)
    answer = session.session_id.to_bytes(4, "little") + inbound.to_bytes(4, "little")
    return link, bytes([challenge.authentication]) + answer + bytes([role])
