"""A scratch infrasim home for functional tests: runs the real command, knows what it left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from infrasim.host.process import identify, send_signal, wait_gone

CLONE = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 180
# How long ipmitool waits for an answer before it asks again. Its own second or two is too short where
# processors are busy: a request that the BMC only answers late would be done twice.
IPMITOOL_WAITS_S = 15
NODE = "n"
# How long a process that was killed may take to be gone, on a machine that has much else to do.
END_S = 60.0


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str


def execute(*words: str, env: dict[str, str] | None = None, timeout_s: float = COMMAND_TIMEOUT_S) -> Ran:
    """Run any program to its end."""
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=env,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def bytes_of(path: Path) -> bytes | None:
    """What is in a file; None if it was a temporary one that has become another."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def wait_for(condition: Callable[[], object], *, timeout_s: float = 60.0, what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)


# A test run of several processes has a range for each. What is free now may be given only once all the same:
# whom it was given to may not have it open yet, or not at the moment.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given: set[tuple[str, int]] = set()
_displays: list[int] = []


def _is_free(kind: socket.SocketKind, address: str, port: int) -> bool:
    """Whether nobody has that port, and nobody was given it; it is given with that."""
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    if (address, port) in _given:
        return False
    _given.add((address, port))
    return True


def free_address(port: int = 623) -> str:
    """A loopback address whose UDP port nobody has, away from those infrasim gives by itself."""
    for number in range(1, 65536):
        address = f"127.{9 + WORKER % 50}.{(os.getpid() + number) % 251}.{1 + number % 250}"
        if _is_free(socket.SOCK_DGRAM, address, port):
            return address
    raise AssertionError("no loopback address is free")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, address: str = "127.0.0.1") -> int:
    """A TCP port of 127.0.0.1, or of that kind and there, that nobody has.

    The kernel gives it to nobody who asks for any.
    """
    for number in range(1000):
        port = 20000 + WORKER % 10 * 1000 + (os.getpid() + number) % 1000
        if _is_free(kind, address, port):
            return port
    raise AssertionError("no port is free")


def free_display() -> int:
    """A VNC display that nobody has, far behind those infrasim gives by itself.

    For a node that must find its own again, although for a while nobody keeps it.
    """
    for number in range(19):
        display = 20 + WORKER % 4 * 19 + (len(_displays) + number) % 19
        # There are few, so each is given again, as late as possible.
        _given.discard(("127.0.0.1", 5900 + display))
        if _is_free(socket.SOCK_STREAM, "127.0.0.1", 5900 + display):
            _displays.append(display)
            return display
    raise AssertionError("no display is free")


@dataclass(frozen=True)
class Living:
    """A process as it was when it was looked at; it may have ended since."""

    pid: int
    name: str
    words: list[str]
    process: psutil.Process

    def kill(self) -> None:
        """End it, if it did not end by itself."""
        with suppress(psutil.NoSuchProcess):
            self.process.kill()

    def addresses(self) -> set[str]:
        """The addresses its internet sockets are bound to, none once it ended."""
        with suppress(psutil.NoSuchProcess):
            return {connection.laddr.ip for connection in self.process.net_connections(kind="inet")}
        return set()


