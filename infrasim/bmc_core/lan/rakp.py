"""The login of RMCP+: open session request and RAKP messages. Source: IPMI 2.0 sections 13.17 to 13.24."""

from __future__ import annotations

import hmac
import secrets
from enum import IntEnum
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.guid import system_guid
from infrasim.bmc_core.lan.cipher import (
    Authentication,
    Confidentiality,
    Suite,
    authentication_code,
    final_code,
)
from infrasim.bmc_core.lan.link import PlusLink, lan_session
from infrasim.bmc_core.lan.login import allowed_suites, find_user, suite_limit, user_limit
from infrasim.bmc_core.lan.session import Peer
from infrasim.bmc_core.lan.sessions import Opening
from infrasim.bmc_core.users import NAME_LENGTH

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc


class Status(IntEnum):
    """RMCP+ and RAKP status codes. Source: IPMI 2.0 table 13-15."""

    OK = 0x00
    INSUFFICIENT_RESOURCES = 0x01
    INVALID_SESSION_ID = 0x02
    INVALID_AUTHENTICATION = 0x04
    INVALID_INTEGRITY = 0x05
    INACTIVE_SESSION_ID = 0x08
    INVALID_ROLE = 0x09
    UNAUTHORIZED_ROLE = 0x0A
    INSUFFICIENT_RESOURCES_FOR_ROLE = 0x0B
    INVALID_NAME_LENGTH = 0x0C
    UNAUTHORIZED_NAME = 0x0D
    INVALID_INTEGRITY_CHECK_VALUE = 0x0F
    INVALID_CONFIDENTIALITY = 0x10
    NO_CIPHER_SUITE_MATCH = 0x11
    ILLEGAL_PARAMETER = 0x12


_RANDOM_LENGTH = 16
_OPEN_LENGTH = 32
_RAKP_1_LENGTH = 28
_RAKP_3_LENGTH = 8
# The three proposals of an open session request: type, where it begins, what is wrong with it.
_PROPOSALS = (
    (0, 8, Status.INVALID_AUTHENTICATION),
    (1, 16, Status.INVALID_INTEGRITY),
    (2, 24, Status.INVALID_CONFIDENTIALITY),
)
_ALGORITHM_MASK = 0x3F
_ROLE_MASK = 0x0F


def answer_open_session(bmc: Bmc, request: bytes, peer: Peer) -> bytes | None:
    """The open session response. Source: IPMI 2.0 sections 13.17 and 13.18."""
    if len(request) < _OPEN_LENGTH:
        return None
    tag, role, console_id = request[0], request[1] & _ROLE_MASK, request[4:8]
    head = bytes([tag])
    if role > Privilege.OEM:
        return head + bytes([Status.INVALID_ROLE, 0, 0]) + console_id
    suite = _choose_suite(bmc, request)
    if isinstance(suite, Status):
        return head + bytes([suite, 0, 0]) + console_id
    limit = min(suite_limit(bmc, suite), bmc.state.channels.volatile.limit)
    if role > limit:
        return head + bytes([Status.UNAUTHORIZED_ROLE, 0, 0]) + console_id
    if bmc.sessions.is_full():
        return head + bytes([Status.INSUFFICIENT_RESOURCES, 0, 0]) + console_id
    opening = Opening(
        console_id=int.from_bytes(console_id, "little"),
        session_id=bmc.sessions.new_id(),
        suite=suite,
        limit=Privilege(role) if role else limit,
        peer=peer,
        since_s=bmc.clock.now_s(),
    )
    bmc.sessions.begin_opening(opening)
    chosen = (suite.authentication, suite.integrity, suite.confidentiality)
    records = b"".join(bytes([kind, 0, 0, 8, each, 0, 0, 0]) for kind, each in enumerate(chosen))
    session_id = opening.session_id.to_bytes(4, "little")
    return head + bytes([Status.OK, opening.limit, 0]) + console_id + session_id + records


def _choose_suite(bmc: Bmc, request: bytes) -> Suite | Status:
    """The best allowed suite that fits the proposals; a proposal of length 0 leaves the choice to the BMC."""
    allowed = [(each.authentication, each.integrity, each.confidentiality) for each in allowed_suites(bmc)]
    wanted: list[int | None] = []
    for kind, start, fault in _PROPOSALS:
        length = request[start + 3]
        if request[start] != kind or length not in (0, 8):
            return Status.ILLEGAL_PARAMETER
        algorithm = request[start + 4] & _ALGORITHM_MASK
        if length and all(algorithm != suite[kind] for suite in allowed):
            # "None" is a known algorithm, only not one that any suite here has.
            return Status.NO_CIPHER_SUITE_MATCH if algorithm == 0 else fault
        wanted.append(algorithm if length else None)
    # The last one that fits has the longest hash.
    for suite in reversed(allowed_suites(bmc)):
        own = (suite.authentication, suite.integrity, suite.confidentiality)
        if all(each in (None, mine) for each, mine in zip(wanted, own, strict=True)):
            return suite
    return Status.NO_CIPHER_SUITE_MATCH


