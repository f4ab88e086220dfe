"""Users: who may log in, with which password and privilege. Source: IPMI 2.0 sections 22.26 to 22.32."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Channel, Completion, NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Refused, Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.lan.session import Session

USERS_MOST = 15
# User 1 has the null name for ever. Source: IPMI 2.0 section 6.9.
NULL_USER = 1
# The user of the node file.
NODE_USER = 2

NAME_LENGTH = 16
SHORT_PASSWORD, LONG_PASSWORD = 16, 20

# "No access". Source: IPMI 2.0 table 22-30.
NO_ACCESS = 0xF
_PRINTABLE = range(0x21, 0x7F)

# Standard payloads 0 to 7, SOL is bit 1; the second byte is for 8 to 15. Source: IPMI 2.0 table 24-6.
_SOL_PAYLOAD = 0x02

# Completion codes of Set User Password. Source: IPMI 2.0 table 22-33.
_WRONG_PASSWORD, _WRONG_PASSWORD_SIZE = 0x80, 0x81


@dataclass
class UserAccess:
    """What one user may do on one channel; ``limit`` is a privilege or NO_ACCESS.

    ``payloads`` are the enables of standard payloads.
    """

    limit: int = NO_ACCESS
    messaging: bool = False
    link_authentication: bool = False
    callback_only: bool = False
    payloads: int = _SOL_PAYLOAD
    oem_payloads: int = 0


@dataclass
class User:
    """One user. The password is kept as it is, because keyed hashes need it.

    ``long_password`` tells that it was set in the 20-byte form, which IPMI 1.5 cannot use.
    """

    name: bytes = b""
    password: bytes = b""
    long_password: bool = False
    enabled: bool = False
    session_limit: int = 0
    access: dict[int, UserAccess] = field(default_factory=dict)

    def on(self, channel: int) -> UserAccess:
        """The access on that channel."""
        found = self.access.get(channel)
        if found is None:
            found = self.access[channel] = UserAccess()
        return found


@dataclass
class UserState:
    """All users; number n has index n - 1. ``origin`` is a digest of the node file's user."""

    users: list[User] = field(default_factory=lambda: [User() for _ in range(USERS_MOST)])
    origin: str = ""

    def get(self, number: int) -> User:
        """The user of that number.

        Raises:
            Refused: there is none.
        """
        if not 1 <= number <= USERS_MOST or number > len(self.users):
            raise Refused(Completion.OUT_OF_RANGE)
        return self.users[number - 1]

    def numbered(self) -> list[tuple[int, User]]:
        """Every user with its number."""
        return list(enumerate(self.users, 1))


def prepare(bmc: Bmc) -> None:
    """Make the node file's user, at the first start and after the file's user was changed.

    On a channel that is new it may do everything, as on the others at first.

    Whoever starts the BMC writes its state then, so ``changed`` is not called.
    """
    state, settings = bmc.state.users, bmc.settings
    state.users += [User() for _ in range(USERS_MOST - len(state.users))]
    channels = (*bmc.lans.numbers, int(Channel.SYSTEM_INTERFACE))
    origin = hashlib.sha256(f"{settings.username}\0{settings.password}".encode()).hexdigest()
    name = settings.username.encode()[:NAME_LENGTH]
    if state.origin == origin:
        for each in state.users:
            if each.name == name:
                _let_in(each, channels)
        return
    password = settings.password.encode()[:LONG_PASSWORD]
    for index, other in enumerate(state.users):
        if other.name == name:
            state.users[index] = User()
    user = User(name, password, long_password=len(password) > SHORT_PASSWORD, enabled=True)
    _let_in(user, channels)
    state.users[NODE_USER - 1] = user
    state.origin = origin


def _let_in(user: User, channels: Iterable[int]) -> None:
    """Let a user do everything on those of the channels where nothing is said yet."""
    for channel in channels:
        whole = UserAccess(Privilege.ADMINISTRATOR, messaging=True, link_authentication=True)
        user.access.setdefault(channel, whole)


def may_use_payload(bmc: Bmc, session: Session, payload: int) -> bool:
    """Whether the user of a session may activate the standard payload of that type."""
    access = bmc.state.users.get(session.user_id).on(session.channel)
    return bool(access.payloads >> payload & 1)


def _channel(bmc: Bmc, request: Request, number: int) -> int:
    """A channel that users have access to."""
    channel = request.channel(number)
    return channel if channel == Channel.SYSTEM_INTERFACE else bmc.lans.named(request, number).number


