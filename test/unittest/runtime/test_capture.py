"""Captures of a BMC that answers as a server type says: the type comes back, whatever is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from infrasim.clients.ipmitool import BMC, Refused, Target
from infrasim.paths import data_dir
from infrasim.personality import names
from infrasim.personality.compare import compare
from infrasim.personality.importer import assembled
from infrasim.personality.model import Entry, Personality, SensorState, Thresholds
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.sdr import FruLocator
from infrasim.runtime.capture import Captured, capture

FOLDERS = [data_dir() / "personalities"]
# What no command tells: which events a sensor can have besides those that are on, and the access to
# thresholds where the record says something else.
UNSEEN = ("live.asserts", "live.deasserts", "live.access", "live.control")


class Server:
    """A BMC with the sensors, records and FRU devices of a type; satellites are on channel 0, as ipmi_sim's.

    ``refuse`` says with which completion code a command is refused, None if it is not; -1 is no answer.
    """

    def __init__(self, personality: Personality) -> None:
        self.personality = personality
        self.controllers = {item.address: item for item in personality.controllers}
        self.sensors = {state.key: state for state in personality.sensors}
        self.frus = {(fru.controller, fru.fru_id): fru.encode() for fru in personality.frus}
        self.records = [entry.record.encode(number) for number, entry in enumerate(personality.sdrs, 1)]
        self.refuse: Callable[[int, int, bytes, Target], int | None] = lambda *asked: None

    def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
        code = self.refuse(net_fn, command, data, target)
        if code is None and (target.channel or target.address not in self.controllers):
            code = 0xCC if target.channel else 0x83
        if code is None:
            answer = self._answer(net_fn, command, data, target)
            if isinstance(answer, bytes):
                return answer
            code = answer
        raise Refused("refused", code=None if code < 0 else code, reason=f"code {code:#x}")

    def _answer(self, net_fn: int, command: int, data: bytes, target: Target) -> bytes | int:
        match net_fn, command:
            case 0x06, 0x01:
                return self._device_id(target.address)
            case 0x0A, 0x20:
                return b"\x51" + len(self.records).to_bytes(2, "little") + bytes(11)
            case 0x0A, 0x22:
                return b"\1\0"
            case 0x0A, 0x23:
                return self._record(data)
            case 0x0A, 0x40:
                log = self.personality.event_log
                return b"\x51\0\0" + (log.entries * 16).to_bytes(2, "little") + bytes(8) + bytes((log.flags,))
            case 0x0A, 0x10 if found := self.frus.get((target.address, data[0])):
                return len(found).to_bytes(2, "little") + b"\0"
            case 0x0A, 0x11 if found := self.frus.get((target.address, data[0])):
                piece = found[int.from_bytes(data[1:3], "little") :][: data[3]]
                return bytes((len(piece),)) + piece
            case 0x04, _ if data and (state := self.sensors.get((target.address, target.lun, data[0]))):
                return sensor_answer(state, command)
        return 0xCB if net_fn == 0x0A else 0xC1

    def _record(self, data: bytes) -> bytes | int:
        """Get SDR. Source: IPMI 2.0 section 33.12."""
        number = max(1, int.from_bytes(data[2:4], "little"))
        if number > len(self.records):
            return 0xCB
        after = number + 1 if number < len(self.records) else 0xFFFF
        return after.to_bytes(2, "little") + self.records[number - 1][data[4] : data[4] + data[5]]

    def _device_id(self, address: int) -> bytes:
        item = self.controllers[address]
        return (
            bytes((item.device_id, item.device_revision | item.has_device_sdrs << 7, item.firmware_major))
            + bytes((item.firmware_minor, 2, item.support))
            + item.manufacturer.to_bytes(3, "little")
            + item.product.to_bytes(2, "little")
        )


def sensor_answer(state: SensorState, command: int) -> bytes | int:
    if command == 0x2F:
        return bytes((state.sensor_type, state.event_type))
    if state.is_event_only:
        return 0xCB
    events, limits, slack = state.events, state.thresholds, state.hysteresis
    assert events is not None
    flags = events.enabled << 7 | events.scanning << 6
    if command == 0x2D:
        mask = sum(1 << bit for bit in state.bits)
        return bytes((state.value or 0, flags | (state.value is None) << 5)) + mask.to_bytes(2, "little")
    if command == 0x29 and events.control != "none":
        enabled = (events.assertion_enabled, events.deassertion_enabled)
        return bytes((flags,)) + b"".join(mask.to_bytes(2, "little") for mask in enabled)
    if command == 0x27 and limits and limits.access != names.THRESHOLD_ACCESS[0]:
        return bytes((limits.mask, *limits.values))
    if command == 0x25 and slack and slack[0] != names.HYSTERESIS_ACCESS[0]:
        return bytes(slack[1:])
    return 0xC1


class Counter:
    """Keeps the last count of everything."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, int | None]] = {}

    def advance(self, name: str, done: int, total: int | None) -> None:
        self.last[name] = (done, total)


