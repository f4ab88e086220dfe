"""PCI devices of this machine that a node has: taken by its start, given back by its stop, whoever stops it.

A device goes with its whole IOMMU group. What each had is on record before anything is changed, so nothing is
lost when a supervisor is killed at any moment; the record is of this boot, because a boot gives everything
back. While it lives, a supervisor has a claim on each device, which nodes of other homes see too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from infrasim.errors import HostError, InfrasimError, InvalidNodeFile, Problem
from infrasim.frozen import Frozen
from infrasim.host.facts import PciDevice
from infrasim.host.files import make_dir, write_atomic
from infrasim.host.pci import VFIO, Had, Pci, goes_along, is_needed_bridge
from infrasim.host.probe import process_title
from infrasim.host.process import boot_id
from infrasim.jsonform import as_json, from_json
from infrasim.paths import NodePaths
from infrasim.plan.model import HostDeviceSpec, Needs, NodePlan

LOG = logging.getLogger(__name__)


class _Record(Frozen):
    """What devices had that were taken in a boot."""

    boot: str
    devices: tuple[Had, ...]


# --- can they be had?


def check_devices(plan: NodePlan | Needs, pci: Pci | None = None) -> None:
    """Refuse devices that are not there, cannot be taken, or that this machine needs itself; only looks.

    Raises:
        InvalidNodeFile: with each of them; the problems carry no line yet.
    """
    if not plan.passthrough:
        return
    pci = pci or Pci()
    found = [(spec.key, *fault) for spec in plan.passthrough if (fault := _fault(spec, pci))]
    if found:
        raise InvalidNodeFile(Problem("", 0, 0, *each) for each in found)


def _fault(spec: HostDeviceSpec, pci: Pci) -> tuple[str, str] | None:
    """What is wrong with a device, and a hint."""
    device = pci.device(spec.address)
    if device is None:
        from difflib import get_close_matches

        close = get_close_matches(spec.address, pci.addresses(), n=3)
        hint = (
            f"nearest: {', '.join(close)}; 'lspci -D' lists all"
            if close
            else "'lspci -D' lists what there is"
        )
        return f"this machine has no PCI device {spec.address}", hint
    if device.is_bridge:
        return (
            f"{spec.address} is a bridge to another bus, which stays with this machine",
            "name what is behind it",
        )
    if device.group is None and not pci.has_iommu():
        hint = "switch it on in this machine's firmware (VT-d, AMD-Vi) and boot Linux with intel_iommu=on"
        return "this machine has no IOMMU in use, without which no device can be passed through", hint
    if device.group is None:
        return f"{spec.address} is in no IOMMU group, so it cannot be passed through", "use another device"
    if not pci.has_vfio():
        return f"this machine's Linux has no driver {VFIO}", f"install its module, and try: modprobe {VFIO}"
    return next((fault for each in pci.group(device.group) if (fault := _needed(each, device, pci))), None)


def _needed(device: PciDevice, wanted: PciDevice, pci: Pci) -> tuple[str, str] | None:
    """Why a device of the group of the one that is ``wanted`` has to stay, and a hint."""
    who = device.address
    if device != wanted:
        who += f", which goes along as IOMMU group {wanted.group} has both,"
    if is_needed_bridge(device):
        hint = f"use another slot, or, if this machine does without, take it from {device.driver} yourself"
        return f"{who} is a bridge of this machine that {device.driver} drives", hint
    from infrasim.host.pci_uses import uses

    if goes_along(device) and (found := "; ".join(uses(pci, device.address))):
        return f"{who} is in use: {found}", "a start would take it away from this machine"
    return None


def require_rights(pci: Pci | None = None) -> None:
    """See that this user may take devices.

    Raises:
        HostError: he may not.
    """
    if not (pci or Pci()).may_bind():
        raise HostError("only root may take PCI devices from their drivers", hint="run infrasim as root")


# --- taking and giving back


@contextlib.contextmanager
def devices_of(
    plan: NodePlan, paths: NodePaths, *, are_there: bool, pci: Pci | None = None
) -> Iterator[None]:
    """Have the devices of a node while it runs.

    ``are_there`` when an earlier supervisor took them and its host may have them still: then nothing is
    changed, and they stay if the node does not end in good order.

    Raises:
        InfrasimError: one cannot be had; every device has what it had then.
    """
    pci = pci or Pci()
    with contextlib.ExitStack() as claims:
        wanted = _group_mates(plan, pci)
        for device in wanted:
            _claim(device, pci, claims)
        if not are_there:
            for group in dict.fromkeys(device.group for device in wanted):
                _check_free(group, wanted, pci)
            take(wanted, paths, pci)
        try:
            yield
        except BaseException:
            if not are_there:
                _give_back_or_log(paths, pci, claims)
            raise
        _give_back_or_log(paths, pci, claims)


def _group_mates(plan: NodePlan, pci: Pci) -> tuple[PciDevice, ...]:
    """Every device that is to be taken, once."""
    found: dict[str, PciDevice] = {}
    for spec in plan.passthrough:
        device = pci.device(spec.address)
        if device is None or device.group is None:
            raise HostError(f"the PCI device {spec.address} or its IOMMU group is gone")
        found.update({each.address: each for each in pci.group(device.group) if goes_along(each)})
    return tuple(found.values())


def _claim(device: PciDevice, pci: Pci, claims: contextlib.ExitStack) -> None:
    descriptor = pci.claim(device.address)
    if descriptor is None:
        holder = process_title(pci.claimant(device.address))
        message = f"the PCI device {device.address} of IOMMU group {device.group} is in use by {holder}"
        raise HostError(message, hint="a group is one node's alone; stop that one first")
    claims.callback(os.close, descriptor)


def _check_free(group: int | None, wanted: Iterable[PciDevice], pci: Pci) -> None:
    """See that no program has a group that it got otherwise, such as a virtual machine of somebody else's."""
    if group is not None and (pid := pci.user_of(group)) is not None:
        listed = ", ".join(each.address for each in wanted if each.group == group)
        raise HostError(
            f"the PCI device {listed} (IOMMU group {group}) is in use by {process_title(pid or None)}"
        )


