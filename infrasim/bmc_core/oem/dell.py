"""What Dell adds: the front panel's display, model and generation, MACs, the BMC's network card.

Source: what ipmitool's ``delloem`` asks for and how it reads the answers, measured with ipmitool 1.8.19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.codes import Completion, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.parameters import Parameter, fixed
from infrasim.bmc_core.system_info import LiveParameter, string_parameter

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

MANUFACTURER = 674

# The display has one line of so many printable ASCII characters.
_LINE_LENGTH = 62
# iDRAC8 of a monolithic server; the controllers of the shipped Dell types are of that generation.
_IDRAC_13G_MONOLITHIC = 0x20
# What the display shows at first: the model's name.
_SHOW_MODEL = 1

NETFN = 0x30

# Which network card the BMC uses: its own, or one of the host's (2 is the first), and which when that fails
# (none, one of the host's, any of them). 12th generation and later.
_NIC, _OWN, _FIRST, _LAST, _NO_OTHER, _ANY_OTHER = "dell.nic", 1, 2, 5, 0, 6
_NIC_AT_FIRST = bytes([_OWN, _NO_OTHER])
# The same as one number, as controllers of the 11th generation know it: shared, shared with another one in
# reserve, dedicated, shared with any other in reserve.
_OLD_MODES = {
    0: bytes([_FIRST, _NO_OTHER]),
    1: bytes([_FIRST, _FIRST + 1]),
    2: _NIC_AT_FIRST,
    3: bytes([_FIRST, _ANY_OTHER]),
}
_ACTIVE_DEDICATED = 5

# One of the host's cards: Ethernet, enabled; its number; its address. There are up to eight.
_CARD_SIZE, _MOST_CARDS = 8, 8


def _cards(bmc: Bmc) -> tuple[str, ...]:
    return bmc.settings.host_macs[:_MOST_CARDS]


def read_macs(bmc: Bmc, wanted: bytes) -> bytes:
    """The host's cards: how many bytes there are, or those that offset and length in ``wanted`` ask for."""
    whole = b"".join(
        bytes([0, number]) + bytes.fromhex(mac.replace(":", "")) for number, mac in enumerate(_cards(bmc))
    )
    offset, length = wanted[2:4].ljust(2, b"\0")
    if not length:
        return bytes([len(whole)])
    if offset + length > len(whole):
        raise Refused(Completion.OUT_OF_RANGE)
    return whole[offset : offset + length]


def get_virtual_mac(bmc: Bmc, request: Request) -> bytes:
    """The addresses that chassis and server gave the controller; neither did, so it has its own."""
    if request.need(1)[0] != 1:
        raise Refused(Completion.INVALID_FIELD)
    return bytes(1 + 6 + 6)


def _nic(bmc: Bmc) -> bytes:
    return bmc.state.oem.get(_NIC, _NIC_AT_FIRST)


def get_nic_selection(bmc: Bmc, request: Request) -> bytes:
    """The card that the BMC uses, and the other one when that fails."""
    request.need(0)
    return _nic(bmc)


def set_nic_selection(bmc: Bmc, request: Request) -> bytes:
    """Only what the BMC says changes: it stays where it can be reached."""
    _set_nic(bmc, request.need(2))
    return b""


def _set_nic(bmc: Bmc, wanted: bytes) -> None:
    card, other = wanted
    known = range(_FIRST, min(_LAST, _FIRST + len(_cards(bmc)) - 1) + 1)
    if card == _OWN:
        is_possible = other == _NO_OTHER
    else:
        is_possible = card in known and other != card and (other in known or other in (_NO_OTHER, _ANY_OTHER))
    if not is_possible:
        raise Refused(Completion.INVALID_FIELD)
    bmc.state.oem[_NIC] = wanted
    bmc.changed()


def get_old_nic_selection(bmc: Bmc, request: Request) -> bytes:
    """As controllers of the 11th generation tell it."""
    request.need(0)
    card, other = _nic(bmc)
    same = bytes([min(card, _FIRST), other if other in (_NO_OTHER, _ANY_OTHER) else _FIRST + 1])
    return bytes(mode for mode, nic in _OLD_MODES.items() if nic == same)


def set_old_nic_selection(bmc: Bmc, request: Request) -> bytes:
    """As controllers of the 11th generation are told."""
    mode = request.need(1)[0]
    if mode not in _OLD_MODES:
        raise Refused(Completion.INVALID_FIELD)
    _set_nic(bmc, _OLD_MODES[mode])
    return b""


def get_active_nic(bmc: Bmc, request: Request) -> bytes:
    """Which card is in use (0), and whether it has a link (1), which it always has."""
    what = request.need(3)[0]
    card = _nic(bmc)[0]
    if what > 1:
        raise Refused(Completion.INVALID_FIELD)
    return bytes([_ACTIVE_DEDICATED if card == _OWN else card - 1, what])


def get_sd_card(bmc: Bmc, request: Request) -> bytes:
    """There is no vFlash card."""
    request.need(2)
    return bytes([0x01]) + bytes(11)


_USER, _ADMINISTRATOR = Privilege.USER, Privilege.ADMINISTRATOR
_SOURCE = "ipmitool delloem"

COMMANDS = (
    Command(NETFN, 0x24, "Set NIC Selection (11G)", _ADMINISTRATOR, _SOURCE, set_old_nic_selection),
    Command(NETFN, 0x25, "Get NIC Selection (11G)", _USER, _SOURCE, get_old_nic_selection),
    Command(NETFN, 0x28, "Set NIC Selection", _ADMINISTRATOR, _SOURCE, set_nic_selection),
    Command(NETFN, 0x29, "Get NIC Selection", _USER, _SOURCE, get_nic_selection),
    Command(NETFN, 0xA4, "Get Extended SD Card Info", _USER, _SOURCE, get_sd_card),
    Command(NETFN, 0xC1, "Get Active NIC", _USER, _SOURCE, get_active_nic),
    Command(NETFN, 0xC9, "Get iDRAC Virtual MAC", _USER, _SOURCE, get_virtual_mac),
)

LIVE = {0xDA: LiveParameter(read_macs)}


def parameters(settings: CoreSettings) -> tuple[Parameter, ...]:
    """The parameters of a Dell server."""
    mode = _SHOW_MODEL.to_bytes(4, "little") + bytes(8)
    return (
        string_parameter(0xC1, "LCD Text"),
        Parameter(0xC2, "LCD Mode", 12, fixed(mode), least=1),
        Parameter(0xCF, "LCD Capabilities", 6, fixed(bytes([1, 1, _LINE_LENGTH, 0, 0, 0])), writable=False),
        string_parameter(0xD1, "Platform Model Name", settings.model),
        Parameter(
            0xDD,
            "Controller Type",
            9,
            fixed(bytes(8) + bytes([_IDRAC_13G_MONOLITHIC])),
            sets=range(2, 3),
            writable=False,
        ),
        string_parameter(0xDE, "BMC URL"),
        string_parameter(0xE4, "OS Version"),
        Parameter(0xE7, "LCD Status", 4, fixed(bytes(4)), least=1, valid=lambda value: value[1] <= 2),
    )
