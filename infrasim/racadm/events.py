"""``getsel`` and ``clrsel``: the event log of the BMC.

Source: IPMI 2.0 sections 31 and 32, and tables 42-2 and 42-3 for what states mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infrasim.frozen import Frozen
from infrasim.personality import names, sdr
from infrasim.personality.layout import DataError
from infrasim.racadm.controller import moment
from infrasim.racadm.ports import Bmc

_STORAGE = 0x0A
BMC_ADDRESS = 0x20
# A generator that is software speaks of the BMC's own sensors, as `ipmitool event` does. Source: table 32-1.
_BY_SOFTWARE = 0x01
_LAST = 0xFFFF
_WHOLE = 0xFF
# A full log of any BMC has less; one that goes round in circles ends there.
_RECORDS_MOST = 0x10000
_SYSTEM_EVENT = 0x02
_TIMED_OEM = range(0xC0, 0xE0)
# Before that it is seconds since the BMC began. Source: section 37.1.
_SINCE_BOOT = 0x20000000
_THRESHOLD, _SENSOR_SPECIFIC = 0x01, 0x6F
_DEASSERTED = 0x80
_ERASE = b"CLR\xaa"

_RULE = "-" * 79
_CLEARED = "Log cleared"
_INSTANCE = 0x1F
# Entities by IPMI's names. Source: public transcripts of iDRAC 7 to 9.
_ENTITIES = {"processor": "CPU{number}", "power_supply": "PS{number}", "system_board": "System Board"}

# Severity and how far, of threshold events in pairs: going low, going high. Source: table 42-2.
_LIMITS = (
    ("Non-Critical", "lower non-critical"),
    ("Critical", "lower critical"),
    ("Critical", "lower non-recoverable"),
    ("Non-Critical", "upper non-critical"),
    ("Critical", "upper critical"),
    ("Critical", "upper non-recoverable"),
)

# What the states of generic kinds mean. Source: table 42-2.
_GENERIC: Mapping[str, tuple[str, ...]] = {
    "usage": ("Idle", "Active", "Busy"),
    "state": ("State deasserted", "State asserted"),
    "predictive_failure": ("Predictive failure deasserted", "Predictive failure asserted"),
    "limit": ("Limit not exceeded", "Limit exceeded"),
    "performance": ("Performance met", "Performance lags"),
    "severity": (
        "Ok",
        "Non-critical from ok",
        "Critical from less severe",
        "Non-recoverable from less severe",
        "Non-critical from more severe",
        "Critical from non-recoverable",
        "Non-recoverable",
        "Monitor",
        "Informational",
    ),
    "presence": ("Absent", "Present"),
    "enabled": ("Disabled", "Enabled"),
    "availability": (
        "Running",
        "In test",
        "Power off",
        "Online",
        "Offline",
        "Off duty",
        "Degraded",
        "Power save",
        "Install error",
    ),
    "redundancy": (
        "Fully redundant",
        "Redundancy lost",
        "Redundancy degraded",
        "Non-redundant: sufficient from redundant",
        "Non-redundant: sufficient from insufficient",
        "Non-redundant: insufficient resources",
        "Redundancy degraded from full",
        "Redundancy degraded from non-redundant",
    ),
    "acpi_device_power_state": ("D0", "D1", "D2", "D3"),
}

# What the states of kinds of sensors mean. Source: table 42-3.
_SPECIFIC: Mapping[str, tuple[str, ...]] = {
    "physical_security": ("Chassis intrusion", "Drive bay intrusion", "I/O card area intrusion"),
    "processor": (
        "Internal error",
        "Thermal trip",
        "Self test failed",
        "Hang in self test",
        "Startup failed",
        "Configuration error",
        "Uncorrectable complex error",
        "Presence detected",
        "Disabled",
        "Terminator present",
        "Throttled",
        "Uncorrectable machine check",
        "Correctable machine check",
    ),
    "power_supply": (
        "Presence detected",
        "Failure detected",
        "Predictive failure",
        "Input lost",
        "Input lost or out of range",
        "Input out of range",
        "Configuration error",
        "Standby",
    ),
    "power_unit": (
        "Power off",
        "Power cycle",
        "240 VA power down",
        "Interlock power down",
        "AC lost",
        "Soft power control failed",
        "Failure detected",
        "Predictive failure",
    ),
    "memory": (
        "Correctable error",
        "Uncorrectable error",
        "Parity error",
        "Scrub failed",
        "Device disabled",
        "Correctable error logging limit reached",
        "Presence detected",
        "Configuration error",
        "Spare",
        "Throttled",
        "Critical overtemperature",
    ),
    "drive_slot": (
        "Drive present",
        "Drive fault",
        "Predictive failure",
        "Hot spare",
        "Consistency check",
        "In critical array",
        "In failed array",
        "Rebuild in progress",
        "Rebuild aborted",
    ),
    "event_logging_disabled": (
        "Correctable memory error logging disabled",
        "Event type logging disabled",
        _CLEARED,
        "All event logging disabled",
        "Log full",
        "Log almost full",
    ),
    "system_event": (
        "System reconfigured",
        "OEM boot event",
        "Undetermined hardware failure",
        "Entry added to auxiliary log",
        "Event filter action",
        "Clock synchronized",
    ),
    "critical_interrupt": (
        "Front panel interrupt",
        "Bus timeout",
        "I/O channel check",
        "Software interrupt",
        "PCI parity error",
        "PCI system error",
        "EISA fail safe timeout",
        "Bus correctable error",
        "Bus uncorrectable error",
        "Fatal interrupt",
        "Bus fatal error",
        "Bus degraded",
    ),
    "button": ("Power button pressed", "Sleep button pressed", "Reset button pressed"),
    "system_boot": ("Power up", "Hard reset", "Warm reset", "User requested PXE boot"),
    "boot_error": ("No bootable media", "Non-bootable disk", "PXE server not found", "Invalid boot sector"),
    "os_boot": ("A: boot completed", "C: boot completed", "PXE boot completed", "Diagnostic boot completed"),
    "os_stop": (
        "Critical stop while loading",
        "Run-time critical stop",
        "Graceful stop",
        "Graceful shutdown",
    ),
    "system_acpi_power_state": (
        "S0/G0: working",
        "S1",
        "S2",
        "S3",
        "S4",
        "S5/G2: soft off",
        "S4/S5 soft off",
    ),
    "watchdog_2": ("Timer expired", "Hard reset", "Power down", "Power cycle"),
    "entity_presence": ("Present", "Absent", "Disabled"),
    "management_subsystem_health": (
        "Sensor access degraded",
        "Controller access degraded",
        "Controller off line",
    ),
    "battery": ("Battery low", "Battery failed", "Battery presence detected"),
}
# States that are no good, by kind; all others say that something is as it is.
_CRITICAL: Mapping[str, frozenset[int]] = {
    "processor": frozenset({0, 1, 2, 3, 4, 6, 11}),
    "power_supply": frozenset({1, 3}),
    "power_unit": frozenset({5, 6}),
    "memory": frozenset({1, 2, 10}),
    "drive_slot": frozenset({1, 6}),
    "physical_security": frozenset({0, 1, 2}),
    "critical_interrupt": frozenset({1, 2, 4, 5, 8, 9, 10}),
    "os_stop": frozenset({0, 1}),
    "battery": frozenset({1}),
    "redundancy": frozenset({1, 5}),
    "severity": frozenset({2, 3, 5, 6}),
}
_WARNING: Mapping[str, frozenset[int]] = {
    "processor": frozenset({5, 10, 12}),
    "power_supply": frozenset({2, 4, 5, 6}),
    "power_unit": frozenset({4, 7}),
    "memory": frozenset({0, 3, 5, 7}),
    "drive_slot": frozenset({2, 5, 8}),
    "battery": frozenset({0}),
    "redundancy": frozenset({2, 3, 6, 7}),
    "severity": frozenset({1, 4}),
    "event_logging_disabled": frozenset({3, 4, 5}),
    "predictive_failure": frozenset({1}),
    "limit": frozenset({1}),
    "watchdog_2": frozenset({0, 1, 2, 3}),
}


class Event(Frozen):
    """An entry of the log in words; ``when`` is as racadm writes it."""

    record_id: int
    when: str
    severity: str
    description: str

    @property
    def text(self) -> str:
        """The entry as ``getsel`` shows it."""
        pairs = (
            ("Record", self.record_id),
            ("Date/Time", self.when),
            ("Source", "system"),
            ("Severity", self.severity),
            ("Description", self.description),
        )
        return "\n".join(f"{key + ':':<12} {value}" for key, value in pairs)

    @property
    def line(self) -> str:
        """The entry on one line, as with ``-o``."""
        return f"{self.record_id} {self.when} {self.severity} {self.description}"


def state_text(group: str, state: int) -> str:
    """What a state means; ``group`` is the kind of event, or of the sensor if the states are its own."""
    words = _GENERIC.get(group) or _SPECIFIC.get(group, ())
    return words[state] if state < len(words) else f"State {state}"


def count(bmc: Bmc) -> int:
    """How many entries there are."""
    return int.from_bytes(bmc.ask(_STORAGE, 0x40)[1:3], "little")


def raw_entries(bmc: Bmc) -> Iterator[bytes]:
    """Every entry of 16 bytes, the oldest first."""
    if not count(bmc):
        return
    following, seen = 0, 0
    while following != _LAST and seen < _RECORDS_MOST:
        answer = bmc.ask(_STORAGE, 0x43, b"\0\0" + following.to_bytes(2, "little") + bytes([0, _WHOLE]))
        following, seen = int.from_bytes(answer[:2], "little"), seen + 1
        yield answer[2:18]


def entries(bmc: Bmc) -> tuple[Event, ...]:
    """Every entry in words."""
    found = list(raw_entries(bmc))
    named = sensor_names(bmc) if found else {}
    return tuple(event(data, number, named) for number, data in enumerate(found, 1))


def log_text(found: tuple[Event, ...]) -> str:
    """Entries as ``getsel`` shows them."""
    return "\n".join(f"{each.text}\n{_RULE}" for each in found)


def clear(bmc: Bmc) -> None:
    """Erase the log.

    Raises:
        BmcRefusal: the user may not, or the BMC does not answer.
    """
    reservation = bmc.order(_STORAGE, 0x42)[:2]
    bmc.order(_STORAGE, 0x47, reservation + _ERASE)


def sensor_names(bmc: Bmc) -> dict[tuple[int, int], str]:
    """The names of sensors by owner and number."""
    found: dict[tuple[int, int], str] = {}
    for data in bmc.records():
        try:
            record = sdr.decode_record(data)
        except DataError:
            continue
        if isinstance(record, sdr.Sensor):
            found[record.owner, record.number] = full_name(record)
        elif isinstance(record, sdr.EventOnly):
            for offset in range(max(record.share_count, 1)):
                found.setdefault((record.owner, record.number + offset), full_name(record))
    return found


def full_name(record: sdr.Owned) -> str:
    """A sensor with what it is in, as racadm calls it: a server has several called Temp."""
    label = _ENTITIES.get(str(record.entity), "")
    number = record.instance & _INSTANCE
    return f"{label.format(number=number)} {record.name}".strip()


def event(data: bytes, number: int, named: Mapping[tuple[int, int], str]) -> Event:
    """One entry in words, ``number`` in its place; ``named`` are the sensors' names."""
    kind = data[2]
    if kind == _SYSTEM_EVENT:
        severity, what = _words(data)
        if what == _CLEARED:
            return Event(number, _when(data), severity, f"{what}.")
        kind_name = names.SENSOR_TYPES.get(data[10], "sensor").replace("_", " ").capitalize()
        owner = BMC_ADDRESS if data[7] & _BY_SOFTWARE else data[7]
        name = named.get((owner, data[11]), f"{kind_name} {data[11]:02X}h")
        return Event(number, _when(data), severity, f"{name}: {what}.")
    body = data[7:] if kind in _TIMED_OEM else data[3:]
    when = _when(data) if kind in _TIMED_OEM else "N/A"
    return Event(number, when, "Ok", f"OEM event data record {kind:02X}h: {body.hex(' ').upper()}.")


def _when(data: bytes) -> str:
    seconds = int.from_bytes(data[3:7], "little")
    return "System Boot" if seconds < _SINCE_BOOT else moment(seconds).strftime("%m/%d/%Y %H:%M:%S")


def _words(data: bytes) -> tuple[str, str]:
    """Severity and meaning of a system event."""
    event_type, is_over, state = data[12] & 0x7F, bool(data[12] & _DEASSERTED), data[13] & 0x0F
    if event_type == _THRESHOLD and state < 2 * len(_LIMITS):
        severity, limit = _LIMITS[state // 2]
        if is_over:
            return "Ok", f"Back from the {limit} threshold"
        return severity, f"Went {'high' if state % 2 else 'low'} across the {limit} threshold"
    group = names.EVENT_TYPES.get(event_type, f"event type {event_type:02X}h")
    if event_type == _SENSOR_SPECIFIC:
        group = names.SENSOR_TYPES.get(data[10], f"sensor type {data[10]:02X}h")
    what = state_text(group, state)
    if is_over:
        return "Ok", f"{what} deasserted"
    if state in _CRITICAL.get(group, ()):
        return "Critical", what
    return "Non-Critical" if state in _WARNING.get(group, ()) else "Ok", what
