"""QEMU's `virt` machine with EL2 and a GICv2.

RAM starts at 1 GiB. The memory map is in QEMU's hw/arm/virt.c; -M virt has room for eight CPUs with a GICv2,
and for 512 with a GICv3.
"""

from __future__ import annotations

from xenarm.tools.machine import MIB, Board, Hardware, Region

BOARD = Board(
    name="qemu-virt-arm64",
    hardware=Hardware(
        soc="QEMU's virt",
        load_address=0x4020_0000,
        serial="PL011 at 0x9000000",
        firmware="none; QEMU answers PSCI",
        cpu_start="PSCI",
        flash="make flash, and make run FLASH=1",
    ),
    ram_base=0x4000_0000,
    max_cpus=8,
    gic_cpus={2: 8, 3: 512},
    qemu="qemu-system-aarch64",
    machine="virt,virtualization=on,gic-version=2",
    cpu="cortex-a57",
    nor=Region("the NOR flash", 0, 64 * MIB),
)
