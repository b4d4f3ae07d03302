"""Renesas' Lager with an R-Car H2. RAM starts at 1 GiB; the second bank is beyond what HYP mode maps."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="lager",
    hardware=Hardware(
        soc="Renesas R-Car H2 (R8A7790), four Cortex-A15 and four Cortex-A7",
        load_address=0x4200_0000,
        serial="SCIF0 at 0xe6e60000, by the board's USB converter",
        firmware="U-Boot in SPI flash, HYP mode",
        cpu_start="R-Car: the APMU, for the cluster that booted",
        flash="by network (tftp), or in SPI flash by U-Boot's sf; then bootz",
        storage="sf 0x440000",  # the partition "flash", behind the boot loader's
    ),
    ram_base=0x4000_0000,
    max_cpus=8,
    tree="lager.dts",
    architecture=Architecture.ARM32,
)
