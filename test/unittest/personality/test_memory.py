"""SMBIOS memory structures for the memory a node has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.paths import data_dir
from infrasim.personality.identity import Dimm, IdentityError
from infrasim.personality.layout import DataError
from infrasim.personality.memory import with_memory
from infrasim.personality.model import Personality
from infrasim.personality.registry import load_type, type_names
from infrasim.personality.smbios import (
    ArrayMap,
    DeviceMap,
    MemoryArray,
    MemoryDevice,
    Structure,
    System,
)

SHIPPED = data_dir() / "personalities"
TYPES = {name: load_type(name, [SHIPPED]) for name in type_names([SHIPPED])}
SMALL: tuple[Structure, ...] = (
    MemoryArray(handle=0x10, location="system_board", use="system", maximum_capacity=0x200000, devices=2),
    MemoryDevice(handle=0x11, array=0x10, size=1024, locator="A1", asset_tag="A1_tag", manufacturer="Maker"),
    MemoryDevice(handle=0x12, array=0x10, locator="A2", manufacturer="NO DIMM"),
    MemoryDevice(handle=0x21, array=0x20, size=16, locator="ROM"),
    ArrayMap(handle=0x13, array=0x10, end=0xFFFFF),
)


def of(kind: type[Structure], structures: tuple[Structure, ...]) -> list[Structure]:
    return [item for item in structures if isinstance(item, kind)]


def devices(structures: tuple[Structure, ...], array: int | None = None) -> list[MemoryDevice]:
    found = [item for item in structures if isinstance(item, MemoryDevice)]
    return [item for item in found if array is None or item.array == array]


def bounds(item: ArrayMap | DeviceMap) -> tuple[int, int]:
    """First and last KiB."""
    if item.start == 0xFFFFFFFF:
        return item.extended_start // 1024, (item.extended_end + 1) // 1024 - 1
    return item.start, item.end


@given(st.sampled_from(sorted(TYPES)), st.integers(1, 8 << 20))
def test_all_sizes_add_up(name: str, memory_mib: int) -> None:
    structures = with_memory(TYPES[name].smbios, memory_mib)
    assert sum(device.size_mib for device in devices(structures)) == memory_mib
    maps = [item for item in structures if isinstance(item, ArrayMap)]
    assert sum(end - start + 1 for start, end in map(bounds, maps)) == memory_mib * 1024
    of_devices = [item for item in structures if isinstance(item, DeviceMap)]
    if of_devices:
        assert sum(end - start + 1 for start, end in map(bounds, of_devices)) == memory_mib * 1024
    for array in (item for item in structures if isinstance(item, MemoryArray)):
        held = sum(device.size_mib for device in devices(structures, array.handle)) * 1024
        capacity = array.maximum_capacity
        assert held <= (array.extended_capacity // 1024 if capacity == 0x80000000 else capacity)
    handles = [item.handle for item in structures]
    assert len(set(handles)) == len(handles)
    for item in structures:
        item.encode()


def captured(personality: Personality) -> int:
    return sum(device.size_mib for device in devices(personality.smbios))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_the_memory_of_the_capture_changes_nothing(name: str) -> None:
    personality = TYPES[name]
    assert with_memory(personality.smbios, captured(personality)) == personality.smbios


@pytest.mark.parametrize("memory_mib", [128, 512, 1024, 2048, 3000])
def test_a_small_memory_is_in_the_first_slots(memory_mib: int) -> None:
    one, two, rom = devices(with_memory(SMALL, memory_mib))
    assert one.size_mib + two.size_mib == memory_mib
    assert one.size_mib == min(memory_mib, 1024 if memory_mib <= 2048 else 2048)
    assert rom == SMALL[3]


def test_a_slot_is_filled_like_another() -> None:
    _, two, _ = devices(with_memory(SMALL, 2048))
    assert (two.manufacturer, two.locator, two.asset_tag, two.handle) == ("Maker", "A2", "A2_tag", 0x12)


def test_a_slot_is_emptied_like_another_or_by_the_book() -> None:
    full = (*SMALL[:2], MemoryDevice(handle=0x12, array=0x10, size=1024, locator="A2"), *SMALL[3:])
    _, two, _ = devices(with_memory(full, 512))
    assert (two.size, two.total_width, two.memory_type, two.locator) == (0, 0xFFFF, "unknown", "A2")
    empty = with_memory(TYPES["quanta_d51"].smbios, 1024)
    assert devices(empty)[5].manufacturer == "NO DIMM"


def test_large_modules_use_the_extended_fields() -> None:
    structures = with_memory(SMALL, 16 << 20)
    one, two, _ = devices(structures)
    assert (one.size, one.extended_size, two.extended_size) == (0x7FFF, 8 << 20, 8 << 20)
    (array,) = (item for item in structures if isinstance(item, MemoryArray))
    assert (array.maximum_capacity, array.extended_capacity) == (0x80000000, 16 << 40)
    (array_map,) = (item for item in structures if isinstance(item, ArrayMap))
    assert (array_map.start, array_map.extended_end) == (0xFFFFFFFF, (16 << 40) - 1)


def test_a_short_structure_gets_room_for_a_large_module() -> None:
    short = (SMALL[0], MemoryDevice(handle=0x11, array=0x10, size=1024, length=0x1B), SMALL[4])
    (device,) = devices(with_memory(short, 64 << 10))
    assert device.size_mib == 64 << 10
    assert device.encode()[1] == 0x28


def test_the_gap_below_four_gib_stays_where_the_server_shows_it() -> None:
    dell = TYPES["dell_r730"].smbios
    assert len(of(ArrayMap, with_memory(dell, 2816))) == 1
    low, high = (item for item in with_memory(dell, 8192) if isinstance(item, ArrayMap))
    assert bounds(low) == (0, (2 << 20) - 1)
    assert bounds(high) == (4 << 20, (10 << 20) - 1)


def test_maps_come_and_go_with_modules() -> None:
    tp = TYPES["s2600tp"].smbios
    assert len(of(DeviceMap, with_memory(tp, 16384))) == 1
    assert len(of(DeviceMap, with_memory(tp, 16384 * 16))) == 16
    kp = TYPES["s2600kp"].smbios
    assert len(of(ArrayMap, with_memory(kp, 1024))) == 1


def test_modules_by_name() -> None:
    structures = with_memory(
        SMALL, 768, (Dimm("A2", 512, manufacturer="Own", serial_number="S"), Dimm("A1", 256))
    )
    one, two, _ = devices(structures)
    assert (one.size, two.size, two.manufacturer, two.serial_number) == (256, 512, "Own", "S")


@pytest.mark.parametrize(
    ("memory_mib", "dimms", "wanted"),
    [
        (0, (), "memory of 0 MiB: wanted at least 1"),
        (1, (Dimm("Z9", 1),), "no memory slot 'Z9'"),
        (2, (Dimm("A1", 1), Dimm("A1", 1)), "memory slot 'A1' is given two modules"),
        (3, (Dimm("A1", 1), Dimm("A2", 1)), "memory modules of 2 MiB together; the node has 3 MiB"),
    ],
)
def test_memory_that_cannot_be(memory_mib: int, dimms: tuple[Dimm, ...], wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        with_memory(SMALL, memory_mib, dimms)


def test_which_module_cannot_be_and_which_slots_there_are() -> None:
    with pytest.raises(IdentityError) as caught:
        with_memory(SMALL, 2, (Dimm("A1", 1), Dimm("Z9", 1)))
    assert caught.value.part == Dimm("Z9", 1)
    assert caught.value.hint == "it has: A1, A2"


def test_a_table_without_memory_is_left_alone() -> None:
    table = (System(handle=1),)
    assert with_memory(table, 1024) == table
    with pytest.raises(IdentityError, match=r"^this server has no memory slots$"):
        with_memory(table, 1024, (Dimm("A1", 1024),))