def captured(server: Server) -> tuple[Captured, Personality]:
    found = capture(server, progress=Counter())
    return found, assembled("again", found.emulation)


def visible(entry: Entry) -> Entry:
    """Without thresholds that nobody can read."""
    state = entry.state
    if state is None or state.thresholds is None or state.thresholds.access != "none":
        return entry
    return dataclasses.replace(
        entry, state=dataclasses.replace(state, thresholds=Thresholds("none", 0, (0,) * 6))
    )


def differences(personality: Personality, again: Personality) -> list[str]:
    ours = dataclasses.replace(personality, smbios=(), sdrs=tuple(map(visible, personality.sdrs)))
    return [str(item) for item in compare(ours, again) if item.field not in UNSEEN]


@pytest.mark.parametrize("name", type_names(FOLDERS))
def test_a_type_comes_back(name: str) -> None:
    server = Server(load_type(name, FOLDERS))
    counter = Counter()
    found = capture(server, progress=counter)
    again = assembled("again", found.emulation)
    assert differences(server.personality, again) == []
    assert again.event_log == server.personality.event_log
    assert again.hidden_sensors == ()
    assert counter.last["SDRs"] == (len(server.records), len(server.records))
    assert len({done for done, total in counter.last.values() if done != total}) == 0
    unseen = {fru_id for _, fru_id in server.frus} - {fru.fru_id for fru in again.frus}
    assert unseen == set()


def test_frus_that_are_not_there_are_one_warning() -> None:
    personality = load_type("s2600wtt", FOLDERS)
    found, again = captured(Server(dataclasses.replace(personality, frus=personality.frus[:1])))
    assert found.warnings == ("FRU 2, 3, 4, 5, 17, 9 and 2 more: code 0xcb",)
    assert [fru.fru_id for fru in again.frus] == [0]


def test_a_controller_that_is_not_there_takes_its_sensors_with_it() -> None:
    server = Server(load_type("quanta_d51", FOLDERS))
    asked: list[Target] = []

    def refuse(net_fn: int, command: int, data: bytes, target: Target) -> int | None:
        asked.append(target)
        return -1 if target.address == 0x2C else None

    server.refuse = refuse
    found, again = captured(server)
    assert found.warnings == ("controller 0x2c: code -0x1",)
    # Once: who is silent on one channel costs half a minute and is not looked for on another.
    assert len([target for target in asked if target.address == 0x2C]) == 1
    assert [item.address for item in again.controllers] == [0x20]
    assert {state.owner for state in again.sensors} == {0x20}
    assert len(again.sdrs) == len(server.personality.sdrs)


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ((0x0A, 0x40), "size of the event log: code 0xc1"),
        (
            (0x04, 0x2D),
            "reading of Inlet Temp, Exhaust Temp, CPU Temp, DIMM Temp, Volt P12V, Volt P5V and 16 more: code",
        ),
        ((0x04, 0x29), "events of Inlet Temp, Exhaust Temp"),
        ((0x04, 0x27), "thresholds of Inlet Temp, Exhaust Temp"),
        ((0x04, 0x25), "hysteresis of Inlet Temp, Exhaust Temp"),
        ((0x0A, 0x10), "FRU 0, 1, 2: code 0xc1"),
        ((0x0A, 0x23), "SDR 0x0000 and those behind it: code 0xc1"),
    ],
)
def test_a_command_that_is_always_refused_is_a_warning(command: tuple[int, int], warning: str) -> None:
    server = Server(load_type("vnode", FOLDERS))
    server.refuse = lambda net_fn, number, data, target: 0xC1 if (net_fn, number) == command else None
    found, again = captured(server)
    assert found.warnings[0].startswith(warning)
    assert again.controllers == server.personality.controllers


