"""``get`` and ``set``: attributes of BIOS, iDRAC and Lifecycle Controller, in groups.

Only what is true of the node is there. Attributes that cannot be set have a ``#``, as racadm shows it.
Source: public attribute registries of iDRAC 7 to 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infrasim.frozen import Frozen
from infrasim.racadm import controller, system
from infrasim.racadm.layout import Pairs
from infrasim.racadm.parts import has_threads, modules, processors, text
from infrasim.racadm.ports import CommandError, Session

_CHASSIS, _SET_BOOT, _GET_BOOT = 0x00, 0x08, 0x09
# Boot options. Source: IPMI 2.0 table 28-14.
_VALID_BIT_CLEARING, _FLAGS = 3, 5
_KEEP_ON_TIMEOUT = 0x08
_VALID, _PERSISTENT, _UEFI = 0x80, 0x40, 0x20
_DEVICES = {"Normal": 0, "PXE": 1, "HDD": 2, "CD-DVD": 5, "BIOS": 6}
# Other words for the same devices.
_ALIASES = {"vcd-dvd": "CD-DVD"}
_NO_ACCESS = 0xF
_ADMINISTRATOR_RIGHTS, _OPERATOR_RIGHTS, _LOGIN_RIGHTS = "0x1ff", "0x1f3", "0x1"
_ADMINISTRATOR, _OPERATOR = 4, 3


class Group(Frozen):
    """``key`` is how racadm names it in full, ``pairs`` what is in it now; ``#`` before a name: fixed."""

    key: str
    pairs: Callable[[Session], Pairs]


def _system_information(session: Session) -> Pairs:
    hardware = session.server.hardware
    return (
        ("#SystemBiosVersion", system.bios_version(session.server)),
        ("#SystemManufacturer", hardware.manufacturer),
        ("#SystemModelName", hardware.product),
        ("#SystemServiceTag", hardware.serial_number),
    )


def _memory_settings(session: Session) -> Pairs:
    found = modules(session.server.structures)
    slowest = min((module.configured_speed or module.speed for module in found), default=0)
    return (
        ("#SysMemSize", f"{session.server.hardware.memory_mib} MB"),
        ("#SysMemSpeed", f"{slowest} MHz" if slowest else ""),
        ("#SysMemType", next((text(module.memory_type).upper() for module in found), "")),
    )


def _processor_settings(session: Session) -> Pairs:
    found = processors(session.server.structures)
    pairs: list[tuple[str, object]] = [("#LogicalProc", system.enabled(any(map(has_threads, found))))]
    for number, processor in enumerate(found, 1):
        pairs += [
            (f"#Proc{number}Brand", text(processor.version)),
            (f"#Proc{number}NumCores", processor.core_count),
        ]
    return pairs


def _boot_settings(session: Session) -> Pairs:
    return (("#BootMode", "Uefi" if session.server.settings.uefi else "Bios"),)


def _security(session: Session) -> Pairs:
    settings = session.server.settings
    return (
        ("#SecureBoot", system.enabled(settings.secure_boot)),
        ("#TpmSecurity", "On" if settings.has_tpm else "Off"),
    )


def _idrac_info(session: Session) -> Pairs:
    return (
        ("#Name", "iDRAC"),
        ("#Product", "Integrated Dell Remote Access Controller"),
        ("#ServerGen", session.server.hardware.product),
        ("#Version", controller.firmware(session.bmc)),
    )


def _ipv4(session: Session) -> Pairs:
    lan = controller.lan(session.bmc)
    return (
        ("#Address", lan.address),
        ("#DHCPEnable", system.enabled(lan.by_dhcp)),
        ("#Enable", system.enabled(lan.address != "0.0.0.0")),
        ("#Gateway", lan.gateway),
        ("#Netmask", lan.netmask),
    )


def _nic(session: Session) -> Pairs:
    name = f"idrac-{session.server.hardware.serial_number}"
    return (
        ("#DNSRacName", name),
        ("#Enable", "Enabled"),
        ("#MACAddress", controller.lan(session.bmc).mac),
        ("#Selection", "Dedicated"),
    )


def _server_boot(session: Session) -> Pairs:
    device, once = _boot(session)
    return (("BootOnce", system.enabled(once)), ("FirstBootDevice", device))


def _life_cycle(_: Session) -> Pairs:
    # Nothing of it is there but what it collects: the inventory is drawn anew at each start.
    return (
        ("#AutoBackup", "Disabled"),
        ("#AutoDiscovery", "Off"),
        ("#AutoUpdate", "Disabled"),
        ("#CollectSystemInventoryOnRestart", "Enabled"),
    )


# By their names; capital and small letters are the same when somebody asks.
_GROUPS: Mapping[str, Group] = {
    "BIOS.SysInformation": Group("BIOS.Setup.1-1#SysInformation", _system_information),
    "BIOS.MemSettings": Group("BIOS.Setup.1-1#MemSettings", _memory_settings),
    "BIOS.ProcSettings": Group("BIOS.Setup.1-1#ProcSettings", _processor_settings),
    "BIOS.BiosBootSettings": Group("BIOS.Setup.1-1#BiosBootSettings", _boot_settings),
    "BIOS.SysSecurity": Group("BIOS.Setup.1-1#SysSecurity", _security),
    "iDRAC.Info": Group("iDRAC.Embedded.1#Info.1", _idrac_info),
    "iDRAC.IPv4": Group("iDRAC.Embedded.1#IPv4.1", _ipv4),
    "iDRAC.NIC": Group("iDRAC.Embedded.1#NIC.1", _nic),
    "iDRAC.ServerBoot": Group("iDRAC.Embedded.1#ServerBoot.1", _server_boot),
    "LifecycleController.LCAttributes": Group("LifecycleController.Embedded.1#LCAttributes.1", _life_cycle),
}
_USERS = "iDRAC.Users"
# How ``config`` and ``getconfig`` of older controllers name them.
OLD_OBJECTS = {
    ("cfgserverinfo", "cfgserverfirstbootdevice"): "iDRAC.ServerBoot.FirstBootDevice",
    ("cfgserverinfo", "cfgserverbootonce"): "iDRAC.ServerBoot.BootOnce",
}
_SWITCHES = {"1": True, "enabled": True, "0": False, "disabled": False}