def answer_rakp_1(bmc: Bmc, request: bytes, peer: Peer) -> bytes | None:
    """RAKP message 2. Source: IPMI 2.0 sections 13.20 and 13.21."""
    if len(request) < _RAKP_1_LENGTH:
        return None
    opening = bmc.sessions.opening(int.from_bytes(request[4:8], "little"))
    if opening is None or opening.peer != peer:
        return bytes([request[0], Status.INVALID_SESSION_ID, 0, 0]) + bytes(4)
    if request == opening.rakp_1:
        return opening.rakp_2
    if opening.rakp_1:
        return None
    status = _begin_rakp(bmc, opening, request)
    if status is Status.OK:
        return opening.rakp_2
    bmc.sessions.drop_login(opening.session_id)
    return bytes([request[0], status, 0, 0]) + opening.console_id.to_bytes(4, "little")


def _begin_rakp(bmc: Bmc, opening: Opening, request: bytes) -> Status:
    role_byte, name_length = request[24:25], request[27]
    name = request[28 : 28 + name_length]
    if name_length > NAME_LENGTH or len(name) != name_length:
        return Status.INVALID_NAME_LENGTH
    role = role_byte[0] & _ROLE_MASK
    if role > Privilege.OEM:
        return Status.INVALID_ROLE
    found = find_user(bmc, name.rstrip(b"\0"), Privilege(role))
    if found is None or bmc.sessions.lockout.is_locked(found[0]):
        return Status.UNAUTHORIZED_NAME
    opening.user_id, user = found
    most = min(user_limit(bmc, user), suite_limit(bmc, opening.suite))
    if role > min(most, opening.limit):
        return Status.UNAUTHORIZED_ROLE
    if bmc.sessions.is_full(opening.user_id):
        return Status.INSUFFICIENT_RESOURCES_FOR_ROLE
    opening.role = Privilege(role) if role else min(most, opening.limit)
    opening.rakp_1 = request
    _compute_codes(bmc, opening, user.password, role_byte + bytes([name_length]) + name)
    return Status.OK


def _compute_codes(bmc: Bmc, opening: Opening, password: bytes, who: bytes) -> None:
    """Everything that the two sides prove to each other. Source: IPMI 2.0 section 13.31 and 13.32.

    ``who`` is role, length of the name, and name, as RAKP message 1 had them.
    """
    algorithm = opening.suite.authentication
    console_random = opening.rakp_1[8 : 8 + _RANDOM_LENGTH]
    bmc_random = secrets.token_bytes(_RANDOM_LENGTH)
    console_id, session_id = (each.to_bytes(4, "little") for each in (opening.console_id, opening.session_id))
    guid = system_guid(bmc)
    proof = console_id + session_id + console_random + bmc_random + guid + who
    head = bytes([opening.rakp_1[0], Status.OK, 0, 0]) + console_id
    opening.rakp_2 = head + bmc_random + guid + authentication_code(algorithm, password, proof)
    opening.code = authentication_code(algorithm, password, bmc_random + console_id + who)
    key = bmc.state.channels.bmc_key if bmc.state.channels.has_bmc_key else password
    opening.session_key = authentication_code(algorithm, key, console_random + bmc_random + who)
    opening.final = final_code(algorithm, opening.session_key, console_random + session_id + guid)


def answer_rakp_3(bmc: Bmc, request: bytes, peer: Peer) -> bytes | None:
    """RAKP message 4; with it the session is active. Source: IPMI 2.0 sections 13.22 and 13.23."""
    if len(request) < _RAKP_3_LENGTH:
        return None
    session_id = int.from_bytes(request[4:8], "little")
    link = bmc.sessions.link(session_id)
    if link is not None:
        return link.login[1] if link.login[0] == request and link.session.peer == peer else None
    opening = bmc.sessions.opening(session_id)
    if opening is None or opening.peer != peer or not opening.rakp_1:
        return bytes([request[0], Status.INACTIVE_SESSION_ID, 0, 0]) + bytes(4)
    if request[1] != Status.OK:
        # The console found a fault, most likely that the passwords differ, and wants no answer.
        _fail(bmc, opening)
        return None
    console_id = opening.console_id.to_bytes(4, "little")
    if not hmac.compare_digest(opening.code, request[8 : 8 + len(opening.code)]):
        _fail(bmc, opening)
        return bytes([request[0], Status.INVALID_INTEGRITY_CHECK_VALUE, 0, 0]) + console_id
    if bmc.sessions.is_full(opening.user_id):
        bmc.sessions.drop_login(session_id)
        return bytes([request[0], Status.INSUFFICIENT_RESOURCES, 0, 0]) + console_id
    answer = bytes([request[0], Status.OK, 0, 0]) + console_id + opening.final
    bmc.sessions.lockout.forget(opening.user_id)
    _activate(bmc, opening).login = (request, answer)
    return answer


def _fail(bmc: Bmc, opening: Opening) -> None:
    bmc.sessions.drop_login(opening.session_id)
    if opening.suite.authentication is not Authentication.NONE:
        bmc.sessions.lockout.failed(opening.user_id)


def _activate(bmc: Bmc, opening: Opening) -> PlusLink:
    session = lan_session(
        session_id=opening.session_id,
        user_id=opening.user_id,
        peer=opening.peer,
        limit=opening.role,
        is_rmcp_plus=True,
        is_encrypted=opening.suite.confidentiality is not Confidentiality.NONE,
        handle=bmc.sessions.new_handle(),
    )
    link = PlusLink(
        session,
        opening.suite,
        session_key=opening.session_key,
        console_id=opening.console_id,
        now_s=bmc.clock.now_s(),
    )
    bmc.sessions.add(link)
    return link
