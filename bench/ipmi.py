"""What a node's BMC costs: beside a bare ipmi_sim with a LAN of its own, and beside VirtualBMC.

``--engine`` names a Python that has VirtualBMC with libvirt, or at least pyghmi, the engine under it (see
``engine.py``). Without either those rows are left out. The numbers are of real clients, ``ipmitool`` and
FreeIPMI's ``ipmipower``, but for two: the bare session set-up, which the tests' own LAN client does over a
socket, and the poller, which has its requests sealed beforehand and looks at the answers afterwards, so that
what is timed are the BMCs.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "unittest" / "bmc_core"))

from bench_lab import Lab, interleaved, lab, show_rate, show_ratio, timed
from lan_client import PlusClient, answer_in, message

COMMANDS = (("mc", "info"), ("power", "status"), ("sdr", "list"))
GET_DEVICE_ID = ("raw", "6", "1")
POWER_STATUS = ("power", "status")
REQUESTS = 2000
POLLED = 20
POLLS = 100
# Rounds of the poller, and when it asks again, as ipmitool does.
ROUNDS = 200
RESEND_S = 1.0
# A display that nodes beside these hardly take.
FIRST_DISPLAY = 75
LOGINS = 40

LATENCY = 1.3
SET_UP = 1.2
RATE_PER_S = 2000.0
TIMES_THE_ENGINE = 3.0
TIMES_THE_ENGINE_POLLED = 5.0
POWER_ON_S = 0.060

# What an interpreter needs for each kind of BMC in ``engine.py``.
ENGINES = {"virtualbmc": "virtualbmc.vbmc", "pyghmi": "pyghmi.ipmi.bmc"}

Place = tuple[str, int]

BARE_CONF = """name "n"
set_working_mc 0x20
startlan 1
  addr {address} {port}
  priv_limit admin
  allowed_auths_admin md5 straight
  guid 11111111222233334444555555555555
endlan
user 1 false "" "" user 10 md5 straight
user 2 true "admin" "admin" admin 10 md5 straight
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--engine", default=sys.executable, help="a Python that has virtualbmc or pyghmi")
    options = parser.parse_args()
    runs = max(7, options.runs)
    kinds = [kind for kind, module in ENGINES.items() if has(options.engine, module)]
    if not kinds:
        print(f"{options.engine} has neither virtualbmc nor pyghmi: their rows are left out")
    with lab(lambda: False) as scratch:
        # A host at its firmware's prompt takes most of a processor from whatever is measured.
        scratch.start(bmc={"startnow": False})
        ours: Place = (scratch.address, 623)
        with bare_ipmi_sim(scratch) as direct:
            beside_ipmi_sim(runs, ours, direct)
        for kind in kinds:
            with engines(options.engine, kind, 1) as (engine,):
                beside_the_engine(runs, ours, engine, kind)
        power_on(runs, ours)
        scratch.must("node", "stop", "n")
        for kind in kinds:
            with engines(options.engine, kind, POLLED) as theirs:
                polled_at_once(runs, scratch, theirs, kind)


def beside_ipmi_sim(runs: int, ours: Place, direct: Place) -> None:
    """Latency of commands, of requests in a session, and of session set-up."""
    for words in COMMANDS:
        through, straight = interleaved(
            runs, partial(ipmitool, ours, *words), partial(ipmitool, direct, *words)
        )
        show_ratio(f"ipmitool {' '.join(words)}: node / ipmi_sim (ms)", through, straight, LATENCY)
    for words in COMMANDS[:2]:
        through, straight = interleaved(
            runs, partial(one_of_many, ours, words), partial(one_of_many, direct, words)
        )
        show_ratio(f"one {' '.join(words)} of many in a session (ms)", through, straight, LATENCY)
    through, straight = interleaved(
        runs, partial(ipmitool, ours, *GET_DEVICE_ID), partial(ipmitool, direct, *GET_DEVICE_ID)
    )
    show_ratio("ipmitool's session with one request: node / ipmi_sim (ms)", through, straight, SET_UP)
    for client, ask in (("FreeIPMI's ipmipower", ipmipower_alone), ("pyghmi", pyghmi_session)):
        through, straight = interleaved(runs, partial(ask, ours), partial(ask, direct))
        show_ratio(f"a session of {client}: node / ipmi_sim (ms)", through, straight, SET_UP)
    through, straight = interleaved(runs, partial(login, ours), partial(login, direct))
    show_ratio("bare session set-up: node / ipmi_sim (ms)", through, straight, SET_UP)


