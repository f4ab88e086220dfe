"""``hwinventory``: every component of the server with what is known of it."""

from __future__ import annotations

from collections.abc import Iterator

from infrasim.personality.smbios import MemoryDevice, Processor
from infrasim.racadm import controller, system
from infrasim.racadm.layout import instance
from infrasim.racadm.parts import (
    Disk,
    Port,
    adapters,
    disks,
    has_threads,
    modules,
    of_kind,
    ports,
    processors,
    text,
)
from infrasim.racadm.ports import Bmc, CommandError, Server

_HEAD = "-" * 31 + "HARDWARE INVENTORY" + "-" * 31
# Source: DCIM profiles, PowerState of DCIM_SystemView.
_POWER_ON, _POWER_OFF = 2, 13


def inventory(server: Server, bmc: Bmc) -> str:
    """Everything."""
    return "\n\n".join([_HEAD, *_instances(server, bmc)])


def cards(server: Server) -> str:
    """``hwinventory nic``: the network ports, one per line."""
    return "\n\n".join(
        f"{port.fqdd}:{port.product} - {port.card.mac.upper()}" for port in ports(server.hardware)
    )


def card(server: Server, fqdd: str) -> str:
    """``hwinventory nic.Integrated.1-N-1``: one port.

    Raises:
        CommandError: there is none of that name.
    """
    port = next((each for each in ports(server.hardware) if each.fqdd.lower() == fqdd.lower()), None)
    if port is None:
        raise CommandError(f"Invalid FQDD specified: {fqdd}")
    mac = port.card.mac.upper()
    pairs = (
        ("Device Description", _description(port)),
        ("FQDD", port.fqdd),
        ("PCI Vendor ID", _hex(port.vendor_id)),
        ("PCI Device ID", _hex(port.device_id)),
        ("Product Name", f"{port.product} - {mac}"),
        ("Current MAC Address", mac),
        ("Permanent MAC Address", mac),
    )
    return "\n".join(f"{key + ':':<60} {value}" for key, value in pairs if value)


def _hex(number: int) -> str:
    return f"{number:04x}" if number else ""


def _description(port: Port) -> str:
    return f"Integrated NIC 1 Port {port.number} Partition 1"


def _instances(server: Server, bmc: Bmc) -> Iterator[str]:
    yield _system(server, bmc)
    yield _controller(server, bmc)
    for number, processor in enumerate(processors(server.structures), 1):
        yield _processor(processor, number)
    yield from map(_module, modules(server.structures))
    yield from map(_card, ports(server.hardware))
    for adapter in adapters(server.hardware):
        kind = adapter.kind
        yield instance(
            adapter.fqdd,
            "Controller",
            (
                ("FQDD", adapter.fqdd),
                ("PCIVendorID", _hex(kind.vendor_id)),
                ("PCIDeviceID", _hex(kind.device_id)),
                ("ProductName", kind.product),
                ("PrimaryStatus", "OK"),
            ),
        )
    yield from (_disk(disk, server) for disk in disks(server.hardware))


def _system(server: Server, bmc: Bmc) -> str:
    hardware, structures = server.hardware, server.structures
    sockets, slots = of_kind(structures, Processor), of_kind(structures, MemoryDevice)
    return instance(
        "System.Embedded.1",
        "System",
        (
            ("AssetTag", hardware.asset_tag),
            ("BIOSReleaseDate", system.bios_date(server)),
            ("BIOSVersionString", system.bios_version(server)),
            ("ExpressServiceCode", system.express_code(hardware.serial_number)),
            ("FQDD", "System.Embedded.1"),
            ("HostName", controller.host_name(bmc)),
            ("Manufacturer", hardware.manufacturer),
            ("MaxCPUSockets", len(sockets)),
            ("MaxDIMMSlots", len(slots)),
            ("Model", hardware.product),
            ("PopulatedCPUSockets", len(processors(structures))),
            ("PopulatedDIMMSlots", len(modules(structures))),
            ("PowerState", _POWER_ON if controller.power_is_on(bmc) else _POWER_OFF),
            ("ServiceTag", hardware.serial_number),
            ("SysMemTotalSize", f"{hardware.memory_mib} MB"),
            ("UUID", hardware.uuid),
        ),
    )


