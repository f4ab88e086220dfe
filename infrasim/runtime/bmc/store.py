"""The BMC's state on disk: read when the node starts, written soon after each change."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.state import BmcState
from infrasim.errors import HostError
from infrasim.host.files import write_atomic
from infrasim.jsonform import as_json, from_json

LOG = logging.getLogger(__name__)

# Several changes of one moment are one write.
_SETTLE_S = 0.02
_RETRY_S = 5.0


def read_settings(path: Path) -> CoreSettings:
    """What the plan rendered for the BMC core.

    Raises:
        HostError: the file is missing or damaged.
    """
    try:
        return from_json(CoreSettings, json.loads(path.read_bytes()))
    except (OSError, ValueError) as exc:
        raise HostError(f"{path} is missing or damaged: {exc}", hint="run: infrasim node start") from exc


def read_state(path: Path) -> BmcState:
    """The kept state; a new one where there is none.

    Raises:
        HostError: the file is damaged.
    """
    try:
        return from_json(BmcState, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return BmcState()
    except (OSError, ValueError) as exc:
        hint = "remove it: the BMC then begins with the users and settings of the node file"
        raise HostError(f"{path} is damaged: {exc}", hint=hint) from exc


class StateStore:
    """Writes one state to one file, atomically, when told that it changed."""

    def __init__(self, path: Path, state: BmcState) -> None:
        self._path = path
        self._state = state
        self._written = b""
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Write soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SETTLE_S, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        try:
            self.write()
        except HostError as exc:
            LOG.error("%s", exc)
            self._timer = asyncio.get_running_loop().call_later(_RETRY_S, self._write_soon)

    def write(self) -> None:
        """Write now what is not on disk yet.

        Raises:
            HostError: it cannot be written.
        """
        text = json.dumps(as_json(self._state)).encode()
        if text != self._written:
            write_atomic(self._path, text)
            self._written = text

    def close(self) -> None:
        """Write what is left; never raises."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        try:
            self.write()
        except HostError as exc:
            LOG.error("%s", exc)
