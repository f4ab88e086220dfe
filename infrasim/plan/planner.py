"""Node file + personality + host facts + paths -> ``NodePlan``. The one place where all of it meets.

Pure: the same input gives the same plan, and nothing is touched.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING

from infrasim.bmc.conf import serial_line_argv, vbmc_conf
from infrasim.bmc.settings import CoreSettings, OtherChannel
from infrasim.errors import InvalidNodeFile, Problem
from infrasim.frozen import Frozen
from infrasim.host.facts import Accelerator, HostFacts, Reserved, Socket
from infrasim.paths import Home, NodePaths
from infrasim.personality.compiler import CompiledPersonality
from infrasim.personality.identity import NodeIdentity
from infrasim.personality.model import BMC_ADDRESS, Personality
from infrasim.personality.smbios import Bios
from infrasim.plan import addresses
from infrasim.plan.claims import claims, own_faults
from infrasim.plan.controllers import lacking_sectors, other_kinds
from infrasim.plan.fault import Faults, fault, problem
from infrasim.plan.features import wrong_features
from infrasim.plan.firmware import board, firmware_part, without_smm
from infrasim.plan.hardware import hardware
from infrasim.plan.identity import compile_node, system_serial_number, wanted_uuid
from infrasim.plan.model import (
    IPMI_CONSOLE,
    IPMI_SIM,
    QEMU,
    SOCAT,
    VNC_FIRST_PORT,
    AliasSpec,
    Binding,
    BmcPlan,
    Descriptor,
    DiskSpec,
    FileSpec,
    HostPlan,
    InputSpec,
    Kept,
    Needs,
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
from infrasim.spec.node import Compute, NodeSpec

if TYPE_CHECKING:
    from infrasim.plan.racadm import RacadmPart

# How long each program may take until it is ready, on a busy machine. Seconds.
_READY_TIMEOUTS_S = {SOCAT: 10.0, IPMI_SIM: 30.0, QEMU: 60.0}

_VNC_ADDRESS = "127.0.0.1"

# Source: IPMI 2.0 table 42-3 (watchdog 2).
_WATCHDOG_SENSOR_TYPE = 0x23
_UNSET_ADDRESS = "0.0.0.0"


class NoPlan(InvalidNodeFile):
    """A node file of which no plan can be made; ``needs`` is what could be decided of it all the same."""

    def __init__(self, problems: Iterable[Problem], needs: Needs) -> None:
        super().__init__(problems)
        self.needs = needs


class _Given(Frozen):
    """What a plan is made from."""

    spec: NodeSpec
    personality: Personality | None
    facts: HostFacts
    paths: NodePaths
    home: Home
    previous: Kept | None
    reserved: Reserved
    texts: Mapping[str, bytes]
    node_uuid: uuid.UUID


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
    memory: Memory
    binding: Binding | None


def plan_node(
    spec: NodeSpec,
    personality: Personality | None,
    facts: HostFacts,
    paths: NodePaths,
    *,
    home: Home,
    previous: Kept | None = None,
    reserved: Reserved | None = None,
    texts: Mapping[str, bytes] | None = None,
) -> NodePlan:
    """Decide everything about one node. ``texts`` are what files hold that the node file names, by path.

    Without a ``personality``, the node's server type, no plan is made; what can be wrong is looked for.

    Raises:
        NoPlan: with everything that the node file asks for and that cannot be, on this machine or at all.
        UsageError: the paths of the workspace are too long.
    """
    paths.check_socket_lengths()
    faults, wanted = Faults(), wanted_uuid(spec)
    node_uuid = uuid.UUID(wanted) if wanted else addresses.node_uuid(home.root, paths.name, facts)
    taken = reserved or Reserved()
    given = _Given(spec, personality, facts, paths, home, previous, taken, texts or {}, node_uuid)
    faults.add(own_faults(spec))
    parts = _decide(given, faults)
    faults.tried(lambda: check_macs(spec.compute, node_uuid, taken))
    found = _host_parts(given, faults)
    host_parts = tuple(part for part in found if part is not None)
    put = None
    if len(host_parts) == len(found):
        # Where a part is missing, others would miss its buses and find its slots free.
        onboard = _onboard(parts) if parts else system.screen(_VNC_ADDRESS, 0)
        put = faults.tried(lambda: placed(host_parts, onboard, chipset_of(spec.compute)))
    boot_order = faults.tried(lambda: boot_devices(host_parts, spec.compute.boot.boot_order)) or ()
    needs = _needs(spec, paths, parts, host_parts)
    faults.add(_disk_faults(needs.disks, taken))
    faults.tried(lambda: _check_qemu(given, host_parts, _asked_of_qemu(given, parts, put or host_parts)))
    if parts is None or put is None or faults.found:
        raise NoPlan(faults.found, needs)
    return _plan(parts, put, boot_order, needs)


def _plan(
    parts: _Parts, host_parts: tuple[HostPart, ...], boot_order: tuple[BootDevice, ...], needs: Needs
) -> NodePlan:
    spec, paths, facts, personality = parts.spec, parts.paths, parts.facts, parts.personality
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
            binding=parts.binding,
        ),
        processes=_processes(parts, host_parts, boot_order),
        ports=_ports(parts, host_parts),
        disks=needs.disks,
        inputs=needs.inputs,
        files=(*_files(parts, host_parts), *(file for part in host_parts for file in part.files)),
        links=needs.links,
        passthrough=needs.passthrough,
        macs=neighbours(spec.compute, parts.identity.uuid),
        namespace=needs.namespace,
        copies=needs.copies,
        folders=tuple(folder for part in host_parts for folder in part.folders),
        aliases=needs.aliases,
        racadm=parts.racadm.place if parts.racadm else None,
    )


def _decide(given: _Given, faults: Faults) -> _Parts | None:
    """What the steps share; None, with the faults noted, if any of it cannot be."""
    spec, facts, personality, paths = given.spec, given.facts, given.personality, given.paths
    reserved, previous, compute = given.reserved, given.previous, spec.compute
    own = layout = memory = bound = bmc = display = racadm = None
    if personality is not None:
        own = faults.tried(lambda: compile_node(spec, personality, given.node_uuid))
        layout = faults.tried(lambda: processors(compute.cpu, personality))
    if layout is not None:
        memory = faults.tried(lambda: _memory(compute, layout))
        cores = previous.cores if previous else ()
        bound = faults.tried(lambda: binding(compute, layout.total, facts, reserved, cores))
    accelerator = faults.tried(lambda: _accelerator(spec, facts))
    # What the file gives to something else is not free either.
    facts = _with_own_ports(facts, spec)
    if facts.knows_network:
        display = compute.vnc_display
        if display is None:
            display = faults.tried(lambda: addresses.vnc_display(facts, reserved, previous, _VNC_ADDRESS))
        bmc = faults.tried(
            lambda: _bmc(spec, facts, paths, home=given.home, previous=previous, reserved=reserved)
        )
    if bmc is not None:
        racadm = faults.tried(lambda: _racadm(spec, bmc, facts, paths, reserved=reserved, previous=previous))
    if (
        personality is None
        or own is None
        or layout is None
        or memory is None
        or accelerator is None
        or bmc is None
        or display is None
    ):
        return None
    identity, compiled = own
    return _Parts(
        spec=spec,
        facts=facts,
        paths=paths,
        personality=personality,
        identity=identity,
        compiled=compiled,
        accelerator=accelerator,
        processors=layout,
        bmc=bmc,
        vnc_display=display,
        racadm=racadm,
        memory=memory,
        binding=bound,
    )


def _with_own_ports(facts: HostFacts, spec: NodeSpec) -> HostFacts:
    """This machine, as if the ports that the file asks for were bound."""
    own: dict[str, set[Socket]] = {"UDP port": set(), "TCP port": set()}
    for claim in claims(spec):
        if claim.what in own:
            own[claim.what].add(Socket(claim.address, int(claim.value)))
    return dataclasses.replace(
        facts,
        udp_in_use=facts.udp_in_use | own["UDP port"],
        tcp_in_use=facts.tcp_in_use | own["TCP port"],
    )


def _memory(compute: Compute, layout: Processors) -> Memory:
    return Memory(
        size_mib=compute.memory.size,
        path=Path(compute.mem_path) if compute.mem_path else None,
        is_shared=compute.memory.share,
        is_preallocated=compute.memory.prealloc,
        nodes=numa_nodes(compute, layout),
        host_node=host_node(compute),
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


def _host_parts(given: _Given, faults: Faults) -> tuple[HostPart | None, ...]:
    """What each part of the node file adds to the host, in the order of QEMU's arguments.

    None for one that cannot be; all faults are noted.
    """
    compute, facts, paths, node_uuid = given.spec.compute, given.facts, given.paths, given.node_uuid
    kinds, unknown = faults.tried(lambda: other_kinds(compute, facts)) or ({}, [])
    faults.add(unknown)
    nics = given.personality.nics if given.personality else ()
    steps = (
        lambda: firmware_part(compute, facts, paths),
        lambda: topology_part(compute),
        lambda: storage_part(compute, paths, node_uuid, seed=_seed(given), kinds=kinds),
        lambda: networks_part(compute, node_uuid, nics, facts, paths),
        lambda: _passthrough(compute, facts),
        lambda: special_part(compute),
    )
    found = tuple(faults.tried(step) for step in steps)
    for part in found:
        faults.add(part.faults if part else ())
    return found


def _passthrough(compute: Compute, facts: HostFacts) -> HostPart:
    if not compute.pcie_passthrough:
        return HostPart()
    from infrasim.plan.passthrough import passthrough_part  # late: few nodes have any

    return passthrough_part(compute, facts)


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


def _seed(given: _Given) -> FileSpec | None:
    """The image that cloud-init in the host reads, if the node file says anything to it."""
    said, paths = given.spec.compute.cloud_init, given.paths
    if said is None:
        return None
    from infrasim.plan.seed import seed_files, seed_image  # late: few nodes have one

    files = seed_files(said, given.texts, node=paths.name, uuid=given.node_uuid)
    return FileSpec(paths.seed, seed_image(files))


def _qemu_argv(
    parts: _Parts, host_parts: tuple[HostPart, ...], boot_order: tuple[BootDevice, ...]
) -> tuple[str, ...]:
    compute, paths = parts.spec.compute, parts.paths
    indexes = {device.device_id: device.index for device in boot_order}
    smbios = [paths.smbios_dir / _smbios_name(number) for number in range(len(parts.compiled.smbios))]
    return (
        *system.identity(paths.name, str(parts.identity.uuid), smbios),
        *board(compute).argv(parts.accelerator, parts.memory.backend),
        *cpu(
            compute.cpu.type or "",
            compute.cpu.features or "",
            parts.accelerator,
            parts.processors.threads,
        ),
        *parts.processors.argv(),
        *parts.memory.argv(),
        *_onboard(parts),
        *(word for part in host_parts for word in part.argv(indexes)),
        *system.direct_kernel(str(compute.kernel or ""), str(compute.initrd or ""), compute.cmdline or ""),
    )


def _asked_of_qemu(given: _Given, parts: _Parts | None, host_parts: tuple[HostPart, ...]) -> tuple[str, ...]:
    """The arguments that not every QEMU may take, as far as they are decided.

    Without ``parts`` a processor that the node file does not name has a model that every QEMU has.
    """
    if parts is not None:
        return _qemu_argv(parts, host_parts, ())
    compute = given.spec.compute
    processor = cpu(compute.cpu.type or "", compute.cpu.features or "", Accelerator.TCG)
    words = (word for part in host_parts for word in part.argv({}))
    return (*board(compute).argv(Accelerator.TCG), *processor, *words)


def _check_qemu(given: _Given, host_parts: tuple[HostPart, ...], argv: tuple[str, ...]) -> None:
    """Whether the QEMU in use has all that ``argv`` asks of it.

    Raises:
        InvalidNodeFile: with everything it does not have.
    """
    from infrasim.qemu.check import is_ordinary, lacks

    facts, compute = given.facts, given.spec.compute
    ask, faults = facts.ask_qemu, Faults()
    faults.add(faults.tried(lambda: list(lacking_sectors(compute, facts))) or ())
    if ask is not None and not (compute.qemu_bin is None and is_ordinary(argv)):
        keys = {name: f"compute.{name.lstrip('-')}" for name in ("-machine", "-cpu", "-communicate")}
        keys |= {f"-cpu.{name}": f"compute.cpu.{name}" for name in ("type", "features")}
        options = compute.machine.model_dump(by_alias=True, exclude_unset=True) if compute.machine else ()
        keys |= {f"-machine.{name}": f"compute.machine.{name}" for name in options}
        for device in (device for part in host_parts for device in part.devices):
            keys |= device.places
        # A module that was installed meanwhile can have brought what was not there when it was asked.
        if lacks(argv, keys, ask(False)):
            faults.add(fault(lack.key, lack.message, lack.hint) for lack in lacks(argv, keys, ask(True)))
        faults.add(wrong_features(compute, facts))
    faults.refuse()


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
        PortSpec("VNC screen", "tcp", _VNC_ADDRESS, VNC_FIRST_PORT + parts.vnc_display),
        *(port for part in host_parts for port in part.ports),
    )


def _disk_faults(disks: Sequence[DiskSpec], reserved: Reserved) -> Iterator[Problem]:
    for number, disk in enumerate(disks):
        if disk.path in reserved.disks and not disk.is_shared:
            message = f"disk image {disk.path} belongs to node {reserved.disks[disk.path]}"
            yield fault(disk.key, message, "two nodes cannot write one image")
        written = (Path(normpath(other.path)) for other in disks[:number])
        if not disk.is_shared and Path(normpath(disk.path)) in written:
            yield fault(disk.key, f"disk image {disk.path} is named twice", "")


def _needs(spec: NodeSpec, paths: NodePaths, parts: _Parts | None, host_parts: tuple[HostPart, ...]) -> Needs:
    own = _own_inputs(spec)
    if parts is not None and parts.racadm is not None:
        own = (*own, *parts.racadm.inputs)
    return Needs(
        disks=tuple(disk for part in host_parts for disk in part.disks),
        inputs=(*(given for part in host_parts for given in part.inputs), *own),
        copies=tuple(copy for part in host_parts for copy in part.copies),
        aliases=_aliases(spec, paths),
        links=tuple(link for part in host_parts for link in part.links),
        passthrough=tuple(device for part in host_parts for device in part.passthrough),
        namespace=spec.namespace,
    )


def _own_inputs(spec: NodeSpec) -> tuple[InputSpec, ...]:
    named = (
        (spec.compute.kernel, "compute.kernel"),
        (spec.compute.initrd, "compute.initrd"),
        (spec.bmc.emu_file, "bmc.emu_file"),
    )
    memory = spec.compute.mem_path
    return (
        *(InputSpec(Path(path), key) for path, key in named if path),
        *((InputSpec(Path(memory), "compute.mem_path", may_be_folder=True),) if memory else ()),
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
