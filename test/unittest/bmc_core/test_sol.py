"""Serial over LAN: packets, acknowledgement, repetition, back-pressure, and who has the port."""

from __future__ import annotations

import pytest
from bmc_bench import SETTINGS, Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.sol import REPLAY_BYTES, Sol
from infrasim.bmc_core.sol_packet import Operation, SolPacket, Status, following, is_older


def make_session(sent: list[SolPacket], *, handle: int = 1) -> Session:
    def send_payload(kind: PayloadType, data: bytes) -> None:
        assert kind == PayloadType.SOL
        packet = SolPacket.parse(data)
        assert packet is not None
        sent.append(packet)

    admin = Privilege.ADMINISTRATOR
    return Session(
        handle=handle,
        session_id=0x01020300 + handle,
        user_id=2,
        channel=SETTINGS.main_channel,
        peer=("127.0.0.1", 40000 + handle),
        privilege=admin,
        privilege_limit=admin,
        is_rmcp_plus=True,
        is_encrypted=True,
        send_payload=send_payload,
    )


class Scene:
    """A BMC with power, and one session that has its serial port."""

    def __init__(self, *, active: bool = True) -> None:
        self.bench = Bench()
        self.bench.chassis.on = True
        self.sent: list[SolPacket] = []
        self.session = make_session(self.sent)
        if active:
            self.sol.activate(self.session)
            self.wait(1)

    @property
    def sol(self) -> Sol:
        return self.bench.bmc.sol

    def wait(self, seconds: float = 0.02) -> None:
        self.bench.clock.advance(seconds)

    def say(
        self,
        sequence: int,
        characters: bytes = b"",
        *,
        flags: int = 0,
        acked: int = 0,
        accepted: int = 0,
    ) -> None:
        """The console sends one packet."""
        packet = SolPacket(sequence, acked, accepted, flags, characters)
        self.sol.receive(self.session, packet.as_bytes())

    def acknowledge(self, packet: SolPacket) -> None:
        self.say(0, acked=packet.sequence, accepted=len(packet.characters))

    def take(self) -> list[SolPacket]:
        """What was sent since the last time."""
        taken = self.sent[:]
        self.sent.clear()
        return taken

    def drain(self) -> bytes:
        """Acknowledge everything until nothing more comes."""
        got = b""
        while True:
            self.wait()
            packets = self.take()
            if not packets:
                return got
            for packet in packets:
                got += packet.characters
                self.acknowledge(packet)

    def idle(self) -> bool:
        return all(timer.cancelled for timer in self.bench.clock.timers)


def ack(sequence: int, accepted: int, flags: int = 0) -> SolPacket:
    return SolPacket(0, sequence, accepted, flags)


# Output.


def test_output_is_accumulated_for_the_interval() -> None:
    scene = Scene()
    scene.sol.output(b"lo")
    scene.wait(0.005)
    scene.sol.output(b"gin")
    assert scene.take() == []
    scene.wait(0.005)
    assert scene.take() == [SolPacket(1, 0, 0, 0, b"login")]


def test_output_is_sent_at_once_from_the_threshold_on() -> None:
    scene = Scene()
    scene.bench.bmc.lan.sol.kept.send_threshold = 4
    scene.sol.output(b"abc")
    assert scene.take() == []
    scene.sol.output(b"def")
    assert scene.take() == [SolPacket(1, 0, 0, 0, b"abcdef")]


def test_one_packet_waits_for_its_acknowledgement_at_a_time() -> None:
    scene = Scene()
    scene.sol.output(bytes(600))
    [first] = scene.take()
    assert len(first.characters) == 251
    scene.wait(0.1)
    assert scene.take() == []
    scene.acknowledge(first)
    [second] = scene.take()
    assert (second.sequence, len(second.characters)) == (2, 251)
    scene.acknowledge(second)
    [third] = scene.take()
    assert (third.sequence, len(third.characters)) == (3, 98)
    scene.acknowledge(third)
    assert scene.idle()


def test_sequence_numbers_go_round_without_0() -> None:
    scene = Scene()
    numbers = []
    for _ in range(31):
        scene.sol.output(b"x")
        scene.wait()
        [packet] = scene.take()
        numbers.append(packet.sequence)
        scene.acknowledge(packet)
    assert numbers == [*range(1, 16), *range(1, 16), 1]


