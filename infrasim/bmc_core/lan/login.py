"""Who may begin a session, with which privilege; and who has failed too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import Channel, Privilege
from infrasim.bmc_core.lan.cipher import SUITES, Suite
from infrasim.bmc_core.users import NO_ACCESS, User

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc


class Lockout:
    """Counts failed logins per user and locks one out after too many, for a time or until a success."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self._failures: dict[int, tuple[int, float]] = {}

    def is_locked(self, user_id: int) -> bool:
        """Whether that user is locked out now."""
        most = self._bmc.settings.lockout_failures
        count, last_s = self._failures.get(user_id, (0, 0.0))
        return 0 < most <= count and self._bmc.clock.now_s() - last_s < self._bmc.settings.lockout_s

    def failed(self, user_id: int) -> None:
        """A wrong password was given for that user."""
        if not self._bmc.settings.lockout_failures:
            return
        now_s = self._bmc.clock.now_s()
        count, last_s = self._failures.get(user_id, (0, 0.0))
        if now_s - last_s >= self._bmc.settings.lockout_s:
            count = 0
        self._failures[user_id] = (count + 1, now_s)

    def succeeded(self, user_id: int) -> None:
        """The right password was given."""
        self._failures.pop(user_id, None)


def user_limit(bmc: Bmc, user: User) -> Privilege:
    """The most that ``user`` may be on the LAN channel; NONE is nothing at all."""
    access = user.on(Channel.LAN)
    if not (user.enabled and access.messaging) or access.limit == NO_ACCESS:
        return Privilege.NONE
    limit = Privilege.CALLBACK if access.callback_only else Privilege(access.limit)
    return min(limit, bmc.state.channels.volatile.limit)


def find_user(bmc: Bmc, name: bytes, role: Privilege = Privilege.NONE) -> tuple[int, User] | None:
    """The enabled user of that name who may log in; of several without a name, the first who may be ``role``.

    Names are unique, so lookup by name and by name with role differ for the null name alone.
    Source: IPMI 2.0 section 13.31.
    """
    if not name and not bmc.settings.insecure:
        return None
    for number, user in bmc.state.users.numbered():
        if user.name == name and max(role, Privilege.CALLBACK) <= user_limit(bmc, user):
            return number, user
        if user.name == name and name:
            return (number, user) if user_limit(bmc, user) else None
    return None


def may_be_null(bmc: Bmc) -> tuple[bool, bool, bool]:
    """Whether there are users with a name, without a name, and without name and password, who may log in."""
    users = [user for user in bmc.state.users.users if user_limit(bmc, user)]
    nameless = [user for user in users if not user.name] if bmc.settings.insecure else []
    return any(user.name for user in users), bool(nameless), any(not user.password for user in nameless)


def allowed_suites(bmc: Bmc) -> tuple[Suite, ...]:
    """The cipher suites that sessions may use; suite 0, which asks for no password, only where insecure."""
    return tuple(
        SUITES[number]
        for number in sorted(bmc.settings.cipher_suites)
        if number in SUITES and (number or bmc.settings.insecure)
    )


def suite_limit(bmc: Bmc, suite: Suite) -> Privilege:
    """The most that a session of that suite may be. Source: IPMI 2.0 table 23-4, parameter 24."""
    return Privilege.OEM
