"""Server types in YAML: read, written, extended, and every way they can be wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from infrasim.errors import UsageError
from infrasim.paths import data_dir
from infrasim.personality.folder import folder_files, read_folder
from infrasim.personality.model import Personality, default_state
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.sdr import FullSensor
from infrasim.personality.yamlform import InvalidType

SHIPPED = data_dir() / "personalities"
TYPES = type_names([SHIPPED])
TYPE = """\
manufacturer: Maker
product_name: Thing
summary: something
controllers:
- {address: 0x20, device_id: 32, firmware: "1.20"}
"""
SENSORS = """\
defaults:
  full: {event_type: threshold}
  full.fan: {m: 100, unit: rpm, readable: [lnc, lc], threshold_access: settable}
records:
- {full: Fan 1, number: 0x30, sensor_type: fan, lnc: 1500, lc: 1000, value: 6000}
- {compact: Door, number: 0x31, sensor_type: physical_security, event_type: sensor_specific, reads: [0]}
- {event_only: Boom, number: 0x32, sensor_type: memory, event_type: sensor_specific}
"""
FRUS = """\
frus:
- id: 0
  size: 256
  product: {product_name: Thing, serial_number: S0001}
"""
SMBIOS = """\
structures:
- {system: 0x1, manufacturer: Maker, serial_number: S0001}
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder


def thing(folder: Path, **files: str) -> Personality:
    return read_folder(
        write(folder, **{"type": TYPE, "sensors": SENSORS, "fru": FRUS, "smbios": SMBIOS, **files})
    )


def load(name: str) -> Personality:
    return load_type(name, [SHIPPED])


def written(folder: Path, personality: Personality, base: Personality | None = None) -> Personality:
    folder.mkdir()
    for name, text in folder_files(personality, base=base).items():
        (folder / name).write_text(text)
    again = read_folder(folder, find=lambda name: SHIPPED / name)
    return dataclasses.replace(again, name=personality.name)


def test_the_nine_types_and_the_generic_one_are_there() -> None:
    assert TYPES == (
        "dell_c6320",
        "dell_r630",
        "dell_r730",
        "dell_r730xd",
        "quanta_d51",
        "quanta_t41",
        "s2600kp",
        "s2600tp",
        "s2600wtt",
        "vnode",
    )


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_written_as_it_is_read(name: str, tmp_path: Path) -> None:
    personality = load(name)
    assert personality.manufacturer
    assert personality.product_name
    assert personality.summary
    assert personality.nics
    assert personality.storage
    assert written(tmp_path / "t", personality) == personality


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("dell_r730xd", "dell_r730"),
        ("s2600tp", "s2600kp"),
        ("quanta_t41", "quanta_d51"),
        ("s2600wtt", "s2600kp"),
        ("vnode", "dell_r630"),
        ("dell_r630", "dell_r630"),
    ],
)
def test_a_type_can_say_only_how_it_differs(name: str, base: str, tmp_path: Path) -> None:
    personality = load(name)
    assert written(tmp_path / "t", personality, load(base)) == personality


def test_a_difference_from_itself_says_nothing() -> None:
    vnode = load("vnode")
    assert folder_files(vnode, base=vnode) == {"type.yml": "extends: vnode\n"}


def test_values_are_in_engineering_units(tmp_path: Path) -> None:
    personality = thing(tmp_path / "t")
    fan, door, boom = (entry for entry in personality.sdrs)
    assert isinstance(fan.record, FullSensor)
    assert (fan.record.m, fan.record.lnc, fan.record.reading_mask) == (100, 15, 3)
    assert fan.state is not None
    assert (fan.state.value, fan.state.bits) == (60, frozenset())
    assert door.state == default_state(door.record)
    assert boom.state is not None
    assert boom.state.is_event_only
    assert personality.controllers[0].firmware_minor == 0x20


def test_a_value_beyond_a_threshold_sets_its_bit(tmp_path: Path) -> None:
    personality = thing(tmp_path / "t", sensors=SENSORS.replace("value: 6000", "value: 1200"))
    assert personality.sensors[0].bits == {0}
    silent = SENSORS.replace("value: 6000", "value: 1200, state: []")
    assert thing(tmp_path / "u", sensors=silent).sensors[0].bits == frozenset()


