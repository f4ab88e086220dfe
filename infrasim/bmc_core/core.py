"""The BMC itself: it holds the parts, looks up each request in the command table and answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core import channels, lifecycle, users
from infrasim.bmc_core.alerts import Alerts
from infrasim.bmc_core.boot import BootOptions
from infrasim.bmc_core.chassis import ChassisControl
from infrasim.bmc_core.codes import Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.dcmi_monitor import DcmiMonitor
from infrasim.bmc_core.events import Events, add_own_event
from infrasim.bmc_core.faults import note_event
from infrasim.bmc_core.lan.sessions import Sessions
from infrasim.bmc_core.lan_channel import LanChannels
from infrasim.bmc_core.message import Refused, Request, refused
from infrasim.bmc_core.messaging import Messaging
from infrasim.bmc_core.oem.catalog import oem
from infrasim.bmc_core.pef_config import pef_parameters
from infrasim.bmc_core.ports import Chassis, Clock, Engine, Load, Network, Serial, SystemInterface
from infrasim.bmc_core.sdr_repository import SdrRepository
from infrasim.bmc_core.sel import EventLog
from infrasim.bmc_core.sensors import Sensors
from infrasim.bmc_core.serial_history import SerialHistory
from infrasim.bmc_core.sol import Sol
from infrasim.bmc_core.state import BmcState
from infrasim.bmc_core.system_info import AcpiState, system_info_parameters
from infrasim.bmc_core.table import command_table
from infrasim.bmc_core.watchdog import Watchdog

# Event message format of IPMI 1.5 and 2.0. Source: IPMI 2.0 table 32-1.
_EVENT_FORMAT = 0x04

_OK = bytes([Completion.OK])
# The first command about a sensor: these may be on any LUN. Source: IPMI 2.0 section 35.
_FIRST_OF_SENSORS = 0x20


class Bmc:
    """One BMC.

    ``changed`` is called after each change of ``state``, so that it can be written; ``defer`` runs what an
    answer does not wait for; ``reset`` takes the doors away for a while, ``cold`` or warm.
    """

    def __init__(
        self,
        settings: CoreSettings,
        state: BmcState,
        *,
        engine: Engine,
        chassis: Chassis,
        system_interface: SystemInterface,
        serial: Serial,
        network: Network,
        load: Load,
        clock: Clock,
        changed: Callable[[], None],
        defer: Callable[[Coroutine[None, None, None]], None],
        reset: Callable[[bool], None],
    ) -> None:
        self.settings = settings
        self.state = state
        self.engine = engine
        self.chassis = chassis
        self.system_interface = system_interface
        self.serial = serial
        self.network = network
        self.load = load
        self.clock = clock
        self.changed = changed
        self.defer = defer
        self._reset = reset
        self.lans = LanChannels(settings, state.lans, changed=changed)
        # The one with the node's address.
        self.lan = self.lans.main
        self.messaging = Messaging(self)
        self.boot = BootOptions(self)
        self.chassis_control = ChassisControl(self)
        self.watchdog = Watchdog(self)
        self.sol = Sol(self)
        wanted = settings.history_fru
        self.history_fru = b"" if wanted is None else bytes([wanted])
        self.serial_history = None if wanted is None else SerialHistory()
        # What ipmi_sim answers to Get Device ID, once it has been asked.
        self.device_id: bytes | None = None
        self.pef_parameters = pef_parameters(settings, state.pef.parameters, changed=changed)
        added = oem(settings.manufacturer)
        self.system_info = system_info_parameters(
            settings, state.system_info, added.parameters(settings), changed=changed
        )
        self.live_parameters = added.live
        self.acpi = AcpiState()
        self.alerts = Alerts(self)
        self.events = Events(self)
        self.dcmi = DcmiMonitor(self)
        self.sdr_repository = SdrRepository(self)
        self.sel = EventLog(self)
        self.sensors = Sensors(self)
        self.commands = command_table(settings.manufacturer)
        self.sessions = Sessions(self)
        users.prepare(self)
        channels.restart(self)

    def privilege_of(self, netfn: int, command: int) -> Privilege:
        """What a command needs; of an unknown one, the most there is."""
        found = self.commands.get((netfn, command))
        return found.privilege if found else Privilege.OEM

    def answer(self, request: Request) -> bytes | Awaitable[bytes]:
        """Answer one request: completion code and data. What needs no waiting is answered at once."""
        command = self.commands.get((request.netfn, request.command))
        if command is None or (command.in_band_only and request.origin.channel != Channel.SYSTEM_INTERFACE):
            return refused(request, Completion.INVALID_COMMAND)
        if request.lun and (request.netfn != NetFn.SENSOR or request.command < _FIRST_OF_SENSORS):
            return refused(request, Completion.INVALID_FOR_LUN)
        if request.origin.privilege < command.privilege:
            return refused(request, Completion.INSUFFICIENT_PRIVILEGE)
        try:
            result = command.run(self, request)
        except Refused as refusal:
            return bytes([refusal.code]) + refusal.data
        if isinstance(result, bytes):
            return _OK + result
        return _finish(result)

    def reset(self, *, cold: bool) -> None:
        """Begin anew, with the state kept; the host goes on meanwhile."""
        lifecycle.controller_reset(self, cold=cold)
        if cold:
            self.messaging.forget()
            self.watchdog.stop()
            self.events.end_postponement()
        self.sel.reservation.void()
        self.sdr_repository.reservation.void()
        self._reset(cold)

    def power_changed(self, *, on: bool) -> None:
        """The host has got or lost power, for whatever reason."""
        self._note_power(on=on)
        if on:
            lifecycle.host_started(self)
        else:
            lifecycle.host_stopped(self)

    def host_goes_on(self) -> None:
        """The host has power and ran before this BMC began."""
        self._note_power(on=True)

    def _note_power(self, *, on: bool) -> None:
        self.chassis_control.power_changed(on=on)
        self.sol.host_powered(on=on)
        self.dcmi.meter.power_changed()

    def host_reset(self, *, by_guest: bool) -> None:
        """The host was reset and begins anew; ``by_guest``: by what runs on it."""
        if by_guest:
            self.chassis_control.host_reset_itself()
        lifecycle.host_started(self)

    def log_event(
        self, *, generator: int, sensor_type: int, sensor: int, event_type: int, data: bytes
    ) -> None:
        """An event of the BMC's own: it goes where those of sensors go. ``data`` are three bytes."""
        event = generator.to_bytes(2, "little")
        event += bytes([_EVENT_FORMAT, sensor_type, sensor, event_type]) + data
        self.defer(self._log(event))

    async def _log(self, event: bytes) -> None:
        self.event_happened(await add_own_event(self, event))

    def event_happened(self, record: bytes) -> None:
        """A sensor or the BMC itself has an event, 16 bytes as in the log, where it already is."""
        note_event(self, record)
        self.sel.event_happened(record)
        self.messaging.event(record)
        self.defer(self.events.happened(record))


async def _finish(result: Awaitable[bytes]) -> bytes:
    try:
        return _OK + await result
    except Refused as refusal:
        return bytes([refusal.code]) + refusal.data
