"""The registered node files of a home: add, update, edit, delete, list.

A file is kept byte for byte, comments included; only a ``name`` that differs from the one it is
registered under is exchanged. What it includes is copied into a folder beside it, and the names behind
``!include`` lead there, so a registered node does not change when somebody changes the originals
(``spec.bundle``). It is checked as a whole before anything is written. Passwords are in it, so files have
mode 0600 and their folders 0700.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from infrasim.errors import HostError, InfrasimError, InvalidNodeFile, Problem, ProgramError, UsageError
from infrasim.frozen import Frozen
from infrasim.host.files import locked, make_dir, remove_tree, write_atomic, write_if_changed
from infrasim.host.process import command_line, describe_exit, run_interactive
from infrasim.paths import DEFAULT_NODE, Home
from infrasim.runtime.node_text import Includes, read_text
from infrasim.spec.document import load_document

if TYPE_CHECKING:
    from infrasim.spec.bundle import Bundle
    from infrasim.spec.document import Setting
    from infrasim.spec.load import LoadedNode

_LOCK_WAIT_S = 10.0


class Registered(Frozen):
    """A registered node file at a glance; ``error`` says why its type is not known."""

    name: str
    server_type: str
    path: Path
    error: str = ""

    def as_json(self) -> dict[str, object]:
        """The entry as ``--json`` prints it."""
        return {"name": self.name, "type": self.server_type, "file": str(self.path), "error": self.error}


class Stored(Frozen):
    """What became of a file; ``changed`` is False when the registered text was the same already."""

    path: Path
    warnings: tuple[Problem, ...] = ()
    changed: bool = True


def list_registered(home: Home) -> tuple[Registered, ...]:
    """Every registered node file, by name. One that cannot be read is listed with its error."""
    return tuple(_glance(home, name) for name in home.registered())


def read_registered(home: Home, name: str) -> tuple[Path, str]:
    """Path and text of the file of node ``name``.

    Raises:
        UsageError: there is none of that name, or it is not text.
        HostError: it cannot be read.
    """
    path = home.map_file(name)
    if not path.exists():
        raise _unknown(home, name)
    return path, read_text(path)


def load_registered(home: Home, name: str, settings: Sequence[Setting] = ()) -> LoadedNode:
    """The checked file of node ``name``, with ``settings`` before what it says.

    Raises:
        InvalidNodeFile: with every problem of it.
        UsageError: there is none of that name.
    """
    return fitting(home, read_node(home, *read_registered(home, name), name=name, settings=settings))


def read_node(
    home: Home,
    path: Path,
    text: str,
    *,
    name: str | None,
    includes: Includes | None = None,
    settings: Sequence[Setting] = (),
) -> LoadedNode:
    """A node file checked by itself; whether it fits its server type is for ``fitting``.

    Raises:
        InvalidNodeFile: with every problem of it.
    """
    from infrasim.personality.registry import type_names
    from infrasim.spec.load import load_node

    return load_node(
        path,
        text,
        name=name,
        known_types=type_names(home.type_folders),
        include=includes or Includes(),
        settings=settings,
    )


def fitting(home: Home, loaded: LoadedNode) -> LoadedNode:
    """``loaded``, if its server type can have what it says.

    Raises:
        InvalidNodeFile: it cannot.
    """
    from uuid import NAMESPACE_URL, UUID

    from infrasim.plan.identity import compile_node, wanted_uuid
    from infrasim.runtime.named_files import server_of
    from infrasim.spec.problems import relocate

    smbios = loaded.spec.compute.smbios
    if smbios is not None and smbios.file is not None and not Path(smbios.file).exists():
        # As with images: it may come before the start. Without it nobody can say what fits.
        return loaded
    wanted = wanted_uuid(loaded.spec)
    try:
        personality = server_of(home, loaded.spec)
        compile_node(loaded.spec, personality, UUID(wanted) if wanted else NAMESPACE_URL)
    except InvalidNodeFile as exc:
        raise relocate(exc, loaded.document) from exc
    return loaded


def add(home: Home, name: str, source: Path) -> Stored:
    """Register a copy of the file ``source`` as node ``name``.

    Raises:
        InvalidNodeFile: with every problem of it; nothing is written.
        UsageError: the name is taken or cannot be one.
    """
    target = home.map_file(name)
    kept, loaded = _checked(home, name, source, read_text(source))
    make_dir(home.node_map)
    with _exclusive(home):
        if target.exists():
            raise UsageError(
                f"node {name!r} is registered already: {target}",
                hint=f"replace its file with: infrasim config update {name} {source}",
            )
        _store(home, name, kept)
    return Stored(target, _warnings(home, loaded))


def update(home: Home, name: str, source: Path) -> Stored:
    """Replace the file of node ``name`` by a copy of ``source``.

    Raises:
        InvalidNodeFile: with every problem of it; nothing is written.
        UsageError: there is no such node.
    """
    target = home.map_file(name)
    if not target.exists():
        raise _unknown(home, name, hint=f"register it with: infrasim config add {name} {source}")
    kept, loaded = _checked(home, name, source, read_text(source))
    with _exclusive(home):
        changed = _store(home, name, kept)
    return Stored(target, _warnings(home, loaded), changed)


def delete(home: Home, name: str) -> Path:
    """Remove the registered file of node ``name`` and return where it was; its workspace stays.

    Raises:
        UsageError: there is no such node.
        HostError: it cannot be removed.
    """
    target = home.map_file(name)
    if not target.exists():
        raise _unknown(home, name)
    with _exclusive(home):
        try:
            target.unlink(missing_ok=True)
            remove_tree(home.included(name), inside=home.node_map)
        except OSError as exc:
            raise HostError(f"cannot remove {target}: {exc.strerror}") from exc
    return target


def edit(
    home: Home,
    name: str,
    *,
    editor: Sequence[str],
    try_again: Callable[[InvalidNodeFile], bool] = lambda _error: False,
) -> Stored:
    """Let the user edit a copy of the file of node ``name``, and keep it if it is valid.

    ``try_again`` is asked, with the problems, whether to open the editor once more. When the text
    cannot be kept, the error's hint says where the copy stays.

    Raises:
        InvalidNodeFile: with every problem of the edited text.
        UsageError: there is no such node, or its file was changed by somebody else meanwhile.
        ProgramError: the editor failed.
        HostError: there is no such editor, or no permission.
    """
    target, before = read_registered(home, name)
    copy = home.edit_copy(name, os.getpid())
    write_atomic(copy, before.encode())
    try:
        stored = _edit_copy(home, name, copy, before, editor=editor, try_again=try_again)
    except BaseException as exc:
        _keep_or_remove(copy, before, name, exc)
        raise
    copy.unlink(missing_ok=True)
    return stored or Stored(target, changed=False)


def write_default_node_file(home: Home, *, server_type: str = "", name: str = DEFAULT_NODE) -> Path:
    """Register a commented default node file with an identity of its own, unless there is a file.

    ``server_type`` is the default type when empty. Returns where the file is.

    Raises:
        UsageError: there is no such server type.
        HostError: it cannot be written.
    """
    from infrasim.personality.registry import find_type
    from infrasim.spec.node import DEFAULT_SERVER_TYPE
    from infrasim.spec.template import default_node_text, draw_identity

    target = home.map_file(name)
    find_type(server_type or DEFAULT_SERVER_TYPE, home.type_folders)
    identity = draw_identity()
    text = default_node_text(
        name,
        server_type=server_type or DEFAULT_SERVER_TYPE,
        uuid=identity.uuid,
        serial_number=identity.serial_number,
        macs=identity.macs,
    )
    fitting(home, read_node(home, target, text, name=name))
    make_dir(home.node_map)
    with _exclusive(home):
        if not target.exists():
            write_atomic(target, text.encode(), durable=True)
    return target


def _edit_copy(
    home: Home,
    name: str,
    copy: Path,
    before: str,
    *,
    editor: Sequence[str],
    try_again: Callable[[InvalidNodeFile], bool],
) -> Stored | None:
    """Edit until the text is valid or the user gives up; None if nothing was changed."""
    target = home.map_file(name)
    while True:
        argv = (*editor, str(copy))
        code = run_interactive(argv)
        if code:
            raise ProgramError(f"{command_line(argv)}: {describe_exit(code)}")
        text = read_text(copy)
        if text == before:
            return None
        try:
            kept, loaded = _checked(home, name, copy, text)
        except InvalidNodeFile as exc:
            if try_again(exc):
                continue
            raise
        with _exclusive(home):
            if not target.exists() or target.read_bytes() != before.encode():
                raise UsageError(f"{target} was changed by somebody else meanwhile")
            _store(home, name, kept)
        return Stored(target, _warnings(home, loaded))


def _keep_or_remove(copy: Path, before: str, name: str, error: BaseException) -> None:
    """Keep what the user wrote and say where; an untouched copy goes."""
    if not copy.exists():
        return
    if copy.read_bytes() == before.encode():
        copy.unlink()
    elif isinstance(error, InfrasimError):
        error.hint = f"your text is kept in {copy}; use it with: infrasim config update {name} {copy}"


def _checked(home: Home, name: str, source: Path, text: str) -> tuple[Bundle, LoadedNode]:
    """``text``, that of ``source``, as it is to be kept for node ``name``."""
    from infrasim.spec.bundle import bundle
    from infrasim.spec.naming import with_name

    includes = Includes()
    named = with_name(text, name, file=str(source), include=includes)
    loaded = fitting(home, read_node(home, source, named, name=name, includes=includes))
    if not loaded.document.inclusions:
        from infrasim.spec.bundle import Bundle

        return Bundle(named), loaded
    return bundle(loaded.document, folder=home.included(name).name), loaded


def _warnings(home: Home, loaded: LoadedNode) -> tuple[Problem, ...]:
    """What is doubtful about a file, also beside the other nodes of the home."""
    from infrasim.runtime.checking import clashes_with_registered

    return (*loaded.warnings, *clashes_with_registered(home, loaded))


def _store(home: Home, name: str, kept: Bundle) -> bool:
    """Write a registered file and what it includes; whether anything was not so already.

    The copies are there before the text that leads to them, and old ones go last.
    """
    target, folder = home.map_file(name), home.included(name)
    changed = not target.exists() or target.read_bytes() != kept.text.encode()
    if kept.copies:
        make_dir(folder)
    for copy, text in kept.copies.items():
        changed |= write_if_changed(folder / copy, text)
    if changed:
        write_atomic(target, kept.text.encode(), durable=True)
    for old in folder.glob("*"):
        if old.name not in kept.copies:
            old.unlink()
    if not kept.copies:
        remove_tree(folder, inside=home.node_map)
    return changed


def _glance(home: Home, name: str) -> Registered:
    path = home.map_file(name)
    try:
        values = load_document(read_text(path), file=str(path), include=Includes()).values
    except InfrasimError as exc:
        return Registered(name, "", path, exc.message.splitlines()[0])
    server_type = values.get("type")
    if server_type is None:
        from infrasim.spec.node import DEFAULT_SERVER_TYPE

        server_type = DEFAULT_SERVER_TYPE
    return Registered(name, str(server_type), path)


def _unknown(home: Home, name: str, *, hint: str = "") -> UsageError:
    names = home.registered()
    close = get_close_matches(name, names, n=1)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif not hint:
        hint = f"there are: {', '.join(names)}" if names else "run: infrasim init"
    return UsageError(f"no node file is registered as {name!r} in {home.root}", hint=hint)


def _exclusive(home: Home) -> AbstractContextManager[None]:
    return locked(home.map_lock, timeout_s=_LOCK_WAIT_S, what="changing node files")
