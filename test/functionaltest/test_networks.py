"""What a start plugs into this machine's network and a stop takes out again; nodes in network namespaces."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import NODE, Lab, execute, lab, wait_for
from wires import Wires, wires

# Where QEMU finds its first macvtap open, less the number of the card.
DESCRIPTORS = 240
TAP = "mytap"
CARDS = [
    {"network_mode": "bridge"},
    {"network_mode": "tap"},
    {"network_mode": "tap", "network_name": TAP},
    {"network_mode": "macvtap", "network_name": "near", "mac": "52:54:00:77:00:03"},
    {"network_mode": "openvswitch", "network_name": "sw0", "vlan": 7},
    {"network_mode": "socket", "network_name": "rack"},
    {
        "device": "virtio-net-pci",
        **{"id": "lom1", "bus": "pcie.0", "addr": "1e.0", "multifunction": True, "extra_option": "vectors=4"},
        **{"net": "192.168.76.0/24", "host": "192.168.76.1", "dns": "192.168.76.2"},
        **{"dhcpstart": "192.168.76.100", "hostname": "node-0", "restrict": True},
        **{"tftp": "/tmp", "bootfile": "pxelinux.0"},
        "port_forward": [
            {"outside": 2222, "inside": 22},
            {"protocol": "udp", "address": "0.0.0.0", "outside": 1161, "inside": 161},
        ],
    },
    {"network_mode": "none", "device": "e1000"},
]


@pytest.fixture(scope="module")
def net() -> Iterator[Wires]:
    """A namespace with a bridge, Open vSwitch, an interface, and a tap of its user's."""
    with wires() as made:
        made.switch("sw0", "10.77.3.1/24")
        made.ip("tuntap", "add", "dev", TAP, "mode", "tap")
        yield made


