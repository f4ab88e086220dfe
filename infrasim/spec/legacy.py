"""Keys of the reference system's node files that are not keys of ``spec.node``.

Such a file should load, with a word about what is old in it, or be refused with the reason: a key
somebody used for years is not an unknown key. Paths are dotted, ``[]`` stands for any list entry,
``fruN`` for the key of any FRU device, and a ``*`` at the end of a value for any rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from infrasim.spec.checks import is_fru_key
from infrasim.spec.document import Path

# old spelling -> the key to use; both are read
RENAMED = {
    "bmc.channel": "main_channel",
    "compute.cpu.model": "type",
    "compute.networks[].port_forward[].protocal": "protocol",
    "compute.smbios.type17[].manufactuer": "manufacturer",
    "compute.storage_backend[].drives[].rotation": "rotation_rate",
    "compute.storage_backend[].use_msi": "msi",
    "compute.storage_backend[].cmb_size_mb": "cmb_size",
}

# where a key stood -> where it stands; both are read
MOVED: dict[Path, Path] = {("compute", "serial_number"): ("serial_number",)}

# keys that never had an effect on what this version serves; read over
IGNORED = {
    "compute.networks[].model": "has no effect; 'device' says which card",
    "compute.boot.checking_time": "infrasim waits for what it needs, no longer and no shorter",
    "compute.pcie_topology.switch[].upstream[].chassis": "an upstream port is in no slot",
    "compute.pcie_topology.switch[].upstream[].slot": "an upstream port is in no slot",
    "compute.ipmi.chardev": "infrasim connects the interface to its BMC itself",
    "bmc_connection_port": "QEMU reaches the BMC by a socket in the node's workspace",
    "monitor": "there is no REST service; 'infrasim node status --json' and run/control.sock do the same",
    "bmc.historyfru": "serial-over-LAN replays what was said before, and serial.log has all of it",
    "bmc.merge_fru": "every FRU device is part of the server type",
    "bmc.name": "the BMC is named after the node",
}

# keys without an effect where another key beside them has one of these values (None: is left out); read over
IDLE: dict[str, tuple[str, dict[str | None, str]]] = {
    "compute.networks[].network_name": (
        "network_mode",
        {mode: f"has no effect with network_mode {mode or 'nat'}" for mode in ("nat", "none", None)},
    ),
}

_LATER = "this version of infrasim does not serve this key"
_RENDERED = "ipmi_sim is a part of the BMC, and infrasim writes its configuration at each start"
_BUILT_IN = "power, boot device and LAN settings are part of infrasim's BMC; nothing is called for them"
_FORK = "stock QEMU and OpenIPMI cannot do this"

_NUMBERED_BY_FIRMWARE = f"{_FORK}: the firmware numbers buses itself"

REFUSED = {
    "racadm": _LATER,
    "ipmi_console_ssh": _LATER,
    "nodes": "a file describes one node; groups of nodes are not served by this version of infrasim",
    "force_shutdown": "it stands below 'compute'",
    "bmc.channels": "this BMC has one LAN channel, number 1",
    "bmc.lancontrol": _BUILT_IN,
    "bmc.chassiscontrol": _BUILT_IN,
    "bmc.startcmd": _BUILT_IN,
    "bmc.stopcmd": _BUILT_IN,
    "bmc.resetcmd": _BUILT_IN,
    "bmc.setbootcmd": _BUILT_IN,
    "bmc.config_file": _RENDERED,
    "bmc.full_log": _FORK,
    "bmc.nvram_file": _FORK,
    "bmc.gem_enable": _FORK,
    "bmc.shm_key": _FORK,
    "bmc.peer-bmcs": _FORK,
    "bmc.port_ipmb": _FORK,
    "compute.smbios.file": _LATER,
    "compute.numa_control": _LATER,
    "compute.cpu_binding": _LATER,
    "compute.communicate": _FORK,
    "compute.machine.spid": _FORK,
    "compute.storage_backend[].slot_range": _LATER,
    "compute.storage_backend[].use_msix": "this is of InfraSIM's lsisas3008",
    "compute.storage_backend[].seses": _FORK,
    "compute.storage_backend[].connectors": _FORK,
    "compute.storage_backend[].external_connectors": _FORK,
    "compute.storage_backend[].expanders": _FORK,
    "compute.storage_backend[].phys": _FORK,
    "compute.storage_backend[].disk_array": _FORK,
    "compute.storage_backend[].drives[].page-file": _FORK,
    "compute.storage_backend[].drives[].page_file": _FORK,
    "compute.storage_backend[].drives[].slot_number": _FORK,
    "compute.storage_backend[].drives[].atta_wwn": _FORK,
    "compute.storage_backend[].drives[].atta_phy_id": _FORK,
    "compute.pcie-passthrough": _LATER,
    "compute.pcie_topology.root_port[].pri_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.root_port[].sec_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].upstream[].pri_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].upstream[].sec_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].downstream[].pri_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.switch[].downstream[].sec_bus": _NUMBERED_BY_FIRMWARE,
    "compute.pcie_topology.vmd": f"{_FORK}; NVMe drives can sit behind root ports",
    "compute.ntb": _FORK,
    "compute.dma_engine": _FORK,
    "compute.imc": _FORK,
    "compute.pcu": _FORK,
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

# values the reference knew: key -> {name, possibly with *: why not}
_LATER_VALUE = "is not served by this version of infrasim"
_FORK_VALUE = "does not exist in stock QEMU"
REFUSED_VALUES = {
    "compute.storage_backend[].type": {
        "lsisas*": _FORK_VALUE,
        "pmc*": _FORK_VALUE,
        "disk_array": _FORK_VALUE,
    },
}


def pattern(path: Path) -> str:
    """A path as the tables above spell it: without the numbers of list entries and FRU devices."""
    text = ""
    for step in path:
        if text == "bmc" and isinstance(step, str) and is_fru_key(step):
            step = "fruN"
        text += "[]" if isinstance(step, int) else f".{step}" if text else step
    return text


def renamed_value(path: Path, value: object) -> str | None:
    """Today's spelling of an old value; None if it is not one."""
    return RENAMED_VALUES.get(pattern(path), {}).get(value) if isinstance(value, str) else None


def refusal(path: Path) -> str:
    """Why a key is refused; empty if the reference did not know it either."""
    text = pattern(path)
    if path in MOVED:
        return f"{MOVED[path][-1]!r} stands at the top level already"
    return REFUSED.get(text, "")


def ignored(path: Path, beside: Mapping[str, object]) -> str:
    """Why a key is read over; empty if it is not. ``beside`` is the mapping that it stands in."""
    text = pattern(path)
    if text in IDLE:
        sibling, reasons = IDLE[text]
        given = beside.get(sibling)
        return reasons.get(given, "") if given is None or isinstance(given, str) else ""
    return IGNORED.get(text, "")


def value_refusal(path: Path, value: object) -> str:
    """Why a value is refused; empty if the reference did not know it either."""
    known = REFUSED_VALUES.get(pattern(path), {})
    return next((why for old, why in known.items() if isinstance(value, str) and fnmatchcase(value, old)), "")
