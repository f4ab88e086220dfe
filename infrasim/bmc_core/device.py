"""The controller itself: self test, and its own resets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrasim.bmc_core.codes import NetFn, Privilege
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.message import Request

if TYPE_CHECKING:
    from infrasim.bmc_core.core import Bmc

# "No error; all self tests passed". Source: IPMI 2.0 section 20.4.
_PASSED = bytes([0x55, 0x00])
_CORRUPTED = 0x57
_SEL_INACCESSIBLE, _SDR_INACCESSIBLE, _FRU_INACCESSIBLE = 0x80, 0x40, 0x20
_NO_ENGINE = bytes([_CORRUPTED, _SEL_INACCESSIBLE | _SDR_INACCESSIBLE | _FRU_INACCESSIBLE])


def cold_reset(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 20.2."""
    request.need(0)
    bmc.reset(cold=True)
    return b""


def warm_reset(bmc: Bmc, request: Request) -> bytes:
    """Source: IPMI 2.0 section 20.3."""
    request.need(0)
    bmc.reset(cold=False)
    return b""


def get_self_test_results(bmc: Bmc, request: Request) -> bytes:
    """Whether the devices behind the controller can be reached. Source: IPMI 2.0 section 20.4."""
    request.need(0)
    return _PASSED if bmc.engine.is_ready() else _NO_ENGINE


COMMANDS = (
    Command(NetFn.APP, 0x02, "Cold Reset", Privilege.ADMINISTRATOR, "20.2", cold_reset),
    Command(NetFn.APP, 0x03, "Warm Reset", Privilege.ADMINISTRATOR, "20.3", warm_reset),
    Command(NetFn.APP, 0x04, "Get Self Test Results", Privilege.USER, "20.4", get_self_test_results),
)
