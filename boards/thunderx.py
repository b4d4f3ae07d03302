"""Cavium's ThunderX (CN88xx). RAM starts at 0; registers lie above 128 TiB."""

from __future__ import annotations

from xenarm.tools.machine import Board, Hardware

BOARD = Board(
    name="thunderx",
    hardware=Hardware(
        soc="Cavium CN88xx, 48 ThunderX",
        load_address=0x200_0000,  # ours: what lies below 0x500000 is firmware's (MEM_BASE of U-Boot's include/configs/thunderx_88xx.h)
        serial="PL011 UAA0 at 0x87e024000000, polled: it interrupts by a message",
        firmware="TF-A and UEFI or U-Boot",
        cpu_start="PSCI",
        flash="by disk or network; in U-Boot: booti",
    ),
    ram_base=0,
    max_cpus=48,
    tree="thunderx.dts",
)
