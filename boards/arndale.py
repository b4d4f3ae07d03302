"""Insignal's Arndale with a Samsung Exynos 5250. RAM starts at 1 GiB."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="arndale",
    hardware=Hardware(
        soc="Samsung Exynos 5250, two Cortex-A15",
        load_address=0x4200_0000,  # kernel_addr_r of U-Boot's include/configs/exynos5-common.h
        serial="UART2 at 0x12c20000, the board's RS-232 connector",
        firmware="U-Boot that enters HYP mode",
        cpu_start="Exynos: entry in SYSRAM, power by the PMU, then an interrupt",
        flash="put xenarm and the tree on the SD card's FAT partition; in U-Boot: bootz",
        storage="mmc 1:1",  # mmc 0 is the eMMC (mmc@12200000); a U-Boot that numbers by aliases calls the card's (mmc@12220000) mmc 2
    ),
    ram_base=0x4000_0000,
    max_cpus=2,
    tree="arndale.dts",
    architecture=Architecture.ARM32,
)
