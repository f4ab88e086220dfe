"""What a node file says of network cards and what they are connected to."""

from __future__ import annotations

from typing import Annotated, Literal

from infrasim.spec import network_checks
from infrasim.spec.modelling import AfterValidator, AliasChoices, Field, model_validator
from infrasim.spec.part import AbsolutePath, Becomes, Mac, Only, Part, PciAddress, Port, QemuId, Switch

DEFAULT_BRIDGE = "br0"
DEFAULT_NAT = "10.0.2.0/24"

_NAT = Only("nat", of="network_mode")
_Ipv4 = Annotated[str, AfterValidator(network_checks.ipv4)]
_Driver = Annotated[str, AfterValidator(network_checks.network_device)]
_HostName = Annotated[str, AfterValidator(network_checks.host_name)]


class PortForward(Part):
    """A port of this machine that leads into the host."""

    protocol: Annotated[Literal["tcp", "udp"], Becomes("`hostfwd=`")] = Field(
        "tcp",
        validation_alias=AliasChoices("protocol", "protocal"),
        description="Protocol.",
        examples=["tcp"],
    )
    address: Annotated[_Ipv4, Becomes("`hostfwd=`")] = Field(
        "127.0.0.1",
        description="Address of this machine; `0.0.0.0` for all, so that other machines reach the host too.",
        examples=["192.0.2.10"],
    )
    outside: Annotated[Port, Becomes("`hostfwd=`")] = Field(
        description="Port at that address.", examples=[2222]
    )
    inside: Annotated[Port, Becomes("`hostfwd=`")] = Field(description="Port in the host.", examples=[22])