def test_a_packet_is_repeated_as_it_was() -> None:
    scene = Scene()
    scene.sol.output(b"first")
    scene.wait()
    scene.sol.output(b"second")
    scene.wait(1.1)
    assert scene.take() == [SolPacket(1, 0, 0, 0, b"first")] * 3


def test_output_that_nobody_acknowledges_is_kept_for_the_next_session() -> None:
    scene = Scene()
    scene.sol.output(b"first")
    scene.wait()
    scene.sol.output(b"second")
    scene.wait(10)
    packets = scene.take()
    assert packets[:8] == [SolPacket(1, 0, 0, 0, b"first")] * 8
    assert packets[8:] == [SolPacket(0, 0, 0, Status.DEACTIVATED)]
    assert scene.sol.session is None
    assert scene.idle()
    scene.sol.activate(scene.session)
    assert scene.drain() == b"firstsecond"


def test_no_retries_still_leave_time_for_one_acknowledgement() -> None:
    scene = Scene()
    scene.bench.bmc.lan.sol.kept.retry_count = scene.bench.bmc.lan.sol.kept.retry_interval = 0
    scene.sol.output(b"x")
    scene.wait(0.9)
    [packet] = scene.take()
    scene.acknowledge(packet)
    assert scene.sol.session is scene.session


def test_the_rest_of_a_packet_accepted_in_part_goes_into_the_next() -> None:
    scene = Scene()
    scene.sol.output(b"abcdef")
    scene.wait()
    scene.take()
    scene.say(0, acked=1, accepted=2)
    assert scene.take() == [SolPacket(2, 0, 0, 0, b"cdef")]


def test_a_refusing_console_is_left_alone_for_a_while() -> None:
    scene = Scene()
    scene.sol.output(b"abcdef")
    scene.wait()
    scene.take()
    scene.say(0, acked=1, accepted=2, flags=Operation.NACK)
    scene.wait(0.4)
    assert scene.take() == []
    scene.wait(0.2)
    assert scene.take() == [SolPacket(2, 0, 0, 0, b"cdef")]


def test_a_refusing_console_says_when_it_goes_on() -> None:
    scene = Scene()
    scene.sol.output(b"abcdef")
    scene.wait()
    scene.take()
    scene.say(0, acked=1, accepted=2, flags=Operation.NACK)
    scene.wait(0.1)
    scene.say(0, acked=1, accepted=2)
    assert scene.take() == [SolPacket(2, 0, 0, 0, b"cdef")]


def test_an_acknowledgement_of_nothing_is_one_of_all() -> None:
    scene = Scene()
    scene.sol.output(b"abc")
    scene.wait()
    scene.take()
    scene.say(0, acked=1, accepted=0)
    scene.wait(5)
    assert scene.take() == []
    assert scene.idle()


def test_an_acknowledgement_of_another_packet_is_none() -> None:
    scene = Scene()
    scene.sol.output(b"abc")
    scene.wait()
    scene.say(0, acked=7, accepted=3)
    scene.wait(0.6)
    assert scene.take() == [SolPacket(1, 0, 0, 0, b"abc")] * 2


def test_the_host_waits_while_the_console_is_slow() -> None:
    scene = Scene()
    text = bytes(i % 251 for i in range(REPLAY_BYTES + 252))
    scene.sol.output(text)
    assert scene.bench.serial.paused
    got = b""
    while scene.bench.serial.paused:
        [packet] = scene.take()
        got += packet.characters
        scene.acknowledge(packet)
    assert REPLAY_BYTES // 2 - 512 < len(text) - len(got) < REPLAY_BYTES // 2 + 512
    assert got + scene.drain() == text


def test_the_host_goes_on_when_the_session_ends() -> None:
    scene = Scene()
    scene.sol.output(bytes(2 * REPLAY_BYTES))
    assert scene.bench.serial.paused
    scene.sol.session_closed(scene.session)
    assert not scene.bench.serial.paused
    assert scene.idle()


