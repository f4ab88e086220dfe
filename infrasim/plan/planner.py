"""Node file + personality + host facts + paths -> ``NodePlan``. The one place where all of it meets.

Pure: the same input gives the same plan, and nothing is touched.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infrasim.bmc.conf import serial_line_argv, vbmc_conf
from infrasim.bmc.settings import CoreSettings, OtherChannel
from infrasim.errors import InvalidNodeFile
from infrasim.frozen import Frozen
from infrasim.host.facts import Accelerator, HostFacts, Reserved
from infrasim.paths import Home, NodePaths
from infrasim.personality.compiler import CompiledPersonality
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.model import BMC_ADDRESS, Personality
from infrasim.personality.smbios import Bios
from infrasim.plan import addresses
from infrasim.plan.controllers import lacking_sectors, other_kinds
from infrasim.plan.fault import fault, problem
from infrasim.plan.features import wrong_features
from infrasim.plan.firmware import board, firmware_part, without_smm
from infrasim.plan.hardware import hardware
from infrasim.plan.identity import compile_node, system_serial_number, wanted_uuid
from infrasim.plan.model import (
    IPMI_CONSOLE,
    IPMI_SIM,
    QEMU,
    SOCAT,
    AliasSpec,
    BmcPlan,
    Descriptor,
    DiskSpec,
    FileSpec,
    HostPlan,
    InputSpec,
    Kept,
    NodePlan,
    PortSpec,
    ProcessSpec,
    ReadyCheck,
)
from infrasim.plan.networks import check_macs, macs, neighbours, networks_part
from infrasim.plan.part import HostPart, boot_devices
from infrasim.plan.pci import chipset_of, placed, topology_part
from infrasim.plan.pinning import binding, host_node
from infrasim.plan.processors import numa_nodes, processors
from infrasim.plan.special import special_part
from infrasim.plan.storage import storage_part
from infrasim.qemu import chardev, system
from infrasim.qemu.boot import BootDevice, Firmware
from infrasim.qemu.processors import Memory, Processors, cpu
from infrasim.spec.node import NodeSpec

if TYPE_CHECKING:
    from infrasim.plan.racadm import RacadmPart

# How long each program may take until it is ready, on a busy machine. Seconds.
_READY_TIMEOUTS_S = {SOCAT: 10.0, IPMI_SIM: 30.0, QEMU: 60.0}

_VNC_ADDRESS = "127.0.0.1"

# Source: IPMI 2.0 table 42-3 (watchdog 2).
_WATCHDOG_SENSOR_TYPE = 0x23
_UNSET_ADDRESS = "0.0.0.0"


class _Parts(Frozen):
    """What the steps of the planner share."""

    spec: NodeSpec
    facts: HostFacts
    paths: NodePaths
    personality: Personality
    identity: NodeIdentity
    compiled: CompiledPersonality
    accelerator: Accelerator
    processors: Processors
    bmc: BmcPlan
    vnc_display: int
    racadm: RacadmPart | None


def plan_node(
    spec: NodeSpec,
    personality: Personality,
    facts: HostFacts,
    paths: NodePaths,
    *,
    home: Home,
    previous: Kept | None = None,
    reserved: Reserved | None = None,
    texts: Mapping[str, bytes] | None = None,
) -> NodePlan:
    """Decide everything about one node. ``texts`` are what files hold that the node file names, by path.

    Raises:
        UsageError: the node file asks for what cannot be, on this machine or at all.
    """
    paths.check_socket_lengths()
    taken = reserved or Reserved()
    parts = _decide(spec, personality, facts, paths, home=home, previous=previous, reserved=taken)
    check_macs(spec.compute, parts.identity.uuid, taken)
    host_parts = _host_parts(parts, texts or {})
    boot_order = boot_devices(host_parts, spec.compute.boot.boot_order)
    return NodePlan(
        name=paths.name,
        server_type=spec.type,
        product=f"{personality.manufacturer} {personality.product_name}",
        uuid=str(parts.identity.uuid),
        serial_number=system_serial_number(parts.identity),
        workspace=paths.workspace,
        log_dir=paths.log_dir,
        bmc=parts.bmc,
        vnc_address=_VNC_ADDRESS,
        vnc_display=parts.vnc_display,
        serial_over_lan=spec.sol_enable,
        host=HostPlan(
            accelerator=parts.accelerator,
            accelerator_note=_accelerator_note(spec, facts),
            poweroff_wait_s=spec.bmc.poweroff_wait,
            kill_wait_s=spec.bmc.kill_wait,
            boot_devices=boot_order,
            processors=parts.processors.total,
            unplugged=tuple(card for part in host_parts for card in part.unplugged),
            firmware=Firmware(spec.compute.firmware),
            has_menu=spec.compute.boot.menu,
            shuts_down=not spec.compute.force_shutdown,
            binding=binding(
                spec.compute,
                parts.processors.total,
                facts,
                taken,
                previous.cores if previous else (),
            ),
        ),
        processes=_processes(parts, host_parts, boot_order),
        ports=_ports(parts, host_parts),
        disks=_disks(host_parts, taken),
        inputs=(*(given for part in host_parts for given in part.inputs), *_own_inputs(parts)),
        files=(*_files(parts, host_parts), *(file for part in host_parts for file in part.files)),
        links=tuple(link for part in host_parts for link in part.links),
        passthrough=tuple(device for part in host_parts for device in part.passthrough),
        macs=neighbours(spec.compute, parts.identity.uuid),
        namespace=spec.namespace,
        copies=tuple(copy for part in host_parts for copy in part.copies),
        folders=tuple(folder for part in host_parts for folder in part.folders),
        aliases=_aliases(spec, paths),
        racadm=parts.racadm.place if parts.racadm else None,
    )


def _decide(
    spec: NodeSpec,
    personality: Personality,
    facts: HostFacts,
    paths: NodePaths,
    *,
    home: Home,
    previous: Kept | None,
    reserved: Reserved,
) -> _Parts:
    wanted = wanted_uuid(spec)
    node_uuid = uuid.UUID(wanted) if wanted else addresses.node_uuid(home.root, paths.name, facts)
    identity, compiled = compile_node(spec, personality, node_uuid)
    display = spec.compute.vnc_display
    if display is None:
        display = addresses.vnc_display(facts, reserved, previous, _VNC_ADDRESS)
    bmc = _bmc(spec, facts, paths, home=home, previous=previous, reserved=reserved)
    return _Parts(
        spec=spec,
        facts=facts,
        paths=paths,
        personality=personality,
        identity=identity,
        compiled=compiled,
        accelerator=_accelerator(spec, facts),
        processors=processors(spec.compute.cpu, personality),
        bmc=bmc,
        vnc_display=display,
        racadm=_racadm(spec, bmc, facts, paths, reserved=reserved, previous=previous),
    )


def _accelerator(spec: NodeSpec, facts: HostFacts) -> Accelerator:
    if spec.compute.kvm_enabled is False:
        return Accelerator.TCG
    lack = without_smm(facts, spec.compute)
    if facts.kvm.works and not lack:
        return Accelerator.KVM
    if spec.compute.kvm_enabled:
        raise problem(
            "compute.kvm_enabled",
            lack or f"KVM does not run a guest on this machine: {facts.kvm.reason}",
            "leave it out to use KVM only where it works, or see: infrasim doctor",
        )
    return Accelerator.TCG


def _accelerator_note(spec: NodeSpec, facts: HostFacts) -> str:
    if spec.compute.kvm_enabled is False:
        return "KVM is switched off in the node file"
    return without_smm(facts, spec.compute) or facts.kvm.reason


def _bmc(
    spec: NodeSpec,
    facts: HostFacts,
    paths: NodePaths,
    *,
    home: Home,
    previous: Kept | None,
    reserved: Reserved,
) -> BmcPlan:
    port = spec.bmc.ipmi_over_lan_port
    if spec.bmc.address is not None:
        address = addresses.own_address(spec.bmc.address, facts, "bmc.address")
    elif spec.bmc.interface is not None:
        address = addresses.interface_address(spec.bmc.interface, facts, "bmc")
    else:
        address = addresses.bmc_address(port, facts, reserved, previous)
    return BmcPlan(
        address=address,
        port=port,
        listen=addresses.listen_addresses(address, port, facts, reserved),
        private_address=addresses.private_address(home.root, paths.name, facts, reserved, previous),
        channel_port=addresses.CHANNEL_PORT,
    )


def _racadm(
    spec: NodeSpec,
    bmc: BmcPlan,
    facts: HostFacts,
    paths: NodePaths,
    *,
    reserved: Reserved,
    previous: Kept | None,
) -> RacadmPart | None:
    if spec.racadm is None:
        return None
    from infrasim.plan.racadm import racadm_part  # late: few nodes have one

    return racadm_part(spec, bmc, facts, paths, reserved=reserved, previous=previous)


# --- the host


def _host_parts(parts: _Parts, texts: Mapping[str, bytes]) -> tuple[HostPart, ...]:
    """What each part of the node file adds to the host, in the order of QEMU's arguments."""
    compute = parts.spec.compute
    found = (
        firmware_part(compute, parts.facts, parts.paths),
        topology_part(compute),
        storage_part(
            compute,
            parts.paths,
            parts.identity.uuid,
            seed=_seed(parts, texts),
            kinds=other_kinds(compute, parts.facts),
        ),
        networks_part(compute, parts.identity.uuid, parts.personality.nics, parts.facts, parts.paths),
        *_passthrough(parts),
        special_part(compute),
    )
    return placed(found, _onboard(parts), chipset_of(compute))


