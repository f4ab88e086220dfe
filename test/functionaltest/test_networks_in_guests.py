"""Two nodes with Linux: one boots it over the network, and what their cards lead to answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from guest.build import Guest
from inside import Inside, shell
from lab import Lab, lab, wait_for
from wires import Wires, wires

# The network without root that both nodes and the server of the network boot are on.
RACK = {"network_mode": "socket", "network_name": "rack"}
SERVER = "10.0.2.2"
PINGS = 60
# Cards of the second node, by their name in its system, with the address on the other side.
OTHER_SIDES = {"eth1": "10.77.0.1", "eth2": "10.77.1.1", "eth3": "10.77.2.1", "eth4": "10.77.3.1"}
CARDS = [
    RACK,
    {"network_mode": "bridge"},
    {"network_mode": "tap"},
    {"network_mode": "macvtap", "network_name": "near"},
    {"network_mode": "openvswitch", "network_name": "sw0"},
    {"network_mode": "none"},
]


@dataclass
class Pair:
    """Two running nodes: ``pxe`` has no disk and no kernel, ``direct`` is given one by QEMU."""

    home: Lab
    net: Wires
    guest: Guest
    tap: str


def serve(home: Lab, net: Wires, guest: Guest) -> None:
    """A DHCP and TFTP server on the nodes' network: another QEMU, with no machine."""
    folder = net.root / "tftp"
    folder.mkdir()
    shutil.copy(guest.kernel, folder / "vmlinuz")
    shutil.copy(guest.initrd, folder / "initrd")
    script = ("#!ipxe", f"kernel vmlinuz {guest.cmdline} from=tftp", "initrd initrd", "boot")
    (folder / "boot.ipxe").write_text("\n".join(script) + "\n")
    plan = json.loads(home.must("node", "plan", "pxe", "--json"))
    argv = next(each for each in plan["processes"] if each["name"] == "qemu")["argv"]
    network = next(word for word in argv if word.startswith("socket,id=net0,"))
    net.spawn(
        *("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"),
        *("-netdev", f"user,id=server,tftp={folder},bootfile=boot.ipxe"),
        *("-netdev", network),
        *("-netdev", "hubport,id=a,hubid=0,netdev=server", "-netdev", "hubport,id=b,hubid=0,netdev=net0"),
    )
    group = network.partition("mcast=")[2].partition(",")[0]
    wait_for(lambda: net.hears("udp", group), what="the server on the nodes' network")


@pytest.fixture(scope="module")
def pair(guest: Guest, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both nodes, started, in a namespace with everything to be plugged into."""
    before = request.session.testsfailed
    with wires("g") as net, lab(lambda: request.session.testsfailed > before) as home:
        net.switch("sw0", "10.77.3.1/24")
        home.env.update({name: net.env[name] for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")})
        memory = {"memory": {"size": 384}, "cpu": {"quantities": 2}}
        nobody = {"storage_backend": [], "networks": [RACK]}
        home.register("pxe", namespace=net.name, compute={**memory, **nobody}, bmc={"address": "127.0.0.1"})
        kernel = {
            "kernel": str(guest.kernel),
            "initrd": str(guest.initrd),
            "cmdline": guest.cmdline,
            "storage_backend": [],
            "networks": CARDS,
        }
        home.register(
            "direct", namespace=net.name, compute={**memory, **kernel}, bmc={"address": "127.0.1.1"}
        )
        serve(home, net, guest)
        home.must("node", "start", "pxe")
        home.must("node", "start", "direct")
        tap = next(link for name, link in net.links().items() if name.endswith("n2") and "ifalias" in link)
        net.ip("address", "add", "10.77.1.1/24", "dev", tap["ifname"])
        yield Pair(home, net, guest, tap["ifname"])


def pings(host: Inside, address: str) -> bool:
    # A card takes a while to find its link.
    tries = " ".join(map(str, range(PINGS)))
    return host.run(f"for n in {tries}; do ping -c 1 -W 2 {address} && break; done").code == 0


def test_cards_lead_to_where_the_file_says(pair: Pair) -> None:
    home, guest = pair.home, pair.guest
    with shell(home, guest, "direct") as direct, shell(home, guest, "pxe") as pxe:
        direct.run("modprobe e1000e")
        # The last card first: when all others have found their link, it has found none.
        direct.run("ip link set eth5 up")
        for card, address in {"eth0": "10.0.2.91", **OTHER_SIDES}.items():
            own = address if card == "eth0" else address.removesuffix(".1") + ".2"
            direct.run(f"ip address add {own}/24 dev {card}; ip link set {card} up")
        for card, address in {"eth0": SERVER, **OTHER_SIDES}.items():
            assert pings(direct, address), card
        carriers = direct.run("cat /sys/class/net/eth0/carrier /sys/class/net/eth5/carrier")
        assert carriers.out.split() == ["1", "0"]
        node = json.loads(home.must("node", "info", "direct", "--json"))
        where = [card["leads_to"] for card in node["hardware"]["cards"]]
        assert where == [
            *("socket rack", "bridge br0", f"tap {pair.tap}", "macvtap near", "openvswitch sw0", "none")
        ]
        # The other one has its kernel from the network.
        assert "from=tftp" in pxe.run("cat /proc/cmdline").out
        pxe.run("modprobe e1000e; ip address add 10.0.2.90/24 dev eth0; ip link set eth0 up")
        assert pings(pxe, SERVER)
        assert pings(pxe, "10.0.2.91"), "the other node"
        assert pings(direct, "10.0.2.90"), "the other node"
