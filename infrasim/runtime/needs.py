"""Whether this machine has what a host needs beside programs and ports: files, networks, devices."""

from __future__ import annotations

from infrasim.paths import NodePaths
from infrasim.plan.fault import Faults
from infrasim.plan.model import Needs, NodePlan
from infrasim.runtime.workspace import check_inputs


def check_needs(wanted: NodePlan | Needs, paths: NodePaths) -> None:
    """Refuse what is not there or cannot be used, before anything is made; only looks.

    Raises:
        InvalidNodeFile: with all of it; the problems carry no line yet.
        HostError: this machine cannot be asked.
    """
    faults = Faults()
    faults.tried(lambda: check_inputs(wanted, paths))
    if wanted.links:
        from infrasim.runtime.links import check_links  # late: few nodes have any

        faults.tried(lambda: check_links(wanted))
    if wanted.passthrough:
        from infrasim.runtime.passthrough import check_devices  # late: as above

        faults.tried(lambda: check_devices(wanted))
    faults.refuse()
