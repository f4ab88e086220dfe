"""The fast way of ``infrasim node start``: a node that nobody touched since it started last.

Importing what plans and supervises takes several times as long as the programs of a node take to come
up. So a start leaves a record behind, the *opening*: what must still be as it was, and the first moves of
a start that goes well, as ``machine`` decided them. The next start compares, makes these moves and only
then becomes the supervisor, by ``exec``, with the children, locks and listening sockets it has.

Whatever is not exactly as the opening expects ends it: before the first move nothing was touched, and
``start`` says so by returning None; after it, what was begun is ended and the supervisor starts anew, so
every error is found and said in one place. ``book`` writes openings. This module imports only what is
built into the interpreter, and knows no file's name but the opening's own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself makes enumerations first
import _socket
import marshal
import os
import select
import sys
import time

from infrasim.bmc_core.vm_frame import completion_code, message
from infrasim.host import bare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    # Plain data that marshal can hold; ``book.contents`` lists it.
    Record = dict[str, Any]

# Raised when an older opening means something else.
FORMAT = 3
FILE_NAME = ".opening"

# What a supervisor says of a start that went well.
STARTED = b'{"ok": true}\n'

_PATIENCE_S = 10.0
_COMMAND_ENDS_MS = 100
_LOOK_AGAIN_S = 0.0003
# Clients that may wait for the supervisor.
_BACKLOG = 100
_NAME_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class _Deviation(Exception):
    """Something is not as the opening expects."""


def who_asks() -> tuple[object, ...]:
    """What a start depends on beside files: interpreter, user, where programs are looked for, boot."""
    boot_id = bare.read(bare.BOOT_ID_FILE).strip().decode()
    return (FORMAT, sys.version, sys.executable, os.geteuid(), os.environ.get("PATH", ""), boot_id)


def other_plans(root: str, name: str) -> list[tuple[str, object]]:
    """The plans of the other nodes of a home, each with its signature."""
    others = sorted(entry for entry in os.listdir(root) if entry[0] != "." and entry != name)  # noqa: PTH208
    plans = (f"{root}/{entry}/plan.json" for entry in others)
    return [(path, found) for path in plans if (found := bare.signature(path))]


def start(words: list[str]) -> tuple[bytes, str] | None:
    """Start the node that ``words`` name, if its opening fits; the exit code, or None if it is untouched."""
    name = node_of(words)
    if name is None or os.environ.get("INFRASIM_DEBUG"):
        return None
    try:
        home, logs = _home()
        record = marshal.loads(bare.read(f"{home}/{name}/{FILE_NAME}"))
        if record["who"] != who_asks() or (record["home"], record["logs"]) != (home, logs):
            return None
        return _with_locks(record)
    except (OSError, ValueError, EOFError, TypeError, KeyError, IndexError, _Deviation):
        return None


def leave(code: int) -> NoReturn:
    """End this process at once."""
    os._exit(code)


def node_of(words: list[str]) -> str | None:
    """The node of a plain ``node start``; None for everything that needs the command line's parser."""
    if words[:2] != ["node", "start"]:
        return None
    names = [word for word in words[2:] if word != "--no-install"]
    if len(names) > 1:
        return None
    name = names[0] if names else "default"
    return name if _NAME_SIGNS.issuperset(name) and name[:1].isalnum() and len(name) < 64 else None


def _home() -> tuple[str, str]:
    """As ``paths.Home.from_environment``."""
    root = os.environ.get("INFRASIM_HOME") or os.path.expanduser("~") + "/.infrasim"  # noqa: PTH111
    logs = os.environ.get("INFRASIM_LOG_DIR") or "/var/log/infrasim"
    for place in (root, logs):
        # Rare, and pathlib spells them differently.
        if place[0] != "/" or place != os.path.normpath(place):
            raise _Deviation(place)
    return root, logs


def _with_locks(record: Record) -> tuple[bytes, str] | None:
    """Compare and start under the locks that every start takes, if they are free."""
    verb = bare.hold_lock(record["verb_lock"])
    if verb is None:
        return None
    try:
        choosing = bare.hold_lock(record["plan_lock"])
        if choosing is None:
            return None
        try:
            _compare(record)
            bmc = _Bmc(record)
        finally:
            bare.release_lock(record["plan_lock"], choosing)
        return _begin(record, bmc), record["said"]
    finally:
        bare.release_lock(record["verb_lock"], verb)


