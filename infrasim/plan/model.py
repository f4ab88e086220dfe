"""What a plan is: the files, disks, processes and ports of one node, and its JSON form.

The supervisor reads the JSON form, so this module stays small and quick to import. File contents
are not part of the JSON (they hold a password); their size and SHA-256 are.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any

from infrasim.errors import HostError
from infrasim.frozen import Frozen
from infrasim.host.facts import Accelerator, Socket
from infrasim.jsonform import as_json, from_json
from infrasim.qemu.boot import BootDevice, BootSelector, Firmware

# Names of the processes of a node, in the order they start.
SOCAT = "socat"
SWTPM = "swtpm"
IPMI_SIM = "ipmi_sim"
QEMU = "qemu"
RACADM = "racadm"

# What the port is for where ipmi_sim itself takes commands.
IPMI_CONSOLE = "ipmi_sim's console"

# The TCP port of display 0. Source: RFC 6143 section 1.
VNC_FIRST_PORT = 5900

_Container = typing.TypeVar("_Container", dict[str, Any], list[Any])

# Raised when a plan.json of an older infrasim cannot be read by this one.
PLAN_FORMAT = 3


class ReadyCheck(StrEnum):
    """How the supervisor knows that a process is ready."""

    LINK = "link"
    """a path exists: ``target`` is the path"""
    VM_CHANNEL = "vm-channel"
    """ipmi_sim answers on its VM channel: ``target`` is ``ADDRESS PORT``"""
    QMP_GREETING = "qmp-greeting"
    """QMP greets: ``target`` is the socket's path"""


class FileSpec(Frozen):
    """A file to render: its content is replaced as a whole at each start."""

    path: Path
    content: bytes = field(repr=False)
    mode: int = 0o600

    @property
    def sha256(self) -> str:
        """Digest of the content, 64 hex digits."""
        import hashlib

        return hashlib.sha256(self.content).hexdigest()

    def as_json(self) -> dict[str, str | int]:
        """What the file is, without what it holds."""
        return {
            "path": str(self.path),
            "mode": f"{self.mode:04o}",
            "size_bytes": len(self.content),
            "sha256": self.sha256,
        }


class DiskSpec(Frozen):
    """A disk image; ``create`` ones are made when missing and live until destroy.

    ``key`` is its place in the node file, such as ``compute.storage_backend[0].drives[0].file``. A size of
    None is that of the backing file; ``is_sized`` says that the node file asks for the size. ``options`` are
    of qemu-img. ``is_shared`` ones may be written by others too. An empty ``backing_format`` is that of the
    backing file when the image is made.
    """

    path: Path
    format: str
    size_gib: int | None
    create: bool
    key: str
    is_sized: bool = False
    is_shared: bool = False
    backing: Path | None = None
    backing_format: str = ""
    options: tuple[str, ...] = ()


class InputSpec(Frozen):
    """A file of the user's that the host reads, such as a kernel; ``key`` is its place in the node file."""

    path: Path
    key: str
    may_be_folder: bool = False


class LinkKind(StrEnum):
    """What connects a card to this machine's network."""

    TAP = "tap"
    """a tap device, for others to use"""
    BRIDGE = "bridge"
    """a tap device in a bridge"""
    OPENVSWITCH = "openvswitch"
    """a tap device that is a port of Open vSwitch"""
    MACVTAP = "macvtap"
    """a further address of an interface; QEMU is given it open"""


class LinkSpec(Frozen):
    """A network device of this machine that a start makes and a stop removes.

    ``to`` is the bridge it is put into or the interface beneath, ``key`` the place in the node file that says
    so. Without ``make`` a tap must exist, and a bridge is left to QEMU's helper; a tap that exists and is
    another's is used as it is.
    ``mode`` and ``mac`` are of a macvtap, ``descriptor`` is where QEMU finds it open.
    """

    kind: LinkKind
    name: str
    key: str
    to: str = ""
    make: bool = True
    mode: str = ""
    mac: str = ""
    vlan: int | None = None
    descriptor: int | None = None


class HostDeviceSpec(Frozen):
    """A PCI device of this machine that a start takes from its driver and a stop gives back.

    The rest of its IOMMU group goes along. ``key`` is the place in the node file that asks for it.
    """

    address: str
    key: str


class Descriptor(Frozen):
    """A macvtap that a process is given open, at this number."""

    number: int
    macvtap: str


class CopySpec(Frozen):
    """A file that begins as a copy of ``source`` and lives until destroy; ``key`` asks for it."""

    path: Path
    source: Path
    key: str


