"""A Dell server as its plan makes it, with a BMC that answers what the test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from racadm_bench import FakeBmc

from infrasim.bmc.hardware import Hardware
from infrasim.bmc.settings import RacadmSettings
from infrasim.jsonform import from_json
from infrasim.paths import Home, shipped_types
from infrasim.personality.registry import load_type
from infrasim.personality.smbios import decode_structure
from infrasim.plan.model import NodePlan
from infrasim.racadm.ports import Server, Session

MakePlan = Callable[[Home, str, str], NodePlan]
HOME = Home(Path("/h"), Path("/l"))
GIB = 1 << 30

MakeSession = Callable[..., Session]

# Reading a server type and planning take a while, and give the same each time.
_SERVERS: dict[tuple[str, str], tuple[Server, tuple[bytes, ...]]] = {}


def _made(make_plan: MakePlan, server_type: str, more: str) -> tuple[Server, tuple[bytes, ...]]:
    """A server with its sensor data records."""
    plan = make_plan(HOME, "a", f"type: {server_type}\nracadm: {{}}\nserial_number: HG2H8D2\n{more}")
    content = {file.path: file.content for file in plan.files}
    paths = HOME.node("a")
    server = Server(
        settings=from_json(RacadmSettings, json.loads(content[paths.racadm_settings])),
        hardware=from_json(Hardware, json.loads(content[paths.hardware])),
        structures=tuple(decode_structure(data) for path, data in content.items() if path.suffix == ".bin"),
        size_bytes=lambda drive: None if drive.size_gib is None else drive.size_gib * GIB,
    )
    entries = enumerate(load_type(server_type, [shipped_types()]).sdrs, 1)
    return server, tuple(entry.record.encode(number) for number, entry in entries)


@pytest.fixture
def make_session(make_plan: MakePlan) -> MakeSession:
    """A function that makes a session on a node of Dell's from the text of its file."""

    def make(
        server_type: str = "dell_r730",
        more: str = "",
        canned: Callable[[str], str | None] = lambda name: None,
    ) -> Session:
        key = (server_type, more)
        if key not in _SERVERS:
            _SERVERS[key] = _made(make_plan, server_type, more)
        server, records = _SERVERS[key]
        return Session(server, FakeBmc(records), canned)

    return make


@pytest.fixture
def session(make_session: MakeSession) -> Session:
    """A session on a PowerEdge R730."""
    return make_session()
