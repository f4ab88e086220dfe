"""The identity a node file gives its node, and which key of the file each part of it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from uuid import UUID

from infrasim.frozen import Frozen, replaced
from infrasim.personality.compiler import (
    BT_IO_PORT,
    CompiledPersonality,
    compile_personality,
    type_interface,
)
from infrasim.personality.fru import ChassisArea
from infrasim.personality.identity import (
    Dimm,
    FruText,
    IdentityError,
    NodeIdentity,
    Part,
    SmbiosValue,
    SystemInterface,
)
from infrasim.personality.model import BMC_ADDRESS, Personality
from infrasim.personality.smbios import Chassis
from infrasim.plan import addresses
from infrasim.plan.fault import Faults, fault
from infrasim.plan.fault import problem as problem
from infrasim.plan.processors import processors, smbios_counts
from infrasim.spec.node import Compute, NodeSpec

# IANA's number of the manufacturer whose controllers have racadm.
DELL = 674

# key of the node file -> field of the inventory
FRU_FIELDS = {
    "chassis": {"pn": "part_number", "sn": "serial_number"},
    "board": {
        "manufacturer": "manufacturer",
        "name": "product_name",
        "sn": "serial_number",
        "pn": "part_number",
    },
    "product": {
        "manufacturer": "manufacturer",
        "name": "product_name",
        "pn": "part_number",
        "version": "product_version",
        "sn": "serial_number",
    },
}
SMBIOS_FIELDS = {
    "type1": ("system", {"sn": "serial_number", "sku_number": "sku_number"}),
    "type2": ("baseboard", {"sn": "serial_number", "location": "location"}),
    "type3": ("chassis", {"sn": "serial_number"}),
    "type4": (
        "processor",
        {
            "version": "version",
            "max_speed": "max_speed",
            "speed": "current_speed",
            "sn": "serial_number",
            "asset_tag": "asset_tag",
            "part_number": "part_number",
            "cores": "core_count",
        },
    ),
}


class OwnIdentity(Frozen):
    """A node's identity; ``keys`` leads from its parts to the keys of the node file, in dotted form."""

    identity: NodeIdentity
    keys: Mapping[Part, str]


def wanted_uuid(spec: NodeSpec) -> str | None:
    """The UUID the node file gives the system, if it does."""
    smbios = spec.compute.smbios
    return spec.compute.uuid or (smbios.type1.uuid if smbios else None)


def own_identity(spec: NodeSpec, personality: Personality, node_uuid: UUID) -> OwnIdentity:
    """What the node file says of this node alone; a value of one place goes before one of the machine."""
    keys: dict[Part, str] = {"serial_number": "serial_number", "asset_tag": "asset_tag"}
    keys.update((part, key) for key, part in _fru(spec, personality))
    keys.update((part, key) for key, part in _smbios(spec, personality))
    keys.update((part, key) for key, part in smbios_counts(spec.compute, personality))
    keys.update((part, key) for key, part in _dimms(spec))
    identity = NodeIdentity(
        uuid=node_uuid,
        serial_number=spec.serial_number or addresses.serial_number(node_uuid),
        asset_tag=spec.asset_tag or "",
        memory_mib=spec.compute.memory.size,
        fru=tuple(part for part in keys if isinstance(part, FruText)),
        smbios=tuple(part for part in keys if isinstance(part, SmbiosValue)),
        dimms=tuple(part for part in keys if isinstance(part, Dimm)),
        interface=_interface(spec.compute, personality),
    )
    return OwnIdentity(identity, keys)


def compile_node(
    spec: NodeSpec, personality: Personality, node_uuid: UUID
) -> tuple[NodeIdentity, CompiledPersonality]:
    """The server type with this node's identity; everything of a node file that only its type can judge.

    Raises:
        InvalidNodeFile: the file does not fit the server type; the problem carries no line yet.
    """
    faults = Faults()
    faults.tried(lambda: processors(spec.compute.cpu, personality))
    faults.tried(lambda: _check_racadm(spec, personality))
    faults.tried(lambda: _check_history(spec, personality))
    own = faults.tried(lambda: own_identity(spec, personality, node_uuid))
    compiled = _compiled(personality, own, faults) if own else None
    faults.refuse()
    assert own is not None and compiled is not None
    return own.identity, compiled


def _compiled(personality: Personality, own: OwnIdentity, faults: Faults) -> CompiledPersonality:
    """The server type with an identity, or with as much of it as it can have; faults tell of the rest.

    A key that stands for several parts is told of once.
    """
    identity, told = own.identity, set[str]()
    while True:
        try:
            return compile_personality(personality, identity)
        except IdentityError as exc:
            key, rest = own.keys[exc.part], _without(identity, exc.part)
            if rest == identity:
                raise
            if key not in told:
                faults.add([fault(key, exc.message, exc.hint)])
            told.add(key)
            identity = rest


