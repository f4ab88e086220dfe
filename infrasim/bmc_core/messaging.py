"""Messages to and from the host's software: queues and flags of the system interface, and bridging."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from infrasim.bmc_core.channels import all_channels
from infrasim.bmc_core.codes import BMC_ADDRESS, Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.events import set_engine_enables
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.message import Origin, Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Get Message Flags. Source: IPMI 2.0 section 22.4.
FLAG_RECEIVE_QUEUE = 0x01
FLAG_EVENT_BUFFER = 0x02
FLAG_WATCHDOG = 0x08

# Get BMC Global Enables. Source: IPMI 2.0 section 22.2.
_INTERRUPT_RECEIVE_QUEUE = 0x01
_INTERRUPT_EVENT_BUFFER = 0x02
_EVENT_BUFFER_ENABLED = 0x04
_LOGGING_ENABLED = 0x08
# Interrupts, event buffer, log, and three bits for OEMs.
_ENABLES_KNOWN = 0xEF

# "Data not available (queue / buffer empty)". Source: IPMI 2.0 sections 22.6 and 22.8.
_EMPTY = 0x80
_QUEUE_MOST = 32

# Every user may write to the system's software; who writes to other controllers needs this. Source: IPMI 2.0
# table G-1, note to Send Message.
_BRIDGING = Privilege.OPERATOR

_GET_MESSAGE, _SEND_MESSAGE = 0x33, 0x34
# Of Send Message. Source: IPMI 2.0 section 22.7.
_NO_SUCH_SESSION = 0x80
# How a Send Message asks for its answer. Source: IPMI 2.0 section 22.7, byte 1.
_TRACKING_MASK = 0xC0
_TRACKED = 0x40


class Messaging:
    """The host's side of messaging: what waits for its software, and the attention line that says so."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self.enables = _LOGGING_ENABLED
        self._queue: deque[bytes] = deque()
        self._event: bytes | None = None
        self._watchdog = False
        # The channels from which the receive queue takes nothing.
        self.closed: set[int] = set()

    @property
    def flags(self) -> int:
        """What waits, as in Get Message Flags."""
        return (
            (FLAG_RECEIVE_QUEUE if self._queue else 0)
            | (FLAG_EVENT_BUFFER if self._event is not None else 0)
            | (FLAG_WATCHDOG if self._watchdog else 0)
        )

    @property
    def logs_events(self) -> bool:
        """Whether the host's software wants events in the log."""
        return bool(self.enables & _LOGGING_ENABLED)

    def set_enables(self, enables: int) -> None:
        """Take new global enables; ipmi_sim has to know about the log, which is its own."""
        logged, self.enables = self.logs_events, enables
        if self.logs_events is not logged:
            self._bmc.defer(set_engine_enables(self._bmc))
        if not enables & _EVENT_BUFFER_ENABLED:
            self._event = None
        self.show()

    def show(self) -> None:
        """Bring the attention line up to date."""
        flags = self.flags
        wanted = (_INTERRUPT_RECEIVE_QUEUE if flags & FLAG_RECEIVE_QUEUE else 0) | (
            _INTERRUPT_EVENT_BUFFER if flags & (FLAG_EVENT_BUFFER | FLAG_WATCHDOG) else 0
        )
        interrupts = self.enables & (_INTERRUPT_RECEIVE_QUEUE | _INTERRUPT_EVENT_BUFFER)
        self._bmc.system_interface.set_attention(
            asserted=bool(flags), interrupt=bool(self.enables & wanted), interrupts_enabled=bool(interrupts)
        )

    def event(self, record: bytes) -> None:
        """An event happened; the buffer keeps one of 16 bytes, if it is switched on and free."""
        if self.enables & _EVENT_BUFFER_ENABLED and self._event is None:
            self._event = record
            self.show()

    def take_event(self) -> bytes:
        """The event in the buffer.

        Raises:
            Refused: there is none.
        """
        if self._event is None:
            raise Refused(_EMPTY)
        record, self._event = self._event, None
        self.show()
        return record

    def deliver(self, channel: int, message: bytes) -> bool:
        """Put a message into the receive queue; one that may not or does not fit is lost, as on hardware.

        The low four bits of ``channel`` are its number.
        """
        fits = len(self._queue) < _QUEUE_MOST and channel & 0x0F not in self.closed
        if fits:
            self._queue.append(bytes([channel]) + message)
            self.show()
        return fits

    def deliver_from(self, session: Session, message: bytes) -> None:
        """Put a session's message to the host's software into the receive queue, for it to answer.

        It comes with the session's privilege and handle. Source: IPMI 2.0 section 22.6.

        Raises:
            Refused: the session or its channel may not, or there is no room.
        """
        if session.privilege < Privilege.USER:
            raise Refused(Completion.INSUFFICIENT_PRIVILEGE)
        if session.channel in self.closed:
            raise Refused(Completion.DESTINATION_UNAVAILABLE)
        if not self.deliver(session.privilege << 4 | session.channel, bytes([session.handle]) + message):
            raise Refused(Completion.NODE_BUSY)

    def take_message(self) -> bytes:
        """The oldest message, its channel first.

        Raises:
            Refused: there is none.
        """
        if not self._queue:
            raise Refused(_EMPTY)
        message = self._queue.popleft()
        self.show()
        return message

    def watchdog_pre_timeout(self) -> None:
        """The watchdog warns the host's software."""
        self._watchdog = True
        self.show()

    def clear_watchdog_pre_timeout(self) -> None:
        """The warning was heard, or makes no sense any more."""
        self._watchdog = False
        self.show()

    def clear(self, flags: int) -> None:
        """Throw away what ``flags`` name."""
        if flags & FLAG_RECEIVE_QUEUE:
            self._queue.clear()
        if flags & FLAG_EVENT_BUFFER:
            self._event = None
        if flags & FLAG_WATCHDOG:
            self._watchdog = False
        self.show()

    def forget(self) -> None:
        """Everything as after a reset of the BMC."""
        self.set_enables(_LOGGING_ENABLED)
        self.closed.clear()
        self.clear(0xFF)


