"""TI's OMAP5 uEVM with an OMAP5432. RAM starts at 2 GiB."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="omap5-uevm",
    hardware=Hardware(
        soc="TI OMAP5432, two Cortex-A15",
        load_address=0x8200_0000,  # kernel_addr_r of U-Boot's include/configs/ti_armv7_common.h
        serial="UART3 at 0x48020000, by the board's USB converter",
        firmware="U-Boot (SPL and main), HYP mode by the ROM's monitor",
        cpu_start="OMAP5: AUX_CORE_BOOT_0 and _1, then an event; HYP mode by the ROM's monitor",
        flash="put xenarm and the tree on the SD card's FAT partition; in U-Boot: bootz",
        storage="mmc 0:1",  # the card; mmc 1 is the eMMC (Linux's omap5-uevm.dts)
    ),
    ram_base=0x8000_0000,
    max_cpus=2,
    tree="omap5-uevm.dts",
    architecture=Architecture.ARM32,
)
