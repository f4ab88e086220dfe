"""Commands about payloads and serial over LAN: activation, what a channel carries, SOL's parameters.

Which users may activate payloads is the users' module's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import THIS_CHANNEL, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.lan.packet import PAYLOAD_TYPE_MASK
from infrasim.bmc_core.lan.session import PayloadType, Session
from infrasim.bmc_core.message import Refused, Request
from infrasim.bmc_core.sol import PAYLOAD_SIZE, SolSettings
from infrasim.bmc_core.users import may_use_payload

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.lan_channel import LanChannel

# Completion codes of Activate Payload. Source: IPMI 2.0 table 24-2.
_ALREADY_ACTIVE = 0x80
_PAYLOAD_DISABLED = 0x81
_NO_ENCRYPTION = 0x83
_ENCRYPTION_NEEDED = 0x84
# Of Deactivate Payload. Source: IPMI 2.0 table 24-3.
_ALREADY_DEACTIVATED = 0x80
# Of Get Channel Payload Version. Source: IPMI 2.0 table 24-10.
_PAYLOAD_NOT_AVAILABLE = 0x80
# Of Suspend/Resume Payload Encryption. Source: IPMI 2.0 table 24-4.
_NOT_FOR_PAYLOAD, _NOT_AS_CONFIGURED, _NOT_ENCRYPTED, _NOT_ACTIVE = 0x80, 0x81, 0x82, 0x83
_SUSPEND, _RESUME, _NEW_VECTOR = 0, 1, 2
# Of Set and Get SOL Configuration Parameters. Source: IPMI 2.0 tables 26-3 and 26-4.
_PARAMETER_UNSUPPORTED = 0x80
_ALREADY_BEING_SET = 0x81
_READ_ONLY = 0x82

# In the auxiliary data of Activate Payload. Source: IPMI 2.0 table 24-2.
_WITH_ENCRYPTION = 0x80
_WITH_AUTHENTICATION = 0x40

_INSTANCE = 1
_SERIAL_PORT = 1
_NO_VLAN = 0xFFFF
# Payload types 0 to 15 are standard ones, 16 to 31 set sessions up. Source: IPMI 2.0 table 13-16.
_STANDARD = (PayloadType.IPMI, PayloadType.SOL)
_SETUP = (
    PayloadType.OPEN_SESSION_REQUEST,
    PayloadType.OPEN_SESSION_RESPONSE,
    PayloadType.RAKP_1,
    PayloadType.RAKP_2,
    PayloadType.RAKP_3,
    PayloadType.RAKP_4,
)
_PAYLOAD_VERSION = 0x10


def activate_payload(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.1.

    The same session may ask again: its answer was lost on the way. The bit that keeps CTS from the host
    until the console's first packet is not followed: ipmitool 1.8.19 always sets it, and then waits for
    output.
    """
    data = request.need(6)
    session = request.origin.session
    _need_sol(data)
    if session is None or not session.is_rmcp_plus:
        raise Refused(Completion.NOT_IN_THIS_STATE)
    _need_enabled(bmc)
    _need_privilege(bmc, request)
    if not may_use_payload(bmc, session, PayloadType.SOL):
        raise Refused(_PAYLOAD_DISABLED)
    _need_security(bmc, session, data[2])
    if bmc.sol.session not in (None, session):
        raise Refused(_ALREADY_ACTIVE)
    _encrypt(session, wanted=bool(data[2] & _WITH_ENCRYPTION))
    if bmc.sol.session is None:
        bmc.sol.activate(session)
    sizes = (PAYLOAD_SIZE, PAYLOAD_SIZE, bmc.settings.lan_port, _NO_VLAN)
    return bytes(4) + b"".join(number.to_bytes(2, "little") for number in sizes)


