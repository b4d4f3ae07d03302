"""QEMU's model of AMD's Versal: two Cortex-A72, a GICv3. RAM starts at 0.

QEMU makes the tree (hw/arm/xlnx-versal-virt.c). Its -smp counts the two Cortex-R5 too, which do not run.
"""

from __future__ import annotations

from xenarm.tools.machine import Board, Hardware

BOARD = Board(
    name="xlnx-versal-virt",
    hardware=Hardware(
        soc="AMD Versal, two Cortex-A72",
        load_address=0x20_0000,  # ours: the first boundary of 2 MiB that QEMU's boot code leaves free
        serial="PL011 UART0 at 0xff000000",
        firmware="none; QEMU answers PSCI",
        cpu_start="PSCI",
        flash="nothing to flash: make run",
    ),
    ram_base=0,
    max_cpus=2,
    qemu="qemu-system-aarch64",
    machine="xlnx-versal-virt",
    smp=4,
)