def test_what_runs_differently_from_its_record(tmp_path: Path) -> None:
    live = "live: {scanning: true, asserts: [lc-], access: readable, limits: {lnc: 500},"
    live += " hysteresis: [fixed, 1, 2]}"
    personality = thing(tmp_path / "t", sensors=SENSORS.replace("value: 6000", f"value: 6000, {live}"))
    state = personality.sensors[0]
    assert state.events is not None
    assert (state.events.scanning, state.events.assertion) == (True, 4)
    assert state.thresholds is not None
    assert (state.thresholds.access, state.thresholds.mask, state.thresholds.values[0]) == ("readable", 1, 5)
    assert state.hysteresis == ("fixed", 1, 2)
    assert written(tmp_path / "again", personality) == dataclasses.replace(personality)


def test_a_sensor_that_is_not_simulated(tmp_path: Path) -> None:
    personality = thing(tmp_path / "t", sensors=SENSORS.replace("reads: [0]", "reads: [0], simulated: false"))
    assert personality.sdrs[1].state is None
    assert len(personality.sensors) == 2
    assert written(tmp_path / "again", personality) == personality


def test_sensors_without_a_record(tmp_path: Path) -> None:
    hidden = """
hidden_sensors:
- {owner: 0x20, lun: 0, number: 0x99, sensor_type: 1, event_type: 0x6f, value: 3, state: [1]}
"""
    personality = thing(tmp_path / "t", sensors=SENSORS + hidden)
    assert personality.hidden_sensors[0].bits == {1}
    assert written(tmp_path / "again", personality) == personality


# --- extending


def extended(tmp_path: Path, **files: str) -> Personality:
    thing(tmp_path / "base")
    return read_folder(write(tmp_path / "over", **{"type": "extends: base\n", **files}))


def names(personality: Personality) -> list[str]:
    return [entry.record.name for entry in personality.sdrs]


def test_what_is_not_said_is_inherited(tmp_path: Path) -> None:
    base, over = thing(tmp_path / "base"), extended(tmp_path)
    assert over == dataclasses.replace(base, name="over")
    renamed = extended(tmp_path, type="extends: base\nsummary: other\nnics: [{model: e1000, count: 3}]\n")
    assert (renamed.manufacturer, renamed.summary, renamed.nics[0].count) == ("Maker", "other", 3)


def test_records_are_laid_over_removed_moved_and_added(tmp_path: Path) -> None:
    over = extended(
        tmp_path,
        sensors="""
remove: [Boom]
records:
- {compact: Door, number: 0x31, after: null}
- {full: Fan 1, number: 0x30, value: 5000, lc: null}
- {compact: Lid, number: 0x40, sensor_type: physical_security, after: Door}
- {compact: Tail, number: 0x41, sensor_type: physical_security}
""",
    )
    assert names(over) == ["Door", "Lid", "Fan 1", "Tail"]
    fan = over.sdrs[2]
    assert isinstance(fan.record, FullSensor)
    assert fan.state is not None
    assert (fan.state.value, fan.record.lc, fan.record.lnc) == (50, 0, 15)


def test_all_of_a_list_can_be_replaced(tmp_path: Path) -> None:
    over = extended(tmp_path, smbios="remove: all\nstructures:\n- {chassis: 0x3, manufacturer: Other}\n")
    assert [structure.KIND for structure in over.smbios] == ["chassis"]


def test_frus_and_structures_are_laid_over(tmp_path: Path) -> None:
    over = extended(
        tmp_path,
        fru="frus:\n- {id: 0, product: {product_name: Other}}\n- {id: 3, size: 64}\n",
        smbios="structures:\n- {system: 0x1, manufacturer: Other}\n",
    )
    assert [fru.fru_id for fru in over.frus] == [0, 3]
    assert over.frus[0].size == 256
    assert over.smbios[0].encode()[27:33] == b"Other\0"


