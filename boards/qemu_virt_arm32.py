"""QEMU's `virt` machine with a Cortex-A15 in HYP mode and a GICv2.

RAM starts at 1 GiB, as on the 64-bit one; QEMU loads the image 64 KiB above (hw/arm/boot.c, KERNEL_LOAD_ADDR).
"""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board

BOARD = Board(
    name="qemu-virt-arm32",
    qemu="qemu-system-arm",
    machine="virt,virtualization=on,gic-version=2",
    cpu="cortex-a15",
    ram_base=0x4000_0000,
    max_cpus=8,
    architecture=Architecture.ARM32,
)
