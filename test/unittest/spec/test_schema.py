"""The JSON Schema: what the loader takes it takes, and it refuses what a schema can refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest

from infrasim.errors import InvalidNodeFile
from infrasim.spec import schema as schema_module
from infrasim.spec import words
from infrasim.spec.document import load_document
from infrasim.spec.keys import _keys, node_keys
from infrasim.spec.load import load_node
from infrasim.spec.modelling import BeforeValidator, Field
from infrasim.spec.part import Becomes, Only, Part, Switch
from infrasim.spec.schema import node_file_schema

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMA = node_file_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def refused(text: str) -> str:
    """Why the schema refuses a file; empty if it does not."""
    values = load_document(text, file="n").values
    error = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(values))
    return "" if error is None else error.message


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_in_it_with_its_description() -> None:
    for path, key in node_keys().items():
        place: Any = SCHEMA
        for step in path.split("."):
            name = step.removesuffix("[]")
            below = place["patternProperties"].values() if name == "fruN" else [place["properties"][name]]
            place = next(iter(below))
            place = place["items"] if step.endswith("[]") else place
        words = place["description"]
        assert words.startswith((key.field.description or "").replace("`", "")[:40])


def test_what_the_user_sees_of_a_key() -> None:
    size = SCHEMA["properties"]["compute"]["properties"]["memory"]["properties"]["size"]
    assert size["type"] == ["null", "integer"]
    assert (size["minimum"], size["maximum"], size["default"]) == (16, 16777216, 1024)
    assert size["examples"] == [4096]
    assert SCHEMA["additionalProperties"] is False
    cdrom = SCHEMA["properties"]["compute"]["properties"]["cdrom"]
    assert cdrom["type"] == ["null", "string", "object"]
    assert cdrom["required"] == ["file"]
    assert SCHEMA["properties"]["compute"]["properties"]["extra_option"]["type"] == [
        "null",
        "string",
        "array",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "compute: {cdrom: /a.iso, kernel: null, extra_option: -s}\n",
        "compute: {networks: [{port_forward: [{protocal: udp, outside: 1, inside: 2}], network_name: br0}]}",
        "compute: {serial_number: x}\nbmc: {fru254: {board: {sn: S1}}, poweroff_wait: 1.5}\n",
        "bmc: {fru3: }\n",
    ],
)
def test_what_the_loader_takes(text: str) -> None:
    load_node(Path("n"), text)
    assert refused(text) == ""


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*/*/node.yml")), ids=lambda file: file.parent.name)
def test_the_node_files_of_golden_plans_are_taken(file: Path) -> None:
    assert refused(file.read_text(encoding="utf-8")) == ""


@pytest.mark.parametrize("path", list(node_keys()))
def test_every_example_of_a_key_is_taken(path: str) -> None:
    key = node_keys()[path]
    wanted = schema_module._value(key)
    for value in key.field.examples or ():
        jsonschema.validate(value, wanted, cls=jsonschema.Draft202012Validator)


# What only the loader can see: relations between keys, and texts no pattern describes well.
BEYOND_A_SCHEMA = (
    "the first disk",
    "the first controller",
    "does not say what it is",
    "another ",
    "stands at the top level already",
    "needs 'kernel'",
    "says where to listen",
    "forwarded already",
    "the modules have",
    "cannot be split",
    "is not an IPv4",
    "is a multicast",
    "is the address of a group",
    "is no card's address",
    "is not a CPU feature",
    "cannot be a network card",
    "cannot be a network interface",
    "cannot be a network namespace",
    "cannot be an id",
    "names no property",
    "cannot be a host name",
    "cannot be a boot file",
    "is not a place on a PCI bus",
    "can be meant as",
    "which is left out, has",
    "there are the nodes",
    "there are no nodes",
    "bytes are too few",
    "as an address on I2C",
    "is given twice",
    "is not 'name=value'",
    "is said elsewhere",
    "has no room for",
    "is not a multicast group",
    "needs 'network_name'",
    "needs 'username'",
    "needs 'password'",
    "is not in the network",
    "is another than compute.uuid",
    "zero byte",
    " processors",
    "compute.numa_control",
    "compute.extra_device",
    "a disk on ",
    "has the targets",
    "has the units",
    "has room for",
    "one IDE controller",
    "is not a power of two from",
    "is not a size",
    "a sector of the medium",
    "says it already",
    "needs cache none",
    "'metadata' is of qcow2",
    "cannot be allocated before",
    "'file' names one that exists",
    "needs 'backing_file'",
    "has its own",
    "256 namespaces",
    "seabios has none",
    "takes the place of seabios",
    "uefi does not run on",
    "there is no TPM",
    "'emu_file' takes their place",
    "is no number of a LAN channel",
    "does not have the main channel",
    "names a channel twice",
    "is not a list of channels",
    "has the ports",
    "another CD-ROM drive has",
    "a disk has",
    "is only for raw images",
    "are of SCSI disks",
)  # fmt: skip


def bad_node_files() -> list[tuple[str, str]]:
    cases = Path(__file__).with_name("bad_node_files.txt").read_text(encoding="utf-8").split("\n\n")
    parts = [case.strip("\n").partition("\n=> ") for case in cases]
    return [(text, message) for text, arrow, message in parts if arrow]


@pytest.mark.parametrize(("text", "message"), bad_node_files())
def test_what_is_wrong_is_refused_as_far_as_a_schema_can(text: str, message: str) -> None:
    try:
        said = refused(text)
    except InvalidNodeFile:
        return  # it is no YAML mapping
    assert said or any(words in message for words in BEYOND_A_SCHEMA), message


def test_most_wrong_files_are_refused() -> None:
    cases = [(text, message) for text, message in bad_node_files() if "not YAML" not in message]
    caught = 0
    for text, _ in cases:
        try:
            caught += bool(refused(text))
        except InvalidNodeFile:
            caught += 1
    assert caught > 0.6 * len(cases)


class Disk(Part):
    """An entry."""

    lun: Annotated[int | None, Only("scsi")] = Field(None, description="Number.")


class Bus(Part):
    """A mapping of some kind."""

    type: Literal["ahci", "scsi", "sas"] = Field("ahci", description="Kind.")
    width: Annotated[int | None, Only("sas", "scsi"), Becomes("`width=`")] = Field(None, description="Width.")
    port: Annotated[int | None, Only("ahci")] = Field(None, description="Port.")
    merge: Annotated[Literal["on", "off"], BeforeValidator(words.on_or_off)] = Field(
        "on", description="Merge."
    )
    is_open: Switch = Field(False, description="Open.")
    text: str | int = Field("x", description="Text or number.")
    disks: tuple[Disk, ...] = Field((), description="Disks.")


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> jsonschema.Draft202012Validator:
    """The schema of a model of kinds."""
    keys = {key.path: key for key in _keys(Bus, "")}
    monkeypatch.setattr(schema_module, "node_keys", lambda: keys)
    return jsonschema.Draft202012Validator({**schema_module._mapping(Bus, ""), "type": "object"})


@pytest.mark.parametrize(
    ("values", "valid"),
    [
        ({"type": "sas", "width": 1}, True),
        ({"width": 1}, False),
        ({"width": None}, True),
        ({"port": 1}, True),
        ({"type": None, "port": 1}, True),
        ({"type": "sas", "port": 1}, False),
        ({"type": "scsi", "disks": [{"lun": 1}]}, True),
        ({"disks": [{}, {"lun": 1}]}, False),
        ({"disks": [{"lun": None}]}, True),
        ({"merge": True}, True),
        ({"merge": "off"}, True),
        ({"merge": "No"}, True),
        ({"merge": "none"}, False),
        ({"is_open": True}, True),
        ({"is_open": "yes"}, True),
        ({"is_open": "OFF"}, True),
        ({"is_open": "oFF"}, False),
        ({"is_open": 1}, False),
        ({"merge": 1}, False),
        ({"text": 1}, True),
        ({"text": "a"}, True),
        ({"text": 1.5}, False),
    ],
)
def test_keys_of_some_kinds_only(
    bus: jsonschema.Draft202012Validator, values: dict[str, object], valid: bool
) -> None:
    assert bus.is_valid(values) is valid
    try:
        Bus.model_validate(values)
    except ValueError:
        assert not valid
    else:
        assert valid


def test_a_key_tells_for_which_kinds_it_is(bus: jsonschema.Draft202012Validator) -> None:
    schema: Any = bus.schema
    assert schema["properties"]["width"]["description"] == "Width. Only for type sas or scsi. Becomes width=."
