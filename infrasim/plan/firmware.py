"""The board of a node file, its firmware, its TPM and what these write."""

from __future__ import annotations

from pathlib import Path

from infrasim.host.facts import HostFacts
from infrasim.paths import NodePaths
from infrasim.plan.fault import problem
from infrasim.plan.model import SWTPM, CopySpec, InputSpec, ProcessSpec, ReadyCheck
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import chardev, firmware
from infrasim.qemu.board import Board, Menu
from infrasim.qemu.element import Value
from infrasim.spec.node import Compute

# Builds of edk2 for a Q35 with 4 MiB of flash. Source: package ovmf of Debian 12, Ubuntu 22.04 and 24.04.
_OVMF = Path("/usr/share/OVMF")
UEFI_CODE = _OVMF / "OVMF_CODE_4M.fd"
SECURE_BOOT_CODE = _OVMF / "OVMF_CODE_4M.secboot.fd"
_VARIABLES = "OVMF_VARS_4M.fd"
# With Microsoft's keys enrolled.
_SIGNED_VARIABLES = "OVMF_VARS_4M.ms.fd"

_SWTPM_READY_S = 10.0


def needed_programs(compute: Compute) -> tuple[str, ...]:
    """What this host needs of the programs and files that not every node needs."""
    uefi = SECURE_BOOT_CODE if compute.secure_boot else UEFI_CODE
    return (
        *((str(uefi),) if compute.firmware == "uefi" else ()),
        *((SWTPM,) if compute.tpm is not None else ()),
    )


def without_smm(facts: HostFacts, compute: Compute) -> str:
    """Why this machine's KVM cannot run a node although it runs others; empty if it can."""
    if not compute.secure_boot or facts.kvm.has_smm or not facts.kvm.works:
        return ""
    return "KVM of this machine has no system management mode, which secure boot needs"


def board(compute: Compute) -> Board:
    """The board with its options."""
    given, boot = compute.machine, compute.boot
    options: dict[str, Value] = {
        "sata": given.sata if given else False,
        "vmport": given.vmport if given else False,
    }
    if given:
        options |= {"usb": given.usb, "mem_merge": given.mem_merge, "igd_passthru": given.igd_passthru}
        options["spid"] = given.spid
    if compute.firmware == "uefi":
        options |= {"pflash0": firmware.CODE_NODE, "pflash1": firmware.VARIABLES_NODE}
    if compute.secure_boot:
        options["smm"] = True
    return Board(
        machine=compute.board,
        options=options,
        kernel_irqchip=given.kernel_irqchip if given else None,
        menu=Menu(boot.menu, Path(boot.splash) if boot.splash else None, boot.splash_time),
    )


def firmware_part(compute: Compute, facts: HostFacts, paths: NodePaths) -> HostPart:
    """Everything of the host that starts it or keeps its secrets, and the logs of that."""
    items: list[Words] = []
    inputs = [
        InputSpec(Path(path), key)
        for path, key in ((compute.bios, "compute.bios"), (compute.boot.splash, "compute.boot.splash"))
        if path
    ]
    copies: tuple[CopySpec, ...] = ()
    if compute.bios:
        items.append(("-bios", compute.bios))
    if compute.firmware == "uefi":
        key = "compute.secure_boot" if compute.secure_boot else "compute.firmware"
        code = SECURE_BOOT_CODE if compute.secure_boot else UEFI_CODE
        # By the keys it begins with: a file that had none is no secure one.
        name = _SIGNED_VARIABLES if compute.secure_boot else _VARIABLES
        variables = paths.nvram / name
        items.append(firmware.flash(code, variables, is_secure=compute.secure_boot))
        inputs.append(InputSpec(code, key))
        copies = (CopySpec(variables, _OVMF / name, key),)
    if compute.tpm is not None:
        items.append(firmware.trusted_platform_module(paths.tpm_socket))
    if compute.trace and compute.trace.seabios:
        items.append(firmware.debug_output(paths.log("seabios")))
    if compute.trace and compute.trace.guest:
        items.append(chardev.further_serial_port(1, "guest-trace", paths.log("guest")))
    if compute.guest_agent:
        items.append(chardev.guest_agent(paths.guest_agent))
    return HostPart(
        items=tuple(items),
        inputs=tuple(inputs),
        copies=copies,
        folders=(paths.tpm_state,) if compute.tpm is not None else (),
        processes=(_tpm_process(facts, paths),) if compute.tpm is not None else (),
    )


def _tpm_process(facts: HostFacts, paths: NodePaths) -> ProcessSpec:
    """The TPM. It writes its pid when it listens, and ends when QEMU does. Source: measured, swtpm 0.7.1."""
    for path in (paths.tpm_state, paths.tpm_socket):
        if "," in str(path):
            message = f"swtpm cannot take a path with a comma: {path}"
            raise problem("compute.tpm", message, "use another INFRASIM_HOME")
    return ProcessSpec(
        SWTPM,
        (
            facts.swtpm_program or SWTPM,
            *("socket", "--tpm2"),
            *("--tpmstate", f"dir={paths.tpm_state},mode=0600"),
            *("--ctrl", f"type=unixio,path={paths.tpm_socket},mode=0600"),
            *("--pid", f"file={paths.tpm_pid}"),
        ),
        paths.log(SWTPM),
        ReadyCheck.LINK,
        str(paths.tpm_pid),
        _SWTPM_READY_S,
        ends_with_host=True,
    )
