"""Which processors of this machine the threads of a host run on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from infrasim.host.facts import Core, HostFacts, Reserved
from infrasim.plan.fault import problem
from infrasim.plan.model import Binding
from infrasim.spec.node import Compute
from infrasim.units import numbers_of

if TYPE_CHECKING:
    from infrasim.spec.pinning import NumaControl, Threads

# Of each socket so many processors are left to the rest of the machine while there are others.
# Source: the reference system's automatic mode.
_SPARED = 2


def binding(
    compute: Compute, total: int, facts: HostFacts, reserved: Reserved, previous: Sequence[int]
) -> Binding | None:
    """Where the threads of a host with ``total`` processors run; None for anywhere.

    ``previous`` are the processors that it had before.

    Raises:
        InvalidNodeFile: this machine has not the processors or the NUMA node that the file names.
    """
    control, own = compute.numa_control, compute.cpu_binding
    if control is None and own is None:
        return None
    cores = facts.ask_cores() if facts.ask_cores else ()
    main_loop = own.main_loop if own else None
    vcpu = own.vcpu if own else None
    return Binding(
        process=_process(control, total, cores, reserved, previous) if control else (),
        main_loop=_each(main_loop, 1, cores, "compute.cpu_binding.main_loop")[0] if main_loop else (),
        processors=_each(vcpu, total, cores, "compute.cpu_binding.vcpu") if vcpu else (),
    )


def host_node(compute: Compute) -> int | None:
    """The NUMA node of this machine that the memory is to come from."""
    return compute.numa_control.node_id if compute.numa_control else None


def chosen(
    total: int, cores: Sequence[Core], taken: Iterable[int], previous: Sequence[int]
) -> tuple[int, ...]:
    """``total`` processors near each other that nobody has, or else those that the fewest have."""
    users = Counter(taken)
    numbers = {core.number for core in cores}
    if (
        len(previous) == min(total, len(cores))
        and numbers.issuperset(previous)
        and not users.keys() & {*previous}
    ):
        return tuple(previous)
    spared = {
        core.number
        for package in {core.package for core in cores}
        for core in [each for each in cores if each.package == package][:_SPARED]
    }

    def rank(core: Core) -> tuple[int, bool, int, int, int]:
        return users[core.number], core.number in spared, core.node, core.core, core.number

    for node in sorted({core.node for core in cores}):
        free = sorted((core for core in cores if core.node == node and not users[core.number]), key=rank)
        if len(free) >= total and not {core.number for core in free[:total]} & spared:
            return tuple(sorted(core.number for core in free[:total]))
    return tuple(sorted(core.number for core in sorted(cores, key=rank)[:total]))


def _process(
    control: NumaControl, total: int, cores: Sequence[Core], reserved: Reserved, previous: Sequence[int]
) -> tuple[int, ...]:
    key = "compute.numa_control"
    nodes = sorted({core.node for core in cores})
    if control.node_id is not None and control.node_id not in nodes:
        message = f"this machine has no NUMA node {control.node_id}"
        raise problem(f"{key}.node-id", message, f"it has: {', '.join(map(str, nodes))}")
    if control.cores is not None:
        return _known(control.cores, cores, f"{key}.cores")
    if control.node_id is not None:
        return tuple(core.number for core in cores if core.node == control.node_id)
    if control.mode == "manual":
        message = "'manual' needs to know where"
        raise problem(f"{key}.mode", message, "add 'cores' or 'node-id', or leave 'mode' out")
    return chosen(total, cores, reserved.cores, previous)


def _each(threads: Threads, count: int, cores: Sequence[Core], key: str) -> tuple[tuple[int, ...], ...]:
    """The processors of each of ``count`` threads."""
    numbers = _known(threads.cores, cores, f"{key}.cores")
    if threads.policy == "shared":
        return (numbers,) * count
    if len(numbers) != count:
        message = f"policy mono gives each of {count} threads one, and these are {len(numbers)}"
        raise problem(f"{key}.cores", message, "write as many, or policy: shared")
    return tuple((number,) for number in numbers)


def _known(text: str, cores: Sequence[Core], key: str) -> tuple[int, ...]:
    numbers, known = numbers_of(text), [core.number for core in cores]
    if wrong := [number for number in numbers if number not in known]:
        message = f"this machine has no processor {', '.join(map(str, wrong))} to run on"
        raise problem(key, message, f"it has: {_listed(known)}")
    return numbers


def _listed(numbers: Sequence[int]) -> str:
    """Numbers as Linux lists them."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
