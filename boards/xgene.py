"""APM's Mustang with an X-Gene 1 (Storm). The virtual and the hypervisor timer are PPIs 14 and 15."""

from __future__ import annotations

from xenarm.tools.machine import Board, Hardware

BOARD = Board(
    name="xgene",
    hardware=Hardware(
        soc="APM X-Gene 1 (Storm), eight Potenza",
        load_address=0x1_0200_0000,  # ours: in RAM
        serial="16550 UART0 at 0x1c020000",
        firmware="U-Boot, spin table at 0x1_0000_fff8",
        cpu_start="spin table",
        flash="by network (tftp) or SATA disk; in U-Boot: booti",
    ),
    ram_base=0x1_0000_0000,
    max_cpus=8,
    tree="xgene.dts",
)
