"""``--set``: values that go before the file's, checked like them, with the command line as their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrasim.errors import InvalidNodeFile, UsageError
from infrasim.spec.load import LoadedNode, load_node
from infrasim.spec.setting import parse_settings

TEXT = """\
name: n
compute:
  memory: &m {size: 2048}
  networks:
    - {device: e1000, mac: 52:54:00:00:00:01}
    - {}
  cdrom: /a.iso
bmc: {username: root}
"""


def load(*given: str, text: str = TEXT) -> LoadedNode:
    return load_node(Path("n.yml"), text, name="n", settings=parse_settings(given))


def problems(*given: str, text: str = TEXT) -> list[str]:
    with pytest.raises(InvalidNodeFile) as caught:
        load(*given, text=text)
    return [str(problem) for problem in caught.value.problems]


def test_values_of_every_kind() -> None:
    spec = load(
        "compute.memory.size=4096",
        "compute.networks[0].device=e1000e",
        "compute.networks[2]={mac: '52:54:00:00:00:02'}",
        "compute.networks[1].mac=52-54-00-00-00-03",
        "compute.storage_backend=[]",
        "compute.cdrom=",
        "serial_number='4711'",
        "bmc.cipher_suites=[17]",
        "bmc.startnow=false",
        "compute.boot.boot_order=cd",
    ).spec
    assert spec.compute.memory.size == 4096
    assert [card.device for card in spec.compute.networks] == ["e1000e", None, None]
    assert spec.compute.networks[0].mac == "52:54:00:00:00:01"
    assert spec.compute.networks[2].mac == "52:54:00:00:00:02"
    assert spec.compute.storage_backend == ()
    assert spec.compute.cdrom is None
    assert spec.serial_number == "4711"
    assert (spec.bmc.username, spec.bmc.cipher_suites, spec.bmc.startnow) == ("root", (17,), False)
    assert spec.compute.boot.boot_order == "cd"


def test_a_list_that_is_left_out_begins_as_its_default() -> None:
    spec = load(
        "compute.networks[0].device=e1000e",
        "compute.networks[1].mac=52:54:00:00:00:09",
        "compute.storage_backend[0].drives[1].size=3",
        text="{}",
    ).spec
    assert [card.device for card in spec.compute.networks] == ["e1000e", None]
    assert [drive.size for drive in spec.compute.storage_backend[0].drives] == [8, 3]


def test_what_an_alias_shares_is_changed_in_one_place() -> None:
    text = "compute:\n  networks: [&n {device: e1000e}, *n]\n"
    spec = load("compute.networks[1].device=vmxnet3", text=text).spec
    assert [card.device for card in spec.compute.networks] == ["e1000e", "vmxnet3"]


def test_the_same_checks_with_the_command_line_as_the_place() -> None:
    found = problems(
        "compute.memory.size=5", "bmc={password: 1}", "compute.networks[1].port_forward[0].inside=1"
    )
    assert sorted(found) == [
        "--set bmc.password: wanted text, got a number (write it in quotes)",
        "--set compute.memory.size: wanted 16 to 16777216, got 5",
        "--set compute.networks[1].port_forward[0].outside: is missing (such as 'outside: 2222')",
    ]
    assert problems("compute.memory.size='5'") == [
        "--set compute.memory.size: wanted a whole number, got the text '5' "
        "(write 5, without quotes and leading zeros)"
    ]
    assert problems("name=m") == [
        "--set name: is 'm', but this is the file of node 'n' (change it back, or remove the line)"
    ]
    assert problems("bmc.username=1") == [
        '--set bmc.username: wanted text, got the number 1 (write it in quotes: "1")'
    ]


def test_faults_of_the_file_stay_on_their_lines() -> None:
    (fault,) = problems("compute.memory.size=512", text="compute:\n  memory: {size: 1}\n  typo: 1\n")
    assert fault.startswith("n.yml:3:3: compute.typo: unknown key 'typo'")
    text = "compute:\n  networks:\n  - {}\n  - mac: 52:54:00:00:00:01\n"
    (fault,) = problems("compute.networks[0].mac=52:54:00:00:00:01", text=text)
    assert fault.startswith("n.yml:4:10: compute.networks[1].mac: another card has 52:54:00:00:00:01 too")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("compute.networks[3].mac=x", "compute.networks has 2 entries: the next one is [2]"),
        ("compute.memory[0]=x", "compute.memory is not a list"),
        ("compute.cdrom.file=/b", "compute.cdrom has no keys: it is a value"),
        ("compute.networks.mac=x", "compute.networks has no keys: it is a list"),
        ("compute.memory.size={", "not YAML: expected the node content"),
        ("compute.memory.size=!include x", "the tag '!include' is not supported"),
        ("compute.memory.size=1e999999", "wanted a whole number, got the text '1e999999'"),
        ("compute.memory.size=\x07", "character U+0007 cannot stand in a YAML file"),
    ],
)
def test_settings_that_lead_nowhere(given: str, said: str) -> None:
    (fault,) = problems(given)
    assert fault.startswith(f"--set {given.partition('=')[0]}: {said}")


def test_one_key_twice() -> None:
    with pytest.raises(InvalidNodeFile, match=r"^--set type: is set twice \(keep one of them\)$"):
        parse_settings(["type=a", "type=b"])


@pytest.mark.parametrize("words", ["", "x", "=1", "a..b=1", "a[x]=1", "a[-1]=1", "[0]=1", "a.=1", "a b=1"])
def test_words_that_are_no_setting(words: str) -> None:
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        parse_settings([words])


def test_warnings_have_the_command_line_as_their_place_too() -> None:
    assert [str(warning) for warning in load("bmc.insecure=true").warnings] == [
        "--set bmc.insecure: lets anybody who reaches this BMC in, without a password "
        "(for tests of tools that look for that)"
    ]
