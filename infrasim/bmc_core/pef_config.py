"""The parameters of platform event filtering: filters, alert policies, alert strings, delays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntFlag

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.parameters import Parameter, ParameterState, ParameterStore, fixed
from infrasim.frozen import Frozen

FILTERS, POLICIES, STRINGS = 40, 60, 8
# Alert strings have up to 64 characters. Source: IPMI 2.0 table 30-5, parameter 13.
_STRING_BLOCKS = range(1, 5)

_CONTROL, _ACTIONS, _STARTUP_DELAY, _ALERT_STARTUP_DELAY = 1, 2, 3, 4
_FILTER, _FILTER_DATA_1, _POLICY, _GUID, _STRING_KEY, _STRING = 6, 7, 9, 10, 12, 13


class Action(IntFlag):
    """What a filter makes happen. Source: IPMI 2.0 table 17-2, byte 2; the same bits in parameter 2."""

    ALERT = 0x01
    POWER_OFF = 0x02
    RESET = 0x04
    POWER_CYCLE = 0x08
    OEM = 0x10
    DIAGNOSTIC_INTERRUPT = 0x20


# Everything but OEM actions, and group control operations, which would act on other chassis over ICMB.
# Capabilities say so, and a filter that asks for them is refused.
SUPPORTED_ACTIONS = (
    Action.ALERT | Action.POWER_OFF | Action.RESET | Action.POWER_CYCLE | Action.DIAGNOSTIC_INTERRUPT
)


class Control(IntFlag):
    """PEF control. Source: IPMI 2.0 table 30-5, parameter 1."""

    ENABLED = 0x01
    EVENT_MESSAGES = 0x02
    STARTUP_DELAY = 0x04
    ALERT_STARTUP_DELAY = 0x08


class Filter(Frozen):
    """One entry of the event filter table. Source: IPMI 2.0 table 17-2."""

    number: int
    entry: bytes

    @property
    def is_enabled(self) -> bool:
        """Whether it takes part."""
        return bool(self.entry[0] & 0x80)

    @property
    def actions(self) -> Action:
        """What it makes happen."""
        return Action(self.entry[1] & SUPPORTED_ACTIONS)

    @property
    def policy(self) -> int:
        """Which alert policy it uses."""
        return self.entry[2] & 0x0F

    @property
    def severity(self) -> int:
        """How bad it says the event is."""
        return self.entry[3]

    def matches(self, record: bytes) -> bool:
        """Whether a system event record (IPMI 2.0 table 32-1) is meant. Source: section 17.7."""
        wanted = self.entry[4:9]
        present = bytes([record[7], record[8], record[10], record[11], record[12]])
        if any(want not in (0xFF, has) for want, has in zip(wanted, present, strict=True)):
            return False
        offsets = int.from_bytes(self.entry[9:11], "little")
        if not offsets >> (record[13] & 0x0F) & 1:
            return False
        return all(
            _data_matches(record[13 + place], *self.entry[11 + 3 * place : 14 + 3 * place])
            for place in range(3)
        )


def _data_matches(value: int, mask: int, exact: int, wanted: int) -> bool:
    """Bits outside ``mask`` do not count; those of ``exact`` must all agree, of the others at least one."""
    differ = value ^ wanted
    if differ & mask & exact:
        return False
    any_of = mask & ~exact
    return not any_of or bool(~differ & any_of)


class Policy(Frozen):
    """One entry of the alert policy table. Source: IPMI 2.0 table 17-4."""

    entry: bytes

    @property
    def number(self) -> int:
        """The policy it belongs to; 0 for an unused entry."""
        return self.entry[0] >> 4

    @property
    def is_enabled(self) -> bool:
        """Whether it takes part."""
        return bool(self.entry[0] & 0x08)

    @property
    def rule(self) -> int:
        """What to do if the alert before this one was successful."""
        return self.entry[0] & 0x07

    @property
    def channel(self) -> int:
        """The channel to send through."""
        return self.entry[1] >> 4

    @property
    def destination(self) -> int:
        """The destination in the channel's LAN configuration."""
        return self.entry[1] & 0x0F

    @property
    def string_is_event_specific(self) -> bool:
        """Whether the alert string depends on the filter too."""
        return bool(self.entry[2] & 0x80)

    @property
    def string(self) -> int:
        """The alert string, or the string set with event specific strings."""
        return self.entry[2] & 0x7F


# Filters a server comes with: sensor type, trigger, offsets, severity. All alert by policy 1, which is empty.
# Severity: 0x08 non-critical, 0x10 critical, 0x20 non-recoverable. Source: IPMI 2.0 table 17-2, byte 4; which
# ones there are follows the specification's advice in section 17.6.
_PRESET = (
    (0x01, 0x01, 0x0A95, 0x10),  # temperature beyond a threshold
    (0x02, 0x01, 0x0A95, 0x10),  # voltage
    (0x04, 0x01, 0x0A95, 0x10),  # fan
    (0x05, 0x6F, 0x0001, 0x08),  # chassis opened
    (0x08, 0x6F, 0x0006, 0x10),  # power supply failed or about to
    (0x0C, 0x6F, 0x0002, 0x20),  # uncorrectable memory error
    (0x23, 0x6F, 0x000F, 0x10),  # watchdog
    (0x07, 0x6F, 0x0003, 0x20),  # processor error or too hot
)


def _are_supported(actions: int) -> bool:
    # As a number: the complement of a flag is of the flags that have a name.
    return actions & ~int(SUPPORTED_ACTIONS) == 0