# --- is everything as it was?


def _compare(record: Record) -> None:
    """Whether a start would plan the same again, and find nothing to mend or to refuse.

    Raises:
        _Deviation, OSError: it is not certain.
    """
    path, text = record["node_file"]
    if bare.read(path) != text or bare.signature(record["state"]):
        raise _Deviation
    for path, signature in record["same"]:
        if bare.signature(path) != signature:
            raise _Deviation(path)
    if other_plans(record["home"], record["name"]) != record["others"]:
        raise _Deviation
    for trace in record["traces"]:
        if bare.signature(trace):
            # Somebody left it behind, and may live.
            raise _Deviation(trace)
    for folder in record["folders"]:
        if not os.path.isdir(folder):  # noqa: PTH112
            raise _Deviation(folder)
    for path, target in record["aliases"]:
        if os.readlink(path) != target:  # noqa: PTH115
            raise _Deviation(path)
    for path, magic in record["inputs"]:
        _look_at_input(path, magic)
    for log in os.listdir(record["log_dir"]):  # noqa: PTH208
        if os.stat(f"{record['log_dir']}/{log}").st_size > record["log_most_bytes"]:  # noqa: PTH116
            raise _Deviation(log)
    for table, addresses in record["taken"]:
        _look_for_sockets(table, addresses)
    _look_for_reservations(record["reservations"])


