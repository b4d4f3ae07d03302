"""The Orange Pi PC with an Allwinner H3, and QEMU's model of it, which has no device tree of its own. RAM starts at 1 GiB."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="orangepi-pc",
    hardware=Hardware(
        soc="Allwinner H3, four Cortex-A7",
        load_address=0x4200_0000,  # kernel_addr_r of U-Boot's include/configs/sunxi-common.h
        serial="UART0 at 0x1c28000, the three-pin header",
        firmware="U-Boot with PSCI",
        cpu_start="PSCI",
        flash="put xenarm and the tree on the SD card's FAT partition; in U-Boot: bootz",
        storage="mmc 0:1",  # the only slot: mmc0 of the board's tree
    ),
    ram_base=0x4000_0000,
    max_cpus=4,
    qemu="qemu-system-arm",
    machine="orangepi-pc",
    tree="orangepi-pc.dts",
    architecture=Architecture.ARM32,
    smp=4,
)
