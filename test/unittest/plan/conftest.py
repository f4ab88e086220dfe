"""What plans of the tests are made from: a small server type, a home and a machine, all fixed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from infrasim.personality.model import Controller, Personality
from infrasim.personality.smbios import Processor, Structure, System


@pytest.fixture(scope="session")
def personality() -> Personality:
    """A server type with two sockets and nothing else, so that plans do not follow the shipped types."""
    return Personality(
        name="quanta_d51",
        manufacturer="Test Works",
        product_name="Box 2",
        summary="two sockets",
        controllers=(Controller(address=0x20, device_id=0x20),),
        smbios=tuple(_blank(kind) for kind in (System, Processor, Processor)),
    )


def _blank(kind: Callable[..., Structure]) -> Structure:
    """A structure whose fields are all left out."""
    return kind()
