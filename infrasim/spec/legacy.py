"""Keys of the reference system's node files that are not keys of ``spec.node``.

Such a file should load, with a word about what is old in it, or be refused with the reason: a key
somebody used for years is not an unknown key. Paths are dotted, ``[]`` stands for any list entry,
and ``fruN`` for the key of any FRU device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from infrasim.spec.checks import is_fru_key
from infrasim.spec.document import Path

# old spelling -> the key to use; both are read
RENAMED = {
    "bmc.channel": "main_channel",
    "compute.cpu.model": "type",
    "compute.networks[].port_forward[].protocal": "protocol",
    "compute.smbios.type17[].manufactuer": "manufacturer",
    "compute.storage_backend[].drives[].rotation": "rotation_rate",
    "compute.storage_backend[].drives[].page_file": "page-file",
    "compute.storage_backend[].use_msi": "msi",
    "compute.storage_backend[].cmb_size_mb": "cmb_size",
    "compute.storage_backend[].max-sge": "max_sge",
}

# where a key stood -> where it stands; both are read
MOVED: dict[Path, Path] = {
    ("compute", "serial_number"): ("serial_number",),
    ("compute", "monitor"): ("monitor",),
}

_NO_REST = "there is no REST service; QMP is at run/monitor.sock of the workspace"

# keys that never had an effect on what this version serves; read over
IGNORED = {
    "compute.networks[].model": "has no effect; 'device' says which card",
    "compute.boot.checking_time": "infrasim waits for what it needs, no longer and no shorter",
    "compute.pcie_topology.switch[].upstream[].chassis": "an upstream port is in no slot",
    "compute.pcie_topology.switch[].upstream[].slot": "an upstream port is in no slot",
    "compute.storage_backend[].seses[].port_wwn": "had no effect there either",
    "compute.ipmi.chardev": "infrasim connects the interface to its BMC itself",
    "bmc_connection_port": "QEMU reaches the BMC by a socket in the node's workspace",
    "monitor.interface": _NO_REST,
    "monitor.port": _NO_REST,
    "ipmi_console_ssh": "there is no console over SSH; ipmi_sim takes commands such as sensor_set_value at "
    "'ipmi_console_port', and the BMC ipmitool's event, sel add and sensor thresh",
    "serial_port": "QEMU's serial port is a socket in the node's workspace",
    "bmc.merge_fru": "every FRU device is part of the server type",
    "bmc.name": "the BMC is named after the node",
}

_ATA_TEXT = {
    kind: f"a disk on {kind or 'ahci'} has 'model' alone" for kind in ("ahci", "ich9-ahci", "ide", None)
}

# keys without an effect where another key beside them, or ("..") above their list, has one of these values
# (None: is left out); read over
IDLE: dict[str, tuple[str, dict[str | None, str]]] = {
    "compute.networks[].network_name": (
        "network_mode",
        {mode: f"has no effect with network_mode {mode or 'nat'}" for mode in ("nat", "none", None)},
    ),
    "compute.storage_backend[].drives[].vendor": ("..type", _ATA_TEXT),
    "compute.storage_backend[].drives[].product": ("..type", _ATA_TEXT),
}

_RENDERED = (
    "ipmi_sim is a part of the BMC, and infrasim writes its configuration at each start; use the keys of "
    "'bmc', 'emu_file' for sensors, records and FRU devices, 'ipmi_console_port' for its commands"
)


def _built_in(what: str, instead: str) -> str:
    """A key that named a program which the reference's ipmi_sim called."""
    own = "is infrasim's BMC's own, so that all its doors tell the same, and calls no program"
    return f"{what} {own}; {instead}"


_POWER = "power"
_FOLLOW = "events.jsonl among the node's logs tells of each change"


def _own_ipmi(what: str, nearest: str) -> str:
    """A key that was for the reference's own ipmi_sim."""
    return f"needs an ipmi_sim {what}, which OpenIPMI's own is not; nearest: {nearest}"


_WIRING = (
    "is wiring (sas_topo.bin) for SAS controllers of the reference system's own QEMU, which infrasim does "
    "not write; nearest: the drives on the controller itself, with slot_number, atta_wwn and atta_phy_id"
)
_OF_A_CHASSIS = "belongs to a chassis of several nodes, and a file describes one node"
_CHASSIS = "nearest: serial_number, asset_tag and bmc.chassis_sn tell the servers of a chassis apart"

_NUMBERED_BY_FIRMWARE = (
    "needs a firmware that is told the numbers of buses, which no QEMU of a distribution has; nearest: none, "
    "the firmware numbers them itself"
)

