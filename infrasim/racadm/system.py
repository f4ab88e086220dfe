"""The server and its controller at a glance: ``getsysinfo``, ``getversion``, ``getniccfg``, ``getsvctag``."""

from __future__ import annotations

from infrasim.personality.smbios import Bios
from infrasim.racadm import controller
from infrasim.racadm.layout import Pairs, lines, section, sections
from infrasim.racadm.parts import of_kind, ports, text
from infrasim.racadm.ports import Bmc, Server

# Base 36, as Dell reads a service tag as a number.
_EXPRESS_BASE = 36


def on_off(on: bool) -> str:
    """How racadm says whether there is power."""
    return "ON" if on else "OFF"


def enabled(on: bool) -> str:
    """How racadm says whether something is switched on."""
    return "Enabled" if on else "Disabled"


def bios_version(server: Server) -> str:
    """The version that SMBIOS gives the BIOS; empty if it gives none."""
    return next((text(bios.version) for bios in of_kind(server.structures, Bios)), "")


def bios_date(server: Server) -> str:
    """The date that SMBIOS gives the BIOS; empty if it gives none."""
    return next((text(bios.release_date) for bios in of_kind(server.structures, Bios)), "")


def express_code(service_tag: str) -> str:
    """A service tag as Dell's express service code; empty if it is none."""
    try:
        return str(int(service_tag, _EXPRESS_BASE))
    except ValueError:
        return ""


def service_tag(server: Server) -> str:
    """``getsvctag``."""
    return server.hardware.serial_number


def versions(server: Server, bmc: Bmc) -> dict[str, tuple[str, str]]:
    """What ``getversion`` names, by the word that asks for it alone."""
    return {
        "bios": ("Bios Version", bios_version(server)),
        "idrac": ("iDRAC Version", controller.firmware(bmc)),
    }


def version_text(pairs: Pairs) -> str:
    """``getversion``: every line set apart."""
    return "\n\n".join(f" {key:<32} = {value}" for key, value in pairs)


def network(bmc: Bmc) -> str:
    """``getniccfg``: the controller's own network."""
    lan = controller.lan(bmc)
    ipv4: Pairs = (
        ("NIC Enabled", 1),
        ("IPv4 Enabled", int(lan.address != "0.0.0.0")),
        ("DHCP Enabled", int(lan.by_dhcp)),
        ("IP Address", lan.address),
        ("Subnet Mask", lan.netmask),
        ("Gateway", lan.gateway),
    )
    status: Pairs = (("NIC Selection", "Dedicated"), ("Link Detected", "Yes"), ("Active NIC", "Dedicated"))
    return "\n" + "\n\n".join((f"IPv4 settings:\n{lines(ipv4, 20)}", f"LOM Status:\n{lines(status, 15)}"))


def controller_section(bmc: Bmc) -> str:
    """``getsysinfo -d``."""
    return section(
        "RAC Information",
        (
            ("RAC Date/Time", controller.clock(bmc).strftime("%a %b %e %H:%M:%S %Y")),
            ("Firmware Version", controller.firmware(bmc)),
            ("MAC Address", controller.lan(bmc).mac),
        ),
    )


def common_section(server: Server) -> str:
    """``getsysinfo -c``."""
    name = f"idrac-{server.hardware.serial_number}"
    return section("Common settings", (("Register DNS RAC Name", 0), ("DNS RAC Name", name)))


def ipv4_section(bmc: Bmc) -> str:
    """``getsysinfo -4``."""
    lan = controller.lan(bmc)
    return section(
        "IPv4 settings",
        (
            ("Enabled", int(lan.address != "0.0.0.0")),
            ("Current IP Address", lan.address),
            ("Current IP Gateway", lan.gateway),
            ("Current IP Netmask", lan.netmask),
            ("DHCP Enabled", int(lan.by_dhcp)),
        ),
    )


def system_sections(server: Server, bmc: Bmc) -> tuple[str, str]:
    """``getsysinfo -s``."""
    hardware = server.hardware
    system = section(
        "System Information",
        (
            ("System Model", hardware.product),
            ("System Revision", "I"),
            ("System BIOS Version", bios_version(server)),
            ("Service Tag", hardware.serial_number),
            ("Express Svc Code", express_code(hardware.serial_number)),
            ("Host Name", controller.host_name(bmc)),
            ("OS Name", controller.os_name(bmc)),
            ("Power Status", on_off(controller.power_is_on(bmc))),
        ),
    )
    cards = "\n".join(
        f"{port.fqdd:<23} Ethernet                = {port.card.mac.upper()}" for port in ports(hardware)
    )
    return system, f"Embedded NIC MAC Addresses:\n{cards}".rstrip()


def watchdog_section(bmc: Bmc) -> str:
    """``getsysinfo -w``."""
    watchdog = controller.watchdog(bmc)
    return section(
        "Watchdog Information",
        (
            ("Recovery Action", watchdog.recovery),
            ("Present countdown value", f"{watchdog.present_s} seconds"),
            ("Initial countdown value", f"{watchdog.initial_s} seconds"),
        ),
    )


def system_info(server: Server, bmc: Bmc, wanted: frozenset[str]) -> str:
    """``getsysinfo``; ``wanted`` are the letters of its options, none for everything."""
    system, cards = system_sections(server, bmc)
    parts = {
        "d": (controller_section(bmc),),
        "c": (common_section(server),),
        "4": (ipv4_section(bmc),),
        "s": (system,),
        "w": (watchdog_section(bmc),),
        "": (cards,),
    }
    # The cards belong to the system, and stand last.
    shown = wanted | ({""} if "s" in wanted or not wanted else set())
    return sections(
        part for letter, found in parts.items() if not wanted or letter in shown for part in found
    )
