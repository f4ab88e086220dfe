"""What this machine is said to have: /proc as text, the KVM verdict, and what is kept of them."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fake_qemu import FakeQemu

from infrasim.errors import DeadlineError, HostError
from infrasim.host import probe
from infrasim.host.facts import HostFacts, KvmVerdict, Socket
from infrasim.host.process import Finished

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="/proc/net is in the machine's order")

UDP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref
  123: 0100007F:026F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 00000000 0
  124: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 00000000 0
  125: 0201A8C0:C001 0101A8C0:0035 01 00000000:00000000 00:00000000 00000000     0        0 4713 2 00000000 0
"""
UDP6 = """\
  sl  local_address                         remote_address                        st tx_queue
  200: 00000000000000000000000001000000:026F 00000000000000000000000000000000:0000 07 00000000:00000000
  201: 000080FE00000000FF005450B6AD1DFE:0222 00000000000000000000000000000000:0000 07 00000000:00000000
"""
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:170D 00000000:0000 0A 00000000:00000000
   1: 0100007F:170D 0100007F:C002 01 00000000:00000000
   2: 0100007F:C002 0100007F:170D 06 00000000:00000000
"""


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The texts of files under /proc; what is not in it does not exist."""
    texts: dict[str, str] = {}
    real = Path.read_text

    def read_text(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if not str(path).startswith("/proc/net/"):
            return real(path, encoding, errors)
        try:
            return texts[str(path)]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", str(path)) from None

    monkeypatch.setattr(Path, "read_text", read_text)
    return texts


@little_endian
def test_bound_udp_sockets(proc: dict[str, str]) -> None:
    proc.update({"/proc/net/udp": UDP, "/proc/net/udp6": UDP6})
    assert probe.bound_sockets("udp") == {
        Socket("127.0.0.1", 623),
        Socket("0.0.0.0", 68),
        Socket("192.168.1.2", 49153),
        Socket("::1", 623),
        Socket("fe80::5054:ff:fe1d:adb6", 546),
    }


@little_endian
def test_only_listening_tcp_sockets_count(proc: dict[str, str]) -> None:
    proc["/proc/net/tcp"] = TCP
    assert probe.bound_sockets("tcp") == {Socket("127.0.0.1", 5901)}


def test_no_proc_net(proc: dict[str, str]) -> None:
    assert probe.bound_sockets("udp") == frozenset()


@pytest.mark.allow("socket")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "0.0.0.0"])
def test_a_socket_that_is_really_bound_is_seen(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((address, 0))
        place = Socket(*bound.getsockname())
        assert place in probe.bound_sockets("udp")
        assert place not in probe.bound_sockets("tcp")
    assert place not in probe.bound_sockets("udp")


@dataclasses.dataclass
class Connection:
    """One of psutil's."""

    ip: str
    port: int
    status: str = "NONE"
    pid: int | None = 4711

    @property
    def laddr(self) -> Connection:
        return self


@pytest.mark.parametrize(
    ("protocol", "connections", "said"),
    [
        ("udp", [Connection("127.0.0.1", 623)], "ipmi_sim (pid 4711)"),
        ("udp", [Connection("0.0.0.0", 623)], "ipmi_sim (pid 4711)"),
        ("udp", [Connection("::", 623)], "ipmi_sim (pid 4711)"),
        ("udp", [Connection("127.0.0.2", 623)], "another process"),
        ("udp", [Connection("127.0.0.1", 624)], "another process"),
        ("udp", [Connection("127.0.0.1", 623, pid=None)], "another process"),
        ("tcp", [Connection("127.0.0.1", 623, "ESTABLISHED")], "another process"),
        ("tcp", [Connection("127.0.0.1", 623, "LISTEN")], "ipmi_sim (pid 4711)"),
        ("udp", [Connection("127.0.0.1", 623, pid=1)], "pid 1"),
        (
            "udp",
            [Connection("127.0.0.1", 623, pid=4712)],
            "infrasim node node-0 of /home/lab (pid 4712)",
        ),
        ("udp", [], "another process"),
    ],
)
def test_holder_of(
    monkeypatch: pytest.MonkeyPatch, protocol: str, connections: list[Connection], said: str
) -> None:
    class Process:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def name(self) -> str:
            if self.pid == 1:
                raise psutil.NoSuchProcess(1)
            return "ipmi_sim"

        def cmdline(self) -> list[str]:
            if self.pid == 4712:
                daemon = ["python", "-m", "infrasim.runtime.daemon", "node-0", "/home/lab/node-0", "/l"]
                return [*daemon, "background", "7"]
            return ["ipmi_sim", "-n"]

    monkeypatch.setattr(psutil, "net_connections", lambda kind: connections if kind == protocol else [])
    monkeypatch.setattr(psutil, "Process", Process)
    assert probe.holder_of(protocol, "127.0.0.1", 623) == said


def test_holder_of_a_wildcard_is_whoever_has_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [Connection("127.0.0.9", 623, pid=None)])
    monkeypatch.setattr(probe, "process_title", lambda pid: "somebody")
    assert probe.holder_of("udp", "0.0.0.0", 623) == "somebody"
    assert probe.holder_of("udp", "127.0.0.1", 623) == "another process"


