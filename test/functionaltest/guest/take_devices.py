"""Runs as the only program of a guest with an IOMMU, on the tested clone: takes devices and gives them back.

Prints one line of JSON for each step: what it was, and of each device the driver that it has and the one that
is demanded for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from infrasim.errors import InfrasimError
from infrasim.host import pci
from infrasim.paths import Home
from infrasim.plan.model import HostDeviceSpec
from infrasim.runtime.passthrough import check_devices, devices_of, give_back, read_record, require_rights

SCRATCH = Path("/dev/scratch")
HOMES = (Home(SCRATCH / "h", SCRATCH / "l"), Home(SCRATCH / "other", SCRATCH / "l"))
KERNEL = pci.Pci()


def say(step: str, **more: Any) -> None:
    found = (KERNEL.device(address) for address in KERNEL.addresses())
    devices = {each.address: [each.driver, KERNEL.had(each).override] for each in found if each}
    sys.stdout.write(json.dumps({"step": step, **more, "devices": devices}) + "\n")
    sys.stdout.flush()


def have(plan: Any, *, home: int = 0, kernel: pci.Pci = KERNEL) -> Any:
    return devices_of(plan, HOMES[home].node("n"), are_there=False, pci=kernel)


def killed_before(number: int, plan: Any) -> bool:
    """Begin a start in a process that is killed before that write; False if there are not so many."""
    pid = os.fork()
    if pid == 0:
        left = iter(range(number))

        def write(path: Path, text: str) -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            KERNEL.write(path, text)

        with have(plan, kernel=pci.Pci(write=write)):
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def main(addresses: list[str]) -> None:
    plan: Any = SimpleNamespace(passthrough=tuple(HostDeviceSpec(each, "host") for each in addresses))
    paths = HOMES[0].node("n")
    say("before", groups={each: getattr(KERNEL.device(each), "group", None) for each in KERNEL.addresses()})
    check_devices(plan)
    require_rights()
    with have(plan):
        nodes = sorted(each.name for each in Path("/dev/vfio").iterdir())
        say("taken", nodes=nodes, had=[each.driver for each in read_record(paths)])
        pid = os.fork()
        if pid == 0:
            try:
                with have(plan, home=1):
                    say("another node has it too")
            except InfrasimError as exc:
                say("refused", message=exc.message)
            os._exit(0)
        os.waitpid(pid, 0)
    say("given back", on_record=paths.taken_devices.exists())
    number = 0
    while killed_before(number, plan):
        say("killed", number=number)
        if number % 2:
            give_back(paths)
        else:
            with have(plan):
                say("taken again", had=[each.driver for each in read_record(paths)])
        say("given back", on_record=paths.taken_devices.exists())
        number += 1
    say("left", number=number)
    give_back(paths)
    say("end")


if __name__ == "__main__":
    main(sys.argv[1:])
