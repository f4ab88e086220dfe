"""Processes of a node that its state does not know, found by the words they were started with.

``state.json`` may be lost or damaged, the whole workspace may be removed, or a supervisor killed
between starting a child and writing that down. Such processes hold ports and disks all the same.
"""

from __future__ import annotations

import itertools
import os.path
import re
from collections.abc import Iterable, Sequence

from infrasim.host.facts import RACADM_MODULE
from infrasim.host.probe import IPMI_SIM_PROGRAM, SOCAT_PROGRAM, SUPERVISOR_MODULE, SWTPM_PROGRAM
from infrasim.host.process import Identity
from infrasim.host.table import Found, find_processes
from infrasim.paths import NodePaths
from infrasim.plan.model import IPMI_SIM, QEMU, RACADM, SOCAT, SWTPM
from infrasim.qemu.element import escape
from infrasim.runtime.state import SUPERVISOR

# A supervisor would start again what is ended under it; then as in a stop, the host first.
_ORDER = (SUPERVISOR, RACADM, QEMU, IPMI_SIM, SWTPM, SOCAT)


def find_strays(paths: NodePaths, known: Iterable[Identity] = ()) -> tuple[Found, ...]:
    """Living processes of exactly this workspace but the ``known`` ones and what those forked."""
    identities = {identity.pid: identity for identity in known}
    found = find_processes(lambda argv: role(argv, paths))
    strays = (
        each
        for each in found
        if identities.get(each.identity.pid) != each.identity and each.group not in identities
    )
    return tuple(sorted(strays, key=lambda each: (_ORDER.index(each.what), each.identity.pid)))


def role(argv: Sequence[str], paths: NodePaths) -> str | None:
    """What a process with these words is to the node: its supervisor, a child by name, or None."""
    if not argv:
        return None
    for module, what in ((SUPERVISOR_MODULE, SUPERVISOR), (RACADM_MODULE, RACADM)):
        if module in argv:
            place = argv.index(module)
            mine = [paths.name, str(paths.workspace)]
            return what if list(argv[place + 1 : place + 3]) == mine else None
    match os.path.basename(argv[0]):  # noqa: PTH119 - asked of every process there is
        case program if program == IPMI_SIM_PROGRAM:
            configured = ("-c", str(paths.vbmc_conf)) in itertools.pairwise(argv)
            return IPMI_SIM if configured else None
        case program if program == SWTPM_PROGRAM:
            kept = f"dir={paths.tpm_state},"
            return SWTPM if any(word.startswith(kept) for word in argv) else None
        case program if program == SOCAT_PROGRAM:
            # socat's own quoting is a backslash before a letter.
            plain = (re.sub(r"\\(.)", r"\1", word) for word in argv)
            return SOCAT if any(word.startswith(f"PTY,link={paths.pty},") for word in plain) else None
        case _:
            # A node file may name any program as its QEMU, so the monitor tells.
            monitor = f"socket,id=qmp,path={escape(str(paths.qmp_socket))},"
            return QEMU if "-mon" in argv and any(word.startswith(monitor) for word in argv) else None
