"""The system interface without a guest: KCS by port reads and writes of the test's own, by QEMU's qtest.

A QEMU of the test's own is the client of a node's ``run/kcs.sock``, in place of the node's host, which is
off.
Source of the state machine: IPMI 2.0 sections 9.7 to 9.15.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from lab import IPMITOOL_WAITS_S, NODE, Lab, lab, wait_for

DATA, COMMAND = 0xCA2, 0xCA3
OBF, IBF = 0x01, 0x02
IDLE, READ, WRITE, ERROR = 0, 1, 2, 3
GET_STATUS_ABORT, WRITE_START, WRITE_END, READ_BYTE = 0x60, 0x61, 0x62, 0x68
ANSWER_S = 180.0
# Long enough for a busy machine to see that the BMC is away.
RESET_S = 3


class InterfaceError(Exception):
    """The interface went to its error state."""


class Ports:
    """The ports of a machine that runs nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("r")

    def _ask(self, line: str) -> str:
        self._connection.sendall(line.encode() + b"\n")
        answer = self._lines.readline().split()
        assert answer and answer[0] == "OK", (line, answer)
        return answer[-1]

    def read(self, port: int) -> int:
        """One byte of a port."""
        return int(self._ask(f"inb {port:#x}"), 16)

    def write(self, port: int, value: int) -> None:
        """Write one byte to a port."""
        self._ask(f"outb {port:#x} {value:#x}")


class Kcs:
    """The system's side of a KCS interface."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    @property
    def state(self) -> int:
        """Idle, read, write or error."""
        return self.ports.read(COMMAND) >> 6

    def _until(self, *, obf: bool | None = None, ibf: bool | None = None) -> None:
        deadline = time.monotonic() + ANSWER_S
        while True:
            status = self.ports.read(COMMAND)
            if (obf is None or bool(status & OBF) is obf) and (ibf is None or bool(status & IBF) is ibf):
                return
            assert time.monotonic() < deadline, f"status stays {status:#04x}"

    def _write(self, port: int, value: int, expected: int = WRITE) -> None:
        self._until(ibf=False)
        self.ports.write(port, value)
        self._until(ibf=False)
        if self.state != expected and expected == WRITE:
            raise InterfaceError
        if expected == WRITE:
            self.clear()

    def clear(self) -> None:
        """Take what is in the output buffer."""
        if self.ports.read(COMMAND) & OBF:
            self.ports.read(DATA)

    def send(self, message: bytes) -> None:
        """Write a request: network function and LUN, command, data."""
        self.clear()
        self._write(COMMAND, WRITE_START)
        for value in message[:-1]:
            self._write(DATA, value)
        self._write(COMMAND, WRITE_END)
        self._until(ibf=False)
        self.ports.write(DATA, message[-1])

    def receive(self) -> bytes:
        """Read the answer."""
        answer = bytearray()
        deadline = time.monotonic() + ANSWER_S
        while True:
            assert time.monotonic() < deadline, f"no answer: {answer.hex()}"
            self._until(ibf=False)
            state = self.state
            if state == READ:
                self._until(obf=True)
                answer.append(self.ports.read(DATA))
                self.ports.write(DATA, READ_BYTE)
            elif state == IDLE:
                self._until(obf=True)
                self.ports.read(DATA)
                return bytes(answer)
            elif state == WRITE:
                # The BMC has the request and no answer yet.
                continue
            else:
                raise InterfaceError

    def ask(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """One request and its answer: completion code and data."""
        self.send(bytes([netfn << 2, command]) + data)
        answer = self.receive()
        assert answer[:2] == bytes([(netfn | 1) << 2, command]), answer
        return answer[2:]

    def abort(self) -> int:
        """Get out of the error state; returns what the interface says was wrong."""
        self._until(ibf=False)
        self.ports.write(COMMAND, GET_STATUS_ABORT)
        self._until(ibf=False)
        self.clear()
        self.ports.write(DATA, 0)
        self._until(ibf=False)
        assert self.state == READ
        self._until(obf=True)
        error = self.ports.read(DATA)
        self.ports.write(DATA, READ_BYTE)
        self._until(ibf=False, obf=True)
        assert self.state == IDLE
        self.ports.read(DATA)
        return error


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A node whose host is off, so that its system interface is free."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(bmc={"startnow": False, "reset_time": RESET_S, "channels": [1, 8]})
        yield home


@pytest.fixture(scope="module")
def kcs(node: Lab) -> Iterator[Kcs]:
    """The interface of a machine that is connected to the node's BMC."""
    qtest = node.root / "qtest"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(qtest))
        server.listen(1)
        server.settimeout(ANSWER_S)
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-S", "-display", "none", "-nodefaults"]
        argv += ["-qtest", f"unix:{qtest}", "-qtest-log", "none"]
        argv += ["-chardev", f"socket,id=ipmi0,path={node.home / NODE / 'run' / 'kcs.sock'},reconnect=1"]
        argv += ["-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi0", "-device", "isa-ipmi-kcs,bmc=bmc0"]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as machine:
            try:
                connection, _ = server.accept()
                connection.settimeout(ANSWER_S)
                with connection:
                    found = Kcs(Ports(connection))
                    wait_for(lambda: found.ask(6, 1)[0] == 0, what="the BMC behind KCS")
                    yield found
            finally:
                machine.kill()
                machine.wait()
                qtest.unlink()


