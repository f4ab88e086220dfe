"""What a node file says of PCI buses: bridges, root ports and switches, and devices of this machine's own.

Where a bus or a slot is left out it is found by the planner (``plan.pci``), which also sees whether two
devices are in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from infrasim.spec import pci_checks
from infrasim.spec.modelling import AfterValidator, Field
from infrasim.spec.part import (
    UNUSUAL,
    AbsolutePath,
    Becomes,
    Only,
    Part,
    PciAddress,
    QemuId,
    Rare,
    Switch,
)
from infrasim.spec.storage import SwitchOrAuto

if TYPE_CHECKING:
    from infrasim.spec.special import Vmd
else:
    Vmd = Any

HostDevice: TypeAlias = Annotated[str, AfterValidator(pci_checks.host_device)]

_ADDR = "Slot on the bus in hexadecimal, a function behind a point. Left out: the next free one."
_MULTIFUNCTION = "Whether the slot has further functions. Left out: yes if another device is in the slot."
_CHASSIS = "Number of the chassis; it and `slot` together are there only once. Left out: 1."
_SLOT = "Number of the slot, as an operating system shows it. Left out: the next free one of its chassis."


class _Place(Part):
    """What everything on a PCI bus has."""

    addr: Annotated[PciAddress, Becomes("`addr=`")] | None = Field(None, description=_ADDR, examples=["1c.0"])
    multifunction: Annotated[Switch, Becomes("`multifunction=`")] | None = Field(
        None, description=_MULTIFUNCTION, examples=[True]
    )


class LowestBridge(_Place):
    """A bridge to a bus of conventional PCI, with none behind it."""

    device: Annotated[Literal["i82801b11-bridge", "pci-bridge", "pcie-pci-bridge"], Becomes("`-device`")] = (
        Field(description="Kind of bridge.", examples=["pci-bridge"])
    )
    id: QemuId | None = Field(
        None,
        description="Name of the bridge and of the bus behind it. Left out: `pci.1`, `pci.2` and on.",
        examples=["pci.9"],
    )
    chassis_nr: Annotated[int, Only("pci-bridge", of="device"), Becomes("`chassis_nr=`")] | None = Field(
        None,
        ge=1,
        le=255,
        description="Number of the chassis behind the bridge. Left out: the next free one.",
        examples=[1],
    )
    msi: (
        Annotated[SwitchOrAuto, Only("pci-bridge", "pcie-pci-bridge", of="device"), Becomes("`msi=`")] | None
    ) = Field(None, description="Message signalled interrupts.", examples=["off"])


class LowerBridge(LowestBridge):
    """A bridge behind another one."""

    downstream_bridge: tuple[LowestBridge, ...] = Field((), description="Bridges on the bus behind this one.")


class Bridge(LowestBridge):
    """A bridge to a bus of conventional PCI."""

    downstream_bridge: tuple[LowerBridge, ...] = Field((), description="Bridges on the bus behind this one.")


class _Slotted(_Place):
    """A port that a device can be put behind."""

    chassis: Annotated[int, Becomes("`chassis=`")] | None = Field(
        None, ge=0, le=255, description=_CHASSIS, examples=[1]
    )
    # Thirteen bits. Source: PCI Express base specification, Slot Capabilities register.
    slot: Annotated[int, Becomes("`slot=`")] | None = Field(
        None, ge=0, le=8191, description=_SLOT, examples=[3]
    )


class RootBus(_Place):
    """A further root of PCI Express, such as a second processor has."""

    id: QemuId = Field(description="Name of the bus.", examples=["pcie.1"])
    bus_nr: Annotated[int, Becomes("`bus_nr=`")] = Field(
        ge=1, le=255, description="Number of the bus; those behind it get the next ones.", examples=[128]
    )
    numa_node: Annotated[int, Becomes("`numa_node=`")] | None = Field(
        None, ge=0, le=127, description="NUMA node of `memory.nodes` that it is beside.", examples=[1]
    )


class RootPort(_Slotted):
    """A root port."""

    device: Annotated[Literal["pcie-root-port", "ioh3420"], Becomes("`-device`")] = Field(
        "pcie-root-port", description="Kind of port.", examples=["ioh3420"]
    )
    id: QemuId = Field(description="Name of the port and of the bus behind it.", examples=["root_port1"])
    bus: QemuId = Field("pcie.0", description="Root bus it is on.", examples=["pcie.0"])


class Upstream(_Place):
    """The side of a switch that leads to the root."""

    device: Annotated[Literal["x3130-upstream"], Becomes("`-device`")] = Field(
        "x3130-upstream", description="Kind of port.", examples=["x3130-upstream"]
    )
    id: QemuId = Field(description="Name of the port, and of the bus inside.", examples=["upstream1"])
    bus: QemuId = Field(description="The root port or downstream port it is behind.", examples=["root_port1"])


class Downstream(_Slotted):
    """A side of a switch that leads to a device."""

    device: Annotated[Literal["xio3130-downstream"], Becomes("`-device`")] = Field(
        "xio3130-downstream", description="Kind of port.", examples=["xio3130-downstream"]
    )
    id: QemuId = Field(description="Name of the port and of the bus behind it.", examples=["downstream1"])
    bus: QemuId | None = Field(
        None,
        description="The upstream port it belongs to. Left out: that of its switch, if there is one.",
        examples=["upstream1"],
    )


class PcieSwitch(Part):
    """A switch."""

    upstream: tuple[Upstream, ...] = Field((), description="Its sides towards the root.")
    downstream: tuple[Downstream, ...] = Field((), description="Its sides towards devices.")


class PcieTopology(Part):
    """Ports of PCI Express."""

    root_bus: Annotated[tuple[RootBus, ...], AfterValidator(pci_checks.numbers_differ)] = Field(
        (), description="Further roots of PCI Express beside `pcie.0`; each is a `pxb-pcie`."
    )
    root_port: tuple[RootPort, ...] = Field((), description="Root ports.")
    switch: tuple[PcieSwitch, ...] = Field((), description="Switches.")
    vmd: Annotated[
        tuple[Annotated[Vmd, Rare("Vmd", "infrasim.spec.special")], ...], UNUSUAL, Becomes("`-device vmd`")
    ] = Field((), description="Volume management devices, with a root of their own each.")


class Passthrough(_Place):
    """A PCI device of this machine that the host has to itself."""

    host: Annotated[HostDevice, Becomes("`host=`")] = Field(
        description="Address of the device on this machine (`lspci -D`); without a domain it is "
        "in domain 0. `infrasim node start` takes it from its driver, with all that shares its IOMMU group, "
        "and `node stop` gives everything back.",
        examples=["0000:03:00.0"],
    )
    driver: Annotated[Literal["vfio-pci"], Becomes("`-device`")] = Field(
        "vfio-pci", description="Driver of this machine that hands the device on.", examples=["vfio-pci"]
    )
    bus: QemuId | None = Field(
        None, description="Bus of the host it sits on. Left out: the root bus.", examples=["root_port1"]
    )
    bootindex: Annotated[int | None, Becomes("`bootindex=`")] = Field(
        None,
        ge=0,
        le=65535,
        description="Place in the order of boot, smallest first. Left out: `boot_order` decides for network "
        "cards and disk controllers.",
        examples=[4],
    )
    rombar: Annotated[Switch, Becomes("`rombar=`")] | None = Field(
        None,
        description="Whether the host sees the device's option ROM. Left out: yes, if it has one.",
        examples=[False],
    )
    romfile: Annotated[AbsolutePath, Becomes("`romfile=`")] | None = Field(
        None,
        description="Image of an option ROM in place of the device's own.",
        examples=["/srv/card.rom"],
    )
