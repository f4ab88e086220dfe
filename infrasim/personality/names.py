"""Names of the codes that IPMI gives sensors, entities, units and events.

Names are spelled the way they are written in YAML: small letters, underscores. A code without a name
is written as its number.
"""

from __future__ import annotations


def _table(first: int, text: str) -> dict[int, str]:
    """Number the words of ``text`` from ``first`` up; ``-`` leaves a number without a name."""
    return {number: word for number, word in enumerate(text.split(), first) if word != "-"}


# Source: IPMI 2.0 table 42-3, sensor type codes.
SENSOR_TYPES = _table(
    0,
    """reserved temperature voltage current fan physical_security platform_security processor
    power_supply power_unit cooling_device other_units memory drive_slot post_memory_resize
    system_firmware_progress event_logging_disabled watchdog_1 system_event critical_interrupt
    button module_board microcontroller add_in_card chassis chip_set other_fru cable terminator
    system_boot boot_error os_boot os_stop slot_connector system_acpi_power_state watchdog_2
    platform_alert entity_presence monitor_asic lan management_subsystem_health battery
    session_audit version_change fru_state""",
)

# Source: IPMI 2.0 table 42-1, event/reading type codes. 0x6f means the states are the sensor type's own.
EVENT_TYPES = _table(
    0,
    """unspecified threshold usage state predictive_failure limit performance severity
    presence enabled availability redundancy acpi_device_power_state""",
) | {0x6F: "sensor_specific"}

# Source: IPMI 2.0 table 43-13, entity ID codes.
ENTITIES = _table(
    0,
    """unspecified other unknown processor disk peripheral_bay system_management_module system_board
    memory_module processor_module power_supply add_in_card front_panel_board back_panel_board
    power_system_board drive_backplane expansion_board other_system_board processor_board power_unit
    power_module power_management chassis_back_panel_board system_chassis sub_chassis
    other_chassis_board disk_drive_bay peripheral_bay_2 device_bay fan cooling_unit cable memory_device
    system_management_software bios operating_system system_bus group remote_management_device
    external_environment battery processing_blade connectivity_switch processor_memory_module io_module
    processor_io_module management_controller_firmware ipmi_channel pci_bus pci_express_bus scsi_bus
    sata_bus processor_bus rtc system_firmware management_controller_device - - - - - - - - air_inlet
    processor_2 baseboard""",
)

# Source: IPMI 2.0 table 43-15, sensor unit type codes.
UNITS = _table(
    0,
    """unspecified degrees_c degrees_f degrees_k volts amps watts joules coulombs va nits lumen lux candela
    kpa psi newton cfm rpm hz microsecond millisecond second minute hour day week mil inches feet cu_in
    cu_feet mm cm m cu_cm cu_m liters fluid_ounce radians steradians revolutions cycles gravities ounce
    pound ft_lb oz_in gauss gilberts henry millihenry farad microfarad ohms siemens mole becquerel ppm
    reserved decibels dba dbc gray sievert color_temp_k bit kilobit megabit gigabit byte kilobyte megabyte
    gigabyte word dword qword line hit miss retry reset overrun underrun collision packets messages
    characters error correctable_error uncorrectable_error fatal_error grams""",
)

RATES = _table(0, "none per_microsecond per_millisecond per_second per_minute per_hour per_day")
MODIFIERS = _table(0, "none divide multiply")
ANALOG_FORMATS = _table(0, "unsigned ones_complement twos_complement none")
LINEARIZATIONS = _table(0, "linear ln log10 log2 e exp10 exp2 reciprocal square cube sqrt cube_root")
DIRECTIONS = _table(0, "unspecified input output")
HYSTERESIS_ACCESS = _table(0, "none readable settable fixed")
THRESHOLD_ACCESS = HYSTERESIS_ACCESS
EVENT_CONTROL = _table(0, "per_state entire_sensor global none")

# Thresholds in the order of their bits in masks. Source: IPMI 2.0 table 43-1, bytes 15-20.
THRESHOLDS = ("lnc", "lc", "lnr", "unc", "uc", "unr")

# Events of a threshold sensor by bit: going low is "-", going high "+". Source: as above.
THRESHOLD_EVENTS = tuple(f"{name}{sign}" for name in THRESHOLDS for sign in "-+")


def number(table: dict[int, str], value: str | int) -> int:
    """The code of ``value``, which is a name in ``table`` or already a code."""
    if isinstance(value, int):
        return value
    return next(code for code, name in table.items() if name == value)