def deactivate_payload(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.2. Any session with SOL's privilege may, and the host's own software."""
    _need_sol(request.need(6))
    if not bmc.settings.serial_over_lan:
        raise Refused(_PAYLOAD_DISABLED)
    _need_privilege(bmc, request)
    if bmc.sol.session is None:
        raise Refused(_ALREADY_DEACTIVATED)
    bmc.sol.deactivate(tell=bmc.sol.session is not request.origin.session)
    return b""


def _encrypt(session: Session, *, wanted: bool) -> None:
    session.plain_payloads = frozenset() if wanted else frozenset((PayloadType.SOL,))


def suspend_resume_encryption(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.3. What the console sends may be either way at any time."""
    payload, instance, operation = request.need(3)
    operation &= 0x1F
    if payload & PAYLOAD_TYPE_MASK != PayloadType.SOL or instance != _INSTANCE:
        raise Refused(_NOT_FOR_PAYLOAD)
    session = request.origin.session
    if session is None or bmc.sol.session is not session:
        raise Refused(_NOT_ACTIVE)
    if not session.is_encrypted:
        raise Refused(_NOT_ENCRYPTED)
    if operation > _NEW_VECTOR:
        raise Refused(Completion.INVALID_FIELD)
    if operation == _SUSPEND and bmc.lan.sol.kept.force_encryption:
        raise Refused(_NOT_AS_CONFIGURED)
    # Each packet has a vector of its own anyway.
    if operation != _NEW_VECTOR:
        _encrypt(session, wanted=operation == _RESUME)
    return b""


def get_payload_activation_status(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.4."""
    if request.need(1)[0] != PayloadType.SOL:
        raise Refused(Completion.INVALID_FIELD)
    return bytes([_INSTANCE, int(bmc.sol.session is not None), 0])


def get_payload_instance_info(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.5."""
    _need_sol(request.need(2))
    owner = bmc.sol.session.session_id if bmc.sol.session else 0
    return owner.to_bytes(4, "little") + bytes([_SERIAL_PORT]) + bytes(7)


def get_channel_payload_support(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.8."""
    _lan(bmc, request, request.need(1)[0])
    standard = _STANDARD if bmc.settings.serial_over_lan else _STANDARD[:1]
    masks = (sum(1 << kind for kind in standard), sum(1 << kind - 0x10 for kind in _SETUP), 0, 0)
    return b"".join(mask.to_bytes(2, "little") for mask in masks)


def get_channel_payload_version(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.9."""
    data = request.need(2)
    _lan(bmc, request, data[0])
    is_off = data[1] == PayloadType.SOL and not bmc.settings.serial_over_lan
    if is_off or data[1] not in (*_STANDARD, *_SETUP):
        raise Refused(_PAYLOAD_NOT_AVAILABLE)
    return bytes([_PAYLOAD_VERSION])


def _need_sol(data: bytes) -> None:
    """The first two bytes name SOL's one instance."""
    if data[0] != PayloadType.SOL or data[1] != _INSTANCE:
        raise Refused(Completion.INVALID_FIELD)


def _need_enabled(bmc: Bmc) -> None:
    if not (bmc.settings.serial_over_lan and bmc.lan.sol.kept.enabled):
        raise Refused(_PAYLOAD_DISABLED)


def _need_privilege(bmc: Bmc, request: Request) -> None:
    """Payloads are activated and deactivated with the privilege in SOL's own parameters."""
    if request.origin.privilege < bmc.lan.sol.kept.privilege:
        raise Refused(Completion.INSUFFICIENT_PRIVILEGE)


def _need_security(bmc: Bmc, session: Session, wanted: int) -> None:
    """What the console wants must be what the session can do and the parameters demand."""
    if wanted & _WITH_ENCRYPTION and not session.is_encrypted:
        raise Refused(_NO_ENCRYPTION)
    if bmc.lan.sol.kept.force_encryption and not wanted & _WITH_ENCRYPTION:
        raise Refused(_ENCRYPTION_NEEDED)
    if bmc.lan.sol.kept.force_authentication and not wanted & _WITH_AUTHENTICATION:
        raise Refused(Completion.INVALID_FIELD)


def _lan(bmc: Bmc, request: Request, number: int) -> LanChannel:
    """The channel that is meant; "this channel" means the main one on the system interface as well."""
    if number & 0x0F == THIS_CHANNEL and request.origin.session is None:
        return bmc.lan
    return bmc.lans.named(request, number)


# SOL's parameters: selectors, and how each is read and written. Source: IPMI 2.0 table 26-5.
_REVISION = 0x11
_SET_IN_PROGRESS = 0
_REVISION_ONLY = 0x80
_BIT_RATES = range(6, 11)
_SET_COMPLETE, _BEING_SET, _COMMIT = 0, 1, 2


def set_sol_parameter(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 26.2."""
    data = request.need(2, 20)
    lan = _lan(bmc, request, data[0])
    selector, values = data[1], data[2:]
    if selector not in _WRITERS:
        _read(bmc, lan, selector)
        raise Refused(_READ_ONLY)
    size, write = _WRITERS[selector]
    if len(values) != size:
        raise Refused(Completion.LENGTH_INVALID)
    write(bmc, lan.sol, values)
    if selector != _SET_IN_PROGRESS:
        bmc.changed()
    return b""


def get_sol_parameter(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 26.3."""
    data = request.need(4)
    values = _read(bmc, _lan(bmc, request, data[0]), data[1])
    return bytes([_REVISION]) if data[0] & _REVISION_ONLY else bytes([_REVISION]) + values


def _read(bmc: Bmc, lan: LanChannel, selector: int) -> bytes:
    """The value of a parameter.

    Raises:
        Refused: there is no such parameter.
    """
    state = lan.sol.kept
    match selector:
        case 0:
            return bytes([_BEING_SET if lan.sol.is_being_set else _SET_COMPLETE])
        case 1:
            return bytes([bmc.settings.serial_over_lan and state.enabled])
        case 2:
            return bytes([state.force_encryption << 7 | state.force_authentication << 6 | state.privilege])
        case 3:
            return bytes([state.accumulate_interval, state.send_threshold])
        case 4:
            return bytes([state.retry_count, state.retry_interval])
        case 5:
            return bytes([state.bit_rate])
        case 6:
            return bytes([lan.sol.bit_rate])
        case 7:
            return bytes([lan.number])
        case 8:
            return bmc.settings.lan_port.to_bytes(2, "little")
        case _:
            raise Refused(_PARAMETER_UNSUPPORTED)


def _write_progress(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    """Writes are immediate, so a commit finds everything saved."""
    if values[0] not in (_SET_COMPLETE, _BEING_SET, _COMMIT):
        raise Refused(Completion.INVALID_FIELD)
    if values[0] == _BEING_SET and sol.is_being_set:
        raise Refused(_ALREADY_BEING_SET)
    sol.is_being_set = values[0] != _SET_COMPLETE


def _write_enable(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    if values[0] & 1 and not bmc.settings.serial_over_lan:
        raise Refused(Completion.DISABLED)
    sol.kept.enabled = bool(values[0] & 1)


def _write_authentication(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    level = values[0] & 0x0F
    if not Privilege.USER <= level <= Privilege.OEM:
        raise Refused(Completion.INVALID_FIELD)
    state = sol.kept
    state.privilege = Privilege(level)
    state.force_encryption = bool(values[0] & 0x80)
    state.force_authentication = bool(values[0] & 0x40)


def _write_accumulation(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    if 0 in values:
        raise Refused(Completion.INVALID_FIELD)
    sol.kept.accumulate_interval, sol.kept.send_threshold = values


def _write_retry(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    sol.kept.retry_count, sol.kept.retry_interval = values[0] & 0x07, values[1]


def _write_bit_rate(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    sol.kept.bit_rate = _bit_rate(values)


def _write_volatile_bit_rate(bmc: Bmc, sol: SolSettings, values: bytes) -> None:
    sol.bit_rate = _bit_rate(values)


def _bit_rate(values: bytes) -> int:
    """0 would be the rate of the serial channel of IPMI 2.0 section 6.3, and there is none."""
    if values[0] & 0x0F not in _BIT_RATES:
        raise Refused(Completion.INVALID_FIELD)
    return values[0] & 0x0F


# Number of bytes, and what writes them.
_WRITERS: dict[int, tuple[int, Callable[[Bmc, SolSettings, bytes], None]]] = {
    _SET_IN_PROGRESS: (1, _write_progress),
    1: (1, _write_enable),
    2: (1, _write_authentication),
    3: (2, _write_accumulation),
    4: (2, _write_retry),
    5: (1, _write_bit_rate),
    6: (1, _write_volatile_bit_rate),
}

_USER, _ADMINISTRATOR = Privilege.USER, Privilege.ADMINISTRATOR
_APP, _TRANSPORT = NetFn.APP, NetFn.TRANSPORT

# Privileges: IPMI 2.0 appendix G. A payload's own parameters say who may activate it.
COMMANDS = (
    Command(_APP, 0x48, "Activate Payload", _USER, "24.1", activate_payload),
    Command(_APP, 0x49, "Deactivate Payload", _USER, "24.2", deactivate_payload),
    Command(_APP, 0x4A, "Get Payload Activation Status", _USER, "24.4", get_payload_activation_status),
    Command(_APP, 0x4B, "Get Payload Instance Info", _USER, "24.5", get_payload_instance_info),
    Command(_APP, 0x4E, "Get Channel Payload Support", _USER, "24.8", get_channel_payload_support),
    Command(_APP, 0x4F, "Get Channel Payload Version", _USER, "24.9", get_channel_payload_version),
    Command(_APP, 0x55, "Suspend/Resume Payload Encryption", _USER, "24.3", suspend_resume_encryption),
    Command(_TRANSPORT, 0x21, "Set SOL Configuration Parameters", _ADMINISTRATOR, "26.2", set_sol_parameter),
    Command(_TRANSPORT, 0x22, "Get SOL Configuration Parameters", _USER, "26.3", get_sol_parameter),
)
