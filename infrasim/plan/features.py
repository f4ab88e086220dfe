"""Values of CPU features, of which no QEMU says what they may be: it is asked to make a machine with them."""

from __future__ import annotations

from collections.abc import Iterator

from infrasim.errors import Problem
from infrasim.host.facts import HostFacts
from infrasim.plan.fault import fault
from infrasim.spec.node import Compute

# What QEMU says to a value that a property cannot have. It is tried without KVM, with which it takes more, so
# all else that it says is left to the start. Source: QEMU qapi/qmp/qerror.h; measured.
_REFUSALS = ("Parameter '", "Invalid parameter")


def wrong_features(compute: Compute, facts: HostFacts) -> Iterator[Problem]:
    """Features with a value that the QEMU in use does not take."""
    features = compute.cpu.features
    if facts.try_qemu is None or features is None or "=" not in features:
        return
    for feature in features.split(","):
        said = facts.try_qemu(("-cpu", f"max,{feature}")) if "=" in feature else ""
        words = next((said[said.index(each) :] for each in _REFUSALS if each in said), "")
        if words:
            message = f"QEMU does not take {feature}: {words}"
            yield fault("compute.cpu.features", message, "'qemu-system-x86_64 -cpu help' lists features")
