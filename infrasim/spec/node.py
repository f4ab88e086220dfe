"""What a node file can say: the one place where its keys, defaults, ranges and explanations live.

The host's hardware is in ``machine``, ``storage`` and ``network``, identities are in ``identity``.
Owns single values and checks among neighbours (``spec.checks``). Whether a server type, an interface
or a file exists is for those who can look; ``spec.problems`` words the errors.

A key without a value (``kernel:`` or ``kernel: null``) is as if it were not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from infrasim.spec import board_checks, checks, network_checks, pci_checks, storage_checks
from infrasim.spec.machine import Boot, Cpu, Memory
from infrasim.spec.modelling import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator
from infrasim.spec.network import Network
from infrasim.spec.part import (
    UNUSUAL,
    AbsolutePath,
    Address,
    Becomes,
    CipherSuite,
    FruId,
    FruText,
    NodeName,
    Part,
    Port,
    Rare,
    Seconds,
    SmbiosText,
    Switch,
    TypeName,
    Uuid,
)
from infrasim.spec.storage import Cdrom, Controller, one_disk

if TYPE_CHECKING:
    from infrasim.spec.board import Machine, Monitor, SystemInterface, Trace
    from infrasim.spec.cloud_init import CloudInit
    from infrasim.spec.identity import FruDevice, Smbios
    from infrasim.spec.pinning import CpuBinding, NumaControl
    from infrasim.spec.racadm import Racadm
    from infrasim.spec.special import (
        Communicate,
        DmaEngine,
        MemoryController,
        NonTransparentBridge,
        PowerControlUnit,
    )
    from infrasim.spec.topology import Bridge, Passthrough, PcieTopology
else:
    CpuBinding = NumaControl = Racadm = Any
    CloudInit = FruDevice = Machine = Monitor = Smbios = SystemInterface = Trace = Any
    Bridge = Passthrough = PcieTopology = Any
    Communicate = DmaEngine = MemoryController = NonTransparentBridge = PowerControlUnit = Any

_TOPOLOGY = "infrasim.spec.topology"
_PINNING = "infrasim.spec.pinning"

DEFAULT_SERVER_TYPE = "quanta_d51"
DEFAULT_BOARD = "q35"
_BOARD = "infrasim.spec.board"
_SPECIAL = "infrasim.spec.special"


class Compute(Part):
    """The host: what the operating system sees."""

    uuid: Annotated[Uuid, Becomes("`-uuid`, SMBIOS type 1, GUID of the BMC")] | None = Field(
        None,
        description="UUID of the system. Left out: made from this machine, the home and the node's name.",
        examples=["3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"],
    )
    kvm_enabled: Annotated[Switch, Becomes("`-accel`")] | None = Field(
        None,
        description="`true` demands KVM, `false` emulates. Left out: KVM where it really runs a guest.",
        examples=[True],
    )
    qemu_bin: Annotated[str, AfterValidator(checks.program), Becomes("the program")] | None = Field(
        None,
        description="The QEMU that is the host: its absolute path, or the name of a program on `PATH`. What "
        "it can do is asked of it. Left out: `qemu-system-x86_64`.",
        examples=["/opt/qemu/bin/qemu-system-x86_64"],
    )
    cpu: Cpu = Field(default_factory=Cpu, description="The processors.")
    memory: Memory = Field(default_factory=Memory, description="The memory.")
    mem_path: Annotated[AbsolutePath, Becomes("`-object memory-backend-file,mem-path=`")] | None = Field(
        None,
        description="Where the memory lies on this machine: a mounted hugetlbfs, another folder or a file. "
        "Left out: ordinary memory.",
        examples=["/dev/hugepages"],
    )
    machine: Annotated[Machine, Rare("Machine", _BOARD)] | None = Field(
        None, description="Options of the board. Left out: a Q35."
    )
    firmware: Annotated[Literal["seabios", "uefi"], Becomes("the host's firmware")] = Field(
        "seabios",
        description="Firmware: `seabios`, or `uefi`, which is OVMF with its variables kept in the workspace "
        "until `infrasim node destroy`.",
        examples=["uefi"],
    )
    secure_boot: Switch = Field(
        False,
        description="Whether the firmware, `uefi`, starts only what is signed. It begins with "
        "Microsoft's keys, which the boot loaders of the distributions are signed with.",
        examples=[True],
    )
    tpm: (
        Annotated[Literal["2.0"], BeforeValidator(board_checks.tpm_version), Becomes("`-device tpm-crb`")]
        | None
    ) = Field(
        None,
        description="Version of the trusted platform module; left out, there is none. It is swtpm, and its "
        "state is kept in the workspace until `infrasim node destroy`.",
        examples=["2.0"],
    )
    bios: Annotated[AbsolutePath | None, Becomes("`-bios`")] = Field(
        None, description="Image of a firmware in place of SeaBIOS's own.", examples=["/srv/bios.bin"]
    )
    boot: Boot = Field(default_factory=Boot, description="What the firmware boots.")
    smbios: Annotated[Smbios, Rare("Smbios")] | None = Field(
        None,
        description="What SMBIOS (`dmidecode` in the host) says of this node alone; the rest is the server "
        "type's, or that of a table of one's own: `{file: PATH}`, or just the path. A value here goes before "
        "one of the whole machine, such as `serial_number`.",
    )
    vnc_display: Annotated[int, Becomes("`-vnc`")] | None = Field(
        None,
        ge=0,
        le=99,
        description="VNC display of the screen; its TCP port is 5900 more. "
        "Left out: 1, or the next free one.",
        examples=[1],
    )
    storage_backend: Annotated[
        tuple[Annotated[Controller, Rare("Controller", "infrasim.spec.storage")], ...],
        AfterValidator(storage_checks.controllers_differ),
    ] = Field(
        default_factory=one_disk,
        description="Disk controllers. Left out: one AHCI controller with one 8 GiB disk; `[]` for none.",
    )
    networks: Annotated[tuple[Network, ...], AfterValidator(network_checks.networks_differ)] = Field(
        default_factory=lambda: (Network(),),
        description="Network cards. Left out: one with NAT; `[]` for none.",
    )
    image: Annotated[AbsolutePath, Becomes("`qemu-img create -b`")] | None = Field(
        None,
        description="Image that the first disk begins as, such as a cloud image, in any format that a disk "
        "can have: it is only read, and what the host writes goes to an overlay in the workspace. As "
        "`backing_file` of that disk.",
        examples=["/var/lib/images/debian-12-generic-amd64.qcow2"],
    )
    cloud_init: Annotated[CloudInit, Rare("CloudInit", "infrasim.spec.cloud_init")] | None = Field(
        None,
        description="What the host's cloud-init does at its first boot: it finds it on a CD-ROM with the "
        "volume id CIDATA (NoCloud).",
    )
    cdrom: Cdrom | None = Field(None, description="CD-ROM drive: `{file: PATH}`, or just the path.")
    cdroms: tuple[Cdrom, ...] = Field((), description="Further CD-ROM drives, each as `cdrom`.")
    kernel: Annotated[AbsolutePath, Becomes("`-kernel`")] | None = Field(
        None, description="Linux kernel to boot directly, without a boot loader.", examples=["/boot/vmlinuz"]
    )
    initrd: Annotated[AbsolutePath, Becomes("`-initrd`")] | None = Field(
        None, description="Initial RAM disk; needs `kernel`.", examples=["/boot/initrd.img"]
    )
    cmdline: Annotated[str, AfterValidator(checks.kernel_words), Becomes("`-append`")] | None = Field(
        None, description="Command line of the kernel; needs `kernel`.", examples=["console=ttyS0 quiet"]
    )
    numa_control: Annotated[NumaControl, Rare("NumaControl", _PINNING)] | None = Field(
        None, description="Where on this machine the host runs. Left out: anywhere."
    )
    cpu_binding: Annotated[CpuBinding, Rare("CpuBinding", _PINNING)] | None = Field(
        None, description="Which threads of QEMU run on which processors of this machine."
    )
    pci_bridge_topology: tuple[Annotated[Bridge, Rare("Bridge", _TOPOLOGY)], ...] = Field(
        (),
        description="Bridges to buses of conventional PCI. MegaRAID controllers without a `bus` go there.",
    )
    pcie_topology: Annotated[PcieTopology, Rare("PcieTopology", _TOPOLOGY)] | None = Field(
        None, description="Root ports and switches of PCI Express; devices go behind them by their `bus`."
    )
    pcie_passthrough: Annotated[
        tuple[Annotated[Passthrough, Rare("Passthrough", _TOPOLOGY)], ...],
        AfterValidator(pci_checks.given_once),
    ] = Field(
        (),
        alias="pcie-passthrough",
        description="PCI devices of this machine that the host has while the node runs; needs root and an "
        "IOMMU.",
    )
    ntb: Annotated[
        tuple[Annotated[NonTransparentBridge, Rare("NonTransparentBridge", _SPECIAL)], ...],
        UNUSUAL,
        Becomes("`-device skx_ntb`"),
    ] = Field((), description="Bridges to the memory of another host.")
    dma_engine: Annotated[
        tuple[Annotated[DmaEngine, Rare("DmaEngine", _SPECIAL)], ...], UNUSUAL, Becomes("`-device ioat_dma`")
    ] = Field((), description="DMA engines of Intel's I/OAT.")
    imc: Annotated[
        tuple[Annotated[MemoryController, Rare("MemoryController", _SPECIAL)], ...],
        UNUSUAL,
        Becomes("`-device imc_m2mem`"),
    ] = Field((), description="Integrated memory controllers of the processors.")
    pcu: Annotated[
        tuple[Annotated[PowerControlUnit, Rare("PowerControlUnit", _SPECIAL)], ...],
        UNUSUAL,
        Becomes("`-device pcu_cr0`, `-device pcu_cr5`"),
    ] = Field((), description="Power control units of the processors.")
    communicate: (
        Annotated[Communicate, Rare("Communicate", _SPECIAL), UNUSUAL, Becomes("`-communicate`")] | None
    ) = Field(None, description="The chassis the host is in, as memory that it shares with others.")
    force_shutdown: Annotated[Switch, Becomes("what `infrasim node stop` does")] = Field(
        True,
        description="Whether a stop of the node cuts the host's power at once. `false` asks its system to "
        "shut down first, and waits `bmc.poweroff_wait` seconds for it.",
        examples=[False],
    )
    extra_device: Annotated[
        tuple[Annotated[str, AfterValidator(checks.device)], ...],
        BeforeValidator(checks.split_devices),
        Becomes("`-device`, each"),
    ] = Field(
        (),
        description="Further devices for QEMU, passed on unchecked: a value of `-device` or a list of them.",
        examples=[["qemu-xhci,id=usb0", "usb-tablet,bus=usb0.0"]],
    )
    ipmi: Annotated[SystemInterface, Rare("SystemInterface", _BOARD)] | None = Field(
        None, description="Where the host finds its BMC. Left out: where the server type has it."
    )
    guest_agent: Annotated[Switch, Becomes("`-device isa-serial`")] = Field(
        False,
        alias="guest-agent",
        description="Whether there is a channel for QEMU's guest agent: the fourth serial port, ttyS3 in "
        "Linux (`qemu-ga -m isa-serial -p /dev/ttyS3`), is `run/guest.agt` in the workspace.",
        examples=[True],
    )
    trace: Annotated[Trace, Rare("Trace", _BOARD)] | None = Field(
        None, description="What firmware and system write beside the serial port, as logs of the node."
    )
    extra_option: Annotated[
        tuple[Annotated[str, AfterValidator(checks.one_argument)], ...],
        BeforeValidator(checks.split_options),
        Becomes("arguments of QEMU"),
    ] = Field(
        (),
        description="Further arguments for QEMU, passed on unchecked: a list, or one text that is split "
        "as a shell would.",
        examples=["-device qemu-xhci"],
    )

    @model_validator(mode="after")
    def _kernel_first(self) -> None:
        checks.kernel_is_given(self.kernel, initrd=self.initrd, cmdline=self.cmdline)

    @model_validator(mode="after")
    def _one_firmware(self) -> None:
        board_checks.one_firmware(
            firmware=self.firmware, is_secure=self.secure_boot, bios=self.bios, machine=self.board
        )

    @property
    def board(self) -> str:
        """The board, as QEMU names it."""
        return self.machine.type if self.machine else DEFAULT_BOARD

    @model_validator(mode="after")
    def _image_has_a_disk(self) -> None:
        if self.image is not None:
            storage_checks.image_has_a_disk(self.storage_backend)

    @model_validator(mode="after")
    def _cdroms_differ(self) -> None:
        storage_checks.cdroms_differ(self.cdrom_drives, self.storage_backend)

    @model_validator(mode="after")
    def _nodes_are_there(self) -> None:
        if self.pcie_topology is not None:
            pci_checks.nodes_are_there(self.pcie_topology.root_bus, self.memory.nodes)

    @property
    def cdrom_drives(self) -> tuple[tuple[tuple[str | int, ...], Cdrom], ...]:
        """The CD-ROM drives in their order, each with its place here."""
        first = ((("cdrom",), self.cdrom),) if self.cdrom else ()
        return (*first, *((("cdroms", number), drive) for number, drive in enumerate(self.cdroms)))

    @model_validator(mode="after")
    def _one_identity(self) -> None:
        if self.smbios is not None:
            checks.one_uuid(self.uuid, self.smbios.type1.uuid)
            checks.modules_add_up([module.size for module in self.smbios.type17], self.memory.size)


class Bmc(Part):
    """The management controller."""

    interface: Annotated[str, AfterValidator(checks.interface), Becomes("the BMC's UDP socket")] | None = (
        Field(
            None,
            description="Network interface of this machine whose address the BMC listens on.",
            examples=["eth1"],
        )
    )
    address: Annotated[Address, Becomes("the BMC's UDP socket")] | None = Field(
        None,
        description="IPv4 or IPv6 address of this machine the BMC listens on; `0.0.0.0` or `::` for all. "
        "Left out (and no `interface`): 127.0.0.1 for the first node, 127.0.1.x for further ones.",
        examples=["192.0.2.10"],
    )
    main_channel: Annotated[int, Becomes("the channel of IPMI over LAN")] = Field(
        1,
        ge=1,
        le=board_checks.LAST_LAN_CHANNEL,
        validation_alias=AliasChoices("main_channel", "channel"),
        description="Number of the LAN channel that has the BMC's address.",
        examples=[8],
    )
    channels: Annotated[
        tuple[Annotated[int, AfterValidator(board_checks.lan_channel)], ...],
        BeforeValidator(board_checks.split_channels),
        AfterValidator(board_checks.channels_differ),
        Becomes("further LAN channels"),
    ] = Field(
        (),
        description="Numbers of all LAN channels, as a list or a text such as `1,8`; `main_channel` is one "
        "of them. The others have settings, users and a MAC, and no network leads to them. Left out: "
        "`main_channel` alone.",
        examples=[[1, 8]],
    )
    historyfru: Annotated[int, Becomes("a FRU device of the BMC's own")] | None = Field(
        None,
        ge=0,
        le=254,
        description="Number of a FRU device whose data is what the host printed on its serial port last, "
        "up to 4000 bytes, as `ipmitool fru read` gets it. It must be no device of the server type, and "
        "needs `sol_enable`. Left out: none.",
        examples=[99],
    )
    ipmi_over_lan_port: Annotated[Port, Becomes("the BMC's UDP socket")] = Field(
        623, description="UDP port of IPMI over LAN.", examples=[623]
    )
    username: Annotated[str, AfterValidator(checks.ipmi_username), Becomes("name of user 2")] = Field(
        "admin", description="IPMI user with administrator rights, at most 16 bytes.", examples=["root"]
    )
    password: Annotated[str, AfterValidator(checks.ipmi_password), Becomes("password of user 2")] = Field(
        "admin", repr=False, description="The user's password, at most 20 bytes.", examples=["calvin"]
    )
    cipher_suites: Annotated[
        tuple[CipherSuite, ...], AfterValidator(checks.cipher_suites), Becomes("Get Channel Cipher Suites")
    ] = Field(
        (3, 17),
        description="Cipher suites of IPMI 2.0 that open a session: 1 (no integrity, no encryption), "
        "2 (no encryption), 3 (SHA-1, AES), 17 (SHA-256, AES).",
        examples=[[17]],
    )
    insecure: Annotated[Switch, Becomes("cipher suite 0, authentication type none, user 1")] = Field(
        False,
        description="Whether sessions need no password: cipher suite 0, authentication type none and the "
        "anonymous user. For tests of tools that look for such BMCs.",
        examples=[True],
    )
    lockout_failures: Annotated[int, Becomes("LAN parameter 26")] = Field(
        0,
        ge=0,
        le=255,
        description="After so many wrong passwords in a row a user is locked out; 0 locks nobody out.",
        examples=[3],
    )
    lockout_time: Annotated[Seconds, Becomes("LAN parameter 26")] = Field(
        300.0, description="Seconds a locked-out user stays locked out.", examples=[60]
    )
    reset_time: Annotated[Seconds, Becomes("Cold Reset, Warm Reset")] = Field(
        3.0,
        description="Seconds the BMC is away from LAN and host after `mc reset`.",
        examples=[30],
    )
    startnow: Annotated[Switch, Becomes("power at the start")] = Field(
        True,
        description="Whether the host is powered on when the node starts; `false` waits for a power-on "
        "over IPMI.",
        examples=[False],
    )
    poweroff_wait: Annotated[Seconds, Becomes("deadline of `power soft`")] = Field(
        60.0,
        description="Seconds the operating system has for a soft power-off before the power is cut.",
        examples=[30],
    )
    kill_wait: Annotated[Seconds, Becomes("deadline of SIGTERM")] = Field(
        5.0, description="Seconds between SIGTERM and SIGKILL when QEMU does not end.", examples=[1]
    )
    chassis_pn: Annotated[FruText, Becomes("FRU chassis area")] | None = Field(
        None,
        description="Part number of the chassis: in every FRU device with a chassis area, or in FRU 0.",
        examples=["32-A0123"],
    )
    chassis_sn: Annotated[FruText, Becomes("FRU chassis area, SMBIOS type 3")] | None = Field(
        None,
        description="Serial number of the chassis: where `chassis_pn` is, and in SMBIOS type 3.",
        examples=["QTFCD1420"],
    )
    emu_file: Annotated[AbsolutePath | None, Becomes("`ipmi_sim -f`")] = Field(
        None,
        description="Commands of ipmi_sim in place of the server type's: sensors, records and FRU devices "
        "are then those of this file, and nothing of the node file is written into it.",
        examples=["/srv/node-0.emu"],
    )
    fru: dict[FruId, Annotated[FruDevice, Rare("FruDevice")]] = Field(
        default_factory=dict,
        validation_alias="fruN",
        description="Texts of the FRU device with the id N, 0 to 254: `fru0` is the server's own, and "
        "`ipmitool fru print` lists the others. An area that the device does not have is added. A text here "
        "goes before `serial_number`, `asset_tag`, `chassis_pn` and `chassis_sn`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_frus(cls, given: Any) -> Any:
        """``fru0: …, fru7: …`` as one mapping under the alias; ``spec.problems`` knows of it."""
        if not isinstance(given, dict):
            return given
        frus = {key: value for key, value in given.items() if key.startswith("fru")}
        others = {key: value for key, value in given.items() if key not in frus}
        kept = {key: value for key, value in frus.items() if value is not None or not checks.is_fru_key(key)}
        return {**others, "fruN": kept} if frus else given

    def model_dump(self, *, by_alias: bool = False, exclude_unset: bool = False) -> dict[str, Any]:
        """Every FRU device under a key of its own."""
        values = super().model_dump(by_alias=by_alias, exclude_unset=exclude_unset)
        frus = values.pop("fruN" if by_alias else "fru", {})
        return {**values, **{f"fru{fru_id}": fru for fru_id, fru in frus.items()}}

    def _own_inventory(self) -> list[str]:
        """The keys that say something of a FRU device."""
        given = {"chassis_pn": self.chassis_pn, "chassis_sn": self.chassis_sn}
        return [*(key for key, text in given.items() if text), *(f"fru{number}" for number in self.fru)]

    @model_validator(mode="after")
    def _one_place(self) -> None:
        checks.one_place_to_listen(interface=self.interface, address=self.address)
        board_checks.main_channel_is_one(main=self.main_channel, channels=self.channels)
        board_checks.one_inventory(emu_file=self.emu_file, own=self._own_inventory())


class NodeSpec(Part):
    """A node: what its file says, with every default filled in."""

    name: Annotated[NodeName, Becomes("folder of the node and of its logs, `-name`")] = Field(
        description="Name of the node. Left out: the name it is registered under.", examples=["node-0"]
    )
    type: Annotated[TypeName, Becomes("sensors, inventory, SMBIOS")] = Field(
        DEFAULT_SERVER_TYPE,
        description="Server type: which machine this is (`infrasim type list`).",
        examples=["quanta_d51"],
    )
    serial_number: Annotated[SmbiosText, Becomes("SMBIOS types 1 to 3, FRU 0")] | None = Field(
        None,
        description="Serial number of the machine: of system, board and chassis in SMBIOS and FRU 0 alike. "
        "Left out: made from the UUID.",
        examples=["infrasim-4711"],
    )
    asset_tag: Annotated[SmbiosText, Becomes("SMBIOS types 2 and 3, FRU 0")] | None = Field(
        None,
        description="Asset tag of the machine: of board and chassis in SMBIOS and of the product in FRU 0. "
        "Left out: the server type's.",
        examples=["RACK7-U12"],
    )
    namespace: Annotated[str, AfterValidator(network_checks.namespace), Becomes("`setns`")] | None = Field(
        None,
        description="Network namespace of this machine that the whole node runs in: BMC, screen, forwarded "
        "ports and cards. It must exist (`ip netns list`). Left out: that of the command.",
        examples=["rack7"],
    )
    sol_enable: Annotated[Switch, Becomes("socat, the SOL payload")] = Field(
        True, description="Serial over LAN, and the firmware on the serial port.", examples=[True]
    )
    sol_device: Annotated[AbsolutePath | None, Becomes("a link to `run/pty`")] = Field(
        None,
        description="A further name of the serial port's terminal, made at a start; `infrasim node destroy` "
        "removes it.",
        examples=["/tmp/node-0-pty"],
    )
    serial_socket: Annotated[AbsolutePath | None, Becomes("a link to `run/serial.sock`")] = Field(
        None,
        description="A further name of the socket that QEMU's serial port connects to, as `sol_device`.",
        examples=["/tmp/node-0-serial"],
    )
    ipmi_console_port: Annotated[int | None, Becomes("`console` of ipmi_sim")] = Field(
        None,
        ge=1,
        le=65535,
        description="TCP port of this machine's loopback where ipmi_sim takes commands such as "
        "`sensor_set_value`. It asks nobody for a password. Left out: there is none.",
        examples=[9000],
    )
    compute: Compute = Field(default_factory=Compute, description="The host: what the operating system sees.")
    bmc: Bmc = Field(default_factory=Bmc, description="The management controller.")
    monitor: Annotated[Monitor, Rare("Monitor", _BOARD)] | None = Field(
        None,
        description="A socket with QEMU's machine protocol (QMP) for tools of one's own; `{}` is enough. "
        "Left out: there is none, and infrasim's own is not to be shared.",
    )
    racadm: Annotated[Racadm, Rare("Racadm", "infrasim.spec.racadm")] | None = Field(
        None,
        description="A racadm shell over SSH, as the iDRAC of a Dell server has one; `{}` is enough. "
        "Left out: there is none.",
    )
