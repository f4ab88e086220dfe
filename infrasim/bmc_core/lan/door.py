"""What arrives at the BMC's UDP port: datagrams in, datagrams out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from infrasim.bmc_core import channels
from infrasim.bmc_core.codes import HOST_SOFTWARE_LUN, Completion, NetFn, Privilege
from infrasim.bmc_core.lan import challenge, rakp
from infrasim.bmc_core.lan.link import AUTHENTICATION_NONE, PENDING_MOST, Link, OldLink, PlusLink, old_code
from infrasim.bmc_core.lan.packet import (
    CLASS_ASF,
    CLASS_IPMI,
    FORMAT_RMCP_PLUS,
    NO_ACKNOWLEDGE,
    PAYLOAD_TYPE_MASK,
    RMCP_HEADER_LENGTH,
    RMCP_VERSION,
    Message,
    OldPacket,
    PlusPacket,
    acknowledge,
    old_packet,
    parse_message,
    parse_old,
    parse_plus,
    parse_presence_ping,
    plus_packet,
    presence_pong,
    response,
)
from infrasim.bmc_core.lan.session import PayloadType, Peer, Session
from infrasim.bmc_core.message import Origin, Refused, Request, refused

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

LOG = logging.getLogger(__name__)

_ACTIVATE_SESSION = 0x3A
_INSUFFICIENT_PRIVILEGE = bytes([Completion.INSUFFICIENT_PRIVILEGE])
_UNSPECIFIED = bytes([Completion.UNSPECIFIED])
# The messages of a login, each with what answers it and the type of the answer.
_LOGIN = {
    PayloadType.OPEN_SESSION_REQUEST: (rakp.answer_open_session, PayloadType.OPEN_SESSION_RESPONSE),
    PayloadType.RAKP_1: (rakp.answer_rakp_1, PayloadType.RAKP_2),
    PayloadType.RAKP_3: (rakp.answer_rakp_3, PayloadType.RAKP_4),
}
# The type byte of an IPMI message, and of SOL, whose protection bits are another matter.
_IPMI, _SOL = int(PayloadType.IPMI), int(PayloadType.SOL)

Seal = Callable[[int, bytes], bytes]


class LanDoor:
    """The main channel of ``bmc``.

    ``send`` sends a datagram to a peer; ``defer`` runs something that waits for the engine, beside
    everything else. Each datagram is answered before ``receive`` returns, but for those.
    """

    def __init__(
        self, bmc: Bmc, send: Callable[[bytes, Peer], None], defer: Callable[[Awaitable[None]], None]
    ) -> None:
        self._bmc = bmc
        self._send_out = send
        self._defer = defer
        self._sessions = bmc.sessions
        self._statistics = bmc.lan.statistics
        self._outside = Origin(bmc.lan.number, Privilege.NONE)

    def receive(self, datagram: bytes, peer: Peer) -> None:
        """Take one datagram from ``peer``. It never raises: what is malformed is dropped."""
        self._statistics.ip_packets_received += 1
        self._statistics.udp_packets_received += 1
        try:
            self._receive(datagram, peer)
        except Exception:
            LOG.exception("a datagram from %s could not be answered: %s", peer, datagram.hex())

    def forget_all(self) -> None:
        """End every session without a word and forget volatile settings, as a reset of the BMC does."""
        self._sessions.forget_all()
        channels.restart(self._bmc)

    def _receive(self, datagram: bytes, peer: Peer) -> None:
        if len(datagram) <= RMCP_HEADER_LENGTH or datagram[0] != RMCP_VERSION:
            return
        self._statistics.rmcp_packets_received += 1
        if datagram[3] == CLASS_ASF:
            self._receive_asf(datagram, peer)
        elif datagram[3] != CLASS_IPMI or not channels.is_open(self._bmc):
            return
        elif datagram[4] == FORMAT_RMCP_PLUS:
            plus = parse_plus(datagram)
            if plus is not None:
                self._receive_plus(plus, datagram, peer)
        else:
            old = parse_old(datagram)
            if old is not None:
                self._receive_old(old, peer)

    def _send(self, datagram: bytes, peer: Peer) -> None:
        self._statistics.ip_packets_sent += 1
        self._send_out(datagram, peer)

    def _receive_asf(self, datagram: bytes, peer: Peer) -> None:
        tag = parse_presence_ping(datagram)
        if tag is None:
            return
        if datagram[2] != NO_ACKNOWLEDGE:
            self._send(acknowledge(datagram), peer)
        self._send(presence_pong(tag), peer)

    def _receive_plus(self, packet: PlusPacket, datagram: bytes, peer: Peer) -> None:
        if not packet.session_id:
            self._receive_outside(packet, peer)
            return
        link = self._sessions.link(packet.session_id)
        if not isinstance(link, PlusLink) or link.session.peer != peer:
            return
        payload = link.open(packet, datagram)
        if payload is None:
            return
        if not link.window.accept(packet.sequence):
            self._send_kept(link, packet.sequence)
            return
        link.last_heard_s = self._bmc.clock.now_s()
        kind = packet.kind & PAYLOAD_TYPE_MASK
        if kind == _IPMI:
            self._serve(link, payload, packet.sequence, _IPMI)
        elif kind == _SOL:
            self._bmc.sol.receive(link.session, payload)

    def _receive_outside(self, packet: PlusPacket, peer: Peer) -> None:
        """What comes in RMCP+ format outside of a session: messages of a login, and some commands."""
        if packet.kind == _IPMI:
            message = parse_message(packet.payload)
            if message is not None:
                self._answer_outside(message, peer, lambda data: plus_packet(_IPMI, 0, 0, data))
            return
        login = _LOGIN.get(packet.kind)  # type: ignore[call-overload]
        if login is None:
            return
        answer_login, kind = login
        for answer in answer_login(self._bmc, packet.payload, peer):
            self._send(plus_packet(kind, 0, 0, answer), peer)
        if kind is PayloadType.RAKP_4:
            self._connect(int.from_bytes(packet.payload[4:8], "little"))

    def _connect(self, session_id: int) -> None:
        """Let the session of a login that succeeded send payloads of its own accord."""
        link = self._sessions.link(session_id)
        if isinstance(link, PlusLink):
            link.session.send_payload = self._payload_sender(link, link.session)

    def _payload_sender(self, link: PlusLink, session: Session) -> Callable[[PayloadType, bytes], None]:
        return lambda kind, data: self._send(link.seal(kind, data), session.peer)

    def _receive_old(self, packet: OldPacket, peer: Peer) -> None:
        if not packet.session_id:
            message = None if packet.authentication else parse_message(packet.payload)
            if message is not None:
                self._answer_outside(message, peer, lambda data: old_packet(0, 0, 0, b"", data))
            return
        link = self._sessions.link(packet.session_id)
        if link is None:
            self._activate(packet, peer)
            return
        if not isinstance(link, OldLink) or link.session.peer != peer:
            return
        if link.login[0] == packet.payload:
            self._send(link.login[1], peer)
            return
        unauthenticated = packet.authentication == AUTHENTICATION_NONE != link.authentication
        if unauthenticated:
            if not self._may_be_unauthenticated(packet):
                return
        elif not link.is_authentic(packet):
            return
        if (packet.sequence or not unauthenticated) and not link.window.accept(packet.sequence):
            self._send_kept(link, packet.sequence)
            return
        link.last_heard_s = self._bmc.clock.now_s()
        self._serve(link, packet.payload, packet.sequence, packet.authentication)

    def _may_be_unauthenticated(self, packet: OldPacket) -> bool:
        """Whether a packet in a session needs no code. Source: IPMI 2.0 section 6.11.4."""
        access = self._bmc.lan.access.volatile
        if access.per_message_off:
            return True
        message = parse_message(packet.payload) if access.user_level_off else None
        return (
            message is not None and self._bmc.privilege_of(message.netfn, message.command) <= Privilege.USER
        )

    def _activate(self, packet: OldPacket, peer: Peer) -> None:
        """Activate Session is the one command that comes with the id of a challenge."""
        begun = self._sessions.challenge(packet.session_id)
        message = parse_message(packet.payload)
        if begun is None or message is None:
            return
        if (message.netfn, message.command) != (NetFn.APP, _ACTIVATE_SESSION):
            return
        try:
            link, data = challenge.activate(self._bmc, begun, packet, message.data, peer)
        except Refused as refusal:
            answer = response(message, bytes([refusal.code]))
            code = old_code(packet.authentication, begun.password, packet.session_id, 0, answer)
            self._send(old_packet(packet.authentication, packet.session_id, 0, code, answer), peer)
            return
        except challenge.WrongPassword:
            # The specification has no code for this, but silence lets clients wait for many seconds. A
            # code with the right password cannot be sent, so the request's own one goes back.
            answer = response(message, _INSUFFICIENT_PRIVILEGE)
            self._send(old_packet(packet.authentication, packet.session_id, 0, packet.code, answer), peer)
            return
        datagram = link.seal(link.authentication, response(message, b"\0" + data))
        link.login = (packet.payload, datagram)
        link.session.send_payload = self._message_sender(link)
        self._send(datagram, peer)

    def _message_sender(self, link: OldLink) -> Callable[[PayloadType, bytes], None]:
        """Answers that come later, from controllers behind this one; IPMI 1.5 has no other payload."""

        def send(kind: PayloadType, data: bytes) -> None:
            if kind is PayloadType.IPMI:
                self._send(link.seal(link.authentication, data), link.session.peer)

        return send

    def _answer_outside(self, message: Message, peer: Peer, seal: Callable[[bytes], bytes]) -> None:
        answer = self._bmc.answer(_request(message, self._outside))
        if isinstance(answer, bytes):
            self._send(seal(response(message, answer)), peer)
            return

        async def finish() -> None:
            self._send(seal(response(message, await _waited(answer))), peer)

        self._defer(finish())

    def _serve(self, link: PlusLink | OldLink, payload: bytes, sequence: int, kind: int) -> None:
        """Answer one request of a session; one that is being worked on already is not done again.

        What is for the host's software, that has to answer.
        """
        message = parse_message(payload)
        if message is None or payload in link.pending:
            return
        request = _request(message, link.origin)
        try:
            if message.lun == HOST_SOFTWARE_LUN:
                self._bmc.messaging.deliver_from(link.session, payload)
                return
            answer = (
                self._bmc.answer(request)
                if len(link.pending) < PENDING_MOST
                else refused(request, Completion.NODE_BUSY)
            )
        except Refused as refusal:
            answer = refused(request, refusal.code)
        except Exception:
            LOG.exception("the command %#04x %#04x failed", message.netfn, message.command)
            answer = _UNSPECIFIED
        if isinstance(answer, bytes):
            datagram = link.seal(kind, response(message, answer))
            link.keep_answer(sequence, datagram)
            self._send(datagram, link.session.peer)
        else:
            link.pending.add(payload)
            self._defer(self._serve_later(link, message, answer, payload, sequence, kind))

    async def _serve_later(
        self,
        link: PlusLink | OldLink,
        message: Message,
        answer: Awaitable[bytes],
        payload: bytes,
        sequence: int,
        kind: int,
    ) -> None:
        try:
            data = await _waited(answer)
        finally:
            link.pending.discard(payload)
        if self._sessions.link(link.session.session_id) is link:
            datagram = link.seal(kind, response(message, data))
            link.keep_answer(sequence, datagram)
            self._send(datagram, link.session.peer)

    def _send_kept(self, link: Link, sequence: int) -> None:
        datagram = link.kept_answer(sequence)
        if datagram:
            self._send(datagram, link.session.peer)


def _request(message: Message, origin: Origin) -> Request:
    return Request(message.netfn, message.command, message.data, origin, message.lun)


async def _waited(answer: Awaitable[bytes]) -> bytes:
    try:
        return await answer
    except Exception:
        LOG.exception("a command failed")
        return _UNSPECIFIED