def test_holder_of_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> list[Connection]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert probe.holder_of("udp", "127.0.0.1", 623) == "another process"


def test_interface_addresses_are_ipv4_first_without_link_local(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Entry:
        family: int
        address: str

    found = {
        "eth0": [
            Entry(socket.AF_PACKET, "52:54:00:00:00:01"),
            Entry(socket.AF_INET6, "fe80::1%eth0"),
            Entry(socket.AF_INET6, "fd00::1"),
            Entry(socket.AF_INET, "192.0.2.1"),
        ],
        "eth1": [],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    assert probe.interface_addresses() == {"eth0": ("192.0.2.1", "fd00::1"), "eth1": ()}


def test_addresses_are_those_of_the_namespace_whenever_they_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where: list[str | None] = [None]

    @contextlib.contextmanager
    def inside(name: str | None) -> Iterator[None]:
        where.append(name)
        yield
        where.pop()

    monkeypatch.setattr(probe, "inside", inside)
    monkeypatch.setattr(probe, "interface_addresses", lambda: {str(where[-1]): ()})
    for namespace in ("lab", None):
        ask = probe.network_facts(namespace)["ask_interfaces"]
        assert ask is not None
        assert ask() == {str(namespace): ()}


# --- free ports

FACTS = HostFacts(
    "q", (7,), "i", "s", KvmVerdict(False, ""), frozenset({Socket("127.0.0.1", 623), Socket("::", 5901)})
)


@pytest.mark.parametrize(
    ("address", "port", "free"),
    [
        ("127.0.0.1", 623, False),
        ("127.0.0.2", 623, True),
        ("127.0.0.1", 624, True),
        ("127.0.0.1", 5901, False),
        ("::1", 5901, False),
        ("0.0.0.0", 5901, False),
    ],
)
def test_what_is_free(address: str, port: int, free: bool) -> None:
    assert FACTS.udp_free(address, port) is free
    assert FACTS.tcp_free(address, port), "nothing is bound for TCP"
    assert FACTS.without(udp=FACTS.udp_in_use, tcp=frozenset()).udp_free(address, port)


# --- KVM


@pytest.fixture
def kvm_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/kvm that can be opened."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(probe, "_KVM_DEVICE", device)
    return device


Guest = Callable[[], tuple[int, str]]


def guest_hangs() -> tuple[int, str]:
    raise DeadlineError("not done after 2 s")


def guest_cannot_start() -> tuple[int, str]:
    raise HostError("cannot run /q: No such file or directory")


@pytest.mark.parametrize(
    ("guest", "works", "reason"),
    [
        (lambda: (0x21, ""), True, "a 64-bit guest ran and took an exception"),
        (guest_hangs, False, "{device} exists, but a 64-bit guest hangs at its first exception"),
        (lambda: (0, ""), False, "{device} exists, but a 64-bit guest does not run: the guest was reset"),
        (lambda: (1, "no KVM"), False, "{device} exists, but a 64-bit guest does not run: no KVM"),
        (lambda: (-6, ""), False, "{device} exists, but a 64-bit guest does not run: killed by SIGABRT"),
        (guest_cannot_start, False, "cannot run /q: No such file or directory"),
    ],
    ids=["works", "hangs", "reset", "refused", "aborted", "no QEMU"],
)
def test_kvm_verdict(
    tmp_path: Path, kvm_device: Path, monkeypatch: pytest.MonkeyPatch, guest: Guest, works: bool, reason: str
) -> None:
    def run_guest(qemu: str, accelerator: str, *, timeout_s: float) -> tuple[int, str]:
        assert (qemu, accelerator) == ("/q", "kvm")
        return guest()

    monkeypatch.setattr(probe, "run_probe_guest", run_guest)
    verdict = probe.kvm_verdict("/q", tmp_path / "cache")
    assert verdict == KvmVerdict(works, reason.replace("{device}", str(kvm_device)))


def test_kvm_is_asked_once_per_boot_and_qemu(
    tmp_path: Path, kvm_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run_guest(qemu: str, accelerator: str, *, timeout_s: float) -> tuple[int, str]:
        asked.append(qemu)
        return (0x21, "")

    monkeypatch.setattr(probe, "run_probe_guest", run_guest)
    cache = tmp_path / "cache"
    first = probe.kvm_verdict("/q", cache)
    assert probe.kvm_verdict("/q", cache) == first
    assert asked == ["/q"]
    probe.kvm_verdict("/q", cache, again=True)
    probe.kvm_verdict("/other", cache)
    assert asked == ["/q", "/q", "/other"]
    monkeypatch.setattr(probe, "boot_id", lambda: "of the next boot")
    probe.kvm_verdict("/other", cache)
    assert len(asked) == 4
    (cache / "kvm.json").write_text("[damaged")
    probe.kvm_verdict("/other", cache)
    assert len(asked) == 5


def test_no_kvm_device(tmp_path: Path, kvm_device: Path) -> None:
    kvm_device.unlink()
    verdict = probe.kvm_verdict("/q", tmp_path / "cache")
    assert verdict == KvmVerdict(False, f"{kvm_device} does not exist")


def test_kvm_device_that_cannot_be_opened(tmp_path: Path, kvm_device: Path) -> None:
    kvm_device.unlink()
    kvm_device.mkdir()
    verdict = probe.kvm_verdict("/q", tmp_path / "cache")
    assert verdict == KvmVerdict(False, f"{kvm_device} cannot be opened: Is a directory")


# --- QEMU's version


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", (7, 2, 22)),
        ("QEMU emulator version 10.0.2", (10, 0, 2)),
        ("QEMU emulator version 9.1", (9, 1)),
    ],
)
def test_qemu_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, version: tuple[int, ...]
) -> None:
    program = tmp_path / "qemu"
    program.touch()
    asked: list[object] = []

    def run(argv: list[str], **_: object) -> Finished:
        asked.append(argv)
        return Finished(tuple(argv), 0, said, "")

    monkeypatch.setattr(probe, "run", run)
    for _ in range(2):
        assert probe.qemu_version(str(program), tmp_path / "cache") == version
    assert asked == [[str(program), "--version"]]
    program.write_text("another build")
    assert probe.qemu_version(str(program), tmp_path / "cache") == version
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("hello\n", "hello"),
        ("", ""),
        ("ls (GNU coreutils) 9.1\nGNU GPL version 3 or later\n", "ls (GNU coreutils) 9.1"),
    ],
)
def test_what_says_no_version_of_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, first: str
) -> None:
    program = tmp_path / "qemu"
    program.touch()
    monkeypatch.setattr(probe, "run", lambda argv, **_: Finished(tuple(argv), 0, said, ""))
    with pytest.raises(HostError) as caught:
        probe.qemu_version(str(program), tmp_path / "cache")
    assert caught.value.message == f"{program} --version said {first!r}, not a version of QEMU"


