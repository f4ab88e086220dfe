"""The plan of a node on this machine: made anew, or the last one when nothing it came from has changed."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from infrasim.errors import (
    HostError,
    InfrasimError,
    InvalidNodeFile,
    MissingProgramsError,
    Problem,
    ProgramError,
)
from infrasim.frozen import Frozen
from infrasim.host import probe
from infrasim.host.facts import HostFacts, Reserved, Socket
from infrasim.host.files import sha256_file
from infrasim.host.namespace import inside
from infrasim.host.process import boot_id, find_program
from infrasim.paths import Home, NodePaths, template_dir
from infrasim.plan.model import NodePlan, read_kept, read_plan
from infrasim.runtime.named_files import read_named_files, server_of
from infrasim.runtime.state import read_state
from infrasim.runtime.status import living, node_names, unknown_node

if TYPE_CHECKING:
    from infrasim.personality.model import Personality
    from infrasim.plan.fault import Faults
    from infrasim.plan.model import Needs
    from infrasim.spec.document import Document, Setting
    from infrasim.spec.load import LoadedNode
    from infrasim.spec.node import NodeSpec

A = TypeVar("A")
R = TypeVar("R")


class Planned(Frozen):
    """A plan and what it came from.

    ``warnings`` are about the node file; ``made_from`` is a digest of everything the plan depends on but
    bound sockets, other nodes and the address of an interface that the node file names. ``included`` are the
    files that the node file includes, or names for cloud-init or SMBIOS, with the SHA-256 of each, and
    ``settings`` what went before it; ``qemu`` is the QEMU that it names.
    ``is_last`` says that it is the plan of the last start, whose files lie in the workspace, so it carries
    none.
    """

    plan: NodePlan
    node_text: str
    warnings: tuple[Problem, ...]
    made_from: str
    names_interface: bool = False
    included: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    qemu: str = probe.QEMU_PROGRAM
    is_last: bool = False


def plan(home: Home, name: str, settings: Sequence[Setting] = ()) -> Planned:
    """Everything that would be done to start a node now; touches nothing of it.

    ``settings`` go before what the node file says.

    Raises:
        InvalidNodeFile: the node file has problems.
        UsageError: there is no such node, or it cannot be as it is written.
        HostError: this machine lacks a program.
    """
    with _nothing_collected():
        return _plan(home, name, settings)


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Without looking for garbage: what planning imports and makes is kept, and a look at it takes 10 ms."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _plan(home: Home, name: str, settings: Sequence[Setting]) -> Planned:
    from infrasim.runtime.node_map import read_node, read_registered
    from infrasim.runtime.node_text import Includes

    if not home.map_file(name).exists():
        raise unknown_node(home, name)
    node_file, text = read_registered(home, name)
    includes = Includes()
    loaded = read_node(home, node_file, text, name=name, includes=includes, settings=settings)
    require_extras(loaded.spec)
    facts = probe.gather_facts(home.cache, with_kvm=loaded.spec.compute.kvm_enabled is not False)
    qemu = loaded.spec.compute.qemu_bin or probe.QEMU_PROGRAM
    decided = decide(home, loaded, facts)
    included = {**includes.digests, **decided.files}
    return Planned(
        decided.plan,
        text,
        (*loaded.warnings, *decided.doubts),
        origin_digest(home, name, text, included=included, settings=settings, qemu=qemu),
        names_interface=_names_interface(loaded.spec),
        included=included,
        settings=tuple(settings),
        qemu=qemu,
    )


def _names_interface(spec: NodeSpec) -> bool:
    """Whether an address of the plan is that of an interface, and may be another one tomorrow."""
    return any(door is not None and door.interface is not None for door in (spec.bmc, spec.racadm))


def require_extras(spec: NodeSpec) -> None:
    """See that what not every node needs is there.

    Raises:
        MissingProgramsError: it is not, with all of it.
    """
    from infrasim.packages.catalogue import missing_programs
    from infrasim.plan.firmware import needed_programs

    if missing := missing_programs(needed_programs(spec.compute)):
        raise MissingProgramsError(missing)


class Decided(Frozen):
    """The plan of a node file, what is doubtful about it on this machine, and what went into it beside it.

    ``server`` is the server type, with the SMBIOS table that the node file names; ``files`` are those that it
    names for cloud-init or SMBIOS, each with the SHA-256 of what was read.
    """

    plan: NodePlan
    doubts: tuple[Problem, ...]
    server: Personality
    files: Mapping[str, str]


def decide(home: Home, loaded: LoadedNode, facts: HostFacts) -> Decided:
    """The plan of a node file that was read, registered or not.

    Raises:
        InvalidNodeFile: it cannot be on this machine or of its server type, with everything that is wrong.
    """
    from infrasim.plan import limits
    from infrasim.plan.fault import Faults
    from infrasim.plan.planner import NoPlan, plan_node
    from infrasim.runtime.images import size_doubts

    spec, faults = loaded.spec, Faults()
    paths = home.node(spec.name)
    facts = _facts_of(home, spec, facts, faults)
    named = faults.tried(lambda: read_named_files(spec))
    server = faults.tried(lambda: server_of(home, spec, named))
    decided: NodePlan | None = None
    needs: NodePlan | Needs
    try:
        decided = needs = plan_node(
            spec,
            server,
            facts,
            paths,
            home=home,
            previous=read_kept(paths.plan),
            reserved=reserved_by_others(home, spec.name, spec.namespace),
            texts=named.for_seed if named else {},
        )
    except NoPlan as exc:
        faults.add(exc.problems)
        needs = exc.needs
    if decided is None or server is None or named is None or faults.found:
        _look_at_needs(needs, paths, faults, facts)
        raise InvalidNodeFile(loaded.document.in_order(relocated(faults.found, loaded.document)))
    doubts = [*limits.doubts(spec, facts), *size_doubts(decided)]
    return Decided(decided, relocated(doubts, loaded.document), server, named.digests)


def _facts_of(home: Home, spec: NodeSpec, facts: HostFacts, faults: Faults) -> HostFacts:
    """This machine as the node sees it, with its own QEMU; what cannot be seen is left open."""
    from infrasim.plan import limits

    previous = read_plan(home.node(spec.name).plan)
    namespace, program = spec.namespace, spec.compute.qemu_bin
    if namespace is not None:
        inside = faults.tried(lambda: _facts_inside(namespace, facts))
        facts = inside or replace(facts, knows_network=False)
    if previous is not None and living(read_state(home.node(spec.name).state)):
        facts = facts.without(udp=previous.sockets("udp"), tcp=previous.sockets("tcp"))
    if program is not None:
        other = faults.tried(lambda: _with_own_qemu(home, facts, program))
        facts = other or replace(facts, ask_qemu=None, try_qemu=None)
    faults.add(limits.faults(spec, facts))
    return facts


def _look_at_needs(needs: NodePlan | Needs, paths: NodePaths, faults: Faults, facts: HostFacts) -> None:
    """What else keeps a node from starting whose file is wrong already."""
    from infrasim.runtime.needs import check_needs  # late: only a wrong file pays for it

    known = needs if facts.knows_network else replace(needs, links=())
    # That this machine cannot be asked is said when nothing else is wrong.
    with contextlib.suppress(HostError, ProgramError):
        faults.tried(lambda: check_needs(known, paths))


def _with_own_qemu(home: Home, facts: HostFacts, program: str) -> HostFacts:
    """This machine with that QEMU, whatever is wrong with which is a problem of its key."""
    with _blamed_on_own_qemu():
        if find_program(program) is None:
            raise HostError(f"there is no program {program}")
        facts = probe.with_qemu(facts, home.cache, program)
    return replace(facts, ask_qemu=_blaming(facts.ask_qemu), try_qemu=_blaming(facts.try_qemu))


def _blaming(ask: Callable[[A], R] | None) -> Callable[[A], R] | None:
    """A question to a node's own QEMU whose failure is a problem of its key."""
    if ask is None:
        return None

    def asked(what: A) -> R:
        with _blamed_on_own_qemu():
            return ask(what)

    return asked


