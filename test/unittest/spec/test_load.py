"""A node file's text becomes a checked spec, or the exact problems on its own lines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.errors import InvalidNodeFile, Problem
from infrasim.spec.document import load_document
from infrasim.spec.keys import node_keys
from infrasim.spec.load import LoadedNode, load_node
from infrasim.spec.network import Network
from infrasim.spec.node import NodeSpec
from infrasim.spec.problems import relocate
from infrasim.spec.schema import node_file_schema
from infrasim.spec.storage import Controller, Drive

SCHEMA = jsonschema.Draft202012Validator(node_file_schema())
FILE = Path("/srv/n.yml")


def load(text: str | bytes, *, name: str | None = "n") -> LoadedNode:
    return load_node(FILE, text, name=name)


def problems(text: str | bytes, *, name: str | None = "n") -> list[str]:
    with pytest.raises(InvalidNodeFile) as caught:
        load(text, name=name)
    return [str(problem).removeprefix("/srv/n.yml:") for problem in caught.value.problems]


def bad_node_files() -> Iterator[tuple[str, str]]:
    for case in Path(__file__).with_name("bad_node_files.txt").read_text(encoding="utf-8").split("\n\n"):
        text, arrow, message = case.strip("\n").partition("\n=> ")
        if arrow:
            yield text, message


@pytest.mark.parametrize(("text", "message"), list(bad_node_files()))
def test_bad_input(text: str, message: str) -> None:
    assert message in problems(text)


def test_the_table_was_read() -> None:
    assert len(list(bad_node_files())) > 90


@pytest.mark.parametrize(
    "name", ["a b", "../x", "a/b", "-a", "", "a" * 64, "a..b", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_names_that_cannot_be(name: str) -> None:
    found = problems(f"name: '{name}'", name=None)
    assert found[0].startswith(f"1:7: name: node name {name!r} cannot be used (letters, digits")


def test_all_problems_come_at_once_and_in_file_order() -> None:
    text = "bmc: {password: 1}\ntypo: 1\ncompute:\n  initrd: /i\n  vnc_display: x\n  cpu: {quantities: 0}\n"
    assert [problem.split(": ")[:2] for problem in problems(text)] == [
        ["1:17", "bmc.password"],
        ["2:1", "typo"],
        ["5:16", "compute.vnc_display"],
        ["6:21", "compute.cpu.quantities"],
    ]


def test_problems_found_later_go_to_the_users_lines() -> None:
    document = load_document("compute:\n  cpu: {quantities: 3}\n  networks:\n  - mac: x\n", file="n.yml")
    later = [
        Problem("", 0, 0, "compute.cpu.quantities", "is odd", "2"),
        Problem("", 0, 0, "compute.networks[0].mac", "is taken"),
        Problem("", 0, 0, "compute.networks", "is long"),
        Problem("", 0, 0, "bmc.address", "is taken"),
    ]
    moved = relocate(InvalidNodeFile(later, hint="h"), document)
    assert str(moved).splitlines() == [
        "n.yml:2:21: compute.cpu.quantities: is odd (2)",
        "n.yml:4:10: compute.networks[0].mac: is taken",
        "n.yml:3:3: compute.networks: is long",
        "n.yml:1:1: bmc.address: is taken",
    ]
    assert moved.hint == "h"


def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(
        InvalidNodeFile, match=r"2:7: type: there is no server type 'dell' \(there are: a, b\)"
    ):
        load_node(FILE, "name: n\ntype: dell", known_types=["b", "a"])
    with pytest.raises(InvalidNodeFile, match=r"did you mean 'quanta_d51'\?"):
        load_node(FILE, "type: quanta_d15", known_types=["quanta_d51", "dell_r730"])
    assert load_node(FILE, "type: b", known_types=["b"]).spec.type == "b"


def test_a_server_type_of_the_reference_that_is_not_here_says_what_to_do() -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        load_node(FILE, "type: dell_r640", known_types=["dell_r630"])
    (problem,) = caught.value.problems
    assert problem.message == (
        "there is no server type 'dell_r640': it is made from a capture of such a server, "
        "and none was at hand"
    )
    assert problem.hint == (
        "nearest: dell_r630 and dell_r730; or make it of a server that you have, with 'infrasim type capture "
        "dell_r640 -H BMC -U USER', or of a capture with 'infrasim type import dell_r640'"
    )
    # Whoever has made it has it.
    assert load_node(FILE, "type: dell_r640", known_types=["dell_r640"]).spec.type == "dell_r640"


def test_what_can_be_no_name_of_a_type_is_told_once() -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        load_node(FILE, "type: A B", known_types=["dell_r630"])
    assert [problem.message for problem in caught.value.problems] == ["'A B' cannot be a server type"]


def test_a_kernel_takes_no_command_line_of_any_length() -> None:
    taken = load(f"compute: {{kernel: /k, cmdline: {'a' * 2047}}}").spec.compute.cmdline
    assert taken == "a" * 2047
    assert problems(f"compute: {{kernel: /k, cmdline: {'a' * 2046}é}}") == [
        "1:32: compute.cmdline: is 2048 bytes long (Linux takes 2047 bytes and drops what is behind)"
    ]


def test_clusters_are_large_enough_for_the_largest_image_that_qemu_makes_of_them() -> None:
    """``qemu-img create`` takes exactly these."""
    for cluster, size_gib in (("512", 128), ("1K", 512), ("4K", 8192)):
        disk = f"{{cluster-size: {cluster}, size: {size_gib}}}"
        load(f"compute: {{storage_backend: [{{drives: [{disk}]}}]}}")


def test_addresses_of_qemus_own_network_that_make_room_for_each_other() -> None:
    given = "{host: 10.0.2.3, dns: 10.0.2.15, dhcpstart: 10.0.2.2}"
    assert load(f"compute: {{networks: [{given}]}}").spec.compute.networks[0].host == "10.0.2.3"


def test_a_port_is_forwarded_from_several_addresses_and_for_both_protocols() -> None:
    given = (
        "{address: 127.0.0.2, outside: 5, inside: 1}, {address: 127.0.0.3, outside: 5, inside: 1}, "
        "{protocol: udp, address: 0.0.0.0, outside: 5, inside: 1}"
    )
    assert len(load(f"compute: {{networks: [{{port_forward: [{given}]}}]}}").spec.compute.networks) == 1


@pytest.mark.parametrize("word", ["on", "Yes", "TRUE", "'true'", "true"])
def test_a_word_for_true(word: str) -> None:
    spec = load(f"sol_enable: {word}\ncompute: {{storage_backend: [{{type: megasas, msi: {word}}}]}}").spec
    assert (spec.sol_enable, spec.compute.storage_backend[0].msi) == (True, "on")


@pytest.mark.parametrize("word", ["off", "No", "FALSE", "'false'", "false"])
def test_a_word_for_false(word: str) -> None:
    spec = load(f"bmc: {{startnow: {word}}}\ncompute: {{machine: {{kernel-irqchip: {word}}}}}").spec
    assert spec.compute.machine is not None
    assert (spec.bmc.startnow, spec.compute.machine.kernel_irqchip) == (False, "off")


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("0x1e.0x0", "0x1e.0"),
        ("0x1e", "0x1e"),
        ("0x10", "0x10"),
        ("0x1", "0x1"),
        ("5", "5"),
        ("5.0", "5.0"),
        ("12.0", "12.0"),
        ("05.0", "05.0"),
        ("'10'", "10"),
    ],
)
def test_a_place_on_a_bus_is_what_is_written(written: str, place: str) -> None:
    """Also without quotes, where YAML reads a number: its digits are hexadecimal ones."""
    assert load(f"compute: {{networks: [{{addr: {written}}}]}}").spec.compute.networks[0].addr == place
    assert SCHEMA.is_valid(load_document(f"compute: {{networks: [{{addr: {written}}}]}}", file="n").values)


def test_a_password_is_in_no_message() -> None:
    for value in ("1234567", "[hunter2]", "{hunter2: 1}", "'hunter2é'", "hunter2hunter2hunter2", "true"):
        assert not any(
            "hunter2" in line or "1234567" in line for line in problems(f"bmc: {{password: {value}}}")
        )
    assert "hunter2" not in repr(load("bmc: {password: hunter2}"))


def test_the_smallest_file_is_a_whole_node() -> None:
    spec = load("name: n").spec
    assert spec == NodeSpec(name="n")
    assert spec.compute.storage_backend == (Controller(drives=(Drive(),)),)
    assert spec.compute.storage_backend[0].drives[0].size == 8
    assert spec.compute.networks == (Network(),)
    assert (spec.type, spec.sol_enable, spec.bmc.ipmi_over_lan_port, spec.bmc.username) == (
        "quanta_d51",
        True,
        623,
        "admin",
    )


def test_the_name_comes_from_the_file_the_caller_or_the_file_name() -> None:
    assert load("name: a", name=None).spec.name == "a"
    assert load("name: a", name="a").spec.name == "a"
    assert load("type: quanta_d51", name="b").spec.name == "b"
    assert load("name:\ntype: quanta_d51", name="b").spec.name == "b"
    assert load("type: quanta_d51", name=None).spec.name == "n"


def test_a_key_without_a_value_is_as_if_it_were_not_there() -> None:
    text = "name: n\ntype:\ncompute:\n  cpu:\n  networks:\n  kvm_enabled: null\nbmc:\n"
    assert load(text).spec == NodeSpec(name="n")


def test_values_take_their_usual_form() -> None:
    spec = load(
        "compute:\n"
        "  uuid: 3F1C6F2E-8D7B-4C55-9A55-0D5C3A1F7E21\n"
        "  networks: [{mac: 52-54-00-AA-BB-01}]\n"
        "  cdrom: /a.iso\n"
        "  storage_backend: [{drives: [{wwn: 0x5000c50015ea71ac, serial: '007', bootindex: 0}]}]\n"
        "  extra_option: -device 'a b' -s\n"
        "bmc: {address: '0:0::1', poweroff_wait: 2}\n"
    ).spec
    assert spec.compute.uuid == "3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"
    assert spec.compute.networks[0].mac == "52:54:00:aa:bb:01"
    assert spec.compute.cdrom is not None
    assert spec.compute.cdrom.file == "/a.iso"
    drive = spec.compute.storage_backend[0].drives[0]
    assert (drive.wwn, drive.serial, drive.bootindex) == (0x5000C50015EA71AC, "007", 0)
    assert spec.compute.extra_option == ("-device", "a b", "-s")
    assert (spec.bmc.address, spec.bmc.poweroff_wait) == ("::1", 2)


def test_none_is_not_the_default_for_lists() -> None:
    spec = load("compute: {networks: [], storage_backend: []}").spec
    assert (spec.compute.networks, spec.compute.storage_backend) == ((), ())


def test_old_keys_are_read_with_a_warning() -> None:
    loaded = load(
        "compute:\n"
        "  serial_number: abc\n"
        "  networks:\n"
        "    - network_name: ens3\n"
        "      port_forward: [{protocal: udp, outside: 4, inside: 3}]\n"
        "  storage_backend: [{drives: [{rotation: 7200}]}]\n"
        "  cpu: {model: Haswell}\n"
        "  monitor: {enable: true, port: 9005}\n"
    )
    assert loaded.spec.serial_number == "abc"
    assert loaded.spec.compute.networks[0].port_forward[0].protocol == "udp"
    assert loaded.spec.compute.storage_backend[0].drives[0].rotation_rate == 7200
    assert loaded.spec.compute.cpu.type == "Haswell"
    assert [str(warning).removeprefix("/srv/n.yml:") for warning in loaded.warnings] == [
        "2:3: compute.serial_number: stands at the top level now (move it: 'serial_number')",
        "4:7: compute.networks[0].network_name: is ignored (has no effect with network_mode nat)",
        "5:23: compute.networks[0].port_forward[0].protocal: is an old spelling (the key is 'protocol')",
        "6:32: compute.storage_backend[0].drives[0].rotation: is an old spelling "
        "(the key is 'rotation_rate')",
        "7:9: compute.cpu.model: is an old spelling (the key is 'type')",
        "8:3: compute.monitor: stands at the top level now (move it: 'monitor')",
        "8:27: compute.monitor.port: is ignored (there is no REST service; QMP is at run/monitor.sock of the "
        "workspace)",
    ]
    assert load("name: n").warnings == ()


OWN = """\
asset_tag: RACK7-U12
compute:
  memory: {size: 3072}
  smbios:
    type1: {sn: S1, sku_number: K1}
    type4: {cores: 14}
    type17:
      - {locator: A1, size: 2048, manufactuer: Hynix}
      - {locator: A2, size: 1024, manufacturer: Samsung}
