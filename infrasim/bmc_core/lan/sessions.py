"""The table of a BMC's LAN sessions: active ones, and those whose login has begun. All of it is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import urandom
from typing import TYPE_CHECKING, Any, TypeVar

from infrasim.bmc_core.codes import Privilege
from infrasim.bmc_core.lan.cipher import Suite
from infrasim.bmc_core.lan.link import Link, send_nowhere
from infrasim.bmc_core.lan.login import Lockout
from infrasim.bmc_core.lan.session import Peer, Session
from infrasim.bmc_core.ports import Timer

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# Sessions that are active at a time: as many as Get Session Info can tell. Source: IPMI 2.0 table 22-25.
SESSIONS_MOST = 63
# Logins that have begun, per format. When there are more, the oldest is forgotten: a flood may make new
# logins fail for as long as it lasts, but can take no memory.
LOGINS_MOST = 256
# Source: IPMI 2.0 section 6.12.15: 60 s, plus or minus 3 s.
IDLE_S = 60.0
LOGIN_S = 5.0


@dataclass(slots=True)
class Opening:
    """An RMCP+ session that is not active yet; ``code`` is what RAKP message 3 has to bring.

    The names follow IPMI 2.0 section 13.31: SIDm and SIDc, Rm and Rc, Role, SIK.
    """

    console_id: int
    session_id: int
    suite: Suite
    limit: Privilege
    peer: Peer
    since_s: float
    user_id: int = 0
    role: Privilege = Privilege.NONE
    session_key: bytes = b""
    code: bytes = b""
    final: bytes = b""
    rakp_1: bytes = b""
    rakp_2: bytes = b""


@dataclass(slots=True)
class Challenge:
    """An IPMI 1.5 session that is not active yet. Source: IPMI 2.0 section 22.16."""

    session_id: int
    user_id: int
    authentication: int
    text: bytes
    password: bytes
    since_s: float


_Login = TypeVar("_Login", Opening, Challenge)


class Sessions:
    """The sessions of one BMC, by their id. Whoever ends one here tells whoever uses it."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self.lockout = Lockout(bmc)
        self._links: dict[int, Link] = {}
        self._openings: dict[int, Opening] = {}
        self._challenges: dict[int, Challenge] = {}
        self._sweep: tuple[float, Timer] | None = None

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Session]:
        return iter([link.session for link in self._links.values()])

    @property
    def logins(self) -> int:
        """How many logins have begun."""
        return len(self._openings) + len(self._challenges)

    def link(self, session_id: int) -> Link | None:
        """The active session of that id."""
        return self._links.get(session_id)

    def opening(self, session_id: int) -> Opening | None:
        """The RMCP+ login of that id, if it is not too old."""
        return _fresh(self._openings.get(session_id), self._bmc.clock.now_s())

    def challenge(self, session_id: int) -> Challenge | None:
        """The IPMI 1.5 login of that id, if it is not too old."""
        return _fresh(self._challenges.get(session_id), self._bmc.clock.now_s())

    def by_handle(self, handle: int) -> Session | None:
        """The active session with that handle."""
        return next((each for each in self if each.handle == handle), None)

    def is_full(self, user_id: int = 0) -> bool:
        """Whether no session can be added, or none of that user."""
        if len(self._links) >= SESSIONS_MOST:
            return True
        most = self._bmc.state.users.get(user_id).session_limit if user_id else 0
        return bool(most) and sum(each.user_id == user_id for each in self) >= most

    def new_id(self) -> int:
        """An id that nothing has and nobody can guess."""
        while True:
            number = int.from_bytes(urandom(4), "little")
            taken = number in self._links or number in self._openings or number in self._challenges
            if number and not taken:
                return number

    def new_handle(self) -> int:
        """The lowest handle that is free."""
        used = {each.handle for each in self}
        return next(number for number in range(1, SESSIONS_MOST + 2) if number not in used)

    def begin_opening(self, opening: Opening) -> None:
        """Remember an RMCP+ login."""
        self._openings[opening.session_id] = opening
        _forget_oldest(self._openings)
        self._sweep_in(LOGIN_S)

    def begin_challenge(self, challenge: Challenge) -> None:
        """Remember an IPMI 1.5 login."""
        self._challenges[challenge.session_id] = challenge
        _forget_oldest(self._challenges)
        self._sweep_in(LOGIN_S)

    def drop_login(self, session_id: int) -> None:
        """Forget a login that failed."""
        self._openings.pop(session_id, None)
        self._challenges.pop(session_id, None)

    def add(self, link: Link) -> None:
        """A login succeeded: its session is active."""
        self.drop_login(link.session.session_id)
        self._links[link.session.session_id] = link
        self._sweep_in(IDLE_S)

    def close(self, session: Session) -> None:
        """End a session; nothing happens if it has ended."""
        if self._links.pop(session.session_id, None) is None:
            return
        # The session would keep its link alive, and the link the session.
        session.send_payload = send_nowhere
        self._bmc.sol.session_closed(session)

    def forget_all(self) -> None:
        """End every session and login, as a reset of the BMC does."""
        self._openings.clear()
        self._challenges.clear()
        for session in self:
            self.close(session)

    def _sweep_in(self, delay_s: float) -> None:
        at_s = self._bmc.clock.now_s() + delay_s
        if self._sweep is not None:
            if self._sweep[0] <= at_s:
                return
            self._sweep[1].cancel()
        self._sweep = (at_s, self._bmc.clock.later(delay_s, self._forget_old))

    def _forget_old(self) -> None:
        self._sweep = None
        now_s = self._bmc.clock.now_s()
        for openings in (self._openings, self._challenges):
            for number in [key for key, each in openings.items() if now_s - each.since_s >= LOGIN_S]:
                self.drop_login(number)
        for link in list(self._links.values()):
            if now_s - link.last_heard_s >= IDLE_S:
                self.close(link.session)
        ends_s = [each.since_s + LOGIN_S for each in self._openings.values()]
        ends_s += [each.since_s + LOGIN_S for each in self._challenges.values()]
        ends_s += [link.last_heard_s + IDLE_S for link in self._links.values()]
        if ends_s:
            self._sweep_in(max(min(ends_s) - now_s, 1.0))


def _fresh(login: _Login | None, now_s: float) -> _Login | None:
    return login if login is not None and now_s - login.since_s < LOGIN_S else None


def _forget_oldest(logins: dict[int, Any]) -> None:
    while len(logins) > LOGINS_MOST:
        del logins[next(iter(logins))]