class Network(Part):
    """A network card."""

    network_mode: Annotated[
        Literal["nat", "bridge", "tap", "macvtap", "openvswitch", "socket", "none"], Becomes("`-netdev`")
    ] = Field(
        "nat",
        description="What the card is connected to: `nat` is QEMU's own network with a way out, `socket` one "
        "that nodes of this home share, neither of which needs root; `bridge` and `openvswitch` a bridge of "
        "this machine, `macvtap` an interface of it, `tap` a tap device; `none` nothing.",
        examples=["nat"],
    )
    network_name: Annotated[
        str | None,
        # With the others it is read over: see ``legacy.IDLE``.
        Only("bridge", "openvswitch", "macvtap", "tap", "socket", of="network_mode"),
        Becomes("`-netdev`"),
    ] = Field(
        None,
        description="For `bridge` the bridge (left out: `br0`), for `openvswitch` one of Open vSwitch, "
        "for `macvtap` the interface beneath, for `tap` the device (one that does not exist is made by the "
        "start and removed by the stop; left out: one of the node's own), for `socket` any name: cards with "
        "the same one can talk.",
        examples=["br0"],
    )
    device: Annotated[_Driver, Becomes("`-device`")] | None = Field(
        None,
        description="Network card of QEMU (`qemu-system-x86_64 -device help`). Left out: the server type's, "
        "else `e1000`.",
        examples=["virtio-net-pci"],
    )
    mac: Annotated[Mac, Becomes("`mac=`")] | None = Field(
        None, description="MAC address. Left out: made from the node's UUID.", examples=["52:54:00:12:34:56"]
    )
    id: Annotated[QemuId, Becomes("`id=`")] | None = Field(
        None, description="QEMU's name of the card. Left out: `nic0`, `nic1` and on.", examples=["lom1"]
    )
    bus: Annotated[QemuId, Becomes("`bus=`")] | None = Field(
        None, description="Bus the card sits on. Left out: the root bus.", examples=["pcie.0"]
    )
    addr: Annotated[PciAddress, Becomes("`addr=`")] | None = Field(
        None,
        description="Slot on the bus in hexadecimal, with a function behind a point. Left out: "
        "the next free one.",
        examples=["05.0"],
    )
    multifunction: Annotated[Switch, Becomes("`multifunction=`")] | None = Field(
        None, description="Whether the slot has further functions.", examples=[True]
    )
    extra_option: (
        Annotated[str, AfterValidator(network_checks.card_properties), Becomes("`-device …,OPTIONS`")] | None
    ) = Field(
        None,
        description="Further properties of the card, `name=value` separated by commas "
        "(`qemu-system-x86_64 -device e1000e,help`).",
        examples=["rombar=0"],
    )
    port_forward: Annotated[tuple[PortForward, ...], _NAT, Becomes("`hostfwd=`")] = Field(
        (), description="Ports of this machine that lead into the host."
    )
    net: Annotated[str, AfterValidator(network_checks.ipv4_network), _NAT, Becomes("`net=`")] | None = Field(
        None,
        description=f"IPv4 network the host is in. Left out: {DEFAULT_NAT}.",
        examples=["192.168.76.0/24"],
    )
    host: Annotated[_Ipv4, _NAT, Becomes("`host=`")] | None = Field(
        None,
        description="Address of this machine in that network, the gateway. Left out: its second one.",
        examples=["10.0.2.2"],
    )
    dns: Annotated[_Ipv4, _NAT, Becomes("`dns=`")] | None = Field(
        None, description="Name server in that network. Left out: its third address.", examples=["10.0.2.3"]
    )
    dhcpstart: Annotated[_Ipv4, _NAT, Becomes("`dhcpstart=`")] | None = Field(
        None,
        description="First of the 16 addresses that DHCP gives. Left out: the network's fifteenth.",
        examples=["10.0.2.15"],
    )
    hostname: Annotated[_HostName, _NAT, Becomes("`hostname=`")] | None = Field(
        None, description="Name that DHCP gives the host.", examples=["node-0"]
    )
    tftp: Annotated[AbsolutePath, _NAT, Becomes("`tftp=`")] | None = Field(
        None, description="Folder that QEMU's TFTP server serves.", examples=["/srv/tftp"]
    )
    bootfile: (
        Annotated[str, AfterValidator(network_checks.boot_file), _NAT, Becomes("`bootfile=`")] | None
    ) = Field(
        None,
        description="File that DHCP names for a boot from the network: in `tftp`, or a URL for iPXE.",
        examples=["pxelinux.0"],
    )
    restrict: Annotated[Switch, _NAT, Becomes("`restrict=`")] | None = Field(
        None,
        description="Whether the host reaches nothing but DHCP, TFTP and what `port_forward` lets in. Left "
        "out: false.",
        examples=[True],
    )
    multicast: (
        Annotated[
            str,
            AfterValidator(network_checks.multicast),
            Only("socket", of="network_mode"),
            Becomes("`mcast=`"),
        ]
        | None
    ) = Field(
        None,
        description="Multicast group and UDP port that carry the network, on loopback. Left out: made from "
        "the home and `network_name`.",
        examples=["239.192.7.1:7001"],
    )
    vlan: Annotated[int | None, Only("openvswitch", of="network_mode"), Becomes("`tag=`")] = Field(
        None, ge=1, le=4094, description="VLAN of the port, which the host sees untagged.", examples=[100]
    )
    macvtap_mode: (
        Annotated[
            Literal["bridge", "vepa", "private", "passthru"],
            Only("macvtap", of="network_mode"),
            Becomes("mode of the macvtap device"),
        ]
        | None
    ) = Field(
        None,
        description="How nodes on the same interface reach each other: directly, over an outside switch, not "
        "at all, or there is only this one. Left out: bridge.",
        examples=["vepa"],
    )

    @model_validator(mode="after")
    def _name_and_addresses(self) -> None:
        network_checks.network_name(self.network_mode, self.network_name, group=self.multicast)
        given = {"host": self.host, "dns": self.dns, "dhcpstart": self.dhcpstart}
        network_checks.addresses_inside(self.net or DEFAULT_NAT, given)
