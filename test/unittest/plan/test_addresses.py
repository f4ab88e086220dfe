"""Which addresses and names a node gets that asks for none."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path

import pytest

from infrasim.errors import UsageError
from infrasim.host.facts import HostFacts, KvmVerdict, Reserved, Socket
from infrasim.plan import addresses

FACTS = HostFacts("q", (7,), "i", "s", KvmVerdict(False, ""), machine_id="m")
HOME = Path("/home/lab/.infrasim")
NOBODY = Reserved()


def using(*, udp: tuple[tuple[str, int], ...] = (), tcp: tuple[tuple[str, int], ...] = ()) -> HostFacts:
    return dataclasses.replace(
        FACTS,
        udp_in_use=frozenset(Socket(*place) for place in udp),
        tcp_in_use=frozenset(Socket(*place) for place in tcp),
    )


def reserved(*places: tuple[str, int]) -> Reserved:
    return Reserved(frozenset(Socket(*place) for place in places))


@pytest.mark.parametrize(
    ("facts", "others", "expected"),
    [
        (FACTS, NOBODY, "127.0.0.1"),
        (FACTS, reserved(("127.0.0.1", 623)), "127.0.1.1"),
        (FACTS, reserved(("127.0.0.1", 623), ("127.0.1.1", 623)), "127.0.1.2"),
        (FACTS, reserved(("127.0.0.1", 9623)), "127.0.0.1"),
        (using(udp=(("127.0.0.1", 623),)), NOBODY, "127.0.1.1"),
        (using(tcp=(("127.0.0.1", 623),)), NOBODY, "127.0.0.1"),
    ],
)
def test_first_free_bmc_address(facts: HostFacts, others: Reserved, expected: str) -> None:
    assert addresses.bmc_address(623, facts, others, None) == expected


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_no_bmc_address_when_somebody_has_the_port_everywhere(wildcard: str) -> None:
    with pytest.raises(UsageError) as caught:
        addresses.bmc_address(623, using(udp=((wildcard, 623),)), NOBODY, None)
    assert caught.value.message == "no loopback address has port 623/udp free for another BMC"
    assert caught.value.hint == "set bmc.address or bmc.ipmi_over_lan_port in the node file"


def test_every_loopback_address_can_be_taken() -> None:
    taken = reserved(("127.0.0.1", 623), *((f"127.0.1.{last}", 623) for last in range(1, 254)))
    assert addresses.bmc_address(623, FACTS, taken, None) == "127.0.1.254"


def test_the_first_node_is_on_both_loopbacks() -> None:
    both = dataclasses.replace(FACTS, ipv6_loopback=True)
    assert addresses.listen_addresses("127.0.0.1", 623, both, NOBODY) == ("127.0.0.1", "::1")
    assert addresses.listen_addresses("127.0.0.1", 623, FACTS, NOBODY) == ("127.0.0.1",)
    assert addresses.listen_addresses("127.0.1.1", 623, both, NOBODY) == ("127.0.1.1",)
    assert addresses.listen_addresses("127.0.0.1", 623, both, reserved(("::1", 623))) == ("127.0.0.1",)
    busy = dataclasses.replace(both, udp_in_use=frozenset({Socket("::1", 623)}))
    assert addresses.listen_addresses("127.0.0.1", 623, busy, NOBODY) == ("127.0.0.1",)


def test_private_addresses_differ_by_home_and_name_and_are_loopback() -> None:
    def of(home: Path, name: str) -> str:
        return addresses.private_address(home, name, FACTS, NOBODY, None)

    found = {of(HOME, f"node-{number}") for number in range(50)}
    assert len(found) == 50
    assert of(HOME, "node-0") == of(HOME, "node-0")
    assert of(HOME, "node-0") != of(Path("/home/other"), "node-0")
    for address in found:
        first, second, _, last = (int(part) for part in address.split("."))
        assert (first, 64 <= second <= 191, 1 <= last <= 254) == (127, True, True)


@pytest.mark.parametrize("kind", ["channel", "reserved"])
def test_private_address_in_use_is_passed_over(kind: str) -> None:
    first = addresses.private_address(HOME, "node-0", FACTS, NOBODY, None)
    place = (first, addresses.CHANNEL_PORT)
    facts = using(tcp=(place,)) if kind == "channel" else FACTS
    others = reserved(place) if kind == "reserved" else NOBODY
    second = addresses.private_address(HOME, "node-0", facts, others, None)
    assert second != first


def test_no_private_address() -> None:
    everywhere = using(tcp=(("0.0.0.0", addresses.CHANNEL_PORT),))
    with pytest.raises(UsageError, match=r"^no private loopback address is free for node node-0$"):
        addresses.private_address(HOME, "node-0", everywhere, NOBODY, None)


def test_first_free_vnc_display() -> None:
    place = "127.0.0.1"
    assert addresses.vnc_display(FACTS, NOBODY, None, place) == 1
    assert addresses.vnc_display(FACTS, Reserved(vnc_displays=frozenset({1, 3})), None, place) == 2
    assert addresses.vnc_display(using(tcp=(("127.0.0.1", 5901), ("::", 5902))), NOBODY, None, place) == 3
    assert addresses.vnc_display(using(tcp=(("192.0.2.1", 5901),)), NOBODY, None, place) == 1
    with pytest.raises(UsageError, match=r"^no VNC display is free$"):
        addresses.vnc_display(FACTS, Reserved(vnc_displays=frozenset(range(1000))), None, place)


def test_identity_is_the_same_for_ever_and_differs_between_nodes() -> None:
    first = addresses.node_uuid(HOME, "node-0", FACTS)
    assert first == uuid.UUID("ba598381-7771-5349-8cd6-4d29b793fe73")
    assert (
        len(
            {
                first,
                addresses.node_uuid(HOME, "node-1", FACTS),
                addresses.node_uuid(Path("/other"), "node-0", FACTS),
                addresses.node_uuid(HOME, "node-0", dataclasses.replace(FACTS, machine_id="n")),
            }
        )
        == 4
    )
    assert addresses.serial_number(first) == "ISBA59838177"
    assert addresses.mac(first, "nic0") == "52:54:00:3b:2c:60"
    assert addresses.mac(first, "nic1") != addresses.mac(first, "nic0")
