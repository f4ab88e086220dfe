"""One node's BMC with its real sockets: an ipmi_sim, a host and a client of the test's around it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from bmc_bench import SETTINGS, FakeChassis, FakeLoad
from vm_peer import EnginePeer, HostPeer, until

from infrasim.bmc_core.state import BmcState
from infrasim.bmc_core.vm import VmAnswer, VmRequest
from infrasim.errors import HostError
from infrasim.jsonform import as_json
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan
from infrasim.runtime.bmc import engine, node_bmc
from infrasim.runtime.bmc.node_bmc import NodeBmc
from infrasim.runtime.bmc.store import read_state

pytestmark = pytest.mark.allow("socket")

MakePlan = Callable[[Home, str, str], NodePlan]

# It goes by in a moment: see Loop.
RESET_S = 100.0
# ASF presence ping. Source: IPMI 2.0 section 13.2.3.
PING = bytes.fromhex("0600ff06000011be80000000")
APP, COLD_RESET, WARM_RESET = 0x06, 0x02, 0x03
SET_GLOBAL_ENABLES, GET_GLOBAL_ENABLES = 0x2E, 0x2F
CHASSIS, SET_BOOT_OPTIONS = 0x00, 0x08
SET_SEL_TIME = (0x0A, 0x49)


class Loop(asyncio.SelectorEventLoop):
    """One whose clock can be put on, so that no test waits for what takes long, and none is too late."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


