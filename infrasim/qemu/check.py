"""Does the QEMU in use have what a finished command line asks of it? Pure.

``lacks`` compares devices and their properties, machine, CPU model and features, networks and objects with
what that QEMU said of itself; so a QEMU with more devices is simply accepted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from infrasim.frozen import Frozen
from infrasim.host.facts import QemuAbilities, QemuDevice


class Lack(Frozen):
    """Something this QEMU does not have; ``key`` is the place in the node file that asks for it."""

    key: str
    message: str
    hint: str


# Devices and properties that every QEMU since 6.2 has and every node may use: nobody need be asked for them.
_ORDINARY_DEVICES = {
    "VGA": frozenset[str](),
    "isa-serial": frozenset({"chardev", "index"}),
    "ipmi-bmc-extern": frozenset({"chardev"}),
    "isa-ipmi-kcs": frozenset({"bmc", "ioport", "irq"}),
    "ich9-ahci": frozenset[str](),
    "ide-hd": frozenset({"drive", "serial", "model", "wwn", "ver", "rotation_rate"}),
    "ide-cd": frozenset({"drive"}),
    "e1000": frozenset({"netdev", "mac"}),
    "e1000e": frozenset({"netdev", "mac"}),
}
_ORDINARY_MACHINE = ("q35", frozenset({"graphics", "sata", "vmport"}))
_ORDINARY_CPUS = frozenset({"host", "max"})
_ORDINARY_NETDEVS = frozenset({"user", "tap", "socket"})

# What every device can be given. Source: QEMU softmmu/qdev-monitor.c, qdev_device_add_from_qdict.
_OF_EVERY_DEVICE = frozenset({"id", "bus", "bootindex"})
# Options of -machine that are not properties of a machine. Source: QEMU softmmu/vl.c and accel/.
_OF_EVERY_MACHINE = frozenset({"accel", "kernel-irqchip", "kvm-shadow-mem", "igd-passthru"})

# What comes nearest to a device that no QEMU of a distribution has, by pattern; devices first, then advice.
_NEAREST_DEVICES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "lsisas*": (("megasas-gen2", "mptsas1068"), ""),
    "pmc*": (("megasas-gen2", "mptsas1068"), ""),
    "ses": ((), "nearest: none, no other device is an enclosure; leave it out"),
    "skx_ntb": (("ivshmem-plain",), "which shares memory between two hosts"),
    "ioat_dma": ((), "nearest: none, no other device is a DMA engine; leave it out"),
    "imc_m2mem": ((), "nearest: SMBIOS, which can describe memory modules: compute.smbios.type17"),
    "pcu_cr*": ((), "nearest: SMBIOS, which can describe processors and memory: compute.smbios"),
    "vmd": (("pcie-root-port",), "behind which NVMe drives can sit"),
    "pci-assign": (("vfio-pci",), ""),
    "sga": ((), "the firmware's screen is on the serial port anyway"),
}
# The same for properties: device pattern, property -> advice.
_NEAREST_PROPERTIES: Mapping[tuple[str, str], str] = {
    ("scsi-*", "page_file"): "nearest: vendor, product, version, serial, wwn and rotation_rate",
    ("ide-*", "page_file"): "nearest: model, version, serial, wwn and rotation_rate",
    ("scsi-*", "slot_number"): "nearest: scsi-id and lun, a disk's place on its controller",
    ("scsi-*", "atta_wwn"): "nearest: port_wwn, the disk's own port",
    ("scsi-*", "atta_phy_id"): "nearest: port_index, the disk's own port",
    ("nvme", "nlbaf"): "nearest: sector_size, which chooses the format",
    ("nvme", "lba_index"): "nearest: sector_size, which chooses the format",
    ("nvme", "oncs"): "nearest: none, the optional commands are QEMU's",
    **dict.fromkeys(
        (("nvme", name) for name in ("vid", "did", "ssvid", "ssdid")), "nearest: none, the ids are QEMU's"
    ),
    ("nvme", "model_number"): "nearest: serial",
    ("nvme", "firmware_version"): "nearest: serial",
    ("nvme", "config_file"): "nearest: serial, sector_size, namespaces and cmb_size",
    ("nvme", "pci-config"): "nearest: bus and addr",
    ("nvme", "slot_number"): "nearest: bus, behind a root port that has a slot: compute.pcie_topology",
    ("-machine", "spid"): "nearest: serial_number and asset_tag, which tell servers of a chassis apart",
}
# The same for options of the command line.
_NEAREST_OPTIONS: Mapping[str, str] = {
    "-communicate": "nearest: serial_number, asset_tag and bmc.chassis_sn tell servers of a chassis apart",
}
# Options of QEMU's own, and those that only some QEMU has.
_OPTIONS = ("-device", "-machine", "-cpu", "-netdev", "-object", *_NEAREST_OPTIONS)
_SHOWN = 3
# Buses that a machine has only by an option of its own or by another device: what to call one, the option,
# and what the names of such devices have in them.
_BUSES = {
    "usb-bus": ("a USB bus", "usb", ("xhci", "ehci", "uhci", "ohci")),
    "virtio-bus": ("a virtio bus", "", ("virtio-mmio",)),
}
# QEMU's heading for them.
_CARDS = "Network"


def is_ordinary(argv: Sequence[str]) -> bool:
    """Whether every QEMU has all that ``argv`` asks for, so that none need be asked."""
    return all(_is_ordinary(asked) for asked in _asked(argv))


def _is_ordinary(asked: _Asked) -> bool:
    match asked.flag:
        case "-device":
            known = _ORDINARY_DEVICES.get(asked.first)
            return known is not None and asked.names.keys() - _OF_EVERY_DEVICE <= known
        case "-machine":
            return asked.first == _ORDINARY_MACHINE[0] and asked.names.keys() <= _ORDINARY_MACHINE[1]
        case "-cpu":
            return asked.first in _ORDINARY_CPUS and not asked.names
        case "-netdev":
            return asked.first in _ORDINARY_NETDEVS
        case _:
            return False


def lacks(argv: Sequence[str], keys: Mapping[str, str], qemu: QemuAbilities) -> tuple[Lack, ...]:
    """Everything ``argv`` asks for that ``qemu`` does not have.

    ``keys`` leads to places in the node file: from the id of a device, network or object, from
    ``id.property`` where a property has a key of its own, and from ``-machine`` and ``-cpu``, with
    ``.property`` too.
    """
    found: list[Lack] = []
    everything = tuple(_asked(argv))
    for asked in everything:
        place = asked.names.get("id", asked.flag)
        lacking = _lacking(asked, qemu)
        for name, what, hint in lacking:
            key = keys.get(f"{place}.{name}", "") or keys.get(place, "compute")
            lack = Lack(key, f"needs {what}, which QEMU {qemu.version} ({qemu.program}) does not have", hint)
            if lack not in found:
                found.append(lack)
        if (bus := _missing_bus(asked, everything, qemu)) is not None:
            key = keys.get(f"{place}.", "") or keys.get(place, "compute")
            found.append(Lack(key, f"{asked.first} sits on {bus[0]}, and this machine has none", bus[1]))
    return tuple(found)


# --- what is asked for


class _Asked(Frozen):
    """One option: ``first`` is its first word, ``names`` are its properties."""

    flag: str
    first: str
    names: Mapping[str, str]


def _asked(argv: Sequence[str]) -> Iterator[_Asked]:
    for flag, text in itertools.pairwise(argv):
        if flag in _OPTIONS:
            first, *words = _split(text)
            pairs = (word.partition("=") for word in words)
            yield _Asked(flag, first, {name: value for name, _, value in pairs})


def _split(text: str) -> list[str]:
    """The words between single commas; a doubled comma is a comma. Source: QEMU util/keyval.c."""
    return [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")]


# --- what is not there


def _lacking(asked: _Asked, qemu: QemuAbilities) -> Iterable[tuple[str, str, str]]:
    """Of each thing that is not there: the property it is, or nothing; what it is called; advice."""
    match asked.flag:
        case "-device":
            return _lacking_of_device(asked, qemu)
        case "-machine":
            return _lacking_of_machine(asked, qemu)
        case "-cpu":
            return _lacking_of_cpu(asked, qemu)
        case "-netdev":
            return _lacking_kind(asked.first, "the network backend", qemu.netdevs)
        case "-object":
            return _lacking_kind(asked.first, "the object", qemu.objects)
        case option if option.lstrip("-") in qemu.options:
            return ()
        case option:
            return [("", f"the option {option!r}", _NEAREST_OPTIONS[option])]


def _lacking_of_device(asked: _Asked, qemu: QemuAbilities) -> Iterator[tuple[str, str, str]]:
    device = qemu.device(asked.first)
    if device is None:
        yield "", f"the device {asked.first!r}", _nearest_device(asked.first, qemu)
    elif device.properties is not None and "mac" in asked.names.keys() - device.properties:
        cards = [name for name in qemu.devices_on("PCI", _CARDS) if _has(qemu.devices[name], "mac")]
        yield "", f"a network card {asked.first!r}", _close(asked.first, cards) or _shown(cards)
    elif device.properties is not None:
        for name in asked.names.keys() - _OF_EVERY_DEVICE - device.properties:
            advice = _nearest_property(asked.first, name) or _close(name, device.properties)
            yield name, f"the property {name!r} of the device {asked.first!r}", advice


def _has(device: QemuDevice, name: str) -> bool:
    return device.properties is None or name in device.properties


def _missing_bus(asked: _Asked, everything: Sequence[_Asked], qemu: QemuAbilities) -> tuple[str, str] | None:
    """The bus that a device sits on where nothing brings one, and advice."""
    device = qemu.device(asked.first) if asked.flag == "-device" else None
    if device is None or device.bus not in _BUSES:
        return None
    what, option, drivers = _BUSES[device.bus]
    is_there = any(
        (each.flag == "-machine" and each.names.get(option) == "on")
        or (each.flag == "-device" and any(driver in each.first for driver in drivers))
        for each in everything
    )
    cards = device.category == _CARDS
    hint = "use a card on PCI, such as virtio-net-pci" if cards else ""
    return None if is_there else (what, hint)


def _lacking_of_machine(asked: _Asked, qemu: QemuAbilities) -> Iterator[tuple[str, str, str]]:
    if asked.first not in qemu.machines:
        yield "type", f"the machine {asked.first!r}", _close(asked.first, qemu.machines)
        return
    known = qemu.machines[asked.first]
    if known is not None:
        for name in asked.names.keys() - _OF_EVERY_MACHINE - known:
            advice = _nearest_property("-machine", name) or _close(name, known)
            yield name, f"the property {name!r} of the machine {asked.first!r}", advice


def _lacking_of_cpu(asked: _Asked, qemu: QemuAbilities) -> Iterator[tuple[str, str, str]]:
    if asked.first not in qemu.cpus:
        yield "type", f"the CPU model {asked.first!r}", _close(asked.first, qemu.cpus)
    # A feature may be written with an underscore or dot for a dash. Source: QEMU target/i386/cpu.c.
    known = {_feature(name) for name in qemu.cpu_features}
    for word in asked.names:
        name = _feature(word.lstrip("+-"))
        if known and name not in known:
            yield "features", f"the CPU feature {name!r}", _close(name, known)


def _feature(name: str) -> str:
    return name.replace("_", "-").replace(".", "-")


def _lacking_kind(kind: str, what: str, known: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    if kind not in known:
        yield "", f"{what} {kind!r}", _close(kind, known)


def _nearest_device(name: str, qemu: QemuAbilities) -> str:
    for pattern, (devices, advice) in _NEAREST_DEVICES.items():
        if fnmatchcase(name, pattern):
            there = _shown(each for each in devices if qemu.has_device(each))
            return ", ".join(filter(None, (there, advice)))
    return _close(name, (*qemu.devices, *qemu.aliases)) or f"see: {qemu.program} -device help"


def _nearest_property(owner: str, name: str) -> str:
    found = (
        advice
        for (owners, names), advice in _NEAREST_PROPERTIES.items()
        if fnmatchcase(owner, owners) and fnmatchcase(name, names)
    )
    return next(found, "")


def _close(name: str, known: Iterable[str]) -> str:
    return _shown(get_close_matches(name, sorted(known), n=_SHOWN))


def _shown(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"nearest here: {listed}" if listed else ""
