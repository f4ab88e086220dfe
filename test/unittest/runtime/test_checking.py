"""What is found about node files: here, and beside each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake_qemu import FakeQemu

from infrasim.errors import HostError, InvalidNodeFile, UsageError
from infrasim.host import links, probe
from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.host.links import Link
from infrasim.paths import Home
from infrasim.runtime import node_map, passthrough, planning
from infrasim.runtime.checking import Verdict, check
from infrasim.spec.setting import parse_settings

FACTS = HostFacts(
    "/q",
    (7,),
    "/i",
    "/s",
    KvmVerdict(False, "/dev/kvm does not exist"),
    machine_id="m",
    memory_free_mib=2000,
    memory_most_mib=8000,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", tmp_path / "logs")
    made.node_map.mkdir(parents=True)
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: FACTS)
    monkeypatch.chdir(tmp_path)
    return made


def verdict(home: Home, text: str) -> Verdict:
    Path("n.yml").write_text(text)
    (found,) = check(home, ["n.yml"])
    return found


def said(home: Home, text: str) -> tuple[list[str], list[str]]:
    found = verdict(home, text)
    return [str(problem) for problem in found.problems], [str(warning) for warning in found.warnings]


# --- this machine


def test_a_processor_that_only_kvm_can_give(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "compute:\n  cpu: {type: host}\n"
    assert said(home, text) == (
        [
            "n.yml:2:15: compute.cpu.type: 'host' is this machine's own processor, which only KVM can give: "
            "/dev/kvm does not exist (leave it out, or use 'max': all that emulation has)"
        ],
        [],
    )
    facts = dataclasses.replace(FACTS, kvm=KvmVerdict(True, "a guest ran"))
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: facts)
    assert said(home, text) == ([], [])
    assert "kvm_enabled is false" in said(home, f"{text}  kvm_enabled: false\n")[0][0]


@pytest.mark.parametrize(
    ("size", "problems", "warnings"),
    [(1500, 0, 0), (4000, 0, 1), (9000, 1, 0)],
)
def test_memory_that_this_machine_has_not(home: Home, size: int, problems: int, warnings: int) -> None:
    found = said(home, f"compute:\n  memory:\n    size: {size}\n")
    assert (len(found[0]), len(found[1])) == (problems, warnings)
    for line in (*found[0], *found[1]):
        assert line.startswith(f"n.yml:3:11: compute.memory.size: {size} MiB is more than")


def test_a_device_of_this_machine_takes_all_of_the_memory(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passthrough, "check_devices", lambda plan: None)
    monkeypatch.setattr(
        probe, "gather_facts", lambda cache, with_kvm: dataclasses.replace(FACTS, memory_free_mib=500)
    )
    assert said(home, "bmc: {}\n") == ([], [])
    (warning,) = said(home, "compute: {pcie-passthrough: [{host: '3:0.0'}]}\n")[1]
    assert (
        "more than is free on this machine now, 500 MiB (a host with a device of this machine takes"
        in warning
    )


def test_every_file_that_is_missing_on_its_line(home: Home) -> None:
    text = "compute:\n  kernel: /none\n  cdrom: /x.iso\n  storage_backend:\n  - drives: [{file: /y}]\n"
    lines = said(home, text)[0]
    assert [line.split(" ")[0] for line in lines] == ["n.yml:2:11:", "n.yml:3:10:", "n.yml:5:21:"]


def test_faults_of_plan_and_machine_come_together(home: Home) -> None:
    lines = said(home, "compute: {memory: {size: 99999}, cpu: {type: host, quantities: 3}}\n")[0]
    assert [line.split(": ")[1] for line in lines] == [
        "compute.memory.size",
        "compute.cpu.type",
        "compute.cpu.quantities",
    ]


EVERYTHING = """\
type: quanta_d51
serial_number: SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS
compute:
  cpu: {quantities: 3, type: host}
  memory: {size: 16000000, nodes: 2}
  kvm_enabled: true
  kernel: /none/kernel
  smbios: {type2: {location: x}, type17: [{locator: Z9, size: 16000000}]}
  storage_backend:
  - {type: megasas, bus: none, drives: [{file: /none/disk}]}
  - drives: [{slot: 1}, {slot: 1}, {slot: 1}]
  - {type: virtio-scsi, drives: [{bootindex: 1}]}
  cdroms: [/none/a.iso, /none/b.iso]
  networks:
  - {bus: nowhere}
  - {network_mode: tap, network_name: lo}
  - {network_mode: macvtap, network_name: none0}
  pcie-passthrough: [{host: 'ffff:ff:1f.7', bootindex: 1}]
  cloud_init: {user_data: /none/user, meta_data: /none/meta, network_config: /none/network}
