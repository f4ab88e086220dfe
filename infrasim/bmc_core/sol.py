"""Serial over LAN: the host's serial port in an RMCP+ session, one packet in each direction at a time.

``Sol`` owns who has the serial port, what the host printed and nobody has got yet, and what a
console typed and the host has not taken. Commands about it are in ``sol_commands``. The serial
line itself is outside (``ports.Serial``).

Nothing that the host prints is lost while a session is active: if the console is slow, the host
waits. Without a session the newest output is kept for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.sol_packet import (
    MOST_CHARACTERS,
    Operation,
    SolPacket,
    Status,
    following,
    is_older,
)

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.ports import Timer

# The payload sizes in the answer to Activate Payload. Clients differ in whether the header of four
# bytes counts, so the BMC takes more than it says and sends less.
PAYLOAD_SIZE = 255
_MOST_OUTBOUND = PAYLOAD_SIZE - 4

# Output kept while no session is active. With one, the host is stopped above it, and goes on below half.
REPLAY_BYTES = 65536

# The answer to Activate Payload is on its way before the first packet.
_AFTER_ACTIVATION_S = 0.005
# Characters that the host does not take are offered again for so long before the console is told. It
# also keeps a console that repeats at once from turning in circles.
_REFUSE_AFTER_S = 0.1
# After the last repetition, and between two: at least this long, whatever the parameters say.
_LAST_WAIT_S = 1.0
_LEAST_WAIT_S = 0.01

_ACCUMULATE_UNIT_S = 0.005
_RETRY_UNIT_S = 0.01


@dataclass
class SolState:
    """The configuration parameters that are kept. Source: IPMI 2.0 table 26-5.

    ``accumulate_interval`` is in units of 5 ms, ``retry_interval`` of 10 ms. ``bit_rate`` is its code.
    """

    enabled: bool = True
    force_encryption: bool = False
    force_authentication: bool = False
    privilege: Privilege = Privilege.OPERATOR
    accumulate_interval: int = 2
    send_threshold: int = 64
    retry_count: int = 7
    retry_interval: int = 50
    bit_rate: int = 0x0A

    def accumulate_s(self) -> float:
        """How long the first character of a packet waits for more."""
        return self.accumulate_interval * _ACCUMULATE_UNIT_S

    def retry_s(self) -> float:
        """How long a packet waits for its acknowledgement."""
        return max(self.retry_interval * _RETRY_UNIT_S, _LEAST_WAIT_S)


@dataclass
class _Sent:
    """The packet that waits for its acknowledgement; ``due_s`` is when it is sent again, or given up."""

    packet: SolPacket
    tries_left: int
    due_s: float


@dataclass
class _Received:
    """The newest packet of a console: how much of it the host took, and what it has not taken yet.

    ``flags`` is None until the packet was answered.
    """

    sequence: int
    accepted: int
    rest: bytes
    flags: int | None = None


class SolSettings:
    """The parameters of one channel: those that are kept, and what is so for now."""

    def __init__(self, kept: SolState) -> None:
        self.kept = kept
        self.restart()

    def restart(self) -> None:
        """As after a reset of the BMC."""
        self.is_being_set = False
        self.bit_rate = self.kept.bit_rate


class Sol:
    """The SOL payload of a BMC, with its one instance. Source: IPMI 2.0 section 15."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._settings = bmc.lan.sol
        self.session: Session | None = None
        self._holds_output = False
        self._is_paused = False
        # To the console.
        self._queue = bytearray()
        self._sent: _Sent | None = None
        self._sequence = 0
        self._ready_s = 0.0
        self._not_before_s = 0.0
        self._refused_sequence = 0
        self._send_timer: Timer | None = None
        # To the host.
        self._received: _Received | None = None
        self._refuse_timer: Timer | None = None

    def activate(self, session: Session) -> None:
        """Give the serial port to ``session``."""
        if not self._bmc.chassis.power_is_on():
            # The next thing to see is the first byte of the next boot.
            self._queue.clear()
        self.session = session
        self._holds_output = False
        self._sequence = self._refused_sequence = 0
        self._received = None
        self._not_before_s = self._bmc.clock.now_s() + _AFTER_ACTIVATION_S
        self._send_due()
        self._throttle()

    def deactivate(self, *, tell: bool) -> None:
        """Take the serial port away; ``tell`` its session. What is not acknowledged stays for the next."""
        session, self.session = self.session, None
        if session is None:
            return
        self._stop_timers()
        if self._sent is not None:
            self._queue[:0] = self._sent.packet.characters
            self._sent = None
        self._received = None
        self._trim()
        self._throttle()
        if tell:
            _send(session, SolPacket(0, 0, 0, Status.DEACTIVATED))

    def deactivate_all(self) -> None:
        """The BMC is being reset: sessions are told, and what is volatile is gone."""
        self.deactivate(tell=True)
        for lan in self._bmc.lans.all:
            lan.sol.restart()

    def session_closed(self, session: Session) -> None:
        """``session`` is no more."""
        if session is self.session:
            self.deactivate(tell=False)

    def host_powered(self, *, on: bool) -> None:
        """The chassis was switched; for ``on`` before the host prints its first byte."""
        if not on:
            # What was typed for this host is not for the next one's firmware.
            self._bmc.serial.discard()
            return
        if self.session is None:
            self._queue.clear()
        self.writable()

    def output(self, data: bytes) -> None:
        """The host printed ``data``."""
        if not self._queue:
            self._ready_s = self._bmc.clock.now_s() + self._settings.kept.accumulate_s()
        self._queue += data
        if self._bmc.serial_history is not None:
            self._bmc.serial_history.add(data)
        if self.session is None:
            self._trim()
        else:
            self._send_due()
            self._throttle()

    def writable(self) -> None:
        """The serial line takes characters again."""
        last = self._received
        if self.session is None or last is None:
            return
        if last.flags is None:
            self._offer_rest(last)
        elif last.flags & Status.NACK and self._bmc.chassis.power_is_on():
            # Tells the console that it need not wait any longer.
            last.flags = 0
            _send(self.session, SolPacket(0, last.sequence, last.accepted, 0))

    def receive(self, session: Session, data: bytes) -> None:
        """A SOL payload arrived. Source: IPMI 2.0 section 15.9."""
        packet = SolPacket.parse(data)
        # A session that did not hear that its SOL is over gets no answer: ipmitool 1.8.19 ignores every
        # status, and only silence tells it.
        if packet is None or session is not self.session:
            return
        if packet.acked:
            self._take_acknowledgement(packet)
        if packet.sequence:
            self._take_characters(packet)
        else:
            self._operate(packet.flags)

    def _operate(self, flags: int) -> None:
        if flags & Operation.FLUSH_INBOUND:
            self._bmc.serial.discard()
            if self._received is not None and self._received.flags is None:
                self._answer(self._received, accepted=self._received.accepted + len(self._received.rest))
        if flags & Operation.FLUSH_OUTBOUND:
            self._queue.clear()
            self._sent = None
            self._cancel_send_timer()
        if flags & Operation.BREAK:
            self._bmc.serial.send_break()
        self._holds_output = bool(flags & Operation.HOLD_OUTPUT)
        self._throttle()

    # From the console to the host.

    def _take_characters(self, packet: SolPacket) -> None:
        last = self._received
        if last is not None:
            if packet.sequence == last.sequence:
                # A repetition: its answer was lost, or is still to come. Never written twice.
                if last.flags is not None:
                    self._answer_again(last)
                return
            if is_older(packet.sequence, last.sequence):
                return
            if last.flags is None:
                self._refuse_rest()
        self._operate(packet.flags)
        self._received = _Received(packet.sequence, 0, packet.characters[:MOST_CHARACTERS])
        self._offer_rest(self._received)

    def _offer_rest(self, last: _Received) -> None:
        """Offer the host what it has not taken; the console is answered when it took all."""
        if last.rest and self._bmc.chassis.power_is_on():
            taken = self._bmc.serial.write(last.rest)
            last.accepted += taken
            last.rest = last.rest[taken:]
        if not last.rest:
            self._answer(last, accepted=last.accepted)
        elif self._refuse_timer is None:
            self._refuse_timer = self._bmc.clock.later(_REFUSE_AFTER_S, self._refuse_in_time)

    def _refuse_in_time(self) -> None:
        self._refuse_timer = None
        last = self._received
        if last is None:
            return
        if self._bmc.chassis.power_is_on():
            taken = self._bmc.serial.write(last.rest)
            last.accepted += taken
            last.rest = last.rest[taken:]
        self._refuse_rest()

    def _refuse_rest(self) -> None:
        if self._received is not None:
            self._answer(self._received, accepted=self._received.accepted)

    def _answer(self, last: _Received, *, accepted: int) -> None:
        """Acknowledge the newest packet, or refuse what is left of it."""
        if self._refuse_timer is not None:
            self._refuse_timer.cancel()
            self._refuse_timer = None
        is_refused = accepted < last.accepted + len(last.rest)
        last.accepted, last.rest = accepted, b""
        last.flags = Status.NACK if is_refused else 0
        if is_refused and not self._bmc.chassis.power_is_on():
            last.flags |= Status.UNAVAILABLE
        self._answer_again(last)

    def _answer_again(self, last: _Received) -> None:
        if self.session is not None:
            _send(self.session, SolPacket(0, last.sequence, last.accepted, last.flags or 0))

    # From the host to the console.

    def _take_acknowledgement(self, packet: SolPacket) -> None:
        """Source: IPMI 2.0 section 15.11."""
        now_s = self._bmc.clock.now_s()
        is_refused = bool(packet.flags & Operation.NACK)
        if self._sent is None or packet.acked != self._sent.packet.sequence:
            if packet.acked == self._refused_sequence and not is_refused:
                # The console that refused takes characters again.
                self._refused_sequence = 0
                self._not_before_s = now_s
                self._send_due()
            return
        characters = self._sent.packet.characters
        # An acknowledgement of nothing, without a refusal, can only mean all.
        taken = packet.accepted if is_refused or packet.accepted else len(characters)
        self._sent = None
        self._queue[:0] = characters[taken:]
        self._refused_sequence = packet.acked if is_refused else 0
        if is_refused:
            self._not_before_s = now_s + self._settings.kept.retry_s()
        elif taken < len(characters):
            self._ready_s = now_s
        self._send_due()
        self._throttle()

    def _send_due(self) -> None:
        """Send a packet if it is time for one, else see to being woken when it is."""
        self._cancel_send_timer()
        if self.session is None:
            return
        if self._sent is not None:
            self._wake_at(self._sent.due_s)
            return
        if not self._queue:
            return
        settings = self._settings.kept
        start_s = self._not_before_s
        if len(self._queue) < settings.send_threshold:
            start_s = max(start_s, self._ready_s)
        now_s = self._bmc.clock.now_s()
        if now_s < start_s:
            self._wake_at(start_s)
            return
        characters = bytes(self._queue[:_MOST_OUTBOUND])
        del self._queue[:_MOST_OUTBOUND]
        self._ready_s = now_s + settings.accumulate_s()
        self._sequence = following(self._sequence)
        packet = SolPacket(self._sequence, 0, 0, 0, characters)
        self._sent = _Sent(packet, settings.retry_count, 0)
        self._transmit(self._sent)

    def _transmit(self, sent: _Sent) -> None:
        assert self.session is not None
        wait_s = self._settings.kept.retry_s()
        sent.due_s = self._bmc.clock.now_s() + (wait_s if sent.tries_left else max(wait_s, _LAST_WAIT_S))
        self._wake_at(sent.due_s)
        _send(self.session, sent.packet)

    def _wake(self) -> None:
        self._send_timer = None
        sent = self._sent
        if sent is None or self._bmc.clock.now_s() < sent.due_s:
            self._send_due()
        elif sent.tries_left:
            sent.tries_left -= 1
            self._transmit(sent)
        else:
            self.deactivate(tell=True)

    def _throttle(self) -> None:
        """Let the host wait while too much of its output does."""
        most = REPLAY_BYTES // 2 if self._is_paused else REPLAY_BYTES
        paused = self.session is not None and (self._holds_output or len(self._queue) > most)
        if paused != self._is_paused:
            self._is_paused = paused
            self._bmc.serial.pause(paused=paused)

    def _trim(self) -> None:
        if len(self._queue) > REPLAY_BYTES:
            del self._queue[:-REPLAY_BYTES]

    def _wake_at(self, at_s: float) -> None:
        delay_s = max(at_s - self._bmc.clock.now_s(), 0.0)
        self._send_timer = self._bmc.clock.later(delay_s, self._wake)

    def _cancel_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _stop_timers(self) -> None:
        self._cancel_send_timer()
        if self._refuse_timer is not None:
            self._refuse_timer.cancel()
            self._refuse_timer = None


def _send(session: Session, packet: SolPacket) -> None:
    session.send_payload(PayloadType.SOL, packet.as_bytes())