async def later(seconds: float) -> None:
    """Put the clock on, and let happen what is due then."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.ahead_s += seconds
    for _ in range(5):
        await asyncio.sleep(0)


class Place:
    """A BMC and everything around it."""

    def __init__(self, plan: NodePlan, paths: NodePaths) -> None:
        self.plan, self.paths = plan, paths
        self.engine = EnginePeer()
        self.host = HostPeer()
        self.chassis = FakeChassis(on=True)
        self.events: list[tuple[str, dict[str, object]]] = []
        self.breaks = 0
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.bind(("127.0.0.1", 0))
        self.client.setblocking(False)
        self.bmc: NodeBmc

    def make(self) -> None:
        """A BMC, not opened yet."""
        bmc = dataclasses.replace(
            self.plan.bmc,
            listen=("127.0.0.1",),
            port=_free_port(),
            private_address="127.0.0.1",
            channel_port=self.engine.port,
        )
        self.bmc = NodeBmc(
            dataclasses.replace(self.plan, bmc=bmc),
            self.paths,
            chassis=self.chassis,
            load=FakeLoad(),
            break_wanted=self._break,
            record=self._record,
        )

    def _break(self) -> None:
        self.breaks += 1

    def _record(self, event: str, **details: object) -> None:
        self.events.append((event, details))

    async def pings(self, *, within_s: float = 60.0) -> bool:
        """Whether the BMC answers on its LAN."""
        self.client.sendto(PING, ("127.0.0.1", self.bmc._sockets._port))
        try:
            async with asyncio.timeout(within_s):
                return bool(await asyncio.get_running_loop().sock_recv(self.client, 100))
        except TimeoutError:
            return False


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


Play = Callable[[Callable[[Place], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> Play:
    """A function that plays a scene with a BMC that is open, its engine joined."""
    home = Home(tmp_path / "h", tmp_path / "l")
    plan, paths = make_plan(home, "a", "{}"), home.node("a")
    for folder in (paths.data, paths.bmc_state, paths.run):
        folder.mkdir(parents=True)
    settings = dataclasses.replace(SETTINGS, reset_s=RESET_S)
    paths.bmc_settings.write_text(json.dumps(as_json(settings)))
    monkeypatch.setattr(engine, "_ANSWER_S", 60.0)

    def played(scene: Callable[[Place], Awaitable[None]]) -> None:
        async def whole() -> None:
            place = Place(plan, paths)
            await place.engine.open()
            place.make()
            try:
                async with asyncio.timeout(60 + 3 * RESET_S):
                    await place.bmc.open()
                    await place.bmc.join_engine()
                    await scene(place)
            finally:
                place.bmc.close()
                await place.engine.close()
                place.client.close()
                await asyncio.sleep(0.01)

        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(whole())

    return played


def test_it_answers_at_each_of_its_doors_and_sets_the_clock_of_its_engine(play: Play) -> None:
    async def scene(place: Place) -> None:
        assert await place.pings()
        await place.host.connect(place.paths.kcs_socket)
        assert (await place.host.ask(APP, 0x01))[0] == 0
        assert SET_SEL_TIME in {asked[:2] for asked in place.engine.asked}
        place.engine.answers[(0x0A, 0x40)] = b"\0\x51\0\0"
        assert await place.host.ask(0x0A, 0x40) == b"\0\x51\0\0"
        assert place.events == []

    play(scene)


def test_an_engine_that_cannot_be_set_up_is_an_event_of_the_node(play: Play) -> None:
    async def scene(place: Place) -> None:
        place.engine.answers[SET_SEL_TIME] = b"\xd5"
        await place.bmc.join_engine()
        assert place.events == [("engine-not-set-up", {"reason": "completion code 0xd5"})]

    play(scene)


@pytest.mark.parametrize(("command", "kind"), [(COLD_RESET, "cold"), (WARM_RESET, "warm")])
def test_a_reset_takes_the_doors_away_for_a_while_and_keeps_the_state(
    play: Play, command: int, kind: str
) -> None:
    async def scene(place: Place) -> None:
        host, core = place.host, place.bmc.core
        await host.connect(place.paths.kcs_socket)
        assert await host.ask(CHASSIS, SET_BOOT_OPTIONS, bytes.fromhex("05e004000000")) == b"\0"
        assert await host.ask(APP, SET_GLOBAL_ENABLES, b"\x0c") == b"\0"
        orders = list(place.chassis.orders)
        assert await host.ask(APP, command) == b"\0", "the answer leaves before the BMC does"
        await host.lost()
        assert not place.paths.kcs_socket.exists()
        await later(RESET_S / 2)
        assert not await place.pings(within_s=0.03)
        assert place.events == [("bmc-reset", {"kind": kind, "seconds": RESET_S})]
        await later(RESET_S / 2)
        assert place.events[1] == ("bmc-back", {})
        await until(place.paths.kcs_socket.exists)
        assert await place.pings()
        again = HostPeer()
        await again.connect(place.paths.kcs_socket)
        assert (await again.ask(APP, 0x01))[0] == 0
        assert core.state.boot.is_persistent
        enables = b"\0\x08" if kind == "cold" else b"\0\x0c"
        assert await again.ask(APP, GET_GLOBAL_ENABLES) == enables
        assert place.chassis.orders == orders, "the host goes on"
        again.writer.close()

    play(scene)


def test_a_reset_waits_until_the_host_has_read_its_answer(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_bmc, "_ANSWER_KEEPS_S", RESET_S)

    async def scene(place: Place) -> None:
        host = place.host
        await host.connect(place.paths.kcs_socket)
        assert (await host.ask(APP, 0x01))[0] == 0
        transport = host.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        host.writer.write(VmRequest(9, APP, 0, COLD_RESET, b"").wire())
        await until(lambda: place.events)
        await later(RESET_S / 2)
        assert not place.bmc.is_away, "its answer is not read yet"
        transport.resume_reading()
        answers = [item for item in await host.hear() if isinstance(item, VmAnswer)]
        assert [(item.sequence, item.content) for item in answers] == [(9, b"\0")]
        await until(lambda: place.bmc.is_away)

    play(scene)


def test_a_host_that_does_not_read_does_not_keep_its_bmc_from_a_reset(play: Play) -> None:
    async def scene(place: Place) -> None:
        await place.host.connect(place.paths.kcs_socket)
        transport = place.host.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        place.host.writer.write(VmRequest(9, APP, 0, COLD_RESET, b"").wire())
        await until(lambda: place.events)
        await later(node_bmc._ANSWER_KEEPS_S)
        assert place.bmc.is_away

    play(scene)


def test_a_second_reset_begins_the_while_anew(play: Play) -> None:
    async def scene(place: Place) -> None:
        place.bmc.core.reset(cold=True)
        await until(lambda: place.bmc._sockets.is_deaf)
        await later(RESET_S / 2)
        place.bmc.core.reset(cold=False)
        await later(RESET_S / 2 + 1)
        assert [event for event, _ in place.events] == ["bmc-reset", "bmc-reset"]
        await later(RESET_S)
        assert [event for event, _ in place.events] == ["bmc-reset", "bmc-reset", "bmc-back"]
        await until(place.paths.kcs_socket.exists)

    play(scene)


def test_an_end_during_a_reset_leaves_no_door_open(play: Play) -> None:
    async def scene(place: Place) -> None:
        place.bmc.core.reset(cold=True)
        await until(lambda: place.bmc._sockets.is_deaf)
        place.bmc.close()
        await later(1.5 * RESET_S)
        assert [event for event, _ in place.events] == ["bmc-reset"]
        assert not place.paths.kcs_socket.exists()

    play(scene)


def test_what_is_set_is_on_disk_soon_and_outlives_the_bmc(play: Play) -> None:
    async def first(place: Place) -> None:
        place.bmc.core.state.chassis.cycle_interval_s = 7
        place.bmc.core.changed()
        await until(lambda: read_state(place.paths.core_state).chassis.cycle_interval_s == 7)
        place.bmc.core.state.chassis.cycle_interval_s = 8
        place.bmc.core.changed()

    async def second(place: Place) -> None:
        assert place.bmc.core.state.chassis.cycle_interval_s == 8

    play(first)
    play(second)


def test_the_hours_are_saved_regularly_and_at_the_end(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_bmc, "_HOURS_EVERY_S", 0.02)

    async def scene(place: Place) -> None:
        place.bmc.core.power_changed(on=True)
        await until(lambda: read_state(place.paths.core_state).chassis.power_on_s > 0)

    play(scene)


def test_the_serial_line_is_taken_up_or_its_lack_is_an_event(play: Play) -> None:
    async def scene(place: Place) -> None:
        place.bmc.join_serial_line()
        ((event, details),) = place.events
        assert event == "error"
        assert str(details["message"]).startswith("serial terminal: ")
        place.bmc._serial.send_break()
        assert place.breaks == 1

    play(scene)


def test_work_that_nobody_waits_for_fails_quietly(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(place: Place) -> None:
        async def fail() -> None:
            raise ValueError("a bug")

        place.engine.answers[(0x0A, 0x44)] = b"\xc4"

        async def be_refused() -> None:
            await place.bmc.core.engine.ask(0x0A, 0x44)

        place.bmc.defer(fail())
        place.bmc.defer(be_refused())
        await until(lambda: not place.bmc._tasks)
        assert await place.pings()

    play(scene)
    assert "a bug" in caplog.text
    assert "completion code 0xc4" in caplog.text


def test_an_address_that_is_taken_is_an_error(play: Play) -> None:
    async def scene(place: Place) -> None:
        other = NodeBmc(
            dataclasses.replace(
                place.plan,
                bmc=dataclasses.replace(place.plan.bmc, listen=("127.0.0.1",), port=place.bmc._sockets._port),
            ),
            place.paths,
            chassis=place.chassis,
            load=FakeLoad(),
            break_wanted=place._break,
            record=place._record,
        )
        with pytest.raises(HostError, match="Address already in use"):
            await other.open()

    play(scene)


def test_a_damaged_state_is_an_error_before_anything_is_opened(play: Play, tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.bmc.close()
        place.paths.core_state.write_text("{")
        with pytest.raises(HostError, match="is damaged"):
            place.make()
        place.paths.core_state.write_text(json.dumps(as_json(BmcState())))
        place.make()

    play(scene)
