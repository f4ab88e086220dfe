"""Who may log in to the racadm shell, and with which rights."""

from __future__ import annotations

import hmac

from infrasim.bmc.settings import RacadmSettings
from infrasim.bmc_core.codes import Privilege
from infrasim.racadm import controller
from infrasim.racadm.ports import Bmc, BmcRefusal

_APP, _SET_USER_PASSWORD = 0x06, 0x47
_TEST = 3
_LONG = 0x80
# A password was set in the other of its two sizes. Source: IPMI 2.0 section 22.30.
_WRONG_SIZE = 0x81
_SIZES = ((16, 0), (20, _LONG))


def rights(settings: RacadmSettings, bmc: Bmc, username: str, password: str) -> Privilege | None:
    """The rights of a user with that password; None for nobody.

    The user of the node file goes before those of the BMC, who are asked of the BMC itself.

    Raises:
        BmcRefusal: the BMC does not answer.
    """
    if settings.username:
        same = (_equal(username, settings.username), _equal(password, settings.password))
        return Privilege.ADMINISTRATOR if all(same) else None
    user = controller.user_named(bmc, username)
    if user is None or not user.may_log_in or not _is_password(bmc, user.number, password):
        return None
    return Privilege(min(user.privilege, Privilege.ADMINISTRATOR))


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _is_password(bmc: Bmc, number: int, password: str) -> bool:
    """Whether that is the password of a user. Source: IPMI 2.0 section 22.30, test password."""
    wanted = password.encode()
    if b"\0" in wanted:
        return False
    for size, form in _SIZES:
        if len(wanted) > size:
            continue
        try:
            bmc.ask(_APP, _SET_USER_PASSWORD, bytes([form | number, _TEST]) + wanted.ljust(size, b"\0"))
        except BmcRefusal as refusal:
            if refusal.code is None:
                raise
            if refusal.code == _WRONG_SIZE:
                continue
            return False
        return True
    return False
