"""The Raspberry Pi 4 Model B with a BCM2711. RAM starts at 0; the firmware's pen is in the first page."""

from __future__ import annotations

from xenarm.tools.machine import Board, Hardware

BOARD = Board(
    name="raspi4",
    hardware=Hardware(
        soc="Broadcom BCM2711, four Cortex-A72",
        load_address=0x20_0000,  # where the firmware puts kernel8.img
        serial="mini UART (UART1) at 0xfe215040, pins 8 and 10; enable_uart=1",
        firmware="its GPU's, then TF-A's or its own stub",
        cpu_start="spin table; PSCI with TF-A",
        flash="put xenarm on the SD card as kernel8.img, and the tree; arm_64bit=1 and enable_uart=1 in config.txt",
        storage="mmc 0:1",  # the card, whose first partition the firmware reads
    ),
    ram_base=0,
    max_cpus=4,
    tree="raspi4.dts",
)
