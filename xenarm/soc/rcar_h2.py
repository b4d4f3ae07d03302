"""Renesas' R-Car H2 (its User's Manual: APMU, RST, SYSC).

The APMU wakes the CPUs of a cluster one by one, out of reset and in secure state, at the boot address of the cluster: a few words of on-chip RAM.
Only the cluster that booted is used: what guests see must not depend on where they run.
"""

from freestanding import Struct, fn, u32, u64, usize, zeroed

from xenarm.arm.hw import read_mpidr_el1
from xenarm.arm.instructions import data_sync_all, mmio_read32, mmio_write32
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_cpus, fdt_nodes, fdt_property
from xenarm.devicetree.values import fdt_by_phandle, fdt_compatible, fdt_raw_reg
from xenarm.core.result import Result
from xenarm.soc.registers import LOOKS, Started, bits_set, registers_at, registers_of, registers_of_node

__all__ = ["KEPT", "rcar_h2_prepare", "rcar_h2_start"]

WUPCR = 0x10  # of an APMU: wake up
DBGRCR = 0x180
DEBUG_RESETS = 1 << 24 | 1 << 19  # other requests for a reset count
DEBUG_CPU_RESET = 20
CA15BAR = 0x20  # of RST: boot address, in units of 256 bytes
CA7BAR = 0x30
BAR_VALID = 0x10
CA15RESCNT = 0x40
CA7RESCNT = 0x44
CA15_KEY = 0xA5A5_0000
CA7_KEY = 0x5A5A_0000
MERAM = 0xE808_0000  # on a boundary of 256 KiB, as the boot address must be
JUMP = 0xE51F_F004  # ldr pc, [pc, #-4]: to the word behind
SYSC = 0xE618_0000
SYSCIER = 0x0C
SYSCIMR = 0x10
POWER_EVENTS = 0x0131_11EF  # of every power domain with CPUs

KEPT = (
    ("renesas,apmu", "turns CPUs off"),
    ("renesas,r8a7790-rst", "restarts the machine"),
    ("renesas,r8a7790-sysc", "turns power domains off"),
)


class Chip(Struct):
    rst: u64
    apmu: u64  # of the cluster that booted
    node: Node


CHIP = zeroed(Chip)


@fn
def cpu_listed(fdt: Fdt, apmu: Node, index: u32) -> tuple[bool, u64]:
    """MPIDR of entry `index` of an APMU's `cpus`; False when there are fewer."""
    _, cpus = fdt_property(fdt, apmu, b"cpus")
    if usize(index) * 4 + 4 > len(cpus):
        return False, 0
    node = fdt_by_phandle(fdt, cpus.load_be32(usize(index) * 4))
    parent = fdt_cpus(fdt)
    if node == NO_NODE or parent == NO_NODE:
        return False, 0
    reg = fdt_raw_reg(fdt, parent, node, 0)
    return reg.result == Result.OK, reg.base


@fn
def bit_of(fdt: Fdt, apmu: Node, mpidr: u64) -> tuple[bool, u32]:
    """Which of the APMU's CPUs one is."""
    for index in range(u32(4)):
        there, listed = cpu_listed(fdt, apmu, index)
        if there and listed == mpidr & 0xFF_FFFF:
            return True, index
    return False, 0


@fn
def boot_address_set(own: u64) -> None:
    """Where CPUs of the cluster begin; and end their being held in reset."""
    a15 = own & 0xFF00 == 0
    bar = CHIP.rst + (CA15BAR if a15 else u64(CA7BAR))
    mmio_write32(bar, MERAM >> 8)
    mmio_write32(bar, MERAM >> 8 | BAR_VALID)
    count = CHIP.rst + (CA15RESCNT if a15 else u64(CA7RESCNT))
    mmio_write32(count, (mmio_read32(count) & ~u32(0xF)) | (u32(CA15_KEY) if a15 else u32(CA7_KEY)))


@fn
def rcar_h2_prepare(fdt: Fdt) -> None:
    own = read_mpidr_el1()
    CHIP.rst = registers_of(fdt, b"renesas,r8a7790-rst")
    for node in fdt_nodes(fdt):
        if fdt_compatible(fdt, node, b"renesas,apmu"):
            found, _ = bit_of(fdt, node, own)
            if found:
                CHIP.apmu = registers_of_node(fdt, node)
                CHIP.node = node
    if CHIP.rst == 0 or CHIP.apmu == 0:
        return
    mmio_write32(registers_at(MERAM, 0x1000), JUMP)
    sysc = registers_at(SYSC, 0x200)
    bits_set(sysc + SYSCIMR, POWER_EVENTS)
    mmio_write32(sysc + SYSCIER, POWER_EVENTS)
    boot_address_set(own)


@fn
def rcar_h2_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    if CHIP.rst == 0 or CHIP.apmu == 0:
        return Started.REFUSED
    found, bit = bit_of(fdt, CHIP.node, mpidr)
    if not found:
        return Started.REFUSED
    mmio_write32(u64(MERAM + 4), u32(entry))
    data_sync_all()
    bits_set(CHIP.apmu + DBGRCR, u32(DEBUG_RESETS) | u32(1) << (bit + DEBUG_CPU_RESET))
    mmio_write32(CHIP.apmu + WUPCR, u32(1) << bit)
    for _ in range(LOOKS):
        if mmio_read32(CHIP.apmu + WUPCR) == 0:
            return Started.CALLED
    return Started.REFUSED

