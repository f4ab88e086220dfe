"""Which argument lists are a node's, compared with those of its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from infrasim.host.process import Identity
from infrasim.host.table import Found
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import NodePlan
from infrasim.runtime import strays
from infrasim.runtime.strays import find_strays, role

MakePlan = Callable[[Home, str, str], NodePlan]


def daemon(paths: NodePaths) -> tuple[str, ...]:
    words = ("/usr/bin/python3", "-m", "infrasim.runtime.daemon", paths.name, str(paths.workspace))
    return (*words, str(paths.log_dir), "background", "9")


@pytest.mark.parametrize("root", ["/h", "/a home", "/a,b:c", "/100%", "/it(s)"])
def test_every_process_of_a_plan_is_known_by_its_words(make_plan: MakePlan, root: str) -> None:
    home = Home(Path(root), Path("/l"))
    paths = home.node("a")
    has_tpm = "," not in root
    shell = "type: dell_r730\nracadm: {}\n"
    plan = make_plan(home, "a", f"{shell}compute: {{tpm: 2.0}}" if has_tpm else shell)
    assert {spec.name: role(spec.argv, paths) for spec in plan.processes} == {
        name: name for name in ("socat", *(("swtpm",) if has_tpm else ()), "ipmi_sim", "qemu", "racadm")
    }
    assert role(daemon(paths), paths) == "supervisor"


@pytest.mark.parametrize(
    ("root", "name"), [("/h", "b"), ("/h", "aa"), ("/hh", "a"), ("/h/a", "a"), ("/", "h"), ("/h2", "a")]
)
def test_processes_of_other_nodes_and_homes_are_not(make_plan: MakePlan, root: str, name: str) -> None:
    mine = Home(Path("/h"), Path("/l")).node("a")
    home = Home(Path(root), Path("/l"))
    plan = make_plan(home, name, "type: dell_r730\nracadm: {}\n")
    for argv in (*(spec.argv for spec in plan.processes), daemon(home.node(name))):
        assert role(argv, mine) is None


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("",),
        ("vi", "/h/a/data/vbmc.conf"),
        ("vi", "-c", "/h/a/data/vbmc.conf"),
        ("ipmi_sim", "-f", "/h/a/data/vbmc.conf"),
        ("ipmi_sim", "-c", "/h/a/data/vbmc.conf.old"),
        ("socat", "-", "UNIX-CONNECT:/h/a/run/serial.sock"),
        ("qemu-img", "info", "/h/a/disks/disk-sata-0-0.qcow2"),
        ("qemu-system-x86_64", "-drive", "file=/h/a/run/qmp.sock"),
        ("python3", "-m", "infrasim.runtime.daemon"),
        ("python3", "-m", "infrasim.runtime.daemon", "a"),
        ("python3", "-m", "infrasim.runtime.racadm", "a"),
        ("python3", "-m", "infrasim.runtime.racadm", "a", "/h/b", "/l/a"),
        ("python3", "-m", "infrasim", "node", "stop", "a"),
    ],
)
def test_others_that_touch_the_same_files_are_not(argv: Sequence[str]) -> None:
    assert role(argv, Home(Path("/h"), Path("/l")).node("a")) is None


def test_known_ones_and_what_they_forked_are_no_strays(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(pid: int) -> Identity:
        return Identity(pid, pid, "boot")

    found = [
        Found("socat", identity(10), 10),
        Found("socat", identity(11), 10),
        Found("qemu", identity(20), 20),
        Found("supervisor", identity(30), 30),
        Found("qemu", identity(5), 5),
    ]

    def find(judge: object) -> Iterable[Found]:
        return found

    monkeypatch.setattr(strays, "find_processes", find)
    paths = Home(Path("/h"), Path("/l")).node("a")

    def left(*known: Identity) -> list[int]:
        return [each.identity.pid for each in find_strays(paths, known)]

    assert left() == [30, 5, 20, 10, 11], "the supervisor first, then the host"
    assert left(identity(10), identity(20)) == [30, 5]
    assert left(Identity(20, 1, "boot")) == [30, 5, 10, 11], "its pid is another's now, its group is not"