def test_get_sensor_type_and_device_sdr_info_are_optional() -> None:
    server = Server(load_type("vnode", FOLDERS))
    server.refuse = lambda net_fn, number, data, target: 0xC1 if (net_fn, number) == (4, 0x2F) else None
    found, again = captured(server)
    assert found.warnings == ()
    assert differences(server.personality, again) == []


def test_answers_too_short_are_warnings() -> None:
    class Terse(Server):
        def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
            answer = super().ask(net_fn, command, data, target=target)
            return answer[:4] if command == 0x40 or target.address != 0x20 else answer

    found, again = captured(Terse(load_type("quanta_d51", FOLDERS)))
    assert found.warnings == (
        "size of the event log: Get SEL Info: 4 bytes, wanted 14",
        "controller 0x2c: Get Device ID of controller 0x2c: 4 bytes, wanted 11 or more",
    )
    assert [item.address for item in again.controllers] == [0x20]


def test_a_bmc_that_does_not_say_what_it_is_cannot_be_captured() -> None:
    server = Server(load_type("vnode", FOLDERS))
    server.refuse = lambda net_fn, number, data, target: 0xD4 if net_fn == 6 else None
    with pytest.raises(Refused):
        captured(server)


def test_a_bmc_without_a_repository_gives_its_own_records() -> None:
    class Device(Server):
        def ask(self, net_fn: int, command: int, data: bytes = b"", *, target: Target = BMC) -> bytes:
            if (net_fn, command) == (0x04, 0x20) and data:
                return bytes((len(self.records), 0x81))
            if net_fn == 0x04 and command in (0x21, 0x22) and target == BMC:
                return super().ask(0x0A, {0x21: 0x23, 0x22: 0x22}[command], data, target=target)
            assert (net_fn, command) != (0x0A, 0x23)
            return super().ask(net_fn, command, data, target=target)

    personality = load_type("vnode", FOLDERS)
    bmc = dataclasses.replace(personality.controllers[0], support=0x01, has_device_sdrs=True)
    personality = dataclasses.replace(personality, controllers=(bmc, *personality.controllers[1:]))
    found, again = captured(Device(personality))
    assert found.warnings == ()
    assert differences(personality, again) == []


def test_no_records_at_all() -> None:
    found, again = captured(Server(dataclasses.replace(load_type("vnode", FOLDERS), sdrs=())))
    assert "SDRs: there are none" in found.warnings
    assert again.sdrs == ()


def test_a_sensor_on_another_lun_is_asked_there() -> None:
    personality = load_type("vnode", FOLDERS)
    number = next(at for at, entry in enumerate(personality.sdrs) if entry.state)
    entry = personality.sdrs[number]
    assert entry.state is not None
    moved = dataclasses.replace(
        entry,
        record=dataclasses.replace(entry.record, lun=2),  # type: ignore[call-arg]
        state=dataclasses.replace(entry.state, lun=2),
    )
    sdrs = (*personality.sdrs[:number], moved, *personality.sdrs[number + 1 :])
    personality = dataclasses.replace(personality, sdrs=sdrs)
    _, again = captured(Server(personality))
    assert differences(personality, again) == []


def test_a_fru_that_is_not_logical_is_tried_without_a_warning() -> None:
    personality = load_type("dell_r730", FOLDERS)
    found, again = captured(Server(personality))
    assert found.warnings == ()
    physical = {
        entry.record.fru_id
        for entry in personality.sdrs
        if isinstance(entry.record, FruLocator) and not entry.record.is_logical
    }
    assert physical & {fru.fru_id for fru in again.frus}
