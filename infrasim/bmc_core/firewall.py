"""Command discovery: which commands there are, from the table that answers them. None can be switched off.

Source: IPMI 2.0 section 21. Supported is a 0 bit, configurable and enabled are 1 bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from infrasim.bmc_core.channels import all_channels
from infrasim.bmc_core.codes import Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Commands are told by halves: numbers 00h to 7Fh, and those from 80h.
_HALF = 0x80
# DCMI's body is in the commands of network function 2Ch. Source: DCMI 1.5 section 6.1.
_DCMI = 0xDC
_ALL_SUBFUNCTIONS = b"\xff\xff\xff\xff"


def get_netfn_support(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.2. All commands are on LUN 0, by the rules of the specification."""
    _need_channel(bmc, request, request.need(1)[0])
    pairs = _bits((netfn >> 1 for netfn, _number in bmc.commands), 4)
    return bytes([0x01]) + pairs + bytes(12)


def get_command_support(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.3."""
    return bytes(each ^ 0xFF for each in _present(bmc, request))


def get_configurable_commands(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.5."""
    _present(bmc, request)
    return bytes(16)


def get_command_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.8."""
    return _present(bmc, request)


def set_command_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.7. Setting what is so is all that is possible."""
    data = request.need(19, 22)
    wanted = data[-16:]
    if wanted != _commands(bmc, request, data[:-16]):
        raise Refused(Completion.INVALID_FIELD)
    return b""


def get_subfunction_support(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.4. Sub-functions of a command are all there."""
    _need_command(bmc, request)
    return bytes(4)


def get_configurable_subfunctions(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.6."""
    _need_command(bmc, request)
    return bytes(4)


def get_subfunction_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.10."""
    _need_command(bmc, request)
    return _ALL_SUBFUNCTIONS


def set_subfunction_enables(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 21.9. Setting what is so is all that is possible.

    ipmitool's ``firewall reset`` sets those of every number: of commands that are not there, to none.
    """
    data = request.need(8, 11)
    _need_channel(bmc, request, data[0])
    if data[-4:] != (_ALL_SUBFUNCTIONS if _has_command(bmc, data) else bytes(4)):
        raise Refused(Completion.INVALID_FIELD)
    return b""


def _present(bmc: Bmc, request: Request) -> bytes:
    return _commands(bmc, request, request.need(3, 6))


def _commands(bmc: Bmc, request: Request, data: bytes) -> bytes:
    """The commands of the channel, network function, half and LUN in ``data``, a 1 bit for each."""
    _need_channel(bmc, request, data[0])
    netfn, upper = data[1] & 0x3E, data[1] >> 6
    if upper > 1:
        raise Refused(Completion.INVALID_FIELD)
    if data[2] & 0x03:
        return bytes(16)
    if netfn == NetFn.GROUP and data[3:4] not in (b"", bytes([_DCMI])):
        return bytes(16)
    channel = request.channel(data[0])
    numbers = (
        each.number - upper * _HALF
        for (its_netfn, _number), each in bmc.commands.items()
        if its_netfn == netfn and not (each.in_band_only and channel != Channel.SYSTEM_INTERFACE)
    )
    return _bits((each for each in numbers if 0 <= each < _HALF), 16)


def _need_command(bmc: Bmc, request: Request) -> None:
    data = request.need(4, 7)
    _need_channel(bmc, request, data[0])
    if not _has_command(bmc, data):
        raise Refused(Completion.INVALID_FIELD)


def _has_command(bmc: Bmc, data: bytes) -> bool:
    return (data[1] & 0x3E, data[3]) in bmc.commands and not data[2] & 0x03


def _need_channel(bmc: Bmc, request: Request, number: int) -> None:
    if request.channel(number) not in all_channels(bmc):
        raise Refused(Completion.INVALID_FIELD)


def _bits(numbers: Iterable[int], size: int) -> bytes:
    value = 0
    for number in numbers:
        value |= 1 << number
    return value.to_bytes(size, "little")


_USER = Privilege.USER
_APP = NetFn.APP

COMMANDS = (
    Command(_APP, 0x09, "Get NetFn Support", _USER, "21.2", get_netfn_support),
    Command(_APP, 0x0A, "Get Command Support", _USER, "21.3", get_command_support),
    Command(_APP, 0x0B, "Get Command Sub-function Support", _USER, "21.4", get_subfunction_support),
    Command(_APP, 0x0C, "Get Configurable Commands", _USER, "21.5", get_configurable_commands),
    Command(
        _APP, 0x0D, "Get Configurable Command Sub-functions", _USER, "21.6", get_configurable_subfunctions
    ),
    Command(_APP, 0x60, "Set Command Enables", Privilege.ADMINISTRATOR, "21.7", set_command_enables),
    Command(_APP, 0x61, "Get Command Enables", _USER, "21.8", get_command_enables),
    Command(
        _APP,
        0x62,
        "Set Command Sub-function Enables",
        Privilege.ADMINISTRATOR,
        "21.9",
        set_subfunction_enables,
    ),
    Command(_APP, 0x63, "Get Command Sub-function Enables", _USER, "21.10", get_subfunction_enables),
)