def test_cts_lets_the_host_wait() -> None:
    scene = Scene()
    scene.say(0, flags=Operation.HOLD_OUTPUT)
    assert scene.bench.serial.paused
    scene.say(0)
    assert not scene.bench.serial.paused


def test_a_flush_drops_what_waits_for_the_console() -> None:
    scene = Scene()
    scene.sol.output(bytes(1000))
    scene.say(1, flags=Operation.FLUSH_OUTBOUND)
    scene.take()
    scene.wait(5)
    assert scene.take() == []
    scene.sol.output(b"new")
    assert scene.drain() == b"new"


# Output while nobody looks.


def test_what_was_printed_before_the_activation_comes_first() -> None:
    scene = Scene(active=False)
    scene.sol.output(b"SeaBIOS")
    scene.sol.activate(scene.session)
    assert scene.take() == []
    scene.sol.output(b" (version)")
    assert scene.drain() == b"SeaBIOS (version)"


def test_the_first_packet_never_overtakes_the_answer_to_the_activation() -> None:
    scene = Scene(active=False)
    scene.sol.output(bytes(1000))
    scene.sol.activate(scene.session)
    scene.sol.output(bytes(1000))
    assert scene.take() == []
    scene.wait(0.005)
    assert len(scene.take()) == 1


def test_the_newest_output_is_kept() -> None:
    scene = Scene(active=False)
    text = bytes(i % 251 for i in range(3 * REPLAY_BYTES))
    for start in range(0, len(text), 1000):
        scene.sol.output(text[start : start + 1000])
    assert not scene.bench.serial.paused
    scene.sol.activate(scene.session)
    assert scene.drain() == text[-REPLAY_BYTES:]


def test_nothing_is_shown_twice() -> None:
    scene = Scene()
    scene.sol.output(b"first")
    assert scene.drain() == b"first"
    scene.sol.session_closed(scene.session)
    scene.sol.output(b"second")
    scene.sol.activate(scene.session)
    assert scene.drain() == b"second"


def test_a_power_on_forgets_what_the_host_said_before() -> None:
    scene = Scene(active=False)
    scene.sol.output(b"old")
    scene.sol.host_powered(on=False)
    scene.sol.host_powered(on=True)
    scene.sol.output(b"new")
    scene.sol.activate(scene.session)
    assert scene.drain() == b"new"


def test_a_console_that_waits_for_a_power_on_sees_nothing_of_the_boot_before() -> None:
    scene = Scene(active=False)
    scene.sol.output(b"old")
    scene.bench.chassis.on = False
    scene.sol.activate(scene.session)
    scene.sol.host_powered(on=True)
    scene.sol.output(b"new")
    assert scene.drain() == b"new"


def test_a_power_on_takes_nothing_from_an_active_session() -> None:
    scene = Scene()
    scene.sol.output(b"old")
    scene.sol.host_powered(on=False)
    scene.sol.host_powered(on=True)
    scene.sol.output(b"new")
    assert scene.drain() == b"oldnew"


# Input.


def test_characters_reach_the_host_and_are_acknowledged() -> None:
    scene = Scene()
    scene.say(1, b"root\r")
    assert scene.bench.serial.written == b"root\r"
    assert scene.take() == [ack(1, 5)]
    assert scene.idle()


def test_a_repetition_is_acknowledged_and_not_written_again() -> None:
    scene = Scene()
    scene.say(1, b"x", flags=Operation.BREAK)
    scene.say(1, b"x", flags=Operation.BREAK)
    assert scene.bench.serial.written == b"x"
    assert scene.bench.serial.breaks == 1
    assert scene.take() == [ack(1, 1)] * 2


def test_a_late_repetition_of_an_older_packet_is_nothing() -> None:
    scene = Scene()
    scene.say(1, b"a")
    scene.say(2, b"b")
    scene.take()
    scene.say(1, b"a")
    assert scene.bench.serial.written == b"ab"
    assert scene.take() == []


def test_a_console_that_gave_a_packet_up_goes_on() -> None:
    scene = Scene()
    scene.say(1, b"a")
    scene.say(3, b"c")
    assert scene.bench.serial.written == b"ac"