def _passthrough(parts: _Parts) -> tuple[HostPart, ...]:
    if not parts.spec.compute.pcie_passthrough:
        return ()
    from infrasim.plan.passthrough import passthrough_part  # late: few nodes have any

    return (passthrough_part(parts.spec.compute, parts.facts),)


def _onboard(parts: _Parts) -> tuple[str, ...]:
    """QEMU's arguments for what every host has: screen, monitor, serial port, system interface."""
    interface, paths, monitor = parts.compiled.interface, parts.paths, parts.spec.monitor
    return (
        *system.screen(_VNC_ADDRESS, parts.vnc_display),
        *system.monitor("qmp", paths.qmp_socket),
        *(system.monitor("monitor", paths.monitor_socket) if monitor and monitor.enable else ()),
        *chardev.serial_port(paths.serial_socket if parts.spec.sol_enable else None, paths.serial_log),
        *chardev.system_interface(paths.kcs_socket, interface.kind, interface.io_port, interface.irq),
    )


def _seed(parts: _Parts, texts: Mapping[str, bytes]) -> FileSpec | None:
    """The image that cloud-init in the host reads, if the node file says anything to it."""
    given = parts.spec.compute.cloud_init
    if given is None:
        return None
    from infrasim.plan.seed import seed_files, seed_image  # late: few nodes have one

    files = seed_files(given, texts, node=parts.paths.name, uuid=parts.identity.uuid)
    return FileSpec(parts.paths.seed, seed_image(files))


