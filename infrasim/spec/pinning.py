"""What a node file says of the processors and the memory of this machine that a host runs on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from infrasim.spec import machine_checks
from infrasim.spec.modelling import BeforeValidator, Field, model_validator
from infrasim.spec.part import Becomes, Part

CoreList: TypeAlias = Annotated[str, BeforeValidator(machine_checks.core_list)]


class NumaControl(Part):
    """Where on this machine the host runs; ``true`` alone is the mode ``auto``."""

    mode: Literal["auto", "manual"] | None = Field(
        None,
        description="`auto` chooses as many processors as the host has, near each other, and not those of "
        "other nodes of this home as long as there are others; `manual` takes those given. Left out: "
        "what the other keys say.",
        examples=["manual"],
    )
    cores: Annotated[CoreList, Becomes("the affinity of QEMU")] | None = Field(
        None,
        description="Processors of this machine that all of QEMU runs on, as Linux numbers them. Left out: "
        "those of `node-id`.",
        examples=["0-3,8"],
    )
    node_id: Annotated[int, Becomes("`-object memory-backend-…,host-nodes=,policy=bind`")] | None = Field(
        None,
        ge=0,
        le=1023,
        alias="node-id",
        description="NUMA node of this machine that the memory comes from.",
        examples=[0],
    )

    @model_validator(mode="before")
    @classmethod
    def _yes_alone(cls, given: Any) -> Any:
        return {} if given is True else given

    @model_validator(mode="after")
    def _one_mode(self) -> None:
        machine_checks.nothing_by_hand(self.mode, {"cores": self.cores, "node-id": self.node_id})


class Threads(Part):
    """Processors of this machine for some threads of QEMU."""

    cores: CoreList = Field(description="Processors, as Linux numbers them.", examples=["0-1"])
    policy: Literal["mono", "shared"] = Field(
        "mono",
        description="`mono` gives each thread a processor of its own, in their order; `shared` gives all of "
        "them to every thread.",
        examples=["shared"],
    )


class CpuBinding(Part):
    """Which threads of QEMU run where; it goes before ``numa_control``."""

    main_loop: Threads | None = Field(None, description="The thread that serves devices.")
    vcpu: Threads | None = Field(None, description="The threads that are the host's processors.")