def set_user_access(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.26."""
    data = request.need(3, 4)
    access = bmc.state.users.get(data[1] & 0x3F).on(_channel(bmc, request, data[0]))
    limit = data[2] & 0x0F
    if limit not in (*range(Privilege.CALLBACK, Privilege.OEM + 1), NO_ACCESS):
        raise Refused(Completion.INVALID_FIELD)
    if data[0] & 0x80:
        access.callback_only = bool(data[0] & 0x40)
        access.link_authentication = bool(data[0] & 0x20)
        access.messaging = bool(data[0] & 0x10)
    access.limit = limit
    if len(data) > 3:
        bmc.state.users.get(data[1] & 0x3F).session_limit = data[3] & 0x0F
    bmc.changed()
    return b""


def get_user_access(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.27."""
    data = request.need(2)
    user = bmc.state.users.get(data[1] & 0x3F)
    access = user.on(_channel(bmc, request, data[0]))
    status = 0x40 if user.enabled else 0x80
    enabled = sum(each.enabled for each in bmc.state.users.users)
    bits = access.callback_only << 6 | access.link_authentication << 5 | access.messaging << 4
    return bytes([USERS_MOST, status | enabled, 1, bits | access.limit])


def set_user_name(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.28."""
    data = request.need(1 + NAME_LENGTH)
    number = data[0] & 0x3F
    user = bmc.state.users.get(number)
    name, _, rest = data[1:].partition(b"\0")
    taken = name and any(other is not user and other.name == name for other in bmc.state.users.users)
    wrong = any(byte not in _PRINTABLE for byte in name) or any(rest)
    if number == NULL_USER or taken or wrong:
        raise Refused(Completion.INVALID_FIELD)
    user.name = name
    bmc.changed()
    return b""


def get_user_name(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.29."""
    return bmc.state.users.get(request.need(1)[0] & 0x3F).name.ljust(NAME_LENGTH, b"\0")


def set_user_password(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 22.30."""
    data = request.need(2, 2 + LONG_PASSWORD)
    user = bmc.state.users.get(data[0] & 0x3F)
    is_long = bool(data[0] & 0x80)
    match data[1] & 0x03:
        case 0 | 1 as operation:
            user.enabled = bool(operation)
            bmc.sessions.lockout.forget(data[0] & 0x3F)
        case 2:
            user.password = _password(data, is_long=is_long)
            user.long_password = is_long
            bmc.sessions.lockout.forget(data[0] & 0x3F)
        case _:
            password = _password(data, is_long=is_long)
            if is_long is not user.long_password:
                raise Refused(_WRONG_PASSWORD_SIZE)
            if not hmac.compare_digest(password, user.password):
                raise Refused(_WRONG_PASSWORD)
            return b""
    bmc.changed()
    return b""


def _password(data: bytes, *, is_long: bool) -> bytes:
    if len(data) != 2 + (LONG_PASSWORD if is_long else SHORT_PASSWORD):
        raise Refused(Completion.LENGTH_INVALID)
    return data[2:].rstrip(b"\0")


def set_user_payload_access(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.6."""
    data = request.need(6)
    access = bmc.state.users.get(data[1] & 0x3F).on(bmc.lans.named(request, data[0]).number)
    if data[1] >> 6 > 1:
        raise Refused(Completion.INVALID_FIELD)
    if data[1] >> 6:
        access.payloads &= ~(data[2] & 0xFE)
        access.oem_payloads &= ~data[4]
    else:
        access.payloads |= data[2] & 0xFE
        access.oem_payloads |= data[4]
    bmc.changed()
    return b""


def get_user_payload_access(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 24.7."""
    data = request.need(2)
    access = bmc.state.users.get(data[1] & 0x3F).on(bmc.lans.named(request, data[0]).number)
    return bytes([access.payloads, 0, access.oem_payloads, 0])


_OPERATOR, _ADMINISTRATOR = Privilege.OPERATOR, Privilege.ADMINISTRATOR

# Privileges: IPMI 2.0 appendix G.
COMMANDS = (
    Command(NetFn.APP, 0x43, "Set User Access", _ADMINISTRATOR, "22.26", set_user_access),
    Command(NetFn.APP, 0x44, "Get User Access", _OPERATOR, "22.27", get_user_access),
    Command(NetFn.APP, 0x45, "Set User Name", _ADMINISTRATOR, "22.28", set_user_name),
    Command(NetFn.APP, 0x46, "Get User Name", _OPERATOR, "22.29", get_user_name),
    Command(NetFn.APP, 0x47, "Set User Password", _ADMINISTRATOR, "22.30", set_user_password),
    Command(NetFn.APP, 0x4C, "Set User Payload Access", _ADMINISTRATOR, "24.6", set_user_payload_access),
    Command(NetFn.APP, 0x4D, "Get User Payload Access", _OPERATOR, "24.7", get_user_payload_access),
)
