"""AMD's ZCU102 with a Zynq UltraScale+ MPSoC, and QEMU's model of it.

RAM starts at 0. QEMU's machine (hw/arm/xlnx-zcu102.c) makes no device tree of its own, and its CPUs are always Cortex-A53.
"""

from __future__ import annotations

from xenarm.tools.machine import Board

BOARD = Board(
    name="zcu102",
    qemu="qemu-system-aarch64",
    machine="xlnx-zcu102,virtualization=on",
    cpu="",
    ram_base=0,
    max_cpus=4,
    tree="zcu102.dts",
)
