"""The BMC itself: it holds the parts, looks up each request in the command table and answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from infrasim.bmc_core.alerts import Alerts
from infrasim.bmc_core.codes import Channel, Completion
from infrasim.bmc_core.events import Events
from infrasim.bmc_core.lan_config import LanStatistics, SuspendedArps, lan_parameters
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.pef_config import pef_parameters
from infrasim.bmc_core.ports import Chassis, Clock, Engine, Load, Network, Serial, SystemInterface
from infrasim.bmc_core.settings import CoreSettings
from infrasim.bmc_core.state import BmcState
from infrasim.bmc_core.system_info import AcpiState, system_info_parameters
from infrasim.bmc_core.table import command_table, oem_parameters

_OK = bytes([Completion.OK])
_INVALID_COMMAND = bytes([Completion.INVALID_COMMAND])
_INSUFFICIENT_PRIVILEGE = bytes([Completion.INSUFFICIENT_PRIVILEGE])


class Bmc:
    """One BMC. ``changed`` is called after each change of ``state``, so that it can be written."""

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
        self.lan_parameters = lan_parameters(settings, state.lan, changed=changed)
        self.lan_statistics = LanStatistics()
        self.suspended_arps = SuspendedArps()
        self.pef_parameters = pef_parameters(settings, state.pef.parameters, changed=changed)
        self.system_info = system_info_parameters(
            settings, state.system_info, oem_parameters(settings), changed=changed
        )
        self.acpi = AcpiState()
        self.alerts = Alerts(self)
        self.events = Events(self)
        # Entity and instance by (owner, sensor number), as far as the sensor records were read.
        self.sensor_entities: dict[tuple[int, int], tuple[int, int]] = {}
        self.commands = command_table(settings.manufacturer)

    def answer(self, request: Request) -> bytes | Awaitable[bytes]:
        """Answer one request: completion code and data. What needs no waiting is answered at once."""
        command = self.commands.get((request.netfn, request.command))
        if command is None or (command.in_band_only and request.origin.channel != Channel.SYSTEM_INTERFACE):
            return _INVALID_COMMAND
        if request.origin.privilege < command.privilege:
            return _INSUFFICIENT_PRIVILEGE
        try:
            result = command.run(self, request)
        except Refused as refusal:
            return bytes([refusal.code]) + refusal.data
        if isinstance(result, bytes):
            return _OK + result
        return _finish(result)


async def _finish(result: Awaitable[bytes]) -> bytes:
    try:
        return _OK + await result
    except Refused as refusal:
        return bytes([refusal.code]) + refusal.data
