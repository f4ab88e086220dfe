"""What few node files say of the board: its options, logs of its firmware, the interface to its BMC."""

from __future__ import annotations

from typing import Annotated, Literal

from infrasim.spec import board_checks, words
from infrasim.spec.modelling import AfterValidator, BeforeValidator, Field
from infrasim.spec.part import UNUSUAL, Becomes, Part, Switch


class Machine(Part):
    """Options of the board."""

    type: Annotated[str, AfterValidator(board_checks.machine_type), Becomes("`-machine`")] = Field(
        "q35",
        description="Board of QEMU: `q35`, `pc`, or a version of them (`qemu-system-x86_64 -machine help`).",
        examples=["pc-q35-7.2"],
    )
    usb: Annotated[Switch | None, Becomes("`-machine usb=`")] = Field(
        None, description="Whether the board has a USB controller. Left out: as QEMU has it.", examples=[True]
    )
    vmport: Annotated[Switch, Becomes("`-machine vmport=`")] = Field(
        False, description="Whether the host finds VMware's port of emulated mice.", examples=["on"]
    )
    sata: Annotated[Switch, Becomes("`-machine sata=`")] = Field(
        False,
        description="Whether the board's own SATA controller is there; the disks of the file have others.",
        examples=[True],
    )
    mem_merge: Annotated[Switch | None, Becomes("`-machine mem-merge=`")] = Field(
        None,
        alias="mem-merge",
        description="Whether the kernel may share equal pages of several hosts. Left out: as QEMU has it.",
        examples=[False],
    )
    kernel_irqchip: (
        Annotated[
            Literal["on", "off", "split"],
            BeforeValidator(words.on_or_off),
            Becomes("`-accel kvm,kernel-irqchip=`"),
        ]
        | None
    ) = Field(
        None,
        alias="kernel-irqchip",
        description="With KVM: whether interrupt controllers are the kernel's, QEMU's, or `split`. "
        "Left out: as QEMU has it, which is fastest.",
        examples=["split"],
    )
    igd_passthru: Annotated[Switch | None, Becomes("`-machine igd-passthru=`")] = Field(
        None,
        alias="igd-passthru",
        description="Whether the board is ready for an Intel graphics device; acts with Xen alone.",
        examples=[False],
    )
    spid: Annotated[int, UNUSUAL, Becomes("`-machine spid=`")] | None = Field(
        None, ge=0, le=255, description="Which server of its chassis this is.", examples=[0]
    )


class Trace(Part):
    """What firmware and system write beside the serial port, as logs of the node (`infrasim node logs`)."""

    seabios: Annotated[Switch, Becomes("`-device isa-debugcon`")] = Field(
        False, description="Whether the firmware's debug output becomes `seabios.log`.", examples=["on"]
    )
    guest: Annotated[Switch, Becomes("`-device isa-serial`")] = Field(
        False,
        description="Whether the second serial port, ttyS1 in Linux, becomes `guest.log`.",
        examples=["on"],
    )


class Monitor(Part):
    """QEMU's machine protocol, QMP, for tools of one's own; `{}` is enough."""

    enable: Annotated[bool, Becomes("`-mon mode=control`")] = Field(
        True,
        description="Whether there is `run/monitor.sock` in the workspace, for one client at a time. What is "
        "ordered there goes past the BMC; after `quit` QEMU is started again as after a crash.",
        examples=[False],
    )


class SystemInterface(Part):
    """Where the host finds its BMC; SMBIOS type 38 says the same."""

    interface: Annotated[Literal["kcs", "bt"], Becomes("`-device isa-ipmi-kcs` or `-device isa-ipmi-bt`")] = (
        Field("kcs", description="Kind of the interface.", examples=["bt"])
    )
    ioport: Annotated[int | None, Becomes("`ioport=`")] = Field(
        None,
        ge=1,
        le=0xFFF0,
        description="I/O port. Left out: the server type's, or 0xe4 for `bt`.",
        examples=[0xCA8],
    )
    irq: Annotated[int | None, Becomes("`irq=`")] = Field(
        None,
        ge=0,
        le=15,
        description="Interrupt; 0 is none, and Linux asks over and over. Left out: the server type's.",
        examples=[10],
    )
