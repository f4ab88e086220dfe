"""What the shell reaches its node through, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from infrasim.bmc.hardware import Drive, Hardware
from infrasim.bmc.settings import RacadmSettings
from infrasim.frozen import Frozen
from infrasim.personality.smbios import Structure

# Source: IPMI 2.0 table 5-2.
INSUFFICIENT_PRIVILEGE = 0xD4
NOT_IN_THIS_STATE = 0xD5


class BmcRefusal(Exception):
    """The BMC does not do it; ``code`` is its completion code, None when it did not answer."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class CommandError(Exception):
    """What a command says instead of an answer."""


class Bmc(Protocol):
    """The node's BMC. Everybody who logged in may look; orders need the rights for them."""

    @property
    def lan_channel(self) -> int:
        """The channel whose users and network are the controller's."""

    def ask(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        """What it answers, without the completion code.

        Raises:
            BmcRefusal: with the completion code, or without one if there was no answer.
        """

    def order(self, net_fn: int, command: int, data: bytes = b"") -> bytes:
        """The same with the rights of whoever logged in.

        Raises:
            BmcRefusal: as ``ask``.
        """

    def records(self) -> tuple[bytes, ...]:
        """Its sensor data records.

        Raises:
            BmcRefusal: it does not answer.
        """


class Server(Frozen):
    """What the server is made of. ``size_bytes`` is asked of a drive, None where nobody knows."""

    settings: RacadmSettings
    hardware: Hardware
    structures: tuple[Structure, ...]
    size_bytes: Callable[[Drive], int | None]


class Session(Frozen):
    """What a command has: the server, its BMC, and the user's own answers by file name."""

    server: Server
    bmc: Bmc
    canned: Callable[[str], str | None] = lambda name: None
