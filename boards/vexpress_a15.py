"""Arm's Versatile Express with a CoreTile Express A15x2, and QEMU's model of it. RAM starts at 2 GiB.

`secure=off` has QEMU start the image in HYP mode: the model has no firmware that would.
"""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="vexpress-a15",
    hardware=Hardware(
        soc="Arm CoreTile Express A15x2, two Cortex-A15",
        load_address=0x8200_0000,  # ours: in RAM, above U-Boot at 0x80800000 (its configs/vexpress_ca15_tc2_defconfig)
        serial="PL011 UART0 at 0x1c090000, the first RS-232 connector",
        firmware="boot monitor and U-Boot, HYP mode",
        cpu_start="Versatile Express: SYS_FLAGS, then an interrupt",
        flash="by the board's USB storage or NOR flash; in U-Boot: bootz",
        storage="mmc 0:1",  # the motherboard's only MMCI; of U-Boot, versions with CONFIG_MMC
        baud=38_400,  # CONFIG_BAUDRATE there
    ),
    ram_base=0x8000_0000,
    max_cpus=2,
    qemu="qemu-system-arm",
    machine="vexpress-a15,secure=off,virtualization=on",
    tree="vexpress-a15.dts",
    architecture=Architecture.ARM32,
)