def test_the_first_packet_of_the_next_session_is_no_repetition() -> None:
    scene = Scene()
    scene.say(1, b"a")
    scene.sol.session_closed(scene.session)
    scene.session = make_session(scene.sent, handle=2)
    scene.sol.activate(scene.session)
    scene.say(1, b"b")
    assert scene.bench.serial.written == b"ab"


def test_what_the_host_does_not_take_is_refused_after_a_while() -> None:
    scene = Scene()
    scene.bench.serial.takes = 2
    scene.say(1, b"abcdefgh")
    assert scene.take() == []
    scene.say(1, b"abcdefgh")
    assert scene.take() == []
    scene.wait(0.11)
    assert scene.take() == [ack(1, 4, Status.NACK)]
    scene.say(1, b"abcdefgh")
    assert scene.take() == [ack(1, 4, Status.NACK)]
    assert scene.bench.serial.written == b"abcd"
    assert scene.idle()


def test_what_the_host_takes_a_little_later_is_acknowledged() -> None:
    scene = Scene()
    scene.bench.serial.takes = 2
    scene.say(1, b"abcdefgh")
    scene.bench.serial.takes = 100
    scene.sol.writable()
    assert scene.take() == [ack(1, 8)]
    assert scene.bench.serial.written == b"abcdefgh"
    assert scene.idle()


def test_a_refused_console_is_told_when_it_may_go_on() -> None:
    scene = Scene()
    scene.bench.serial.takes = 0
    scene.say(1, b"ab")
    scene.wait(0.2)
    assert scene.take() == [ack(1, 0, Status.NACK)]
    scene.sol.writable()
    scene.sol.writable()
    assert scene.take() == [ack(1, 0)]


def test_a_host_without_power_takes_nothing() -> None:
    scene = Scene()
    scene.bench.chassis.on = False
    scene.say(1, b"ab")
    scene.wait(0.2)
    assert scene.take() == [ack(1, 0, Status.NACK | Status.UNAVAILABLE)]
    assert scene.bench.serial.written == b""


def test_a_power_off_drops_what_was_typed_for_that_host() -> None:
    scene = Scene()
    scene.sol.host_powered(on=False)
    assert scene.bench.serial.discarded == 1


def test_a_console_that_does_not_wait_for_the_answer_loses_only_its_own() -> None:
    scene = Scene()
    scene.bench.serial.takes = 0
    scene.say(1, b"a")
    scene.bench.serial.takes = 9
    scene.say(2, b"b")
    assert scene.take() == [ack(1, 0, Status.NACK), ack(2, 1)]
    assert scene.bench.serial.written == b"b"


def test_a_flush_drops_what_waits_for_the_host() -> None:
    scene = Scene()
    scene.bench.serial.takes = 0
    scene.say(1, b"abc")
    scene.say(0, flags=Operation.FLUSH_INBOUND)
    assert scene.take() == [ack(1, 3)]
    assert scene.bench.serial.discarded == 1
    scene.wait(1)
    assert scene.bench.serial.written == b""


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_break(sequence: int) -> None:
    scene = Scene()
    scene.say(sequence, flags=Operation.BREAK)
    assert scene.bench.serial.breaks == 1
    assert scene.take() == [ack(1, 0)] * sequence


def test_modem_lines_are_taken() -> None:
    scene = Scene()
    scene.say(1, b"x", flags=Operation.RING | Operation.DROP_CARRIER)
    assert scene.take() == [ack(1, 1)]


# Sessions.


def test_a_session_without_sol_gets_no_answer() -> None:
    scene = Scene()
    others: list[SolPacket] = []
    other = make_session(others, handle=2)
    scene.sol.receive(other, SolPacket(5, 0, 0, 0, b"x").as_bytes())
    assert others == []
    assert scene.bench.serial.written == b""


def test_the_end_of_another_session_changes_nothing() -> None:
    scene = Scene()
    scene.sol.session_closed(make_session([], handle=2))
    assert scene.sol.session is scene.session


def test_a_reset_of_the_bmc_ends_sol() -> None:
    scene = Scene()
    settings = scene.bench.bmc.lan.sol
    settings.is_being_set, settings.bit_rate = True, 6
    scene.sol.deactivate_all()
    assert scene.take() == [SolPacket(0, 0, 0, Status.DEACTIVATED)]
    assert (scene.sol.session, settings.is_being_set, settings.bit_rate) == (None, False, 0x0A)
    scene.sol.deactivate_all()
    assert scene.take() == []