class Lab:
    """One ``INFRASIM_HOME`` with its logs. Socket paths are short, so the folder is directly in /tmp."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="isf-", dir="/tmp"))
        self.home = self.root / "h"
        self.logs = self.root / "l"
        self.env = {
            **os.environ,
            "INFRASIM_HOME": str(self.home),
            "INFRASIM_LOG_DIR": str(self.logs),
            "PYTHONPATH": str(CLONE),
        }
        self.address = free_address()

    def infrasim(self, *words: str, env: dict[str, str] | None = None) -> Ran:
        """Run ``infrasim`` in this home."""
        return execute(sys.executable, "-m", "infrasim", *words, env={**self.env, **(env or {})})

    def must(self, *words: str) -> str:
        """Run ``infrasim``, which must succeed, and return what it printed."""
        ran = self.infrasim(*words)
        assert ran.code == 0, f"infrasim {' '.join(words)}: exit {ran.code}\n{ran.out}{ran.err}"
        return ran.out

    def node_file(self, name: str = NODE, /, **settings: Any) -> Path:
        """Write a node file: an address of its own, and whatever ``settings`` say."""
        content: dict[str, Any] = {
            "name": name,
            "compute": {"memory": {"size": 256}},
            "bmc": {"address": self.address},
        }
        for key, value in settings.items():
            if isinstance(value, dict):
                content[key] = {**content.get(key, {}), **value}
            else:
                content[key] = value
        path = self.root / f"{name}.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    def never_up(self) -> dict[str, str]:
        """What makes a host wait for somebody who does not come, before it greets: its start is never done.

        For whatever is to happen during a start, as ``compute``.
        """
        return {"extra_option": f"-chardev socket,id=waits,abstract=on,path={self.root},server=on,wait=on"}

    def let_up(self) -> None:
        """Be the one that such a host waits for."""
        with socket.socket(socket.AF_UNIX) as awaited:
            wait_for(lambda: awaited.connect_ex(f"\0{self.root}") == 0, what="a host that waits")

    def register(self, name: str = NODE, /, **settings: Any) -> None:
        """Register a node, in place of an older one of that name."""
        file = self.node_file(name, **settings)
        verb = "update" if (self.home / ".node_map" / f"{name}.yml").exists() else "add"
        self.must("config", verb, name, str(file))

    def start(self, name: str = NODE, /, **settings: Any) -> None:
        """Register and start a node."""
        self.register(name, **settings)
        self.must("node", "start", name)

    def status(self, name: str = NODE) -> dict[str, Any]:
        """``infrasim node status --json``."""
        ran = self.infrasim("node", "status", name, "--json")
        data = json.loads(ran.out)
        assert isinstance(data, dict)
        return data

    def pid(self, process: str, name: str = NODE) -> int | None:
        """The pid of one of a node's processes."""
        found = {entry["name"]: entry["pid"] for entry in self.status(name)["processes"]}
        pid = found[process]
        return int(pid) if pid is not None else None

    def kill(self, process: str, number: signal.Signals = signal.SIGKILL, name: str = NODE) -> int:
        """End one of a node's processes by a signal, and see it gone; its pid."""
        pid = self.pid(process, name)
        assert pid is not None, f"there is no {process}"
        identity = identify(pid)
        assert identity is not None, f"{process} has ended"
        assert send_signal(identity, number), f"{process} has ended"
        assert wait_gone(identity, END_S), f"{process} does not end"
        return pid

    def events(self, name: str = NODE) -> list[dict[str, Any]]:
        """Everything that happened to a node."""
        try:
            text = (self.logs / name / "events.jsonl").read_text()
        except FileNotFoundError:
            return []
        # Of a line that is just being written a reader may see a part.
        whole, _, _ = text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def count(self, event: str, name: str = NODE) -> int:
        """How often something happened."""
        return sum(entry["event"] == event for entry in self.events(name))

    def serial(self, name: str = NODE) -> str:
        """What the host said on its serial port since power-on."""
        path = self.logs / name / "serial.log"
        return path.read_bytes().decode(errors="replace") if path.exists() else ""

    def firmware_is_through(self, name: str = NODE) -> bool:
        """Whether the firmware of the last boot tries the network, after the second reset it makes of one."""
        return "iPXE initialising" in self.serial(name).rpartition("SeaBIOS (")[2]

    def ipmitool(
        self,
        *words: str,
        options: tuple[str, ...] = ("-I", "lanplus"),
        host: str = "",
        user: str = "admin",
        password: str = "admin",
    ) -> Ran:
        """Run ipmitool against the node's BMC, with its default user if no other is given."""
        login = ("-H", host or self.address, "-U", user, "-P", password)
        return execute("ipmitool", "-N", str(IPMITOOL_WAITS_S), *options, *login, *words)

    def ipmi(self, *words: str, options: tuple[str, ...] = ("-I", "lanplus")) -> str:
        """Run ipmitool, which must succeed, and return what it printed."""
        ran = self.ipmitool(*words, options=options)
        assert ran.code == 0, f"ipmitool {' '.join(words)}: exit {ran.code}\n{ran.out}{ran.err}"
        return ran.out

    def power_off(self) -> None:
        """Cut the host's power over IPMI, and see it off.

        The BMC's answer waits for the host's end, but only as long as that does not take long.
        """
        self.ipmi("power", "off")
        wait_for(lambda: "is off" in self.ipmi("power", "status"), what="the host off")
        status = self.status()
        assert status["host"]["power"] == "off"
        assert [entry["pid"] for entry in status["processes"] if entry["name"] == "qemu"] == [None]

    def raw(self, *numbers: int) -> bytes:
        """What the BMC answers to a raw request, which must succeed."""
        return bytes.fromhex(self.ipmi("raw", *(f"{number:#x}" for number in numbers)))

    def packets_received(self) -> int:
        """How many UDP packets came to the BMC's main channel, those of this question too."""
        return int.from_bytes(self.raw(0x0C, 4, 0x0E, 0)[10:12], "little")

    def kept(self, name: str = NODE) -> dict[str, Any]:
        """What the BMC keeps on disk over its own end."""
        state = json.loads((self.home / name / "bmc" / "core.json").read_text())
        assert isinstance(state, dict)
        return state

    def host_runs(self, name: str = NODE) -> bool:
        """Whether the host has begun and was not told to end; the serial log is that of this host then."""
        return any(
            entry["name"] == "qemu" and entry["state"] == "running"
            for entry in self.status(name)["processes"]
        )

    def order(self, verb: str, *words: str, name: str = NODE) -> None:
        """Say something on the node's control socket, as people at the machine would."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(COMMAND_TIMEOUT_S)
            connection.connect(str(self.home / name / "run" / "control.sock"))
            connection.sendall(json.dumps({"verb": verb, "words": words}).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        assert answer["ok"], answer

    def processes(self) -> list[Living]:
        """Every living process of this home."""
        found = []
        for process in psutil.process_iter(["cmdline", "name"]):
            words = process.info["cmdline"] or []
            if any(str(self.root) in word for word in words) and process.pid != os.getpid():
                found.append(Living(process.pid, process.info["name"] or "", words, process))
        return found

    def leftovers(self) -> list[str]:
        """Processes, sockets, locks and links that a stopped node must not leave."""
        left = [f"process {process.pid}: {process.words}" for process in self.processes()]
        for path in self.root.rglob("*"):
            # swtpm keeps its own beside what the TPM remembers.
            is_lock = path.name.endswith(".lock") and path.parent.name != "tpm"
            if path.is_socket() or path.is_symlink() or is_lock:
                left.append(f"file {path}")
        return left

    def names_on_disk(self) -> dict[str, bytes]:
        """Every file below the home, to see that nothing changed."""
        files = (path for path in self.root.rglob("*") if path.is_file() and ".cache" not in path.parts)
        return {str(path): content for path in files if (content := bytes_of(path)) is not None}

    def stop_all(self) -> None:
        """Stop every node that was ever started, whatever its state."""
        if not any(self.home.glob("*/plan.json")):
            return
        ran = self.infrasim("node", "list", "--json")
        for entry in json.loads(ran.out) if ran.code == 0 else []:
            self.infrasim("node", "stop", entry["name"])


@contextmanager
def lab(failed: Callable[[], bool]) -> Iterator[Lab]:
    """A lab that must be clean in the end; after a failed test it is kept for a look."""
    scratch = Lab()
    try:
        yield scratch
        scratch.stop_all()
        left = scratch.leftovers()
        assert not left, "left behind after the stop:\n" + "\n".join(left)
    finally:
        scratch.stop_all()
        for process in scratch.processes():
            process.kill()
        if failed():
            print(f"kept for a look: {scratch.root}")  # noqa: T201 - pytest shows it with the failure
        else:
            shutil.rmtree(scratch.root, ignore_errors=True)
