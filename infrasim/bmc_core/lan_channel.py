"""The LAN channels of the BMC: the main one, which has the node's address, and others without a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.channels import ChannelState
from infrasim.bmc_core.codes import Completion
from infrasim.bmc_core.lan_config import LanStatistics, SuspendedArps, lan_parameters
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.parameters import ParameterState
from infrasim.bmc_core.sol import SolSettings, SolState

_NO_ADDRESS = "0.0.0.0"


@dataclass
class LanChannelState:
    """What is kept of one LAN channel: access and keys, LAN parameters, parameters of serial over LAN."""

    access: ChannelState = field(default_factory=ChannelState)
    parameters: ParameterState = field(default_factory=ParameterState)
    sol: SolState = field(default_factory=SolState)


class LanChannel:
    """One LAN channel. Its settings are its own; only the main channel's have an effect."""

    def __init__(
        self, number: int, settings: CoreSettings, state: LanChannelState, *, changed: Callable[[], None]
    ) -> None:
        self.number = number
        self.access = state.access
        self.parameters = lan_parameters(settings, state.parameters, changed=changed)
        self.sol = SolSettings(state.sol)
        self.statistics = LanStatistics()
        self.suspended_arps = SuspendedArps()


class LanChannels:
    """The LAN channels by number, the main one first."""

    def __init__(
        self, settings: CoreSettings, states: dict[int, LanChannelState], *, changed: Callable[[], None]
    ) -> None:
        def channel(number: int, its_settings: CoreSettings) -> LanChannel:
            state = states.setdefault(number, LanChannelState())
            return LanChannel(number, its_settings, state, changed=changed)

        self.main = channel(settings.main_channel, settings)
        self._by_number = {settings.main_channel: self.main}
        for other in settings.other_channels:
            unconnected = dataclasses.replace(
                settings,
                lan_address=_NO_ADDRESS,
                lan_netmask=_NO_ADDRESS,
                lan_gateway=_NO_ADDRESS,
                lan_address6="",
                lan_mac=other.mac,
            )
            self._by_number[other.number] = channel(other.number, unconnected)

    @property
    def all(self) -> tuple[LanChannel, ...]:
        """Every LAN channel, the main one first."""
        return tuple(self._by_number.values())

    @property
    def numbers(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(self._by_number)

    def named(self, request: Request, number: int) -> LanChannel:
        """The one that the low four bits of ``number`` mean in ``request``.

        Raises:
            Refused: that is no LAN channel.
        """
        found = self._by_number.get(request.channel(number))
        if found is None:
            raise Refused(Completion.INVALID_FIELD)
        return found
