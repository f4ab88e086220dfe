"""The window of sequence numbers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.lan.session import SequenceWindow


@pytest.mark.parametrize(("size", "first"), [(16, 0), (8, 0xFFFFFFFD), (8, 77)])
def test_each_number_is_taken_once(size: int, first: int) -> None:
    window = SequenceWindow(first, size)
    for step in range(1, 40):
        number = (first + step) & 0xFFFFFFFF
        assert window.accept(number)
        assert not window.accept(number)


def test_late_ones_are_taken_within_the_window() -> None:
    window = SequenceWindow(0, 16)
    assert window.accept(16)
    assert window.accept(1)
    assert not window.accept(0)
    assert window.accept(17)
    assert not window.accept(1)
    assert window.accept(2)


def test_what_is_too_far_ahead_is_refused() -> None:
    window = SequenceWindow(0, 16)
    assert not window.accept(17)
    assert window.accept(16)
    assert not window.accept(0x80000000)
    assert window.accept(32)


@given(st.integers(0, 0xFFFFFFFF), st.randoms(use_true_random=False))
def test_any_order_within_the_window_loses_nothing(first: int, chance: random.Random) -> None:
    window = SequenceWindow(first, 16)
    numbers = [(first + step) & 0xFFFFFFFF for step in range(1, 65)]
    for start in range(0, 64, 16):
        batch = numbers[start : start + 16]
        chance.shuffle(batch)
        assert all(window.accept(each) for each in batch)
        assert not any(window.accept(each) for each in batch)
