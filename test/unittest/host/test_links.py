"""What iproute2 and Open vSwitch are told, and what is read from what they say."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from infrasim.errors import HostError, ProgramError
from infrasim.host import links, namespace, probe
from infrasim.host.process import Finished

SAID = [
    {"ifname": "lo", "mtu": 65536},
    {"ifname": "br0", "mtu": 9000, "linkinfo": {"info_kind": "bridge"}},
    {"ifname": "t0", "mtu": 1500, "ifalias": "infrasim /h/n", "linkinfo": {"info_kind": "tun"}},
]


class Programs:
    """Stands for every program: keeps what was run, answers from ``answers`` by a word in the command."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.answers: dict[str, str] = {}

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Finished:
        """As ``process.run``."""
        assert timeout_s > 0
        self.ran.append(" ".join(argv))
        answer = next((text for word, text in self.answers.items() if word in argv), "")
        return Finished(tuple(argv), 0, answer, "")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs()
    monkeypatch.setattr(links, "run", made.run)
    monkeypatch.setattr(links, "find_program", lambda name: name)
    return made


def test_devices_are_read(programs: Programs) -> None:
    programs.answers["show"] = json.dumps(SAID)
    assert links.links() == {
        "lo": links.Link("lo", "", "", 65536),
        "br0": links.Link("br0", "bridge", "", 9000),
        "t0": links.Link("t0", "tun", "infrasim /h/n", 1500),
    }


def test_a_tap_says_whose_it_is_before_it_is_used(programs: Programs) -> None:
    links.make_tap("t0", alias="infrasim /h/n", bridge="br0", mtu=9000)
    assert programs.ran == [
        "ip tuntap add dev t0 mode tap",
        "ip link set dev t0 alias infrasim /h/n mtu 9000",
        "ip link set dev t0 master br0",
        "ip link set dev t0 up",
    ]


def test_a_macvtap_has_its_number_from_the_start(programs: Programs) -> None:
    links.make_macvtap("m0", alias="a", beneath="eth1", mac="52:54:00:00:00:01", mode="vepa", index=77)
    assert programs.ran[0] == (
        "ip link add link eth1 name m0 index 77 address 52:54:00:00:00:01 type macvtap mode vepa"
    )


def test_open_vswitch_is_asked_whether_a_port_works(programs: Programs) -> None:
    programs.answers["get"] = "[]\n"
    links.add_ovs_port("sw0", "t0", owner='infrasim /h/"n', vlan=7)
    assert programs.ran[0] == (
        "ovs-vsctl --timeout=10 --may-exist add-port sw0 t0 tag=7 "
        '-- set Interface t0 external_ids:infrasim="infrasim /h/\\"n"'
    )
    programs.answers["get"] = '"could not open network device t0"\n'
    with pytest.raises(ProgramError, match=r"cannot use t0: .could not open"):
        links.add_ovs_port("sw0", "t0", owner="n", vlan=None)
    links.remove_ovs_port("t0")
    assert programs.ran[-1] == "ovs-vsctl --timeout=10 --if-exists del-port t0"
    programs.answers["list-br"] = "sw0\nsw1\n"
    assert links.ovs_bridges() == ("sw0", "sw1")


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "find_program", lambda name: None)
    with pytest.raises(HostError, match="ovs-vsctl is not installed") as caught:
        links.ovs_bridges()
    assert caught.value.hint == "run: apt-get install openvswitch-switch"


@pytest.fixture
def macvtap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that stands for a macvtap called m0, with the number 5."""
    (tmp_path / "tap5").touch()
    monkeypatch.setattr(socket, "if_nametoindex", lambda name: 5)
    monkeypatch.setattr(links, "Path", lambda text: tmp_path / text.removeprefix("/dev/"))
    asked = fcntl.ioctl

    def ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
        return b"m0".ljust(40, b"\0") if request == 0x800454D2 else asked(descriptor, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return tmp_path / "tap5"


def test_a_macvtap_is_opened_at_the_descriptor_that_qemu_is_told(macvtap: Path) -> None:
    links.open_macvtap("m0", 243)
    try:
        assert Path("/proc/self/fd/243").readlink() == macvtap
        assert not os.get_inheritable(243)
        with pytest.raises(HostError, match="descriptor 243 is in use"):
            links.open_macvtap("m0", 243)
    finally:
        os.close(243)
    with pytest.raises(HostError, match=r"tap5 is the macvtap m0, not m1"):
        links.open_macvtap("m1", 243)
    macvtap.unlink()
    with pytest.raises(HostError, match=r"cannot open the macvtap m0 .*tap5: No such file"):
        links.open_macvtap("m0", 243)


def test_a_namespace_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespace, "_FOLDER", tmp_path)
    (tmp_path / "rack7").touch()
    (tmp_path / "rack8").touch()
    with pytest.raises(HostError) as caught, namespace.inside("lab"):
        pass
    assert caught.value.message == "there is no network namespace 'lab'"
    assert caught.value.hint == "there are: rack7, rack8; make one with: ip netns add lab"


def test_no_namespace_stays_and_one_that_was_entered_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(namespace, "_FOLDER", tmp_path)
    (tmp_path / "rack7").touch()
    places: list[str] = []
    monkeypatch.setattr(
        namespace,
        "_set",
        lambda number: places.append(os.readlink(f"/proc/self/fd/{number}")),  # noqa: PTH115
    )
    with namespace.inside(None):
        assert places == []
    with pytest.raises(ZeroDivisionError), namespace.inside("rack7"):
        assert places == [str(tmp_path / "rack7")]
        raise ZeroDivisionError
    assert places[1:] == [str(Path("/proc/self/ns/net").readlink())]
    monkeypatch.setattr(namespace, "_set", refuse)
    with pytest.raises(HostError, match=r"cannot enter .*'rack7': Operation not permitted"):
        namespace.enter("rack7")


def refuse(number: int) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("capabilities", "may"), [("0000000000001000", True), ("ffffffffffffefff", False), ("x", False)]
)
def test_the_right_to_make_links(tmp_path: Path, capabilities: str, may: bool) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    assert probe.may_make_links(status) is may
    assert probe.may_make_links(tmp_path / "none") is False


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("allow lab\n", 0o4755, ""),
        ("# mine\nallow all # yes\n", 0o4755, ""),
        ("include /etc/qemu/more.conf\n", 0o4755, ""),
        ("allow lab2\n#allow lab\n", 0o4755, "bridge.conf does not allow the bridge 'lab'"),
        (None, 0o4755, "bridge.conf does not allow the bridge 'lab'"),
        ("allow lab\n", 0o755, "helper has no rights of its own"),
    ],
)
def test_what_qemus_bridge_helper_may(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, mode: int, message: str
) -> None:
    monkeypatch.setattr(links, "_ACL", tmp_path / "bridge.conf")
    monkeypatch.setattr(links, "_HELPER", tmp_path / "helper")
    if text is not None:
        (tmp_path / "bridge.conf").write_text(text)
    (tmp_path / "helper").touch(mode=0o755)
    (tmp_path / "helper").chmod(mode)
    fault = links.helper_fault("lab")
    assert (fault[0].removeprefix(f"{tmp_path}/") if fault else "") == message
