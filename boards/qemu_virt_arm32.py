"""QEMU's `virt` machine with a Cortex-A15 in HYP mode and a GICv2.

RAM starts at 1 GiB, as on the 64-bit one; QEMU loads the image 64 KiB above (hw/arm/boot.c, KERNEL_LOAD_ADDR).
"""

from __future__ import annotations

from xenarm.tools.machine import MIB, Architecture, Board, Hardware, Region

BOARD = Board(
    name="qemu-virt-arm32",
    hardware=Hardware(
        soc="QEMU's virt",
        load_address=0x4001_0000,
        serial="PL011 at 0x9000000",
        firmware="none; QEMU answers PSCI",
        cpu_start="PSCI",
        flash="make flash, and make run FLASH=1",
    ),
    ram_base=0x4000_0000,
    max_cpus=8,
    qemu="qemu-system-arm",
    machine="virt,virtualization=on,gic-version=2",
    cpu="cortex-a15",
    nor=Region("the NOR flash", 0, 64 * MIB),
    architecture=Architecture.ARM32,
)
