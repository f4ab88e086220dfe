"""A server type and one node's identity to what ipmi_sim and QEMU are given.

Where a real tool could tell that two sources disagree, they are made to agree here: serial number and asset
tag in FRU 0 and SMBIOS, memory in SMBIOS and machine, the IPMI interface SMBIOS names and the one QEMU has.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from infrasim.frozen import Frozen
from infrasim.personality.emu import Emulation, emu_text
from infrasim.personality.fru import INFO_AREAS, Fru, InfoArea
from infrasim.personality.identity import (
    FruText,
    IdentityError,
    NodeIdentity,
    Part,
    SmbiosValue,
    SystemInterface,
)
from infrasim.personality.idstring import IdString
from infrasim.personality.layout import DataError, slots
from infrasim.personality.memory import with_memory
from infrasim.personality.model import BMC_ADDRESS, Personality
from infrasim.personality.smbios import (
    END_OF_TABLE,
    KINDS,
    Baseboard,
    Chassis,
    IpmiDevice,
    Processor,
    Structure,
    System,
    Text,
    with_texts,
)

# Where QEMU's isa-ipmi-kcs is unless told otherwise. Source: QEMU 7.2, measured.
KCS_IO_PORT = 0xCA2
# Where its isa-ipmi-bt is. Source: as above.
BT_IO_PORT = 0xE4
_ISA_INTERRUPTS_MOST = 15
# In a count of one byte: the two bytes further back have it. Source: DSP0134 section 7.5.6.
_MANY = 0xFF


class CompiledPersonality(Frozen):
    """What a server type is to the programs that play it.

    ``emu`` is for ``ipmi_sim -f``; ``structures`` are those of the SMBIOS table but for its end; ``smbios``
    has each of them with its closing zeros, for one ``-smbios file=`` each; ``sockets`` is their number of
    type 4, which ``-smp sockets`` must equal (1 if there are none); ``cores`` per socket, 0 if not known;
    ``interface`` is what QEMU's device must be.
    """

    emu: str
    structures: tuple[Structure, ...]
    smbios: tuple[bytes, ...]
    sockets: int
    cores: int
    interface: SystemInterface


def compile_personality(personality: Personality, identity: NodeIdentity) -> CompiledPersonality:
    """Render ``personality`` for the node with ``identity``.

    Raises:
        IdentityError: if a part of the identity does not fit, such as a serial number too long for its FRU,
            or a field that the server does not have.
        DataError: if the server type itself does not fit its formats.
    """
    interface = identity.interface or type_interface(personality)
    structures = with_memory(personality.smbios, identity.memory_mib, identity.dimms)
    structures = tuple(_identified(structure, identity, interface) for structure in structures)
    structures = _with_values(structures, identity.smbios)
    structures = tuple(item for item in structures if item.type_number != END_OF_TABLE)
    frus = tuple(_identified_fru(fru, identity) for fru in personality.frus)
    emulation = Emulation(
        bmc=BMC_ADDRESS,
        controllers=personality.controllers,
        event_log=personality.event_log,
        entries=personality.sdrs,
        hidden_sensors=personality.hidden_sensors,
        frus=_with_fru_texts(frus, identity.fru),
    )
    return CompiledPersonality(
        emu=emu_text(
            emulation, title=f"{personality.name}: {personality.summary or personality.product_name}"
        ),
        structures=structures,
        smbios=tuple(item.encode() for item in structures),
        sockets=sum(isinstance(item, Processor) for item in structures) or 1,
        cores=personality.cpu_cores,
        interface=interface,
    )


@contextlib.contextmanager
def _blaming(part: Part, what: str = "") -> Iterator[None]:
    """Data that does not fit inside is the fault of ``part`` of the identity."""
    try:
        yield
    except DataError as exc:
        raise IdentityError(part, f"{what}{exc.message}", hint=exc.hint) from exc


def type_interface(personality: Personality) -> SystemInterface:
    """The server's own IPMI interface. QEMU has none of some kinds, so it is always KCS."""
    return SystemInterface("kcs", _io_port(personality), _irq(personality))


