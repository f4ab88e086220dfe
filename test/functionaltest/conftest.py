"""Fixtures of the functional tests: scratch homes, a running node, a booted guest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from guest.build import Guest, build_guest
from lab import Lab, lab


@pytest.fixture(scope="session")
def guest() -> Guest:
    """The small Linux guest, from the cache when it is there."""
    return build_guest()


@pytest.fixture
def scratch(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """An empty home for one test."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        yield home


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A home whose node ``n`` runs, shared by a module's tests."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start()
        yield home