class IpmbMessage:
    """An IPMB request inside Send Message. Source: IPMI 2.0 section 22.7, IPMB protocol 1.0 section 2.11."""

    __slots__ = ("address", "command", "data", "lun", "netfn", "requester", "requester_lun", "sequence")

    def __init__(self, content: bytes) -> None:
        # address, netfn/lun, checksum, requester, sequence/lun, command, data, checksum
        if len(content) < 7 or sum(content[:3]) & 0xFF or sum(content[3:]) & 0xFF:
            raise Refused(Completion.INVALID_FIELD)
        self.address = content[0]
        self.netfn, self.lun = content[1] >> 2, content[1] & 3
        self.requester = content[3]
        self.sequence, self.requester_lun = content[4] >> 2, content[4] & 3
        self.command = content[5]
        self.data = content[6:-1]

    def answer(self, content: bytes, *, to: int) -> bytes:
        """The IPMB answer to this request, addressed to ``to``; ``content`` is completion code and data."""
        head = bytes([to, (self.netfn | 1) << 2 | self.requester_lun])
        tail = bytes([self.address, self.sequence << 2 | self.lun, self.command]) + content
        return head + _checksum(head) + tail + _checksum(tail)


def _checksum(content: bytes) -> bytes:
    return bytes([-sum(content) & 0xFF])


async def send_message(bmc: Bmc, request: Request) -> bytes:
    """Pass a message on to another controller, the host or a session. Source: IPMI 2.0 section 22.7.

    A controller's answer comes later: to the host in its receive queue, to a session as a message of its own.
    Where no controller is, ipmi_sim refuses with "NAK on Write", and so does the BMC.
    """
    if len(request.data) < 8:
        raise Refused(Completion.LENGTH_INVALID)
    channel = request.channel(request.data[0])
    if channel not in all_channels(bmc):
        raise Refused(Completion.INVALID_FIELD)
    session = request.origin.session
    if channel == Channel.SYSTEM_INTERFACE:
        return _to_the_host(bmc, session, request.data[1:])
    if request.origin.privilege < _BRIDGING:
        raise Refused(Completion.INSUFFICIENT_PRIVILEGE)
    if channel in bmc.lans.numbers:
        return _to_a_session(bmc, request, channel)
    if session is not None and request.data[0] & _TRACKING_MASK != _TRACKED:
        raise Refused(Completion.INVALID_FIELD)
    message = IpmbMessage(request.data[1:])
    if message.address != BMC_ADDRESS:
        await _pass_on(bmc, message)
    bmc.defer(_bridge(bmc, request.origin, channel, message))
    return b""


def _to_the_host(bmc: Bmc, session: Session | None, message: bytes) -> bytes:
    """A session writes to the host's software; that is who answers."""
    if session is None:
        raise Refused(Completion.DESTINATION_UNAVAILABLE)
    IpmbMessage(message)
    bmc.messaging.deliver_from(session, message)
    return b""


