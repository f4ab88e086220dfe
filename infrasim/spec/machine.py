"""What a node file says of the machine itself: processors, memory, order of boot."""

from __future__ import annotations

from typing import Annotated

from infrasim.spec import checks, machine_checks
from infrasim.spec.modelling import AfterValidator, AliasChoices, Field, model_validator
from infrasim.spec.part import AbsolutePath, Becomes, Part, Switch


class Cpu(Part):
    """The processors."""

    quantities: Annotated[int, Becomes("`-smp`")] | None = Field(
        None,
        ge=1,
        le=255,
        description="Number of CPUs the host sees; a multiple of the server type's sockets. Left out: "
        "`sockets` x `cores` x `threads` if one of them is given, else 2.",
        examples=[4],
    )
    sockets: Annotated[int, Becomes("`-smp sockets=`")] | None = Field(
        None,
        ge=1,
        le=255,
        description="Sockets with a processor; as many as the SMBIOS of the server type has, which is the "
        "default.",
        examples=[2],
    )
    cores: Annotated[int, Becomes("`-smp cores=`")] | None = Field(
        None,
        ge=1,
        le=255,
        description="Cores of each processor. Left out: as many as make `quantities`.",
        examples=[4],
    )
    threads: Annotated[int, Becomes("`-smp threads=`")] | None = Field(
        None, ge=1, le=255, description="Threads of each core. Left out: 1.", examples=[2]
    )
    type: Annotated[str, AfterValidator(checks.cpu_type), Becomes("`-cpu TYPE`")] | None = Field(
        None,
        validation_alias=AliasChoices("type", "model"),
        description="CPU model of QEMU (`qemu-system-x86_64 -cpu help`); `host` is this machine's own and "
        "needs KVM. Left out: `host` with KVM, else all that emulation can do.",
        examples=["Haswell"],
    )
    features: Annotated[str, AfterValidator(checks.cpu_features), Becomes("`-cpu`")] | None = Field(
        None,
        description="CPU features to add with `+` and remove with `-`, separated by commas.",
        examples=["+vmx,-svm"],
    )

    @model_validator(mode="after")
    def _product(self) -> None:
        machine_checks.counts_agree(self)


class Memory(Part):
    """The memory."""

    size: Annotated[int, Becomes("`-m`")] = Field(
        1024, ge=16, le=16 * 1024 * 1024, description="Memory in MiB.", examples=[4096]
    )
    nodes: Annotated[int, Becomes("`-numa`")] = Field(
        1,
        ge=1,
        le=128,
        description="NUMA nodes that memory and processors are spread over, evenly; usually as many as "
        "sockets. 1 says nothing of NUMA.",
        examples=[2],
    )
    share: Annotated[Switch, Becomes("`memory-backend share=`")] = Field(
        False,
        description="Whether other processes of this machine can share the memory, as vhost-user and "
        "virtiofsd need.",
        examples=[True],
    )
    prealloc: Annotated[Switch, Becomes("`memory-backend prealloc=`")] = Field(
        False, description="Whether all of the memory is taken when the host starts.", examples=[True]
    )


class Boot(Part):
    """What the firmware boots."""

    boot_order: Annotated[str, AfterValidator(checks.boot_order), Becomes("`bootindex=`")] = Field(
        "ncd",
        description="Order of boot: `n` network, `c` disk, `d` CD-ROM.",
        examples=["cd"],
    )
    menu: Annotated[Switch, Becomes("`-boot menu=`")] = Field(
        True,
        description="Whether the firmware offers its boot menu for a moment; a boot override to `bios` needs "
        "it.",
        examples=["on"],
    )
    splash: Annotated[AbsolutePath | None, Becomes("`-boot splash=`")] = Field(
        None,
        description="Picture that SeaBIOS shows meanwhile, a JPEG or BMP file.",
        examples=["/srv/splash.jpg"],
    )
    splash_time: Annotated[int | None, Becomes("`-boot splash-time=`")] = Field(
        None,
        alias="splash-time",
        ge=0,
        le=65535,
        description="Milliseconds that the menu is offered and the picture shown. Left out: 300, or 2500 "
        "with a picture.",
        examples=[30000],
    )