@contextlib.contextmanager
def _blamed_on_own_qemu() -> Iterator[None]:
    from infrasim.plan.fault import problem

    try:
        yield
    except InfrasimError as exc:
        message = next(iter(exc.message.splitlines()), "")
        raise problem("compute.qemu_bin", message, "leave it out for the usual QEMU") from exc


def _facts_inside(namespace: str, facts: HostFacts) -> HostFacts:
    """This machine as it is seen from a network namespace."""
    try:
        with inside(namespace):
            if probe.loopback_is_up():
                return replace(facts, **probe.network_facts(namespace))
    except HostError as exc:
        raise InvalidNodeFile([Problem("", 0, 0, "namespace", exc.message, exc.hint)]) from exc
    message = f"the loopback interface of the network namespace {namespace!r} is down"
    hint = f"run: ip -n {namespace} link set lo up"
    raise InvalidNodeFile([Problem("", 0, 0, "namespace", message, hint)])


def relocated(problems: Iterable[Problem], document: Document) -> tuple[Problem, ...]:
    """Problems with the lines that they have in the node file."""
    found = tuple(problems)
    if not found:
        return ()
    from infrasim.spec.problems import relocate

    return relocate(InvalidNodeFile(found), document).problems


@contextlib.contextmanager
def problems_on_lines_of(document: Document | Callable[[], Document]) -> Iterator[None]:
    """Problems raised inside get the lines they have in the node file, which is read only for that."""
    try:
        yield
    except InvalidNodeFile as exc:
        from infrasim.spec.problems import relocate

        raise relocate(exc, document() if callable(document) else document) from exc


