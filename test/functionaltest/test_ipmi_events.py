"""Events, their log, sensors, SDRs and FRUs; filters and their alerts, as traps that a listener reads."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import NODE, Lab, free_address, wait_for

TRAP_PORT = 162
PATIENCE_S = 180
SENSOR = "Temp_Ambient_FP"
ENTERPRISE = (1, 3, 6, 1, 4, 1, 3183, 1, 1)


@pytest.fixture
def log(running: Lab) -> Lab:
    """The shared node with an empty log."""
    running.ipmi("sel", "clear")
    return running


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where traps may go."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind((free_address(TRAP_PORT), TRAP_PORT))
        found.settimeout(PATIENCE_S)
        yield found


def arrived(listener: socket.socket) -> list[bytes]:
    """The traps that are there already."""
    found = []
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(2000))
    listener.settimeout(PATIENCE_S)
    return found


def entries(home: Lab, *words: str) -> list[str]:
    """The lines of the log."""
    return [line for line in home.ipmi("sel", *(words or ("elist",))).splitlines() if "|" in line]


# --- the log


def test_events_are_logged_listed_and_described(log: Lab) -> None:
    for number in ("1", "2", "3"):
        log.ipmi("event", number)
    seen = entries(log)
    assert [line.split("|")[0].strip() for line in seen] == ["1", "2", "3"] or len(seen) == 3
    assert "Upper Critical going high" in seen[0]
    assert "Lower Critical going low" in seen[1]
    assert "Correctable ECC" in seen[2]
    assert entries(log, "list", "first", "1") == entries(log, "list")[:1]
    assert entries(log, "list", "last", "1") == entries(log, "list")[-1:]
    first = "0x" + seen[0].split("|")[0].strip()
    told = log.ipmi("sel", "get", first)
    assert re.search(r"Sensor Type +: Temperature\n", told)
    assert re.search(r"Generator ID +: 1081\n", told), "software behind a session, channel 1"
    info = log.ipmi("sel", "info")
    assert re.search(r"Entries +: 3\n", info)
    assert "Last Add Time    : Not Available" not in info


def test_a_record_can_be_deleted_by_whoever_has_the_reservation(log: Lab) -> None:
    log.ipmi("event", "1")
    log.ipmi("event", "2")
    first, second = (line.split("|")[0].strip() for line in entries(log))
    mine = log.raw(0x0A, 0x42)
    log.raw(0x0A, 0x42)
    number = int(first, 16)
    lost = log.ipmitool("raw", "0x0a", "0x46", *map(str, (*mine, number & 0xFF, number >> 8)))
    assert "rsp=0xc5" in lost.err, "another reservation was made since"
    held = log.raw(0x0A, 0x42)
    log.ipmi("event", "3")
    lost = log.ipmitool("raw", "0x0a", "0x46", *map(str, (*held, number & 0xFF, number >> 8)))
    assert "rsp=0xc5" in lost.err, "an entry was added since"
    third = entries(log)[-1].split("|")[0].strip()
    log.ipmi("sel", "delete", f"0x{first}", f"0x{third}")
    assert [line.split("|")[0].strip() for line in entries(log)] == [second]
    assert "Not Available" not in log.ipmi("sel", "info")
    assert log.ipmitool("sel", "get", f"0x{first}").out.find("Upper Critical") < 0


def test_clearing_needs_a_reservation_and_its_magic(log: Lab) -> None:
    log.ipmi("event", "1")
    low, high = log.raw(0x0A, 0x42)
    for data in ((low, high, *b"CLX", 0xAA), (low ^ 0xFF, high, *b"CLR", 0xAA), (0, 0, *b"CLR", 0xAA)):
        assert log.ipmitool("raw", "0x0a", "0x47", *map(str, data)).code != 0
    assert len(entries(log)) == 1
    assert log.raw(0x0A, 0x47, low, high, *b"CLR", 0xAA) in (b"\x01", b"\x00")
    ran = log.ipmitool("sel", "list")
    assert "SEL has no entries" in ran.out + ran.err


def test_records_can_be_added_saved_and_read_in_parts(log: Lab, tmp_path: Path) -> None:
    record = bytes([0, 0, 2, 1, 2, 3, 4, 0x20, 0, 4, 1, 0x30, 1, 0x59, 7, 8])
    number = log.raw(0x0A, 0x44, *record)
    whole = log.raw(0x0A, 0x43, 0, 0, *number, 0, 0xFF)[2:]
    assert whole[:2] == number
    assert whole[7:] == record[7:]
    reservation = log.raw(0x0A, 0x42)
    parts = b"".join(log.raw(0x0A, 0x43, *reservation, *number, at, 4)[2:] for at in range(0, 16, 4))
    assert parts == whole
    saved, raw = tmp_path / "saved", tmp_path / "raw"
    log.ipmi("sel", "save", str(saved))
    log.ipmi("sel", "writeraw", str(raw))
    assert raw.read_bytes() == whole
    assert "Upper Critical" in log.ipmi("sel", "readraw", str(raw))
    log.ipmi("sel", "add", str(saved))
    log.ipmi("event", "file", str(saved))
    assert len(entries(log)) == 3


def test_the_clock_is_set_and_kept(log: Lab) -> None:
    assert log.ipmi("sel", "time", "set", "01/02/30 03:04:05").startswith("01/02/30 03:04:")
    assert log.ipmi("sel", "time", "get").startswith("01/02/30 03:0")
    log.ipmi("event", "1")
    assert " 01/02/30 " in entries(log)[0]
    log.raw(0x0A, 0x5D, 0x3C, 0)
    assert log.raw(0x0A, 0x5C) == b"\x3c\0"
    # A new ipmi_sim begins at zero.
    wait_for(lambda: log.kept()["clock"]["utc_offset_min"] == 60, what="the clock on disk")
    log.must("node", "restart", NODE)
    assert log.ipmi("sel", "time", "get").startswith("01/02/30 03:"), "the difference to this machine stays"
    assert log.raw(0x0A, 0x5C) == b"\x3c\0"
    log.raw(0x0A, 0x5D, 0xFF, 0x07)
    log.ipmi("sel", "time", "set", "now")
    assert "/30 " not in log.ipmi("sel", "time", "get")


def test_events_of_a_sensor_by_its_name(log: Lab) -> None:
    log.ipmi("event", SENSOR, "unc", "assert")
    log.ipmi("event", SENSOR, "unc", "deassert")
    seen = entries(log)
    assert "Temperature #0xee | Upper Non-critical" in seen[0], "a sensor of this software, not of the BMC"
    assert "Asserted" in seen[0]
    assert "Deasserted" in seen[1]


def test_the_event_receiver_can_be_moved_and_switched_off(log: Lab) -> None:
    assert log.raw(4, 1) == b"\x20\0"
    log.raw(4, 0, 0xFF, 0)
    try:
        assert log.raw(4, 1) == b"\xff\0"
        wait_for(lambda: log.kept()["pef"]["event_receiver"] == 0xFF, what="the receiver on disk")
        assert log.ipmitool("raw", "4", "0", "0x21", "0").code != 0, "no such address"
    finally:
        log.raw(4, 0, 0x20, 0)


# --- sensors, SDRs, FRUs


def test_a_threshold_that_is_crossed_makes_an_event_and_shows_in_the_status(log: Lab) -> None:
    log.ipmi("sensor", "thresh", SENSOR, "unc", "20")
    try:
        wait_for(lambda: entries(log), what="the event")
        assert f"Temperature {SENSOR} | Upper Non-critical going high | Asserted" in entries(log)[0]
        assert "Reading 25 > Threshold 20 degrees C" in entries(log)[0]
        assert re.search(r"Status +: Upper Non-Critical\n", log.ipmi("sensor", "get", SENSOR))
        assert log.raw(4, 0x27, 0xEE)[4] == 20
    finally:
        log.ipmi("sensor", "thresh", SENSOR, "unc", "41")
    wait_for(lambda: "Deasserted" in entries(log)[-1], what="the end of it")
    assert re.search(r"Status +: ok\n", log.ipmi("sensor", "get", SENSOR))


def test_events_of_a_sensor_can_be_switched_off(log: Lab) -> None:
    before = log.raw(4, 0x29, 0xEE)
    # Scanning, no event messages.
    log.raw(4, 0x28, 0xEE, 0x40)
    try:
        assert log.raw(4, 0x29, 0xEE)[0] & 0xC0 == 0x40
        log.ipmi("sensor", "thresh", SENSOR, "unc", "20")
        assert re.search(r"Status +: Upper Non-Critical\n", log.ipmi("sensor", "get", SENSOR))
        ran = log.ipmitool("sel", "list")
        assert "SEL has no entries" in ran.out + ran.err
    finally:
        log.ipmi("sensor", "thresh", SENSOR, "unc", "41")
        log.raw(4, 0x28, 0xEE, 0xC0)
    assert log.raw(4, 0x29, 0xEE)[0] & 0xC0 == before[0] & 0xC0


def test_sensors_by_every_command(running: Lab) -> None:
    assert re.search(
        rf"^{SENSOR} +\| 25\.000 +\| degrees C +\| ok ", running.ipmi("sensor", "list"), re.MULTILINE
    )
    assert re.search(rf"{SENSOR} +\| 25", running.ipmi("sensor", "reading", SENSOR))
    assert re.search(r"Upper Critical +: 43\.000\n", running.ipmi("sensor", "get", SENSOR))
    before = running.raw(4, 0x27, 0xEE)
    running.ipmi("sensor", "thresh", SENSOR, "unc", "40")
    running.ipmi("sensor", "thresh", SENSOR, "ucr", "42")
    assert list(running.raw(4, 0x27, 0xEE)[4:6]) == [40, 42]
    assert running.ipmitool("sensor", "thresh", SENSOR, "unr", "44").code != 0, "it has none"
    running.ipmi("sensor", "thresh", SENSOR, "ucr", "43")
    running.ipmi("sensor", "thresh", SENSOR, "unc", "41")
    assert running.raw(4, 0x27, 0xEE) == before
    assert "rsp=0xcb" in running.ipmitool("raw", "4", "0x2d", "0xfe").err


def test_what_a_sensor_does_not_have_is_illegal_for_it_and_no_memory_leaks(running: Lab) -> None:
    assert "rsp=0xcd" in running.ipmitool("raw", "4", "0x25", "0xee", "0xff").err, "it has no hysteresis"
    assert "rsp=0xcd" in running.ipmitool("raw", "4", "0x24", "0xee", "0", "1", "1").err
    assert "rsp=0xcd" in running.ipmitool("raw", "4", "0x27", "0xeb").err, (
        "a discrete sensor has no thresholds"
    )
    assert "rsp=0xcb" in running.ipmitool("raw", "4", "0x24", "0xfe", "0", "1", "1").err
    assert "rsp=0x80" in running.ipmitool("raw", "4", "0x30", "0xee", "1", "30").err, "no reading can be set"
    # A refusal first: ipmi_sim answers nothing of its own to this order.
    assert "rsp=0xc9" in running.ipmitool("raw", "0x0a", "0x11", "0", "0xff", "0xff", "1").err
    assert running.raw(4, 0x28, 0xEE, 0xC0) == b""
    assert running.raw(4, 0x2A, 0xEE, 0) == b""


def test_the_event_status_of_a_sensor(running: Lab) -> None:
    assert running.raw(4, 0x2B, 0xEE) == b"\xc0\0\0\0\0"
    running.ipmi("sensor", "thresh", SENSOR, "unc", "20")
    try:
        assert running.raw(4, 0x2B, 0xEE) == b"\xc0\x80\0\0\0", "upper non-critical, going high"
    finally:
        running.ipmi("sensor", "thresh", SENSOR, "unc", "41")
    # Presence detected.
    assert running.raw(4, 0x2B, 0xA8)[1] == running.raw(4, 0x2D, 0xA8)[2]


def test_a_sensors_reading_factors_are_those_of_its_record(running: Lab) -> None:
    told = running.raw(4, 0x23, 0xEE, 25)
    assert told[0] == 26
    assert told[1] == 1, "degrees"
    assert "rsp=0xcd" in running.ipmitool("raw", "4", "0x23", "0xeb", "0").err


def test_three_thresholds_at_once(running: Lab) -> None:
    before = running.raw(4, 0x27, 0xEE)
    running.ipmitool("sensor", "thresh", SENSOR, "upper", "38", "39", "40")
    running.ipmitool("sensor", "thresh", SENSOR, "lower", "1", "2", "3")
    try:
        # Of each three, those that this sensor has: lower critical, upper non-critical and critical.
        assert running.raw(4, 0x27, 0xEE) == bytes([0x1A, 0, 2, 0, 38, 39, 0])
    finally:
        running.raw(4, 0x26, 0xEE, 0x1A, *before[1:7])
    assert running.raw(4, 0x27, 0xEE) == before


def test_sdrs_by_every_command(running: Lab, tmp_path: Path) -> None:
    everything = running.ipmi("sdr", "list", "all").splitlines()
    kinds = {
        kind: running.ipmi("sdr", "list", kind).splitlines()
        for kind in ("full", "compact", "event", "mcloc", "fru")
    }
    assert all(kinds.values())
    assert sum(map(len, kinds.values())) == len(everything)
    count = re.search(r"Record Count +: (\d+)\n", running.ipmi("sdr", "info"))
    assert count and int(count.group(1)) >= len(everything), "ipmitool has no line for some kinds"
    dumped = tmp_path / "sdr"
    running.ipmi("sdr", "dump", str(dumped))
    assert running.ipmi("-S", str(dumped), "sdr", "list", "all").splitlines() == everything
    assert SENSOR in running.ipmi("sdr", "type", "Temperature")
    assert SENSOR in running.ipmi("sdr", "entity", "64.1")
    assert f"Sensor ID              : {SENSOR}" in running.ipmi("sdr", "get", SENSOR)
    assert "Temperature" in running.ipmi("sdr", "type", "list")


def test_an_sdr_is_read_in_parts_under_a_reservation(running: Lab) -> None:
    reservation = running.raw(0x0A, 0x22)
    head = running.raw(0x0A, 0x23, *reservation, 0, 0, 0, 5)[2:]
    size = 5 + head[4]
    parts = b"".join(
        running.raw(0x0A, 0x23, *reservation, 0, 0, at, min(10, size - at))[2:] for at in range(0, size, 10)
    )
    assert parts[:5] == head
    assert len(parts) == size
    stale = running.ipmitool(
        "raw", "0x0a", "0x23", str(reservation[0] ^ 0xFF), str(reservation[1]), "0", "0", "5", "5"
    )
    assert "rsp=0xc5" in stale.err
    too_much = running.ipmitool("raw", "0x0a", "0x23", "0", "0", "2", "0", "0", "60")
    assert "rsp=0xca" in too_much.err
    beyond = running.raw(0x0A, 0x23, *reservation, 0, 0, size - 1, 10)[2:]
    assert beyond == parts[-1:], "what is behind a record is nobody's"
    for held, code in ((reservation, "0xc9"), (b"\0\0", "0xc5")):
        told = running.ipmitool("raw", "0x0a", "0x23", *map(str, held), "0", "0", str(size), "1")
        assert f"rsp={code}" in told.err
    assert "rsp=0xc5" in running.ipmitool("raw", "0x0a", "0x26", "0", "0", "1", "0").err


def test_the_sdr_repository_is_cleared_and_filled_again(scratch: Lab, tmp_path: Path) -> None:
    """``sdr fill`` clears the repository and adds what a dump holds."""
    scratch.start()
    everything = scratch.ipmi("sdr", "list", "all")
    dumped = tmp_path / "sdr"
    scratch.ipmi("sdr", "dump", str(dumped))
    scratch.raw(0x0A, 0x26, *scratch.raw(0x0A, 0x22), 5, 0)
    assert "rsp=0xcb" in scratch.ipmitool("raw", "0x0a", "0x23", "0", "0", "5", "0", "0", "5").err
    scratch.raw(0x0A, 0x27, *scratch.raw(0x0A, 0x22), *b"CLR", 0xAA)
    assert re.search(r"Record Count +: 0\n", scratch.ipmi("sdr", "info"))
    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE)
    assert re.search(r"Record Count +: 0\n", scratch.ipmi("sdr", "info")), "it is kept"

    # No controller here has records of its own to fill it with, and whom to ask is answered at once.
    patience_s = 60
    for what in ("nosat", "sensors", "range 0x20,0x2c"):
        began = time.monotonic()
        scratch.ipmi("sdr", "fill", *what.split(), options=("-I", "lanplus", "-N", str(patience_s)))
        assert time.monotonic() - began < patience_s, what
        assert re.search(r"Record Count +: 0\n", scratch.ipmi("sdr", "info"))
    scratch.ipmi("sdr", "fill", "file", str(dumped))
    assert scratch.ipmi("sdr", "list", "all") == everything
    assert scratch.count("died") == 0, "ipmi_sim ends when its own repository is asked how far an erasure is"


def test_a_fru_is_read_edited_and_written(running: Lab, tmp_path: Path) -> None:
    before = re.search(r"Board Part Number +: (\S+)\n", running.ipmi("fru", "print", "0"))
    assert before
    saved = tmp_path / "fru"
    running.ipmi("fru", "read", "0", str(saved))
    whole = saved.read_bytes()
    assert running.raw(0x0A, 0x11, 0, 0, 0, 8) == b"\x08" + whole[:8]
    changed = before.group(1)[::-1]
    running.ipmitool("fru", "edit", "0", "field", "b", "3", changed)
    assert re.search(rf"Board Part Number +: {changed}\n", running.ipmi("fru", "print", "0"))
    wait_for(lambda: running.kept()["frus"], what="what was written, on disk")
    running.kill("ipmi_sim")
    wait_for(
        lambda: changed in running.ipmitool("fru", "print", "0").out,
        what="what was written, in a new ipmi_sim",
    )
    assert "rsp=0xcb" in running.ipmitool("raw", "0x0a", "0x10", "0xfd").err
    running.ipmi("fru", "write", "0", str(saved))
    assert re.search(rf"Board Part Number +: {before.group(1)}\n", running.ipmi("fru", "print", "0"))
    again = tmp_path / "again"
    running.ipmi("fru", "read", "0", str(again))
    assert again.read_bytes() == whole
    too_much = running.ipmitool("raw", "0x0a", "0x11", "0", "0", "0", "240")
    assert "rsp=0xca" in too_much.err
    assert running.ipmitool("fru", "print", "99").out.find("Serial") < 0


# --- filters and alerts


def ber(data: bytes) -> list[tuple[int, bytes]]:
    """The tagged values of a BER encoding, with definite lengths. Source: X.690 section 8.1."""
    found = []
    while data:
        tag, size, start = data[0], data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        assert len(data) >= start + size
        found.append((tag, data[start : start + size]))
        data = data[start + size :]
    return found


def oid(content: bytes) -> tuple[int, ...]:
    """An object identifier."""
    parts, value = [content[0] // 40, content[0] % 40], 0
    for octet in content[1:]:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            parts.append(value)
            value = 0
    return tuple(parts)


def trap(datagram: bytes) -> tuple[bytes, int, bytes]:
    """Community, specific trap and variable of a platform event trap."""
    [(tag, message)] = ber(datagram)
    assert tag == 0x30
    (_, version), (_, community), (kind, pdu) = ber(message)
    assert (version, kind) == (b"\0", 0xA4)
    fields = ber(pdu)
    assert oid(fields[0][1]) == ENTERPRISE
    assert fields[2] == (0x02, b"\6")
    [(_, binding)] = ber(fields[5][1])
    (_, name), (_, value) = ber(binding)
    assert oid(name) == (*ENTERPRISE, 1)
    return community, int.from_bytes(fields[3][1], "big"), value


@pytest.fixture
def alerted(log: Lab, listener: socket.socket) -> Iterator[Lab]:
    """Policy 1 sends a trap to the listener through destination 1."""
    log.ipmi("lan", "alert", "set", "1", "1", "ipaddr", listener.getsockname()[0])
    # Alert policy entry 1: policy 1, enabled, always; channel 1, destination 1; no string.
    log.raw(4, 0x12, 9, 1, 0x18, 0x11, 0)
    yield log
    log.raw(4, 0x12, 9, 1, 0, 0x10, 0)
    log.ipmi("lan", "alert", "set", "1", "1", "type", "pet")
    log.ipmi("lan", "alert", "set", "1", "1", "ipaddr", "0.0.0.0")


def test_an_event_that_a_filter_wants_becomes_a_trap(alerted: Lab, listener: socket.socket) -> None:
    alerted.ipmi("lan", "set", "1", "snmp", "watchers")
    alerted.ipmi("event", "1")
    datagram, sender = listener.recvfrom(2000)
    alerted.ipmi("lan", "set", "1", "snmp", "public")
    assert sender[0] == alerted.address
    community, specific, value = trap(datagram)
    assert community == b"watchers"
    assert specific == 0x01 << 16 | 0x01 << 8 | 0x09, "temperature, threshold, upper critical going high"
    guid = alerted.raw(6, 8)[::-1]
    assert value[:16] == guid
    assert value[24:28] == b"\x20\x20\x10\x81", "sources, critical, from software behind a session"
    assert value[28] == 0x30, "the sensor"
    assert value[31] & 0x0F == 9, "the event's data"
    assert int.from_bytes(value[40:44], "big") == 7244
    told = alerted.ipmi("pef", "status")
    assert re.search(r"PEF \| .*Alert", told)
    policies = alerted.ipmi("pef", "policy", "list").splitlines()[0]
    assert listener.getsockname()[0] in policies


def test_only_what_a_filter_wants_is_sent(alerted: Lab, listener: socket.socket) -> None:
    alerted.ipmi("pef", "filter", "disable", "1")
    try:
        assert re.search(r"^ 1 \| disabled", alerted.ipmi("pef", "filter", "list"), re.MULTILINE)
        alerted.ipmi("event", "1")
        alerted.ipmi("event", "2")
        _, specific, _ = trap(listener.recv(2000))
        assert specific >> 16 == 2, "the voltage, and no temperature before it"
    finally:
        alerted.ipmi("pef", "filter", "enable", "1")
    alerted.ipmi("pef", "policy", "disable", "1")
    alerted.ipmi("event", "1")
    alerted.ipmi("pef", "policy", "enable", "1")
    alerted.ipmi("event", "2")
    assert trap(listener.recv(2000))[1] >> 16 == 2
    # The channel's access: volatile, PEF alerting off, always available.
    alerted.raw(6, 0x40, 1, 0xA2, 0)
    alerted.ipmi("event", "1")
    alerted.raw(6, 0x40, 1, 0x82, 0)
    alerted.ipmi("event", "2")
    assert trap(listener.recv(2000))[1] >> 16 == 2, "no temperature before it"


def test_a_crossed_threshold_becomes_a_trap_that_freeipmi_reads(
    alerted: Lab, listener: socket.socket
) -> None:
    from lab import execute

    alerted.ipmi("sensor", "thresh", SENSOR, "unc", "20")
    try:
        _, specific, value = trap(listener.recv(2000))
    finally:
        alerted.ipmi("sensor", "thresh", SENSOR, "unc", "41")
    assert specific == 0x010107
    numbers = [f"{octet:02x}" for octet in value]
    login = ("-h", alerted.address, "-u", "admin", "-p", "admin", "--sdr-cache-recreate")
    ran = execute("ipmi-pet", *login, f"{specific:#x}", *numbers)
    assert ran.code == 0, ran.err
    assert SENSOR in ran.out
    assert "Upper Non-critical - going high" in ran.out


def test_an_event_that_the_full_log_does_not_take_is_alerted_all_the_same(
    alerted: Lab, listener: socket.socket, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    # Each adds a record of an OEM's, which no filter wants.
    script.write_text("raw 0x0a 0x44 0 0 0xe0 0 0 0 0 0 0 0 0 0 0 0 0 0\n" * 1001)
    refused = alerted.ipmitool("exec", str(script))
    assert "rsp=0xc4" in refused.err, "out of space"
    alerted.ipmi("event", "1")
    assert trap(listener.recv(2000))[1] >> 16 == 1
    assert re.search(r"Overflow +: true\n", alerted.ipmi("sel", "info"))
    assert alerted.raw(4, 0x15)[8:10] == b"\0\0", "processed, and in no log"
    alerted.ipmi("sel", "clear")


def test_an_alert_is_repeated_until_it_is_acknowledged(alerted: Lab, listener: socket.socket) -> None:
    # Acknowledged PET, one second, seven retries.
    alerted.raw(0x0C, 1, 1, 18, 1, 0x80, 0, 7)
    alerted.ipmi("event", "1")

    def acknowledge(value: bytes) -> None:
        sequence = int.from_bytes(value[16:18], "big").to_bytes(2, "little")
        assert alerted.raw(4, 0x17, *sequence, *bytes(10)) == b""
        # Copies that were sent before that arrived.
        assert {trap(each)[2][16:18] for each in arrived(listener)} <= {value[16:18]}

    first = trap(listener.recv(2000))[2]
    assert trap(listener.recv(2000))[2][16:18] == first[16:18], "the same once more"
    acknowledge(first)
    alerted.ipmi("event", "2")
    _, specific, second = trap(listener.recv(2000))
    assert specific >> 16 == 2, "the acknowledged one is not sent again"
    acknowledge(second)
    alerted.raw(0x0C, 1, 1, 18, 1, 0, 0, 0)


def test_a_filter_can_act_on_the_hosts_power(log: Lab) -> None:
    log.ipmi("power", "on")
    # Filter 9: enabled; reset; no policy; any generator, sensor 44h, type and trigger; any offset.
    log.raw(4, 0x12, 6, 9, 0x80, 0x04, 0, 0x10, 0xFF, 0xFF, 0x01, 0x44, 0xFF, 0xFF, 0xFF, *bytes(9))
    try:
        resets = log.count("power-reset")
        log.raw(4, 2, 4, 1, 0x45, 1, 9, 0xFF, 0xFF)
        log.raw(4, 2, 4, 1, 0x44, 1, 9, 0xFF, 0xFF)
        wait_for(lambda: log.count("power-reset") == resets + 1, what="the reset")
        assert "PEF" in log.ipmi("chassis", "restart_cause")
    finally:
        log.raw(4, 0x12, 6, 9, *bytes(20))


def test_an_alert_at_once(alerted: Lab, listener: socket.socket) -> None:
    """Alert Immediate, with an event of its own, and what became of it."""
    alerted.raw(4, 0x16, 1, 1, 0, 0x20, 4, 0x0C, 0x55, 0x6F, 1, 2, 3)
    _, specific, value = trap(listener.recv(2000))
    assert specific == 0x0C6F01
    assert value[28] == 0x55
    wait_for(lambda: alerted.raw(4, 0x16, 1, 0x40, 0)[0] != 0xFF, what="the status")


def test_pef_tells_and_keeps_its_settings(running: Lab) -> None:
    assert running.raw(4, 0x10)[2] == 40
    assert "Alert,Power-off,Reset,Power-cycle,Diagnostic-interrupt" in running.ipmi("pef", "info")
    running.raw(4, 0x12, 3, 5)
    assert running.raw(4, 0x13, 3, 0, 0)[1] == 5
    wait_for(lambda: running.kept()["pef"]["parameters"], what="the settings on disk")
    running.raw(4, 0x12, 3, 60)
    assert running.raw(4, 0x11, 0xFE) == b"\xfe", "postponed for ever"
    assert running.raw(4, 0x11, 0xFF) == b"\xfe"
    running.ipmi("power", "on")
    running.ipmi("power", "reset")
    wait_for(lambda: running.raw(4, 0x11, 0xFF) == b"\0", what="the end of that with the host's reset")
    assert running.raw(4, 0x13, 5, 7, 9) == b"\x11\x28", "a block of a parameter that has none"
    running.raw(4, 0x14, 0, 0x34, 0x12)
    assert running.raw(4, 0x15)[6:8] == b"\x34\x12"
    assert running.ipmitool("raw", "4", "0x13", "99", "0", "0").code != 0
