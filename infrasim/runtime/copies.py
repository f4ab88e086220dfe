"""Files of a workspace that begin as copies of others and then live on: the variables of UEFI firmware."""

from __future__ import annotations

from infrasim.errors import HostError
from infrasim.host.files import make_dir, write_atomic
from infrasim.plan.model import NodePlan


def begin_copies(plan: NodePlan, *, anew: bool) -> None:
    """Make them; with ``anew`` also those that are there already.

    Raises:
        HostError: a place cannot be written, or what is copied cannot be read.
    """
    for copy in plan.copies:
        if anew or not copy.path.exists():
            make_dir(copy.path.parent)
            try:
                content = copy.source.read_bytes()
            except OSError as exc:
                raise HostError(f"cannot read {copy.source}: {exc.strerror}") from exc
            write_atomic(copy.path, content)