def get(session: Session, wanted: str) -> str:
    """A section's groups, a group, or one attribute.

    Raises:
        CommandError: there is none of that name.
    """
    asked = wanted.lower()
    names = [*_GROUPS, *(f"{_USERS}.{user.number}" for user in _users_of(session, asked))]
    if below := [name for name in names if name.lower().startswith(f"{asked}.")]:
        return "\n".join(below)
    name, attribute = _find(names, asked)
    group = _GROUPS.get(name) or _user_group(session, int(name.rpartition(".")[2]))
    pairs = [(key, value) for key, value in group.pairs(session) if value not in ("", None)]
    if attribute:
        pairs = [(key, value) for key, value in pairs if key.lstrip("#").lower() == attribute]
        if not pairs:
            raise CommandError(f"The specified attribute is not valid: {wanted}")
    return "\n".join([f"[Key={group.key}]", *(f"{key}={value}" for key, value in pairs)])


def _find(names: list[str], asked: str) -> tuple[str, str]:
    """The group that is asked for, with the attribute of it if one is."""
    for name in names:
        # "iDRAC.NIC.1" is the first of its kind, and the only one but for users.
        spellings = (name.lower(), f"{name.lower()}.1") if name in _GROUPS else (name.lower(),)
        for spelling in spellings:
            if asked == spelling:
                return name, ""
        for spelling in reversed(spellings):
            if asked.startswith(f"{spelling}."):
                return name, asked.removeprefix(f"{spelling}.")
    raise CommandError("The specified group or object is not valid.")


def _users_of(session: Session, asked: str) -> tuple[controller.User, ...]:
    """The users, where they are asked for; each costs two questions."""
    return controller.users(session.bmc) if asked.startswith("idrac") else ()


def _user_group(session: Session, number: int) -> Group:
    user = next(each for each in controller.users(session.bmc) if each.number == number)
    rights = {_ADMINISTRATOR: _ADMINISTRATOR_RIGHTS, _OPERATOR: _OPERATOR_RIGHTS}
    has_access = user.is_enabled and user.privilege != _NO_ACCESS
    pairs: Pairs = (
        ("#Enable", system.enabled(user.is_enabled)),
        ("#IpmiLanPrivilege", user.privilege),
        ("#Privilege", rights.get(user.privilege, _LOGIN_RIGHTS) if has_access else "0x0"),
        ("#UserName", user.name),
    )
    return Group(f"iDRAC.Embedded.1#Users.{number}", lambda _: pairs)


def put(session: Session, wanted: str, value: str) -> str:
    """Set one attribute.

    Raises:
        CommandError: it is not there, fixed, or does not take that value.
    """
    asked = wanted.lower().replace("serverboot.1.", "serverboot.")
    device, once = _boot(session)
    match asked:
        case "idrac.serverboot.firstbootdevice":
            word = _ALIASES.get(value.lower(), value)
            found = next((name for name in _DEVICES if name.lower() == word.lower()), None)
            if found is None:
                raise CommandError(f"Invalid object value specified. It is one of: {', '.join(_DEVICES)}.")
            _set_boot(session, found, once=once)
        case "idrac.serverboot.bootonce":
            if value.lower() not in _SWITCHES:
                raise CommandError("Invalid object value specified. It is one of: Enabled, Disabled.")
            _set_boot(session, device, once=_SWITCHES[value.lower()])
        case _:
            get(session, wanted)  # says so if it is not there at all
            raise CommandError("The specified object is READ ONLY and cannot be modified.")
    return "[Key=iDRAC.Embedded.1#ServerBoot.1]\nObject value modified successfully"


def _flags(session: Session, number: int) -> bytes:
    return session.bmc.ask(_CHASSIS, _GET_BOOT, bytes([number, 0, 0]))[2:]


def _boot(session: Session) -> tuple[str, bool]:
    """What the host boots from first, and whether only once."""
    flags = _flags(session, _FLAGS)
    number = (flags[1] >> 2) & 0x0F if flags[0] & _VALID else 0
    device = next((name for name, each in _DEVICES.items() if each == number), "Normal")
    return device, not (flags[0] & _VALID and flags[0] & _PERSISTENT)


def _set_boot(session: Session, device: str, *, once: bool) -> None:
    """Boot flags that wait until they are used, as those of an iDRAC do."""
    keep = _flags(session, _VALID_BIT_CLEARING)[0] | _KEEP_ON_TIMEOUT
    session.bmc.order(_CHASSIS, _SET_BOOT, bytes([_VALID_BIT_CLEARING, keep]))
    uefi = _UEFI if session.server.settings.uefi else 0
    first = _VALID | uefi | (0 if once else _PERSISTENT) if _DEVICES[device] or not once else 0
    flags = bytes([first, _DEVICES[device] << 2, 0, 0, 0])
    session.bmc.order(_CHASSIS, _SET_BOOT, bytes([_FLAGS]) + flags)