class AliasSpec(Frozen):
    """A further name of a file of the workspace, until destroy; ``key`` asks for it."""

    path: Path
    target: Path
    key: str


class ProcessSpec(Frozen):
    """A process: exact argv, where its output goes, how it is known to be ready.

    ``ends_with_host``: it ends of itself when the host does, and is to wait for the next one.
    ``stands_alone``: it waits for no other, and no other waits for it.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: ReadyCheck
    ready_target: str
    ready_timeout_s: float
    descriptors: tuple[Descriptor, ...] = ()
    ends_with_host: bool = False
    stands_alone: bool = False


class PortSpec(Frozen):
    """A port the node takes on this machine."""

    purpose: str
    protocol: str
    address: str
    port: int


class BmcPlan(Frozen):
    """Where the BMC is: ``listen`` are its addresses. ipmi_sim is behind it, at ``private_address``."""

    address: str
    port: int
    listen: tuple[str, ...]
    private_address: str
    channel_port: int


class RacadmPlan(Frozen):
    """Where the racadm shell is, over SSH; ``username`` is who may log in, empty for the BMC's users."""

    address: str
    port: int
    username: str = ""


class Binding(Frozen):
    """Processors of this machine that threads of QEMU run on; empty for any.

    ``process`` are those of every thread, ``main_loop`` those of the first, ``processors`` those of each
    processor of the host, in their order.
    """

    process: tuple[int, ...] = ()
    main_loop: tuple[int, ...] = ()
    processors: tuple[tuple[int, ...], ...] = ()

    @property
    def own_cores(self) -> tuple[int, ...]:
        """Those that the host's processors run on, which other nodes leave alone if they can."""
        return tuple(number for each in self.processors or (self.process,) for number in each)


class HostPlan(Frozen):
    """The host's own settings that act at run time. Times in seconds.

    ``unplugged`` are network cards, by QEMU's id, whose cable is in nothing.
    """

    accelerator: Accelerator
    accelerator_note: str
    poweroff_wait_s: float
    kill_wait_s: float
    boot_devices: tuple[BootDevice, ...]
    processors: int
    unplugged: tuple[str, ...] = ()
    binding: Binding | None = None
    firmware: Firmware = Firmware.SEABIOS
    has_menu: bool = True
    shuts_down: bool = False

    @property
    def overrides(self) -> frozenset[BootSelector]:
        """The boot overrides that it can follow: SeaBIOS has a menu for two devices or more."""
        enters_menu = self.has_menu and (self.firmware is Firmware.UEFI or len(self.boot_devices) > 1)
        return frozenset(BootSelector) - (frozenset() if enters_menu else {BootSelector.BIOS})


class Kept(Frozen):
    """What a node was given and keeps, and others are not given; None where nothing is known."""

    address: str | None = None
    port: int | None = None
    listen: tuple[str, ...] = ()
    private_address: str | None = None
    channel_port: int | None = None
    vnc_display: int | None = None
    disks: tuple[Path, ...] = ()
    macs: tuple[str, ...] = ()
    namespace: str | None = None
    cores: tuple[int, ...] = ()
    racadm_address: str | None = None
    racadm_port: int | None = None

    @property
    def sockets(self) -> frozenset[Socket]:
        """Where its BMC, ipmi_sim and racadm shell listen."""
        public = {(place, self.port) for place in (*self.listen, self.address)}
        places = public | {
            (self.private_address, self.channel_port),
            (self.racadm_address, self.racadm_port),
        }
        return frozenset(Socket(place, port) for place, port in places if place and port is not None)