def test_get_device_id_is_that_of_the_lan(node: Lab, kcs: Kcs) -> None:
    assert kcs.ask(6, 1) == b"\0" + node.raw(6, 1)
    assert kcs.state == IDLE


def test_one_request_after_the_other(kcs: Kcs) -> None:
    first = kcs.ask(6, 1)
    for _ in range(50):
        assert kcs.ask(6, 1) == first
        assert kcs.ask(6, 4) == b"\0\x55\0"
        assert kcs.ask(0, 0)[0] == 0


def test_refusals_are_answers(kcs: Kcs) -> None:
    assert kcs.ask(6, 0xEE) == b"\xc1"
    assert kcs.ask(6, 1, b"\1\2\3")[0] in (0, 0xC7)
    assert kcs.ask(0, 2, b"\x0f") == b"\xcc"
    assert kcs.state == IDLE


def test_channels_are_the_same_on_both_sides(node: Lab, kcs: Kcs) -> None:
    """1 is the main channel, 8 another one; "this channel" is the system interface here."""
    for number in (1, 8):
        assert kcs.ask(6, 0x42, bytes([number]))[:4] == bytes([0, number, 4, 1])
        assert kcs.ask(0x0C, 2, bytes([number, 5, 0, 0]))[1:] == node.raw(0x0C, 2, number, 5, 0, 0)
    assert kcs.ask(6, 0x42, b"\x0e")[1] == 0x0F
    assert kcs.ask(6, 0x42, b"\x02") == b"\xcc"
    assert kcs.ask(0x0C, 1, b"\x08\x03\x0a\x00\x00\x07") == b"\0"
    assert "10.0.0.7" in node.ipmi("lan", "print", "8")
    assert "10.0.0.7" not in node.ipmi("lan", "print", "1")
    node.ipmi("user", "priv", "2", "3", "8")
    assert kcs.ask(6, 0x44, b"\x08\x02")[-1] & 0x0F == 3
    assert kcs.ask(6, 0x44, b"\x01\x02")[-1] & 0x0F == 4
    assert kcs.ask(0x0C, 0x21, b"\x08\x04\x02\x09") == b"\0"
    assert "Retry Count                     : 2" in node.ipmi("sol", "info", "8")
    assert "Retry Count                     : 7" in node.ipmi("sol", "info", "1")


def test_of_a_controller_that_is_not_there_is_said_so(kcs: Kcs) -> None:
    """Send Message to 66h: NAK on Write; to the management engine: its answer waits then."""
    for address, code in ((0x66, 0x83), (0x2C, 0)):
        request = bytes([address, 6 << 2, -(address + (6 << 2)) & 0xFF, 0x20, 0, 1, -0x21 & 0xFF])
        assert kcs.ask(6, 0x34, b"\0" + request) == bytes([code])
    wait_for(lambda: kcs.ask(6, 0x31)[1] & 1, what="the answer")
    assert kcs.ask(6, 0x33)[:8] == bytes([0, 0, 7 << 2, -(0x20 + (7 << 2)) & 0xFF, 0x2C, 0, 1, 0])


