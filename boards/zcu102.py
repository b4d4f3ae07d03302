"""AMD's ZCU102 with a Zynq UltraScale+ MPSoC, and QEMU's model of it.

RAM starts at 0. QEMU's machine (hw/arm/xlnx-zcu102.c) makes no device tree of its own, and its CPUs are always Cortex-A53.
"""

from __future__ import annotations

from xenarm.tools.machine import Board, Hardware

BOARD = Board(
    name="zcu102",
    hardware=Hardware(
        soc="AMD Zynq UltraScale+ MPSoC, four Cortex-A53",
        load_address=0x20_0000,  # kernel_addr of U-Boot's include/configs/xilinx_zynqmp.h
        serial="Cadence UART0 at 0xff000000, USB port J83, first of four",
        firmware="FSBL, PMU firmware, TF-A, U-Boot",
        cpu_start="PSCI",
        flash="put xenarm and the tree on the SD card's FAT partition; in U-Boot: booti",
        storage="mmc 0:1",  # its sdbootdev: 0
    ),
    ram_base=0,
    max_cpus=4,
    qemu="qemu-system-aarch64",
    machine="xlnx-zcu102,virtualization=on",
    tree="zcu102.dts",
)
