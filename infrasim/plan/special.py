"""Devices that only a QEMU has which can more than those of distributions.

They are put on the command line as the node file has them; ``qemu.check`` says what the QEMU in use lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infrasim.plan.model import InputSpec
from infrasim.plan.part import HostPart, Words
from infrasim.qemu import chardev
from infrasim.qemu.element import Device, Value, option
from infrasim.spec.node import Compute

# Where the functions of a power control unit are. Source: Intel Xeon Scalable, volume 2, registers.
_PCU_SLOT = "1e"


def special_part(compute: Compute) -> HostPart:
    """All of them but those that belong to a disk controller or to the buses."""
    items: list[Device | Words] = []
    if compute.communicate:
        items.append(option("-communicate", shmkey=compute.communicate.shm_key))
    items += [*_bridges(compute), *_dma_engines(compute), *_memory_controllers(compute), *_pcus(compute)]
    return HostPart(
        tuple(items),
        inputs=tuple(
            InputSpec(Path(unit.spd_data_file), f"compute.pcu[{number}].spd_data_file")
            for number, unit in enumerate(compute.pcu)
        ),
    )


def _bridges(compute: Compute) -> Iterator[Device | Words]:
    for number, bridge in enumerate(compute.ntb):
        receives, sends = f"{bridge.id}_rx", f"{bridge.id}_tx"
        yield chardev.socket_server(receives, Path(bridge.peer_rx))
        yield chardev.socket_client(sends, Path(bridge.local))
        properties: dict[str, Value] = {
            "bus": bridge.bus,
            "addr": bridge.addr,
            "region1size": bridge.bar1_exp,
            "region2size": bridge.bar2_exp,
            "link_rx": receives,
            "link_tx": sends,
            "peer_memory": bridge.peer_memory,
        }
        yield Device("skx_ntb", bridge.id, f"compute.ntb[{number}]", properties)


def _dma_engines(compute: Compute) -> Iterator[Device]:
    for number, engine in enumerate(compute.dma_engine):
        slot = engine.addr.partition(".")[0]
        for function in range(engine.count):
            place: dict[str, Value] = {"bus": engine.bus, "addr": f"{slot}.{function}", "multifunction": True}
            yield Device("ioat_dma", f"{engine.id}_{function}", f"compute.dma_engine[{number}]", place)


def _memory_controllers(compute: Compute) -> Iterator[Device]:
    for number, controller in enumerate(compute.imc):
        properties: dict[str, Value] = {
            "bus": controller.bus,
            "addr": controller.addr,
            "multifunction": True,
            "imc_slot_topo": controller.imc_slot_topo,
            "imc_cpu_index": controller.imc_cpu_index,
        }
        yield Device("imc_m2mem", controller.id, f"compute.imc[{number}]", properties)


def _pcus(compute: Compute) -> Iterator[Device]:
    for number, unit in enumerate(compute.pcu):
        key = f"compute.pcu[{number}]"
        first: dict[str, Value] = {"bus": unit.bus, "addr": f"{_PCU_SLOT}.0", "multifunction": True}
        yield Device("pcu_cr0", f"pcu-cr0-{unit.bus}", key, first)
        last = {"bus": unit.bus, "addr": f"{_PCU_SLOT}.5", "spd_data_file": unit.spd_data_file}
        yield Device("pcu_cr5", f"pcu-cr5-{unit.bus}", key, last)
