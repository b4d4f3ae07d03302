"""Calxeda's Midway, and QEMU's model of it, which has no device tree of its own. RAM starts at 0."""

from __future__ import annotations

from xenarm.tools.machine import Architecture, Board, Hardware

BOARD = Board(
    name="midway",
    hardware=Hardware(
        soc="Calxeda ECX-2000, four Cortex-A15",
        load_address=0x0100_0000,  # ours: in RAM, above U-Boot's own load address of 0x800000 (its configs/highbank_defconfig)
        serial="PL011 at 0xfff36000, over the management network (SOL)",
        firmware="its own, with PSCI 0.1",
        cpu_start="PSCI 0.1, function numbers from the tree",
        flash="by SATA disk or network; in U-Boot: bootz",
        storage="scsi 0:1",  # the first disk: its CONFIG_SCSI_AHCI
    ),
    ram_base=0,
    max_cpus=4,
    qemu="qemu-system-arm",
    machine="midway",
    tree="midway.dts",
    architecture=Architecture.ARM32,
)
