"""Every file and socket name of infrasim: the one place that knows the layout of a workspace.

Names only; nothing here looks at the disk. ``docs/workspace.md`` describes each file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from infrasim.errors import UsageError
from infrasim.frozen import Frozen

HOME_VARIABLE = "INFRASIM_HOME"
LOG_VARIABLE = "INFRASIM_LOG_DIR"

# The node that commands mean when they name none, and that ``infrasim init`` registers.
DEFAULT_NODE = "default"

# sockaddr_un.sun_path holds 108 bytes with the closing zero. Source: unix(7).
SOCKET_PATH_MAX_BYTES = 107

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


def check_node_name(name: str) -> str:
    """Return ``name`` if it can name a node: letters, digits, ``.``, ``_``, ``-``, at most 63.

    Raises:
        UsageError: for anything else, among it ``/``, ``..`` and spaces.
    """
    if not _NODE_NAME.match(name) or ".." in name:
        raise UsageError(
            f"node name {name!r} cannot be used",
            hint="letters, digits, '.', '_' and '-' only, starting with a letter or digit, "
            "at most 63 characters, no '..'",
        )
    return name


class NodePaths(Frozen):
    """The files of one node. ``workspace`` and ``log_dir`` are absolute."""

    name: str
    workspace: Path
    log_dir: Path

    # what was asked, what was decided
    @property
    def node_file(self) -> Path:
        """The node file as it was at the last start."""
        return self.workspace / "node.yml"

    @property
    def plan(self) -> Path:
        """The plan the supervisor runs."""
        return self.workspace / "plan.json"

    @property
    def opening(self) -> Path:
        """What the next start compares and does, if nothing changed; ``runtime.opening`` reads it."""
        return self.workspace / ".opening"

    # rendered at each start
    @property
    def data(self) -> Path:
        """Rendered configuration and identity."""
        return self.workspace / "data"

    @property
    def vbmc_conf(self) -> Path:
        """ipmi_sim's configuration."""
        return self.data / "vbmc.conf"

    @property
    def bmc_settings(self) -> Path:
        """What the plan tells the BMC core; holds the password."""
        return self.data / "bmc.json"

    @property
    def hardware(self) -> Path:
        """What the server is made of, for people and programs that ask."""
        return self.data / "hardware.json"

    @property
    def racadm_settings(self) -> Path:
        """What the plan tells the racadm shell; may hold a password."""
        return self.data / "racadm.json"

    def emu(self, server_type: str) -> Path:
        """ipmi_sim's commands that make the personality."""
        return self.data / f"{server_type}.emu"

    @property
    def smbios_dir(self) -> Path:
        """One SMBIOS structure per file."""
        return self.data / "smbios"

    @property
    def seed(self) -> Path:
        """What cloud-init in the host reads: an ISO image."""
        return self.data / "seed.iso"

    # kept until destroy
    @staticmethod
    def base_record(image: Path) -> Path:
        """What the backing file of an image was like when the image was made."""
        return image.with_name(f"{image.name}.base")

    @property
    def disks(self) -> Path:
        """Disk images infrasim made."""
        return self.workspace / "disks"

    @property
    def bmc_state(self) -> Path:
        """What the BMC keeps: ipmi_sim's event log and records, and the core's state."""
        return self.workspace / "bmc"

    @property
    def tpm_state(self) -> Path:
        """What the TPM keeps: its keys and everything that was written into it."""
        return self.workspace / "tpm"

    @property
    def nvram(self) -> Path:
        """The variables of UEFI firmware."""
        return self.workspace / "nvram"

    @property
    def host_keys(self) -> Path:
        """The keys by which SSH clients know the racadm shell again."""
        return self.workspace / "ssh" / "host_keys"

    @property
    def core_state(self) -> Path:
        """The BMC core's state: users, boot options, LAN parameters and all else that was set."""
        return self.bmc_state / "core.json"

    # while running
    @property
    def run(self) -> Path:
        """State and sockets of the running node."""
        return self.workspace / "run"

    @property
    def state(self) -> Path:
        """Who runs, and the chassis state."""
        return self.run / "state.json"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor answers."""
        return self.run / "control.sock"

    @property
    def qmp_socket(self) -> Path:
        """QEMU's machine protocol."""
        return self.run / "qmp.sock"

    @property
    def monitor_socket(self) -> Path:
        """QEMU's machine protocol for others than infrasim, whose own takes one client."""
        return self.run / "monitor.sock"

    @property
    def kcs_socket(self) -> Path:
        """The host's system interface: QEMU's BMC device connects here."""
        return self.run / "kcs.sock"

    @property
    def serial_socket(self) -> Path:
        """QEMU's first serial port."""
        return self.run / "serial.sock"

    @property
    def pty(self) -> Path:
        """The serial port as a terminal."""
        return self.run / "pty"

    @property
    def tpm_socket(self) -> Path:
        """Where QEMU finds the TPM's emulator."""
        return self.run / "tpm.sock"

    @property
    def tpm_pid(self) -> Path:
        """What the TPM's emulator writes when it listens."""
        return self.run / "tpm.pid"

    @property
    def racadm_pid(self) -> Path:
        """What the racadm shell writes when it listens."""
        return self.run / "racadm.pid"

    @property
    def guest_agent(self) -> Path:
        """The serial port of QEMU's guest agent."""
        return self.run / "guest.agt"

    @property
    def taken_devices(self) -> Path:
        """What the devices had that the node has taken from this machine; goes when they are given back."""
        return self.run / "devices.json"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.workspace / ".supervisor.lock"

    @property
    def verb_lock(self) -> Path:
        """Held by a start, stop or destroy while it works."""
        return self.workspace.parent / f".{self.name}.lock"

    # logs
    def log(self, process: str) -> Path:
        """The log of one process, such as ``socat``, ``openipmi``, ``qemu`` or ``supervisor``."""
        return self.log_dir / f"{process}.log"

    @property
    def serial_log(self) -> Path:
        """Every byte the host wrote to its serial port since power-on."""
        return self.log_dir / "serial.log"

    @property
    def events(self) -> Path:
        """What happened, one JSON object per line."""
        return self.log_dir / "events.jsonl"

    @property
    def log_owner(self) -> Path:
        """Whose the log folder is: the path of a workspace. Homes may share one ``INFRASIM_LOG_DIR``."""
        return self.log_dir / ".owner"

    def sockets(self) -> tuple[Path, ...]:
        """Every unix socket of the node."""
        return (
            *(self.control_socket, self.qmp_socket, self.kcs_socket, self.serial_socket),
            *(self.tpm_socket, self.guest_agent, self.monitor_socket),
        )

    def traces(self) -> tuple[Path, ...]:
        """What only a running node has beside its state and locks: sockets, terminal, marks."""
        return (*self.sockets(), self.pty, self.tpm_pid, self.racadm_pid)

    def check_socket_lengths(self) -> None:
        """Refuse a workspace whose socket names do not fit the kernel's limit.

        Raises:
            UsageError: naming the longest socket and by how much it is too long.
        """
        longest = max(self.sockets(), key=lambda path: len(os.fsencode(path)))
        length = len(os.fsencode(longest))
        if length > SOCKET_PATH_MAX_BYTES:
            raise UsageError(
                f"socket path {longest} is {length} bytes long; the kernel allows {SOCKET_PATH_MAX_BYTES}",
                hint=f"use a shorter node name or a shorter {HOME_VARIABLE}",
            )


