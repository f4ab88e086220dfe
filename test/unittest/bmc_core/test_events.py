"""Events, platform event filtering, alerts, SNMP traps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from bmc_bench import SETTINGS, Bench
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core import pet
from infrasim.bmc_core.chassis import RestartCause
from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.events import restore_event_receiver
from infrasim.bmc_core.message import Origin, Refused
from infrasim.bmc_core.pef_config import Filter

S_E = NetFn.SENSOR
# Temperature sensor 0x30 goes above upper critical; generator 0x20.
TOO_HOT = bytes.fromhex("0500 02 00000000 2000 04 01 30 01 59ffff")
OVER_LAN = Origin(SETTINGS.main_channel, Privilege.ADMINISTRATOR)


def pef_bench() -> Bench:
    bench = Bench()
    bench.engine.answers[(NetFn.STORAGE, 0x44)] = b"\x05\x00"
    bench.chassis.on = True
    return bench


def set_parameter(bench: Bench, data: bytes) -> None:
    assert bench.ask(S_E, 0x12, data) == b"\x00"


def set_filter(bench: Bench, actions: int, *, number: int = 1, policy: int = 1) -> None:
    entry = bytes([0x80, actions, policy, 0x10, 0xFF, 0xFF, 0x01, 0xFF, 0x01]) + b"\x00\x02" + bytes(9)
    set_parameter(bench, bytes([6, number]) + entry)


def set_policy(
    bench: Bench, entry: int, destination: int, *, rule: int = 0, string: int = 0, channel: int = 1
) -> None:
    set_parameter(bench, bytes([9, entry, 0x18 | rule, channel << 4 | destination, string]))


def set_destination(bench: Bench, number: int, *, kind: int = 0, timeout: int = 4, retries: int = 0) -> None:
    assert bench.ask(NetFn.TRANSPORT, 0x01, bytes([1, 18, number, kind, timeout, retries])) == b"\x00"
    address = bytes([1, 19, number, 0, 0, 192, 0, 2, number]) + bytes(6)
    assert bench.ask(NetFn.TRANSPORT, 0x01, address) == b"\x00"


def happen(bench: Bench, record: bytes = TOO_HOT) -> None:
    asyncio.run(bench.bmc.events.happened(record))


def destinations(bench: Bench) -> list[int]:
    return [int(address.rpartition(".")[2]) for address, _port, _data in bench.network.traps]


def test_a_platform_event_over_lan_enters_the_log() -> None:
    bench = pef_bench()
    message = bytes.fromhex("04 01 30 01 59 ff ff")
    assert bench.ask(S_E, 0x02, message, origin=OVER_LAN) == b"\x00"
    netfn, command, record = bench.engine.asked[0]
    assert (netfn, command) == (NetFn.STORAGE, 0x44)
    assert record[:3] == b"\x00\x00\x02"
    assert record[7:] == b"\x81\x10" + message
    bench.settle()
    assert bench.bmc.state.pef.last_by_bmc == 5


@pytest.mark.parametrize("action", [0x10, 0x40, 0x80, 0x51])
def test_a_filter_cannot_ask_for_what_the_capabilities_do_not_have(action: int) -> None:
    bench = Bench()
    assert bench.ask(NetFn.SENSOR, 0x10)[2] & action & ~0x01 == 0
    entry = bytes([0x80, action, 1, 0x10, 0xFF, 0xFF, 1, 0xFF, 1, 0xFF, 0xFF, *bytes(9)])
    assert bench.ask(NetFn.SENSOR, 0x12, b"\x06\x09" + entry) == b"\xcc"
    assert bench.ask(NetFn.SENSOR, 0x12, b"\x06\x09" + entry[:1] + b"\x2f" + entry[2:]) == b"\0"
    assert bench.ask(NetFn.SENSOR, 0x12, bytes([2, action])) == b"\xcc"
    assert bench.ask(NetFn.SENSOR, 0x13, b"\x0f\x00\x00") == b"\x80", "no table of group controls"


def test_a_platform_event_from_the_host_says_who_made_it() -> None:
    bench = pef_bench()
    assert bench.ask(S_E, 0x02, bytes.fromhex("41 04 12 83 6f 00")) == b"\x00"
    assert bench.engine.asked[0][2][7:] == bytes.fromhex("4100 04 12 83 6f 00 ffff")


def test_an_event_that_finds_the_log_full_has_happened_all_the_same() -> None:
    bench = pef_bench()
    bench.bmc.state.pef.last_by_bmc = 7
    bench.engine.answers[(NetFn.STORAGE, 0x44)] = Refused(0xC4)
    set_filter(bench, 0x02)
    assert bench.ask(S_E, 0x02, TOO_HOT[9:], origin=OVER_LAN) == b"\x00"
    bench.settle()
    assert bench.chassis.orders == ["off"]
    assert bench.bmc.state.pef.last_by_bmc == 0, "0 stands for one that could not be logged"


def test_an_event_is_refused_while_the_log_is_away_and_the_bmcs_own_happens() -> None:
    bench = pef_bench()
    set_filter(bench, 0x02)
    bench.engine.answers[(NetFn.STORAGE, 0x44)] = Refused(0xC0)
    assert bench.ask(S_E, 0x02, TOO_HOT[9:], origin=OVER_LAN) == b"\xc0"
    bench.settle()
    assert bench.chassis.orders == []
    bench.bmc.log_event(generator=0x20, sensor_type=1, sensor=0x30, event_type=1, data=b"\x59\xff\xff")
    bench.settle()
    assert bench.chassis.orders == ["off"]


def test_nothing_is_logged_while_the_hosts_software_wants_no_log() -> None:
    bench = pef_bench()
    enables = (NetFn.APP, 0x2E)
    assert bench.ask(*enables, b"\0") == b"\0"
    bench.settle()
    assert bench.engine.asked == [(*enables, b"\x06")], "sensors' events are logged by ipmi_sim"
    set_filter(bench, 0x02)
    assert bench.ask(S_E, 0x02, TOO_HOT[9:], origin=OVER_LAN) == b"\x00"
    bench.settle()
    assert bench.chassis.orders == ["off"]
    assert len(bench.engine.asked) == 1
    bench.bmc.reset(cold=True)
    bench.settle()
    assert bench.engine.asked[1:] == [(*enables, b"\x0e")]


def test_the_event_receiver_is_kept_and_restored() -> None:
    bench = Bench()
    assert bench.ask(S_E, 0x01) == b"\x00\x20\x00"
    asyncio.run(restore_event_receiver(bench.bmc))
    assert bench.engine.asked == []
    assert bench.ask(S_E, 0x00, b"\x21\x00") == b"\xcc"
    assert bench.ask(S_E, 0x00, b"\xff\x00") == b"\x00"
    again = Bench(state=bench.bmc.state)
    assert again.ask(S_E, 0x01) == b"\x00\xff\x00"
    asyncio.run(restore_event_receiver(again.bmc))
    assert again.engine.asked == [(S_E, 0x00, b"\xff\x00")]


@pytest.mark.parametrize(
    ("actions", "orders", "cause"),
    [
        (0x02, ["off"], RestartCause.UNKNOWN),
        (0x04, ["reset"], RestartCause.PEF_RESET),
        (0x08, ["off", "on"], RestartCause.PEF_POWER_CYCLE),
        (0x20, ["nmi"], RestartCause.UNKNOWN),
        (0x2E, ["off"], RestartCause.UNKNOWN),
        (0x24, ["reset"], RestartCause.PEF_RESET),
    ],
)
def test_a_filter_acts_on_power(actions: int, orders: list[str], cause: RestartCause) -> None:
    bench = pef_bench()
    set_filter(bench, actions)
    happen(bench)
    bench.bmc.power_changed(on=bench.chassis.on)
    bench.clock.advance(10)
    assert bench.chassis.orders == orders
    assert bench.bmc.state.chassis.restart_cause == cause


def test_what_stops_a_filter() -> None:
    bench = pef_bench()
    set_filter(bench, 0x04)
    happen(bench, TOO_HOT[:12] + b"\x81" + TOO_HOT[13:])
    happen(bench, TOO_HOT[:13] + b"\x57" + TOO_HOT[14:])
    happen(bench, b"\x05\x00\xc0" + TOO_HOT[3:])
    set_parameter(bench, b"\x02\x2b")
    happen(bench)
    set_parameter(bench, b"\x02\x2f")
    set_parameter(bench, b"\x01\x00")
    happen(bench)
    set_parameter(bench, b"\x01\x01")
    set_parameter(bench, b"\x07\x01\x00")
    happen(bench)
    assert bench.chassis.orders == []
    set_parameter(bench, b"\x07\x01\x80")
    happen(bench)
    assert bench.chassis.orders == ["reset"]


# The example of the OpenIPMI book: mask 0F, the two upper bits exact, of the two lower ones one is enough.
@pytest.mark.parametrize(
    ("value", "masks", "expected"),
    [
        (0b1001, (0x0F, 0x0C, 0b1000), True),
        (0b1011, (0x0F, 0x0C, 0b1000), False),
        (0b1010, (0x0F, 0x0C, 0b1000), True),
        (0b0000, (0x0F, 0x0C, 0b1000), False),
        (0xFF, (0x00, 0x00, 0x00), True),
        (0x12, (0xFF, 0xFF, 0x12), True),
        (0x13, (0xFF, 0xFF, 0x12), False),
    ],
)
def test_event_data_is_compared(value: int, masks: tuple[int, int, int], expected: bool) -> None:
    entry = bytes([0x80, 1, 1, 0, *[0xFF] * 5, 0xFF, 0xFF]) + bytes(3) + bytes(masks) + bytes(3)
    record = TOO_HOT[:14] + bytes([value, 0])
    assert Filter(1, entry).matches(record) is expected


def test_the_postpone_timer_holds_events_back() -> None:
    bench = pef_bench()
    set_filter(bench, 0x04)
    assert bench.ask(S_E, 0x11, b"\x0a") == b"\x00\x0a"
    bench.clock.advance(4)
    assert bench.ask(S_E, 0x11, b"\xff") == b"\x00\x06"
    happen(bench)
    assert bench.chassis.orders == []
    bench.clock.advance(7)
    assert bench.chassis.orders == ["reset"]


def test_what_software_has_dealt_with_is_not_processed_again() -> None:
    bench = pef_bench()
    set_filter(bench, 0x04)
    bench.ask(S_E, 0x11, b"\x0a")
    happen(bench)
    assert bench.ask(S_E, 0x14, b"\x00\x05\x00") == b"\x00"
    bench.clock.advance(11)
    assert bench.chassis.orders == []


def test_pef_is_disabled_until_the_timer_is_set_again() -> None:
    bench = pef_bench()
    set_filter(bench, 0x04)
    assert bench.ask(S_E, 0x11, b"\xfe") == b"\x00\xfe"
    happen(bench)
    bench.clock.advance(1000)
    assert bench.chassis.orders == []
    assert bench.ask(S_E, 0x11, b"\x00") == b"\x00\x00"
    bench.clock.advance(1)
    assert bench.chassis.orders == ["reset"]


def switch_off(bench: Bench) -> None:
    bench.chassis.on = False
    bench.bmc.power_changed(on=False)


def switch_on(bench: Bench) -> None:
    bench.bmc.power_changed(on=True)


def reset_host(bench: Bench) -> None:
    bench.bmc.host_reset(by_guest=True)


def reset_bmc(bench: Bench) -> None:
    bench.bmc.reset(cold=True)


@pytest.mark.parametrize("begin_anew", [switch_off, switch_on, reset_host, reset_bmc])
@pytest.mark.parametrize("timer", [0xFE, 0x80])
def test_what_was_postponed_goes_on_when_something_begins_anew(
    begin_anew: Callable[[Bench], None], timer: int
) -> None:
    bench = pef_bench()
    set_filter(bench, 0x01)
    set_policy(bench, 1, 1)
    set_destination(bench, 1)
    bench.ask(S_E, 0x11, bytes([timer]))
    happen(bench)
    bench.clock.advance(1)
    assert destinations(bench) == []
    begin_anew(bench)
    assert bench.ask(S_E, 0x11, b"\xff") == b"\x00\x00"
    bench.clock.advance(1)
    assert destinations(bench) == [1]


def test_startup_delays() -> None:
    bench = pef_bench()
    set_filter(bench, 0x05)
    set_policy(bench, 1, 1)
    set_destination(bench, 1)
    set_parameter(bench, b"\x01\x0d")
    set_parameter(bench, b"\x03\x14")
    set_parameter(bench, b"\x04\x28")
    bench.bmc.events.host_started()
    happen(bench)
    bench.clock.advance(19)
    assert bench.chassis.orders == []
    bench.clock.advance(2)
    assert bench.chassis.orders == ["reset"]
    assert bench.network.traps == []
    bench.clock.advance(20)
    assert destinations(bench) == [1]


def test_pef_events_are_logged_if_wanted() -> None:
    bench = pef_bench()
    set_filter(bench, 0x04)
    set_parameter(bench, b"\x01\x03")
    happen(bench)
    assert bench.engine.asked[0][2][7:] == bytes.fromhex("2000 04 12 00 6f 44 04 ff")


def test_an_alert_is_a_trap() -> None:
    bench = pef_bench()
    set_filter(bench, 0x01)
    set_policy(bench, 1, 1, string=2)
    set_destination(bench, 1)
    set_parameter(bench, b"\x0d\x02\x01Too hot")
    happen(bench)
    ((address, port, datagram),) = bench.network.traps
    assert (address, port) == ("192.0.2.1", 162)
    # Version 1, community, enterprise specific 6, specific trap 0x010109.
    assert datagram[2:13].hex() == "020100" + "0406" + b"public".hex()
    assert bytes.fromhex("020106 0203010109") in datagram
    assert datagram.endswith(b"\xc7Too hot\xc1")


def test_the_value_of_a_trap() -> None:
    event = pet.PlatformEvent(0x20, 1, 0x30, 0x81, bytes([0x59, 0x50, 0x4B]), 0x10, 7, 1)
    sender = pet.Sender(bytes(range(16)), "127.0.0.1", 674, 256, b"public")
    value = pet.variable_value(event, sender, 5, 883_612_800 + 0x01020304, 60, b"")
    assert pet.specific_trap(event) == 0x010189
    assert value == bytes.fromhex(
        "000102030405060708090a0b0c0d0e0f 0005 01021114 003c 20 20 10 20 30 07 01"
        "59504b0000000000 19 000002a2 0100 c1"
    )


@pytest.mark.parametrize(
    ("rules", "reachable", "sent"),
    [
        ((0, 0), (1, 2), [1, 2]),
        ((0, 1), (1, 2), [1]),
        ((0, 1), (2,), [2]),
        ((0, 1, 0), (1, 2, 3), [1, 3]),
        ((0, 2, 0), (1, 2, 3), [1]),
        ((0, 2, 0), (2, 3), [2, 3]),
        ((0, 3, 0), (1, 2, 3), [1]),
        ((0, 3, 0), (2, 3), [2, 3]),
        ((0, 4), (1, 2), [1]),
        ((0, 4, 0), (1, 2, 3), [1]),
        ((0, 4, 0), (2, 3), [2, 3]),
    ],
)
def test_alert_policies(rules: tuple[int, ...], reachable: tuple[int, ...], sent: list[int]) -> None:
    bench = pef_bench()
    set_filter(bench, 0x01)
    for place, rule in enumerate(rules, start=1):
        set_policy(bench, place, place, rule=rule)
    for number in reachable:
        set_destination(bench, number)
    happen(bench)
    assert destinations(bench) == sent


def test_rule_3_goes_on_at_another_channel_than_that_of_its_entry() -> None:
    bench = pef_bench()
    set_filter(bench, 0x01)
    set_policy(bench, 1, 1)
    set_policy(bench, 2, 2, rule=3, channel=2)
    set_policy(bench, 3, 3, channel=2)
    set_policy(bench, 4, 4)
    for number in (1, 4):
        set_destination(bench, number)
    happen(bench)
    assert destinations(bench) == [1, 4]


def test_no_event_sends_alerts_through_a_channel_that_has_them_off() -> None:
    bench = pef_bench()
    set_filter(bench, 0x01)
    set_policy(bench, 1, 1)
    set_destination(bench, 1)
    access = (NetFn.APP, 0x40)
    assert bench.ask(*access, b"\x01\xa2\x00") == b"\x00"
    happen(bench)
    assert destinations(bench) == []
    # Alert Immediate is nobody's filter.
    assert bench.ask(S_E, 0x16, b"\x01\x01\x00") == b"\x00"
    assert destinations(bench) == [1]
    assert bench.ask(*access, b"\x01\x82\x00") == b"\x00"
    happen(bench)
    assert destinations(bench) == [1, 1]


def severity(datagram: bytes) -> int:
    """Of a trap: the seventh byte behind GUID, sequence, time and UTC offset."""
    return datagram[datagram.index(bytes.fromhex("11" * 4 + "2222")) + 16 + 10]


def test_an_alert_tells_the_highest_severity_of_what_matches() -> None:
    bench = pef_bench()
    entry = bytes([0x80, 1, 1, 0x08, 0xFF, 0xFF, 1, 0xFF, 1, 0xFF, 0xFF, *bytes(9)])
    set_parameter(bench, b"\x06\x01" + entry)
    set_parameter(bench, b"\x06\x02" + entry[:3] + b"\x10" + entry[4:])
    # One that does something else says how bad it is all the same; one that does not match says nothing.
    set_parameter(bench, b"\x06\x09" + entry[:1] + b"\x20\x01\x20" + entry[4:])
    set_parameter(bench, b"\x06\x0a" + entry[:3] + b"\x40" + entry[4:6] + b"\x02" + entry[7:])
    set_policy(bench, 1, 1)
    set_destination(bench, 1)
    happen(bench)
    assert [severity(datagram) for _, _, datagram in bench.network.traps] == [0x20]


def test_an_event_specific_string() -> None:
    bench = pef_bench()
    set_filter(bench, 0x01, number=3)
    set_parameter(bench, bytes([7, 1, 0]))
    set_policy(bench, 1, 1, string=0x80 | 9)
    set_destination(bench, 1)
    set_parameter(bench, b"\x0c\x04\x03\x09")
    set_parameter(bench, b"\x0d\x04\x01Filter three")
    happen(bench)
    assert b"Filter three" in bench.network.traps[0][2]


def test_an_acknowledged_alert_is_sent_until_acknowledged() -> None:
    bench = pef_bench()
    set_destination(bench, 1, kind=0x80, timeout=1, retries=3)
    assert bench.ask(S_E, 0x16, b"\x01\x01\x00") == b"\x00"
    assert bench.ask(S_E, 0x16, b"\x01\x41\x00") == b"\x00\xff"
    assert bench.ask(S_E, 0x16, b"\x01\x01\x00") == b"\x81"
    bench.clock.advance(2.5)
    assert destinations(bench) == [1, 1]
    assert bench.ask(S_E, 0x17, b"\x01\x00" + bytes(10), origin=Origin(1, Privilege.NONE)) == b"\x00"
    assert bench.ask(S_E, 0x16, b"\x01\x41\x00") == b"\x00\x01"
    bench.clock.advance(100)
    assert destinations(bench) == [1, 1]


def test_an_alert_that_nobody_acknowledges_fails() -> None:
    bench = pef_bench()
    set_destination(bench, 1, kind=0x80, timeout=0, retries=2)
    bench.ask(S_E, 0x16, b"\x01\x01\x00")
    bench.clock.advance(10)
    assert destinations(bench) == [1, 1, 1]
    assert bench.ask(S_E, 0x16, b"\x01\x41\x00") == b"\x00\x03"
    assert bench.ask(S_E, 0x16, b"\x01\x81\x00") == b"\x00"
    assert bench.ask(S_E, 0x16, b"\x01\x41\x00") == b"\x00\x00"


def test_an_alert_without_acknowledgement_is_repeated() -> None:
    bench = pef_bench()
    set_destination(bench, 1, timeout=0, retries=2)
    bench.ask(S_E, 0x16, b"\x01\x01\x00" + bytes.fromhex("20 04 01 30 01 59 ff ff"))
    assert bench.ask(S_E, 0x16, b"\x01\x41\x00") == b"\x00\x01"
    bench.clock.advance(10)
    assert destinations(bench) == [1, 1, 1]
    assert bytes.fromhex("0203010109") in bench.network.traps[0][2]


def test_an_alert_to_nowhere_fails() -> None:
    bench = pef_bench()
    bench.ask(S_E, 0x16, b"\x01\x03\x00")
    assert bench.ask(S_E, 0x16, b"\x01\x41\x00") == b"\x00\x02"


def test_last_processed_events() -> None:
    bench = Bench()
    bench.engine.answers[(NetFn.STORAGE, 0x40)] = bytes.fromhex("51 0100 ff00 78563412 00000000 02")
    bench.engine.answers[(NetFn.STORAGE, 0x43)] = bytes.fromhex("ffff 0700") + bytes(14)
    bench.ask(S_E, 0x14, b"\x01\x06\x00")
    assert bench.ask(S_E, 0x15).hex() == "00" + "78563412" + "0700" + "ffff" + "0600"
    bench.engine.answers[(NetFn.STORAGE, 0x43)] = Refused(0xCB)
    assert bench.ask(S_E, 0x15).hex() == "00" + "78563412" + "ffff" + "ffff" + "0600"


def test_pef_capabilities_and_parameters() -> None:
    bench = Bench()
    assert bench.ask(S_E, 0x10) == bytes([0, 0x51, 0x2F, 40])
    assert bench.ask(S_E, 0x13, b"\x80\x00\x00") == b"\x00\x11"
    assert bench.ask(S_E, 0x13, b"\x05\x00\x00") == b"\x00\x11\x28"
    assert bench.ask(S_E, 0x13, b"\x06\x00\x00") == b"\xc9"
    assert bench.ask(S_E, 0x13, b"\x07\x01\x00") == b"\x00\x11\x01\xc0"
    assert bench.ask(S_E, 0x13, b"\x0d\x00\x01") == b"\x00\x11\x00\x01" + bytes(16)
    assert bench.ask(S_E, 0x13, b"\x05\x07\x01") == b"\x00\x11\x28", "without selectors none counts"
    assert bench.ask(S_E, 0x13, b"\x07\x01\x05") == b"\x00\x11\x01\xc0"
    assert bench.ask(S_E, 0x13, b"\x0f\x00\x00") == b"\x80"
    assert bench.ask(S_E, 0x12, b"\x05\x01") == b"\x82"


@given(
    command=st.sampled_from([0, 1, 2, *range(0x10, 0x18)]),
    data=st.binary(max_size=40),
    event=st.binary(max_size=17),
)
def test_any_data_is_answered(command: int, data: bytes, event: bytes) -> None:
    bench = pef_bench()
    set_policy(bench, 1, 1)
    set_destination(bench, 1)
    assert bench.ask(S_E, command, data)
    happen(bench, event)
    happen(bench, event.ljust(16, b"\x02")[:16])


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=3, max_size=3), st.binary(max_size=64))
def test_any_event_makes_a_trap(sensor_type: int, event: int, data: bytes, text: bytes) -> None:
    sender = pet.Sender(bytes(16), "255.255.255.255", 2**20 - 1, 0xFFFF, b"x" * 18)
    happened = pet.PlatformEvent(0, sensor_type, 0, event, data)
    datagram = pet.trap(happened, sender, sequence=1, unix_s=0, utc_offset_min=None, up_s=1e9, text=text)
    assert datagram[0] == 0x30
    assert len(datagram) == 2 + (datagram[1] & 0x7F if datagram[1] & 0x80 else 0) + (
        int.from_bytes(datagram[2 : 2 + (datagram[1] & 0x7F)], "big") if datagram[1] & 0x80 else datagram[1]
    )