bmc:
  address: 203.0.113.9
  fru9: {board: {name: x}}
  historyfru: 0
racadm: {address: 203.0.113.9}
"""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "links", lambda: {"lo": Link("lo", "", "", 1500)})


@pytest.mark.usefixtures("network")
def test_everything_that_is_wrong_comes_at_once(home: Home) -> None:
    lines = said(home, EVERYTHING)[0]
    storage = "compute.storage_backend"
    assert [line.split(": ")[1] for line in lines] == [
        "serial_number",
        "compute.cpu.quantities",
        "compute.cpu.type",
        "compute.memory.size",
        "compute.kvm_enabled",
        "compute.kernel",
        "compute.smbios.type17[0].locator",
        f"{storage}[0].bus",
        f"{storage}[0].drives[0].file",
        f"{storage}[1].drives[1].slot",
        f"{storage}[1].drives[2].slot",
        "compute.cdroms[0]",
        "compute.cdroms[1]",
        "compute.networks[0].bus",
        "compute.networks[1].network_name",
        "compute.networks[2].network_name",
        "compute.pcie-passthrough[0].host",
        "compute.pcie-passthrough[0].bootindex",
        "compute.cloud_init.user_data",
        "compute.cloud_init.meta_data",
        "compute.cloud_init.network_config",
        "bmc.address",
        "bmc.fru9.board.name",
        "bmc.historyfru",
        "racadm",
    ]


@pytest.mark.usefixtures("network")
def test_a_plan_tells_of_everything_too(home: Home) -> None:
    home.map_file("n").write_text(EVERYTHING)
    (checked,) = check(home, ["n"])
    with pytest.raises(InvalidNodeFile) as caught:
        planning.plan(home, "n")
    assert caught.value.problems == checked.problems
    assert not home.node("n").workspace.exists()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        # What needs the namespace, such as addresses and bridges, is not looked for elsewhere.
        (
            "namespace: none\nbmc: {address: 203.0.113.9}\ncompute: {kernel: /none, networks: "
            "[{network_mode: bridge, network_name: none}, {bus: nowhere}]}",
            ["namespace", "compute.kernel", "compute.networks[1].bus"],
        ),
        # What the server is made of is in a file that is not there.
        (
            "compute: {smbios: {file: /none/table}, cpu: {quantities: 3}, kernel: /none, "
            "networks: [{bus: no}]}",
            ["compute.smbios.file", "compute.kernel", "compute.networks[0].bus"],
        ),
        # Nobody can be on a port that cannot be.
        (
            "compute: {kernel: /none, pcie_topology: {root_port: [{id: a, slot: 1}, {id: b, slot: 1}]}, "
            "networks: [{bus: b}, {bus: nowhere}]}",
            ["compute.kernel", "compute.pcie_topology.root_port[1].slot"],
        ),
        # Threads of processors that cannot be run nowhere.
        (
            "compute: {cpu: {quantities: 3}, memory: {nodes: 3}, kernel: /none}",
            ["compute.cpu.quantities", "compute.kernel"],
        ),
    ],
)
def test_nothing_follows_from_what_is_not_known(home: Home, text: str, keys: list[str]) -> None:
    lines = said(home, f"type: quanta_d51\n{text}\n")[0]
    assert [line.split(": ")[1] for line in lines] == keys


def test_what_stands_under_an_old_key_is_told_of_there(home: Home) -> None:
    Path("part.inc").write_text("\nmodel: host\n")
    lines = said(
        home, f"compute:\n  serial_number: {'S' * 64}\n  cpu:\n    quantities: 2\n    model: host\n"
    )[0]
    places = [": ".join(line.split(": ")[:2]) for line in lines]
    assert places == ["n.yml:2:18: compute.serial_number", "n.yml:5:12: compute.cpu.model"]
    (line,) = said(home, "compute:\n  cpu: !include part.inc\n")[0]
    assert line.startswith("part.inc:2:8: compute.cpu.model: ")


def test_a_machine_without_programs_is_no_fault_of_the_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(cache: Path, *, with_kvm: bool) -> HostFacts:
        raise HostError("qemu-system-x86_64 is not installed")

    monkeypatch.setattr(probe, "gather_facts", missing)
    found = verdict(home, "compute: {kernel: /none}\n")
    assert (found.problems, found.unseen) == ((), "qemu-system-x86_64 is not installed")
    assert found.as_json()["unchecked"] == found.unseen


def test_the_machine_is_not_asked_for_the_file_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: pytest.fail("asked"))
    Path("n.yml").write_text("compute: {kernel: /none}\n")
    (found,) = check(home, ["n.yml"], here=False)
    assert (found.problems, found.unseen) == ((), "")


def test_a_start_is_refused_and_warned_the_same(home: Home) -> None:
    home.map_file("a").write_text("compute: {memory: {size: 4000}}\n")
    assert "2000 MiB" in planning.plan(home, "a").warnings[0].message
    home.map_file("a").write_text("compute: {memory: {size: 9000}}\n")
    with pytest.raises(UsageError, match=r"a\.yml:1:26: compute\.memory\.size: 9000 MiB is more than"):
        planning.plan(home, "a")


def test_nothing_known(home: Home) -> None:
    with pytest.raises(UsageError, match="'x' is neither a file nor a registered node"):
        check(home, ["x"])


# --- beside each other

ONE = """\
name: one
bmc: {address: 127.8.0.1}
compute:
  uuid: 3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21
  vnc_display: 7
  networks:
    - mac: 52:54:00:00:00:01
      port_forward: [{outside: 2222, inside: 22}]
