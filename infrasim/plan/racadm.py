"""The racadm shell of a node: where it listens, what it is told, how it is started."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from infrasim.bmc.settings import RacadmSettings
from infrasim.frozen import Frozen
from infrasim.host.facts import RACADM_MODULE, HostFacts, Reserved
from infrasim.paths import NodePaths
from infrasim.plan import addresses
from infrasim.plan.model import (
    RACADM,
    BmcPlan,
    FileSpec,
    InputSpec,
    Kept,
    PortSpec,
    ProcessSpec,
    RacadmPlan,
    ReadyCheck,
)
from infrasim.spec.node import NodeSpec
from infrasim.spec.racadm_checks import NO_FOLDER

# Python and the SSH library, on a busy machine. Seconds.
_READY_TIMEOUT_S = 60.0


class RacadmPart(Frozen):
    """What a racadm shell adds to the plan of a node."""

    place: RacadmPlan
    process: ProcessSpec
    port: PortSpec
    file: FileSpec
    inputs: tuple[InputSpec, ...]


def racadm_part(
    spec: NodeSpec,
    bmc: BmcPlan,
    facts: HostFacts,
    paths: NodePaths,
    *,
    reserved: Reserved,
    previous: Kept | None,
) -> RacadmPart:
    """The shell that a node file asks for. It listens where the BMC does, if the file says no other place.

    Raises:
        InvalidNodeFile: this machine has no such place.
        UsageError: no port is free.
    """
    wanted = spec.racadm
    assert wanted is not None
    address = bmc.address
    if wanted.address is not None:
        address = addresses.own_address(wanted.address, facts, "racadm.address")
    elif wanted.interface is not None:
        address = addresses.interface_address(wanted.interface, facts, "racadm")
    port = wanted.port or addresses.racadm_port(address, facts, reserved, previous)
    folder = "" if wanted.data in (None, NO_FOLDER) else str(wanted.data)
    settings = RacadmSettings(
        node=spec.name,
        address=address,
        port=port,
        username=wanted.username or "",
        password=wanted.password or "",
        data=folder,
        lan_channel=spec.bmc.main_channel,
        uefi=spec.compute.firmware == "uefi",
        secure_boot=spec.compute.secure_boot,
        has_tpm=spec.compute.tpm is not None,
    )
    return RacadmPart(
        place=RacadmPlan(address, port, settings.username),
        process=_process(facts, paths),
        port=PortSpec(RACADM, "tcp", address, port),
        file=FileSpec(
            paths.racadm_settings,
            json.dumps(dataclasses.asdict(settings), indent=1).encode(),
        ),
        inputs=(InputSpec(Path(folder), "racadm.data", may_be_folder=True),) if folder else (),
    )


def _process(facts: HostFacts, paths: NodePaths) -> ProcessSpec:
    """Its process. It finds all else in the workspace, so no password is among its words."""
    return ProcessSpec(
        RACADM,
        (
            facts.python_program or "python3",
            # Not the folder it runs in: it is a user's.
            "-P",
            *("-m", RACADM_MODULE),
            *(paths.name, str(paths.workspace), str(paths.log_dir)),
        ),
        paths.log(RACADM),
        ReadyCheck.LINK,
        str(paths.racadm_pid),
        _READY_TIMEOUT_S,
        stands_alone=True,
    )