def _qemu_argv(
    parts: _Parts, host_parts: tuple[HostPart, ...], boot_order: tuple[BootDevice, ...]
) -> tuple[str, ...]:
    compute, paths = parts.spec.compute, parts.paths
    indexes = {device.device_id: device.index for device in boot_order}
    memory = Memory(
        size_mib=compute.memory.size,
        path=Path(compute.mem_path) if compute.mem_path else None,
        is_shared=compute.memory.share,
        is_preallocated=compute.memory.prealloc,
        nodes=numa_nodes(compute, parts.processors),
        host_node=host_node(compute),
    )
    smbios = [paths.smbios_dir / _smbios_name(number) for number in range(len(parts.compiled.smbios))]
    return (
        *system.identity(paths.name, str(parts.identity.uuid), smbios),
        *board(compute).argv(parts.accelerator, memory.backend),
        *cpu(
            compute.cpu.type or "",
            compute.cpu.features or "",
            parts.accelerator,
            parts.processors.threads,
        ),
        *parts.processors.argv(),
        *memory.argv(),
        *_onboard(parts),
        *(word for part in host_parts for word in part.argv(indexes)),
        *system.direct_kernel(str(compute.kernel or ""), str(compute.initrd or ""), compute.cmdline or ""),
    )


def _check_qemu(parts: _Parts, host_parts: tuple[HostPart, ...], argv: tuple[str, ...]) -> None:
    """Whether the QEMU in use has all that ``argv`` asks of it.

    Raises:
        InvalidNodeFile: with everything it does not have.
    """
    from infrasim.qemu.check import is_ordinary, lacks

    ask, compute = parts.facts.ask_qemu, parts.spec.compute
    found = list(lacking_sectors(compute, parts.facts))
    if ask is None or (compute.qemu_bin is None and is_ordinary(argv)):
        if found:
            raise InvalidNodeFile(found)
        return
    keys = {name: f"compute.{name.lstrip('-')}" for name in ("-machine", "-cpu", "-communicate")}
    keys |= {f"-cpu.{name}": f"compute.cpu.{name}" for name in ("type", "features")}
    options = compute.machine.model_dump(by_alias=True, exclude_unset=True) if compute.machine else ()
    keys |= {f"-machine.{name}": f"compute.machine.{name}" for name in options}
    for device in (device for part in host_parts for device in part.devices):
        keys |= device.places
    # A module that was installed meanwhile can have brought what was not there when it was asked.
    if lacks(argv, keys, ask(False)):
        found += [fault(lack.key, lack.message, lack.hint) for lack in lacks(argv, keys, ask(True))]
    found += wrong_features(compute, parts.facts)
    if found:
        raise InvalidNodeFile(found)


