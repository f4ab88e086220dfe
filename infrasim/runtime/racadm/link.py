"""The link of the racadm shell to the node's BMC: IPMI requests over the control socket."""

from __future__ import annotations

from infrasim.bmc_core.codes import Completion, Privilege
from infrasim.clients import ipmitool
from infrasim.clients.control import Line
from infrasim.clients.storage import SdrRepository
from infrasim.errors import InfrasimError
from infrasim.racadm.ports import BmcRefusal

# What everybody who logged in may look at is asked with these rights.
_LOOKING = Privilege.ADMINISTRATOR


class BmcLink:
    """See :class:`infrasim.racadm.ports.Bmc`; ``privilege`` is that of the user, for orders."""

    def __init__(self, line: Line, privilege: Privilege, *, lan_channel: int) -> None:
        self.lan_channel = lan_channel
        self._line = line
        self._privilege = privilege

    def close(self) -> None:
        """Hang up; the next question calls again."""
        self._line.close()

    def ask(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        """What the BMC answers."""
        return self._ask(_LOOKING, net_fn, command, data)

    def order(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        """The same with the user's rights."""
        return self._ask(self._privilege, net_fn, command, data)

    def records(self) -> tuple[bytes, ...]:
        """The BMC's sensor data records; one that cannot be read is left out."""
        repository = SdrRepository(_Asked(self), is_device=False, note=lambda what, why: None)
        try:
            return tuple(repository)
        except ipmitool.Refused as refusal:
            raise BmcRefusal(refusal.reason, refusal.code) from refusal

    def _ask(self, privilege: Privilege, net_fn: int, command: int, data: bytes) -> bytes:
        message = bytes([net_fn, command]) + data
        try:
            said = self._line.ask("ipmi", words=[privilege.name.lower(), message.hex()])
        except InfrasimError as exc:
            # A line that was cut is begun anew by the next question.
            self._line.close()
            raise BmcRefusal("The management controller does not answer.") from exc
        code, answer = bytes.fromhex(said["answer"][:2])[0], bytes.fromhex(said["answer"][2:])
        if code != Completion.OK:
            raise BmcRefusal(f"completion code {code:#04x}", code)
        return answer


class _Asked:
    """The link as those see it who read from BMCs on the network."""

    def __init__(self, link: BmcLink) -> None:
        self._link = link

    def ask(
        self, net_fn: int, command: int, data: bytes = b"", *, target: ipmitool.Target = ipmitool.BMC
    ) -> bytes:
        """See :meth:`infrasim.clients.ipmitool.Bmc.ask`."""
        assert target == ipmitool.BMC
        try:
            return self._link.ask(net_fn, command, data)
        except BmcRefusal as refusal:
            raise ipmitool.Refused(str(refusal), code=refusal.code, reason=str(refusal)) from refusal
