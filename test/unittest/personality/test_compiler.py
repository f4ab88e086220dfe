"""What ipmi_sim and QEMU get: identity in its places, and the golden text of a whole type."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from uuid import UUID

import pytest

from infrasim.paths import data_dir
from infrasim.personality import names
from infrasim.personality.compare import compare
from infrasim.personality.compiler import compile_personality
from infrasim.personality.emu import parse_emu
from infrasim.personality.fru import BoardArea, ChassisArea, Fru, ProductArea
from infrasim.personality.identity import FruText, IdentityError, NodeIdentity, Part, SmbiosValue
from infrasim.personality.idstring import IdString
from infrasim.personality.importer import import_capture
from infrasim.personality.model import Personality
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.smbios import (
    Baseboard,
    Chassis,
    IpmiDevice,
    MemoryDevice,
    Processor,
    Structure,
    System,
    decode_structure,
    dump_bytes,
)

SHIPPED = data_dir() / "personalities"
TYPES = type_names([SHIPPED])
IDENTITY = NodeIdentity(
    uuid=UUID("3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21"),
    serial_number="NODE-0001",
    asset_tag="RACK-7",
    memory_mib=4096,
)


def load(name: str) -> Personality:
    return load_type(name, [SHIPPED])


def compiled_structures(name: str, identity: NodeIdentity = IDENTITY) -> list[Structure]:
    return [decode_structure(data) for data in compile_personality(load(name), identity).smbios]


def first_fru(name: str, identity: NodeIdentity = IDENTITY, fru_id: int = 0) -> Fru:
    frus = parse_emu(compile_personality(load(name), identity).emu).frus
    return next(fru for fru in frus if fru.fru_id == fru_id)


def test_the_whole_text_of_the_generic_type(golden: Callable[[str, str], None]) -> None:
    compiled = compile_personality(load("vnode"), IDENTITY)
    golden("personality/vnode.emu", compiled.emu)
    golden("personality/vnode.smbios", "".join(f"{data.hex()}\n" for data in compiled.smbios))


def test_no_type_changes_unnoticed(golden: Callable[[str, str], None]) -> None:
    lines = []
    for name in TYPES:
        compiled = compile_personality(load(name), IDENTITY)
        emu, smbios = (
            hashlib.sha256(data).hexdigest()[:16]
            for data in (compiled.emu.encode(), b"".join(compiled.smbios))
        )
        lines.append(
            f"{name}: emu {emu}, {len(compiled.smbios)} structures {smbios}, {compiled.sockets} sockets of "
            f"{compiled.cores} cores, KCS at {compiled.interface.io_port:#x} "
            f"with interrupt {compiled.interface.irq}\n"
        )
    golden("personality/types.txt", "".join(lines))


@pytest.mark.parametrize("name", TYPES)
def test_what_is_rendered_is_imported_as_it_was(name: str) -> None:
    """Only what belongs to the node, and the interface of the BMC, may differ."""
    personality = load(name)
    memory = sum(device.size_mib for device in personality.structures(MemoryDevice))
    compiled = compile_personality(personality, NodeIdentity(IDENTITY.uuid, "S-1", memory_mib=memory))
    again = import_capture(name, emu=compiled.emu, emu_source="x", smbios_dump=dump_bytes(compiled.smbios))
    differences = compare(personality, again, with_identity=False)
    assert {item.where.split()[1] for item in differences} <= {"ipmi_device"} | {
        item.where.split()[1]
        for item in differences
        if "strings" in item.field or item.field.endswith("length")
    }


@pytest.mark.parametrize("name", TYPES)
def test_one_serial_number_everywhere(name: str) -> None:
    structures = compiled_structures(name)
    (system,) = (item for item in structures if isinstance(item, System))
    assert (system.serial_number, system.uuid) == ("NODE-0001", str(IDENTITY.uuid))
    for item in structures:
        if isinstance(item, (Baseboard, Chassis)):
            assert item.serial_number == "NODE-0001"
        if isinstance(item, Chassis):
            assert item.asset_tag == "RACK-7"
    fru = first_fru(name)
    for kind in (ChassisArea, BoardArea, ProductArea):
        area = fru.area(kind)
        assert area is None or getattr(area, "serial_number").text == "NODE-0001"  # noqa: B009
    product = fru.area(ProductArea)
    assert isinstance(product, ProductArea)
    assert product.asset_tag.text == "RACK-7"


@pytest.mark.parametrize("name", TYPES)
def test_loading_writes_no_event(name: str) -> None:
    """Every value and state is set with the event flag 0, after thresholds and events are known."""
    seen: set[tuple[str, ...]] = set()
    for line in compile_personality(load(name), IDENTITY).emu.splitlines():
        words = line.split()
        if words[:1] in (["sensor_set_value"], ["sensor_set_bit"]):
            assert words[-1] == "0", line
            seen.add(tuple(words[1:4]))
        elif words[:1] in (["sensor_set_threshold"], ["sensor_set_event_support"]):
            assert tuple(words[1:4]) not in seen, line
    assert seen


@pytest.mark.parametrize("name", TYPES)
def test_sockets_and_the_ipmi_interface_are_what_qemu_has(name: str) -> None:
    compiled = compile_personality(load(name), IDENTITY)
    structures = [decode_structure(data) for data in compiled.smbios]
    assert compiled.sockets == sum(isinstance(item, Processor) for item in structures)
    (device,) = (item for item in structures if isinstance(item, IpmiDevice))
    assert device.io_port == compiled.interface.io_port
    assert (device.interface, device.spacing, device.interrupt) == ("kcs", "byte", compiled.interface.irq)
    assert device.has_interrupt is (compiled.interface.irq > 0)
    assert compiled.interface.irq == (10 if name.startswith("dell_") else 0)
    assert not [data for data in compiled.smbios if data[0] == 127]
    assert all(data.endswith(b"\0\0") for data in compiled.smbios)


def test_a_type_without_smbios() -> None:
    bare = Personality(name="bare", manufacturer="", product_name="", summary="", controllers=())
    compiled = compile_personality(bare, IDENTITY)
    assert (compiled.smbios, compiled.sockets, compiled.cores, compiled.interface.io_port) == (
        (),
        1,
        0,
        0xCA2,
    )


def test_fields_of_the_nodes_own() -> None:
    identity = NodeIdentity(
        IDENTITY.uuid,
        "S-1",
        memory_mib=1024,
        fru=(
            FruText(0, "board", "part_number", "PN-7"),
            FruText(0, "board", "serial_number", "BOARD-1"),
            FruText(1, "chassis", "part_number", "C" * 60),
        ),
        smbios=(SmbiosValue("baseboard", "location", "here"), SmbiosValue("processor", "max_speed", 1234)),
    )
    board = first_fru("vnode", identity).area(BoardArea)
    assert isinstance(board, BoardArea)
    assert (board.part_number.text, board.serial_number.text) == ("PN-7", "BOARD-1")
    added = first_fru("vnode", identity, fru_id=1).area(ChassisArea)
    assert isinstance(added, ChassisArea)
    assert added.part_number.text == "C" * 60
    structures = compiled_structures("quanta_d51", identity)
    assert [item.location for item in structures if isinstance(item, Baseboard)] == ["here"]
    assert [item.max_speed for item in structures if isinstance(item, Processor)] == [1234, 1234]


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({"fru": (FruText(9, "board", "part_number", "x"),)}, "this server has no FRU 9"),
        ({"fru": (FruText(0, "board", "color", "x"),)}, "a FRU has no board.color"),
        ({"fru": (FruText(0, "lid", "part_number", "x"),)}, "a FRU has no lid.part_number"),
        ({"fru": (FruText(0, "board", "part_number", "x" * 64),)}, "takes 64 bytes; the format allows 63"),
        ({"smbios": (SmbiosValue("system", "color", 1),)}, "SMBIOS has no field 'color' in 'system'"),
        ({"smbios": (SmbiosValue("lid", "color", 1),)}, "SMBIOS has no field 'color' in 'lid'"),
        (
            {"smbios": (SmbiosValue("processor", "max_speed", 99999),)},
            "got 99999, wanted a whole number from 0 to",
        ),
        ({"smbios": (SmbiosValue("port", "external", "x"),)}, "this server's SMBIOS has no port"),
        (
            {"fru": (FruText(0, "board", "part_number", "x"),)},
            "'x' is one character long, which marks the end",
        ),
    ],
)
def test_fields_that_a_server_does_not_have(own: dict[str, tuple[Part, ...]], wanted: str) -> None:
    with pytest.raises(IdentityError, match=wanted) as caught:
        compile_personality(load("vnode"), NodeIdentity(IDENTITY.uuid, "S-1", **own))  # type: ignore[arg-type]
    ((part,),) = own.values()
    assert caught.value.part == part


def test_what_there_is_in_place_of_a_fru_that_there_is_not() -> None:
    identity = NodeIdentity(IDENTITY.uuid, "S-1", fru=(FruText(9, "board", "part_number", "x"),))
    with pytest.raises(IdentityError) as caught:
        compile_personality(load("dell_r630"), identity)
    assert caught.value.hint == "it has: 0, 1, 2, 4, 10, 12, 13, 17"


def test_a_field_beyond_the_end_of_the_structure() -> None:
    identity = NodeIdentity(IDENTITY.uuid, "S-1", smbios=(SmbiosValue("baseboard", "location", "here"),))
    with pytest.raises(IdentityError) as caught:
        compile_personality(load("dell_r730"), identity)
    assert caught.value.message == "the baseboard in this server's SMBIOS has no location"


@pytest.mark.parametrize(
    ("identity", "part"),
    [
        (NodeIdentity(IDENTITY.uuid, "S" * 64), "serial_number"),
        (NodeIdentity(IDENTITY.uuid, "S-1", asset_tag="A" * 64), "asset_tag"),
    ],
)
def test_a_text_of_the_machine_too_long_for_its_fru(identity: NodeIdentity, part: str) -> None:
    with pytest.raises(
        IdentityError, match=r"^FRU 0: '[SA]+' takes 64 bytes; the format allows 63$"
    ) as caught:
        compile_personality(load("vnode"), identity)
    assert caught.value.part == part


def processors(processor: Processor, *values: SmbiosValue) -> list[Processor]:
    server = dataclasses.replace(load("vnode"), smbios=(processor,))
    compiled = compile_personality(server, NodeIdentity(IDENTITY.uuid, "S-1", smbios=values))
    found = [decode_structure(data) for data in compiled.smbios]
    return [item for item in found if isinstance(item, Processor)]


@pytest.mark.parametrize(
    ("length", "threads", "cores", "short", "long"),
    [
        (0x2A, 8, 14, (14, 14, 28), (0, 0, 0)),
        (0x30, 8, 14, (14, 14, 28), (14, 14, 28)),
        (0x2A, 8, 200, (200, 200, 255), (200, 200, 400)),
        (0x2A, 4, 255, (255, 255, 255), (255, 255, 255)),
        (0x2A, 0, 3, (3, 3, 3), (0, 0, 0)),
    ],
)
def test_all_counts_of_cores_and_threads_agree(
    length: int, threads: int, cores: int, short: tuple[int, ...], long: tuple[int, ...]
) -> None:
    before = Processor(status=0x41, length=length, core_count=4, core_enabled=2, thread_count=threads)
    (found,) = processors(before, SmbiosValue("processor", "core_count", cores))
    assert (found.core_count, found.core_enabled, found.thread_count) == short
    assert (found.core_count_2, found.core_enabled_2, found.thread_count_2) == long


def test_an_empty_socket_stays_empty() -> None:
    with pytest.raises(IdentityError, match=r"^the processor in this server's SMBIOS has no serial_number$"):
        processors(Processor(status=0), SmbiosValue("processor", "serial_number", "CPU-1"))


def test_texts_for_a_device_without_fru_data_replace_what_it_holds() -> None:
    bare = Fru(fru_id=7, size=64, raw=b"garbage", fill=0xFF)
    server = dataclasses.replace(load("vnode"), frus=(bare,))
    own = (FruText(7, "board", "serial_number", "BOARD-1"),)
    emu = compile_personality(server, NodeIdentity(IDENTITY.uuid, "S-1", fru=own)).emu
    (fru,) = parse_emu(emu).frus
    board = fru.area(BoardArea)
    assert isinstance(board, BoardArea)
    assert board.serial_number.text == "BOARD-1"


@pytest.mark.parametrize(("serial", "is_kept"), [("S-2", True), ("S" * 60, False)])
def test_unexplained_bytes_give_way_only_to_an_area_that_grows_over_them(serial: str, is_kept: bool) -> None:
    area = ChassisArea(serial_number=IdString("S-1", size=8))
    patched = Fru(fru_id=0, size=256, areas=(area,), patches=((40, b"secret"),))
    server = dataclasses.replace(load("vnode"), frus=(patched,))
    (fru,) = parse_emu(compile_personality(server, NodeIdentity(IDENTITY.uuid, serial)).emu).frus
    chassis = fru.area(ChassisArea)
    assert isinstance(chassis, ChassisArea)
    assert (chassis.serial_number.text, chassis.checksum) == (serial, None)
    assert (b"secret" in fru.encode()) is is_kept


def test_every_name_of_an_event_type_has_a_code() -> None:
    assert names.number(names.EVENT_TYPES, "sensor_specific") == 0x6F
    assert names.number(names.EVENT_TYPES, 0x70) == 0x70