@pytest.fixture
def home(net: Wires, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A home whose commands talk to the namespace's Open vSwitch; nothing may be left there."""
    before, failed = set(net.links()), request.session.testsfailed
    with lab(lambda: request.session.testsfailed > failed) as scratch:
        scratch.env.update({name: net.env[name] for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")})
        yield scratch
    assert set(net.links()) == before
    assert net.pids() == []
    assert net.vsctl("list-ports", "sw0").split() == []


def plug_in(home: Lab, net: Wires) -> None:
    home.start(namespace=net.name, compute={"memory": {"size": 64}, "networks": CARDS})


def own_links(net: Wires, home: Lab) -> dict[str, dict[str, object]]:
    """What belongs to the node, by the number of its card."""
    alias = f"infrasim {home.home / NODE}"
    return {name[-1]: link for name, link in net.links().items() if link.get("ifalias") == alias}


def numbers(links: dict[str, dict[str, object]]) -> dict[str, object]:
    """What a device that was made anew has another one of."""
    return {card: link["ifindex"] for card, link in links.items()}


def all_are_plugged_in(net: Wires, home: Lab) -> bool:
    links = [*own_links(net, home).values(), net.links()[TAP]]
    return len(links) == 5 and all("LOWER_UP" in str(link["flags"]) for link in links[:4])


def test_links_are_made_by_the_start_and_gone_after_the_stop(home: Lab, net: Wires) -> None:
    plug_in(home, net)
    mine = own_links(net, home)
    assert sorted(mine) == ["0", "1", "3", "4"]
    assert mine["0"]["master"] == "br0"
    assert "master" not in mine["1"]
    assert (mine["3"]["link"], mine["3"]["address"]) == ("near", "52:54:00:77:00:03")
    assert net.vsctl("list-ports", "sw0").split() == [mine["4"]["ifname"]]
    assert net.vsctl("get", "port", str(mine["4"]["ifname"]), "tag").strip() == "7"
    assert all_are_plugged_in(net, home)
    assert net.hears("tcp", "127.0.0.1:2222")
    assert net.hears("udp", "0.0.0.0:1161")
    # Power goes off and on again: QEMU lets go of them, and finds them again.
    first = home.pid("qemu")
    run_inside(home, net, "power", "off")
    wait_for(lambda: home.pid("qemu") is None, what="power off")
    assert own_links(net, home).keys() == mine.keys()
    run_inside(home, net, "power", "on")
    wait_for(lambda: home.pid("qemu") not in (None, first), what="power on")
    wait_for(lambda: all_are_plugged_in(net, home), what="links in use")
    device = Path(f"/proc/{home.pid('qemu')}/fd/{DESCRIPTORS + 3}").readlink()
    assert str(device) == f"/dev/tap{mine['3']['ifindex']}"
    assert home.count("died") == 0
    home.must("node", "stop", NODE)
    assert own_links(net, home) == {}
    assert TAP in net.links()


def run_inside(home: Lab, net: Wires, *words: str) -> str:
    login = ("-I", "lanplus", "-H", home.address, "-U", "admin", "-P", "admin")
    ran = execute(*net.inside("ipmitool", *login, *words))
    assert ran.code == 0, ran.err
    return ran.out


def test_a_bmc_in_a_namespace_answers_there_alone(home: Lab, net: Wires) -> None:
    home.start(namespace=net.name)
    assert "is on" in run_inside(home, net, "power", "status")
    outside = home.ipmitool("power", "status", options=("-I", "lanplus", "-N", "1", "-R", "1"))
    assert outside.code != 0
    # Commands from outside go by the workspace.
    assert home.status()["state"] == "running"
    here = Path("/proc/self/ns/net").readlink()
    for process in home.status()["processes"]:
        assert Path(f"/proc/{process['pid']}/ns/net").readlink() != here
    # Two nodes with one address, in two namespaces.
    home.must("config", "add", "twin", str(home.node_file("twin")))
    home.must("node", "start", "twin")
    assert "is on" in home.ipmi("power", "status")
    home.must("node", "stop", "twin")


def test_links_outlive_a_killed_supervisor_until_the_stop(home: Lab, net: Wires) -> None:
    plug_in(home, net)
    mine, host = own_links(net, home), home.pid("qemu")
    home.kill("supervisor")
    assert home.status()["state"] == "degraded"
    home.must("node", "start", NODE)
    assert home.pid("qemu") == host
    assert numbers(own_links(net, home)) == numbers(mine)
    assert "is on" in run_inside(home, net, "power", "status")
    supervisor = home.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    home.must("node", "stop", NODE)
    assert own_links(net, home) == {}
    # What nobody could clean up is made anew.
    net.ip("tuntap", "add", "dev", str(mine["1"]["ifname"]), "mode", "tap")
    net.ip("link", "set", "dev", str(mine["1"]["ifname"]), "alias", f"infrasim {home.home / NODE}")
    home.must("node", "start", NODE)
    assert all_are_plugged_in(net, home)


def test_what_is_not_there_is_told_with_what_is(home: Lab, net: Wires) -> None:
    cards = [
        {"network_mode": "bridge", "network_name": "br7"},
        {"network_mode": "openvswitch", "network_name": "sw7"},
        {"network_mode": "macvtap", "network_name": "eth7"},
        {"network_mode": "tap", "network_name": "near"},
    ]
    home.register(namespace=net.name, compute={"networks": cards})
    ran = home.infrasim("node", "start", NODE)
    assert ran.code == 2
    for message in (
        "there is no bridge 'br7' on this machine "
        "(there are: br0; make one with: ip link add br7 type bridge)",
        "there is no bridge of Open vSwitch 'sw7' on this machine "
        "(there are: sw0; make one with: ovs-vsctl add-br sw7)",
        "there is no interface 'eth7' on this machine (there are: ",
        "near is not a tap device",
    ):
        assert message in ran.err, ran.err
    assert ran.err.count("network_name: ") == 4
    assert home.leftovers() == []


def test_a_namespace_must_be_there_and_have_a_loopback(home: Lab, net: Wires) -> None:
    home.register(namespace="isf-no-such")
    ran = home.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert "namespace: there is no network namespace 'isf-no-such' (there are: " in ran.err
    home.register(namespace=net.name)
    net.ip("link", "set", "lo", "down")
    try:
        ran = home.infrasim("node", "start", NODE)
    finally:
        net.ip("link", "set", "lo", "up")
    assert ran.code == 2
    assert f"is down (run: ip -n {net.name} link set lo up)" in ran.err


def test_two_nodes_cannot_have_one_address_on_a_shared_network(home: Lab, net: Wires) -> None:
    card = {"network_mode": "socket", "network_name": "rack", "mac": "52:54:00:77:00:01"}
    home.start(namespace=net.name, compute={"networks": [card]})
    home.must("node", "stop", NODE)
    twin = home.node_file("twin", compute={"networks": [card]}, bmc={"address": "127.0.0.1"})
    home.must("config", "add", "twin", str(twin))
    ran = home.infrasim("node", "start", "twin")
    assert ran.code == 2
    assert "52:54:00:77:00:01" in ran.err


# A machine of its own for one shell: nobody there may change the network but QEMU's helper, for one bridge.
WITHOUT_RIGHTS = """
set -e
mount -t tmpfs none /etc
mkdir /etc/qemu
echo "allow mine" >/etc/qemu/bridge.conf
cp /usr/lib/qemu/qemu-bridge-helper "$1/helper"
setcap cap_net_admin+ep "$1/helper"
mount --bind "$1/helper" /usr/lib/qemu/qemu-bridge-helper
ip link set lo up
ip link add mine type bridge
ip link add other type bridge
shift
exec setpriv --securebits +noroot --inh-caps=-all sh -c "$1"
"""


def test_a_bridge_is_reached_without_rights_by_qemus_helper(scratch: Lab) -> None:
    for name in ("mine", "other"):
        card = {"network_mode": "bridge", "network_name": name}
        compute = {"memory": {"size": 64}, "storage_backend": [], "networks": [card]}
        scratch.register(name, bmc={"address": "127.0.0.1", "ipmi_over_lan_port": 6230}, compute=compute)
    infrasim = f"{sys.executable} -m infrasim node"
    steps = (
        "grep CapEff /proc/self/status",
        f"{infrasim} start --no-install mine",
        "ip -oneline link show master mine",
        f"{infrasim} stop mine",
        "ip -oneline link show master mine",
        f"{infrasim} start --no-install other",
    )
    script = "; ".join(f"{step}; echo exit=$?" for step in steps)
    words = ("unshare", "--mount", "--net", "sh", "-c", WITHOUT_RIGHTS, "sh", str(scratch.root), script)
    ran = execute(*words, env=scratch.env)
    capabilities, started, plugged_in, stopped, left, refused, _ = re.split(r"exit=\d+\n", ran.out)
    assert capabilities.split() == ["CapEff:", "0000000000000000"], ran.err
    assert "Node mine started." in started
    assert "LOWER_UP" in plugged_in
    assert "Node mine stopped." in stopped
    assert left == refused == ""
    assert "does not allow the bridge 'other' (add the line 'allow other' to it, as root)" in ran.err
