"""DCMI: capabilities, asset tag, controller id, configuration; and how its commands are told apart.

Source: DCMI specification 1.5. Its commands share a network function with those of other bodies; the first
data byte of each request and answer, refusals too, is DCMI's number.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infrasim.bmc_core import sel
from infrasim.bmc_core.codes import BMC_ADDRESS, Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command, Handler
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

GROUP = 0xDC

_VERSION = bytes([1, 5])
_CAPABILITIES_REVISION, _CONFIGURATION_REVISION = 2, 1
_NO_CHANNEL = 0xFF
# Of the manageability access capabilities. Source: table 6-2, parameter 1.
_SECONDARY_LAN = 0x04
_MOST_SEL_ENTRIES = 0x0FFF
# GUID, host name in DHCP, asset tag; temperatures; measured every second. Source: section 6.1.1, table 6-3.
_ATTRIBUTES = bytes([0x07, 0x01, 1])

# Rolling averages: the two upper bits are units (0 seconds, 1 minutes, 2 hours). Those that ipmitool can ask
# for, as far as power is measured often enough, and 5 minutes.
AVERAGING_PERIODS = {
    each: float((each & 0x3F) * 60 ** (each >> 6))
    for each in (0x1E, 0x41, 0x43, 0x45, 0x47, 0x4F, 0x5E, 0x81)
}

_PIECE = 16
_MOST_TAG, _MOST_ID = 63, 64

# Parameter of Set/Get DCMI Configuration Parameters: number, size, value at first; times in seconds.
_ACTIVATE_DHCP = 1
_CONFIGURATION = {2: b"\0", 3: b"\4", 4: (120).to_bytes(2, "little"), 5: (64).to_bytes(2, "little")}


@dataclass
class PowerLimit:
    """The power limit: what to do when it is passed for ``correction_ms``. Source: section 6.6.2.

    ``watts`` None is as much as the node can take. At first it is one that clients can change field by field.
    """

    is_active: bool = False
    action: int = 0
    watts: int | None = None
    correction_ms: int = 1000
    sampling_s: int = 1


@dataclass
class DcmiState:
    """What DCMI keeps. The tag and the id are None until they are set.

    ``thermal_limits`` are actions, limit and time by ``entity.instance``.
    """

    asset_tag: bytes | None = None
    controller_id: bytes | None = None
    configuration: dict[str, bytes] = field(default_factory=dict)
    limit: PowerLimit = field(default_factory=PowerLimit)
    thermal_limits: dict[str, bytes] = field(default_factory=dict)


def in_group(run: Handler) -> Handler:
    """The handler of a DCMI command: ``run`` sees requests and makes answers without the group's number."""

    def handle(bmc: Bmc, request: Request) -> bytes | Awaitable[bytes]:
        if request.data[:1] != bytes([GROUP]):
            raise Refused(Completion.INVALID_COMMAND, request.data[:1])
        inner = Request(request.netfn, request.command, request.data[1:], request.origin, request.lun)
        try:
            result = run(bmc, inner)
        except Refused as refusal:
            raise _of_group(refusal) from None
        return bytes([GROUP]) + result if isinstance(result, bytes) else _finish(result)

    return handle


async def _finish(result: Awaitable[bytes]) -> bytes:
    try:
        return bytes([GROUP]) + await result
    except Refused as refusal:
        raise _of_group(refusal) from None


def _of_group(refusal: Refused) -> Refused:
    return Refused(refusal.code, bytes([GROUP]) + refusal.data)


def command(number: int, name: str, privilege: Privilege, section: str, run: Handler) -> Command:
    """The entry of a DCMI command in the command table. ``section`` is of DCMI 1.5."""
    return Command(NetFn.GROUP, number, name, privilege, f"DCMI 1.5 section {section}", in_group(run))


