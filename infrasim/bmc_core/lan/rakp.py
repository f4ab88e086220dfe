"""The login of RMCP+: open session request and RAKP messages. Source: IPMI 2.0 sections 13.17 to 13.24.

Each function yields its answer as soon as it knows it, and does the rest while that is on its way.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from os import urandom
from typing import TYPE_CHECKING, NamedTuple

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.guid import system_guid
from infrasim.bmc_core.lan.cipher import (
    SUITES,
    Authentication,
    Confidentiality,
    Suite,
    authentication_code,
    final_code,
)
from infrasim.bmc_core.lan.link import PlusLink, lan_session
from infrasim.bmc_core.lan.login import find_user, user_limit
from infrasim.bmc_core.lan.session import Peer
from infrasim.bmc_core.lan.sessions import Opening
from infrasim.bmc_core.lan_config import suite_privileges
from infrasim.bmc_core.users import NAME_LENGTH, User

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
# The three proposals of an open session request, behind its first 8 bytes: each has this length, and as its
# type its place here; the value is what is wrong with it.
_PROPOSALS_START, _PROPOSAL_LENGTH = 8, 8
_PROPOSALS = (Status.INVALID_AUTHENTICATION, Status.INVALID_INTEGRITY, Status.INVALID_CONFIDENTIALITY)
_ALGORITHM_MASK = 0x3F
_ROLE_MASK = 0x0F


def answer_open_session(bmc: Bmc, request: bytes, peer: Peer) -> Iterator[bytes]:
    """The open session response. Source: IPMI 2.0 sections 13.17 and 13.18."""
    if len(request) < _OPEN_LENGTH:
        return
    tag, role, console_id = request[0], request[1] & _ROLE_MASK, request[4:8]
    offer = _offer(bmc, request, role)
    if isinstance(offer, Status):
        yield bytes((tag, offer, 0, 0)) + console_id
        return
    session_id = bmc.sessions.new_id()
    limit = Privilege(role) if role else offer.limit
    ids = console_id + session_id.to_bytes(4, "little")
    yield bytes((tag, Status.OK, limit, 0)) + ids + offer.records
    bmc.sessions.begin_opening(
        Opening(
            console_id=int.from_bytes(console_id, "little"),
            session_id=session_id,
            suite=offer.suite,
            limit=limit,
            peer=peer,
            since_s=bmc.clock.now_s(),
        )
    )


def _offer(bmc: Bmc, request: bytes, role: int) -> _Offer | Status:
    """What a request gets, or what is wrong with it."""
    if role > Privilege.OEM:
        return Status.INVALID_ROLE
    offer = _choose(suite_privileges(bmc.lan.parameters), request[_PROPOSALS_START:_OPEN_LENGTH])
    if isinstance(offer, Status):
        return offer
    limit = min(offer.limit, bmc.lan.access.volatile.limit)
    if role > limit:
        return Status.UNAUTHORIZED_ROLE
    if bmc.sessions.is_full():
        return Status.INSUFFICIENT_RESOURCES
    return offer._replace(limit=limit)


class _Offer(NamedTuple):
    """A suite with the most that its sessions may be, and how a response says what was chosen."""

    suite: Suite
    limit: Privilege
    records: bytes


# What clients propose differs by little.
@lru_cache(maxsize=16)
def _choose(usable: tuple[tuple[int, Privilege], ...], proposals: bytes) -> _Offer | Status:
    """The best usable suite that fits the proposals; one of length 0 leaves the choice to the BMC."""
    suites = [SUITES[number] for number, _ in usable if number in SUITES]
    fitting = suites
    for kind, fault in enumerate(_PROPOSALS):
        proposal = proposals[kind * _PROPOSAL_LENGTH : (kind + 1) * _PROPOSAL_LENGTH]
        length, algorithm = proposal[3], proposal[4] & _ALGORITHM_MASK
        if proposal[0] != kind or length not in (0, _PROPOSAL_LENGTH):
            return Status.ILLEGAL_PARAMETER
        if not length:
            continue
        if all(suite.algorithms[kind] != algorithm for suite in suites):
            # "None" is a known algorithm, only not one that any suite here has.
            return Status.NO_CIPHER_SUITE_MATCH if algorithm == 0 else fault
        fitting = [suite for suite in fitting if suite.algorithms[kind] == algorithm]
    if not fitting:
        return Status.NO_CIPHER_SUITE_MATCH
    # The last one has the longest hash.
    suite = fitting[-1]
    records = b"".join(
        bytes((kind, 0, 0, _PROPOSAL_LENGTH, each, 0, 0, 0)) for kind, each in enumerate(suite.algorithms)
    )
    return _Offer(suite, dict(usable)[suite.number], records)


def answer_rakp_1(bmc: Bmc, request: bytes, peer: Peer) -> Iterator[bytes]:
    """RAKP message 2. Source: IPMI 2.0 sections 13.20 and 13.21."""
    if len(request) < _RAKP_1_LENGTH:
        return
    opening = bmc.sessions.opening(int.from_bytes(request[4:8], "little"))
    if opening is None or opening.peer != peer:
        yield bytes([request[0], Status.INVALID_SESSION_ID, 0, 0]) + bytes(4)
        return
    if opening.rakp_1:
        if request == opening.rakp_1:
            yield opening.rakp_2
        return
    user = _user(bmc, opening, request)
    if isinstance(user, Status):
        bmc.sessions.drop_login(opening.session_id)
        yield bytes([request[0], user, 0, 0]) + opening.console_id.to_bytes(4, "little")
        return
    opening.rakp_1 = request
    yield from _prove(bmc, opening, user.password)


def _user(bmc: Bmc, opening: Opening, request: bytes) -> User | Status:
    """Who wants to log in, noted with the role in ``opening``; or what is wrong with that."""
    role, name_length = request[24] & _ROLE_MASK, request[27]
    name = request[28 : 28 + name_length]
    if name_length > NAME_LENGTH or len(name) != name_length:
        return Status.INVALID_NAME_LENGTH
    if role > Privilege.OEM:
        return Status.INVALID_ROLE
    found = find_user(bmc, name.rstrip(b"\0"), Privilege(role))
    if found is None or bmc.sessions.lockout.is_locked(found[0]):
        return Status.UNAUTHORIZED_NAME
    opening.user_id, user = found
    most = min(user_limit(user, bmc.lan), opening.limit)
    if role > most:
        return Status.UNAUTHORIZED_ROLE
    if bmc.sessions.is_full(opening.user_id):
        return Status.INSUFFICIENT_RESOURCES_FOR_ROLE
    opening.role = Privilege(role) if role else most
    return user


def _prove(bmc: Bmc, opening: Opening, password: bytes) -> Iterator[bytes]:
    """RAKP message 2; behind it, what the two sides prove to each other after it.

    Source: IPMI 2.0 sections 13.31 and 13.32.
    """
    algorithm, rakp_1 = opening.suite.authentication, opening.rakp_1
    # Role, length of the name, and name, as RAKP message 1 has them.
    who = rakp_1[24:25] + rakp_1[27 : 28 + rakp_1[27]]
    console_random = rakp_1[8 : 8 + _RANDOM_LENGTH]
    bmc_random = urandom(_RANDOM_LENGTH)
    console_id = opening.console_id.to_bytes(4, "little")
    session_id = opening.session_id.to_bytes(4, "little")
    guid = system_guid(bmc)
    proof = console_id + session_id + console_random + bmc_random + guid + who
    head = bytes((rakp_1[0], Status.OK, 0, 0)) + console_id
    opening.rakp_2 = head + bmc_random + guid + authentication_code(algorithm, password, proof)
    yield opening.rakp_2
    opening.code = authentication_code(algorithm, password, bmc_random + console_id + who)
    access = bmc.lan.access
    key = access.bmc_key if access.has_bmc_key else password
    opening.session_key = authentication_code(algorithm, key, console_random + bmc_random + who)
    opening.final = final_code(algorithm, opening.session_key, console_random + session_id + guid)


def answer_rakp_3(bmc: Bmc, request: bytes, peer: Peer) -> Iterator[bytes]:
    """RAKP message 4; with it the session is active. Source: IPMI 2.0 sections 13.22 and 13.23."""
    if len(request) < _RAKP_3_LENGTH:
        return
    session_id = int.from_bytes(request[4:8], "little")
    link = bmc.sessions.link(session_id)
    if link is not None:
        if link.login[0] == request and link.session.peer == peer:
            yield link.login[1]
        return
    opening = bmc.sessions.opening(session_id)
    if opening is None or opening.peer != peer or not opening.rakp_1:
        yield bytes([request[0], Status.INACTIVE_SESSION_ID, 0, 0]) + bytes(4)
        return
    if request[1] != Status.OK:
        # The console found a fault, most likely that the passwords differ, and wants no answer.
        _fail(bmc, opening)
        return
    console_id = opening.console_id.to_bytes(4, "little")
    if not hmac.compare_digest(opening.code, request[8 : 8 + len(opening.code)]):
        _fail(bmc, opening)
        yield bytes([request[0], Status.INVALID_INTEGRITY_CHECK_VALUE, 0, 0]) + console_id
        return
    if bmc.sessions.is_full(opening.user_id):
        bmc.sessions.drop_login(session_id)
        yield bytes([request[0], Status.INSUFFICIENT_RESOURCES, 0, 0]) + console_id
        return
    answer = bytes((request[0], Status.OK, 0, 0)) + console_id + opening.final
    yield answer
    bmc.sessions.lockout.forget(opening.user_id)
    _activate(bmc, opening).login = (request, answer)


def _fail(bmc: Bmc, opening: Opening) -> None:
    bmc.sessions.drop_login(opening.session_id)
    if opening.suite.authentication is not Authentication.NONE:
        bmc.sessions.lockout.failed(opening.user_id)


def _activate(bmc: Bmc, opening: Opening) -> PlusLink:
    session = lan_session(
        session_id=opening.session_id,
        user_id=opening.user_id,
        channel=bmc.lan.number,
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