def _to_a_session(bmc: Bmc, request: Request, channel: int) -> bytes:
    """The host's software writes to a session, as to answer it. Source: IPMI 2.0 section 22.7."""
    if request.origin.channel != Channel.SYSTEM_INTERFACE:
        raise Refused(Completion.DESTINATION_UNAVAILABLE)
    handle, message = request.data[1], request.data[2:]
    IpmbMessage(message)
    session = bmc.sessions.by_handle(handle)
    if session is None or session.channel != channel:
        raise Refused(_NO_SUCH_SESSION)
    session.send_payload(PayloadType.IPMI, message)
    return b""


async def _pass_on(bmc: Bmc, message: IpmbMessage) -> None:
    # ipmi_sim has every controller on channel 0, whatever channel its record names. Source: measured.
    head = bytes([message.address, message.netfn << 2 | message.lun])
    tail = bytes([BMC_ADDRESS, message.sequence << 2, message.command]) + message.data
    wire = bytes([Channel.IPMB]) + head + _checksum(head) + tail + _checksum(tail)
    await bmc.engine.ask(NetFn.APP, _SEND_MESSAGE, wire)


async def _bridge(bmc: Bmc, origin: Origin, channel: int, message: IpmbMessage) -> None:
    content = await _answer_of_controller(bmc, origin, message)
    if content is None:
        return
    if origin.session is None:
        # The queue has messages without the address they came to.
        bmc.messaging.deliver(channel, message.answer(content, to=BMC_ADDRESS)[1:])
    else:
        origin.session.send_payload(PayloadType.IPMI, message.answer(content, to=message.requester))


async def _answer_of_controller(bmc: Bmc, origin: Origin, message: IpmbMessage) -> bytes | None:
    """Completion code and data from the controller at the message's address; None if it says nothing."""
    if message.address == BMC_ADDRESS:
        found = bmc.answer(Request(message.netfn, message.command, message.data, origin, message.lun))
        return found if isinstance(found, bytes) else await found
    try:
        answer = await bmc.engine.ask(NetFn.APP, _GET_MESSAGE)
    except Refused:
        return None
    # channel, netfn/lun, checksum, address, sequence/lun, command, completion code, data, checksum
    if len(answer) < 8 or answer[3] != message.address or answer[5] != message.command:
        return None
    return answer[6:-1]


def set_bmc_global_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.1."""
    (enables,) = request.need(1)
    if enables & ~_ENABLES_KNOWN:
        raise Refused(Completion.INVALID_FIELD)
    bmc.messaging.set_enables(enables)
    return b""


def get_bmc_global_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.2."""
    request.need(0)
    return bytes([bmc.messaging.enables])


def clear_message_flags(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.3."""
    (flags,) = request.need(1)
    bmc.messaging.clear(flags)
    return b""


def get_message_flags(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.4."""
    request.need(0)
    return bytes([bmc.messaging.flags])


def enable_channel_receive(bmc: Bmc, request: Request) -> bytes:
    """Whether messages of a channel come into the receive queue. Source: IPMI 2.0 section 22.5."""
    wanted, state = request.need(2)
    channel, closed = request.channel(wanted), bmc.messaging.closed
    if channel not in all_channels(bmc) or channel == Channel.SYSTEM_INTERFACE:
        raise Refused(Completion.INVALID_FIELD)
    match state & 0x03:
        case 0:
            closed.add(channel)
        case 1:
            closed.discard(channel)
        case 2:
            pass
        case _:
            raise Refused(Completion.INVALID_FIELD)
    return bytes([channel, channel not in closed])


def get_message(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.6."""
    request.need(0)
    return bmc.messaging.take_message()


def read_event_message_buffer(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.8."""
    request.need(0)
    return bmc.messaging.take_event()


_USER = Privilege.USER
COMMANDS = (
    *(
        Command(NetFn.APP, *entry, in_band_only=True)
        for entry in (
            (0x2E, "Set BMC Global Enables", _USER, "22.1", set_bmc_global_enables),
            (0x30, "Clear Message Flags", _USER, "22.3", clear_message_flags),
            (0x31, "Get Message Flags", _USER, "22.4", get_message_flags),
            (0x32, "Enable Message Channel Receive", _USER, "22.5", enable_channel_receive),
            (_GET_MESSAGE, "Get Message", _USER, "22.6", get_message),
            (0x35, "Read Event Message Buffer", _USER, "22.8", read_event_message_buffer),
        )
    ),
    Command(NetFn.APP, 0x2F, "Get BMC Global Enables", _USER, "22.2", get_bmc_global_enables),
    Command(NetFn.APP, _SEND_MESSAGE, "Send Message", _USER, "22.7", send_message),
)