def take(wanted: Sequence[PciDevice], paths: NodePaths, pci: Pci) -> None:
    """Bind devices to the driver that hands them on; those that have it, and not from us, are let be.

    Raises:
        InfrasimError: one cannot be bound; every device has what it had then.
    """
    kept = {each.address: each for each in read_record(paths)}
    to_take = [each for each in wanted if each.driver != VFIO]
    pci.load_vfio()
    record = {**kept, **{each.address: _had(each, kept.get(each.address), pci) for each in to_take}}
    _write_record(paths, record.values())
    try:
        for device in to_take:
            pci.take(device.address)
    except InfrasimError as exc:
        try:
            give_back(paths, pci, claimed=True)
        except InfrasimError as further:
            raise type(exc)(f"{exc.message}; and then: {further.message}", hint=exc.hint) from exc
        raise


def _had(device: PciDevice, kept: Had | None, pci: Pci) -> Had:
    """What a device is to have again.

    One that is on record may be half-way, because whoever took it was killed: then it has what is on record,
    unless somebody has given it a driver since.
    """
    now = pci.had(device)
    return kept if kept is not None and device.driver in (None, kept.driver) else now


def give_back(paths: NodePaths, pci: Pci | None = None, *, claimed: bool = False) -> bool:
    """Give every device on record what it had; False if there was none.

    ``claimed``: this process has the claims. What cannot be given back stays on record.

    Raises:
        HostError: a device cannot be given back, with each of them.
    """
    pci = pci or Pci()
    devices = read_record(paths)
    left, faults = [], []
    for had in reversed(devices):
        try:
            _give_one_back(had, pci, claimed=claimed)
        except HostError as exc:
            left.append(had)
            faults.append(exc)
    if left:
        _write_record(paths, reversed(left))
        hint = next(filter(None, (fault.hint for fault in faults)), "run: infrasim node stop, to try again")
        raise HostError("; ".join(fault.message for fault in faults), hint=hint)
    paths.taken_devices.unlink(missing_ok=True)
    return bool(devices)


def _give_one_back(had: Had, pci: Pci, *, claimed: bool) -> None:
    """Give a device back, unless somebody has it: the kernel would wait for whoever that is.

    Raises:
        HostError: somebody has it, or the kernel refuses.
    """
    device = pci.device(had.address)
    if device is None:
        return
    with contextlib.ExitStack() as claims:
        if not claimed:
            _claim(device, pci, claims)
        _check_free(device.group, [device], pci)
        pci.give_back(had)


def _give_back_or_log(paths: NodePaths, pci: Pci, claims: contextlib.ExitStack) -> None:
    try:
        give_back(paths, pci, claimed=True)
    except InfrasimError as exc:
        LOG.error("%s; 'infrasim node stop' tries again", exc.message)


# --- the record


def read_record(paths: NodePaths) -> tuple[Had, ...]:
    """What the devices had that are taken, in the order they were; none of an earlier boot."""
    try:
        record = from_json(_Record, json.loads(paths.taken_devices.read_bytes()))
    except (OSError, ValueError):
        return ()
    return record.devices if record.boot == boot_id() else ()


def _write_record(paths: NodePaths, devices: Iterable[Had]) -> None:
    make_dir(paths.run)
    write_atomic(paths.taken_devices, json.dumps(as_json(_Record(boot_id(), tuple(devices)))))
