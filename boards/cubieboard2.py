"""The Cubieboard2 with an Allwinner A20. RAM starts at 1 GiB."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="cubieboard2",
    hardware=Hardware(
        soc="Allwinner A20, two Cortex-A7",
        load_address=0x4200_0000,  # kernel_addr_r of U-Boot's include/configs/sunxi-common.h
        serial="UART0 at 0x1c28000, the four-pin header",
        firmware="U-Boot with PSCI; an old one leaves the second CPU off",
        cpu_start="PSCI if the tree has it, else Allwinner: CPU configuration",
        flash="put xenarm and the tree on the SD card's FAT partition; in U-Boot: bootz",
        storage="mmc 0:1",  # its CONFIG_MMC_SUNXI_SLOT: 0
    ),
    ram_base=0x4000_0000,
    max_cpus=2,
    tree="cubieboard2.dts",
    architecture=Architecture.ARM32,
)