# --- processes, ports, files


def _processes(
    parts: _Parts, host_parts: tuple[HostPart, ...], boot_order: tuple[BootDevice, ...]
) -> tuple[ProcessSpec, ...]:
    paths, facts, bmc = parts.paths, parts.facts, parts.bmc
    serial_line = ProcessSpec(
        SOCAT,
        serial_line_argv(facts.socat_program, paths.pty, paths.serial_socket, paths.serial_log),
        paths.log("socat"),
        ReadyCheck.LINK,
        str(paths.pty),
        _READY_TIMEOUTS_S[SOCAT],
    )
    ipmi_sim = ProcessSpec(
        IPMI_SIM,
        (
            facts.ipmi_sim_program,
            *("-c", str(paths.vbmc_conf)),
            *("-f", parts.spec.bmc.emu_file or str(paths.emu(parts.spec.type))),
            *("-s", str(paths.bmc_state)),
            "-n",
        ),
        paths.log("openipmi"),
        ReadyCheck.VM_CHANNEL,
        f"{bmc.private_address} {bmc.channel_port}",
        _READY_TIMEOUTS_S[IPMI_SIM],
    )
    argv = _qemu_argv(parts, host_parts, boot_order)
    more = (word for device in parts.spec.compute.extra_device for word in ("-device", device))
    _check_qemu(parts, host_parts, argv)
    host = ProcessSpec(
        QEMU,
        (facts.qemu_program, *argv, *more, *parts.spec.compute.extra_option),
        paths.log("qemu"),
        ReadyCheck.QMP_GREETING,
        str(paths.qmp_socket),
        _READY_TIMEOUTS_S[QEMU],
        tuple(
            Descriptor(link.descriptor, link.name)
            for part in host_parts
            for link in part.links
            if link.descriptor is not None
        ),
    )
    first = (serial_line,) if parts.spec.sol_enable else ()
    # ipmi_sim is the last, because the host makes its machine beside it.
    last = (parts.racadm.process,) if parts.racadm else ()
    return (*first, *(process for part in host_parts for process in part.processes), ipmi_sim, host, *last)


def _ports(parts: _Parts, host_parts: tuple[HostPart, ...]) -> tuple[PortSpec, ...]:
    bmc, console = parts.bmc, parts.spec.ipmi_console_port
    return (
        *(PortSpec("BMC", "udp", address, bmc.port) for address in bmc.listen),
        PortSpec("ipmi_sim", "tcp", bmc.private_address, bmc.channel_port),
        *((PortSpec(IPMI_CONSOLE, "tcp", "127.0.0.1", console),) if console else ()),
        *((parts.racadm.port,) if parts.racadm else ()),
        PortSpec("VNC screen", "tcp", _VNC_ADDRESS, 5900 + parts.vnc_display),
        *(port for part in host_parts for port in part.ports),
    )


def _disks(host_parts: tuple[HostPart, ...], reserved: Reserved) -> tuple[DiskSpec, ...]:
    disks = tuple(disk for part in host_parts for disk in part.disks)
    for number, disk in enumerate(disks):
        if disk.path in reserved.disks and not disk.is_shared:
            raise problem(
                disk.key,
                f"disk image {disk.path} belongs to node {reserved.disks[disk.path]}",
                "two nodes cannot write one image",
            )
        if any(disk.path == other.path and not disk.is_shared for other in disks[:number]):
            raise problem(disk.key, f"disk image {disk.path} is named twice", "")
    return disks


def _own_inputs(parts: _Parts) -> tuple[InputSpec, ...]:
    spec = parts.spec
    named = (
        (spec.compute.kernel, "compute.kernel"),
        (spec.compute.initrd, "compute.initrd"),
        (spec.bmc.emu_file, "bmc.emu_file"),
    )
    memory = spec.compute.mem_path
    return (
        *(InputSpec(Path(path), key) for path, key in named if path),
        *((InputSpec(Path(memory), "compute.mem_path", may_be_folder=True),) if memory else ()),
        *(parts.racadm.inputs if parts.racadm else ()),
    )


