"""Whether a node file fits this machine, where a plan would not say so: its memory, its processor. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infrasim.errors import Problem
from infrasim.host.facts import HostFacts
from infrasim.spec.node import NodeSpec

# The processor of this machine; only KVM can give it. Source: QEMU, `-cpu host` under TCG.
_OWN_PROCESSOR = "host"


def faults(spec: NodeSpec, facts: HostFacts) -> Iterator[Problem]:
    """What keeps the node from starting here; the problems carry no line yet."""
    cpu = spec.compute.cpu.type
    if cpu == _OWN_PROCESSOR and (spec.compute.kvm_enabled is False or not facts.kvm.works):
        why = "kvm_enabled is false" if spec.compute.kvm_enabled is False else facts.kvm.reason
        message = f"'{cpu}' is this machine's own processor, which only KVM can give: {why}"
        yield _problem("compute.cpu.type", message, "leave it out, or use 'max': all that emulation has")
    size = spec.compute.memory.size
    if facts.memory_most_mib is not None and size > facts.memory_most_mib and _is_anonymous(spec):
        message = f"{size} MiB is more than this machine has with its swap space, {facts.memory_most_mib} MiB"
        yield _problem("compute.memory.size", message, "QEMU would not get it")


def doubts(spec: NodeSpec, facts: HostFacts) -> Iterator[Problem]:
    """What may go wrong here."""
    memory = spec.compute.memory
    size, free = memory.size, facts.memory_free_mib
    # A device can write anywhere in the memory, so the kernel keeps all of it in place.
    takes_all = bool(spec.compute.pcie_passthrough)
    # Nobody asked for the default.
    is_wanted = "size" in memory.model_fields_set or takes_all
    if free is not None and size > free and is_wanted and _is_anonymous(spec):
        message = f"{size} MiB is more than is free on this machine now, {free} MiB"
        hint = "a host takes only what it uses, so it may run for a while"
        if takes_all:
            hint = "a host with a device of this machine takes all of it when it is powered on"
        yield _problem("compute.memory.size", message, hint)


def _is_anonymous(spec: NodeSpec) -> bool:
    """Whether the memory is plain memory of this machine, not a file's."""
    return not getattr(spec.compute, "mem_path", None)


def _problem(path: str, message: str, hint: str) -> Problem:
    return Problem("", 0, 0, path, message, hint)
