"""``storage get`` (and ``raid get``, as it was called before): controllers and disks of the server."""

from __future__ import annotations

from infrasim.racadm.layout import Pairs, detailed, gigabytes
from infrasim.racadm.parts import Disk, adapters, disks
from infrasim.racadm.ports import CommandError, Server


def storage(server: Server, what: str, options: list[str]) -> str:
    """Names, or with ``-o`` properties as well; ``-p`` says which.

    Raises:
        CommandError: for what there is not.
    """
    match what.lower():
        case "pdisks":
            found = {disk.fqdd: pdisk_pairs(disk, server) for disk in disks(server.hardware)}
        case "controllers":
            found = {
                each.fqdd: _controller(each.fqdd, each.kind.product) for each in adapters(server.hardware)
            }
        case "vdisks":
            return "No virtual disks are displayed."
        case _:
            raise CommandError(f"Invalid storage object specified: {what}")
    if not options:
        return "\n".join(found)
    wanted = _wanted(options)
    return "\n".join(
        detailed(name, [(key, value) for key, value in pairs if not wanted or key.lower() in wanted])
        for name, pairs in found.items()
    )


def _controller(fqdd: str, product: str) -> Pairs:
    return (("Status", "Ok"), ("DeviceDescription", fqdd), ("RollupStatus", "Ok"), ("Name", product))


def _wanted(options: list[str]) -> frozenset[str]:
    """The names behind ``-p``, in small letters; none for all."""
    match options:
        case ["-o"]:
            return frozenset()
        case ["-o", "-p", *names] if names:
            return frozenset(name.strip().lower() for name in ",".join(names).split(",") if name.strip())
        case _:
            raise CommandError('Invalid command syntax. Run "help storage" for usage.')


def pdisk_pairs(disk: Disk, server: Server) -> Pairs:
    """The properties of a disk, as ``storage get pdisks -o`` has them."""
    drive, kind = disk.drive, disk.owner.kind
    name = "Solid State Disk" if disk.media == "SSD" else "Physical Disk"
    rotation = "" if disk.media == "SSD" or not drive.rotation_rate else drive.rotation_rate
    return (
        ("Status", "Ok"),
        ("DeviceDescription", f"Disk {disk.bay} of {disk.owner.fqdd}"),
        ("RollupStatus", "Ok"),
        ("Name", f"{name} 0:1:{disk.bay}"),
        ("State", "Non-Raid"),
        ("Size", gigabytes(server.size_bytes(drive))),
        ("FailurePredicted", "NO"),
        ("SecurityStatus", "Not Capable"),
        ("BusProtocol", kind.protocol),
        ("MediaType", disk.media),
        ("Hotspare", "NO"),
        ("Manufacturer", disk.maker),
        ("ProductId", disk.model),
        ("Revision", drive.revision),
        ("SerialNumber", drive.serial_number),
        ("SasAddress", drive.wwn.upper().replace("0X", "0x")),
        ("RaidNominalMediumRotationRate", rotation),
    )
