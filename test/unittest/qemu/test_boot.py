"""The order of boot, with and without an override."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.qemu.boot import FIRST_INDEX, BootClass, BootDevice, BootSelector, number_devices, order_with

NETWORK, DISK, CDROM = BootClass.NETWORK, BootClass.DISK, BootClass.CDROM
MACHINE = [
    ("nic0", NETWORK, None),
    ("nic1", NETWORK, None),
    ("cd", CDROM, None),
    ("d0", DISK, None),
    ("d1", DISK, None),
]


def order(devices: tuple[BootDevice, ...]) -> list[str]:
    return [device.device_id for device in sorted(devices, key=lambda device: device.index)]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("ncd", ["nic0", "nic1", "d0", "d1", "cd"]),
        ("cd", ["d0", "d1", "cd", "nic0", "nic1"]),
        ("d", ["cd", "nic0", "nic1", "d0", "d1"]),
        ("", ["nic0", "nic1", "d0", "d1", "cd"]),
    ],
)
def test_letters_rank_classes_and_those_left_out_follow(letters: str, expected: list[str]) -> None:
    assert order(number_devices(MACHINE, letters)) == expected


def test_devices_come_back_in_the_machines_order_numbered_from_one() -> None:
    assert number_devices(MACHINE, "cdn") == (
        BootDevice("nic0", NETWORK, 4),
        BootDevice("nic1", NETWORK, 5),
        BootDevice("cd", CDROM, 3),
        BootDevice("d0", DISK, 1),
        BootDevice("d1", DISK, 2),
    )


def test_index_of_the_node_file_is_kept_and_given_to_no_other() -> None:
    devices = [("nic0", NETWORK, None), ("d0", DISK, None), ("d1", DISK, 1), ("d2", DISK, 0)]
    assert [(device.device_id, device.index) for device in number_devices(devices, "ncd")] == [
        ("nic0", 2),
        ("d0", 3),
        ("d1", 1),
        ("d2", 0),
    ]


def test_what_has_an_index_of_the_node_file_goes_before_what_has_none() -> None:
    devices = [("nic0", NETWORK, None), ("d0", DISK, 7), ("d1", DISK, 3)]
    assert [each.index for each in number_devices(devices, "ncd")] == [8, 7, 3]


def test_no_devices() -> None:
    assert number_devices([], "ncd") == ()
    assert order_with((), BootSelector.PXE) == ()


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, ["nic0", "nic1", "d0", "d1", "cd"]),
        (BootSelector.PXE, ["nic0", "nic1", "d0", "d1", "cd"]),
        (BootSelector.DISK, ["d0", "d1", "nic0", "nic1", "cd"]),
        (BootSelector.CDROM, ["cd", "nic0", "nic1", "d0", "d1"]),
        (BootSelector.BIOS, ["nic0", "nic1", "d0", "d1", "cd"]),
    ],
)
def test_override_puts_its_class_first(selector: BootSelector | None, expected: list[str]) -> None:
    ordered = order_with(number_devices(MACHINE, "ncd"), selector)
    assert [name for name, _ in ordered] == expected
    assert [index for _, index in ordered] == [1, 2, 3, 4, 5]


def test_override_hands_round_the_indexes_of_the_node_file() -> None:
    devices = number_devices([("nic0", NETWORK, None), ("d0", DISK, 0), ("d1", DISK, 7)], "ncd")
    assert order_with(devices, None) == (("d0", 0), ("d1", 7), ("nic0", 8))
    assert order_with(devices, BootSelector.PXE) == (("nic0", 0), ("d0", 7), ("d1", 8))


def test_override_for_what_the_machine_does_not_have_changes_nothing() -> None:
    devices = number_devices([("nic0", NETWORK, None), ("d0", DISK, None)], "ncd")
    assert order_with(devices, BootSelector.CDROM) == order_with(devices, None)


@given(
    st.lists(st.tuples(st.sampled_from(BootClass), st.booleans()), max_size=8),
    st.permutations(range(12)),
    st.sampled_from(["", "n", "c", "d", "dcn", "cn"]),
    st.sampled_from([None, *BootSelector]),
)
def test_any_machine(
    kinds: list[tuple[BootClass, bool]],
    indexes: list[int],
    letters: str,
    selector: BootSelector | None,
) -> None:
    listed = [
        (f"dev{number}", kind, indexes[number] if explicit else None)
        for number, (kind, explicit) in enumerate(kinds)
    ]
    devices = number_devices(listed, letters)
    assert [(device.device_id, device.boot_class) for device in devices] == [entry[:2] for entry in listed]
    assert len({device.index for device in devices}) == len(devices)
    for device, (_, _, wanted) in zip(devices, listed, strict=True):
        asked = [index for _, _, index in listed if index is not None]
        assert device.index == wanted or (wanted is None and device.index > max([FIRST_INDEX - 1, *asked]))
    ordered = order_with(devices, selector)
    assert sorted(ordered) == sorted(
        zip([name for name, _ in ordered], sorted(device.index for device in devices), strict=True)
    )
    assert {name for name, _ in ordered} == {device.device_id for device in devices}
    wanted_class = selector.boot_class if selector else None
    first = [
        next(d.boot_class for d in devices if d.device_id == name) is wanted_class for name, _ in ordered
    ]
    assert wanted_class is None or first == sorted(first, reverse=True)
