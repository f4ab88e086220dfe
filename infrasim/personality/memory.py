"""SMBIOS memory structures for the memory a node really has: types 16, 17, 19 and 20.

Vendor, locators and speeds stay those of the server type; which slots hold modules and how large these are
follows from the node's memory, and all sizes add up to it. Source: DSP0134 sections 7.17, 7.18, 7.20, 7.21.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeVar

from infrasim.personality.identity import Dimm, IdentityError
from infrasim.personality.layout import DataError
from infrasim.personality.smbios import ArrayMap, DeviceMap, MemoryArray, MemoryDevice, Structure, with_texts

M = TypeVar("M", ArrayMap, DeviceMap)

_SYSTEM_MEMORY = "system"
_USUAL_MODULE_MIB = 8192
_EXTENDED_SIZE = 0x7FFF
_EXTENDED_CAPACITY = 0x80000000
_EXTENDED_ADDRESS = 0xFFFFFFFF
_SIZE_END, _ARRAY_MAP_END, _DEVICE_MAP_END = 0x20, 0x1F, 0x23
# Where QEMU's q35 puts memory: all below 4 GiB up to 2.75 GiB, else 2 GiB there. Source: measured, QEMU 7.2.
_LOW_LIMIT_MIB, _LOW_MIB, _HIGH_START_MIB = 2816, 2048, 4096


def with_memory(
    structures: Sequence[Structure], memory_mib: int, dimms: Sequence[Dimm] = ()
) -> tuple[Structure, ...]:
    """``structures`` with those about memory describing ``memory_mib`` MiB.

    A table without memory arrays or modules is left alone: QEMU then adds its own. ``dimms``, if there are
    any, say which slots hold modules.

    Raises:
        DataError: if ``memory_mib`` is not positive, or ``dimms`` do not add up to it.
        IdentityError: if one of ``dimms`` is in a slot that is not there or taken.
    """
    if memory_mib <= 0:
        raise DataError(f"memory of {memory_mib} MiB: wanted at least 1")
    arrays = [item for item in structures if isinstance(item, MemoryArray) and item.use == _SYSTEM_MEMORY]
    handles = {array.handle for array in arrays}
    devices = [item for item in structures if isinstance(item, MemoryDevice) and item.array in handles]
    if not devices and dimms:
        raise IdentityError(dimms[0], "this server has no memory slots")
    if not devices:
        return tuple(structures)
    modules = _named_modules(devices, memory_mib, dimms) if dimms else _modules(devices, memory_mib)
    filled = {device.handle: _filled(device, modules.get(device.handle, 0), devices) for device in devices}
    filled |= _named(filled, dimms)
    used = {
        array.handle: sum(modules.get(d.handle, 0) for d in devices if d.array == array.handle)
        for array in arrays
    }
    free = _free_handles(structures)
    maps = _array_maps(structures, used, free)
    device_maps = _device_maps(structures, devices, modules, maps, free)
    roomy = [_with_capacity(array, used[array.handle]) for array in arrays]
    changed = {_key(item): item for item in (*filled.values(), *roomy, *maps, *device_maps)}
    return tuple(_placed(structures, changed, dropped=handles | set(filled)))


def _key(item: Structure) -> tuple[int, int]:
    return item.type_number, item.handle


def _placed(
    structures: Sequence[Structure], changed: dict[tuple[int, int], Structure], *, dropped: set[int]
) -> Iterator[Structure]:
    """``structures`` with ``changed`` in their places, and new ones behind the last of their kind.

    Maps of the arrays and modules in ``dropped`` that are not in ``changed`` go.
    """
    known = {_key(item) for item in structures}
    last = {type(item): number for number, item in enumerate(structures)}
    for number, item in enumerate(structures):
        mapped = (
            item.array if isinstance(item, ArrayMap) else item.device if isinstance(item, DeviceMap) else None
        )
        if _key(item) in changed:
            yield changed[_key(item)]
        elif mapped not in dropped:
            yield item
        if last[type(item)] == number:
            yield from (
                new for key, new in changed.items() if key not in known and key[0] == item.type_number
            )


def _named_modules(devices: Sequence[MemoryDevice], memory_mib: int, dimms: Sequence[Dimm]) -> dict[int, int]:
    """Size in MiB of the module in each slot that ``dimms`` names."""
    slots = {str(device.locator): device.handle for device in devices}
    modules: dict[int, int] = {}
    for dimm in dimms:
        if dimm.locator not in slots:
            hint = f"it has: {', '.join(slots)}"
            raise IdentityError(dimm, f"this server has no memory slot {dimm.locator!r}", hint=hint)
        if slots[dimm.locator] in modules:
            raise IdentityError(dimm, f"memory slot {dimm.locator!r} is given two modules")
        modules[slots[dimm.locator]] = dimm.size_mib
    if sum(modules.values()) != memory_mib:
        raise DataError(
            f"memory modules of {sum(modules.values())} MiB together; the node has {memory_mib} MiB"
        )
    return modules


def _named(filled: dict[int, MemoryDevice], dimms: Sequence[Dimm]) -> dict[int, MemoryDevice]:
    """The slots that ``dimms`` names, with the texts it gives."""
    slots = {str(device.locator): device for device in filled.values()}
    changed = {}
    for dimm in dimms:
        device = slots[dimm.locator]
        texts = {
            name: getattr(dimm, name)
            for name in ("manufacturer", "serial_number", "asset_tag", "part_number")
        }
        changed[device.handle] = with_texts(device, **texts)
    return changed


def _modules(devices: Sequence[MemoryDevice], memory_mib: int) -> dict[int, int]:
    """Size in MiB of the module in each slot that has one; slots that had one are filled first.

    Modules are as large as those of the server, or larger by powers of two if there are too few slots; the
    last one takes the rest.
    """
    slots = sorted(devices, key=lambda device: device.size_mib == 0)
    size = max((device.size_mib for device in devices), default=0) or _USUAL_MODULE_MIB
    while -(-memory_mib // size) > len(slots):
        size *= 2
    sizes = [size] * (memory_mib // size)
    if memory_mib % size:
        sizes.append(memory_mib % size)
    return {slot.handle: module for slot, module in zip(slots, sizes, strict=False)}


def _filled(slot: MemoryDevice, size_mib: int, devices: Sequence[MemoryDevice]) -> MemoryDevice:
    """``slot`` with a module of ``size_mib``, or empty for 0."""
    if bool(slot.size_mib) != bool(size_mib):
        pattern = next((device for device in devices if bool(device.size_mib) == bool(size_mib)), None)
        slot = _like(slot, pattern) if pattern else _emptied(slot)
    if not size_mib:
        return slot
    size, extended = (size_mib, 0) if size_mib < _EXTENDED_SIZE else (_EXTENDED_SIZE, size_mib)
    changed = dataclasses.replace(slot, size=size, extended_size=extended)
    if slot.volatile_size:
        changed = dataclasses.replace(changed, volatile_size=size_mib << 20)
    return _long_enough(changed, _SIZE_END) if extended else changed


_OF_SLOT = ("handle", "array", "error_handle", "form_factor", "device_set", "locator", "bank_locator")


def _like(slot: MemoryDevice, pattern: MemoryDevice) -> MemoryDevice:
    """The slot ``slot`` filled or empty as ``pattern`` is; its texts name this slot."""
    own = {name: getattr(slot, name) for name in _OF_SLOT}
    if pattern.size_mib and pattern.form_factor:
        own["form_factor"] = pattern.form_factor
    old, new = str(pattern.locator), str(slot.locator)
    for name in ("asset_tag", "serial_number"):
        text = getattr(pattern, name)
        own[name] = text.replace(old, new) if old and isinstance(text, str) else text
    strings = tuple(new if text == old else text for text in pattern.strings)
    return dataclasses.replace(pattern, **own, strings=strings)


def _emptied(slot: MemoryDevice) -> MemoryDevice:
    """``slot`` without its module; unknown widths are 0xffff."""
    return MemoryDevice(
        **{name: getattr(slot, name) for name in _OF_SLOT},
        total_width=0xFFFF,
        data_width=0xFFFF,
        memory_type="unknown",
        length=slot.length,
    )


def _long_enough(structure: MemoryDevice, end: int) -> MemoryDevice:
    """``structure`` with its usual length if the one it has ends before ``end``."""
    return dataclasses.replace(structure, length=0) if 0 < structure.length < end else structure


def _with_capacity(array: MemoryArray, used_mib: int) -> MemoryArray:
    """``array`` with its capacity raised to what it holds, if need be."""
    known = (
        array.extended_capacity // 1024
        if array.maximum_capacity == _EXTENDED_CAPACITY
        else array.maximum_capacity
    )
    wanted = used_mib * 1024
    if wanted <= known:
        return array
    if wanted < _EXTENDED_CAPACITY:
        return dataclasses.replace(array, maximum_capacity=wanted)
    return dataclasses.replace(
        array, maximum_capacity=_EXTENDED_CAPACITY, extended_capacity=wanted * 1024, length=0
    )


def _free_handles(structures: Sequence[Structure]) -> Iterator[int]:
    taken = {item.handle for item in structures}
    return (handle for handle in range(0x2000, 0xFF00) if handle not in taken)


def _array_maps(structures: Sequence[Structure], used: dict[int, int], free: Iterator[int]) -> list[ArrayMap]:
    """One map for each array that holds memory, one address range after the other.

    A server that shows the gap below 4 GiB by two maps of its first array keeps doing so.
    """
    captured = [item for item in structures if isinstance(item, ArrayMap) and item.array in used]
    if not captured:
        return []
    maps: list[ArrayMap] = []
    start = 0
    for array, size in used.items():
        if not size:
            continue
        own = [item for item in captured if item.array == array]
        split = not maps and len(own) > 1 and size > _LOW_LIMIT_MIB
        ranges = [(0, _LOW_MIB), (_HIGH_START_MIB, size - _LOW_MIB)] if split else [(start, size)]
        for number, (first, length) in enumerate(ranges):
            pattern = (
                own[number]
                if number < len(own)
                else dataclasses.replace(captured[0], handle=next(free), array=array)
            )
            maps.append(_with_range(pattern, first, length, _ARRAY_MAP_END))
            start = first + length
    return maps


def _device_maps(
    structures: Sequence[Structure],
    devices: Sequence[MemoryDevice],
    modules: dict[int, int],
    maps: Sequence[ArrayMap],
    free: Iterator[int],
) -> list[DeviceMap]:
    """One map for each module, if the server has such maps at all."""
    captured = {item.device: item for item in structures if isinstance(item, DeviceMap)}
    handles = {device.handle for device in devices}
    pattern = next((item for device, item in captured.items() if device in handles), None)
    if pattern is None or not maps:
        return []
    result = []
    start = 0
    for array_map in maps:
        for device in devices:
            if device.array != array_map.array or not modules.get(device.handle):
                continue
            own = captured.get(device.handle) or dataclasses.replace(
                pattern, handle=next(free), device=device.handle
            )
            own = dataclasses.replace(own, array_map_handle=array_map.handle)
            result.append(_with_range(own, start, modules[device.handle], _DEVICE_MAP_END))
            start += modules[device.handle]
    return result


def _with_range(item: M, start_mib: int, size_mib: int, end: int) -> M:
    """``item`` for a range of addresses; in the extended fields when it does not fit in 32 bits of KiB."""
    start, last = start_mib * 1024, (start_mib + size_mib) * 1024 - 1
    if last < _EXTENDED_ADDRESS:
        return dataclasses.replace(item, start=start, end=last, extended_start=0, extended_end=0)
    return dataclasses.replace(
        item,
        start=_EXTENDED_ADDRESS,
        end=_EXTENDED_ADDRESS,
        extended_start=start_mib << 20,
        extended_end=(start_mib + size_mib << 20) - 1,
        length=0 if 0 < item.length < end else item.length,
    )