def test_missing_program() -> None:
    with pytest.raises(HostError) as caught:
        probe.require_program("no-such-program")
    assert caught.value.message == "no-such-program is not installed"
    assert caught.value.hint == "run: infrasim init"


@pytest.mark.parametrize(
    ("overcommit", "most"), [("0", (8000000 + 1000000) // 1024), ("2", 9000000 // 1024), ("1", None)]
)
def test_memory(tmp_path: Path, overcommit: str, most: int | None) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\nSwapTotal: 1000000 kB\n"
    )
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/overcommit_memory").write_text(f"{overcommit}\n")
    assert probe.memory_mib(tmp_path) == (2, most)


def test_memory_that_is_not_told(tmp_path: Path) -> None:
    assert probe.memory_mib(tmp_path) == (None, None)
    (tmp_path / "meminfo").write_text("MemTotal: x\n")
    assert probe.memory_mib(tmp_path) == (None, None)


@pytest.mark.allow("process")
def test_another_qemu_has_answers_of_its_own(tmp_path: Path) -> None:
    fake = FakeQemu(tmp_path, devices='name "VGA", bus PCI\n', properties={})
    usual = dataclasses.replace(FACTS, qemu_program="/usr/bin/qemu-system-x86_64", qemu_version=(7,))
    facts = probe.with_qemu(usual, tmp_path / "cache", str(fake.program))
    assert (facts.qemu_program, facts.qemu_version) == (str(fake.program), (9, 1, 2))
    assert facts.kvm == FACTS.kvm
    assert facts.ask_qemu is not None
    assert facts.ask_qemu(False).has_device("VGA")
    # What depends on the usual one is as it was.
    assert list((tmp_path / "cache").glob("*.json")) == []
    with pytest.raises(HostError):
        probe.with_qemu(usual, tmp_path / "cache", str(tmp_path / "none"))
