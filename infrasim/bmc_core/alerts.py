"""Alerts: platform event traps with retries and acknowledgement, one after the other by policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from infrasim.bmc_core import lan_config, pet
from infrasim.bmc_core.clock import bmc_time_s
from infrasim.bmc_core.guid import guid_bytes
from infrasim.bmc_core.lan_config import AlertDestination
from infrasim.bmc_core.pef_config import Policy
from infrasim.bmc_core.pet import PlatformEvent
from infrasim.bmc_core.ports import Timer

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

TRAP_PORT = 162
# More than any storm needs; what is beyond is lost, as it would be in a BMC's small memory.
_MOST_AT_ONCE = 64


class AlertStatus(IntEnum):
    """How an immediate alert went. Source: IPMI 2.0 section 30.7."""

    NONE = 0x00
    SENT = 0x01
    RETRIES_FAILED = 0x02
    NO_ACKNOWLEDGE = 0x03
    IN_PROGRESS = 0xFF


Done = Callable[[AlertStatus], None]


@dataclass
class _Alert:
    """One trap that may still be sent again."""

    destination: AlertDestination
    datagram: bytes
    retries: int
    done: Done
    timer: Timer | None = None


class Alerts:
    """Sends alerts and waits for their acknowledgement. ``immediate`` tells of the last Alert Immediate."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._began_s = bmc.clock.now_s()
        self._sequence = 0
        self._open: dict[int, _Alert] = {}
        self.immediate = AlertStatus.NONE

    def send(self, selector: int, event: PlatformEvent, text: bytes, done: Done) -> None:
        """Send one alert; ``done`` is called when it is known how that went, which may be at once.

        An alert that wants no acknowledgement is done when it left, though copies may follow.
        """
        destination = lan_config.alert_destination(self._bmc, selector)
        if destination is None or not destination.address or len(self._open) >= _MOST_AT_ONCE:
            done(AlertStatus.RETRIES_FAILED)
            return
        self._sequence = self._sequence % 0xFFFF + 1
        alert = _Alert(destination, self._datagram(event, text), destination.retries, done)
        self._open[self._sequence] = alert
        self._transmit(self._sequence, alert)
        if not destination.acknowledged:
            alert.done = _ignore
            done(AlertStatus.SENT)

    def acknowledge(self, sequence: int) -> None:
        """The one that got the trap with this sequence number says so."""
        alert = self._open.get(sequence)
        if alert is not None and alert.destination.acknowledged:
            self._close(sequence, AlertStatus.SENT)

    def run_policy(
        self, policies: list[Policy], event: PlatformEvent, text: Callable[[Policy], bytes]
    ) -> None:
        """Send by the entries of an alert policy, each when it is known how the one before went.

        Source: IPMI 2.0 table 17-4.
        """
        self._next(policies, event, text, reached=False)

    def _next(
        self,
        policies: list[Policy],
        event: PlatformEvent,
        text: Callable[[Policy], bytes],
        *,
        reached: bool,
    ) -> None:
        """Go on with these entries; ``reached``: the alert of the one before them was successful."""
        if reached:
            policies = _after_success(policies)
        if not policies:
            return
        policy, *rest = policies

        def done(status: AlertStatus) -> None:
            self._next(rest, event, text, reached=status == AlertStatus.SENT)

        lan = self._bmc.lan
        if policy.channel == lan.number and not lan.access.volatile.alerting_off:
            self.send(policy.destination, event, text(policy), done)
        else:
            done(AlertStatus.RETRIES_FAILED)

    def _datagram(self, event: PlatformEvent, text: bytes) -> bytes:
        bmc = self._bmc
        guid = bmc.pef_parameters.guid() or guid_bytes(bmc.settings.guid)
        sender = pet.Sender(
            guid=guid,
            address=lan_config.own_address(bmc),
            manufacturer=bmc.settings.manufacturer,
            product=bmc.settings.product,
            community=lan_config.community(bmc),
        )
        return pet.trap(
            event,
            sender,
            sequence=self._sequence,
            unix_s=bmc_time_s(bmc),
            utc_offset_min=bmc.state.clock.utc_offset_min,
            up_s=bmc.clock.now_s() - self._began_s,
            text=text,
        )

    def _transmit(self, sequence: int, alert: _Alert) -> None:
        self._bmc.network.send_trap(alert.destination.address, TRAP_PORT, alert.datagram)
        if alert.destination.acknowledged or alert.retries:
            alert.timer = self._bmc.clock.later(alert.destination.timeout_s, lambda: self._late(sequence))
        else:
            self._close(sequence, AlertStatus.SENT)

    def _late(self, sequence: int) -> None:
        alert = self._open.get(sequence)
        if alert is None:
            return
        if alert.retries:
            alert.retries -= 1
            self._transmit(sequence, alert)
        else:
            self._close(sequence, AlertStatus.NO_ACKNOWLEDGE)

    def _close(self, sequence: int, status: AlertStatus) -> None:
        alert = self._open.pop(sequence)
        if alert.timer is not None:
            alert.timer.cancel()
        if alert.destination.acknowledged:
            alert.done(status)


def _after_success(policies: list[Policy]) -> list[Policy]:
    """Where to go on after an alert that was successful: the first of these sends, if there is one."""
    while policies and policies[0].rule:
        skipped, *policies = policies
        match skipped.rule:
            case 1:
                pass
            case 3:
                while policies and policies[0].channel == skipped.channel:
                    policies = policies[1:]
            case _:
                # Rule 2 ends it; so does 4, for all destinations are of one type, SNMP traps.
                return []
    return policies


def _ignore(_status: AlertStatus) -> None:
    """Nobody waits."""