def document_of(home: Home, planned: Planned) -> Document:
    """The node file that a plan was made from."""
    from infrasim.runtime.node_text import Includes
    from infrasim.spec.load import read_document

    file = home.map_file(planned.plan.name)
    return read_document(file, planned.node_text, include=Includes(), settings=planned.settings)


def last_plan(home: Home, name: str, settings: Sequence[Setting] = ()) -> Planned | None:
    """The plan of the last start if planning again would give the same; None if that is not certain.

    Planning imports and compiles a lot; most starts are of nodes that nobody has edited.
    """
    paths = home.node(name)
    try:
        text = home.map_file(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    previous = read_plan(paths.plan)
    try:
        kept = json.loads(paths.plan.read_bytes())
        included, qemu = kept["included"], kept["qemu"]
        made_from = origin_digest(home, name, text, included=included, settings=settings, qemu=qemu)
        if previous is None or kept["made_from"] != made_from or kept["warnings"]:
            return None
        if not includes_are_as_they_were(included):
            return None
        # Its address may change without any file changing.
        if kept["names_interface"]:
            return None
        if not all(sha256_file(Path(file["path"])) == file["sha256"] for file in kept["files"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    others = reserved_by_others(home, name, previous.namespace)
    if previous.vnc_display in others.vnc_displays or others.sockets & previous.kept.sockets:
        return None
    if any(disk.path in others.disks and not disk.is_shared for disk in previous.disks):
        return None
    if others.macs.keys() & previous.macs:
        return None
    # What sits in a slot may change without any file changing.
    if previous.passthrough:
        return None
    # Another user may have other rights.
    if previous.links and not probe.may_make_links():
        return None
    try:
        with inside(previous.namespace):
            if not probe.loopback_is_up():
                return None
            in_use = {protocol: probe.bound_sockets(protocol) for protocol in ("udp", "tcp")}
    except HostError:
        return None
    if any(in_use[protocol] & previous.sockets(protocol) for protocol in in_use):
        return None
    return Planned(
        previous, text, (), made_from, included=included, settings=tuple(settings), qemu=qemu, is_last=True
    )


def includes_are_as_they_were(included: Mapping[str, str]) -> bool:
    """Whether every included file still has its SHA-256.

    Raises:
        OSError: one cannot be read.
    """
    return all(sha256_file(Path(path)) == digest for path, digest in included.items())


def origin_digest(
    home: Home, name: str, text: str, *, included: Mapping[str, str], settings: Sequence[Setting], qemu: str
) -> str:
    """A digest of what a plan is made from, as hex.

    That is the node file with what it includes and what went before it, infrasim itself, its data, the
    programs and this boot.
    """
    digest = hashlib.sha256(f"{home.root}\0{home.log_root}\0{name}\0{text}\0{boot_id()}".encode())
    for words in (*(f"{path}\0{sha256}" for path, sha256 in included.items()), *map(setting_text, settings)):
        digest.update(f"\0{words}".encode())
    for path in sources(home, qemu):
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def setting_text(setting: Setting) -> str:
    """A setting as it was given."""
    from infrasim.spec.document import dotted

    return f"{dotted(setting.path)}={setting.text}"


def reserved_by_others(home: Home, name: str, namespace: str | None) -> Reserved:
    """What the other nodes of this home have been given, running or not.

    Addresses and ports are those of one network namespace.
    """
    sockets: set[Socket] = set()
    displays: set[int] = set()
    disks: dict[Path, str] = {}
    macs: dict[str, str] = {}
    cores: list[int] = []
    for other in node_names(home):
        kept = read_kept(home.node(other).plan) if other != name else None
        if kept is None:
            continue
        disks.update(dict.fromkeys(kept.disks, other))
        macs.update(dict.fromkeys(kept.macs, other))
        cores += kept.cores
        if kept.namespace != namespace:
            continue
        sockets |= kept.sockets
        if kept.vnc_display is not None:
            displays.add(kept.vnc_display)
    return Reserved(frozenset(sockets), frozenset(displays), disks, macs, tuple(cores))


def sources(home: Home, qemu: str) -> Iterator[Path]:
    """Every file a plan depends on beside the node file: infrasim itself, its data, the programs."""
    package = Path(__file__).parents[1]
    roots: Sequence[tuple[Path, str]] = (
        (package, "**/*.py"),
        (template_dir(), "**/*"),
        *((folder, "*/*") for folder in home.type_folders),
        (home.cache, "*.json"),
        *(((probe.cache_of(home.cache, qemu), "*.json"),) if qemu != probe.QEMU_PROGRAM else ()),
    )
    for root, pattern in roots:
        yield from sorted(root.glob(pattern))
    programs = (qemu, probe.IPMI_SIM_PROGRAM, probe.SOCAT_PROGRAM, probe.SWTPM_PROGRAM)
    yield from (Path(found) for program in programs if (found := find_program(program)))
