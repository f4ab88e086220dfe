"""What a node file says of the machine itself: processors, memory, order of boot."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from infrasim.spec import checks
from infrasim.spec.part import Part


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
