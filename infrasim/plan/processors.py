"""How the processors and the memory of a host are laid out: sockets, cores, threads, NUMA nodes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from infrasim.personality.identity import SmbiosValue
from infrasim.personality.model import Personality
from infrasim.personality.smbios import Processor
from infrasim.plan.fault import problem
from infrasim.qemu.processors import NumaNode, Processors
from infrasim.spec.machine import Cpu
from infrasim.spec.node import Compute

_USUAL_QUANTITY = 2
_HUGE_PAGE_MIB = 2


def processors(cpu: Cpu, personality: Personality) -> Processors:
    """The processors of a host, on as many sockets as its server type has.

    Raises:
        InvalidNodeFile: the file gives another number of sockets, or processors that do not fill them evenly.
    """
    sockets, name = personality.cpu_sockets, personality.name
    if cpu.sockets not in (None, sockets):
        raise problem(
            "compute.cpu.sockets",
            f"{name} has {sockets} sockets, not {cpu.sockets}",
            "leave it out; 'infrasim type list' shows types with other numbers",
        )
    given = prod(count for count in (cpu.cores, cpu.threads) if count is not None)
    is_given = (cpu.sockets, cpu.cores, cpu.threads) != (None, None, None)
    usual = sockets * given if is_given else max(_USUAL_QUANTITY, sockets)
    total = cpu.quantities or usual
    if total % sockets:
        raise problem(
            "compute.cpu.quantities",
            f"{total} processors cannot be spread over the {sockets} sockets of {name}",
            f"use a multiple of {sockets}",
        )
    per_socket = total // sockets
    are_all_given = cpu.cores is not None and cpu.threads is not None
    if per_socket % given or (are_all_given and per_socket != given):
        raise problem(
            "compute.cpu.quantities",
            f"{total} processors on {sockets} sockets are {per_socket} on each, which cannot be made of "
            f"{cpu.cores or 'any'} cores x {cpu.threads or 'any'} threads",
            "leave it out, or one of the others",
        )
    threads = cpu.threads or (per_socket // cpu.cores if cpu.cores else 1)
    return Processors(sockets, per_socket // threads, threads)


def smbios_counts(compute: Compute, personality: Personality) -> Iterator[tuple[str, SmbiosValue]]:
    """What SMBIOS has to say of cores and threads that the file gives; each with the key it comes from.

    A file that gives only the number of processors leaves SMBIOS with those of the real server.
    """
    cpu = compute.cpu
    key = "cores" if cpu.cores is not None else "threads"
    own = compute.smbios.type4.cores if compute.smbios else None
    populated = any(each.is_populated for each in personality.structures(Processor))
    if (cpu.cores is None and cpu.threads is None) or own is not None or not populated:
        return
    found = processors(cpu, personality)
    yield f"compute.cpu.{key}", SmbiosValue("processor", "core_count", found.cores)
    threads = SmbiosValue("processor", "thread_count", found.cores * found.threads)
    yield f"compute.cpu.{key}", threads


def numa_nodes(compute: Compute, layout: Processors) -> tuple[NumaNode, ...]:
    """The NUMA nodes of the host; none if the file does not ask for more than one.

    Raises:
        InvalidNodeFile: sockets, or cores of a socket, cannot be spread over them evenly.
    """
    count = compute.memory.nodes
    if count == 1:
        return ()
    per_socket = count // layout.sockets
    if layout.sockets % count and (count % layout.sockets or layout.cores % per_socket):
        raise problem(
            "compute.memory.nodes",
            f"{layout.sockets} sockets of {layout.cores} cores cannot be spread over {count} NUMA nodes",
            f"such as {layout.sockets}, a node for each socket" if layout.sockets > 1 else "leave it out",
        )
    # Of huge pages, the smallest of which are this large.
    each_mib = compute.memory.size // count // _HUGE_PAGE_MIB * _HUGE_PAGE_MIB
    if not each_mib:
        message = f"{compute.memory.size} MiB cannot be spread over {count} NUMA nodes"
        raise problem("compute.memory.nodes", message, f"{_HUGE_PAGE_MIB} MiB each at least")
    sizes = [each_mib] * (count - 1) + [compute.memory.size - each_mib * (count - 1)]
    places = [
        (socket, None if per_socket <= 1 else core)
        for socket in range(layout.sockets)
        for core in range(1 if per_socket <= 1 else layout.cores)
    ]
    each = len(places) // count
    return tuple(
        NumaNode(size, tuple(places[number * each : (number + 1) * each]))
        for number, size in enumerate(sizes)
    )