class Home(Frozen):
    """One infrasim home and its log folder; any number may live side by side."""

    root: Path
    log_root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The home that ``INFRASIM_HOME`` and ``INFRASIM_LOG_DIR`` name, or the defaults."""
        root = Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".infrasim")
        logs = Path(os.environ.get(LOG_VARIABLE) or "/var/log/infrasim")
        return cls(root.absolute(), logs.absolute())

    @property
    def node_map(self) -> Path:
        """Registered node files."""
        return self.root / ".node_map"

    @property
    def types(self) -> Path:
        """The user's own server types."""
        return self.root / "types"

    @property
    def type_folders(self) -> tuple[Path, ...]:
        """Where server types are looked for, first wins: the user's own, then the shipped ones."""
        return (self.types, shipped_types())

    @property
    def cache(self) -> Path:
        """Downloads and probe results."""
        return self.root / ".cache"

    @property
    def plan_lock(self) -> Path:
        """Held while a node's addresses and ports are chosen."""
        return self.root / ".plan.lock"

    def map_file(self, name: str) -> Path:
        """The registered file of node ``name``.

        Raises:
            UsageError: if ``name`` cannot name a node.
        """
        return self.node_map / f"{check_node_name(name)}.yml"

    def included(self, name: str) -> Path:
        """Copies of the files that the registered file of node ``name`` includes.

        Raises:
            UsageError: if ``name`` cannot name a node.
        """
        return self.node_map / f"{check_node_name(name)}.include"

    @property
    def map_lock(self) -> Path:
        """Held while a registered node file is added, replaced or removed."""
        return self.node_map / ".lock"

    def edit_copy(self, name: str, number: int) -> Path:
        """Where the text of node ``name`` is edited; ``number`` tells two editors apart.

        Raises:
            UsageError: if ``name`` cannot name a node.
        """
        return self.node_map / f".{check_node_name(name)}.edit{number}.yml"

    def node(self, name: str) -> NodePaths:
        """The files of node ``name``.

        Raises:
            UsageError: if ``name`` cannot name a node.
        """
        check_node_name(name)
        return NodePaths(name, self.root / name, self.log_root / name)

    def registered(self) -> tuple[str, ...]:
        """Names of nodes in the node map, sorted."""
        if not self.node_map.is_dir():
            return ()
        return tuple(
            sorted(path.stem for path in self.node_map.glob("*.yml") if not path.name.startswith("."))
        )


def template_dir() -> Path:
    """The folder of templates, in a clone and in an installed package alike."""
    return _resource("template")


def data_dir() -> Path:
    """The folder of shipped data, in a clone and in an installed package alike."""
    return _resource("data")


def shipped_types() -> Path:
    """The folder of the server types that come with infrasim."""
    return data_dir() / "personalities"


def _resource(folder: str) -> Path:
    package = Path(__file__).resolve().parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder
