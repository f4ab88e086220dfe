"""Which processors of this machine a host gets, and which other nodes leave to it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.errors import InvalidNodeFile
from infrasim.host.facts import Core, HostFacts, KvmVerdict, Reserved
from infrasim.plan.model import Binding
from infrasim.plan.pinning import binding, chosen
from infrasim.spec.node import Compute

# Two sockets with a node each, four cores of two threads.
CORES = tuple(Core(number, number // 8, number // 8, number & ~1) for number in range(16))
FACTS = HostFacts("q", (7,), "i", "s", KvmVerdict(False, ""), ask_cores=lambda: CORES)


def bound(**keys: object) -> Binding | None:
    return binding(Compute.model_validate(keys), 2, FACTS, Reserved(), ())


def test_nothing_is_pinned_that_is_not_asked_for() -> None:
    assert bound() is None


def test_by_hand() -> None:
    assert bound(numa_control={"mode": "manual", "cores": "0-2,9"}) == Binding((0, 1, 2, 9))
    assert bound(numa_control={"mode": "manual", "node-id": 1}) == Binding(tuple(range(8, 16)))
    assert bound(cpu_binding={"main_loop": {"cores": 3}, "vcpu": {"cores": "5,4"}}) == Binding(
        (), (3,), ((5,), (4,))
    )
    shared = bound(cpu_binding={"vcpu": {"cores": "5,4,6", "policy": "shared"}})
    assert shared == Binding((), (), ((5, 4, 6), (5, 4, 6)))
    assert shared.own_cores == (5, 4, 6, 5, 4, 6)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"numa_control": {"mode": "manual", "cores": "14-17"}},
            "compute.numa_control.cores: this machine has no processor 16, 17 to run on (it has: 0-15)",
        ),
        (
            {"numa_control": {"mode": "manual", "node-id": 2}},
            "compute.numa_control.node-id: this machine has no NUMA node 2 (it has: 0, 1)",
        ),
        (
            {"numa_control": {"mode": "manual"}},
            "compute.numa_control.mode: 'manual' needs to know where (add 'cores' or 'node-id', or leave "
            "'mode' out)",
        ),
        (
            {"cpu_binding": {"vcpu": {"cores": "0-2"}}},
            "compute.cpu_binding.vcpu.cores: policy mono gives each of 2 threads one, and these are 3 "
            "(write as many, or policy: shared)",
        ),
        (
            {"cpu_binding": {"main_loop": {"cores": "99"}}},
            "compute.cpu_binding.main_loop.cores: this machine has no processor 99 to run on (it has: 0-15)",
        ),
    ],
)
def test_what_this_machine_has_not(keys: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        bound(**keys)
    (problem,) = caught.value.problems
    assert f"{problem.path}: {problem.message} ({problem.hint})" == said


def test_whole_cores_of_one_node_that_the_machine_can_spare() -> None:
    assert chosen(4, CORES, (), ()) == (2, 3, 4, 5)
    assert chosen(4, CORES, (2, 3, 4, 5), ()) == (10, 11, 12, 13)
    assert chosen(8, CORES, (), ()) == (2, 3, 4, 5, 6, 7, 10, 11), "spared ones last"
    assert chosen(16, CORES, (), ()) == tuple(range(16))
    assert chosen(20, CORES, (), ()) == tuple(range(16))


def test_a_node_keeps_what_it_had_unless_somebody_else_has_it() -> None:
    assert chosen(2, CORES, (), (6, 7)) == (6, 7)
    assert chosen(2, CORES, (7,), (6, 7)) == (2, 3)
    assert chosen(4, CORES, (), (6, 7)) == (2, 3, 4, 5)
    assert chosen(2, CORES, (), (98, 99)) == (2, 3)


@given(st.lists(st.integers(1, 6), max_size=8))
def test_no_two_nodes_share_while_others_are_free(sizes: list[int]) -> None:
    taken: list[int] = []
    for size in sizes:
        free = len(CORES) - len(set(taken))
        mine = chosen(size, CORES, taken, ())
        assert len(set(mine)) == size
        assert len(set(mine) & set(taken)) == max(0, size - free), "as few as can be"
        taken += mine


def test_processors_that_cannot_be_asked_for_are_none() -> None:
    nobody = dataclasses.replace(FACTS, ask_cores=None)
    compute = Compute.model_validate({"cpu_binding": {"main_loop": {"cores": 0}}})
    with pytest.raises(InvalidNodeFile, match="no processor 0"):
        binding(compute, 2, nobody, Reserved(), ())