REFUSED = {
    "nodes": "a file describes one node; groups of nodes are not served by this version of infrasim",
    "force_shutdown": "it stands below 'compute'",
    "bmc.lancontrol": _built_in("LAN configuration", "'address' or 'interface' chooses where it listens"),
    "bmc.chassiscontrol": _built_in("power and boot device", _FOLLOW),
    "bmc.startcmd": _built_in(_POWER, "'compute.qemu_bin' and 'compute.extra_option' choose what is started"),
    "bmc.stopcmd": _built_in(
        _POWER, f"'poweroff_wait' and 'kill_wait' say how long an end may take, {_FOLLOW}"
    ),
    "bmc.resetcmd": _built_in(_POWER, _FOLLOW),
    "bmc.setbootcmd": _built_in("the boot device", "'infrasim node status' tells what is set"),
    "bmc.config_file": _RENDERED,
    "bmc.full_log": _own_ipmi("that logs every message", "infrasim node logs"),
    "bmc.nvram_file": _own_ipmi("with NVRAM of a vendor's commands", "what infrasim's BMC answers itself"),
    "bmc.gem_enable": _own_ipmi("with GEM's commands", "what infrasim's BMC answers itself"),
    "bmc.shm_key": f"needs an ipmi_sim and a QEMU that share memory of a chassis; {_CHASSIS}",
    "bmc.peer-bmcs": _own_ipmi("that speaks IPMB to other nodes", "each BMC has an address of its own"),
    "bmc.port_ipmb": _own_ipmi("that speaks IPMB to other nodes", "each BMC has an address of its own"),
    "compute.storage_backend[].controller": "its keys stand in the entry itself: 'type', 'drives' and so on",
    "compute.storage_backend[].slot_range": f"{_OF_A_CHASSIS}: list the drives of these slots",
    "compute.ntb[].peer_id": f"{_OF_A_CHASSIS}: write the other node's socket, 'peer_rx'",
    "compute.storage_backend[].connectors": _WIRING,
    "compute.storage_backend[].external_connectors": _WIRING,
    "compute.storage_backend[].expanders": _WIRING,
    "compute.storage_backend[].phys": _WIRING,
    "compute.storage_backend[].disk_array": _WIRING,
    "compute.pcie_topology.root_port[].pri_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.root_port[].sec_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].upstream[].pri_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].upstream[].sec_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].downstream[].pri_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].downstream[].sec_bus": _NUMBERED_BY_FIRMWARE,
}

# old value -> the one to use, by key; both are read
RENAMED_VALUES = {
    "compute.storage_backend[].type": {
        "lsi": "lsi53c895a",
        "ich9-ahci": "ahci",
        "virtio-scsi-pci": "virtio-scsi",
        "virtio-blk-pci": "virtio-blk",
    },
}

# values the reference knew: key -> {name: why not}
_STUB_VALUE = "was for 'pci-assign', which QEMU has no more"
REFUSED_VALUES = {"compute.pcie-passthrough[].driver": {"pci-stub": _STUB_VALUE}}
_I2C_ADDRESS = re.compile(r"0x[0-9a-fA-F]{1,2}\Z")

# server types that it had and that are not here, with the nearest ones
TYPES = {"dell_r640": ("dell_r630", "dell_r730"), "dell_r740xd": ("dell_r730xd", "dell_r730")}


def pattern(path: Path) -> str:
    """A path as the tables above spell it: without the numbers of list entries and FRU devices."""
    text = ""
    for step in path:
        if text == "bmc" and isinstance(step, str) and is_fru_key(step):
            step = "fruN"
        text += "[]" if isinstance(step, int) else f".{step}" if text else step
    return text


def spellings(path: Path) -> Iterator[Path]:
    """Where a value may stand: under its key, or under one that was its."""
    yield path
    for old, now in MOVED.items():
        if now == path:
            yield old
    for place, new in RENAMED.items():
        section, _, old_key = place.rpartition(".")
        if path[-1:] == (new,) and pattern(path[:-1]) == section:
            yield (*path[:-1], old_key)


def renamed_value(path: Path, value: object) -> str | None:
    """Today's spelling of an old value; None if it is not one."""
    return RENAMED_VALUES.get(pattern(path), {}).get(value) if isinstance(value, str) else None


def refusal(path: Path) -> str:
    """Why a key is refused; empty if the reference did not know it either."""
    text = pattern(path)
    if path in MOVED:
        return f"{MOVED[path][-1]!r} stands at the top level already"
    return REFUSED.get(text, "")


def ignored(path: Path, beside: Mapping[str, object], above: Mapping[str, object]) -> str:
    """Why a key is read over; empty if it is not.

    ``beside`` is the mapping that it stands in, ``above`` the one that has that in a list.
    """
    text = pattern(path)
    if text in IDLE:
        judge, reasons = IDLE[text]
        given = (above if judge.startswith("..") else beside).get(judge.removeprefix(".."))
        return reasons.get(given, "") if given is None or isinstance(given, str) else ""
    return IGNORED.get(text, "")


def i2c_refusal(path: Path, value: object) -> str:
    """Why an address that is a number is refused: the reference's ``bmc.address`` was another thing."""
    is_number = type(value) is int or (isinstance(value, str) and _I2C_ADDRESS.match(value))
    if pattern(path) != "bmc.address" or not is_number:
        return ""
    return "as an address on I2C " + _own_ipmi(
        "that speaks IPMB to other nodes",
        "the key left out; it is an IP address here, and the host's BMC is at 0x20",
    )


def type_refusal(name: str) -> tuple[str, str]:
    """Why one of the reference's server types is not here, and what to do; both empty for any other name."""
    if name not in TYPES:
        return "", ""
    return (
        f"there is no server type {name!r}: it is made from a capture of such a server, and none was at hand",
        f"nearest: {' and '.join(TYPES[name])}; or make it of a server that you have, with 'infrasim type "
        f"capture {name} -H BMC -U USER', or of a capture with 'infrasim type import {name}'",
    )


def value_refusal(path: Path, value: object) -> str:
    """Why a value is refused; empty if the reference did not know it either."""
    return REFUSED_VALUES.get(pattern(path), {}).get(value, "") if isinstance(value, str) else ""
