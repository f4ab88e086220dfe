"""System info parameters (names and versions that the host and its administrators leave) and ACPI state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.codes import Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.parameters import (
    READ_ONLY,
    REVISION,
    Parameter,
    ParameterState,
    ParameterStore,
    answer_read,
)
from infrasim.frozen import Frozen

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# A string is a byte of encoding, one of length and up to 255 characters, in blocks of 16 bytes.
_BLOCKS = range(17)
_BLOCK_SIZE = 16
_OS_NAME = 4

# Source: IPMI 2.0 tables 20-7 and 20-8. Off, and not known.
_S0, _S5, _UNKNOWN, _NO_CHANGE = 0x00, 0x05, 0x2A, 0x7F
# From S0 to G1; S5 by override, legacy on and off.
_SYSTEM_STATES = frozenset((*range(0x0B), 0x20, 0x21, _UNKNOWN))
# S4, S5 or one of them, G3, S5 by override, legacy off.
_OFF_STATES = frozenset((0x04, _S5, 0x06, 0x07, 0x0A, 0x21))
_DEVICE_STATES = frozenset((*range(4), _UNKNOWN))


@dataclass
class AcpiState:
    """What software said last; forgotten when the host starts or the BMC does."""

    system: int = _UNKNOWN
    device: int = _UNKNOWN


class LiveParameter(Frozen):
    """A parameter of a manufacturer that tells and changes something else.

    ``read`` gets what follows the number in Get System Info Parameters: set and block selector, and more if
    the client sends it. ``write`` gets the value, and is None where there is nothing to write.
    """

    read: Callable[[Bmc, bytes], bytes]
    write: Callable[[Bmc, bytes], None] | None = None


def string_blocks(text: bytes) -> tuple[bytes, ...]:
    """The blocks of an ASCII string. Source: IPMI 2.0 table 22-16b, parameters 1 to 7."""
    whole = bytes([0, min(len(text), 0xFF)]) + text[:0xFF]
    return tuple(
        whole[at : at + _BLOCK_SIZE].ljust(_BLOCK_SIZE, b"\0") for at in range(0, len(whole), _BLOCK_SIZE)
    )


def string_parameter(number: int, name: str, text: str = "", *, volatile: bool = False) -> Parameter:
    """A parameter that is a string, at first ``text``."""
    blocks = string_blocks(text.encode("ascii", "replace"))
    return Parameter(
        number,
        name,
        _BLOCK_SIZE,
        lambda selector: blocks[selector] if selector < len(blocks) else bytes(_BLOCK_SIZE),
        sets=_BLOCKS,
        least=1,
        volatile=_BLOCKS if volatile else range(0),
    )


def read_string(store: ParameterStore, number: int) -> bytes:
    """The characters of a string parameter, in whatever encoding was set."""
    whole = b"".join(store.value(number, selector) for selector in _BLOCKS)
    return whole[2 : 2 + whole[1]]


def system_info_parameters(
    settings: CoreSettings, state: ParameterState, oem: Iterable[Parameter], *, changed: Callable[[], None]
) -> ParameterStore:
    """The system info parameters with those of the manufacturer. Source: IPMI 2.0 table 22-16b."""
    standard = (
        string_parameter(1, "System Firmware Version", settings.system_firmware),
        string_parameter(2, "System Name"),
        string_parameter(3, "Primary Operating System Name"),
        string_parameter(_OS_NAME, "Operating System Name", volatile=True),
        string_parameter(5, "Present OS Version Number"),
        string_parameter(6, "BMC URL"),
        string_parameter(7, "Base OS or Hypervisor URL"),
    )
    return ParameterStore((*standard, *oem), state, changed=changed)


def host_started(bmc: Bmc) -> None:
    """The host was switched on or reset: what its system had told no longer holds."""
    bmc.system_info.forget(_OS_NAME)
    bmc.acpi.system = bmc.acpi.device = _UNKNOWN


def set_system_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.14a."""
    data = request.need(2, 64)
    live = bmc.live_parameters.get(data[0])
    if live is None:
        bmc.system_info.write(data[0], data[1:])
    elif live.write is None:
        raise Refused(READ_ONLY)
    else:
        live.write(bmc, data[1:])
    return b""


def get_system_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.14b."""
    live = bmc.live_parameters.get(request.data[1]) if len(request.data) > 1 else None
    if live is None:
        return answer_read(bmc.system_info, request, request.need(4)[1], at=2)
    data = request.need(4, 6)
    return bytes([REVISION]) if data[0] & 0x80 else bytes([REVISION]) + live.read(bmc, data[2:])


def set_acpi_power_state(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 20.6. Bit 7 of each byte says whether it is to be set."""
    system, device = request.need(2)
    for value, known in ((system, _SYSTEM_STATES), (device, _DEVICE_STATES)):
        if value & 0x80 and value & 0x7F not in known | {_NO_CHANGE}:
            raise Refused(Completion.INVALID_FIELD)
    if system & 0x80 and system & 0x7F != _NO_CHANGE:
        bmc.acpi.system = system & 0x7F
    if device & 0x80 and device & 0x7F != _NO_CHANGE:
        bmc.acpi.device = device & 0x7F
    return b""


def get_acpi_power_state(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 20.7. A host without power is in S5 or as its software said."""
    request.need(0)
    if not bmc.chassis.power_is_on():
        system = bmc.acpi.system if bmc.acpi.system in _OFF_STATES else _S5
        return bytes([system, _UNKNOWN if bmc.acpi.device == _UNKNOWN else bmc.acpi.device])
    return bytes([_S0 if bmc.acpi.system == _UNKNOWN else bmc.acpi.system, bmc.acpi.device])


_USER, _ADMINISTRATOR = Privilege.USER, Privilege.ADMINISTRATOR

COMMANDS = (
    Command(NetFn.APP, 0x06, "Set ACPI Power State", _ADMINISTRATOR, "20.6", set_acpi_power_state),
    Command(NetFn.APP, 0x07, "Get ACPI Power State", _USER, "20.7", get_acpi_power_state),
    Command(NetFn.APP, 0x58, "Set System Info Parameters", _ADMINISTRATOR, "22.14a", set_system_info),
    Command(NetFn.APP, 0x59, "Get System Info Parameters", _USER, "22.14b", get_system_info),
)