def _controller(server: Server, bmc: Bmc) -> str:
    lan = controller.lan(bmc)
    return instance(
        "iDRAC.Embedded.1-1#IDRACinfo",
        "iDRACCard",
        (
            ("DNSRacName", f"idrac-{server.hardware.serial_number}"),
            ("FQDD", "iDRAC.Embedded.1-1"),
            ("FirmwareVersion", controller.firmware(bmc)),
            ("GUID", server.hardware.uuid),
            ("IPMIVersion", "2.0"),
            ("IPv4Address", lan.address),
            ("PermanentMACAddress", lan.mac),
        ),
    )


def _processor(processor: Processor, number: int) -> str:
    cores = processor.core_count
    return instance(
        f"CPU.Socket.{number}",
        "CPU",
        (
            ("CurrentClockSpeed", f"{processor.current_speed} MHz" if processor.current_speed else ""),
            ("DeviceDescription", f"CPU {number}"),
            ("FQDD", f"CPU.Socket.{number}"),
            ("Manufacturer", text(processor.manufacturer)),
            ("MaxClockSpeed", f"{processor.max_speed} MHz" if processor.max_speed else ""),
            ("Model", text(processor.version)),
            ("NumberOfEnabledCores", processor.core_enabled or cores or ""),
            ("NumberOfEnabledThreads", processor.thread_count or ""),
            ("NumberOfProcessorCores", cores or ""),
            ("HyperThreadingEnabled", "Yes" if has_threads(processor) else "No"),
            ("PrimaryStatus", "OK"),
        ),
    )


def _module(module: MemoryDevice) -> str:
    locator = text(module.locator)
    name = f"DIMM.Socket.{locator.removeprefix('DIMM').strip(' _') or locator}"
    return instance(
        name,
        "Memory",
        (
            ("BankLabel", text(module.bank_locator)),
            ("CurrentOperatingSpeed", f"{module.configured_speed} MHz" if module.configured_speed else ""),
            ("DeviceDescription", f"DIMM {name.rpartition('.')[2]}"),
            ("FQDD", name),
            ("Manufacturer", text(module.manufacturer)),
            ("MemoryType", text(module.memory_type).upper()),
            ("PartNumber", text(module.part_number)),
            ("SerialNumber", text(module.serial_number)),
            ("Size", f"{module.size_mib} MB"),
            ("Speed", f"{module.speed} MHz" if module.speed else ""),
            ("PrimaryStatus", "OK"),
        ),
    )


def _card(port: Port) -> str:
    mac = port.card.mac.upper()
    return instance(
        port.fqdd,
        "NIC",
        (
            ("CurrentMACAddress", mac),
            ("DeviceDescription", _description(port)),
            ("FQDD", port.fqdd),
            ("PCIVendorID", _hex(port.vendor_id)),
            ("PCIDeviceID", _hex(port.device_id)),
            ("PermanentMACAddress", mac),
            ("ProductName", f"{port.product} - {mac}"),
        ),
    )


def _disk(disk: Disk, server: Server) -> str:
    drive, size = disk.drive, server.size_bytes(disk.drive)
    return instance(
        disk.fqdd,
        "PhysicalDisk",
        (
            ("BusProtocol", disk.owner.kind.protocol),
            ("DeviceDescription", f"Disk {disk.bay} of {disk.owner.fqdd}"),
            ("FQDD", disk.fqdd),
            ("Manufacturer", disk.maker),
            ("MediaType", disk.media),
            ("Model", disk.model),
            ("Revision", drive.revision),
            ("SASAddress", drive.wwn.removeprefix("0x").upper()),
            ("SerialNumber", drive.serial_number),
            ("SizeInBytes", "" if size is None else f"{size} Bytes"),
            ("Slot", disk.bay),
            ("PrimaryStatus", "OK"),
        ),
    )
