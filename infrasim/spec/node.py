"""What a node file can say: the one place where its keys, defaults, ranges and explanations live.

Owns single values and checks among neighbours (``spec.checks``). Whether a server type, an
interface or a file exists is for those who can look; ``spec.problems`` words the errors.

A key without a value (``kernel:`` or ``kernel: null``) is as if it were not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.aliases import AliasChoices

from infrasim.spec import checks
from infrasim.spec.part import (
    AbsolutePath,
    Address,
    CipherSuite,
    FruId,
    FruText,
    Mac,
    NodeName,
    Part,
    Port,
    Rare,
    Seconds,
    SmbiosText,
    TypeName,
    Uuid,
)

if TYPE_CHECKING:
    from infrasim.spec.identity import FruDevice, Smbios
else:
    FruDevice = Smbios = Any

DEFAULT_SERVER_TYPE = "quanta_d51"


class Cpu(Part):
    """The processors."""

    quantities: int = Field(
        2,
        ge=1,
        le=255,
        description="Number of CPUs the host sees; a multiple of the server type's sockets.",
        examples=[4],
    )
    type: Annotated[str, AfterValidator(checks.cpu_type)] | None = Field(
        None,
        description="CPU model of QEMU (`qemu-system-x86_64 -cpu help`). Left out: this machine's own CPU "
        "with KVM, else a model that emulation serves whole.",
        examples=["Haswell"],
    )
    features: Annotated[str, AfterValidator(checks.cpu_features)] | None = Field(
        None,
        description="CPU features to add with `+` and remove with `-`, separated by commas.",
        examples=["+vmx,-svm"],
    )


class Memory(Part):
    """The memory."""

    size: int = Field(1024, ge=16, le=16 * 1024 * 1024, description="Memory in MiB.", examples=[4096])


class Boot(Part):
    """What the firmware boots."""

    boot_order: Annotated[str, AfterValidator(checks.boot_order)] = Field(
        "ncd",
        description="Order of boot: `n` network, `c` disk, `d` CD-ROM.",
        examples=["cd"],
    )


class Drive(Part):
    """A disk."""

    size: int = Field(
        8,
        ge=1,
        le=65536,
        description="Size in GiB of an image that infrasim makes; an image that exists keeps its own.",
        examples=[20],
    )
    format: Literal["qcow2", "raw"] = Field("qcow2", description="Format of the image.", examples=["raw"])
    file: AbsolutePath | None = Field(
        None,
        description="An image or block device that exists already. Left out: one is made in the node's "
        "workspace, and removed by `infrasim node destroy`.",
        examples=["/var/lib/images/debian.qcow2"],
    )
    bootindex: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Place in the order of boot, smallest first; `boot_order` decides for disks without one.",
        examples=[1],
    )
    serial: Annotated[str, AfterValidator(checks.drive_serial)] | None = Field(
        None,
        description="Serial number, at most 20 characters. Left out: made from the node.",
        examples=["Z1X4AB01"],
    )
    model: Annotated[str, AfterValidator(checks.drive_model)] | None = Field(
        None, description="Model name, at most 40 characters.", examples=["INTEL SSDSC2BB480G6"]
    )
    version: Annotated[str, AfterValidator(checks.drive_version)] | None = Field(
        None, description="Firmware version, at most 8 characters.", examples=["B1.10"]
    )
    wwn: int | None = Field(
        None,
        ge=1,
        le=2**64 - 1,
        description="World-wide name, a 64-bit number.",
        examples=[0x5000C50015EA71AC],
    )
    rotation_rate: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("rotation_rate", "rotation"),
        description="Turns per minute; 1 is a solid-state disk, 0 says nothing.",
        examples=[7200],
    )
    cache: Literal["writeback", "none", "writethrough", "directsync", "unsafe"] = Field(
        "writeback", description="How QEMU caches the image on this machine.", examples=["none"]
    )


class AhciController(Part):
    """A SATA controller and its disks."""

    type: Literal["ahci"] = Field("ahci", description="Kind of controller.", examples=["ahci"])
    max_drive_per_controller: int = Field(
        6,
        ge=1,
        le=6,
        description="Disks on one controller; further ones go to further controllers.",
        examples=[4],
    )
    drives: tuple[Drive, ...] = Field((), strict=False, description="The disks.")


class PortForward(Part):
    """A port of this machine that leads into the host."""

    protocol: Literal["tcp", "udp"] = Field(
        "tcp",
        validation_alias=AliasChoices("protocol", "protocal"),
        description="Protocol.",
        examples=["tcp"],
    )
    outside: Port = Field(description="Port on this machine's loopback address.", examples=[2222])
    inside: Port = Field(description="Port in the host.", examples=[22])


class Network(Part):
    """A network card."""

    network_mode: Literal["nat"] = Field(
        "nat", description="What the card is connected to: `nat` is QEMU's own network.", examples=["nat"]
    )
    device: Annotated[str, AfterValidator(checks.network_device)] = Field(
        "e1000", description="Network card of QEMU.", examples=["virtio-net-pci"]
    )
    mac: Mac | None = Field(
        None, description="MAC address. Left out: made from the node's UUID.", examples=["52:54:00:12:34:56"]
    )
    port_forward: tuple[PortForward, ...] = Field(
        (), strict=False, description="Ports of this machine that lead into the host."
    )


class Cdrom(Part):
    """A CD-ROM drive; the path alone (``cdrom: /path/to.iso``) says the same."""

    file: AbsolutePath = Field(description="ISO image in the drive.", examples=["/var/lib/images/debian.iso"])

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, given: Any) -> Any:
        return {"file": given} if isinstance(given, str) else given


class Compute(Part):
    """The host: what the operating system sees."""

    uuid: Uuid | None = Field(
        None,
        description="UUID of the system. Left out: made from this machine, the home and the node's name.",
        examples=["3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"],
    )
    kvm_enabled: bool | None = Field(
        None,
        description="`true` demands KVM, `false` emulates. Left out: KVM where it really runs a guest.",
        examples=[True],
    )
    cpu: Cpu = Field(default_factory=Cpu, description="The processors.")
    memory: Memory = Field(default_factory=Memory, description="The memory.")
    boot: Boot = Field(default_factory=Boot, description="What the firmware boots.")
    smbios: Annotated[Smbios, Rare("Smbios")] | None = Field(
        None,
        description="What SMBIOS (`dmidecode` in the host) says of this node alone; the rest is the server "
        "type's. A value here goes before one of the whole machine, such as `serial_number`.",
    )
    vnc_display: int | None = Field(
        None,
        ge=0,
        le=99,
        description="VNC display of the screen; its TCP port is 5900 more. "
        "Left out: 1, or the next free one.",
        examples=[1],
    )
    storage_backend: Annotated[tuple[AhciController, ...], AfterValidator(checks.drives_differ)] = Field(
        default_factory=lambda: (AhciController(drives=(Drive(),)),),
        strict=False,
        description="Disk controllers. Left out: one AHCI controller with one 8 GiB disk; `[]` for none.",
    )
    networks: Annotated[tuple[Network, ...], AfterValidator(checks.networks_differ)] = Field(
        default_factory=lambda: (Network(),),
        strict=False,
        description="Network cards. Left out: one with NAT; `[]` for none.",
    )
    cdrom: Cdrom | None = Field(None, description="CD-ROM drive: `{file: PATH}`, or just the path.")
    kernel: AbsolutePath | None = Field(
        None, description="Linux kernel to boot directly, without a boot loader.", examples=["/boot/vmlinuz"]
    )
    initrd: AbsolutePath | None = Field(
        None, description="Initial RAM disk; needs `kernel`.", examples=["/boot/initrd.img"]
    )
    cmdline: Annotated[str, AfterValidator(checks.one_line)] | None = Field(
        None, description="Command line of the kernel; needs `kernel`.", examples=["console=ttyS0 quiet"]
    )
    extra_option: Annotated[
        tuple[Annotated[str, AfterValidator(checks.one_argument)], ...], BeforeValidator(checks.split_options)
    ] = Field(
        (),
        strict=False,
        description="Further arguments for QEMU, passed on unchecked: a list, or one text that is split "
        "as a shell would.",
        examples=["-device qemu-xhci"],
    )

    @model_validator(mode="after")
    def _kernel_first(self) -> Compute:
        checks.kernel_is_given(self.kernel, initrd=self.initrd, cmdline=self.cmdline)
        return self

    @model_validator(mode="after")
    def _one_identity(self) -> Compute:
        if self.smbios is not None:
            checks.one_uuid(self.uuid, self.smbios.type1.uuid)
            checks.modules_add_up([module.size for module in self.smbios.type17], self.memory.size)
        return self


class Bmc(Part):
    """The management controller."""

    interface: Annotated[str, AfterValidator(checks.interface)] | None = Field(
        None,
        description="Network interface of this machine whose address the BMC listens on.",
        examples=["eth1"],
    )
    address: Address | None = Field(
        None,
        description="IPv4 or IPv6 address of this machine the BMC listens on; `0.0.0.0` or `::` for all. "
        "Left out (and no `interface`): 127.0.0.1 for the first node, 127.0.1.x for further ones.",
        examples=["192.0.2.10"],
    )
    ipmi_over_lan_port: Port = Field(623, description="UDP port of IPMI over LAN.", examples=[623])
    username: Annotated[str, AfterValidator(checks.ipmi_username)] = Field(
        "admin", description="IPMI user with administrator rights, at most 16 bytes.", examples=["root"]
    )
    password: Annotated[str, AfterValidator(checks.ipmi_password)] = Field(
        "admin", repr=False, description="The user's password, at most 20 bytes.", examples=["calvin"]
    )
    cipher_suites: Annotated[tuple[CipherSuite, ...], AfterValidator(checks.cipher_suites)] = Field(
        (3, 17),
        strict=False,
        description="Cipher suites of IPMI 2.0 that open a session: 1 (no integrity, no encryption), "
        "2 (no encryption), 3 (SHA-1, AES), 17 (SHA-256, AES).",
        examples=[[17]],
    )
    insecure: bool = Field(
        False,
        description="Whether sessions need no password: cipher suite 0, authentication type none and the "
        "anonymous user. For tests of tools that look for such BMCs.",
        examples=[True],
    )
    lockout_failures: int = Field(
        0,
        ge=0,
        le=255,
        description="After so many wrong passwords in a row a user is locked out; 0 locks nobody out.",
        examples=[3],
    )
    lockout_time: Seconds = Field(
        300.0, description="Seconds a locked-out user stays locked out.", examples=[60]
    )
    reset_time: Seconds = Field(
        3.0,
        description="Seconds the BMC is away from LAN and host after `mc reset`.",
        examples=[30],
    )
    startnow: bool = Field(
        True,
        description="Whether the host is powered on when the node starts; `false` waits for a power-on "
        "over IPMI.",
        examples=[False],
    )
    poweroff_wait: Seconds = Field(
        60.0,
        description="Seconds the operating system has for a soft power-off before the power is cut.",
        examples=[30],
    )
    kill_wait: Seconds = Field(
        5.0, description="Seconds between SIGTERM and SIGKILL when QEMU does not end.", examples=[1]
    )
    chassis_pn: FruText | None = Field(
        None,
        description="Part number of the chassis: in every FRU device with a chassis area, or in FRU 0.",
        examples=["32-A0123"],
    )
    chassis_sn: FruText | None = Field(
        None,
        description="Serial number of the chassis: where `chassis_pn` is, and in SMBIOS type 3.",
        examples=["QTFCD1420"],
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

    def __hash__(self) -> int:
        return hash(tuple(self.fru.items()) + tuple(value for key, value in self if key != "fru"))

    @model_serializer(mode="wrap")
    def _scatter_frus(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        frus = values.pop("fru")
        return {**values, **{f"fru{fru_id}": fru for fru_id, fru in frus.items()}}

    @model_validator(mode="after")
    def _one_place(self) -> Bmc:
        checks.one_place_to_listen(interface=self.interface, address=self.address)
        return self


class NodeSpec(Part):
    """A node: what its file says, with every default filled in."""

    name: NodeName = Field(
        description="Name of the node. Left out: the name it is registered under.", examples=["node-0"]
    )
    type: TypeName = Field(
        DEFAULT_SERVER_TYPE,
        description="Server type: which machine this is (`infrasim type list`).",
        examples=["quanta_d51"],
    )
    serial_number: SmbiosText | None = Field(
        None,
        description="Serial number of the machine: of system, board and chassis in SMBIOS and FRU 0 alike. "
        "Left out: made from the UUID.",
        examples=["infrasim-4711"],
    )
    asset_tag: SmbiosText | None = Field(
        None,
        description="Asset tag of the machine: of board and chassis in SMBIOS and of the product in FRU 0. "
        "Left out: the server type's.",
        examples=["RACK7-U12"],
    )
    sol_enable: bool = Field(
        True, description="Serial over LAN, and the firmware on the serial port.", examples=[True]
    )
    compute: Compute = Field(default_factory=Compute, description="The host: what the operating system sees.")
    bmc: Bmc = Field(default_factory=Bmc, description="The management controller.")
