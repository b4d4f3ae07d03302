"""WITS' Colombus evaluation board with an Allwinner A31. RAM starts at 1 GiB."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="colombus",
    hardware=Hardware(
        soc="Allwinner A31, four Cortex-A7",
        load_address=0x4200_0000,  # kernel_addr_r of U-Boot's include/configs/sunxi-common.h
        serial="UART0 at 0x1c28000",
        firmware="U-Boot with PSCI; an old one leaves the other CPUs off",
        cpu_start="PSCI if the tree has it, else Allwinner: CPU configuration and PRCM",
        flash="put xenarm and the tree on the SD card's FAT partition; in U-Boot: bootz",
        storage="mmc 0:1",  # its CONFIG_MMC_SUNXI_SLOT: 0
    ),
    ram_base=0x4000_0000,
    max_cpus=4,
    tree="colombus.dts",
    architecture=Architecture.ARM32,
)
