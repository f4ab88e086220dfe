"""What a node is made of, in the words of a management controller's front page.

Drawn from the same values that QEMU and ipmi_sim are given, so it says what the host will see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from infrasim.bmc.hardware import Card, Controller, Drive, Hardware, HostDevice, Module
from infrasim.host.facts import HostFacts
from infrasim.personality.compiler import CompiledPersonality
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.model import Personality
from infrasim.personality.smbios import Bios, MemoryDevice, Processor, Structure
from infrasim.plan import addresses
from infrasim.plan.identity import system_serial_number
from infrasim.plan.part import HostPart
from infrasim.plan.processors import processors
from infrasim.plan.storage import SEED_KEY
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device, Value
from infrasim.spec.document import undotted
from infrasim.spec.network import DEFAULT_BRIDGE
from infrasim.spec.node import Compute, NodeSpec

_STORAGE_KEYS = ("compute.storage_backend", "compute.cdrom", SEED_KEY)
_NETWORK_KEY = "compute.networks"
_PASSTHROUGH_KEY = "compute.pcie-passthrough"
# Source: PCI Code and ID Assignment Specification, section 1: base classes.
_KINDS = {
    0x01: "storage",
    0x02: "network",
    0x03: "display",
    0x04: "multimedia",
    0x05: "memory",
    0x07: "communication",
    0x08: "system",
    0x09: "input",
    0x0B: "processor",
    0x0C: "serial bus",
    0x0D: "wireless",
    0x10: "encryption",
    0x11: "signal processing",
    0x12: "accelerator",
}
# A size that does not fit two bytes has four further back. Source: DSP0134 section 7.18.4.
_EXTENDED = 0x7FFF
_UNKNOWN = 0xFFFF
_IN_KIB = 0x8000

S = TypeVar("S", bound=Structure)


def hardware(
    spec: NodeSpec,
    personality: Personality,
    compiled: CompiledPersonality,
    identity: NodeIdentity,
    parts: Iterable[HostPart],
    facts: HostFacts,
) -> Hardware:
    """What the node is made of."""
    listed = tuple(parts)
    devices = [device for part in listed for device in part.devices]
    made = {disk.key: disk.size_gib if disk.create else None for part in listed for disk in part.disks}
    images = {given.key: str(given.path) for part in listed for given in part.inputs}
    images.update((disk.key, str(disk.path)) for part in listed for disk in part.disks)
    images.update((SEED_KEY, str(seed.path)) for part in listed for seed in part.files)
    links = {link.key: link.name for part in listed for link in part.links}
    bmc = personality.bmc
    structures = compiled.structures
    bios = next((f"{each.vendor} {each.version}" for each in _of(structures, Bios)), "")
    return Hardware(
        manufacturer=personality.manufacturer,
        product=personality.product_name,
        serial_number=system_serial_number(identity),
        asset_tag=identity.asset_tag or "",
        uuid=str(identity.uuid),
        bios=bios,
        # The minor one is in BCD. Source: IPMI 2.0 section 20.1.
        bmc_firmware=f"{bmc.firmware_major}.{bmc.firmware_minor:02x}",
        bmc_mac=addresses.mac(identity.uuid, "bmc"),
        bmc_user=spec.bmc.username,
        processors=tuple(str(each.version).strip() for each in _of(structures, Processor)),
        logical_processors=processors(spec.compute.cpu, personality).total,
        memory_mib=spec.compute.memory.size,
        modules=tuple(_module(each) for each in _of(structures, MemoryDevice) if _size_mib(each)),
        controllers=_controllers(
            [each for each in devices if each.key.startswith(_STORAGE_KEYS)], images, made
        ),
        cards=tuple(
            Card(
                each.id,
                each.driver,
                str(each.properties.get("mac", "")),
                _leads_to(spec, each, links),
                ":".join(str(each.properties[step]) for step in ("bus", "addr") if each.properties.get(step)),
            )
            for each in devices
            if each.boot_class is BootClass.NETWORK and each.key.startswith(_NETWORK_KEY)
        ),
        host_devices=tuple(
            _host_device(each, facts) for each in devices if each.key.startswith(_PASSTHROUGH_KEY)
        ),
        boots_by=_boots_by(spec.compute),
        tpm=str(spec.compute.tpm or ""),
    )


def _boots_by(compute: Compute) -> str:
    if compute.bios:
        return f"BIOS, {compute.bios}"
    if compute.firmware != "uefi":
        return "BIOS"
    return "UEFI, secure boot" if compute.secure_boot else "UEFI"


def _of(structures: Iterable[Structure], kind: type[S]) -> list[S]:
    return [each for each in structures if isinstance(each, kind)]


def _module(device: MemoryDevice) -> Module:
    texts = (device.manufacturer, device.part_number, device.serial_number)
    manufacturer, part_number, serial_number = (str(text or "").strip() for text in texts)
    return Module(
        locator=str(device.locator).strip(),
        size_mib=_size_mib(device),
        memory_type=str(device.memory_type),
        speed=device.speed,
        manufacturer=manufacturer,
        part_number=part_number,
        serial_number=serial_number,
    )


def _size_mib(device: MemoryDevice) -> int:
    """The size of a module; 0 for an empty slot."""
    if device.size == _UNKNOWN:
        return 0
    if device.size == _EXTENDED:
        return device.extended_size
    return (device.size & ~_IN_KIB) // 1024 if device.size & _IN_KIB else device.size


def _controllers(
    devices: list[Device], images: dict[str, str], made: dict[str, int | None]
) -> tuple[Controller, ...]:
    """Controllers in their order; what is plugged in by itself, such as an NVMe drive, is its own.

    ``images`` are paths by keys of the node file, ``made`` the sizes in GiB of those that infrasim makes.
    """
    found: dict[str, tuple[str, list[Drive]]] = {}
    # Of an NVMe controller, whose drives are namespaces without one of their own.
    serials: dict[str, Value] = {}
    for device in devices:
        if "drive" not in device.properties:
            found[device.id] = (device.driver, [])
            serials[device.id] = device.properties.get("serial", "")
            continue
        controller, _, place = str(device.properties.get("bus", "")).partition(".")
        if controller not in found:
            controller, place = device.id, ""
            found[controller] = (device.driver, [])
        key = device.key if device.key in images else f"{device.key}.file"
        found[controller][1].append(
            _drive(device, place, images.get(key, ""), made.get(key), serials.get(controller))
        )
    return tuple(Controller(name, driver, tuple(drives)) for name, (driver, drives) in found.items())


def _drive(
    device: Device, place: str, image: str, size_gib: int | None, serial_number: Value | None
) -> Drive:
    given = device.properties
    target = f"ns{given['nsid']}" if "nsid" in given else given.get("scsi-id")
    steps = (place, given.get("channel"), target, given.get("lun"))
    words = (given.get("vendor"), given.get("product") or given.get("model"))
    return Drive(
        place=":".join(str(step) for step in steps if step not in (None, "")),
        kind=_kind(device).value,
        model=" ".join(str(word) for word in words if word),
        serial_number=str(given.get("serial") or serial_number or ""),
        size_gib=size_gib,
        image=image,
        vendor=str(given.get("vendor") or ""),
        product=str(given.get("product") or given.get("model") or ""),
        revision=str(given.get("ver") or ""),
        rotation_rate=int(str(given.get("rotation_rate") or 0)),
        wwn=str(given.get("wwn") or ""),
    )


def _kind(device: Device) -> BootClass:
    """What a drive is; nothing boots from the CD-ROM with the seed."""
    return device.boot_class or (BootClass.CDROM if device.key == SEED_KEY else BootClass.DISK)


def _host_device(device: Device, facts: HostFacts) -> HostDevice:
    address = str(device.properties["host"])
    found = facts.ask_pci(address) if facts.ask_pci else None
    kind = _KINDS.get(found.base_class, "other") if found else ""
    return HostDevice(
        device.id, device.driver, address, kind, f"{found.vendor:04x}:{found.device:04x}" if found else ""
    )


def _leads_to(spec: NodeSpec, device: Device, links: Mapping[str, str]) -> str:
    """``links`` are the devices of this machine by the key that asks for them."""
    number = undotted(device.key)[-1]
    assert isinstance(number, int)
    card = spec.compute.networks[number]
    rules = [f"{rule.protocol} {rule.outside} to {rule.inside}" for rule in card.port_forward]
    name = card.network_name or card.multicast or (DEFAULT_BRIDGE if card.network_mode == "bridge" else None)
    if card.network_mode == "tap":
        name = links[f"{device.key}.network_name"]
    return ", ".join([" ".join(filter(None, (card.network_mode, name))), *rules])
