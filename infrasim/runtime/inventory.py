"""What a node is made of, from its workspace or, for one that was never started, from its node file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infrasim.frozen import Frozen
from infrasim.paths import Home
from infrasim.plan.model import NodePlan
from infrasim.runtime.images import image_size
from infrasim.runtime.status import NodeStatus


class Inventory(Frozen):
    """``hardware`` is what ``data/hardware.json`` holds, with the sizes that images have now."""

    plan: NodePlan
    hardware: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What ``node info --json`` adds to a node's status."""
        disks = [str(disk.path) for disk in self.plan.disks]
        plan = self.plan
        return {
            "product": plan.product,
            "serial_number": plan.serial_number,
            "uuid": plan.uuid,
            "disks": disks,
            "hardware": self.hardware,
        }


def inventory(home: Home, found: NodeStatus) -> Inventory:
    """What a known node is made of.

    Raises:
        InfrasimError: it has no plan, and none can be made of its node file.
    """
    kept = _kept(found.paths.hardware)
    if found.plan is not None and kept is not None:
        return Inventory(found.plan, _with_sizes(kept))
    from infrasim.runtime.planning import plan as plan_node

    decided = plan_node(home, found.name).plan
    text = next(file.content for file in decided.files if file.path == found.paths.hardware)
    return Inventory(decided, _with_sizes(json.loads(text)))


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


def _with_sizes(hardware: dict[str, Any]) -> dict[str, Any]:
    """An image keeps its own size, whatever the node file says."""
    for controller in hardware["controllers"]:
        for drive in controller["drives"]:
            size_bytes = image_size(Path(drive["image"])) if drive["image"] else None
            if size_bytes is None and drive["size_gib"] is not None:
                size_bytes = drive["size_gib"] << 30
            drive["size_bytes"] = size_bytes
    return hardware