# Properties.


def test_older_is_the_shorter_way_round() -> None:
    for sequence in range(1, 16):
        later = sequence
        for _ in range(7):
            later = following(later)
            assert is_older(sequence, later)
            assert not is_older(later, sequence)
        assert not is_older(sequence, sequence)


@given(st.lists(st.one_of(st.binary(max_size=300), st.floats(0, 1)), max_size=30))
def test_arbitrary_packets_harm_nobody(steps: list[bytes | float]) -> None:
    scene = Scene()
    scene.sol.output(bytes(1000))
    for step in steps:
        if isinstance(step, bytes):
            scene.sol.receive(scene.session, step)
        else:
            scene.wait(step)
        assert all(0 <= packet.sequence <= 15 for packet in scene.take())
    scene.sol.session_closed(scene.session)
    assert scene.idle()


class Console:
    """A console as the specification has it: one packet at a time, repeated until it is answered."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.got = b""
        self.sequence = 0
        self.waiting: SolPacket | None = None
        self.last = 0

    def speak(self) -> bytes | None:
        """The packet to send now: a new one, or the one that is not answered yet."""
        if self.waiting is None and self.text:
            self.sequence = following(self.sequence)
            self.waiting = SolPacket(self.sequence, 0, 0, 0, self.text[:7])
        return self.waiting.as_bytes() if self.waiting else None

    def hear(self, packet: SolPacket) -> bytes | None:
        """Take a packet of the BMC; returns the acknowledgement of its characters."""
        if self.waiting and packet.acked == self.waiting.sequence:
            self.text = self.text[packet.accepted :]
            self.waiting = None
        if not packet.sequence:
            return None
        if self.last and is_older(packet.sequence, self.last):
            return None
        if packet.sequence != self.last:
            self.last = packet.sequence
            self.got += packet.characters
        return SolPacket(0, packet.sequence, len(packet.characters), 0).as_bytes()


FATES = st.sampled_from(["arrive", "arrive", "lose", "twice", "late"])


@given(
    fates=st.lists(FATES, max_size=300),
    printed=st.lists(st.binary(min_size=1, max_size=600), max_size=12),
    typed=st.binary(max_size=200),
    takes=st.lists(st.integers(0, 9), max_size=100),
)
def test_a_bad_network_loses_nothing_and_repeats_nothing(
    fates: list[str], printed: list[bytes], typed: bytes, takes: list[int]
) -> None:
    """Packets are lost, doubled and held back past the next one; the host takes what it likes."""
    scene = Scene()
    scene.bench.bmc.lan.sol.kept.retry_interval = 255
    console = Console(typed)
    held: list[tuple[str, bytes]] = []
    to_come = [*printed]
    lost_in_a_row = 0

    def deliver(direction: str, data: bytes) -> None:
        if direction == "to bmc":
            scene.sol.receive(scene.session, data)
            return
        packet = SolPacket.parse(data)
        assert packet is not None
        answer = console.hear(packet)
        if answer is not None:
            travel("to bmc", answer)

    def travel(direction: str, data: bytes) -> None:
        nonlocal lost_in_a_row
        fate = fates.pop() if fates and lost_in_a_row < 3 else "arrive"
        lost_in_a_row = lost_in_a_row + 1 if fate == "lose" else 0
        earlier = held[:]
        held.clear()
        if fate == "late":
            held.append((direction, data))
        elif fate != "lose":
            deliver(direction, data)
            if fate == "twice":
                deliver(direction, data)
        for packet in earlier:
            deliver(*packet)

    for _ in range(3000):
        if to_come:
            scene.sol.output(to_come.pop(0))
        scene.bench.serial.takes = takes.pop() if takes else 100
        spoken = console.speak()
        if spoken is not None:
            travel("to bmc", spoken)
        scene.wait(0.11)
        for packet in scene.take():
            travel("to console", packet.as_bytes())
        done = not (to_come or console.text or console.waiting)
        if done and len(console.got) >= sum(map(len, printed)):
            break
    assert console.got == b"".join(printed)
    assert scene.bench.serial.written == typed
