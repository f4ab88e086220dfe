"""What a server is made of, as its management controller tells it: kept as ``data/hardware.json``.

``plan.hardware`` draws it; ``infrasim node info`` and racadm show it.
"""

from __future__ import annotations

import json

from infrasim.frozen import Frozen
from infrasim.jsonform import as_json


class Module(Frozen):
    """A memory module; ``speed`` in MT/s, 0 if not known."""

    locator: str
    size_mib: int
    memory_type: str
    speed: int
    manufacturer: str
    part_number: str
    serial_number: str


class Drive(Frozen):
    """A drive in its place; ``size_gib`` is None for an image that infrasim did not make.

    ``place`` is the rest of its bus behind the controller, with target and unit where the bus has them.
    ``vendor``, ``product`` and ``revision`` are what the node file gives it, ``rotation_rate`` is in rpm (1
    for none, a solid-state disk), 0 if not known.
    """

    place: str
    kind: str
    model: str
    serial_number: str
    size_gib: int | None
    image: str
    vendor: str = ""
    product: str = ""
    revision: str = ""
    rotation_rate: int = 0
    wwn: str = ""


class Controller(Frozen):
    """A disk controller with its drives; ``device`` is QEMU's name of it."""

    name: str
    device: str
    drives: tuple[Drive, ...]


class Card(Frozen):
    """A network card and where it leads; ``place`` is its bus and slot where the node file chooses them."""

    name: str
    device: str
    mac: str
    leads_to: str
    place: str = ""


class HostDevice(Frozen):
    """A device of this machine that the server has; ``kind`` and ``ids`` are empty if it is not there."""

    name: str
    device: str
    host: str
    kind: str
    ids: str


class Hardware(Frozen):
    """Everything of a server that has a name. ``processors`` are the models, one for each socket.

    ``bios`` is the vendor's, as SMBIOS tells it; ``boots_by`` is how the host really starts. ``tpm`` is the
    version of the specification that a TPM follows; empty without one.
    """

    manufacturer: str
    product: str
    serial_number: str
    asset_tag: str
    uuid: str
    bios: str
    bmc_firmware: str
    bmc_mac: str
    bmc_user: str
    processors: tuple[str, ...]
    logical_processors: int
    memory_mib: int
    modules: tuple[Module, ...]
    controllers: tuple[Controller, ...]
    cards: tuple[Card, ...]
    host_devices: tuple[HostDevice, ...] = ()
    boots_by: str = ""
    tpm: str = ""

    def text(self) -> str:
        """The whole as the JSON of ``data/hardware.json``."""
        return json.dumps(as_json(self), indent=1)
