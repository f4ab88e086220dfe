"""Where every drive of a node file goes: controllers, ports, images."""

from __future__ import annotations

from pathlib import Path

from infrasim.paths import NodePaths
from infrasim.plan.model import DiskSpec, InputSpec
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import storage
from infrasim.qemu.boot import BootClass
from infrasim.qemu.element import Device
from infrasim.spec.node import Compute


def storage_part(compute: Compute, paths: NodePaths) -> HostPart:
    """The CD-ROM on the first port, disks behind it, further controllers as they fill up."""
    controllers: dict[str, Device] = {}
    drives: list[Device | Words] = []
    disks: list[DiskSpec] = []
    port = 0
    if compute.cdrom is not None:
        controllers["sata0"] = Device("ich9-ahci", "sata0", "compute.cdrom")
        drives += _cdrom(Path(compute.cdrom.file))
        port = 1
    number = 0
    for backend_number, backend in enumerate(compute.storage_backend):
        key = f"compute.storage_backend[{backend_number}]"
        most = min(backend.max_drive_per_controller, storage.AHCI_PORTS)
        for slot, drive in enumerate(backend.drives):
            if port >= most:
                number, port = number + 1, 0
            controllers.setdefault(f"sata{number}", Device("ich9-ahci", f"sata{number}", key))
            # By its place in the node file: a CD-ROM that comes or goes moves ports, never disks.
            name = f"disk-sata-{backend_number}-{slot}"
            given = Path(drive.file) if drive.file else None
            path = given or paths.disks / f"{name}.{drive.format}"
            drive_key = f"{key}.drives[{slot}]"
            disks.append(
                DiskSpec(path, drive.format, drive.size, create=given is None, key=f"{drive_key}.file")
            )
            image = f"{name}-image"
            properties = {
                "bus": f"sata{number}.{port}",
                "drive": image,
                "serial": drive.serial,
                "model": drive.model,
                "wwn": None if drive.wwn is None else f"{drive.wwn:#x}",
                "ver": drive.version,
                "rotation_rate": drive.rotation_rate,
            }
            drives.append(storage.disk_image(image, path, drive.format, cache=drive.cache))
            drives.append(
                Device(
                    "ide-hd",
                    f"sata{number}-{port}",
                    drive_key,
                    properties,
                    BootClass.DISK,
                    drive.bootindex,
                )
            )
            port += 1
        number, port = number + 1, 0
    inputs = (InputSpec(Path(compute.cdrom.file), "compute.cdrom"),) if compute.cdrom else ()
    return HostPart((*controllers.values(), *drives), disks=tuple(disks), inputs=inputs)


def _cdrom(image: Path) -> tuple[Words, Device]:
    node = "cdrom0-image"
    properties = {"bus": "sata0.0", "drive": node}
    return (
        storage.disk_image(node, image, "raw", read_only=True),
        Device("ide-cd", "cdrom0", "compute.cdrom", properties, BootClass.CDROM),
    )
