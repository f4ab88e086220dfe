"""Every value of a node file with where it is from."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.paths import Home, shipped_types
from infrasim.personality.registry import load_type
from infrasim.plan.origins import Origin, Source, origins
from infrasim.plan.planner import plan_node
from infrasim.spec.document import Included
from infrasim.spec.load import load_node
from infrasim.spec.setting import parse_settings

HOME = Home(Path("/home/lab/.infrasim"), Path("/var/log/infrasim"))
FACTS = HostFacts("q", (7,), "i", "s", KvmVerdict(False, "no KVM"), machine_id="m")
TEXT = """\
type: dell_r730
compute:
  serial_number: ABC123
  kernel:
  networks: &cards
    - {device: e1000e, port_forward: [{protocal: udp, outside: 4000, inside: 40}]}
    - {}
  cdrom: /a.iso
  extra_option: -s
bmc: !include bmc.yml
"""


def include(wanted: str, *, by: str) -> Included:
    return Included(str(PurePosixPath(by).parent / wanted), "\nusername: root\ncipher_suites: [17]\n", wanted)


def rows(text: str = TEXT, *given: str, planned: bool = True) -> dict[str, Origin]:
    settings = parse_settings(given)
    loaded = load_node(Path("n.yml"), text, name="n", include=include, settings=settings)
    personality = load_type(loaded.spec.type, [shipped_types()])
    paths = HOME.node("n")
    plan = plan_node(loaded.spec, personality, FACTS, paths, home=HOME) if planned else None
    found = origins(loaded, plan, paths, personality)
    assert len({row.key for row in found}) == len(found)
    return {row.key: row for row in found}


def said(found: dict[str, Origin], key: str) -> tuple[object, str]:
    return found[key].value, str(found[key])


def test_where_a_value_is_from() -> None:
    found = rows(TEXT, "compute.memory.size=2048", "bmc.startnow=false")
    assert said(found, "name") == ("n", "n.yml")
    assert said(found, "type") == ("dell_r730", "n.yml:1")
    assert said(found, "sol_enable") == (True, "built-in")
    assert said(found, "serial_number") == ("ABC123", "n.yml:3")
    assert said(found, "compute.memory.size") == (2048, "--set")
    assert said(found, "compute.networks[0].device") == ("e1000e", "n.yml:6")
    assert said(found, "compute.networks[0].port_forward[0].protocol") == ("udp", "n.yml:6")
    assert said(found, "compute.networks[1].device") == ("e1000e", "made at start")
    assert said(found, "compute.cdrom.file") == ("/a.iso", "n.yml:8")
    assert said(found, "compute.extra_option") == (["-s"], "n.yml:9")
    assert said(found, "bmc.username") == ("root", "bmc.yml:2")
    assert said(found, "bmc.cipher_suites") == ([17], "bmc.yml:3")
    assert said(found, "bmc.startnow") == (False, "--set")
    assert said(found, "compute.kernel") == (None, "built-in")


@pytest.mark.parametrize(
    ("given", "key", "value", "source"),
    [
        ("compute.memory={size: 2048}", "compute.memory.size", 2048, "--set"),
        ("compute.memory={size: 2048}", "compute.memory.nodes", 1, "built-in"),
        ("compute.networks=[{}]", "compute.networks[0].network_mode", "nat", "built-in"),
        ("compute.networks[2]={device: e1000}", "compute.networks[2].device", "e1000", "--set"),
        ("bmc={}", "bmc.username", "admin", "built-in"),
        ("compute.smbios={type1: {sn: a}}", "compute.smbios.type1.sn", "a", "--set"),
        ("compute.cloud_init={}", "compute.cloud_init.meta_data", None, "built-in"),
        ("compute.cdrom=/tmp/x.img", "compute.cdrom.file", "/tmp/x.img", "--set"),
        ("compute.cdrom=/tmp/x.img", "compute.cdrom.controller", "ahci", "built-in"),
        ("compute.cdroms=[/tmp/x.img]", "compute.cdroms[0].file", "/tmp/x.img", "--set"),
        ("compute.cdroms=[/tmp/x.img]", "compute.cdroms[0].bootindex", None, "built-in"),
        ("compute.numa_control=true", "compute.numa_control.cores", None, "built-in"),
    ],
)
def test_what_a_setting_gives_and_what_is_left_out_below_it(
    given: str, key: str, value: object, source: str
) -> None:
    assert said(rows(TEXT, given), key) == (value, source)


def test_what_a_shorthand_stands_for_is_of_the_file() -> None:
    found = rows(
        "compute:\n  storage_backend:\n  - {type: nvme, namespaces: 2, size: 4}\n  cdroms: [/a.iso]\n"
    )
    assert said(found, "compute.cdroms[0].file") == ("/a.iso", "n.yml:4")
    assert said(found, "compute.cdroms[0].controller") == ("ahci", "built-in")
    for number in range(2):
        assert said(found, f"compute.storage_backend[0].namespaces[{number}].size") == (4, "n.yml:3")


def test_what_is_decided_for_the_node() -> None:
    found = rows()
    for key in ("compute.uuid", "compute.vnc_display", "compute.networks[0].mac", "compute.networks[1].mac"):
        assert found[key].source is Source.MADE
        assert found[key].value is not None
    assert found["compute.networks[0].mac"].value != found["compute.networks[1].mac"].value
    assert said(found, "compute.cpu.type") == ("max", "made at start")
    assert said(found, "compute.kvm_enabled") == (False, "made at start")
    assert said(found, "bmc.address") == ("127.0.0.1", "made at start")
    disk = found["compute.storage_backend[0].drives[0].file"]
    assert str(disk.value).startswith("/home/lab/.infrasim/n/disks/")


def test_what_qemu_and_the_racadm_shell_are_given() -> None:
    switch = "{upstream: [{id: u, bus: a}], downstream: [{id: d}]}"
    ports = f"root_port: [{{id: a, slot: 3}}, {{id: b}}], switch: [{switch}]"
    found = rows(
        f"type: dell_r730\nracadm: {{}}\ncompute:\n  cpu: {{cores: 4}}\n  pcie_topology: {{{ports}}}\n"
        "  storage_backend:\n  - {type: mptsas1068, drives: [{}, {serial: MINE}]}\n"
    )
    for key, value in (
        ("racadm.address", "127.0.0.1"),
        ("racadm.port", 10022),
        ("compute.qemu_bin", "q"),
        ("compute.cpu.quantities", 8),
        ("compute.cpu.sockets", 2),
        ("compute.cpu.threads", 1),
        ("compute.boot.splash-time", 300),
        ("compute.pcie_topology.root_port[0].chassis", 1),
        ("compute.pcie_topology.root_port[1].slot", 1),
        ("compute.pcie_topology.switch[0].downstream[0].slot", 2),
    ):
        assert said(found, key) == (value, "made at start")
    assert said(found, "compute.cpu.cores") == (4, "n.yml:4")
    assert said(found, "compute.pcie_topology.root_port[0].slot") == (3, "n.yml:5")
    drive = "compute.storage_backend[0].drives"
    for key in (f"{drive}[0].serial", f"{drive}[0].wwn", f"{drive}[1].wwn"):
        assert found[key].source is Source.MADE
        assert found[key].value
    assert said(found, f"{drive}[1].serial") == ("MINE", "n.yml:7")


def test_the_interface_to_the_bmc_is_of_the_type_unless_the_file_says_else() -> None:
    found = rows()
    assert said(found, "compute.ipmi.interface") == ("kcs", "server type dell_r730")
    assert said(found, "compute.ipmi.ioport") == (0xCA8, "server type dell_r730")
    own = rows("type: dell_r730\ncompute: {ipmi: {ioport: 0xca2}}\n")
    assert said(own, "compute.ipmi.ioport") == (0xCA2, "n.yml:2")
    assert said(own, "compute.ipmi.irq")[1] == "server type dell_r730"


def test_what_the_server_type_says() -> None:
    found = rows()
    assert said(found, "compute.smbios.type4.cores") == (6, "server type dell_r730")
    assert found["compute.smbios.type17[0].locator"].source is Source.TYPE
    own = rows(TEXT + "asset_tag: TAG1\n")
    assert said(own, "asset_tag") == ("TAG1", "n.yml:11")


def test_what_the_fru_devices_of_the_type_say() -> None:
    found = rows("type: quanta_d51\nbmc: {fru0: {board: {name: MINE}}, fru1: {product: {version: V2}}}\n")
    assert said(found, "bmc.fru0.board.name") == ("MINE", "n.yml:2")
    assert said(found, "bmc.fru0.board.pn") == ("31S2BMB0030", "server type quanta_d51")
    assert said(found, "bmc.fru1.board.name") == ("S2B-FP", "server type quanta_d51")
    assert said(found, "bmc.fru1.product.version") == ("V2", "n.yml:2")
    # It follows the machine's.
    assert said(found, "bmc.fru0.board.sn") == (None, "built-in")
    untold = rows("type: quanta_d51\n")
    assert said(untold, "bmc.fru0.board.name") == ("S2B-MB (dual 1G LoM)", "server type quanta_d51")
    assert "bmc.fru0.board.sn" not in untold
    assert not any("bmc.fru" in key for key in rows("type: quanta_d51\nbmc: {emu_file: /e}\n"))


def test_a_part_number_of_every_chassis_goes_before_the_types() -> None:
    usual = {key for key in rows("type: s2600kp\n") if key.endswith("chassis.pn")}
    own = {key for key in rows("type: s2600kp\nbmc: {chassis_pn: P-1}\n") if key.endswith("chassis.pn")}
    assert usual and not own


def test_a_value_of_the_nodes_own_goes_before_the_types() -> None:
    found = rows("type: dell_r730\ncompute: {smbios: {type4: {cores: 4}}}\n")
    assert said(found, "compute.smbios.type4.cores") == (4, "n.yml:2")
    assert said(found, "compute.smbios.type4.speed") == (2400, "server type dell_r730")


def test_without_a_plan_what_it_decides_is_open() -> None:
    found = rows(planned=False)
    assert (found["compute.uuid"].value, found["compute.uuid"].source) == (None, Source.BUILT_IN)
    assert said(found, "type") == ("dell_r730", "n.yml:1")


def test_every_value_has_one_row_and_they_can_be_printed() -> None:
    found = rows()
    assert len(found) > 60
    assert found["type"].as_json() == {
        "key": "type",
        "value": "dell_r730",
        "source": "file",
        "place": "n.yml:1",
    }