def _look_at_input(path: str, magic: tuple[bytes, bool] | None) -> None:
    """Whether a file of the host's is readable and still of its format: has or has not that magic."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if magic and (os.read(descriptor, len(magic[0])) == magic[0]) is not magic[1]:
            raise _Deviation(path)
    finally:
        os.close(descriptor)


def _look_for_sockets(table: str, addresses: frozenset[str]) -> None:
    """Whether nobody has an address of ours. Source: proc(5), /proc/net."""
    try:
        lines = bare.read(f"/proc/net/{table}").decode().splitlines()
    except FileNotFoundError:
        return
    for line in lines[1:]:
        fields = line.split(None, 4)
        if fields[1] in addresses and (table[0] == "u" or fields[3] == "0A"):
            raise _Deviation(fields[1])


def _look_for_reservations(ends: tuple[bytes, ...]) -> None:
    """Whether no other node has a port of ours; ``ends`` are those of the lines that would say so."""
    table = bare.read("/proc/net/unix")
    for end in ends:
        if end in table:
            raise _Deviation(end)


class _Bmc:
    """What the BMC remembers of before, as far as a start depends on it.

    Raises:
        _Deviation, OSError, ValueError, KeyError: an opening cannot do it all, or it is not certain.
    """

    def __init__(self, record: Record) -> None:
        kept = bare.read_json(record["bmc_state"])
        if int(kept["boot"]["flags"][:2], 16) & record["boot_flags_valid"] or kept["boot"]["clears_settings"]:
            raise _Deviation("boot flags")
        chassis = kept["chassis"]
        self.power: bool = record["power_at_ac"][chassis["restore_policy"], chassis["was_on"]]
        self.clock_offset_s: float = kept["clock"]["offset_s"]


# --- the first moves


def _begin(record: Record, bmc: _Bmc) -> bytes:
    """Start the node in a process of its own and return what that says of it; empty if it says nothing."""
    outcome, outcome_end = os.pipe()
    said = b""
    try:
        if os.fork() == 0:
            try:
                _become_supervisor(record, bmc, outcome_end)
            finally:
                leave(1)
        os.close(outcome_end)
        while not said.endswith(b"\n") and (part := os.read(outcome, 65536)):
            said += part
    except KeyboardInterrupt:
        # The supervisor has a session of its own and did not hear it.
        from infrasim.runtime.book import stop_begun

        stop_begun(record["home"], record["logs"], record["name"])
        raise
    # The other end sees by ``outcome`` when this process ends, so it stays open.
    return said


def _become_supervisor(record: Record, bmc: _Bmc, outcome: int) -> NoReturn:
    """Make the moves, then become the supervisor; whatever happens instead, it starts anew."""
    os.setsid()
    os.umask(0o077)
    os.chdir(record["workspace"])
    # Asked to end meanwhile: the supervisor will hear it.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT))
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(record["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    os.closerange(3, outcome)
    os.closerange(outcome + 1, 65536)
    game = _Game(record, bmc)
    try:
        game.play()
    except Exception:
        # Whatever it was, the supervisor finds it again and says what it is.
        game.undo()
        os.set_inheritable(outcome, True)
        _execute(record, "anew", [outcome])
    os.write(outcome, STARTED)
    # Becoming the supervisor takes a processor for a while; the command that waits needs it first.
    waiting = select.poll()
    waiting.register(outcome, 0)
    waiting.poll(_COMMAND_ENDS_MS)
    os.close(outcome)
    _execute(record, "go-on", game.kept())


def _execute(record: Record, mode: str, descriptors: list[int]) -> NoReturn:
    words = [*record["supervisor"], mode, *(str(descriptor) for descriptor in descriptors)]
    os.execve(words[0], words, {**os.environ, "PYTHONPATH": record["python_path"]})


class _Game:
    """The moves of one start, and what they have brought into being."""

    def __init__(self, record: Record, bmc: _Bmc) -> None:
        self._record = record
        self._bmc = bmc
        self._lock: int | None = None
        self._sockets: list[_socket.socket] = []
        self._running: dict[str, tuple[int, int]] = {}
        self._states: dict[str, str] = dict.fromkeys(record["children"], "down")
        self._events: list[str] = []
        self._myself = (os.getpid(), bare.start_ticks(os.getpid()))

    def kept(self) -> list[int]:
        """What the supervisor needs: its lock, the control socket, the system interface's, the BMC's."""
        assert self._lock is not None
        descriptors = [self._lock, *(each.detach() for each in self._sockets)]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        return descriptors

    def play(self) -> None:
        """Everything until the node is up.

        Raises:
            Exception: something deviates.
        """
        record = self._record
        self._lock = bare.hold_lock(record["supervisor_lock"])
        if self._lock is None:
            raise _Deviation
        self._prepare()
        for move, *details in record["moves"][self._bmc.power]:
            if move == "spawn":
                self._spawn(*details)
            elif move == "await":
                self._await(*details)
            else:
                self._report(*details)
        if _signal.sigpending():
            # The supervisor says that it was stopped while it was starting.
            raise _Deviation
        self._show("up")
        with open(record["events"], "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write("".join(self._events))

    def undo(self) -> None:
        """End and remove what there is, so that another start begins from nothing."""
        for pid, _ in reversed(self._running.values()):
            bare.end_group(pid)
        for each in self._sockets:
            each.close()
        record = self._record
        if self._lock is not None:
            for path in (record["state"], record["control"], *record["traces"]):
                try:
                    bare.remove(path)
                except OSError:
                    # Whatever lies there: the supervisor says what it thinks of it.
                    continue
            bare.release_lock(record["supervisor_lock"], self._lock)

    def _prepare(self) -> None:
        record = self._record
        for name in os.listdir(record["bmc_files"]):  # noqa: PTH208
            # What comes from the server type is loaded anew.
            if name.startswith("sdr."):
                bare.remove(f"{record['bmc_files']}/{name}")
        # Whoever asks meanwhile is answered by the supervisor; QEMU's BMC device connects to the second.
        for path in (record["control"], record["system_interface"]):
            listener = self._open(_socket.AF_UNIX, _socket.SOCK_STREAM)
            listener.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101
            listener.listen(_BACKLOG)
        for address, port, only_ipv6 in record["listen"]:
            family = _socket.AF_INET if only_ipv6 is None else _socket.AF_INET6
            listener = self._open(family, _socket.SOCK_DGRAM)
            if only_ipv6 is not None:
                listener.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, only_ipv6)
            listener.bind((address, port))

    def _open(self, family: int, kind: int) -> _socket.socket:
        made = _socket.socket(family, kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
        self._sockets.append(made)
        return made

    def _spawn(self, name: str) -> None:
        argv, log, _, target = self._record["children"][name]
        if name == "qemu":
            self._begin_serial_log()
        if target[0] == "/":
            # What a predecessor left would be taken for the new child's.
            bare.remove(target)
        pid = bare.spawn(argv, log)
        self._running[name] = (pid, 0)
        self._running[name] = (pid, bare.start_ticks(pid))
        self._states[name] = "starting"
        self._report("started", (("process", name), ("pid", pid)))
        self._show("starting")

    def _await(self, name: str) -> None:
        """Wait until a child is ready, as long as none ends."""
        _, _, ready, target = self._record["children"][name]
        give_up = time.monotonic() + _PATIENCE_S
        while not (self._clock_is_set(target) if ready == "vm-channel" else _READY[ready](target)):
            for child, _ in self._running.values():
                if os.waitpid(child, os.WNOHANG)[0]:
                    raise _Deviation(name)
            if time.monotonic() > give_up:
                raise _Deviation(name)
            time.sleep(_LOOK_AGAIN_S)
        self._states[name] = "running"
        self._show("starting")

    def _clock_is_set(self, target: str) -> bool:
        """Set ipmi_sim's clock as ``bmc_core.clock`` does; its answer says that it is ready too."""
        address, port = target.split()
        channel = _connect(_socket.AF_INET, (address, int(port)))
        if channel is None:
            return False
        # One connection for all: ipmi_sim has one client at a time, and listens long before it serves it.
        try:
            now_s = int(time.time() + self._bmc.clock_offset_s) & 0xFFFFFFFF
            for sequence, command in enumerate(self._record["clock_commands"], 1):
                channel.send(message(bytes([sequence, *command]) + now_s.to_bytes(4, "little")))
                wire = b""
                while (code := completion_code(wire, sequence)) is None:
                    wire += _receive(channel)
                if code:
                    raise _Deviation(target)
        finally:
            channel.close()
        return True

    def _begin_serial_log(self) -> None:
        path = self._record["serial_log"]
        old = bare.read(path) if bare.signature(path) else None
        if old:
            bare.replace(f"{path}.1", old)
            os.truncate(path, 0)

    def _report(self, event: str, details: tuple[tuple[str, Any], ...]) -> None:
        # Names and numbers only; ``book`` takes care of that.
        more = "".join(
            f', "{key}": {value}' if isinstance(value, int) else f', "{key}": "{value}"'
            for key, value in details
        )
        self._events.append(f'{{"time": "{bare.moment()}", "event": "{event}"{more}}}\n')

    def _show(self, phase: str) -> None:
        """state.json, as ``state.write_state`` writes it."""
        boot_id = self._record["who"][-1]

        def identity(process: tuple[int, int]) -> str:
            return f'{{"pid": {process[0]}, "start_ticks": {process[1]}, "boot_id": "{boot_id}"}}'

        processes = ", ".join(
            f'{{"name": "{name}", "identity": '
            f"{identity(self._running[name]) if name in self._running else 'null'}, "
            f'"state": "{state}", "restarts": 0}}'
            for name, state in self._states.items()
        )
        degraded = str(phase != "up").lower()
        text = (
            f'{{"supervisor": {identity(self._myself)}, "phase": "{phase}", '
            f'"power": {str(self._bmc.power).lower()}, '
            f'"boot_override": null, "identify": false, "degraded": {degraded}, '
            f'"processes": [{processes}], "errors": []}}'
        )
        bare.replace(self._record["state"], text.encode())