def _io_port(personality: Personality) -> int:
    """The I/O port of the server's IPMI interface, as its SMBIOS type 38 names it."""
    for device in personality.structures(IpmiDevice):
        if device.io_port is not None:
            return device.io_port
    return KCS_IO_PORT


def _irq(personality: Personality) -> int:
    """The interrupt of the server's IPMI interface, as its SMBIOS type 38 names it; 0 if it has none."""
    for device in personality.structures(IpmiDevice):
        if device.has_interrupt and 0 < device.interrupt <= _ISA_INTERRUPTS_MOST:
            return device.interrupt
    return 0


# ---------------------------------------------------------------- SMBIOS


def _identified(structure: Structure, identity: NodeIdentity, found: SystemInterface) -> Structure:
    serial, asset_tag = identity.serial_number, identity.asset_tag
    if isinstance(structure, System):
        return dataclasses.replace(with_texts(structure, serial_number=serial), uuid=str(identity.uuid))
    if isinstance(structure, (Baseboard, Chassis)):
        return with_texts(structure, serial_number=serial, asset_tag=asset_tag)
    if isinstance(structure, IpmiDevice):
        return dataclasses.replace(
            structure,
            interface=found.kind,
            i2c_address=BMC_ADDRESS,
            base_address=found.io_port & ~1 | 1,
            low_bit=found.io_port & 1,
            spacing="byte",
            # QEMU's is an ISA interrupt: its edge rises.
            has_interrupt=found.irq > 0,
            active_high=found.irq > 0,
            level_triggered=False,
            interrupt=found.irq,
        )
    return structure


def _with_values(structures: tuple[Structure, ...], values: tuple[SmbiosValue, ...]) -> tuple[Structure, ...]:
    """``structures`` with single fields of a node's own, applied to every structure of their kind."""
    for wanted in values:
        kind = KINDS.get(wanted.kind)
        places = dict(slots(kind)) if kind else {}
        if wanted.field not in places:
            message = f"SMBIOS has no field {wanted.field!r} in {wanted.kind!r}"
            raise IdentityError(wanted, message, hint=", ".join(places))
        if not any(isinstance(item, KINDS[wanted.kind]) for item in structures):
            raise IdentityError(wanted, f"this server's SMBIOS has no {wanted.kind}")
        able = [isinstance(item, KINDS[wanted.kind]) and _takes(item, wanted.field) for item in structures]
        if not any(able):
            raise IdentityError(wanted, f"the {wanted.kind} in this server's SMBIOS has no {wanted.field}")
        with _blaming(wanted):
            structures = tuple(
                _with_value(item, wanted) if is_able else item
                for item, is_able in zip(structures, able, strict=True)
            )
    return structures


def _takes(structure: Structure, field: str) -> bool:
    """Whether a structure is long enough for a field and there is something that the field is about."""
    if isinstance(structure, Processor) and not structure.is_populated:
        return False
    return structure.formatted_length() >= structure.end_of(field)


def _with_value(structure: Structure, wanted: SmbiosValue) -> Structure:
    """``structure`` with one field changed; it still has bytes.

    Raises:
        DataError: if the value does not fit.
    """
    changes: dict[str, Any] = {wanted.field: wanted.value}
    if isinstance(structure, Processor) and wanted.field == "core_count":
        changed: Structure = _with_cores(structure, int(wanted.value))
    elif isinstance(structure, Processor) and wanted.field == "thread_count":
        changed = _with_counts(structure, _counts(structure)[0], int(wanted.value))
    elif isinstance(wanted.value, str) and isinstance(dict(slots(type(structure)))[wanted.field].kind, Text):
        changed = with_texts(structure, **{wanted.field: wanted.value})
    else:
        changed = dataclasses.replace(structure, **changes)
    changed.encode()
    return changed