class Needs(Frozen):
    """What a host needs of this machine beside programs and ports, as a plan has it."""

    disks: tuple[DiskSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    copies: tuple[CopySpec, ...] = ()
    aliases: tuple[AliasSpec, ...] = ()
    links: tuple[LinkSpec, ...] = ()
    passthrough: tuple[HostDeviceSpec, ...] = ()
    namespace: str | None = None


class NodePlan(Frozen):
    """Everything that was decided about a node.

    ``macs`` are those of its cards that others may see, ``namespace`` the network namespace it is in.
    ``folders`` and ``aliases`` are kept until destroy.
    """

    name: str
    server_type: str
    product: str
    uuid: str
    serial_number: str
    workspace: Path
    log_dir: Path
    bmc: BmcPlan
    vnc_address: str
    vnc_display: int
    serial_over_lan: bool
    host: HostPlan
    processes: tuple[ProcessSpec, ...]
    ports: tuple[PortSpec, ...]
    disks: tuple[DiskSpec, ...]
    inputs: tuple[InputSpec, ...]
    files: tuple[FileSpec, ...] = ()
    links: tuple[LinkSpec, ...] = ()
    passthrough: tuple[HostDeviceSpec, ...] = ()
    macs: tuple[str, ...] = ()
    namespace: str | None = None
    copies: tuple[CopySpec, ...] = ()
    folders: tuple[Path, ...] = ()
    aliases: tuple[AliasSpec, ...] = ()
    racadm: RacadmPlan | None = None

    @property
    def vnc_port(self) -> int:
        """TCP port of the screen."""
        return VNC_FIRST_PORT + self.vnc_display

    @property
    def kept(self) -> Kept:
        """What the node keeps when it is planned again."""
        bmc, disks = self.bmc, tuple(disk.path for disk in self.disks)
        return Kept(
            bmc.address,
            bmc.port,
            bmc.listen,
            bmc.private_address,
            bmc.channel_port,
            self.vnc_display,
            disks,
            self.macs,
            self.namespace,
            self.host.binding.own_cores if self.host.binding else (),
            self.racadm.address if self.racadm else None,
            self.racadm.port if self.racadm else None,
        )

    def sockets(self, protocol: str) -> frozenset[Socket]:
        """Every ``udp`` or ``tcp`` socket the node takes."""
        return frozenset(Socket(spec.address, spec.port) for spec in self.ports if spec.protocol == protocol)

    def process(self, name: str) -> ProcessSpec:
        """The process of that name."""
        return next(spec for spec in self.processes if spec.name == name)

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON; files without their content."""
        parts = {item.name: as_json(getattr(self, item.name)) for item in dataclasses.fields(self)}
        return {"format": PLAN_FORMAT, **parts}


def read_plan(path: Path) -> NodePlan | None:
    """The plan in a ``plan.json``; None if there is none or it cannot be read.

    Its files carry no content.
    """
    try:
        data = json.loads(path.read_bytes())
        if data.get("format") != PLAN_FORMAT:
            return None
        return from_json(NodePlan, {**data, "files": []})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def read_kept(path: Path) -> Kept | None:
    """What a ``plan.json`` of any format, also an older infrasim's, gave its node; None if there is none."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    bmc = _of(dict, _of(dict, data).get("bmc"))
    disks = (_of(dict, disk).get("path") for disk in _of(list, _of(dict, data).get("disks")))
    return Kept(
        address=_address(bmc.get("address")),
        port=_number(bmc.get("port")),
        listen=tuple(filter(None, map(_address, _of(list, bmc.get("listen"))))),
        private_address=_address(bmc.get("private_address")),
        # Up to format 2 it was called otherwise.
        channel_port=_number(bmc.get("channel_port", bmc.get("kcs_port"))),
        vnc_display=_number(_of(dict, data).get("vnc_display")),
        disks=tuple(Path(disk) for disk in disks if isinstance(disk, str)),
        macs=tuple(mac for mac in _of(list, _of(dict, data).get("macs")) if isinstance(mac, str)),
        namespace=_text(_of(dict, data).get("namespace")),
        cores=tuple(_cores(_of(dict, data))),
        racadm_address=_address(_of(dict, _of(dict, data).get("racadm")).get("address")),
        racadm_port=_number(_of(dict, _of(dict, data).get("racadm")).get("port")),
    )


def _cores(data: dict[str, Any]) -> Iterator[int]:
    """The processors of this machine that a node's host has to itself."""
    given = _of(dict, _of(dict, data.get("host")).get("binding"))
    places = _of(list, given.get("processors")) or [_of(list, given.get("process"))]
    yield from (number for place in places for number in _of(list, place) if _number(number) is not None)


def _of(kind: type[_Container], value: Any) -> _Container:
    """``value`` if it is of that kind, else an empty one."""
    return value if isinstance(value, kind) else kind()


def _number(value: Any) -> int | None:
    return value if type(value) is int else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _address(value: Any) -> str | None:
    """``value`` if it may be an IP address."""
    may_be = isinstance(value, str) and value and not value.strip("0123456789abcdef.:")
    return value if may_be else None


def require_plan(path: Path) -> NodePlan:
    """The plan in a ``plan.json``.

    Raises:
        HostError: when there is none or it is damaged.
    """
    plan = read_plan(path)
    if plan is None:
        raise HostError(f"{path} is missing or damaged", hint="run: infrasim node start")
    return plan