@pytest.mark.parametrize(
    ("sensors", "wanted"),
    [
        ("remove: [Nothing]\n", "sensors.yml:1:1: remove: there is no 'Nothing' to remove"),
        ("remove: Door\n", "remove: got 'Door', wanted a list or 'all'"),
        (
            "records:\n- {compact: Door, number: 0x31, after: No}\n",
            "records[0].after: there is no 'No' to come after",
        ),
    ],
)
def test_extending_what_is_not_there(tmp_path: Path, sensors: str, wanted: str) -> None:
    with pytest.raises(InvalidType) as caught:
        extended(tmp_path, sensors=sensors)
    assert wanted in caught.value.message


def test_a_circle_of_types(tmp_path: Path) -> None:
    write(tmp_path / "one", type="extends: two\n")
    write(tmp_path / "two", type="extends: one\n")
    with pytest.raises(InvalidType, match="'one' extends this type itself"):
        read_folder(tmp_path / "one")


# --- what is wrong


@pytest.mark.parametrize(
    ("file", "old", "new", "wanted"),
    [
        ("type", "summary", "summaryy", "type.yml:3:1: summaryy: unknown key (did you mean 'summary'?)"),
        ("type", "something", "[1]", "type.yml:3:1: summary: got [1], wanted text"),
        ("type", '"1.20"', "1.2", "firmware: got 1.2, wanted text like"),
        ("type", '"1.20"', '"200.20"', "firmware: got '200.20', wanted text like"),
        ("type", "device_id: 32, ", "", "controllers[0].device_id: got nothing, wanted a whole number"),
        (
            "type",
            "device_id",
            "device_idd",
            "controllers[0].device_idd: unknown key (did you mean 'device_id'?)",
        ),
        (
            "type",
            "summary: something",
            "nics: [{model: e1000, count: -1}]",
            "nics[0].count: got -1, wanted a whole",
        ),
        ("type", "summary: something", "nics: e1000", "nics: wanted a list of mappings"),
        ("type", "summary: something", "event_log: 5", "event_log: got 5, wanted a mapping"),
        (
            "sensors",
            "full: Fan 1",
            "fan: Fan 1",
            "records[0]: no kind of record; wanted one of: full, compact",
        ),
        (
            "sensors",
            "number: 0x30",
            "number: 300",
            "sensors.yml:5:17: records[0].number: got 300, wanted a whole",
        ),
        (
            "sensors",
            "sensor_type: fan",
            "sensor_type: fun",
            "records[0].sensor_type: got 'fun', wanted a number or",
        ),
        (
            "sensors",
            "value: 6000",
            "value: 60000",
            "records[0].value: got 60000, wanted a value from 0 to 25500",
        ),
        ("sensors", "value: 6000", "value: fast", "records[0].value: got 'fast', wanted a number"),
        ("sensors", "value: 6000", "valuee: 6000", "records[0].valuee: unknown key (did you mean 'value'?)"),
        ("sensors", "lnc: 1500", "lnc: -99", "records[0].lnc: got -99, wanted a value from 0 to 25500"),
        (
            "sensors",
            "[lnc, lc]",
            "[lnc, lx]",
            "readable: got 'lx', wanted a list with names of: lnc, lc, lnr",
        ),
        (
            "sensors",
            "reads: [0]",
            "reads: [16]",
            "records[1].reads: got 16, wanted a list with states 0 to 14",
        ),
        (
            "sensors",
            "reads: [0]",
            "value: 1.5",
            "records[1].value: got 1.5, wanted a whole number from 0 to 255",
        ),
        ("sensors", "reads: [0]", "live: 1", "records[1].live: got 1, wanted a mapping"),
        (
            "sensors",
            "reads: [0]",
            "live: {scan: true}",
            "records[1].live: unknown key 'scan' (known: events,",
        ),
        (
            "sensors",
            "value: 6000",
            "live: {limits: {x: 1}}",
            "records[0].live: unknown threshold 'x', wanted: lnc",
        ),
        ("sensors", "Fan 1", "{bcd: Fan}", "records[0].full: 'Fan' cannot be stored as bcd: 'F' has no code"),
        (
            "sensors",
            "Fan 1",
            "{hex: 00}",
            "records[0].full: got {'hex': '00'}, wanted text or one of: binary",
        ),
        ("sensors", "Fan 1", "[Fan]", "records[0].full: got ['Fan'], wanted text"),
        (
            "sensors",
            "reads: [0]",
            "trailing: xx",
            "records[1].trailing: got 'xx', wanted pairs of hexadecimal",
        ),
        (
            "sensors",
            "defaults:",
            "default:",
            "sensors.yml:1:1: default: unknown key (did you mean 'defaults'?)",
        ),
        ("sensors", "full: {event_type: threshold}", "full: 1", "defaults: wanted a mapping of mappings"),
        ("fru", "id: 0", "size: 1", "the key 'size' is given twice"),
        ("fru", "- id: 0\n  size", "- size", "frus[0]: id is missing"),
        ("fru", "size: 256", "size: 8", "frus[0]: FRU 0: the product area ends at 0x20, the device at 0x8"),
        ("fru", "product:", "productt:", "frus[0].productt: unknown key (did you mean 'product'?)"),
        ("fru", "product_name", "product_nam", "frus[0].product.product_nam: unknown key (did you mean"),
        (
            "fru",
            "{product_name: Thing, serial_number: S0001}",
            "3",
            "frus[0].product: got 3, wanted a mapping",
        ),
        ("fru", "product: {", "board: {date: soon, ", "frus[0].board.date: got 'soon', wanted a date like"),
        (
            "fru",
            "product: {",
            "multi: {records: [3]}\n  product: {",
            "records: got 3, wanted type and data, or one",
        ),
        (
            "fru",
            "product: {",
            "multi: {records: [{dc_load: {volts: 1}}]}\n  product: {",
            "records: unknown key 'volts' in dc_load",
        ),
        (
            "fru",
            "product: {",
            "patches: [5]\n  product: {",
            "patches: got 5, wanted mappings with offset and data",
        ),
        (
            "smbios",
            "system: 0x1",
            "systemm: 0x1",
            "structures[0]: no kind of structure; wanted one of: bios, system",
        ),
        ("smbios", "0x1", "70000", "structures[0].system: got 70000, wanted a whole number from 0 to 0xffff"),
        (
            "smbios",
            "serial_number",
            "serial",
            "structures[0].serial: unknown key (did you mean 'serial_number'?)",
        ),
        ("smbios", "S0001", "7", "structures[0].serial_number: "),
        (
            "smbios",
            "S0001",
            "S, wake_up: never",
            "structures[0].wake_up: got 'never', wanted a number or one of",
        ),
        ("smbios", "S0001", "S, uuid: x", "structures[0].uuid: got 'x', wanted a UUID"),
        (
            "smbios",
            "S0001",
            "S, length: 3",
            "structures[0].system: SMBIOS system structure 0x0001: length 3; wanted",
        ),
        (
            "smbios",
            "S0001",
            "S, extra: zz",
            "structures[0].extra: got 'zz', wanted pairs of hexadecimal digits",
        ),
    ],
)
def test_every_problem_has_its_place(tmp_path: Path, file: str, old: str, new: str, wanted: str) -> None:
    texts = {"type": TYPE, "sensors": SENSORS, "fru": FRUS, "smbios": SMBIOS}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new, 1)
    if wanted == "structures[0].serial_number: ":
        assert thing(tmp_path / "t", **texts).smbios  # a number stands for a string
        return
    with pytest.raises(InvalidType) as caught:
        thing(tmp_path / "t", **texts)
    assert wanted in caught.value.message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidType) as caught:
        thing(tmp_path / "t", type=TYPE + "x: 1\n", sensors=SENSORS.replace("0x30", "999"), fru="y: 1\n")
    assert {Path(problem.file).name for problem in caught.value.problems} == {
        "type.yml",
        "sensors.yml",
        "fru.yml",
    }


def test_what_is_not_yaml_and_what_is_no_type(tmp_path: Path) -> None:
    with pytest.raises(InvalidType, match=r"type.yml:2:1: not YAML"):
        read_folder(write(tmp_path / "bad", type="a: [\n"))
    with pytest.raises(UsageError, match=r"is not a server type: it has no type.yml"):
        read_folder(write(tmp_path / "empty"))
    write(tmp_path / "odd", type=TYPE)
    (tmp_path / "odd" / "fru.yml").mkdir()
    with pytest.raises(UsageError, match=r"fru.yml cannot be read"):
        read_folder(tmp_path / "odd")