bmc:
  chassis_sn: C1
  fru0: {board: {sn: B1}}
  fru3:
  fru254: {product: {version: A01}}
"""


def test_an_identity_of_the_nodes_own() -> None:
    loaded = load(OWN)
    assert [str(warning) for warning in loaded.warnings] == [
        "/srv/n.yml:8:35: compute.smbios.type17[0].manufactuer: is an old spelling "
        "(the key is 'manufacturer')"
    ]
    spec = loaded.spec
    assert spec.compute.smbios is not None
    assert [module.manufacturer for module in spec.compute.smbios.type17] == ["Hynix", "Samsung"]
    assert (spec.compute.smbios.type1.sn, spec.compute.smbios.type4.cores) == ("S1", 14)
    assert list(spec.bmc.fru) == [0, 254]
    assert spec.bmc.fru[0].board.sn == "B1"
    assert spec.bmc.fru[0].chassis.sn is None


def test_what_is_dumped_can_be_loaded() -> None:
    spec = load(OWN).spec
    dumped = spec.model_dump(by_alias=True)
    assert dumped["bmc"]["fru254"]["product"]["version"] == "A01"
    assert "fru" not in dumped["bmc"]
    assert NodeSpec.model_validate(dumped) == spec


@pytest.mark.allow("process")
def test_models_that_few_files_need_are_made_late() -> None:
    code = (
        "import sys; from pathlib import Path; from infrasim.spec.load import load_node; "
        "load_node(Path('n'), 'bmc: {chassis_sn: C1}'); print('infrasim.spec.identity' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_spec_cannot_be_changed() -> None:
    spec = load("name: n").spec
    with pytest.raises(AttributeError, match="frozen"):
        spec.name = "m"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["/x", "e1000", "::1", "a", "", "\0", "52:54:00:00:00:01", "'", "${x}", "{0}", "%s"]),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A file of real keys whose values are anything, in YAML's flow form."""
    tree: dict[str, object] = {}
    for path in draw(st.lists(st.sampled_from([*node_keys(), "x", "compute.zz"]), max_size=5)):
        place = tree
        *sections, last = path.split(".")
        for step in sections:
            below = place.setdefault(step.removesuffix("[]"), [{}] if step.endswith("[]") else {})
            below = below[0] if isinstance(below, list) and below else below
            if not isinstance(below, dict):
                break
            place = below
        place[last.removesuffix("[]")] = draw(SCALARS | st.lists(SCALARS, max_size=2) | st.just({}))
    return _flow(tree)


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return (
            '"'
            + "".join(f"\\U{ord(letter):08x}" for letter in value if ord(letter) not in range(0xD800, 0xE000))
            + '"'
        )
    return {None: "null", True: "true", False: "false"}.get(value, repr(value))  # type: ignore[call-overload, no-any-return]


@given(mutated() | st.text(max_size=80) | st.binary(max_size=80))
def test_no_text_makes_it_fail_otherwise(text: str | bytes) -> None:
    try:
        loaded = load_node(FILE, text)
    except InvalidNodeFile as exc:
        assert all(problem.line >= 1 and problem.message and problem.file for problem in exc.problems)
        assert "\x00" not in str(exc)
    else:
        assert isinstance(loaded.spec, NodeSpec)
        # What a warning says is ignored may be anything, and an editor may well mark it.
        assert loaded.warnings or SCHEMA.is_valid(loaded.document.values)
        assert all(isinstance(warning, Problem) for warning in loaded.warnings)
