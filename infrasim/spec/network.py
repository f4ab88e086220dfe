"""What a node file says of network cards and what they are connected to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.aliases import AliasChoices

from infrasim.spec import checks
from infrasim.spec.part import Mac, Part, Port


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