"""


def pair(home: Home, one: str, two: str, *, here: bool = True) -> tuple[Verdict, Verdict]:
    Path("one.yml").write_text(one)
    Path("two.yml").write_text(two)
    first, second = check(home, ["one.yml", "two.yml"], here=here)
    return first, second


def test_two_nodes_that_ask_for_the_same_on_both_their_lines(home: Home) -> None:
    first, second = pair(home, ONE, ONE.replace("one", "two"))
    assert [str(problem) for problem in first.problems] == [
        "one.yml:2:16: bmc.address: UDP port 623 at 127.8.0.1 is asked for by node two too (see two.yml:2)",
        "one.yml:5:16: compute.vnc_display: VNC display 7 is asked for by node two too (see two.yml:5)",
        "one.yml:8:32: compute.networks[0].port_forward[0].outside: TCP port 2222 at 127.0.0.1 is asked for "
        "by node two too (see two.yml:8)",
    ]
    assert [str(warning).split(" is asked")[0] for warning in first.warnings] == [
        "one.yml:4:9: compute.uuid: UUID 3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21",
        "one.yml:7:12: compute.networks[0].mac: MAC address 52:54:00:00:00:01",
    ]
    assert [problem.path for problem in second.problems] == [problem.path for problem in first.problems]


def test_an_image_of_two_nodes(home: Home, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"raw")
    text = f"compute:\n  storage_backend:\n  - drives:\n    - {{file: {image}, format: raw}}\n"
    first, second = pair(home, text, text)
    assert str(first.problems[0]).startswith(
        "one.yml:4:14: compute.storage_backend[0].drives[0].file: image "
    )
    assert len(second.problems) == 1


def test_a_device_of_two_nodes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passthrough, "check_devices", lambda plan: None)
    first, second = pair(
        home,
        "compute: {pcie-passthrough: [{host: '3:0.0'}]}\n",
        "compute: {pcie-passthrough: [{host: '04:00.0'}, {host: '0000:03:00.0'}]}\n",
    )
    assert [str(problem) for problem in first.problems] == [
        "one.yml:1:37: compute.pcie-passthrough[0].host: PCI device 0000:03:00.0 is asked for by node two "
        "too (see two.yml:1)"
    ]
    assert [problem.path for problem in second.problems] == ["compute.pcie-passthrough[1].host"]


def test_a_device_that_is_not_there_is_told_on_its_line(home: Home) -> None:
    (found,) = said(home, "compute:\n  pcie-passthrough:\n  - {host: 'ffff:ff:1f.7'}\n")[0]
    place = "n.yml:3:12: compute.pcie-passthrough[0].host: "
    assert found.startswith(f"{place}this machine has no PCI device ffff:ff:1f.7 (")


def forward(address: str) -> str:
    rule = f"{{address: {address}, outside: 2222, inside: 22}}"
    return f"compute: {{networks: [{{port_forward: [{rule}]}}]}}"


def test_images_of_namespaces_count_and_shared_ones_do_not(home: Home, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"raw")
    drive = f"{{file: {image}, format: raw"
    nvme = f"compute: {{storage_backend: [{{type: nvme, namespaces: [{drive}}}]}}]}}\n"
    alone = f"compute: {{storage_backend: [{{type: ahci, drives: [{drive}}}]}}]}}\n"
    shared = f"compute: {{storage_backend: [{{type: ahci, drives: [{drive}, share-rw: true}}]}}]}}\n"
    found = pair(home, nvme, alone)
    assert [verdict.problems[0].path for verdict in found] == [
        "compute.storage_backend[0].namespaces[0].file",
        "compute.storage_backend[0].drives[0].file",
    ]
    assert [verdict.problems for verdict in pair(home, shared, shared)] == [(), ()]


def test_a_qemu_that_is_not_there_hides_nothing_else(home: Home) -> None:
    lines = said(home, "compute: {qemu_bin: /none/qemu, cpu: {type: host}}\n")[0]
    assert [line.split(": ")[1] for line in lines] == ["compute.qemu_bin", "compute.cpu.type"]


@pytest.mark.allow("process")
@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("echo 'a tool, version 3'", "--version said 'a tool, version 3', not a version of QEMU"),
        ("exit 1", "exit code 1"),
        ('[ "$1" = --version ] && echo "QEMU emulator version 9.1.2"', "exit code 1"),
    ],
)
def test_a_qemu_that_is_none_is_a_problem_of_its_key(
    home: Home, tmp_path: Path, does: str, says: str
) -> None:
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    found = verdict(home, f"compute:\n  qemu_bin: {program}\n  cpu: {{type: host}}\n")
    first, second = map(str, found.problems)
    assert first.startswith(f"n.yml:2:13: compute.qemu_bin: {program} ")
    assert says in first and first.endswith("(leave it out for the usual QEMU)")
    assert second.startswith("n.yml:3:15: compute.cpu.type: ")
    assert found.unseen == ""


@pytest.mark.allow("process")
def test_a_qemu_of_ones_own_that_has_more_is_accepted_and_else_named(home: Home, tmp_path: Path) -> None:
    properties = {
        "isa-serial": ["chardev", "index"],
        "ipmi-bmc-extern": ["chardev"],
        "isa-ipmi-kcs": ["bmc", "ioport", "irq"],
        "lsisas3008": ["use_msix"],
        "scsi-hd": ["channel", "scsi-id", "lun", "drive", "serial", "slot_number"],
    }
    properties["scsi-hd"] += ["logical_block_size", "physical_block_size"]
    listed = "".join(f'name "{name}", bus PCI\n' for name in ("VGA", *properties))
    fake = FakeQemu(tmp_path, devices=f"Storage devices:\n{listed}", properties=properties)
    drives = "[{slot_number: 1, format: raw, sector_size: 520}]"
    sas = f"{{type: lsisas3008, use_msix: true, drives: {drives}}}"
    host = f"qemu_bin: {fake.program}, kvm_enabled: false, networks: [], storage_backend: [{sas}]"
    assert said(home, f"compute: {{{host}}}\n") == ([], [])
    fake.can["properties"]["scsi-hd"].remove("slot_number")
    fake.say()
    with fake.program.open("a") as stream:
        stream.write("# another build\n")
    (line,) = said(home, f"compute: {{{host}}}\n")[0]
    assert ": compute.storage_backend[0].drives[0].slot_number: needs the property 'slot_number'" in line
    assert f"which QEMU 9.1.2 ({fake.program}) does not have" in line


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("bmc: {address: 127.8.0.1}", "bmc: {address: 127.8.0.2}", False),
        ("bmc: {address: 0.0.0.0}", "bmc: {address: 127.8.0.2}", True),
        ("bmc: {address: 127.8.0.1, ipmi_over_lan_port: 624}", "bmc: {address: 127.8.0.1}", False),
        ("{}", "{}", False),
        ("namespace: a\nbmc: {address: 127.8.0.1}", "namespace: b\nbmc: {address: 127.8.0.1}", False),
        ("namespace: a\nbmc: {address: 127.8.0.1}", "namespace: a\nbmc: {address: 127.8.0.1}", True),
        (forward("127.0.0.1"), forward("127.0.0.2"), False),
        (forward("127.0.0.1"), forward("0.0.0.0"), True),
        ("compute: {vnc_display: 3}", "compute: {vnc_display: 4}", False),
        ("compute: {vnc_display: 3}", "ipmi_console_port: 5903", True),
    ],
)
def test_what_is_the_same_and_what_is_not(home: Home, one: str, two: str, clash: bool) -> None:
    assert bool(pair(home, one, two, here=False)[0].problems) is clash


@pytest.mark.parametrize(
    "mine", ["cdrom: {}", "image: {}", "storage_backend: [{{drives: [{{backing_file: {}}}]}}]"]
)
def test_an_image_that_one_node_writes_and_another_reads(home: Home, tmp_path: Path, mine: str) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"raw")
    reader = f"compute: {{{mine.format(image)}}}\n"
    drive = f"{{file: {tmp_path}/x/../disk.img, format: raw}}"
    writer = f"compute: {{storage_backend: [{{drives: [{drive}]}}]}}\n"
    for pair_of in ((reader, writer), (writer, reader)):
        first, second = pair(home, *pair_of, here=False)
        assert [len(first.problems), len(second.problems)] == [1, 1]
    assert pair(home, reader, reader, here=False)[0].problems == ()


def test_two_files_of_one_node_name(home: Home) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(f"{folder}/n.yml").write_text("compute:\n  vnc_display: 3\n")
    first, second = check(home, ["a/n.yml", "b/n.yml"])
    assert [str(problem) for problem in first.problems] == [
        "a/n.yml:2:16: compute.vnc_display: VNC display 3 is asked for by node n too (see b/n.yml:2)"
    ]
    assert [warning.message for warning in second.warnings] == [
        "another file that is checked here is of a node 'n', too"
    ]
    # A file that is checked twice, or is to replace the registered one, is one node.
    node_map.add(home, "n", Path("a/n.yml"))
    for targets in (["a/n.yml", "a/n.yml"], ["n", "b/n.yml"]):
        assert [(each.problems, each.warnings) for each in check(home, targets)] == [((), ())] * 2


def test_an_interface_has_the_address_of_another_node(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = dataclasses.replace(FACTS, ask_interfaces=lambda: {"lo": ("127.0.0.1",)})
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: facts)
    first, _ = pair(home, "bmc: {interface: lo}\n", "bmc: {address: 127.0.0.1}\n")
    assert [str(problem).partition(" is asked")[0] for problem in first.problems] == [
        "one.yml:1:18: bmc.interface: UDP port 623 at 127.0.0.1"
    ]


def test_registered_nodes_count_too_but_not_the_node_itself(home: Home) -> None:
    home.map_file("one").write_text(ONE)
    Path("one.yml").write_text(ONE)
    Path("two.yml").write_text(ONE.replace("one", "two"))
    home.map_file("broken").write_text("- x\n")
    assert check(home, ["one.yml"])[0].problems == ()
    (found,) = check(home, ["two.yml"])
    assert f"see {home.map_file('one')}:2" in str(found.problems[0])


def test_a_file_that_is_registered_is_only_warned_of(home: Home) -> None:
    Path("one.yml").write_text(ONE)
    Path("two.yml").write_text(ONE.replace("one", "two"))
    assert node_map.add(home, "one", Path("one.yml")).warnings == ()
    stored = node_map.add(home, "two", Path("two.yml"))
    assert len(stored.warnings) == 5
    assert home.registered() == ("one", "two")


def test_a_setting_can_be_the_one_too_many(home: Home) -> None:
    home.map_file("one").write_text(ONE)
    home.map_file("two").write_text("{}")
    settings = parse_settings(["compute.vnc_display=7"])
    (found,) = check(home, ["two"], settings)
    assert [str(problem).split(" is asked")[0] for problem in found.problems] == [
        "--set compute.vnc_display: VNC display 7"
    ]


# --- one file beside itself


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "ipmi_console_port: 5905\ncompute:\n  vnc_display: 5\n  networks:\n  - port_forward:\n"
            "    - {outside: 5905, inside: 22}\n",
            [
                "1:20: ipmi_console_port: TCP port 5905 at 127.0.0.1 is that of compute.vnc_display already",
                "6:17: compute.networks[0].port_forward[0].outside: TCP port 5905 at 127.0.0.1 is that of "
                "compute.vnc_display already",
            ],
        ),
        (
            "bmc: {address: 127.8.0.1}\ncompute: {networks: [{port_forward: [{protocol: udp, outside: 623, "
            "inside: 623, address: 0.0.0.0}]}]}\n",
            [
                "2:63: compute.networks[0].port_forward[0].outside: UDP port 623 at 0.0.0.0 is that of "
                "bmc.address already"
            ],
        ),
        (
            "sol_device: /tmp/port\nserial_socket: /tmp/./port\n",
            ["2:16: serial_socket: path /tmp/port is that of sol_device already"],
        ),
        ("compute: {vnc_display: 5}\nipmi_console_port: 5906\n", []),
    ],
)
def test_what_one_file_asks_for_twice(home: Home, text: str, found: list[str]) -> None:
    Path("n.yml").write_text(text)
    for here in (True, False):
        (checked,) = check(home, ["n.yml"], here=here)
        assert [str(each).removeprefix("n.yml:").partition(" (")[0] for each in checked.problems] == found


def test_an_image_that_is_read_and_written(home: Home, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"raw")
    written = f"{{file: {tmp_path}/./disk.img, format: raw}}"
    lines = said(home, f"compute: {{cdrom: {image}, storage_backend: [{{drives: [{written}]}}]}}\n")[0]
    (line,) = (line.partition(": ")[2] for line in lines)
    assert line == (
        f"compute.storage_backend[0].drives[0].file: image {image} is that of compute.cdrom already "
        "(an image that is written cannot be read as another disk)"
    )
    twice = f"compute: {{storage_backend: [{{drives: [{written}, {{file: {image}, format: raw}}]}}]}}\n"
    assert "is named twice" in said(home, twice)[0][0]
    read = f"compute: {{cdrom: {image}, storage_backend: [{{drives: [{{backing_file: {image}}}]}}]}}\n"
    assert said(home, read)[0] == []


def test_what_is_chosen_for_a_node_goes_round_what_its_file_asks_for(home: Home) -> None:
    rules = "{outside: 5901, inside: 1}, {protocol: udp, outside: 623, inside: 2}"
    home.map_file("n").write_text(f"compute: {{networks: [{{port_forward: [{rules}]}}]}}\n")
    decided = planning.plan(home, "n").plan
    assert (decided.vnc_display, decided.bmc.address) == (2, "127.0.1.1")
