"""How the packets of one active session are opened and sealed, in RMCP+ and in IPMI 1.5."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.lan.cipher import Confidentiality, Encryptor, Integrity, Signer, Suite, md5_code
from infrasim.bmc_core.lan.packet import (
    PAYLOAD_AUTHENTICATED,
    PAYLOAD_ENCRYPTED,
    PAYLOAD_TYPE_MASK,
    OldPacket,
    PlusPacket,
    old_packet,
    plus_packet,
)
from infrasim.bmc_core.lan.session import PayloadType, Peer, SequenceWindow, Session
from infrasim.bmc_core.message import Origin

# Authentication types of IPMI 1.5. Source: IPMI 2.0 table 13-8.
AUTHENTICATION_NONE, AUTHENTICATION_MD5, AUTHENTICATION_PASSWORD = 0, 2, 4

# Source: IPMI 2.0 section 6.12.13.
_PLUS_WINDOW, _OLD_WINDOW = 16, 8
# Requests of one session that may wait for the engine at a time.
PENDING_MOST = 16
# How many answers are kept for requests that come twice.
_KEPT = 8

Send = Callable[[bytes, Peer], None]


class Link:
    """What both formats have in common.

    ``pending`` are requests that are being worked on. ``last_heard_s`` is by the BMC's clock.
    """

    __slots__ = (
        "_answers",
        "_origin",
        "_outbound",
        "last_heard_s",
        "login",
        "pending",
        "session",
        "window",
    )

    def __init__(self, session: Session, window: SequenceWindow, outbound: int, now_s: float) -> None:
        self.session = session
        self.window = window
        self.last_heard_s = now_s
        self.pending: set[bytes] = set()
        # The last message of the login and its answer, for when the answer gets lost.
        self.login = (b"", b"")
        self._outbound = outbound
        self._answers: list[tuple[int, bytes]] = [(0, b"")] * _KEPT
        self._origin = Origin(session.channel, session.privilege, session)

    @property
    def origin(self) -> Origin:
        """Where requests of this session come from, at its privilege now."""
        if self._origin.privilege is not self.session.privilege:
            self._origin = Origin(self.session.channel, self.session.privilege, self.session)
        return self._origin

    def keep_answer(self, sequence: int, datagram: bytes) -> None:
        """Remember what was answered to the packet of that sequence number."""
        self._answers[sequence % _KEPT] = (sequence, datagram)

    def kept_answer(self, sequence: int) -> bytes:
        """What was answered to the packet of that sequence number, if it is known; else nothing."""
        known, datagram = self._answers[sequence % _KEPT]
        return datagram if known == sequence else b""

    def _next_outbound(self) -> int:
        # Zero stands for "outside of a session". Source: IPMI 2.0 section 6.12.13.
        self._outbound = self._outbound + 1 & 0xFFFFFFFF or 1
        return self._outbound


class PlusLink(Link):
    """An RMCP+ session. Sequence numbers begin with 1. Source: IPMI 2.0 section 13.28."""

    __slots__ = ("_encryptor", "_flags", "_signer", "console_id")

    def __init__(
        self, session: Session, suite: Suite, *, session_key: bytes, console_id: int, now_s: float
    ) -> None:
        super().__init__(session, SequenceWindow(0, _PLUS_WINDOW), 0, now_s)
        self.console_id = console_id
        self._signer = Signer(suite, session_key) if suite.integrity is not Integrity.NONE else None
        encrypts = suite.confidentiality is not Confidentiality.NONE
        self._encryptor = Encryptor(suite, session_key) if encrypts else None
        self._flags = (PAYLOAD_AUTHENTICATED if self._signer else 0) | (PAYLOAD_ENCRYPTED if encrypts else 0)

    def open(self, packet: PlusPacket, datagram: bytes) -> bytes | None:
        """The payload, if the packet has the protection that was agreed on; only SOL may be plain text."""
        kind = packet.kind
        if self._signer is not None and not (
            kind & PAYLOAD_AUTHENTICATED and self._signer.is_signed(datagram, packet.end)
        ):
            return None
        if kind & PAYLOAD_ENCRYPTED:
            return self._encryptor.decrypt(packet.payload) if self._encryptor is not None else None
        if self._encryptor is None or kind & PAYLOAD_TYPE_MASK == PayloadType.SOL:
            return packet.payload
        return None

    def seal(self, kind: int, payload: bytes) -> bytes:
        """The datagram that carries ``payload`` of type ``kind``."""
        flags = self._flags
        if kind in self.session.plain_payloads:
            flags &= ~PAYLOAD_ENCRYPTED
        elif self._encryptor is not None:
            payload = self._encryptor.encrypt(payload)
        datagram = plus_packet(kind | flags, self.console_id, self._next_outbound(), payload)
        return self._signer.sign(datagram) if self._signer is not None else datagram


class OldLink(Link):
    """An IPMI 1.5 session. ``password`` is 16 bytes long. Source: IPMI 2.0 section 13.3, 22.17."""

    __slots__ = ("_password", "authentication")

    def __init__(
        self,
        session: Session,
        authentication: int,
        *,
        password: bytes,
        inbound: int,
        outbound: int,
        now_s: float,
    ) -> None:
        super().__init__(session, SequenceWindow(inbound - 1, _OLD_WINDOW), outbound - 1, now_s)
        self.authentication = authentication
        self._password = password

    def is_authentic(self, packet: OldPacket) -> bool:
        """Whether the packet carries the code that the session's authentication type wants."""
        if packet.authentication != self.authentication:
            return False
        return is_authentic(packet, self._password)

    def seal(self, authentication: int, payload: bytes) -> bytes:
        """The datagram that carries the IPMI message ``payload``."""
        number, session_id = self._next_outbound(), self.session.session_id
        code = old_code(authentication, self._password, session_id, number, payload)
        return old_packet(authentication, session_id, number, code, payload)


def old_code(authentication: int, password: bytes, session_id: int, sequence: int, payload: bytes) -> bytes:
    """The authentication code of an IPMI 1.5 packet; empty for none."""
    if authentication == AUTHENTICATION_MD5:
        return md5_code(password, session_id, sequence, payload)
    return password if authentication == AUTHENTICATION_PASSWORD else b""


def is_authentic(packet: OldPacket, password: bytes) -> bool:
    """Whether the code of an IPMI 1.5 packet is that of ``password``."""
    wanted = old_code(packet.authentication, password, packet.session_id, packet.sequence, packet.payload)
    return hmac.compare_digest(wanted, packet.code)


def first_privilege(limit: Privilege) -> Privilege:
    """What a session begins with. Source: IPMI 2.0 section 22.18."""
    return min(limit, Privilege.USER)


def send_nowhere(kind: PayloadType, data: bytes) -> None:
    """What a session that is not connected, or no more, does with a payload."""


def lan_session(
    *,
    session_id: int,
    user_id: int,
    channel: int,
    peer: Peer,
    limit: Privilege,
    is_rmcp_plus: bool,
    is_encrypted: bool,
    handle: int,
) -> Session:
    """A new session of a LAN channel, which cannot send yet."""
    return Session(
        handle=handle,
        session_id=session_id,
        user_id=user_id,
        channel=channel,
        peer=peer,
        privilege=first_privilege(limit),
        privilege_limit=limit,
        is_rmcp_plus=is_rmcp_plus,
        is_encrypted=is_encrypted,
        send_payload=send_nowhere,
    )