def _aliases(spec: NodeSpec, paths: NodePaths) -> tuple[AliasSpec, ...]:
    """Further names of the serial line's ends; without serial-over-LAN it has none."""
    wanted = (
        ("sol_device", spec.sol_device, paths.pty),
        ("serial_socket", spec.serial_socket, paths.serial_socket),
    )
    return tuple(
        AliasSpec(Path(path), target, key) for key, path, target in wanted if path and spec.sol_enable
    )


def _files(parts: _Parts, host_parts: tuple[HostPart, ...]) -> tuple[FileSpec, ...]:
    paths = parts.paths
    conf = vbmc_conf(
        paths,
        private_address=parts.bmc.private_address,
        channel_port=parts.bmc.channel_port,
        console_port=parts.spec.ipmi_console_port,
    )
    settings = json.dumps(dataclasses.asdict(_bmc_settings(parts)), indent=1)
    made_of = hardware(parts.spec, parts.personality, parts.compiled, parts.identity, host_parts, parts.facts)
    smbios = (
        FileSpec(paths.smbios_dir / _smbios_name(number), structure)
        for number, structure in enumerate(parts.compiled.smbios)
    )
    return (
        FileSpec(paths.vbmc_conf, conf.encode()),
        FileSpec(paths.bmc_settings, settings.encode()),
        FileSpec(paths.emu(parts.spec.type), parts.compiled.emu.encode()),
        FileSpec(paths.hardware, made_of.text().encode()),
        *((parts.racadm.file,) if parts.racadm else ()),
        *smbios,
    )


def _smbios_name(number: int) -> str:
    return f"{number:03d}.bin"


def _bmc_settings(parts: _Parts) -> CoreSettings:
    spec, bmc, personality = parts.spec, parts.bmc, parts.personality
    is_ipv4 = ":" not in bmc.address
    ipv6 = [address for address in bmc.listen if ":" in address and address != "::"]
    netmask = "255.0.0.0" if bmc.address.startswith("127.") else "255.255.255.0"
    return CoreSettings(
        node=parts.paths.name,
        guid=str(parts.identity.uuid),
        manufacturer=personality.bmc.manufacturer,
        product=personality.bmc.product,
        username=spec.bmc.username,
        password=spec.bmc.password,
        lan_address=bmc.address if is_ipv4 else _UNSET_ADDRESS,
        lan_netmask=netmask if is_ipv4 else _UNSET_ADDRESS,
        lan_gateway=_UNSET_ADDRESS,
        lan_mac=addresses.mac(parts.identity.uuid, "bmc"),
        lan_port=bmc.port,
        serial_over_lan=spec.sol_enable,
        cipher_suites=tuple(sorted({*spec.bmc.cipher_suites, *((0,) if spec.bmc.insecure else ())})),
        insecure=spec.bmc.insecure,
        lockout_failures=spec.bmc.lockout_failures,
        lockout_s=spec.bmc.lockout_time,
        reset_s=spec.bmc.reset_time,
        power_on_at_start=spec.bmc.startnow,
        lan_address6=ipv6[0] if ipv6 else "",
        watchdog_sensor=_watchdog_sensor(personality),
        system_firmware=_system_firmware(personality),
        model=personality.product_name,
        asset_tag=parts.identity.asset_tag or "",
        processors=parts.compiled.sockets,
        host_macs=macs(spec.compute, parts.identity.uuid),
        main_channel=spec.bmc.main_channel,
        other_channels=tuple(
            OtherChannel(number, addresses.mac(parts.identity.uuid, f"bmc channel {number}"))
            for number in sorted({*spec.bmc.channels} - {spec.bmc.main_channel})
        ),
        history_fru=spec.bmc.historyfru,
        system_interface=parts.compiled.interface.kind,
    )


def _system_firmware(personality: Personality) -> str:
    """The version of the server's BIOS."""
    return next((str(bios.version) for bios in personality.structures(Bios)), "")


def _watchdog_sensor(personality: Personality) -> int:
    """The number of the server's watchdog sensor; 0 if it has none."""
    return next(
        (
            sensor.number
            for sensor in personality.sensors
            if sensor.sensor_type == _WATCHDOG_SENSOR_TYPE and sensor.owner == BMC_ADDRESS
        ),
        0,
    )