def _preset_filter(selector: int) -> bytes:
    if selector > len(_PRESET):
        return bytes(20)
    sensor_type, trigger, offsets, severity = _PRESET[selector - 1]
    front = bytes([0xC0, Action.ALERT, 1, severity, 0xFF, 0xFF, sensor_type, 0xFF, trigger])
    return front + offsets.to_bytes(2, "little") + bytes(9)


class PefStore(ParameterStore):
    """The PEF parameters; byte 1 of a filter is a parameter of its own as well."""

    def value(self, number: int, selector: int = 0, block: int = 0) -> bytes:
        """The value of a parameter in the table, without selectors."""
        if number == _FILTER_DATA_1:
            return super().value(_FILTER, selector)[:1]
        return super().value(number, selector, block)

    def put(self, number: int, value: bytes, selector: int = 0, block: int = 0) -> None:
        """Set a parameter in the table, whether clients may or not."""
        if number == _FILTER_DATA_1:
            super().put(_FILTER, value + super().value(_FILTER, selector)[1:], selector)
        else:
            super().put(number, value, selector, block)

    @property
    def control(self) -> Control:
        """What PEF does at all."""
        return Control(self.value(_CONTROL)[0] & 0x0F)

    @property
    def allowed_actions(self) -> Action:
        """What filters may make happen."""
        return Action(self.value(_ACTIONS)[0] & SUPPORTED_ACTIONS)

    @property
    def startup_delay_s(self) -> int:
        """How long after a start of the host nothing is done."""
        return self.value(_STARTUP_DELAY)[0] if self.control & Control.STARTUP_DELAY else 0

    @property
    def alert_startup_delay_s(self) -> int:
        """How long after a start of the host no alert is sent."""
        return self.value(_ALERT_STARTUP_DELAY)[0] if self.control & Control.ALERT_STARTUP_DELAY else 0

    def filters(self) -> Iterator[Filter]:
        """The filters that take part, in order."""
        every = (Filter(number, self.value(_FILTER, number)) for number in range(1, FILTERS + 1))
        return (each for each in every if each.is_enabled)

    def policies(self, number: int) -> list[Policy]:
        """The entries of one alert policy that take part, in order."""
        every = (Policy(self.value(_POLICY, selector)) for selector in range(1, POLICIES + 1))
        return [each for each in every if each.is_enabled and each.number == number and number]

    def guid(self) -> bytes | None:
        """The GUID that traps carry, if it is not the system's."""
        value = self.value(_GUID)
        return value[1:] if value[0] & 0x01 else None

    def alert_string(self, selector: int) -> bytes:
        """The text of an alert string, up to its zero byte."""
        if not 0 <= selector <= STRINGS:
            return b""
        text = b"".join(self.value(_STRING, selector, block) for block in _STRING_BLOCKS)
        return text.partition(b"\0")[0]

    def event_string(self, filter_number: int, string_set: int) -> bytes:
        """The alert string for this filter in a string set; empty if there is none."""
        for selector in range(1, STRINGS + 1):
            key = self.value(_STRING_KEY, selector)
            if (key[0] & 0x7F, key[1] & 0x7F) == (filter_number, string_set):
                return self.alert_string(selector)
        return b""


def pef_parameters(settings: CoreSettings, state: ParameterState, *, changed: Callable[[], None]) -> PefStore:
    """The parameters of platform event filtering. Source: IPMI 2.0 table 30-5."""
    return PefStore(_table(settings), state, changed=changed)


def _table(settings: CoreSettings) -> tuple[Parameter, ...]:
    strings = range(STRINGS + 1)
    return (
        Parameter(_CONTROL, "PEF Control", 1, fixed(b"\1"), valid=lambda value: value[0] <= 0x0F),
        Parameter(
            _ACTIONS,
            "PEF Action Global Control",
            1,
            fixed(bytes([SUPPORTED_ACTIONS])),
            valid=lambda value: _are_supported(value[0]),
        ),
        Parameter(_STARTUP_DELAY, "PEF Startup Delay", 1, fixed(b"\x3c")),
        Parameter(_ALERT_STARTUP_DELAY, "PEF Alert Startup Delay", 1, fixed(b"\x3c")),
        Parameter(5, "Number of Event Filters", 1, fixed(bytes([FILTERS])), writable=False),
        Parameter(
            _FILTER,
            "Event Filter Table",
            20,
            _preset_filter,
            sets=range(1, FILTERS + 1),
            set_mask=0x7F,
            valid=lambda entry: _are_supported(entry[1]),
        ),
        Parameter(
            _FILTER_DATA_1,
            "Event Filter Table Data 1",
            1,
            lambda selector: _preset_filter(selector)[:1],
            sets=range(1, FILTERS + 1),
            set_mask=0x7F,
        ),
        Parameter(8, "Number of Alert Policy Entries", 1, fixed(bytes([POLICIES])), writable=False),
        Parameter(
            _POLICY,
            "Alert Policy Table",
            3,
            fixed(bytes([0, settings.main_channel << 4, 0])),
            sets=range(1, POLICIES + 1),
            set_mask=0x7F,
            valid=lambda value: value[0] & 0x07 <= 4,
        ),
        Parameter(_GUID, "System GUID", 17, fixed(bytes(17)), valid=lambda value: value[0] <= 1),
        Parameter(11, "Number of Alert Strings", 1, fixed(bytes([STRINGS])), writable=False),
        Parameter(
            _STRING_KEY,
            "Alert String Keys",
            2,
            fixed(bytes(2)),
            sets=strings,
            set_mask=0x7F,
            volatile=range(1),
        ),
        Parameter(
            _STRING,
            "Alert Strings",
            16,
            fixed(bytes(16)),
            sets=strings,
            blocks=_STRING_BLOCKS,
            set_mask=0x7F,
            least=1,
            volatile=range(1),
        ),
    )
