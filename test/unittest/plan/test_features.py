"""Values of CPU features that a QEMU refuses: those that no value can be, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.plan.features import wrong_features
from infrasim.spec.load import load_node

FACTS = HostFacts("/opt/qemu", (9, 1, 2), "/i", "/s", KvmVerdict(False, "not here"))
TYPE = "qemu: can't apply global max-x86_64-cpu.xlevel=foo: Parameter 'xlevel' expects uint64"
BEYOND_EMULATION = "qemu: TCG only supports phys-bits=40"


def found(features: str, said: dict[str, str]) -> tuple[list[str], list[str]]:
    """What is said of features, and which were tried; ``said`` is what QEMU says to each."""
    tried = []

    def refusal(words: Sequence[str]) -> str:
        tried.append(words[-1])
        return said.get(words[-1], "")

    compute = load_node(Path("n"), f"compute: {{cpu: {{features: '{features}'}}}}").spec.compute
    facts = dataclasses.replace(FACTS, try_qemu=refusal)
    problems = [f"{each.path}: {each.message}" for each in wrong_features(compute, facts)]
    return problems, tried


def test_a_value_that_cannot_be_is_told_in_qemus_words() -> None:
    problems, tried = found("+vmx,xlevel=foo,level=5", {"max,xlevel=foo": TYPE})
    assert problems == [
        "compute.cpu.features: QEMU does not take xlevel=foo: Parameter 'xlevel' expects uint64"
    ]
    assert tried == ["max,xlevel=foo", "max,level=5"]


@pytest.mark.parametrize("said", [{}, {"max,phys-bits=46": BEYOND_EMULATION}])
def test_what_only_emulation_cannot_is_left_to_the_start(said: dict[str, str]) -> None:
    assert found("phys-bits=46", said) == ([], ["max,phys-bits=46"])


def test_nothing_is_tried_for_features_without_a_value() -> None:
    assert found("+vmx,-svm", {}) == ([], [])
    compute = load_node(Path("n"), "compute: {cpu: {features: 'level=5'}}").spec.compute
    assert list(wrong_features(compute, FACTS)) == []
