"""All that can be said of node files without starting them: by themselves, here, and beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from infrasim.errors import HostError, InfrasimError, InvalidNodeFile, Problem, ProgramError, UsageError
from infrasim.frozen import Frozen
from infrasim.host import probe
from infrasim.paths import Home
from infrasim.plan.claims import Node, claims, clashes, own_faults
from infrasim.runtime.needs import check_needs
from infrasim.runtime.node_map import fitting, load_registered, read_node, read_registered
from infrasim.runtime.node_text import read_text
from infrasim.runtime.planning import decide, problems_on_lines_of, relocated

if TYPE_CHECKING:
    from infrasim.host.facts import HostFacts
    from infrasim.plan.origins import Origin
    from infrasim.spec.document import Setting
    from infrasim.spec.load import LoadedNode

# By name.
Interfaces: TypeAlias = Mapping[str, Sequence[str]]


class Verdict(Frozen):
    """What was found about one node file.

    ``loaded`` is None for one that cannot be read as such. ``unseen`` says why it was not compared with this
    machine; empty if it was.
    """

    target: str
    loaded: LoadedNode | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unseen: str = ""

    def as_json(self) -> dict[str, object]:
        """The verdict as ``--json`` prints it."""
        return {
            "target": self.target,
            "node": self.loaded.spec.name if self.loaded else None,
            "type": self.loaded.spec.type if self.loaded else None,
            "valid": not self.problems,
            "problems": [problem.as_json() for problem in self.problems],
            "warnings": [warning.as_json() for warning in self.warnings],
            "unchecked": self.unseen,
        }


@dataclass
class _Findings:
    """A verdict in the making."""

    target: str
    loaded: LoadedNode | None = None
    is_registered: bool = False
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    unseen: str = ""

    def verdict(self) -> Verdict:
        """What was found, in the file's order."""
        problems, warnings = tuple(self.problems), tuple(self.warnings)
        if self.loaded is not None:
            in_order = self.loaded.document.in_order
            problems, warnings = tuple(in_order(problems)), tuple(in_order(warnings))
        return Verdict(self.target, self.loaded, problems, warnings, self.unseen)


def check(
    home: Home, targets: Sequence[str], settings: Sequence[Setting] = (), *, here: bool = True
) -> tuple[Verdict, ...]:
    """Check files and registered nodes: a registered name goes before a file, unless there is a ``/`` in it.

    ``here`` compares them with this machine too. Nodes of this home that are not among the targets count
    where two ask for one thing.

    Raises:
        UsageError: a target is neither a file nor a registered node.
    """
    found = [_read(home, target, settings) for target in targets]
    if here:
        _look_around(home, found)
    for each in found:
        if each.loaded is not None and (each.unseen or not here):
            _compare_with_type(home, each)
    interfaces = _interfaces(found) if here else {}
    given = [
        (each, _node(each.loaded, interfaces, is_registered=each.is_registered))
        for each in found
        if each.loaded
    ]
    names = {node.name for _, node in given}
    nodes = [*(node for _, node in given), *_registered(home, interfaces, except_for=names)]
    for each, node in given:
        for problem, is_grave in clashes(node, nodes):
            (each.problems if is_grave else each.warnings).append(problem)
    return tuple(each.verdict() for each in found)


def clashes_with_registered(home: Home, loaded: LoadedNode) -> tuple[Problem, ...]:
    """What a node file asks for that another registered one asks for too."""
    node = _node(loaded, {})
    return tuple(problem for problem, _ in clashes(node, _registered(home, {}, except_for={node.name})))


