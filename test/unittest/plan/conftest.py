"""What plans of the tests are made from: a small server type, a home and a machine, all fixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from infrasim.personality.fru import BoardArea, ChassisArea, Fru, ProductArea
from infrasim.personality.idstring import IdString
from infrasim.personality.model import Controller, Personality
from infrasim.personality.smbios import (
    Baseboard,
    Chassis,
    MemoryArray,
    MemoryDevice,
    Processor,
    Structure,
    System,
)


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


@pytest.fixture(scope="session")
def dell(personality: Personality) -> Personality:
    """The same server type with a controller of Dell's."""
    controller = Controller(address=0x20, device_id=0x20, manufacturer=674)
    return dataclasses.replace(personality, name="dell_r730", controllers=(controller,))


@pytest.fixture(scope="session")
def furnished(personality: Personality) -> Personality:
    """The same server type with everything that a node can have texts of its own for."""
    board = BoardArea(manufacturer=IdString("Test Works"), serial_number=IdString("0", size=12))
    power_supply = ProductArea(manufacturer=IdString("Test Power"), product_name=IdString("PSU"))
    slots = (
        MemoryDevice(handle=0x30, array=0x20, locator="A1"),
        MemoryDevice(handle=0x31, array=0x20, locator="A2"),
    )
    return dataclasses.replace(
        personality,
        frus=(
            Fru(fru_id=0, size=256, areas=(ChassisArea(), board, ProductArea())),
            Fru(fru_id=3, size=64, areas=(power_supply,)),
        ),
        smbios=(
            System(handle=1, manufacturer="Test Works", serial_number="0"),
            Baseboard(handle=2, serial_number="0"),
            Chassis(handle=3, serial_number="0", asset_tag="0"),
            Processor(handle=4, status=0x41, core_count=4, core_enabled=4, thread_count=8, max_speed=3000),
            Processor(handle=5),
            MemoryArray(handle=0x20, use="system", devices=2),
            *slots,
        ),
    )


def _blank(kind: Callable[..., Structure]) -> Structure:
    """A structure whose fields are all left out."""
    return kind()