def _with_cores(processor: Processor, cores: int) -> Processor:
    """``processor`` with all of ``cores`` enabled and as many threads on each as before."""
    old_cores, old_threads = _counts(processor)
    return _with_counts(processor, cores, cores * max(old_threads // old_cores if old_cores else 1, 1))


def _counts(processor: Processor) -> tuple[int, int]:
    """Cores and threads of a processor."""
    cores, threads = processor.core_count, processor.thread_count
    return (
        processor.core_count_2 if cores == _MANY else cores,
        processor.thread_count_2 if threads == _MANY else threads,
    )


def _with_counts(processor: Processor, cores: int, threads: int) -> Processor:
    counts = {"core_count": cores, "core_enabled": cores, "thread_count": threads}
    changes: dict[str, Any] = {name: min(count, _MANY) for name, count in counts.items()}
    if max(counts.values()) >= _MANY or processor.formatted_length() >= processor.end_of("thread_count_2"):
        changes |= {f"{name}_2": count for name, count in counts.items()}
        if processor.length and processor.length < processor.end_of("thread_count_2"):
            changes["length"] = 0
    return dataclasses.replace(processor, **changes)


# ---------------------------------------------------------------- FRU


def _with_fru_texts(frus: tuple[Fru, ...], texts: tuple[FruText, ...]) -> tuple[Fru, ...]:
    """``frus`` with single strings of a node's own; an area that is not there yet is added."""
    devices = {(fru.controller, fru.fru_id): fru for fru in frus}
    for wanted in texts:
        fru = devices.get((BMC_ADDRESS, wanted.fru_id))
        if fru is None:
            known = sorted(fru_id for controller, fru_id in devices if controller == BMC_ADDRESS)
            hint = f"it has: {', '.join(map(str, known))}" if known else ""
            raise IdentityError(wanted, f"this server has no FRU {wanted.fru_id}", hint=hint)
        kind = next((kind for kind in INFO_AREAS if wanted.area == kind.KIND), None)
        if kind is None or wanted.field not in kind.FIELDS:
            fields = kind.FIELDS if kind else tuple(area.KIND for area in INFO_AREAS)
            hint = f"known: {', '.join(fields)}"
            raise IdentityError(wanted, f"a FRU has no {wanted.area}.{wanted.field}", hint=hint)
        areas = fru.areas if fru.area(kind) else (*fru.areas, kind())
        changed = _with_text(
            dataclasses.replace(fru, areas=areas), (kind,), wanted.field, wanted.text, wanted
        )
        devices[(BMC_ADDRESS, wanted.fru_id)] = changed
    return tuple(devices.values())


def _identified_fru(fru: Fru, identity: NodeIdentity) -> Fru:
    if fru.fru_id or fru.controller != BMC_ADDRESS:
        return fru
    for name in ("serial_number", "asset_tag"):
        kinds = tuple(kind for kind in INFO_AREAS if name in kind.FIELDS)
        fru = _with_text(fru, kinds, name, getattr(identity, name), name)
    return fru


def _with_text(fru: Fru, kinds: tuple[type[InfoArea], ...], field: str, text: str, part: Part) -> Fru:
    """``fru`` with ``text`` in every area of ``kinds``; it still has bytes."""
    with _blaming(part, f"FRU {fru.fru_id}: "):
        areas = tuple(
            _with_strings(area, {field: text}) if isinstance(area, kinds) else area for area in fru.areas
        )
        if not any(isinstance(area, kinds) for area in areas):
            return fru
        changed = fru.with_areas(areas)
        changed.encode()
        return changed


def _restated(old: IdString, text: str) -> IdString:
    """``text`` in the place of ``old``, filled up to the same size if it was."""
    return IdString(text, size=old.size if len(text) <= old.size else 0)


def _with_strings(area: InfoArea, texts: dict[str, str]) -> InfoArea:
    """``area`` with some of its strings replaced, as large as it was if they fit.

    An empty text leaves the old one.
    """
    strings: dict[str, Any] = {
        name: _restated(getattr(area, name), text) for name, text in texts.items() if text
    }
    if all(getattr(area, name) == string for name, string in strings.items()):
        return area
    size = len(area.encode())
    return dataclasses.replace(area, **strings, length=size, checksum=None, padding=b"")