@pytest.mark.parametrize("length", [1, 2, 16, 32])
def test_long_messages_both_ways(node: Lab, kcs: Kcs, length: int) -> None:
    text = bytes(range(0xA0 - length // 2, 0xA0 - length // 2 + length))[:16]
    # The boot mailbox takes 16 bytes; the values go over those that the stream to the BMC escapes.
    assert kcs.ask(0, 8, b"\x07\x01" + text.ljust(16, b"\xaa")) == b"\0"
    assert kcs.ask(0, 9, b"\x07\x01\0")[4:] == text.ljust(16, b"\xaa")
    assert node.raw(0, 9, 7, 1, 0)[3:] == text.ljust(16, b"\xaa")
    assert kcs.ask(10, 0x11, bytes([0, 0, 0, length]))[:2] == bytes([0, length])


def test_a_message_as_long_as_the_interface_takes(kcs: Kcs) -> None:
    """QEMU's buffer has 300 bytes; a request that no command wants is refused, and the next one goes on."""
    assert kcs.ask(6, 1, bytes(250))[0] in (0, 0xC7, 0xC8)
    assert kcs.ask(6, 1)[0] == 0


def test_a_transfer_can_be_aborted_and_begun_anew(kcs: Kcs) -> None:
    kcs.clear()
    kcs.ports.write(COMMAND, WRITE_START)
    assert kcs.state == WRITE
    kcs.ports.write(DATA, 6 << 2)
    assert kcs.abort() != 0, "transfer aborted"
    assert kcs.ask(6, 1)[0] == 0


def test_an_unknown_control_code_is_an_error_until_the_abort(kcs: Kcs) -> None:
    kcs.clear()
    kcs.ports.write(COMMAND, 0x77)
    assert kcs.state == ERROR
    with pytest.raises(InterfaceError):
        kcs.ports.write(COMMAND, WRITE_END)
        kcs.receive()
    kcs.abort()
    assert kcs.ask(6, 1)[0] == 0


def test_what_is_set_here_is_true_there(node: Lab, kcs: Kcs) -> None:
    assert kcs.ask(0, 8, bytes([5, 0xE0, 0x04, 0, 0, 0])) == b"\0"
    assert "Boot parameter data: e004000000" in node.ipmi("chassis", "bootparam", "get", "5")
    assert node.status()["host"]["boot_override"] == "pxe"
    node.ipmi("chassis", "bootdev", "none")
    assert kcs.ask(0, 9, b"\5\0\0")[3:5] == b"\x80\0"
    for number, event in (
        (b"\x20", b"\x04\x01\x30\x01\x59\x01\x02"),
        (b"\x41", b"\x04\x0c\x53\x6f\0\xff\xff"),
    ):
        assert kcs.ask(4, 2, number + event) == b"\0"
    assert node.ipmi("sel", "list").count("|") >= 8
    node.ipmi("sel", "clear")


def test_an_event_waits_in_the_buffer_with_attention(node: Lab, kcs: Kcs) -> None:
    attention = 0x04
    assert kcs.ask(6, 0x2E, b"\x0e") == b"\0"
    assert kcs.ask(6, 0x31) == b"\0\0"
    node.ipmi("event", "1")
    wait_for(lambda: kcs.ports.read(COMMAND) & attention, what="the attention flag")
    assert kcs.ask(6, 0x31) == b"\0\2"
    event = kcs.ask(6, 0x35)
    assert event[0] == 0
    assert event[11:14] == b"\x01\x30\x01", "sensor type, number and event type"
    wait_for(lambda: not kcs.ports.read(COMMAND) & attention, what="no attention")
    assert kcs.ask(6, 0x35) == b"\x80", "there is no other"
    assert kcs.ask(6, 0x2E, b"\x08") == b"\0"
    node.ipmi("sel", "clear")


def test_a_client_talks_to_the_hosts_software(node: Lab, kcs: Kcs) -> None:
    """By LUN 2: the host's software reads the message from the receive queue and answers it itself."""
    login = ("-I", "lanplus", "-H", node.address, "-U", "admin", "-P", "admin")
    argv = ["ipmitool", "-N", str(IPMITOOL_WAITS_S), *login, "-l", "2", "raw", "6", "1", "0x55"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as client:
        wait_for(lambda: kcs.ask(6, 0x31)[1] & 1, what="a message in the queue")
        code, origin, handle, *message = kcs.ask(6, 0x33)
        assert (code, origin) == (0, 0x41), "an administrator's, from channel 1"
        assert message[1] == 6 << 2 | 2
        assert message[5:-1] == [1, 0x55]
        head = [message[3], 7 << 2 | message[4] & 3]
        tail = [message[0], message[4] & 0xFC | 2, 1, 0, 0xAB, 0xCD]
        answer = bytes([*head, -sum(head) & 0xFF, *tail, -sum(tail) & 0xFF])
        assert kcs.ask(6, 0x34, bytes([1, handle]) + answer) == b"\0"
        out, _ = client.communicate(timeout=ANSWER_S)
    assert out.split() == ["ab", "cd"]
    assert kcs.ask(6, 0x34, bytes([1, 0x3F]) + answer) == b"\x80", "no such session"
    for lun in ("1", "3"):
        assert "rsp=0xc2" in node.ipmitool("-l", lun, "raw", "6", "1").err
    # The host's software may not want them.
    assert kcs.ask(6, 0x32, b"\1\0") == b"\0\1\0"
    assert "rsp=0xd3" in node.ipmitool("-l", "2", "raw", "6", "1").err
    assert kcs.ask(6, 0x32, b"\1\1") == b"\0\1\1"


def test_messages_to_a_satellite_come_back_in_the_receive_queue(kcs: Kcs) -> None:
    # IPMB to 2Ch: Get Device ID, from 20h LUN 2, sequence 5.
    head, tail = bytes([0x2C, 6 << 2]), bytes([0x20, 5 << 2 | 2, 1])
    wire = head + bytes([-sum(head) & 0xFF]) + tail + bytes([-sum(tail) & 0xFF])
    assert kcs.ask(6, 0x34, b"\0" + wire) == b"\0"
    wait_for(lambda: kcs.ask(6, 0x31)[1] & 1, what="a message in the queue")
    answer = kcs.ask(6, 0x33)
    assert answer[0] == 0
    assert answer[4] == 0x2C, answer
    assert answer[7] == 0, "the satellite's completion code"
    assert kcs.ask(6, 0x33) == b"\x80", "the queue is empty"


@pytest.mark.parametrize("kind", [2, 3])
def test_a_bmc_that_is_away_is_an_error_at_once_and_comes_back(node: Lab, kcs: Kcs, kind: int) -> None:
    """Cold reset and warm reset over KCS; QEMU answers for a BMC that is away.

    Either ends what somebody sets; only the cold one forgets what does not outlive a BMC.
    """
    backs, address = node.count("bmc-back"), kcs.ask(0x0C, 2, b"\1\3\0\0")
    destination, nobody = bytes([0, 0x80, 4, 2]), bytes(4)
    # An alert destination that is volatile, and the device's ACPI state; boot info acknowledged.
    for netfn, command, data in ((0x0C, 1, b"\1\x12" + destination), (6, 6, b"\0\x81"), (0, 8, b"\4\1\1")):
        assert kcs.ask(netfn, command, data) == b"\0"
    for data in (b"\1\0\1", b"\1\3\x0a\0\0\x2a"):
        assert kcs.ask(0x0C, 1, data) == b"\0"
    assert kcs.ask(6, kind) == b"\0"
    codes = set()

    def answers() -> bool:
        try:
            codes.add(kcs.ask(6, 1)[0])
        except InterfaceError:
            codes.add(-1)
            kcs.abort()
        return node.count("bmc-back") > backs and kcs.state == IDLE

    wait_for(answers, what="the BMC's return")
    assert codes & {-1, 0xD2}, "it was away"
    wait_for(lambda: kcs.ask(6, 1)[0] == 0, what="KCS again")
    assert kcs.ask(6, 1) == b"\0" + node.raw(6, 1)
    assert kcs.ask(0x0C, 2, b"\1\0\0\0") == b"\0\x11\0", "nobody sets"
    assert kcs.ask(0x0C, 2, b"\1\3\0\0") == address
    assert kcs.ask(0, 9, b"\4\0\0")[3:] == bytes(2)
    is_cold = kind == 2
    assert kcs.ask(0x0C, 2, b"\1\x12\0\0")[2:] == (nobody if is_cold else destination)
    assert kcs.ask(6, 7)[2] == (0x2A if is_cold else 1)


def test_a_new_machine_takes_the_place_of_the_old_one(node: Lab, kcs: Kcs) -> None:
    """The node's own host comes while another QEMU holds the interface: the last one has it."""
    node.ipmi("power", "on")
    try:
        wait_for(lambda: "SeaBIOS" in node.serial(), what="the host")
        assert node.status()["errors"] == []
    finally:
        node.ipmi("power", "off")
    wait_for(lambda: kcs.ask(6, 1)[0] == 0, what="KCS again")
