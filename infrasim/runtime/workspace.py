"""The workspace on disk: makes what a plan decided, and takes it away again.

Rendered files are replaced as a whole at each start; disks and the BMC's own state are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from infrasim.errors import SET, InvalidNodeFile, Problem
from infrasim.host.files import make_dir, make_link, remove_tree, write_atomic, write_if_changed
from infrasim.host.image_format import image_format
from infrasim.host.probe import QEMU_IMG_PROGRAM, require_program
from infrasim.host.process import run
from infrasim.paths import Home, NodePaths
from infrasim.plan.model import AliasSpec, DiskSpec, Needs, NodePlan, read_plan
from infrasim.runtime.copies import begin_copies
from infrasim.runtime.images import file_fault, image_faults, note_base
from infrasim.runtime.logs import other_owner
from infrasim.runtime.planning import Planned, setting_text

_IMAGE_TIMEOUT_S = 60.0
# Writing every byte of an image, at least that fast.
_GIB_PER_S = 0.02
LOG_MOST_BYTES = 4 * 1024 * 1024
# ipmi_sim's persistent records that come from the personality; the event log is not.
_PERSONALITY_STATE = "sdr.*"


def check_inputs(plan: NodePlan | Needs, paths: NodePaths) -> None:
    """Refuse images and other files of the user's that cannot be used, before anything is written.

    Raises:
        InvalidNodeFile: every one that is missing, a folder, unreadable, of another format or in use; the
            problems carry no line yet.
    """
    faults = [
        *image_faults(plan, paths),
        *((copy.key, file_fault(copy.source)) for copy in plan.copies if not copy.path.exists()),
        *((alias.key, _alias_fault(alias)) for alias in plan.aliases),
    ]
    problems = [Problem("", 0, 0, key, *fault) for key, fault in faults if fault]
    if problems:
        raise InvalidNodeFile(problems)


def write_workspace(planned: Planned, paths: NodePaths) -> None:
    """Make or refresh everything of the workspace.

    Raises:
        HostError: a place cannot be written or is full.
    """
    plan = planned.plan
    for folder in (paths.data, paths.smbios_dir, paths.disks):
        make_dir(folder)
    _remove_old_smbios(plan, paths)
    _remove_aliases(read_plan(paths.plan), but=plan.aliases)
    for spec in plan.files:
        write_if_changed(spec.path, spec.content, mode=spec.mode)
    write_if_changed(paths.node_file, f"{_words_before(planned)}{planned.node_text}")
    refresh_workspace(plan, paths)
    described = {
        **plan.as_json(),
        "made_from": planned.made_from,
        "warnings": len(planned.warnings),
        "names_interface": planned.names_interface,
        "included": dict(planned.included),
        "qemu": planned.qemu,
        "set": [setting_text(setting).partition("=")[0] for setting in planned.settings],
    }
    write_atomic(paths.plan, json.dumps(described, indent=1))


def _words_before(planned: Planned) -> str:
    """What a node was started from beside its file, as comments. A value may be a password."""
    lines = [f"# included: {path}, SHA-256 {digest}" for path, digest in planned.included.items()]
    lines += [f"# {SET} {json.dumps(setting_text(setting))}" for setting in planned.settings]
    return "".join(f"{line}\n" for line in lines)


def refresh_workspace(plan: NodePlan, paths: NodePaths) -> None:
    """What every start needs, also one whose files are as they were.

    Raises:
        HostError: a place cannot be written or is full.
    """
    for folder in (paths.run, paths.bmc_state, *plan.folders):
        make_dir(folder)
    make_dir(paths.log_dir, mode=0o750)
    _set_long_logs_aside(paths)
    for path in (paths.bmc_state / "ipmi_sim" / plan.name).glob(_PERSONALITY_STATE):
        path.unlink(missing_ok=True)
    for disk in plan.disks:
        if disk.create and not disk.path.exists():
            make_dir(disk.path.parent)
            create_disk(disk)
        if disk.create:
            note_base(disk)
    for alias in plan.aliases:
        if not alias.path.is_symlink():
            make_link(alias.path, alias.target)
    begin_copies(plan, anew=False)


def _set_long_logs_aside(paths: NodePaths) -> None:
    """Logs go on from start to start; one that has grown long is begun anew, the old one kept once."""
    for log in paths.log_dir.glob("*"):
        is_log = log.suffix in (".log", ".jsonl")
        if is_log and log != paths.serial_log and log.stat().st_size > LOG_MOST_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def create_disk(disk: DiskSpec) -> None:
    """Make a sparse image; a half-made one is removed.

    Raises:
        ProgramError: qemu-img refused.
    """
    program = require_program(QEMU_IMG_PROGRAM)
    # So that a record of an image that was removed by hand does not speak of this one.
    NodePaths.base_record(disk.path).unlink(missing_ok=True)
    temporary = disk.path.with_name(f".{disk.path.name}.new")
    try:
        timeout_s = _IMAGE_TIMEOUT_S + (disk.size_gib or 0) / _GIB_PER_S * (
            "preallocation=full" in disk.options
        )
        run([program, *_creation(disk, temporary)], timeout_s=timeout_s)
        temporary.chmod(0o600)
        temporary.replace(disk.path)
    finally:
        temporary.unlink(missing_ok=True)


def _creation(disk: DiskSpec, path: Path) -> Iterator[str]:
    """The arguments of qemu-img."""
    yield from ("create", "-q", "-f", disk.format)
    for option in disk.options:
        yield from ("-o", option)
    if disk.backing is not None:
        yield from ("-b", str(disk.backing), "-F", disk.backing_format or image_format(disk.backing))
    yield str(path)
    if disk.size_gib is not None:
        yield f"{disk.size_gib}G"


def remove_workspace(home: Home, paths: NodePaths) -> None:
    """Remove the workspace and the logs of a stopped node, but not logs of another home's.

    Raises:
        HostError: something cannot be removed.
    """
    _remove_aliases(read_plan(paths.plan))
    own_logs = paths.log_dir.exists() and other_owner(paths) is None
    remove_tree(paths.workspace, inside=home.root)
    if own_logs:
        remove_tree(paths.log_dir, inside=home.log_root)


def _alias_fault(alias: AliasSpec) -> tuple[str, str] | None:
    """What is in the place of a link that is to be made; None if it is that link already."""
    if not alias.path.is_symlink() and not alias.path.exists():
        parent = alias.path.parent
        return None if parent.is_dir() else (f"there is no folder {parent}", "")
    if alias.path.is_symlink() and alias.path.readlink() == alias.target:
        return None
    return f"{alias.path} exists, and is not this node's", "name a place where nothing is"


def _remove_aliases(plan: NodePlan | None, but: tuple[AliasSpec, ...] = ()) -> None:
    """Remove the links of an earlier plan that still lead where it led them."""
    for alias in plan.aliases if plan else ():
        if alias not in but and alias.path.is_symlink() and alias.path.readlink() == alias.target:
            alias.path.unlink()


def _remove_old_smbios(plan: NodePlan, paths: NodePaths) -> None:
    wanted: set[Path] = {spec.path for spec in plan.files}
    for path in (*paths.smbios_dir.glob("*.bin"), *paths.data.glob("*.emu"), paths.seed):
        if path not in wanted:
            path.unlink(missing_ok=True)
