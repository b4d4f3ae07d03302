"""A guest's side of the GICv2 (ARM IHI 0048B): enough to take interrupts and to send software-generated ones."""

from freestanding import Struct, fn, u8, u32, u64, zeroed
from xenarm.arm.instructions import data_sync_all, mmio_read8, mmio_read32, mmio_write8, mmio_write32
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import fdt_find_compatible, fdt_reg
from xenarm.gic.registers import INTID_MASK, INTID_SPURIOUS, SGIR_TARGETS_SHIFT, Gicc, GiccControl, Gicd

__all__ = ["GIC", "gic_acknowledge", "gic_cpu_init", "gic_enable", "gic_end", "gic_init", "gic_own_target", "gic_send", "intid_of"]

PRIORITY = 0xA0
PRIORITY_MASK_ALL = 0xF0
ENABLE = int(GiccControl(ENABLE=True))


class Gic(Struct):
    """Where the distributor and the CPU interface lie; 0: there is no GICv2."""

    gicd: u64
    gicc: u64


GIC = zeroed(Gic)


@fn
def gic_node(fdt: Fdt) -> Node:
    node = fdt_find_compatible(fdt, b"arm,cortex-a15-gic")
    return fdt_find_compatible(fdt, b"arm,gic-400") if node == NO_NODE else node


@fn
def gic_init(fdt: Fdt) -> Result:
    """Find the controller and turn it on for this CPU; NOT_FOUND when the tree has no GICv2."""
    node = gic_node(fdt)
    if node == NO_NODE:
        return Result.NOT_FOUND
    distributor = fdt_reg(fdt, node, 0)
    interface = fdt_reg(fdt, node, 1)
    if distributor.result != Result.OK or interface.result != Result.OK:
        return Result.NOT_FOUND
    GIC.gicd = distributor.base
    GIC.gicc = interface.base
    mmio_write32(GIC.gicd + Gicd.CTLR, 1)
    gic_cpu_init()
    return Result.OK


@fn
def gic_cpu_init() -> None:
    """Turn this CPU's interface on, for every priority."""
    mmio_write32(GIC.gicc + Gicc.PMR, PRIORITY_MASK_ALL)
    mmio_write32(GIC.gicc + Gicc.BPR, 0)
    mmio_write32(GIC.gicc + Gicc.CTLR, ENABLE)


@fn
def gic_own_target() -> u8:
    """This CPU's bit in target lists: what ITARGETSR0 reads as, or bit 0 where a GIC of one CPU reads as zero."""
    bit = mmio_read8(GIC.gicd + Gicd.ITARGETSR)
    return u8(1) if bit == 0 else bit


@fn
def gic_enable(intid: u32) -> None:
    """Let an interrupt reach this CPU."""
    mmio_write8(GIC.gicd + u64(Gicd.IPRIORITYR + intid), PRIORITY)
    if intid >= 32:
        mmio_write8(GIC.gicd + u64(Gicd.ITARGETSR + intid), gic_own_target())
    mmio_write32(GIC.gicd + u64(Gicd.ISENABLER + (intid >> 5) * 4), u32(1) << (intid & 31))


@fn
def gic_acknowledge() -> u32:
    """GICC_IAR: what to hand to `gic_end`."""
    return mmio_read32(GIC.gicc + Gicc.IAR)


@fn
def intid_of(iar: u32) -> tuple[bool, u32]:
    """(there is one, its INTID)."""
    intid = iar & INTID_MASK
    return intid < INTID_SPURIOUS, intid


@fn
def gic_end(iar: u32) -> None:
    mmio_write32(GIC.gicc + Gicc.EOIR, iar)


@fn
def gic_send(targets: u8, sgi: u32) -> None:
    """Send a software-generated interrupt; memory written before is seen by its handlers."""
    data_sync_all()
    mmio_write32(GIC.gicd + Gicd.SGIR, u32(targets) << SGIR_TARGETS_SHIFT | sgi)
