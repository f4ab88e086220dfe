"""How many sockets, cores, threads and NUMA nodes a host gets, and what SMBIOS says of them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.errors import InvalidNodeFile
from infrasim.personality.model import Personality
from infrasim.personality.smbios import Processor
from infrasim.plan.processors import numa_nodes, processors, smbios_counts
from infrasim.qemu.processors import Processors
from infrasim.spec.machine import Cpu
from infrasim.spec.node import Compute


def with_sockets(personality: Personality, count: int) -> Personality:
    processor = Processor(status=0x41)
    return dataclasses.replace(personality, smbios=(processor,) * count)


@pytest.mark.parametrize(
    ("cpu", "sockets", "layout"),
    [
        ({}, 2, (2, 1, 1)),
        ({}, 1, (1, 2, 1)),
        ({}, 4, (4, 1, 1)),
        ({"quantities": 8}, 2, (2, 4, 1)),
        ({"quantities": 8, "threads": 2}, 2, (2, 2, 2)),
        ({"quantities": 8, "cores": 2}, 2, (2, 2, 2)),
        ({"cores": 3}, 2, (2, 3, 1)),
        ({"threads": 2}, 2, (2, 1, 2)),
        ({"sockets": 2}, 2, (2, 1, 1)),
        ({"sockets": 1}, 1, (1, 1, 1)),
        ({"sockets": 2, "cores": 3, "threads": 2, "quantities": 12}, 2, (2, 3, 2)),
    ],
)
def test_layouts(
    personality: Personality, cpu: dict[str, int], sockets: int, layout: tuple[int, int, int]
) -> None:
    assert processors(Cpu(**cpu), with_sockets(personality, sockets)) == Processors(*layout)


@pytest.mark.parametrize(
    ("cpu", "path", "message"),
    [
        ({"sockets": 1}, "compute.cpu.sockets", "quanta_d51 has 2 sockets, not 1"),
        (
            {"quantities": 3},
            "compute.cpu.quantities",
            "3 processors cannot be spread over the 2 sockets of quanta_d51",
        ),
        (
            {"quantities": 4, "threads": 4},
            "compute.cpu.quantities",
            "4 processors on 2 sockets are 2 on each, which cannot be made of any cores x 4 threads",
        ),
        (
            {"quantities": 8, "cores": 1, "threads": 2},
            "compute.cpu.quantities",
            "8 processors on 2 sockets are 4 on each, which cannot be made of 1 cores x 2 threads",
        ),
    ],
)
def test_layouts_that_cannot_be(
    personality: Personality, cpu: dict[str, int], path: str, message: str
) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        processors(Cpu(**cpu), personality)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (path, message)


COUNT = st.none() | st.integers(1, 8)


@given(quantities=st.none() | st.integers(1, 255), cores=COUNT, threads=COUNT, sockets=st.integers(1, 4))
def test_every_layout_is_what_the_file_says(
    personality: Personality, quantities: int | None, cores: int | None, threads: int | None, sockets: int
) -> None:
    server = with_sockets(personality, sockets)
    possible = (quantities is None or quantities % (sockets * (cores or 1) * (threads or 1)) == 0) and not (
        cores and threads and quantities not in (None, sockets * cores * threads)
    )
    try:
        found = processors(Cpu(quantities=quantities, cores=cores, threads=threads), server)
    except (InvalidNodeFile, ValueError):
        assert not possible
        return
    assert possible
    assert (found.sockets, found.total) == (sockets, quantities or found.total)
    assert found.cores == (cores or found.cores)
    assert found.threads == (threads or found.threads)


def test_smbios_has_the_cores_that_the_file_gives(personality: Personality) -> None:
    server = with_sockets(personality, 2)

    def said(compute: dict[str, object], of: Personality = server) -> list[tuple[str, str, object]]:
        found = smbios_counts(Compute.model_validate({"cpu": compute} | {}), of)
        return [(key, value.field, value.value) for key, value in found]

    assert said({"quantities": 8}) == []
    assert said({"cores": 3, "threads": 2}) == [
        ("compute.cpu.cores", "core_count", 3),
        ("compute.cpu.cores", "thread_count", 6),
    ]
    assert said({"threads": 2}) == [
        ("compute.cpu.threads", "core_count", 1),
        ("compute.cpu.threads", "thread_count", 2),
    ]
    assert said({"cores": 3}, personality) == []
    own = Compute.model_validate({"cpu": {"cores": 3}, "smbios": {"type4": {"cores": 9}}})
    assert list(smbios_counts(own, server)) == []


@pytest.mark.parametrize(
    ("layout", "nodes", "places"),
    [
        ((2, 2, 1), 1, []),
        ((2, 2, 1), 2, [[(0, None)], [(1, None)]]),
        ((4, 1, 1), 2, [[(0, None), (1, None)], [(2, None), (3, None)]]),
        ((2, 4, 2), 4, [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(1, 0), (1, 1)], [(1, 2), (1, 3)]]),
        ((1, 2, 1), 2, [[(0, 0)], [(0, 1)]]),
    ],
)
def test_numa_nodes(
    layout: tuple[int, int, int], nodes: int, places: list[list[tuple[int, int | None]]]
) -> None:
    compute = Compute.model_validate({"memory": {"nodes": nodes, "size": 1025}})
    found = numa_nodes(compute, Processors(*layout))
    assert [list(node.processors) for node in found] == places
    assert sum(node.memory_mib for node in found) == (1025 if found else 0)


@pytest.mark.parametrize(
    ("layout", "nodes", "size"),
    [((2, 1, 1), 4, 64), ((2, 2, 1), 3, 64), ((3, 2, 1), 2, 64), ((1, 3, 1), 2, 64), ((1, 32, 1), 32, 63)],
)
def test_numa_nodes_that_cannot_be(layout: tuple[int, int, int], nodes: int, size: int) -> None:
    compute = Compute.model_validate({"memory": {"nodes": nodes, "size": size}})
    with pytest.raises(InvalidNodeFile, match=r"compute\.memory\.nodes: .* cannot be spread over"):
        numa_nodes(compute, Processors(*layout))
