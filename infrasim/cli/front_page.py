"""What ``infrasim node info`` prints: a server at a glance, as a management controller's front page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from infrasim.cli.table import table

if TYPE_CHECKING:
    from infrasim.plan.model import NodePlan
    from infrasim.runtime.inventory import Inventory
    from infrasim.runtime.status import NodeStatus

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def front_page(found: NodeStatus, inventory: Inventory) -> Iterator[str]:
    """The lines of the page."""
    hardware, plan = inventory.hardware, inventory.plan
    status = found.as_json()
    yield f"{hardware['manufacturer']} {hardware['product']}"
    yield from _pairs(
        ("node", f"{found.name}, {found.condition.value}, power {status['host']['power']}"),
        ("server type", plan.server_type),
        ("serial number", hardware["serial_number"]),
        ("asset tag", hardware["asset_tag"]),
        ("UUID", hardware["uuid"]),
        ("BIOS", hardware["bios"]),
        # A node that was started by an older infrasim has neither on record, nor places of cards.
        ("boots by", hardware.get("boots_by", "")),
        ("TPM", hardware.get("tpm", "")),
        ("processors", _processors(hardware)),
        ("memory", f"{hardware['memory_mib']} MiB"),
        ("runs on", f"{plan.host.accelerator.value.upper()} ({plan.host.accelerator_note})"),
    )
    yield from _memory(hardware["modules"])
    yield from _drives(hardware["controllers"])
    yield from _cards(hardware["cards"])
    # A node that was started by an older infrasim has none on record.
    yield from _host_devices(hardware.get("host_devices", []))
    yield ""
    yield "Management controller"
    bmc = plan.bmc
    yield from _pairs(
        ("firmware", hardware["bmc_firmware"]),
        ("MAC address", hardware["bmc_mac"]),
        ("address", f"{' and '.join(bmc.listen)}, UDP port {bmc.port}"),
        ("user", hardware["bmc_user"]),
        ("IPMI", ipmitool_words(plan)),
        ("racadm", racadm_words(plan)),
        ("screen", f"VNC {plan.vnc_address}:{plan.vnc_display} (port {plan.vnc_port})"),
        ("console", f"infrasim node console {found.name}"),
        ("workspace", str(plan.workspace)),
        ("logs", str(plan.log_dir)),
    )


def ipmitool_words(plan: NodePlan) -> str:
    """How ipmitool asks the node's BMC."""
    port = "" if plan.bmc.port == 623 else f" -p {plan.bmc.port}"
    where = f"ip netns exec {plan.namespace} " if plan.namespace else ""
    return f"{where}ipmitool -I lanplus -H {plan.bmc.address}{port} -U USER -P PASSWORD …"


def racadm_words(plan: NodePlan) -> str:
    """How SSH reaches the racadm shell; empty if there is none."""
    if plan.racadm is None:
        return ""
    where = f"ip netns exec {plan.namespace} " if plan.namespace else ""
    return f"{where}ssh -p {plan.racadm.port} {plan.racadm.username or 'USER'}@{plan.racadm.address}"


def _pairs(*pairs: tuple[str, str]) -> Iterator[str]:
    yield from (f"  {label:14} {text}" for label, text in pairs if text)


def _processors(hardware: dict[str, Any]) -> str:
    models: list[str] = hardware["processors"]
    counted = [f"{models.count(model)} x {model}" for model in dict.fromkeys(models) if model]
    return ", ".join([f"{hardware['logical_processors']} in {len(models) or 1} sockets", *counted])


def _memory(modules: list[dict[str, Any]]) -> Iterator[str]:
    rows = [
        (
            each["locator"],
            f"{each['size_mib']} MiB",
            each["memory_type"].upper(),
            f"{each['speed']} MT/s" if each["speed"] else "-",
            each["manufacturer"] or "-",
            each["part_number"] or "-",
            each["serial_number"] or "-",
        )
        for each in modules
    ]
    yield from _section("Memory", ("SLOT", "SIZE", "TYPE", "SPEED", "MAKER", "PART", "SERIAL NUMBER"), rows)


def _drives(controllers: list[dict[str, Any]]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for controller in controllers:
        label = f"{controller['name']} ({controller['device']})"
        for drive in controller["drives"]:
            row = (
                label,
                drive["place"] or "-",
                drive["kind"],
                size_text(drive["size_bytes"]),
                drive["model"] or "-",
                drive["serial_number"] or "-",
                drive["image"] or "-",
            )
            rows.append(row)
        if not controller["drives"]:
            rows.append((label, *["-"] * 6))
    heads = ("CONTROLLER", "SLOT", "KIND", "SIZE", "MODEL", "SERIAL NUMBER", "IMAGE")
    yield from _section("Drives", heads, rows)


def _cards(cards: list[dict[str, Any]]) -> Iterator[str]:
    rows = [
        (each["name"], each["device"], each.get("place") or "-", each["mac"], each["leads_to"])
        for each in cards
    ]
    yield from _section("Network cards", ("CARD", "DEVICE", "PLACE", "MAC ADDRESS", "LEADS TO"), rows)


def _host_devices(devices: list[dict[str, Any]]) -> Iterator[str]:
    rows = [
        (each["name"], each["device"], each["host"], each["kind"] or "not there", each["ids"] or "-")
        for each in devices
    ]
    yield from _section("Devices of this machine", ("NAME", "DEVICE", "HOST ADDRESS", "KIND", "IDS"), rows)


def _section(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield title
    yield from (f"  {line}" for line in table(heads, rows))


def size_text(size_bytes: int | None) -> str:
    """A size in the largest unit that it is at least one of, with one decimal where it is not whole."""
    if size_bytes is None:
        return "?"
    unit, name = next(((unit, name) for unit, name in _UNITS if size_bytes >= unit), (1, "B"))
    number = size_bytes / unit
    return f"{number:.0f} {name}" if number == int(number) else f"{number:.1f} {name}"
