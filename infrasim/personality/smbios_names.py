"""Names of the codes in SMBIOS structures, spelled as in YAML. Source: DSP0134 3.6, sections named below."""

from __future__ import annotations


def _table(text: str, first: int = 1) -> dict[int, str]:
    """Number the words of ``text`` from ``first`` up; ``-`` leaves a number without a name."""
    return {number: word for number, word in enumerate(text.split(), first) if word != "-"}


# Table "System enclosure or chassis types", section 7.4.1.
CHASSIS_TYPES = _table(
    """other unknown desktop low_profile_desktop pizza_box mini_tower tower portable laptop notebook hand_held
    docking_station all_in_one sub_notebook space_saving lunch_box main_server expansion sub_chassis
    bus_expansion peripheral raid rack_mount sealed_case multi_system compact_pci advanced_tca blade
    blade_enclosure"""
)
# Sections 7.4.2 and 7.4.3.
CHASSIS_STATES = _table("other unknown safe warning critical non_recoverable")
SECURITY_STATES = _table("other unknown none locked_out enabled")
# Section 7.3.2.
BOARD_TYPES = _table(
    """unknown other blade switch management processor io memory daughter_board motherboard processor_memory
    processor_io interconnect"""
)
# Section 7.5.1.
PROCESSOR_TYPES = _table("other unknown cpu math dsp video")
# Sections 7.8.3, 7.8.4 and 7.8.5.
CACHE_ECC = _table("other unknown none parity single_bit multi_bit")
CACHE_TYPES = _table("other unknown instruction data unified")
ASSOCIATIVITY = _table(
    """other unknown direct_mapped 2_way 4_way fully_associative 8_way 16_way 12_way 24_way 32_way 48_way
    64_way 20_way"""
)
# Section 7.9.2.
CONNECTORS = _table(
    """none centronics mini_centronics proprietary db25_male db25_female db15_male db15_female db9_male
    db9_female rj11 rj45 mini_scsi_50 mini_din micro_din ps2 infrared hp_hil usb ssa_scsi din8_male
    din8_female on_board_ide on_board_floppy dual_inline_9 dual_inline_25 dual_inline_50 dual_inline_68
    on_board_sound mini_centronics_14 mini_centronics_26 headphones bnc ieee_1394 sas_sata usb_c""",
    first=0,
) | {0xFF: "other"}
# Section 7.9.3.
PORTS = _table(
    """none parallel_xt parallel_ps2 parallel_ecp parallel_epp parallel_ecp_epp serial_xt serial_16450
    serial_16550 serial_16550a scsi midi joystick keyboard mouse ssa_scsi usb firewire pcmcia_1 pcmcia_2
    pcmcia_3 card_bus access_bus scsi_2 scsi_wide pc98 pc98_hireso pc_h98 video audio modem network sata sas
    multi_function thunderbolt""",
    first=0,
) | {0xFF: "other"}
# Section 7.10.1.
SLOT_TYPES = _table(
    """other unknown isa mca eisa pci pcmcia vesa proprietary processor memory riser nubus pci_66 agp
        agp_2x agp_4x pci_x agp_8x"""
) | _table(
    """pcie pcie_x1 pcie_x2 pcie_x4 pcie_x8 pcie_x16 pcie2 pcie2_x1 pcie2_x2 pcie2_x4 pcie2_x8 pcie2_x16
        pcie3 pcie3_x1 pcie3_x2 pcie3_x4 pcie3_x8 pcie3_x16 - pcie4 pcie4_x1 pcie4_x2 pcie4_x4 pcie4_x8
        pcie4_x16 pcie5 pcie5_x1 pcie5_x2 pcie5_x4 pcie5_x8 pcie5_x16""",
    first=0xA5,
)
# Sections 7.10.2, 7.10.3 and 7.10.4.
BUS_WIDTHS = _table("other unknown 8_bit 16_bit 32_bit 64_bit 128_bit x1 x2 x4 x8 x12 x16 x32")
SLOT_USAGES = _table("other unknown available in_use unavailable")
SLOT_LENGTHS = _table("other unknown short long drive_2_5 drive_3_5")
# Section 7.11.1 and 7.42.2.
DEVICE_TYPES = _table(
    "other unknown video scsi ethernet token_ring sound pata sata sas wireless bluetooth wwan"
)
# Sections 7.17.1, 7.17.2 and 7.17.3.
ARRAY_LOCATIONS = _table("other unknown system_board isa_card eisa_card pci_card mca_card pcmcia_card")
ARRAY_USES = _table("other unknown system video flash nv_ram cache")
ARRAY_ECC = _table("other unknown none parity single_bit multi_bit crc")
# Sections 7.18.1 and 7.18.2.
FORM_FACTORS = _table(
    """other unknown simm sip chip dip zip card dimm tsop row_of_chips rimm sodimm srimm fb_dimm die camm"""
)
MEMORY_TYPES = _table(
    """other unknown dram edram vram sram ram rom flash eeprom feprom eprom cdram 3dram sdram sgram rdram
    ddr ddr2 ddr2_fb_dimm - - - ddr3 fbd2 ddr4 lpddr lpddr2 lpddr3 lpddr4 non_volatile hbm hbm2
    ddr5 lpddr5 hbm3"""
)
MEMORY_TECHNOLOGIES = _table("other unknown dram nvdimm_n nvdimm_f nvdimm_p optane")
