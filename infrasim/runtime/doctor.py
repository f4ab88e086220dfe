"""What ``infrasim doctor`` looks at. Reads and probes only; mends nothing."""

from __future__ import annotations

import os
import shutil
from enum import StrEnum
from pathlib import Path

from infrasim.errors import InfrasimError
from infrasim.frozen import Frozen
from infrasim.host import probe
from infrasim.host.pci import Pci
from infrasim.host.process import find_program
from infrasim.packages.catalogue import missing_programs
from infrasim.paths import Home
from infrasim.runtime.status import Condition, node_names, node_status

_PROGRAMS = {
    probe.QEMU_PROGRAM: "the host",
    probe.QEMU_IMG_PROGRAM: "disk images",
    probe.IPMI_SIM_PROGRAM: "the BMC",
    probe.SOCAT_PROGRAM: "the serial line",
}
# What only some nodes need.
_EXTRAS = {"swtpm": "TPMs", "/usr/share/OVMF/OVMF_CODE_4M.fd": "UEFI firmware"}
_IPMI_PORT = 623
_SPACE_WANTED_GIB = 2


class Verdict(StrEnum):
    """How bad a finding is."""

    GOOD = "ok"
    NOTE = "note"
    FAULT = "FAULT"


class Finding(Frozen):
    """One thing looked at: what it is, what was found, what to do about it."""

    verdict: Verdict
    what: str
    found: str
    hint: str = ""

    @property
    def is_fatal(self) -> bool:
        """Whether no node can start because of it."""
        return self.verdict is Verdict.FAULT

    def as_json(self) -> dict[str, str]:
        """The finding as ``--json`` prints it."""
        return {"verdict": self.verdict.value, "what": self.what, "found": self.found, "hint": self.hint}


def examine(home: Home) -> tuple[Finding, ...]:
    """Everything worth knowing about this machine, in the order of importance."""
    return (
        *(_program(name, purpose) for name, purpose in _PROGRAMS.items()),
        *(_extra(name, purpose) for name, purpose in _EXTRAS.items()),
        _kvm(home),
        *(_folder(path) for path in (home.root, home.log_root)),
        _port(),
        _space(home),
        _iommu(),
        *_nodes(home),
    )


def _program(name: str, purpose: str) -> Finding:
    path = find_program(name)
    if path is None:
        return Finding(Verdict.FAULT, name, f"not installed ({purpose})", "run: sudo infrasim init")
    return Finding(Verdict.GOOD, name, path)


def _extra(name: str, purpose: str) -> Finding:
    if missing_programs([name]):
        hint = "the first start of a node that needs it installs it, or: sudo infrasim init --all"
        return Finding(Verdict.NOTE, name, f"not installed ({purpose})", hint)
    return Finding(Verdict.GOOD, name, find_program(name) or "is there")


def _kvm(home: Home) -> Finding:
    qemu = find_program(probe.QEMU_PROGRAM)
    if qemu is None:
        return Finding(Verdict.NOTE, "KVM", "cannot be asked without QEMU")
    try:
        verdict = probe.kvm_verdict(qemu, home.cache, again=True)
    except InfrasimError as exc:
        return Finding(Verdict.NOTE, "KVM", exc.message)
    if verdict.works:
        return Finding(Verdict.GOOD, "KVM", verdict.reason)
    return Finding(Verdict.NOTE, "KVM", verdict.reason, "nodes run on TCG, QEMU's emulation, which is slower")


def _folder(path: Path) -> Finding:
    probe_at = path
    while not probe_at.exists():
        probe_at = probe_at.parent
    if not probe_at.is_dir() or not os.access(probe_at, os.W_OK):
        hint = "run with sudo, or set INFRASIM_HOME and INFRASIM_LOG_DIR"
        return Finding(Verdict.FAULT, str(path), "cannot be written", hint)
    return Finding(Verdict.GOOD, str(path), "can be written" if path.exists() else "can be made")


def _port() -> Finding:
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if os.geteuid() != 0 and start > _IPMI_PORT:
        hint = "run with sudo, or set bmc.ipmi_over_lan_port above 1023 in node files"
        return Finding(Verdict.NOTE, "IPMI port 623", "needs root on this machine", hint)
    holders = [socket for socket in probe.bound_sockets("udp") if socket.port == _IPMI_PORT]
    if holders:
        places = ", ".join(socket.address for socket in sorted(holders))
        return Finding(Verdict.NOTE, "IPMI port 623", f"in use at {places}", "further nodes get 127.0.1.x")
    return Finding(Verdict.GOOD, "IPMI port 623", "free")


def _space(home: Home) -> Finding:
    place = home.root
    while not place.exists():
        place = place.parent
    free_gib = shutil.disk_usage(place).free / 2**30
    if free_gib < _SPACE_WANTED_GIB:
        hint = "disk images grow as the host writes to them"
        return Finding(Verdict.NOTE, "disk space", f"{free_gib:.1f} GiB free at {place}", hint)
    return Finding(Verdict.GOOD, "disk space", f"{free_gib:.0f} GiB free at {place}")


def _iommu() -> Finding:
    if Pci().has_iommu():
        return Finding(Verdict.GOOD, "IOMMU", "in use")
    hint = "only nodes with 'pcie-passthrough' need it: switch it on in the firmware, and for Linux"
    return Finding(Verdict.NOTE, "IOMMU", "not in use, so no device can be passed through", hint)


def _nodes(home: Home) -> list[Finding]:
    findings = []
    for name in node_names(home):
        status = node_status(home, name)
        if status.condition is Condition.DEGRADED:
            trouble = status.errors[-1] if status.errors else "see: infrasim node status"
            findings.append(Finding(Verdict.NOTE, f"node {name}", f"degraded: {trouble}"))
    return findings
