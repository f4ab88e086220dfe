"""Whole plans against golden/plan/<case>: node.yml in, plan.txt out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infrasim.errors import InvalidNodeFile, UsageError
from infrasim.host.facts import (
    Core,
    HostFacts,
    KvmVerdict,
    PciDevice,
    QemuAbilities,
    QemuDevice,
    Reserved,
    Socket,
)
from infrasim.paths import Home, NodePaths, shipped_types
from infrasim.personality.emu import parse_emu
from infrasim.personality.model import Personality
from infrasim.personality.registry import load_type
from infrasim.personality.smbios import decode_structure
from infrasim.plan.model import QEMU, NodePlan
from infrasim.plan.planner import plan_node
from infrasim.qemu.boot import Firmware
from infrasim.spec.load import load_node

HOME = Home(Path("/home/lab/.infrasim"), Path("/var/log/infrasim"))
PCI = {
    device.address: device
    for device in (
        PciDevice("0000:03:00.0", 0x8086, 0x1521, 0x020000, "igb", 7),
        PciDevice("0000:04:00.0", 0x144D, 0xA808, 0x010802, "nvme", 8),
        PciDevice("0001:00:1b.0", 0x8086, 0x8C20, 0x040300, "snd_hda_intel", 9),
    )
}
FACTS = HostFacts(
    qemu_program="/usr/bin/qemu-system-x86_64",
    qemu_version=(7, 2, 22),
    ipmi_sim_program="/usr/bin/ipmi_sim",
    socat_program="/usr/bin/socat",
    kvm=KvmVerdict(False, "/dev/kvm does not exist"),
    ipv6_loopback=True,
    machine_id="0123456789abcdef0123456789abcdef",
    ask_pci=PCI.get,
    ask_interfaces=lambda: {
        "lo": ("127.0.0.1", "::1"),
        "eth0": (),
        "eth1": ("192.0.2.10", "192.0.2.11", "fd00::10"),
    },
    ask_cores=lambda: tuple(Core(number, number // 8, number // 8, number & ~1) for number in range(16)),
)
KVM_WORKS = dataclasses.replace(FACTS, kvm=KvmVerdict(True, "a 64-bit guest ran and took an exception"))
OTHERS = Reserved(
    sockets=frozenset({Socket("127.0.0.1", 623), Socket("::1", 623), Socket("127.0.1.1", 623)}),
    vnc_displays=frozenset({1, 2}),
)
BUSY = dataclasses.replace(
    FACTS,
    udp_in_use=frozenset({Socket("127.0.1.2", 623)}),
    tcp_in_use=frozenset({Socket("0.0.0.0", 5903)}),
)
FOLDER = Path(__file__).parents[1] / "golden" / "plan"
OWN_IDENTITY = "own-identity"
# Cases of Dell's server types.
OF_DELL = ("racadm", "racadm-own-place")
NO_ROOT = dataclasses.replace(FACTS, may_make_links=False)
FACTS_OF = {"kvm": KVM_WORKS, "kvm-off": KVM_WORKS, "further-node": BUSY, "network-without-root": NO_ROOT}
CASES = sorted(path.parent.name for path in FOLDER.glob("*/node.yml"))

Plan = Callable[..., NodePlan]


@pytest.fixture
def plan(personality: Personality) -> Plan:
    """A function that plans a node from the text of its file."""

    def make(
        text: str,
        *,
        facts: HostFacts = FACTS,
        previous: NodePlan | None = None,
        reserved: Reserved | None = None,
        name: str = "node-0",
        home: Home = HOME,
        server: Personality = personality,
    ) -> NodePlan:
        spec = load_node(Path("node.yml"), text, name=name).spec
        paths = home.node(name)
        return plan_node(
            spec,
            server,
            facts,
            paths,
            home=home,
            previous=previous.kept if previous else None,
            reserved=reserved,
        )

    return make


def in_words(plan: NodePlan) -> Iterator[str]:
    """The whole plan as text, one argv item per line."""
    yield f"{plan.name}: {plan.product} ({plan.server_type}), serial {plan.serial_number}, uuid {plan.uuid}"
    yield f"workspace {plan.workspace}, logs {plan.log_dir}"
    bmc, host = plan.bmc, plan.host
    yield f"bmc {bmc.address} port {bmc.port}, on {' '.join(bmc.listen)}"
    yield f"ipmi_sim at {bmc.private_address} port {bmc.channel_port}"
    yield f"vnc {plan.vnc_address}:{plan.vnc_display}, serial over LAN {plan.serial_over_lan}"
    yield f"host {host.accelerator.value} ({host.accelerator_note})"
    if host.firmware is not Firmware.SEABIOS or not host.has_menu:
        yield f"firmware {host.firmware.value}, {'with' if host.has_menu else 'without'} a menu"
    yield f"processors {host.processors}"
    if host.shuts_down:
        yield "its system shuts down before a stop"
    if host.binding:
        yield f"binding {host.binding}"
    yield f"waits {host.poweroff_wait_s:g} s for power-off, {host.kill_wait_s:g} s before SIGKILL"
    yield "\nboot devices"
    yield from (
        f"  {device.index} {device.device_id} {device.boot_class.value}" for device in host.boot_devices
    )
    yield "\nports"
    yield from (f"  {port.protocol} {port.address} {port.port} {port.purpose}" for port in plan.ports)
    yield "\ndisks"
    yield from (
        f"  {disk.path} {disk.format} {disk.size_gib} GiB create={disk.create}" for disk in plan.disks
    )
    yield "\nfiles"
    yield from (f"  {copy.path} a copy of {copy.source}" for copy in plan.copies)
    yield from (f"  {folder}/" for folder in plan.folders)
    yield from (f"  {alias.path} -> {alias.target}" for alias in plan.aliases)
    smbios = [file for file in plan.files if file.path.suffix == ".bin"]
    for file in plan.files:
        if file not in smbios:
            size = "" if file.path.suffix in (".emu", ".json") else f" {len(file.content)} bytes"
            yield f"  {file.mode:04o} {file.path}{size}"
        if file.path.suffix == ".json":
            yield from _in_lines(json.loads(file.content), "    ")
    yield f"  {len(smbios)} SMBIOS structures in {smbios[0].path.parent}"
    if plan.namespace:
        yield f"\nnetwork namespace {plan.namespace}"
    if plan.links:
        yield "\nlinks"
    if plan.passthrough:
        yield "\ndevices of this machine"
    yield from (f"  {device.address} for {device.key}" for device in plan.passthrough)
    for link in plan.links:
        at = f" at descriptor {link.descriptor}" if link.descriptor else ""
        details = (link.mode, link.mac, f"vlan {link.vlan}" if link.vlan else "")
        words = " ".join(filter(None, (link.kind.value, link.name, "to", link.to or "nothing", *details)))
        yield f"  {words} make={link.make}{at} for {link.key}"
    if plan.macs:
        yield f"others see {' '.join(plan.macs)}"
    for process in plan.processes:
        yield f"\n{process.name}: log {process.log}"
        yield f"ready: {process.ready.value} {process.ready_target} in {process.ready_timeout_s:g} s"
        yield from (f"  {word}" for word in process.argv)
        yield from (f"  {each.macvtap} open at {each.number}" for each in process.descriptors)


def _in_lines(value: dict[str, Any], indent: str) -> Iterator[str]:
    """Nested JSON with a line for each plain value, and for each list of plain values."""
    for key, item in value.items():
        below = item if isinstance(item, list) and item and isinstance(item[0], dict) else None
        yield f"{indent}{key}:" if below else f"{indent}{key}: {item}"
        for each in below or ():
            yield from _in_lines(each, f"{indent}  ")


def test_plan_of_an_identity_of_its_own(
    plan: Plan, furnished: Personality, golden: Callable[[str, str], None]
) -> None:
    decided = plan((FOLDER / OWN_IDENTITY / "node.yml").read_text(), server=furnished)
    content = {file.path: file.content for file in decided.files}
    (emu,) = (text.decode() for path, text in content.items() if path.suffix == ".emu")
    inventory = [repr(fru) for fru in parse_emu(emu).frus]
    inventory += [repr(decode_structure(data)) for path, data in content.items() if path.suffix == ".bin"]
    golden(f"plan/{OWN_IDENTITY}/plan.txt", "\n".join([*in_words(decided), "", *inventory]) + "\n")


@pytest.mark.parametrize("case", [case for case in CASES if case != OWN_IDENTITY])
def test_plan(
    case: str, plan: Plan, golden: Callable[[str, str], None], personality: Personality, dell: Personality
) -> None:
    text = (FOLDER / case / "node.yml").read_text()
    plan = partial(plan, server=dell if case in OF_DELL else personality)
    facts = FACTS_OF.get(case, FACTS)
    reserved = OTHERS if case == "further-node" else None
    # The previous plan was made on a busy machine; now lower addresses and screens are free.
    previous = plan(text, facts=BUSY, reserved=OTHERS) if case == "kept" else None
    decided = plan(text, facts=facts, reserved=reserved, previous=previous)
    golden(f"plan/{case}/plan.txt", "\n".join(in_words(decided)) + "\n")
    assert plan(text, facts=facts, reserved=reserved, previous=previous) == decided, "the same each time"


def test_there_are_cases() -> None:
    assert {"default", "minimal-without-sol", "kernel", "kvm", OWN_IDENTITY, *OF_DELL} <= set(CASES)


@pytest.mark.parametrize(
    ("text", "suites"),
    [
        ("{}", [3, 17]),
        ("bmc: {cipher_suites: [17, 1]}", [1, 17]),
        ("bmc: {cipher_suites: [17], insecure: true}", [0, 17]),
    ],
)
def test_suite_0_needs_no_password_and_comes_with_insecure_only(
    plan: Plan, text: str, suites: list[int]
) -> None:
    settings = next(file for file in plan(text).files if file.path.name == "bmc.json")
    assert json.loads(settings.content)["cipher_suites"] == suites


@pytest.mark.parametrize("written", ["'1, 8'", "[8, 1]", "1,8"])
def test_other_channels_have_macs_of_their_own(plan: Plan, written: str) -> None:
    decided = plan(f"bmc:\n  main_channel: 8\n  channels: {written}")
    settings = json.loads(next(file for file in decided.files if file.path.name == "bmc.json").content)
    assert settings["main_channel"] == 8
    [other] = settings["other_channels"]
    assert other["number"] == 1
    assert other["mac"].startswith("52:54:00:")
    assert other["mac"] != settings["lan_mac"]


def test_a_password_with_quotes_reaches_the_bmc_as_it_is(plan: Plan) -> None:
    decided = plan("bmc: {username: 'a\"b', password: 'x\"\\y'}")
    settings = json.loads(next(file for file in decided.files if file.path.name == "bmc.json").content)
    assert (settings["username"], settings["password"]) == ('a"b', 'x"\\y')


def test_kept_plan_is_the_previous_one(plan: Plan) -> None:
    first = plan("{}", facts=BUSY, reserved=OTHERS)
    assert plan("{}", previous=first) == first
    assert plan("{}") != first


def test_what_somebody_else_has_taken_is_not_kept(plan: Plan) -> None:
    first = plan("{}")
    moved = plan("{}", facts=BUSY, reserved=OTHERS, previous=first)
    assert moved.bmc.address != first.bmc.address
    assert moved.vnc_display != first.vnc_display
    assert moved.bmc.private_address == first.bmc.private_address


def test_edited_port_gives_up_the_kept_addresses(plan: Plan) -> None:
    first = plan("{}")
    moved = plan("bmc: {ipmi_over_lan_port: 9623}", previous=first)
    assert (moved.bmc.address, moved.bmc.port, moved.bmc.listen) == ("127.0.0.1", 9623, ("127.0.0.1", "::1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "compute: {kvm_enabled: true}",
            "compute.kvm_enabled: KVM does not run a guest on this machine: /dev/kvm does not exist "
            "(leave it out to use KVM only where it works, or see: infrasim doctor)",
        ),
        (
            "compute: {cpu: {sockets: 4}}",
            "compute.cpu.sockets: quanta_d51 has 2 sockets, not 4 (leave it out; 'infrasim type list' shows "
            "types with other numbers)",
        ),
        (
            "compute: {memory: {nodes: 3}}",
            "compute.memory.nodes: 2 sockets of 1 cores cannot be spread over 3 NUMA nodes "
            "(such as 2, a node for each socket)",
        ),
        (
            "compute: {cpu: {quantities: 3}}",
            "compute.cpu.quantities: 3 processors cannot be spread over the 2 sockets of quanta_d51 "
            "(use a multiple of 2)",
        ),
        (
            "bmc: {interface: eth9}",
            "bmc.interface: this machine has no interface 'eth9' (it has: eth0, eth1, lo)",
        ),
        (
            "bmc: {interface: eth0}",
            "bmc.interface: interface eth0 has no IP address (give it one, or set bmc.address)",
        ),
        (
            "compute: {storage_backend: [{drives: [{file: /srv/a.img}]}]}",
            "compute.storage_backend[0].drives[0].file: disk image /srv/a.img belongs to node node-1 "
            "(two nodes cannot write one image)",
        ),
    ],
)
def test_what_cannot_be_on_this_machine(plan: Plan, text: str, message: str) -> None:
    taken = Reserved(disks={Path("/srv/a.img"): "node-1"})
    with pytest.raises(InvalidNodeFile) as caught:
        plan(text, reserved=taken)
    (problem,) = caught.value.problems
    assert f"{problem.path}: {problem.message} ({problem.hint})" == message


def test_kvm_enabled_true_where_kvm_works(plan: Plan) -> None:
    assert plan("compute: {kvm_enabled: true}", facts=KVM_WORKS).host.accelerator == "kvm"


def test_disk_images_keep_their_names_when_the_machine_is_rebuilt(plan: Plan) -> None:
    """A CD-ROM is taken out after an installation; the installed disk must not be exchanged for a new one."""
    drives = "storage_backend: [{max_drive_per_controller: MOST, drives: [{}, {}]}]"
    layouts = [
        plan(f"compute: {{{cdrom}{drives.replace('MOST', most)}}}")
        for cdrom in ("", "cdrom: /srv/debian.iso, ")
        for most in ("1", "2", "6")
    ]
    names = {tuple(disk.path.name for disk in decided.disks) for decided in layouts}
    assert names == {("disk-sata-0-0.qcow2", "disk-sata-0-1.qcow2")}


def test_disk_named_as_infrasim_would_name_another_is_refused(plan: Plan) -> None:
    own = HOME.node("node-0").disks / "disk-sata-0-0.qcow2"
    with pytest.raises(InvalidNodeFile) as caught:
        plan(f"compute: {{storage_backend: [{{drives: [{{}}, {{file: {own}}}]}}]}}")
    assert caught.value.problems[0].message == f"disk image {own} is named twice"


def test_socket_path_too_long(plan: Plan) -> None:
    home = Home(Path("/" + "x" * 90), Path("/var/log"))
    with pytest.raises(UsageError) as caught:
        plan("{}", home=home)
    socket = home.root / "node-0" / "run" / "control.sock"
    assert caught.value.message == (
        f"socket path {socket} is {len(str(socket))} bytes long; the kernel allows 107"
    )


def test_socket_path_that_just_fits() -> None:
    spare = 107 - len("/node-0/run/control.sock")
    NodePaths("node-0", Path("/" + "x" * (spare - 1)) / "node-0", Path("/l")).check_socket_lengths()
    with pytest.raises(UsageError):
        NodePaths("node-0", Path("/" + "x" * spare) / "node-0", Path("/l")).check_socket_lengths()


def test_shipped_type_gives_every_smbios_file_to_qemu() -> None:
    spec = load_node(Path("node.yml"), "{}", name="node-0").spec
    real = load_type(spec.type, [shipped_types()])
    decided = plan_node(spec, real, FACTS, HOME.node("node-0"), home=HOME)
    given = [word.removeprefix("file=") for word in decided.process(QEMU).argv if word.startswith("file=/")]
    assert given == [str(file.path) for file in decided.files if file.path.suffix == ".bin"]
    assert len(given) >= 10


def _asked(qemu: QemuAbilities, later: QemuAbilities | None = None) -> tuple[HostFacts, list[bool]]:
    """Facts of a machine whose QEMU can do that, and how it is asked; ``later`` is what it can do now."""
    asked: list[bool] = []

    def ask(again: bool) -> QemuAbilities:
        asked.append(again)
        return later if again and later else qemu

    return dataclasses.replace(FACTS, ask_qemu=ask), asked


SMALL_QEMU = QemuAbilities(
    "/opt/qemu",
    "9.1.2",
    {},
    machines={"q35": None},
    cpus=frozenset({"Haswell", "max"}),
    netdevs=frozenset({"user"}),
)
BARE_HOST = "storage_backend: [], networks: []"


def test_an_ordinary_host_asks_no_qemu(plan: Plan) -> None:
    facts, asked = _asked(SMALL_QEMU)
    plan("compute: {cdrom: /i.iso}", facts=facts)
    assert asked == []


def test_what_this_qemu_lacks_is_a_problem_of_the_key(plan: Plan) -> None:
    facts, asked = _asked(SMALL_QEMU)
    with pytest.raises(InvalidNodeFile) as caught:
        plan(f"compute: {{qemu_bin: qemu-x, cpu: {{type: Haswel}}, {BARE_HOST}}}", facts=facts)
    found = {problem.path: problem for problem in caught.value.problems}
    assert found["compute.cpu.type"].message == (
        "needs the CPU model 'Haswel', which QEMU 9.1.2 (/opt/qemu) does not have"
    )
    assert found["compute.cpu.type"].hint == "nearest here: Haswell"
    # The devices that every node has, which this one would not have either.
    assert any("needs the device 'VGA'" in problem.message for problem in caught.value.problems)
    assert asked == [False, True]


def test_what_this_qemu_has_is_accepted_with_and_without_asking_it_again(plan: Plan) -> None:
    node = "compute: {cpu: {type: Haswell}, storage_backend: [], networks: []}"
    devices = ("VGA", "isa-serial", "ipmi-bmc-extern", "isa-ipmi-kcs")
    full = dataclasses.replace(SMALL_QEMU, devices={name: QemuDevice(name) for name in devices})
    facts, asked = _asked(full)
    plan(node, facts=facts)
    assert asked == [False]
    # A package brought the devices after it was asked last.
    facts, asked = _asked(SMALL_QEMU, later=full)
    plan(node, facts=facts)
    assert asked == [False, True]


def test_further_arguments_are_passed_on_unchecked(plan: Plan) -> None:
    facts, asked = _asked(SMALL_QEMU)
    argv = plan("compute: {extra_option: -device whatever}", facts=facts).process(QEMU).argv
    assert argv[-2:] == ("-device", "whatever")
    assert asked == []


def test_two_devices_have_no_place_in_the_order_of_boot_together(plan: Plan) -> None:
    drives = "storage_backend: [{type: ahci, drives: [{bootindex: 3}]}]"
    with pytest.raises(InvalidNodeFile) as caught:
        plan(f"compute: {{{drives}, pcie-passthrough: [{{host: '4:0.0', bootindex: 3}}]}}")
    (found,) = caught.value.problems
    assert (found.path, found.message) == (
        "compute.pcie-passthrough[0].bootindex",
        "compute.storage_backend[0].drives[0] has 3 too",
    )
