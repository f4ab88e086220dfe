"""Processors and memory of the machine, and how both are spread over NUMA nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from infrasim.frozen import Frozen
from infrasim.host.facts import Accelerator
from infrasim.qemu.element import option


class Processors(Frozen):
    """``cores`` are those of each socket, ``threads`` those of each core."""

    sockets: int
    cores: int
    threads: int

    @property
    def total(self) -> int:
        """How many processors an operating system sees."""
        return self.sockets * self.cores * self.threads

    def argv(self) -> tuple[str, ...]:
        """All of them, plugged in."""
        return option("-smp", str(self.total), sockets=self.sockets, cores=self.cores, threads=self.threads)


class NumaNode(Frozen):
    """A part of the memory with the processors beside it: (socket, core), None for all of its cores."""

    memory_mib: int
    processors: tuple[tuple[int, int | None], ...]


class Memory(Frozen):
    """The memory of the host: where on this machine it lies, and how it is taken there.

    ``host_node`` is the NUMA node of this machine that it comes from; None for any.
    """

    size_mib: int
    path: Path | None = None
    is_shared: bool = False
    is_preallocated: bool = False
    nodes: Sequence[NumaNode] = ()
    host_node: int | None = None

    @property
    def backend(self) -> str | None:
        """The object that the board's memory is; None where the board or NUMA nodes have their own."""
        return "mem0" if self._is_special and not self.nodes else None

    def argv(self) -> tuple[str, ...]:
        """Size, objects and nodes."""
        return ("-m", str(self.size_mib), *self._objects(), *self._numa())

    @property
    def _is_special(self) -> bool:
        is_plain = self.path is None and self.host_node is None
        return not is_plain or self.is_shared or self.is_preallocated

    def _objects(self) -> Iterator[str]:
        kind = "file" if self.path is not None else "memfd" if self.is_shared else "ram"
        sizes = [node.memory_mib for node in self.nodes] or [self.size_mib] * self._is_special
        for number, size_mib in enumerate(sizes):
            yield from option(
                "-object",
                f"memory-backend-{kind}",
                id=f"mem{number}",
                size=f"{size_mib}M",
                mem_path=self.path,
                share=True if self.is_shared else None,
                prealloc=True if self.is_preallocated else None,
                host_nodes=self.host_node,
                policy=None if self.host_node is None else "bind",
            )

    def _numa(self) -> Iterator[str]:
        for number in range(len(self.nodes)):
            yield from option("-numa", "node", nodeid=number, memdev=f"mem{number}")
        for number, node in enumerate(self.nodes):
            for socket, core in node.processors:
                yield from option("-numa", "cpu", node_id=number, socket_id=socket, core_id=core)


# The emulated ``max`` is an AMD processor, and of those a guest sees no threads without a feature that
# emulation lacks; of an Intel one it does. Source: measured, QEMU 7.2 and Linux 6.1.
_MAKER_WITH_THREADS = "vendor=GenuineIntel,family=6,model=60,stepping=4"


def cpu(model: str, features: str, accelerator: Accelerator, threads: int = 1) -> tuple[str, ...]:
    """The CPU model, by default all that the accelerator can do, with ``+feature`` words after it.

    ``threads`` are those of each core.
    """
    emulated = accelerator is Accelerator.TCG
    maker = _MAKER_WITH_THREADS if emulated and threads > 1 and not model else ""
    default = "max" if emulated else "host"
    return ("-cpu", ",".join(filter(None, [model or default, maker, features])))