def explain(
    home: Home, target: str, settings: Sequence[Setting] = ()
) -> tuple[LoadedNode, tuple[Origin, ...], str]:
    """A node file, registered or not, with the origin of every value.

    The last item says why the machine was not looked at, so that what it decides is left open; else empty.

    Raises:
        UsageError: there is no such file or node.
        InvalidNodeFile: it has problems.
    """
    from infrasim.plan.origins import origins

    found = _read(home, target, settings)
    if found.loaded is None:
        raise InvalidNodeFile(found.problems)
    loaded, decided, unseen = fitting(home, found.loaded), None, ""
    try:
        with_kvm = loaded.spec.compute.kvm_enabled is not False
        decided = decide(home, loaded, probe.gather_facts(home.cache, with_kvm=with_kvm))
    except (InfrasimError, OSError) as exc:
        unseen = str(exc)
    plan, server = (decided.plan, decided.server) if decided else (None, None)
    return loaded, origins(loaded, plan, home.node(loaded.spec.name), server), unseen


def _node(loaded: LoadedNode, interfaces: Interfaces, *, is_registered: bool = False) -> Node:
    asked = tuple(claims(loaded.spec, interfaces))
    return Node(loaded.spec.name, loaded.document, asked, is_registered)


def _interfaces(found: Iterable[_Findings]) -> Interfaces:
    """The addresses of this machine, if a file names an interface."""
    specs = [each.loaded.spec for each in found if each.loaded]
    doors = [door for spec in specs for door in (spec.bmc, spec.racadm) if door is not None]
    return probe.interface_addresses() if any(door.interface for door in doors) else {}


def _read(home: Home, target: str, settings: Sequence[Setting]) -> _Findings:
    found = _Findings(target)
    try:
        if "/" not in target and target in home.registered():
            found.is_registered = True
            path, text = read_registered(home, target)
            found.loaded = read_node(home, path, text, name=target, settings=settings)
        elif (path := Path(target)).exists():
            found.loaded = read_node(home, path, read_text(path), name=None, settings=settings)
        else:
            names = ", ".join(home.registered()) or "none"
            raise UsageError(
                f"{target!r} is neither a file nor a registered node", hint=f"registered nodes: {names}"
            )
    except InvalidNodeFile as exc:
        found.problems += exc.problems
    if found.loaded is not None:
        found.warnings += found.loaded.warnings
    return found


def _registered(home: Home, interfaces: Interfaces, *, except_for: set[str]) -> list[Node]:
    nodes = []
    for name in home.registered():
        if name not in except_for:
            try:
                nodes.append(_node(load_registered(home, name), interfaces, is_registered=True))
            except InfrasimError:
                # It has problems of its own, which are not this file's.
                continue
    return nodes


def _look_around(home: Home, found: Sequence[_Findings]) -> None:
    """Compare what could be read with this machine."""
    readable = [each for each in found if each.loaded is not None]
    with_kvm = any(each.loaded and each.loaded.spec.compute.kvm_enabled is not False for each in readable)
    try:
        facts = probe.gather_facts(home.cache, with_kvm=with_kvm) if readable else None
    except (HostError, ProgramError, OSError) as exc:
        for each in readable:
            each.unseen = str(exc)
        return
    for each in readable:
        assert facts is not None
        _compare(home, each, facts)


def _compare_with_type(home: Home, found: _Findings) -> None:
    """What a plan would find too."""
    assert found.loaded is not None
    found.problems += relocated(own_faults(found.loaded.spec), found.loaded.document)
    try:
        fitting(home, found.loaded)
    except InvalidNodeFile as exc:
        found.problems += exc.problems


def _compare(home: Home, found: _Findings, facts: HostFacts) -> None:
    assert found.loaded is not None
    try:
        decided = decide(home, found.loaded, facts)
        found.warnings += decided.doubts
        with problems_on_lines_of(found.loaded.document):
            check_needs(decided.plan, home.node(decided.plan.name))
    except InvalidNodeFile as exc:
        found.problems += exc.problems
    except UsageError as exc:
        found.problems.append(Problem(found.loaded.document.file, 0, 0, "", exc.message, exc.hint))
    except InfrasimError as exc:
        # Of this machine as a whole, such as that a program does not run.
        found.unseen = exc.message
