"""The other side of ``ipmi.py``: a BMC of VirtualBMC's, or of pyghmi, which is the engine under it.

``python engine.py KIND ADDRESS PORT``. ``virtualbmc`` is VirtualBMC's own class with libvirt's test driver,
which needs no libvirtd and no machine; ``pyghmi`` answers power questions from memory, as no VirtualBMC can.
Run by a Python that has them.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return,unused-ignore"

from __future__ import annotations

import sys
from typing import Any


def virtualbmc(address: str, port: int) -> Any:
    """A BMC for the one domain that libvirt's test driver has."""
    from virtualbmc.vbmc import VirtualBMC

    return VirtualBMC("admin", "admin", port, address, domain_name="test", libvirt_uri="test:///default")


def pyghmi(address: str, port: int) -> Any:
    """A BMC that has its power state in memory."""
    from pyghmi.ipmi.bmc import Bmc

    class MemoryBmc(Bmc):
        def get_power_state(self) -> str:
            return "on"

    return MemoryBmc({"admin": "admin"}, port=port, address=address)


KINDS = {"virtualbmc": virtualbmc, "pyghmi": pyghmi}

if __name__ == "__main__":
    kind, address, port = sys.argv[1:]
    KINDS[kind](address, int(port)).listen()
