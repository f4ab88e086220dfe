"""Who may begin a session, with which privilege; and who has failed too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import BMC_ADDRESS, Privilege
from infrasim.bmc_core.lan.cipher import SUITES, Suite
from infrasim.bmc_core.lan_config import lockout, suite_privileges
from infrasim.bmc_core.users import NO_ACCESS, User

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc
    from infrasim.bmc_core.lan_channel import LanChannel


# "Invalid password disable", with user and channel behind it. Source: IPMI 2.0 table 42-3, sensor type 2Ah.
_SESSION_AUDIT, _SENSOR_SPECIFIC, _PASSWORD_DISABLE = 0x2A, 0x6F, 0xF3
_NO_SENSOR = 0xFF


class Lockout:
    """Counts failed logins per user and locks one out after too many.

    How many and for how long is the bad password threshold of the LAN parameters. Time 0 locks a user out
    until an administrator sets the password or enables the user.
    """

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._failures: dict[int, tuple[int, float]] = {}

    def is_locked(self, user_id: int) -> bool:
        """Whether that user is locked out now."""
        if user_id not in self._failures:
            return False
        threshold = lockout(self._bmc)
        count, last_s = self._failures[user_id]
        if not 0 < threshold.failures <= count:
            return False
        return not threshold.lockout_s or self._bmc.clock.now_s() - last_s < threshold.lockout_s

    def failed(self, user_id: int) -> None:
        """A wrong password was given for that user."""
        threshold = lockout(self._bmc)
        if not threshold.failures or self.is_locked(user_id):
            return
        now_s = self._bmc.clock.now_s()
        count, last_s = self._failures.get(user_id, (0, now_s))
        forgotten = threshold.reset_s and now_s - last_s >= threshold.reset_s
        # One that was locked out before begins anew.
        if forgotten or count >= threshold.failures:
            count = 0
        self._failures[user_id] = (count + 1, now_s)
        if threshold.audit and count + 1 == threshold.failures:
            self._log(user_id)

    def _log(self, user_id: int) -> None:
        self._bmc.log_event(
            generator=BMC_ADDRESS,
            sensor_type=_SESSION_AUDIT,
            sensor=_NO_SENSOR,
            event_type=_SENSOR_SPECIFIC,
            data=bytes([_PASSWORD_DISABLE, user_id, self._bmc.lan.number]),
        )

    def forget(self, user_id: int) -> None:
        """The right password was given, or an administrator lets the user in again."""
        self._failures.pop(user_id, None)


def user_limit(user: User, lan: LanChannel) -> Privilege:
    """The most that ``user`` may be on a LAN channel; NONE is nothing at all."""
    access = user.on(lan.number)
    if not (user.enabled and access.messaging) or access.limit == NO_ACCESS:
        return Privilege.NONE
    limit = Privilege.CALLBACK if access.callback_only else Privilege(access.limit)
    return min(limit, lan.access.volatile.limit)


def find_user(bmc: Bmc, name: bytes, role: Privilege = Privilege.NONE) -> tuple[int, User] | None:
    """The enabled user of that name who may log in; of several without a name, the first who may be ``role``.

    Names are unique, so lookup by name and by name with role differ for the null name alone.
    Source: IPMI 2.0 section 13.31.
    """
    if not name and not bmc.settings.insecure:
        return None
    for number, user in enumerate(bmc.state.users.users, 1):
        if user.name != name:
            continue
        limit = user_limit(user, bmc.lan)
        if max(role, Privilege.CALLBACK) <= limit:
            return number, user
        if name:
            return (number, user) if limit else None
    return None


def may_be_null(bmc: Bmc, lan: LanChannel) -> tuple[bool, bool, bool]:
    """Whether there are users with a name, without a name, and without name and password, who may log in."""
    users = [user for user in bmc.state.users.users if user_limit(user, lan)]
    nameless = [user for user in users if not user.name] if bmc.settings.insecure else []
    return any(user.name for user in users), bool(nameless), any(not user.password for user in nameless)


def allowed_suites(lan: LanChannel) -> tuple[Suite, ...]:
    """The cipher suites that sessions may use; suite 0, which asks for no password, only where insecure."""
    return tuple(SUITES[number] for number, _ in suite_privileges(lan.parameters) if number in SUITES)