def beside_the_engine(runs: int, ours: Place, engine: Place, kind: str) -> None:
    """``power status`` over one session."""
    mine, theirs = interleaved(
        runs, partial(one_of_many, ours, POWER_STATUS), partial(one_of_many, engine, POWER_STATUS)
    )
    show_rate("power status in a session (1/s) / one per second", rates(mine), [1.0], RATE_PER_S)
    target = TIMES_THE_ENGINE if kind == "virtualbmc" else None
    show_rate(f"power status in a session: node / {kind} (1/s)", rates(mine), rates(theirs), target)


def power_on(runs: int, ours: Place) -> None:
    """How long ``ipmitool power on`` takes, session and all, and its request alone."""
    whole: list[float] = []
    alone: list[float] = []
    for _ in range(runs):
        for found, measure in (
            (whole, partial(ipmitool, ours, "power", "on")),
            (alone, partial(power_on_request, ours)),
        ):
            ipmitool(ours, "power", "off")
            found.append(measure())
    show_ratio("ipmitool power on / 60 ms (ms)", whole, [POWER_ON_S], None)
    show_ratio("the request power on / 60 ms (ms)", alone, [POWER_ON_S], 1.0)


def polled_at_once(runs: int, scratch: Lab, theirs: Sequence[Place], kind: str) -> None:
    """Requests per second to many BMCs: of a poller with a session to each, and of real clients."""
    third = 1 + os.getpid() % 250
    names = [f"p{number}" for number in range(POLLED)]
    places = [(f"127.78.{third}.{1 + number}", 623) for number in range(POLLED)]
    for name, (address, _) in zip(names, places, strict=True):
        scratch.start(
            name,
            bmc={"address": address, "startnow": False},
            compute={"vnc_display": FIRST_DISPLAY + int(name[1:])},
        )
    target = TIMES_THE_ENGINE_POLLED if kind == "virtualbmc" else None
    ways = (
        ("by one poller", poll_all, target),
        ("by ipmipower, log-in and all", ipmipower, None),
        (f"by {POLLED} ipmitool", poll_each, None),
        (f"by {POLLED} ipmitool, without their start", poll_each_without_start, target),
    )
    try:
        for what, way, wanted in ways:
            mine, other = interleaved(max(3, runs // 3), partial(way, places), partial(way, theirs))
            show_rate(f"{POLLED} BMCs {what}: node / {kind} (1/s)", rates(mine), rates(other), wanted)
    finally:
        for name in names:
            scratch.must("node", "stop", name)


# --- the BMCs


@contextmanager
def bare_ipmi_sim(scratch: Lab) -> Iterator[Place]:
    """The node's ipmi_sim once more, with sensors and all, but with a LAN and users of its own."""
    place = (f"127.79.{1 + os.getpid() % 250}.1", 623)
    folder = scratch.root / "bare"
    folder.mkdir()
    conf = folder / "bare.conf"
    conf.write_text(BARE_CONF.format(address=place[0], port=place[1]))
    emu = next((scratch.home / "n" / "data").glob("*.emu"))
    words = ["ipmi_sim", "-c", str(conf), "-f", str(emu), "-s", str(folder), "-n"]
    with running(words, place):
        yield place


@contextmanager
def engines(python: str, kind: str, count: int) -> Iterator[list[Place]]:
    """So many BMCs of the engine, each a process of its own, as VirtualBMC has them."""
    third = 1 + os.getpid() % 250
    places = [(f"127.77.{third}.{1 + number}", 623) for number in range(count)]
    with ExitStack() as held:
        for address, port in places:
            words = [python, str(Path(__file__).with_name("engine.py")), kind, address, str(port)]
            held.enter_context(running(words, (address, port)))
        yield places


@contextmanager
def running(words: list[str], place: Place) -> Iterator[None]:
    """A BMC that answers at a place."""
    nothing = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing) as child:
        try:
            give_up = time.monotonic() + 30
            while not answers(place):
                if child.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit(f"does not answer: {' '.join(words)}")
            yield
        finally:
            child.terminate()


def answers(place: Place) -> bool:
    """Whether a BMC answers Get Channel Authentication Capabilities."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        try:
            probe.connect(place)
            probe.send(bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5"))
            return bool(probe.recv(256))
        except OSError:
            return False


def has(python: str, module: str) -> bool:
    """Whether an interpreter has a module that works."""
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


# --- what is measured


def words_of(place: Place) -> list[str]:
    """ipmitool's login. Suite 3 is named, or a bare ipmi_sim would be asked ten seconds for its list."""
    address, port = place
    return [
        "ipmitool",
        "-I",
        "lanplus",
        "-C",
        "3",
        "-H",
        address,
        "-p",
        str(port),
        "-U",
        "admin",
        "-P",
        "admin",
    ]


def ipmitool(place: Place, *words: str) -> float:
    """Seconds of one ipmitool command."""
    return timed(lambda: check(subprocess.run([*words_of(place), *words], capture_output=True, check=False)))


def ipmipower_alone(place: Place) -> float:
    """Seconds of FreeIPMI's program for one machine. Without the workaround it refuses ipmi_sim."""
    words = ["ipmipower", "-D", "LAN_2_0", "-I", "3", "-W", "opensesspriv", "-u", "admin", "-p", "admin"]
    return timed(
        lambda: check(subprocess.run([*words, "-h", place[0], "--stat"], capture_output=True, check=False))
    )


def pyghmi_session(place: Place) -> float:
    """Seconds of one session of pyghmi's with one request, by its own clock."""
    words = [sys.executable, "-c", PYGHMI, place[0]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"pyghmi and {place[0]}: {done.stderr}")
    return float(done.stdout)


# pyghmi keeps one session for each BMC, so a process measures one.
PYGHMI = """
import sys, time
from pyghmi.ipmi.command import Command
begin = time.monotonic()
Command(bmc=sys.argv[1], userid="admin", password="admin").raw_command(netfn=6, command=1)
print(time.monotonic() - begin)
"""


def one_of_many(place: Place, words: tuple[str, ...], requests: int = REQUESTS) -> float:
    """Seconds of one request, out of many over one session of ``ipmitool exec``."""
    seconds = {}
    for count in (1, requests + 1):
        with script(words, count) as path:
            seconds[count] = ipmitool(place, "exec", path)
    return (seconds[requests + 1] - seconds[1]) / requests


def power_on_request(place: Place) -> float:
    """Seconds of the request alone: what ``power status`` takes is taken off."""
    asked = ipmitool(place, "power", "status")
    ipmitool(place, "power", "off")
    return ipmitool(place, "power", "on") - asked


def poll_all(places: Sequence[Place]) -> float:
    """Seconds per request of a process with a session to each BMC: it asks all, waits for all, and so on."""
    wires: list[Any] = [Wire(place) for place in places]
    clients = {wire: PlusClient(wire).login() for wire in wires}
    # Get Chassis Status. Source: IPMI 2.0 section 28.2.
    requests = [{wire: client.seal(message(0, 1)) for wire, client in clients.items()} for _ in range(ROUNDS)]
    answers, asked_again = [], 0
    with selectors.DefaultSelector() as waiting:
        for wire in wires:
            waiting.register(wire.socket, selectors.EVENT_READ, wire)
        begin = time.monotonic()
        for asked in requests:
            for wire, request in asked.items():
                wire.socket.send(request)
            while asked:
                ready = waiting.select(RESEND_S)
                for key, _ in ready:
                    answers.append((key.data, key.data.socket.recv(4096)))
                    asked.pop(key.data, None)
                for wire, request in () if ready else asked.items():
                    wire.socket.send(request)
                    asked_again += 1
        seconds = time.monotonic() - begin
    for wire, answer in answers:
        if answer_in(clients[wire].open(answer)[2], 0, 1)[:1] != b"\0":
            raise SystemExit("a BMC answered with an error when all were polled")
    for wire, client in clients.items():
        log_out(wire, client)
    if asked_again:
        print(
            f"  {places[0][0]} and others: {asked_again} of {len(answers)} requests were lost and asked again"
        )
    return seconds / (ROUNDS * len(places))


def ipmipower(places: Sequence[Place]) -> float:
    """Seconds per BMC of FreeIPMI's program for many machines: log in to all at once, ask, log out."""
    hosts = ",".join(address for address, _ in places)
    words = ["ipmipower", "-D", "LAN_2_0", "-I", "3", "-u", "admin", "-p", "admin", "-h", hosts, "--stat"]
    begin = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    states = [line.split()[-1] for line in done.stdout.splitlines()]
    if len(states) != len(places) or not {"on", "off"}.issuperset(states):
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return seconds / len(places)


def poll_each_without_start(places: Sequence[Place]) -> float:
    """The same, for the requests alone: what it takes to start the clients is taken off."""
    return (poll_each(places) * POLLS - poll_each(places, 1)) / (POLLS - 1)


def poll_each(places: Sequence[Place], polls: int = POLLS) -> float:
    """Seconds per request when every BMC is asked at once by an ipmitool of its own, start and all."""
    with script(POWER_STATUS, polls) as path:
        begin = time.monotonic()
        clients = [
            subprocess.Popen(
                [*words_of(place), "exec", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for place in places
        ]
        if any(client.wait() for client in clients):
            raise SystemExit("a BMC did not answer when all were polled")
        return (time.monotonic() - begin) / (polls * len(places))


class Wire:
    """Carries one datagram to a BMC and its answer back, for the tests' LAN client."""

    def __init__(self, place: Place) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.connect(place)

    def one(self, datagram: bytes, peer: Any = None) -> bytes:
        """The answer to a datagram."""
        self.socket.send(datagram)
        return self.socket.recv(4096)


def login(place: Place) -> float:
    """Seconds of one session set-up, out of many."""
    seconds = []
    for _ in range(LOGINS):
        wire: Any = Wire(place)
        client = PlusClient(wire)
        seconds.append(timed(client.login))
        log_out(wire, client)
    return statistics.median(seconds)


def log_out(wire: Wire, client: PlusClient) -> None:
    """Close Session. Source: IPMI 2.0 section 22.19."""
    client.ask(6, 0x3C, client.session.to_bytes(4, "little"))
    wire.socket.close()


@contextmanager
def script(words: tuple[str, ...], count: int) -> Iterator[str]:
    """A file for ``ipmitool exec``."""
    with tempfile.NamedTemporaryFile("w", prefix="isf-", suffix=".ipmi") as file:
        file.write(f"{' '.join(words)}\n" * count)
        file.flush()
        yield file.name


def rates(seconds: Sequence[float]) -> list[float]:
    """How many fit into a second."""
    return [1 / each for each in seconds]


def check(done: subprocess.CompletedProcess[bytes]) -> None:
    """A benchmark of a failing command measures nothing."""
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, done.args))}: {done.stderr.decode(errors='replace')}")


if __name__ == "__main__":
    main()
