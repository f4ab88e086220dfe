"""A racadm shell's process: ``python -m infrasim.runtime.racadm NODE WORKSPACE LOG_DIR``.

The supervisor starts it and it lives as long as the BMC. Everything else it finds in the workspace: what it
is told in ``data/racadm.json``, what the server is made of beside that, its host keys in ``ssh/``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh

from infrasim.bmc.hardware import Drive, Hardware
from infrasim.bmc.settings import RacadmSettings
from infrasim.bmc_core.codes import Privilege
from infrasim.clients.control import Line
from infrasim.errors import ExitCode, HostError
from infrasim.host.files import make_dir, write_atomic
from infrasim.jsonform import from_json
from infrasim.paths import NodePaths
from infrasim.personality.smbios import decode_structure
from infrasim.racadm import shell
from infrasim.racadm.commands import Answer
from infrasim.racadm.ports import BmcRefusal, Server, Session
from infrasim.runtime.images import image_size
from infrasim.runtime.racadm.door import Door
from infrasim.runtime.racadm.link import BmcLink
from infrasim.runtime.racadm.login import rights

LOG = logging.getLogger(__name__)

_KEY_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256")
# An answer of a file; nobody reads more.
_FILE_MOST_BYTES = 1 << 20
_ANSWER_WAIT_S = 20.0
LINES_A_MINUTE = 100


def main(arguments: list[str]) -> int:
    """Run until SIGTERM."""
    name, workspace, log_dir = arguments
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Sparing(time.monotonic))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=[handler])
    asyncssh.set_log_level(logging.ERROR)
    paths = NodePaths(name, Path(workspace), Path(log_dir))
    try:
        server = read_server(paths)
        return asyncio.run(_listen(paths, server))
    except (OSError, ValueError, HostError) as exc:
        sys.stderr.write(f"racadm: {exc}\n")
        return int(ExitCode.HOST)


def read_server(paths: NodePaths) -> Server:
    """What the node is made of.

    Raises:
        OSError, ValueError: a file of the workspace is missing or damaged.
    """
    return Server(
        settings=from_json(RacadmSettings, json.loads(paths.racadm_settings.read_bytes())),
        hardware=from_json(Hardware, json.loads(paths.hardware.read_bytes())),
        structures=tuple(
            decode_structure(path.read_bytes()) for path in sorted(paths.smbios_dir.glob("*.bin"))
        ),
        size_bytes=_size_bytes,
    )


def _size_bytes(drive: Drive) -> int | None:
    """An image keeps its own size, whatever the node file says."""
    found = image_size(Path(drive.image)) if drive.image else None
    return drive.size_gib << 30 if found is None and drive.size_gib is not None else found


def host_keys(paths: NodePaths) -> list[asyncssh.SSHKey]:
    """The node's host keys, made when there are none.

    Raises:
        OSError, HostError: they cannot be read or kept.
    """
    if not paths.host_keys.exists():
        made = [asyncssh.generate_private_key(kind, comment=paths.name) for kind in _KEY_KINDS]
        make_dir(paths.host_keys.parent)
        write_atomic(paths.host_keys, b"".join(key.export_private_key() for key in made), mode=0o600)
    try:
        kept = list(asyncssh.read_private_key_list(paths.host_keys))
    except asyncssh.KeyImportError:
        kept = []
    if not kept:
        raise HostError(f"{paths.host_keys} is damaged; remove it to have new keys")
    return kept


class Sparing(logging.Filter):
    """Lets so many lines a minute through: whoever tries passwords is not to fill the disk."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__()
        self._now_s = now_s
        self._minute, self._count = -1, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; the last one of a minute says that it is."""
        minute = int(self._now_s() // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count == LINES_A_MINUTE:
            record.msg = f"{record.getMessage()} (and more that this minute's log leaves out)"
            record.args = ()
        return self._count <= LINES_A_MINUTE


class _Node:
    """The node as sessions see it. Each question is a conversation with the supervisor of its own."""

    def __init__(self, paths: NodePaths, server: Server) -> None:
        self._paths = paths
        self._server = server

    def log_in(self, username: str, password: str) -> Privilege | None:
        """The rights of a user with that password; None for nobody, and while the BMC does not answer."""
        with self._line() as line:
            try:
                # One who is away lets nobody in, whoever it is.
                bmc = self._link(line, Privilege.ADMINISTRATOR)
                bmc.ask(0x06, 0x01)
                return rights(self._server.settings, bmc, username, password)
            except BmcRefusal as refusal:
                LOG.warning("nobody can log in: %s", refusal)
                return None

    def run(self, privilege: Privilege, command: str) -> Answer:
        """Answer one command line."""
        with self._line() as line:
            return shell.run(self._session(line, privilege), command)

    def open_shell(self, privilege: Privilege) -> shell.Shell:
        """A session's shell."""
        return shell.Shell(self._session(self._line(), privilege))

    def say(self, of: shell.Shell, line: str) -> Answer:
        """Answer a line of a session. Between two lines nobody is kept waiting on the control socket."""
        try:
            return of.say(line)
        finally:
            assert isinstance(of.session.bmc, BmcLink)
            of.session.bmc.close()

    def _line(self) -> Line:
        return Line(self._paths.control_socket, timeout_s=_ANSWER_WAIT_S)

    def _session(self, line: Line, privilege: Privilege) -> Session:
        return Session(self._server, self._link(line, privilege), self._canned)

    def _link(self, line: Line, privilege: Privilege) -> BmcLink:
        return BmcLink(line, privilege, lan_channel=self._server.settings.lan_channel)

    def _canned(self, name: str) -> str | None:
        folder = self._server.settings.data
        if not folder:
            return None
        try:
            with (Path(folder) / name).open("rb") as stream:
                return stream.read(_FILE_MOST_BYTES).decode(errors="replace")
        except OSError:
            return None


async def _listen(paths: NodePaths, server: Server) -> int:
    settings, node = server.settings, _Node(paths, server)
    door = Door(log_in=node.log_in, run=node.run, shell=node.open_shell, say=node.say)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        acceptor = await door.open(settings.address, settings.port, host_keys(paths))
    except OSError as exc:
        place = f"{settings.address} port {settings.port}/tcp"
        raise HostError(f"{place}: {os.strerror(exc.errno) if exc.errno else exc}") from exc
    LOG.info("listens at %s port %d", settings.address, settings.port)
    write_atomic(paths.racadm_pid, f"{os.getpid()}\n")
    await stopped.wait()
    acceptor.close()
    with contextlib.suppress(OSError):
        paths.racadm_pid.unlink()
    # A question that is on its way is not waited for.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
