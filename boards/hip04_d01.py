"""HiSilicon's D01 with a HiP04.

Its interrupt controller is a GICv2 for sixteen CPUs, with other places for targets and list registers.
"""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="hip04-d01",
    hardware=Hardware(
        soc="HiSilicon HiP04, sixteen Cortex-A15",
        load_address=0x1200_0000,  # ours: in RAM, above the boot wrapper at 0x10c00000
        serial="DesignWare UART0 at 0xe4007000",
        firmware="UEFI or U-Boot with a boot wrapper",
        cpu_start="HiP04: boot wrapper, system controller and fabric",
        flash="by SATA disk or network, in UEFI's or U-Boot's own way",
    ),
    ram_base=0x1000_0000,
    max_cpus=16,
    tree="hip04-d01.dts",
    architecture=Architecture.ARM32,
)
