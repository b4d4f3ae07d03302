"""Renesas' Lager with an R-Car H2. RAM starts at 1 GiB; a second bank, beyond 4 GiB, is for guests alone.

The board's switch SW8.7 says which cluster boots: the CPUs of that one come first, and are domains' own unless they ask for others.
"""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="lager",
    hardware=Hardware(
        soc="Renesas R-Car H2 (R8A7790), four Cortex-A15 and four Cortex-A7",
        load_address=0x4200_0000,  # ours: in RAM, below U-Boot at 0x50000000 (its configs/lager_defconfig)
        serial="SCIF0 at 0xe6e60000, by the board's USB converter",
        firmware="U-Boot in SPI flash, HYP mode",
        cpu_start="R-Car: power for the other cluster by SYSC, then the APMU",
        flash="by network (tftp), or in SPI flash by U-Boot's sf; then bootz",
        # The partition "flash" of Linux's r8a7790-lager.dts, 59.75 MiB behind "loader" and "user"; U-Boot and its environment end at 2 MiB
        # (MTDPARTS_DEFAULT in its configs/lager_defconfig).
        storage="sf 0x440000",
    ),
    ram_base=0x4000_0000,
    max_cpus=8,
    tree="lager.dts",
    architecture=Architecture.ARM32,
)
