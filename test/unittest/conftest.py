"""Unit tests touch no process and no network: an audit hook refuses it unless the test is marked.

``@pytest.mark.allow("process")`` lets a test start and signal processes, ``allow("socket")``
lets it bind and connect. What is raised is a BaseException, so that no ``except Exception`` in
the code under test swallows it. Code that runs while tests are collected is refused as well:
importing a module must do nothing.

``golden`` compares a text with a file under golden/; ``--refresh-golden`` writes these files anew.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import urllib3  # noqa: F401  # before the hook, because importing it binds a socket to try IPv6

if TYPE_CHECKING:
    from infrasim.paths import Home
    from infrasim.plan.model import NodePlan

# How long an example takes, or to make one, says how busy the machine is.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")

REFUSED = {
    "subprocess.Popen": "process",
    "os.fork": "process",
    "os.forkpty": "process",
    "os.exec": "process",
    "os.posix_spawn": "process",
    "os.spawn": "process",
    "os.system": "process",
    "os.kill": "process",
    "os.killpg": "process",
    "signal.pthread_kill": "process",
    "pty.spawn": "process",
    "socket.connect": "socket",
    "socket.bind": "socket",
    "socket.sendto": "socket",
    "socket.sendmsg": "socket",
}


class ForbiddenInUnitTest(BaseException):
    """A unit test reached for a process or the network without being marked for it."""


class Guard:
    """What is allowed at the moment."""

    def __init__(self) -> None:
        self.active = True
        self.allowed: frozenset[str] = frozenset()

    def check(self, event: str, arguments: tuple[object, ...]) -> None:
        """The audit hook; it can never be removed, therefore ``active``."""
        kind = REFUSED.get(event)
        if kind is None or not self.active or kind in self.allowed:
            return
        raise ForbiddenInUnitTest(f"{event}{arguments!r}: mark the test with @pytest.mark.allow({kind!r})")


GUARD = Guard()
sys.addaudithook(GUARD.check)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to write golden files instead of comparing with them."""
    parser.addoption("--refresh-golden", action="store_true", help="write the files under golden/ anew")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "allow(kinds): 'process' and 'socket' are not refused in this test")


def pytest_unconfigure() -> None:
    """What pytest and its plugins do at the end is theirs."""
    GUARD.active = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Apply the test's marks to its fixtures and to itself."""
    GUARD.allowed = frozenset(kind for mark in item.iter_markers("allow") for kind in mark.args)
    try:
        return (yield)
    finally:
        GUARD.allowed = frozenset()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function that compares a text with the golden file of that name, whole."""
    folder = Path(__file__).parent / "golden"
    refresh = request.config.getoption("--refresh-golden")

    def compare(name: str, text: str) -> None:
        path = folder / name
        if refresh:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == kept, f"{path} differs; if it should, run pytest --refresh-golden and look at the diff"

    return compare


@pytest.fixture(scope="session")
def make_plan() -> Callable[[Home, str, str], NodePlan]:
    """A function that plans a node of a home from the text of its file, on a machine that has everything."""
    from infrasim.host.facts import HostFacts, KvmVerdict
    from infrasim.paths import shipped_types
    from infrasim.personality.registry import load_type
    from infrasim.plan.planner import plan_node
    from infrasim.spec.load import load_node

    kvm = KvmVerdict(False, "/dev/kvm does not exist")
    facts = HostFacts("/usr/bin/qemu-system-x86_64", (7, 2), "/usr/bin/ipmi_sim", "/usr/bin/socat", kvm)

    types = functools.cache(lambda name: load_type(name, [shipped_types()]))

    def make(home: Home, name: str, text: str) -> NodePlan:
        spec = load_node(home.map_file(name), text, name=name).spec
        return plan_node(spec, types(spec.type), facts, home.node(name), home=home)

    return make
