"""Dell's power monitor: energy and peak, consumption now and in the past; and the cap, which is DCMI's limit.

Source: what ``ipmitool delloem powermonitor`` asks for and how it reads the answers, measured with ipmitool
1.8.19.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Completion, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.oem.dell import NETFN
from infrasim.bmc_core.power_history import LONGEST_S, Extremes
from infrasim.bmc_core.system_info import LiveParameter

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# The voltage that amperes are told for.
_MAINS_V = 230

# Which device, and which of its sensors: the whole system.
_WHOLE_SYSTEM = bytes([0x07, 0x01])
_CONSUMPTION = bytes([0x0A, 0x00])
_CLEAR_ENERGY, _CLEAR_PEAK = 1, 2

# Windows of the history: minute, hour, day, week.
_WINDOWS_S = (60.0, 3600.0, 24 * 3600.0, LONGEST_S)

_WATTS, _BTU_PER_HOUR, _PERCENT = 0, 1, 3
_WATT_IN_BTU_PER_HOUR = 3.413
_CAP_SIZE = 12

_SET, _GET = 0, 1
_ENABLED, _SETTABLE = 0x01, 0x02


def _words(*numbers: float) -> bytes:
    return b"".join(min(int(each), 0xFFFF).to_bytes(2, "little") for each in numbers)


def _longs(*numbers: float) -> bytes:
    return b"".join((int(each) & 0xFFFFFFFF).to_bytes(4, "little") for each in numbers)


def _tenths_of_ampere(watts: int) -> int:
    return round(watts * 10 / _MAINS_V)


def _need(request: Request, wanted: bytes, size: int) -> bytes:
    data = request.need(size)
    if not data.startswith(wanted):
        raise Refused(Completion.INVALID_FIELD)
    return data


def get_power_monitor(bmc: Bmc, request: Request) -> bytes:
    """Energy in watt hours since it was cleared; the most amperes (in tenths) and watts since those were."""
    _need(request, _WHOLE_SYSTEM, 2)
    bmc.dcmi.meter.reading()
    energy = bmc.state.energy
    return b"".join(
        (
            _longs(energy.since_s, energy.watt_seconds / 3600, energy.peak_since_s, energy.peak_at_s),
            _words(_tenths_of_ampere(energy.peak_w)),
            _longs(energy.peak_at_s),
            _words(energy.peak_w),
        )
    )


def clear_power_monitor(bmc: Bmc, request: Request) -> bytes:
    """Count energy, or look for the peak, anew."""
    what = _need(request, _WHOLE_SYSTEM, 3)[2]
    if what == _CLEAR_ENERGY:
        bmc.dcmi.meter.clear_energy()
    elif what == _CLEAR_PEAK:
        bmc.dcmi.meter.clear_peak()
    else:
        raise Refused(Completion.INVALID_FIELD)
    return b""


def get_consumption(bmc: Bmc, request: Request) -> bytes:
    """Watts and tenths of ampere now."""
    _need(request, _CONSUMPTION, 2)
    now_w = bmc.dcmi.meter.reading().now_w
    return _words(now_w, _tenths_of_ampere(now_w)) + bytes(3)


def get_headroom(bmc: Bmc, request: Request) -> bytes:
    """How much more the node could take than it does, and than it did at most."""
    request.need(0)
    meter = bmc.dcmi.meter
    now_w = meter.reading().now_w
    return _words(meter.busy_w - now_w, max(0, meter.busy_w - bmc.state.energy.peak_w))


def power_cap_status(bmc: Bmc, request: Request) -> bytes:
    """Whether there is a cap, which can always be set; or switch it."""
    what, value = request.need(2)
    limit = bmc.state.dcmi.limit
    if what == _GET:
        return bytes([_SETTABLE | (_ENABLED if limit.is_active else 0)])
    if what != _SET or value > 1:
        raise Refused(Completion.INVALID_FIELD)
    if request.origin.privilege < Privilege.OPERATOR:
        raise Refused(Completion.INSUFFICIENT_PRIVILEGE)
    limit.is_active = bool(value)
    bmc.dcmi.limit_changed()
    bmc.changed()
    return b""


def read_power_cap(bmc: Bmc, _wanted: bytes) -> bytes:
    """Cap, its unit, the most and the least it can be, supplies (not told), what is available, throttling."""
    meter, limit = bmc.dcmi.meter, bmc.state.dcmi.limit
    cap_w = meter.busy_w if limit.watts is None else limit.watts
    is_throttled = bmc.dcmi.held_w() is not None
    return (
        _words(cap_w)
        + bytes([_WATTS])
        + _words(meter.busy_w, meter.idle_w)
        + bytes([0])
        + _words(meter.busy_w)
        + bytes([is_throttled, 0])
    )


def write_power_cap(bmc: Bmc, value: bytes) -> None:
    """Set the cap; what else is written is what was read."""
    if len(value) != _CAP_SIZE:
        raise Refused(Completion.LENGTH_INVALID)
    meter, number = bmc.dcmi.meter, int.from_bytes(value[:2], "little")
    by_unit = {
        _WATTS: number,
        _BTU_PER_HOUR: int(number / _WATT_IN_BTU_PER_HOUR),
        _PERCENT: meter.idle_w + (meter.busy_w - meter.idle_w) * number // 100,
    }
    watts = by_unit.get(value[2])
    if watts is None:
        raise Refused(Completion.INVALID_FIELD)
    if not meter.idle_w <= watts <= meter.busy_w:
        raise Refused(Completion.OUT_OF_RANGE)
    bmc.state.dcmi.limit.watts = watts
    bmc.dcmi.limit_changed()
    bmc.changed()


def read_average(bmc: Bmc, _wanted: bytes) -> bytes:
    """Over the last minute, hour, day and week."""
    return _words(*(bmc.dcmi.meter.extremes(window_s).average_w for window_s in _WINDOWS_S))


def _history(
    watts: Callable[[Extremes], float], at_s: Callable[[Extremes], float]
) -> Callable[[Bmc, bytes], bytes]:
    """An extreme of the last minute, hour, day and week, then when each was."""

    def read(bmc: Bmc, _wanted: bytes) -> bytes:
        found = [bmc.dcmi.meter.extremes(window_s) for window_s in _WINDOWS_S]
        return _words(*map(watts, found)) + _longs(*map(at_s, found))

    return read


_USER, _OPERATOR = Privilege.USER, Privilege.OPERATOR
_SOURCE = "ipmitool delloem"

COMMANDS = (
    Command(NETFN, 0x9C, "Get Power Management Info", _USER, _SOURCE, get_power_monitor),
    Command(NETFN, 0x9D, "Clear Power Management Info", _OPERATOR, _SOURCE, clear_power_monitor),
    Command(NETFN, 0xB3, "Get Power Consumption", _USER, _SOURCE, get_consumption),
    Command(NETFN, 0xBA, "Power Cap Status", _USER, _SOURCE, power_cap_status),
    Command(NETFN, 0xBB, "Get Power Headroom", _USER, _SOURCE, get_headroom),
)

LIVE = {
    0xEA: LiveParameter(read_power_cap, write_power_cap),
    0xEB: LiveParameter(read_average),
    0xEC: LiveParameter(_history(lambda each: each.most_w, lambda each: each.most_at_s)),
    0xED: LiveParameter(_history(lambda each: each.least_w, lambda each: each.least_at_s)),
}