def _without(identity: NodeIdentity, part: Part) -> NodeIdentity:
    """An identity without one thing of it; its memory is still what its modules add up to."""
    if isinstance(part, str):
        return replaced(identity, **{part: ""})
    dimms = tuple(each for each in identity.dimms if each != part)
    return replace(
        identity,
        fru=tuple(each for each in identity.fru if each != part),
        smbios=tuple(each for each in identity.smbios if each != part),
        dimms=dimms,
        memory_mib=sum(each.size_mib for each in dimms) or identity.memory_mib,
    )


def _check_racadm(spec: NodeSpec, personality: Personality) -> None:
    """Only Dell's management controllers have a racadm shell."""
    if spec.racadm is not None and personality.bmc.manufacturer != DELL:
        message = f"the server type {spec.type} has no racadm, which is a shell of Dell's controllers"
        raise problem("racadm", message, "leave it out, or choose a type of Dell's: infrasim type list")


def _check_history(spec: NodeSpec, personality: Personality) -> None:
    """What the host printed is a FRU device beside the server type's, and needs a serial line to print on."""
    number = spec.bmc.historyfru
    if number is None:
        return
    own = personality.frus if spec.bmc.emu_file is None else ()
    taken = {fru.fru_id for fru in own if fru.controller == BMC_ADDRESS}
    if number in taken:
        message = f"this server has a FRU {number} already"
        raise problem("bmc.historyfru", message, f"it has: {', '.join(map(str, sorted(taken)))}")
    if not spec.sol_enable:
        raise problem(
            "bmc.historyfru", "needs the serial line that 'sol_enable: false' leaves out", "leave it out"
        )


def system_serial_number(identity: NodeIdentity) -> str:
    """The serial number that SMBIOS gives the system."""
    own = (item for item in identity.smbios if (item.kind, item.field) == ("system", "serial_number"))
    return next((str(item.value) for item in own), identity.serial_number)


def _fru(spec: NodeSpec, personality: Personality) -> Iterator[tuple[str, FruText]]:
    found: dict[FruText, tuple[str, FruText]] = {}
    chassis = {"part_number": "chassis_pn", "serial_number": "chassis_sn"}
    for field, key in chassis.items():
        if text := getattr(spec.bmc, key):
            for fru_id in _chassis_frus(personality):
                part = FruText(fru_id, "chassis", field, text)
                found[replace(part, text="")] = (f"bmc.{key}", part)
    for fru_id, device in spec.bmc.fru.items():
        for area, fields in FRU_FIELDS.items():
            for key, field in fields.items():
                if text := getattr(getattr(device, area), key):
                    part = FruText(fru_id, area, field, text)
                    found[replace(part, text="")] = (f"bmc.fru{fru_id}.{area}.{key}", part)
    yield from found.values()


def _chassis_frus(personality: Personality) -> tuple[int, ...]:
    """The FRU devices that tell of the chassis; the server's own if none does."""
    return tuple(
        fru.fru_id for fru in personality.frus if fru.controller == BMC_ADDRESS and fru.area(ChassisArea)
    ) or (0,)


def _smbios(spec: NodeSpec, personality: Personality) -> Iterator[tuple[str, SmbiosValue]]:
    smbios = spec.compute.smbios
    has_own = smbios is not None and smbios.type3.sn is not None
    if spec.bmc.chassis_sn and not has_own and personality.structures(Chassis):
        yield "bmc.chassis_sn", SmbiosValue("chassis", "serial_number", spec.bmc.chassis_sn)
    for section, (kind, fields) in SMBIOS_FIELDS.items():
        for key, field in fields.items():
            value = getattr(getattr(smbios, section), key) if smbios else None
            if value is not None:
                yield f"compute.smbios.{section}.{key}", SmbiosValue(kind, field, value)


def _interface(compute: Compute, personality: Personality) -> SystemInterface | None:
    """Where the node file puts the BMC's interface; None where it says nothing."""
    wanted = compute.ipmi
    if wanted is None:
        return None
    of_type = type_interface(personality)
    default_port = of_type.io_port if wanted.interface == of_type.kind else BT_IO_PORT
    return SystemInterface(
        kind=wanted.interface,
        io_port=default_port if wanted.ioport is None else wanted.ioport,
        irq=of_type.irq if wanted.irq is None else wanted.irq,
    )


def _dimms(spec: NodeSpec) -> Iterator[tuple[str, Dimm]]:
    for number, module in enumerate(spec.compute.smbios.type17 if spec.compute.smbios else ()):
        yield (
            f"compute.smbios.type17[{number}].locator",
            Dimm(
                locator=module.locator,
                size_mib=module.size,
                manufacturer=module.manufacturer or "",
                serial_number=module.sn or "",
                asset_tag=module.asset_tag or "",
                part_number=module.part_number or "",
            ),
        )
