"""The SSH door of the racadm shell: logins, sessions, and their limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import asyncssh

from infrasim.bmc_core.codes import Privilege
from infrasim.racadm.commands import Answer
from infrasim.racadm.shell import LINE_MOST, Shell

LOG = logging.getLogger(__name__)

# Who is not logged in by then is cut off; of more than so many the oldest gives way.
# Source: LoginGraceTime of sshd_config(5), its default.
LOGIN_WITHIN_S = 120.0
STRANGERS_MOST = 32
# Wrong passwords on one connection. Source: MaxAuthTries of sshd_config(5).
TRIES_MOST = 6
SESSIONS_MOST = 16
# Connections of those who are logged in; a further one is refused.
FRIENDS_MOST = 32
# How long a session may say nothing. Source: iDRAC.SSH.Timeout, its default.
IDLE_MOST_S = 1800.0
# A client that is gone without a word is noticed by then.
_ALIVE_EVERY_S = 60.0
_ALIVE_MISSED_MOST = 3
_BACKLOG = 100
# A client takes what comes before the end of its connection, but not what comes together with it. Who has its
# answer hangs up by itself; only one that does not is cut off then.
_ANSWER_LEAVES_S = 10.0
_RIGHTS = "rights"
_FAILURE = 1

# Name and password to rights, None for nobody; raises nothing.
LogIn = Callable[[str, str], Privilege | None]
# Rights and a command line to the answer, and rights to the shell of a session.
Run = Callable[[Privilege, str], Answer]
Open = Callable[[Privilege], Shell]


class Door:
    """Listens, and knows who is connected."""

    def __init__(self, *, log_in: LogIn, run: Run, shell: Open, say: Callable[[Shell, str], Answer]) -> None:
        self._log_in = log_in
        self._run = run
        self._shell = shell
        self._say = say
        self._here: set[asyncssh.SSHServerConnection] = set()
        # In the order they came.
        self._strangers: dict[asyncssh.SSHServerConnection, None] = {}
        self._friends: set[asyncssh.SSHServerConnection] = set()
        self._sessions = 0

    async def open(self, address: str, port: int, keys: list[asyncssh.SSHKey]) -> asyncssh.SSHAcceptor:
        """Begin to listen.

        Raises:
            OSError: the address cannot be had.
        """
        return await asyncssh.listen(
            address,
            port,
            server_host_keys=keys,
            server_factory=lambda: _Client(self),
            process_factory=self._serve,
            reuse_address=True,
            backlog=_BACKLOG,
            encoding="utf-8",
            errors="replace",
            login_timeout=LOGIN_WITHIN_S,
            keepalive_interval=_ALIVE_EVERY_S,
            keepalive_count_max=_ALIVE_MISSED_MOST,
            max_line_length=LINE_MOST,
            compression_algs=None,
            public_key_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            agent_forwarding=False,
            x11_forwarding=False,
        )

    # --- who is there

    def came(self, connection: asyncssh.SSHServerConnection) -> None:
        """Somebody connected."""
        if len(self._strangers) >= STRANGERS_MOST:
            # At once, because its end is told later: of many who come together as many have to go.
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()
        self._strangers[connection] = None
        self._here.add(connection)

    def went(self, connection: asyncssh.SSHServerConnection) -> None:
        """A connection ended."""
        self._here.discard(connection)
        self._strangers.pop(connection, None)
        self._friends.discard(connection)

    async def judge(self, connection: asyncssh.SSHServerConnection, name: str, password: str) -> bool:
        """Whether somebody may come in."""
        rights = await asyncio.to_thread(self._log_in, name, password)
        peer = connection.get_extra_info("peername")
        where = peer[0] if peer else "?"
        if connection not in self._here:
            LOG.warning("%s: %.64r went before it was judged", where, name)
            return False
        if rights is None or len(self._friends) >= FRIENDS_MOST:
            why = "refused" if rights is None else "refused: there are too many"
            LOG.warning("%s: login of %.64r %s", where, name, why)
            return False
        LOG.info("%s: %.64r logged in", where, name)
        connection.set_extra_info(**{_RIGHTS: rights})
        self._strangers.pop(connection, None)
        self._friends.add(connection)
        return True

    def end_sessions(self, last: asyncssh.SSHServerConnection) -> None:
        """Cut everybody off, as a controller that is reset does; ``last`` is to hear its answer first."""
        for connection in self._friends - {last}:
            connection.close()
        asyncio.get_running_loop().call_later(_ANSWER_LEAVES_S, self._end, last)

    def _end(self, connection: asyncssh.SSHServerConnection) -> None:
        if connection in self._friends:
            connection.close()

    # --- sessions

    async def _serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        self._sessions += 1
        code = _FAILURE
        try:
            if self._sessions > SESSIONS_MOST:
                process.stdout.write("ERROR: The maximum number of user sessions is reached.\n")
            elif process.subsystem is not None:
                process.stdout.write("ERROR: There is no such subsystem.\n")
            else:
                code = await self._answer(process)
        except (asyncssh.Error, OSError, TimeoutError):
            # The client is gone, or said nothing for too long.
            pass
        except Exception:
            LOG.exception("in a session")
            process.stdout.write("ERROR: Internal error; see racadm.log of the node.\n")
        finally:
            self._sessions -= 1
            with contextlib.suppress(OSError):
                process.exit(code)

    async def _answer(self, process: asyncssh.SSHServerProcess[str]) -> int:
        rights: Privilege = process.get_extra_info(_RIGHTS)
        if process.command is not None:
            given = await asyncio.to_thread(self._run, rights, process.command)
            await _write(process, given.text, end="\n" if given.text else "")
            self._finish(process, given)
            return given.code
        shell, code = self._shell(rights), 0
        while shell.prompt is not None:
            await _write(process, shell.prompt)
            line = await _line(process)
            if line is None:
                break
            given = await asyncio.to_thread(self._say, shell, line)
            code = given.code
            await _write(process, given.text, end="\n" if given.text else "")
            self._finish(process, given)
        return code

    def _finish(self, process: asyncssh.SSHServerProcess[str], given: Answer) -> None:
        if given.ends_sessions:
            self.end_sessions(process.get_extra_info("connection"))


class _Client(asyncssh.SSHServer):
    """One connection, for as long as it is there."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._connection: asyncssh.SSHServerConnection | None = None
        self._tries = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._door.came(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._connection is not None
        self._door.went(self._connection)

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        connection = self._connection
        assert connection is not None
        if await self._door.judge(connection, username, password):
            return True
        self._tries += 1
        if self._tries >= TRIES_MOST:
            connection.abort()
        return False


async def _write(process: asyncssh.SSHServerProcess[str], text: str, *, end: str = "") -> None:
    """Say something, and wait until a client that reads slowly has room for it."""
    process.stdout.write(text + end)
    async with asyncio.timeout(IDLE_MOST_S):
        await process.stdout.drain()


async def _line(process: asyncssh.SSHServerProcess[str]) -> str | None:
    """The next line; None at the end. Of one that is too long the rest is thrown away."""
    kept = ""
    async with asyncio.timeout(IDLE_MOST_S):
        while True:
            try:
                part = await process.stdin.readline()
            except asyncssh.TerminalSizeChanged:
                continue
            except (asyncssh.BreakReceived, asyncssh.SignalReceived):
                return ""
            if not part:
                return kept or None
            kept = (kept + part)[: LINE_MOST + 1]
            if part.endswith("\n"):
                return kept