# --- is a child ready?


def _link_exists(target: str) -> bool:
    return bare.signature(target) is not None


def _host_runs(target: str) -> bool:
    """Whether the monitor greets; then the host, which waits paused, is let go."""
    monitor = _connect(_socket.AF_UNIX, target)
    if monitor is None:
        return False
    try:
        heard = _hear(monitor, b'"QMP"')
        for command in (b"qmp_capabilities", b"cont"):
            monitor.send(b'{"execute": "%s"}\n' % command)
            heard = _hear(monitor, b'"return"')
            if b'"error"' in heard:
                raise _Deviation(heard)
    finally:
        monitor.close()
    return True


def _connect(family: int, address: object) -> _socket.socket | None:
    made = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    made.settimeout(_PATIENCE_S)
    try:
        made.connect(address)  # type: ignore[arg-type]
    except OSError:
        made.close()
        return None
    return made


def _hear(connection: _socket.socket, word: bytes) -> bytes:
    """Whole lines until one has that word, or is an error."""
    heard = b""
    while not (heard.endswith(b"\n") and (word in heard or b'"error"' in heard)):
        heard += _receive(connection)
    return heard


def _receive(connection: _socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise _Deviation("closed")
    return part


# By the plan's words for ready checks; the third is ``_Game._clock_is_set``. Source: plan.model.ReadyCheck.
_READY = {"link": _link_exists, "qmp-greeting": _host_runs}