async def get_capabilities(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.1.1."""
    match request.need(1)[0]:
        case 1:
            # Power management; in-band over KCS, no serial port.
            data = bytes([0x00, 0x01, 0x01 | (_SECONDARY_LAN if len(bmc.lans.all) > 1 else 0)])
        case 2:
            data = (await _log_size(bmc)).to_bytes(2, "little") + _ATTRIBUTES
        case 3:
            data = bytes([BMC_ADDRESS, Channel.IPMB])
        case 4:
            first, second, *_ = [*(lan.number for lan in bmc.lans.all), _NO_CHANNEL]
            data = bytes([first, second, _NO_CHANNEL])
        case 5:
            data = bytes([len(AVERAGING_PERIODS), *AVERAGING_PERIODS])
        case _:
            raise Refused(Completion.INVALID_FIELD)
    return _VERSION + bytes([_CAPABILITIES_REVISION]) + data


async def _log_size(bmc: Bmc) -> int:
    """How many events the log has room for; it does not roll over."""
    used, free = sel.entries(await bmc.engine.ask(NetFn.STORAGE, sel.GET_INFO))
    return min(used + free, _MOST_SEL_ENTRIES)


def get_asset_tag(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.4.2."""
    return _read_piece(request, asset_tag(bmc))


def set_asset_tag(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.4.3."""
    tag = _write_piece(request, asset_tag(bmc), _MOST_TAG)
    bmc.state.dcmi.asset_tag = tag
    bmc.changed()
    return bytes([len(tag)])


def asset_tag(bmc: Bmc) -> bytes:
    """The asset tag: what was set, or else what is in the inventory."""
    tag = bmc.state.dcmi.asset_tag
    return bmc.settings.asset_tag.encode("utf-8")[:_MOST_TAG] if tag is None else tag


def get_controller_id(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.4.6.1."""
    return _read_piece(request, controller_id(bmc))


def set_controller_id(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.4.6.2. The string comes with its zero byte, which is not part of it."""
    whole = _write_piece(request, controller_id(bmc), _MOST_ID)
    bmc.state.dcmi.controller_id = whole.partition(b"\0")[0]
    bmc.changed()
    return bytes([len(whole)])


def controller_id(bmc: Bmc) -> bytes:
    """The controller's identifier string: at first "DCMI" and the MAC. Source: DCMI 1.5 section 6.4.6."""
    name = bmc.state.dcmi.controller_id
    return b"DCMI" + bmc.settings.lan_mac.replace(":", "").encode() if name is None else name


def _read_piece(request: Request, text: bytes) -> bytes:
    offset, count = request.need(2)
    if count > _PIECE or offset > len(text):
        raise Refused(Completion.OUT_OF_RANGE)
    return bytes([len(text)]) + text[offset : offset + count]


def _write_piece(request: Request, before: bytes, most: int) -> bytes:
    """The text after a part of it was written; it ends where that part ends."""
    offset, count, *_ = data = request.need(2, 2 + _PIECE)
    if len(data) - 2 != count:
        raise Refused(Completion.LENGTH_INVALID)
    if offset > len(before) or offset + count > most:
        raise Refused(Completion.OUT_OF_RANGE)
    return before[:offset] + data[2:]


def set_configuration(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.1.2. Starting DHCP has no effect: the BMC's address is the node's."""
    data = request.need(3, 16)
    number, _set_selector, value = data[0], data[1], data[2:]
    if number == _ACTIVATE_DHCP:
        return b""
    if number not in _CONFIGURATION:
        raise Refused(Completion.INVALID_FIELD)
    if len(value) != len(_CONFIGURATION[number]):
        raise Refused(Completion.LENGTH_INVALID)
    bmc.state.dcmi.configuration[str(number)] = value
    bmc.changed()
    return b""


def get_configuration(bmc: Bmc, request: Request) -> bytes:
    """Source: DCMI 1.5 section 6.1.3."""
    number, _set_selector = request.need(2)
    if number == _ACTIVATE_DHCP:
        value = b"\0"
    elif number in _CONFIGURATION:
        value = bmc.state.dcmi.configuration.get(str(number), _CONFIGURATION[number])
    else:
        raise Refused(Completion.INVALID_FIELD)
    return _VERSION + bytes([_CONFIGURATION_REVISION]) + value


_NONE, _USER, _OPERATOR, _ADMINISTRATOR = (
    Privilege.NONE,
    Privilege.USER,
    Privilege.OPERATOR,
    Privilege.ADMINISTRATOR,
)

COMMANDS = (
    command(0x01, "Get DCMI Capabilities Info", _NONE, "6.1.1", get_capabilities),
    command(0x06, "Get Asset Tag", _USER, "6.4.2", get_asset_tag),
    command(0x08, "Set Asset Tag", _OPERATOR, "6.4.3", set_asset_tag),
    command(0x09, "Get Management Controller Identifier String", _USER, "6.4.6.1", get_controller_id),
    command(
        0x0A, "Set Management Controller Identifier String", _ADMINISTRATOR, "6.4.6.2", set_controller_id
    ),
    command(0x12, "Set DCMI Configuration Parameters", _ADMINISTRATOR, "6.1.2", set_configuration),
    command(0x13, "Get DCMI Configuration Parameters", _USER, "6.1.3", get_configuration),
)
