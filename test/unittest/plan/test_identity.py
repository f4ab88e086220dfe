"""Which text of a node file ends up where, and what is said of one that the server cannot have."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from infrasim.errors import InvalidNodeFile
from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.paths import Home, shipped_types
from infrasim.personality.identity import FruText, NodeIdentity, SmbiosValue
from infrasim.personality.model import Personality
from infrasim.personality.registry import load_type
from infrasim.plan.identity import own_identity, system_serial_number, wanted_uuid
from infrasim.plan.model import NodePlan
from infrasim.plan.planner import plan_node
from infrasim.runtime.planning import problems_on_lines_of
from infrasim.spec.load import load_node

UUID_1 = UUID("3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21")
FILE = Path("/srv/n.yml")
FACTS = HostFacts("q", (7,), "i", "s", KvmVerdict(False, ""), machine_id="m")
HOME = Home(Path("/home/lab/.infrasim"), Path("/var/log/infrasim"))


def planned(text: str, server: Personality) -> NodePlan:
    loaded = load_node(FILE, text, name="n")
    with problems_on_lines_of(loaded.document):
        return plan_node(loaded.spec, server, FACTS, HOME.node("n"), home=HOME)


def identity(text: str, server: Personality) -> NodeIdentity:
    return own_identity(load_node(FILE, text, name="n").spec, server, UUID_1).identity


def test_a_plain_file_has_no_texts_of_its_own(furnished: Personality) -> None:
    found = identity("{}", furnished)
    assert found == NodeIdentity(UUID_1, "IS3F1C6F2E8D", memory_mib=1024)
    assert system_serial_number(found) == "IS3F1C6F2E8D"


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        ("{}", None),
        (f"compute: {{uuid: {UUID_1}}}", str(UUID_1)),
        (f"compute: {{smbios: {{type1: {{uuid: {UUID_1}}}}}}}", str(UUID_1)),
        (f"compute: {{uuid: {str(UUID_1).upper()}, smbios: {{type1: {{uuid: {UUID_1}}}}}}}", str(UUID_1)),
    ],
)
def test_one_uuid_wherever_it_stands(text: str, uuid: str | None) -> None:
    assert wanted_uuid(load_node(FILE, text, name="n").spec) == uuid


def test_the_uuid_of_smbios_is_the_nodes(furnished: Personality) -> None:
    decided = planned(f"compute: {{smbios: {{type1: {{uuid: {UUID_1}, sn: S1}}}}}}", furnished)
    assert (decided.uuid, decided.serial_number) == (str(UUID_1), "S1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bmc: {chassis_pn: P1}", {FruText(0, "chassis", "part_number", "P1")}),
        (
            "bmc: {chassis_pn: P1, fru0: {chassis: {pn: P2}}}",
            {FruText(0, "chassis", "part_number", "P2")},
        ),
        (
            "bmc: {fru0: {chassis: {sn: S2}}, chassis_sn: S1}",
            {FruText(0, "chassis", "serial_number", "S2"), SmbiosValue("chassis", "serial_number", "S1")},
        ),
        (
            "compute: {smbios: {type3: {sn: S2}}}\nbmc: {chassis_sn: S1}",
            {FruText(0, "chassis", "serial_number", "S1"), SmbiosValue("chassis", "serial_number", "S2")},
        ),
        (
            "compute: {smbios: {type1: {sku_number: K}}}\nbmc: {fru3: {product: {sn: S3}}}",
            {SmbiosValue("system", "sku_number", "K"), FruText(3, "product", "serial_number", "S3")},
        ),
    ],
)
def test_the_value_of_one_place_goes_first(
    furnished: Personality, text: str, expected: set[FruText | SmbiosValue]
) -> None:
    found = identity(text, furnished)
    assert {*found.fru, *found.smbios} == expected


def test_a_chassis_number_goes_to_every_fru_that_tells_of_the_chassis() -> None:
    server = load_type("quanta_d51", [shipped_types()])
    found = identity("bmc: {chassis_sn: S1}", server)
    assert found.fru == tuple(FruText(number, "chassis", "serial_number", "S1") for number in (0, 1))


def test_a_chassis_number_on_a_server_that_tells_of_none(personality: Personality) -> None:
    found = identity("bmc: {chassis_sn: S1}", personality)
    assert (found.fru, found.smbios) == ((FruText(0, "chassis", "serial_number", "S1"),), ())


LONG = "S" * 64


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            f"\nserial_number: {LONG}",
            f"2:16: serial_number: FRU 0: '{LONG}' takes 64 bytes; the format allows 63",
        ),
        (
            "asset_tag: x",
            "1:12: asset_tag: FRU 0: product area: 'x' is one character long, which marks the end of an area",
        ),
        (
            "bmc:\n  fru7:\n    board:\n      sn: B7",
            "4:11: bmc.fru7.board.sn: this server has no FRU 7 (it has: 0, 3)",
        ),
        (
            "bmc: {fru3: {product: {version: A}}}",
            "1:33: bmc.fru3.product.version: FRU 3: product area: 'A' is one character long, "
            "which marks the end of an area",
        ),
        (
            "bmc:\n  chassis_pn: P",
            "2:15: bmc.chassis_pn: FRU 0: chassis area: 'P' is one character long, "
            "which marks the end of an area",
        ),
        (
            "compute:\n smbios:\n  type17:\n   - {size: 512, locator: A1}\n   - {size: 512, locator: B1}",
            "5:27: compute.smbios.type17[1].locator: this server has no memory slot 'B1' (it has: A1, A2)",
        ),
    ],
)
def test_what_the_server_cannot_have_is_a_problem_on_its_line(
    furnished: Personality, text: str, problem: str
) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        planned(text, furnished)
    assert [str(found) for found in caught.value.problems] == [f"{FILE}:{problem}"]


@pytest.mark.parametrize(
    ("server_type", "text", "problem"),
    [
        (
            "dell_r730",
            "compute: {smbios: {type2: {location: left}}}",
            "1:38: compute.smbios.type2.location: the baseboard in this server's SMBIOS has no location",
        ),
        (
            "vnode",
            "compute: {smbios: {type17: [{locator: A1, size: 1024}]}}",
            "1:39: compute.smbios.type17[0].locator: this server has no memory slot 'A1' "
            "(it has: DIMM_A1, DIMM_A2, DIMM_B1, DIMM_B2)",
        ),
        (
            "s2600kp",
            "bmc: {fru1: {board: {pn: PART}}}",
            "1:26: bmc.fru1.board.pn: this server has no FRU 1 (it has: 0, 2, 3, 8, 9)",
        ),
        (
            "s2600kp",
            "bmc: {historyfru: 3}",
            "1:19: bmc.historyfru: this server has a FRU 3 already (it has: 0, 2, 3, 8, 9)",
        ),
        (
            "s2600kp",
            "sol_enable: false\nbmc: {historyfru: 99}",
            "2:19: bmc.historyfru: needs the serial line that 'sol_enable: false' leaves out (leave it out)",
        ),
    ],
)
def test_shipped_types_say_what_they_have(server_type: str, text: str, problem: str) -> None:
    server = load_type(server_type, [shipped_types()])
    with pytest.raises(InvalidNodeFile) as caught:
        planned(text, server)
    assert str(caught.value) == f"{FILE}:{problem}"


def test_a_bare_server_says_that_it_has_nothing(personality: Personality) -> None:
    for text, problem in (
        ("bmc: {chassis_sn: S1}", "1:19: bmc.chassis_sn: this server has no FRU 0"),
        (
            "compute: {smbios: {type3: {sn: S1}}}",
            "1:32: compute.smbios.type3.sn: this server's SMBIOS has no chassis",
        ),
        (
            "compute: {smbios: {type4: {cores: 4}}}",
            "1:35: compute.smbios.type4.cores: the processor in this server's SMBIOS has no core_count",
        ),
        (
            "compute: {smbios: {type17: [{locator: A1, size: 1024}]}}",
            "1:39: compute.smbios.type17[0].locator: this server has no memory slots",
        ),
    ):
        with pytest.raises(InvalidNodeFile) as caught:
            planned(text, personality)
        assert str(caught.value) == f"{FILE}:{problem}"
